"""Records of cells, and the run directory that stores them."""

import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...baselines.init import ArchArg, ImagesOf
from ...core.errors import UserError
from ...core.files import (
    open_regular,
    place_first,
    read_regular,
    sha256_file,
    write_bytes,
    written_aside,
)
from ...core.progress import track
from .plan import Cell, read_plan, upgrade_cell
from .split_overlap import SplitOverlap

PredictionArrays = dict[str, NDArray[np.generic]]
"""Arrays `labels`, `scores` and, where known, `groups` and `column NAME`, of the test images."""
RECORD_FORMAT = 2
"""1 is version 0.1, still readable: `licence`, and a pretraining's identity in its task."""


class ValidationPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One validation during a training."""

    step: int
    seconds: float
    train_loss: float
    val_loss: float
    """The largest float where the network overflowed: JSON has no infinity."""
    val_score: float | None
    """Primary metric on the cell's validation labels; None where undefined."""


class HyperparameterChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Hyper-parameter chosen on validation, with all candidates."""

    name: str
    value: float
    grid: tuple[float, ...]
    scores: tuple[float | None, ...]
    """Criterion per candidate, higher is better; None where the trial failed."""
    criterion: str
    at_edge: bool


class StageSimilarity(msgspec.Struct, frozen=True, kw_only=True):
    """Similarity of one stage's features before and after a fine-tuning."""

    stage: str
    cka: float | None
    """Debiased linear CKA; None where the features do not vary."""
    images: int


class ImageCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of images that the cell used, after any cap."""

    train: int
    val: int
    test: int
    train_per_class: tuple[int, ...]
    val_per_class: tuple[int, ...]


class ContentHashes(msgspec.Struct, frozen=True, kw_only=True):
    """Content hashes of a cell's inputs."""

    data: str = ""
    card: str = ""
    """Hash of the card's kind, classes, color and plausible flips."""
    subset: str = ""
    weights: str = ""


class TaskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of a task's card that a report needs."""

    title: str
    kind: str
    classes: tuple[str, ...]
    modality: str
    variant: str
    source_group: str = ""
    """Tasks of one group share their images' origin, so they are not independent."""
    license: str
    citation: str
    caveats: tuple[str, ...] = ()
    generated: bool = False
    patient_score: Literal["mean", "max"] = "mean"
    """How the scores of a patient's images make one; "mean" in older records."""


class InitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Origin of the weights and the input contract."""

    label: str
    """As shown in tables, e.g. "pretrained here on 7,308 images"."""
    identity: str
    contract: dict[str, object]
    """Mean, std, channel order, value range, interpolation."""
    adapted: tuple[str, ...] = ()
    """Adaptations of the input, e.g. "1 channel repeated to 3"."""
    corpora: tuple[str, ...] = ()
    random: bool = False
    """Whether there is no pretraining; false in older records, scratch included."""
    derived_from: str = ""
    """Source init of a derived one, e.g. "imagenet" for `meanvar:imagenet`; else ""."""
    source_identity: str = ""
    origin: Literal["", "here", "card"] = ""
    """Weights pretrained here, or by the user: one pretraining of many; "" for published or random."""
    overlap: tuple[str, ...] = ()
    """Corpora that share a parent data set with the task: contamination."""
    possible: tuple[str, ...] = ()
    """Reasons for possible contamination by the other corpora, a sentence each."""
    objective: str = ""
    """How the weights were trained, e.g. "supervised"; "" where unknown."""
    license: str = ""
    """License of the weights; "" where unknown."""
    pretraining_images: int = 0
    """Number of different images that the weights have seen; 0 where unknown."""
    started_from: str = ""
    """Init that the pretraining continued; "scratch" for random weights; "" where unknown."""
    images_of: ImagesOf = ""
    """Kind of the images that the weights have seen; "" where not stated, and in older records."""
    arch_args: dict[str, ArchArg] = {}
    """Arguments of timm beside the arch's name."""
    recalled: tuple[str, ...] = ()
    """Facts of the weights' card that are from memory: corpora, input, license, ..."""
    not_imagenet: str = ""
    """Clause: data seen besides or instead of ImageNet by an init named so; else ""."""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Software and hardware that computed the cell."""

    versions: dict[str, str]
    commit: str
    """Commit of the checkout; "" for an installed wheel."""
    dirty: bool
    device: str
    threads: int


PRIMARY_METRIC = "auc"
"""Metric that selects hyper-parameters and decides verdicts."""


class MetricFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a metric; records keep those of plug-ins, so that a report needs no plug-in."""

    title: str = ""
    """Heading; "" for the metric's name."""
    help: str = ""
    lower_is_better: bool | None = False
    """None where neither end is better: no ranking, no verdict."""
    low: float | None = None
    """Smallest possible value; None where unbounded."""
    high: float | None = None
    """Largest possible value; None where unbounded."""
    chance: float = 0.0
    """Value without any learning, from which convergence is measured."""

    @property
    def sign(self) -> int:
        """1 if higher is better, -1 if lower is, 0 if neither is."""
        return 0 if self.lower_is_better is None else -1 if self.lower_is_better else 1

    @property
    def span(self) -> float:
        """Largest minus smallest possible value; 1 if not declared."""
        if self.low is None or self.high is None or self.low >= self.high:
            return 1.0
        return self.high - self.low

    @property
    def title_with_direction(self) -> str:
        """The title, with the better direction unless higher is better."""
        return f"{self.title} ({self._direction})" if self._direction else self.title

    @property
    def help_with_direction(self) -> str:
        """The help, with the better direction unless higher is better."""
        return ", ".join(filter(None, (self.help, self._direction)))

    @property
    def _direction(self) -> str:
        return {1: "", 0: "neither end is better", -1: "lower is better"}[self.sign]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One finished or failed cell."""

    key: str
    cell: Cell
    status: str
    """"ok" or "failed"."""
    format: int = RECORD_FORMAT
    protocol_version: int
    recipe_hash: str
    error: str = ""
    metrics: dict[str, float | None] = {}
    """Test metrics by name; None where undefined, with the reason in `undefined`."""
    undefined: dict[str, str] = {}
    per_class: dict[str, dict[str, float | None]] = {}
    """Metric name -> class name -> value."""
    val_metrics: dict[str, float | None] = {}
    thresholds: dict[str, dict[str, dict[str, float]]] = {}
    """Unit (image or patient) -> rule -> class -> threshold, from the validation labels; empty in older
    records."""
    beside: dict[str, dict[str, float | None]] = {}
    """Rule -> test metrics of fixed rules other than the protocol's own; not used in verdicts."""
    curve: tuple[ValidationPoint, ...] = ()
    choices: tuple[HyperparameterChoice, ...] = ()
    counts: ImageCounts | None = None
    hashes: ContentHashes = ContentHashes()
    task: TaskFacts | None = None
    init: InitFacts | None = None
    provenance: Provenance
    finished: str
    """UTC, ISO 8601."""
    seconds: float
    peak_memory_mb: float
    notes: tuple[str, ...] = ()
    similarity: tuple[StageSimilarity, ...] = ()
    """From the first stage to the last; empty for frozen backbones and in older records."""
    parameters: int = 0
    """Number of trained backbone parameters; 0 where frozen, and in older records."""
    passes: float = 0.0
    """Passes of the training over its labels until it ended; 0 without a training, and in older records."""
    metric_facts: dict[str, MetricFacts] = {}
    """Metrics described by plug-ins; empty in older records."""
    copies: SplitOverlap | None = None
    """None for pretrainings, failed cells and older records."""
    run: str = ""
    """Id of the run that computed the cell; "" in older records."""
    predictions: str = ""
    """SHA-256 of the predictions file; "" where there is none, and in older records."""
    model: str = ""
    """SHA-256 of the kept network (`--keep-models`); "" where there is none, and in older records."""
    content: str = ""
    """SHA-256 of the record's file with this field empty; "" in older records."""

    @property
    def leakage_key(self) -> tuple[str, int, str]:
        """Task, stored size and fingerprint of the data, before any `--dedupe`: the key of their audit."""
        return self.cell.task, self.cell.size, self.hashes.data.partition(", ")[0]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class RecordStore:
    """Records and predictions of one run directory; safe for concurrent processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = folder / "records"
        self.predictions = folder / "predictions"
        self.models = folder / "models"

    def path(self, key: str) -> Path:
        """Return the path of the record of `key`."""
        return self.records / f"{key}.json"

    def predictions_of(self, key: str) -> Path:
        """Return the path of the predictions of `key`."""
        return self.predictions / f"{key}.npz"

    def model_of(self, key: str) -> Path:
        """Return the path of the kept network of `key`; its card is beside it, with the suffix `.toml`."""
        return self.models / f"{key}.safetensors"

    def lock(self, key: str) -> Path:
        """Return the lock file of the process that computes `key`."""
        return self.folder / "locks" / f"{key}.lock"

    def read(self, key: str) -> Record | None:
        """Read the record of `key`; None where it is missing, damaged or altered."""
        try:
            content = read_regular(self.path(key))
            old = b'"format":1,' in content
            record = _decode(content.replace(b'"licence":', b'"license":') if old else content)
        except (OSError, ValueError, RecursionError):  # missing or damaged: the cell is run again
            return None
        if record.format not in (1, RECORD_FORMAT) or record.key != key:
            return None
        written = content.replace(record.content.encode(), b"", 1)
        if record.content and _sha256(written) != record.content:
            return None
        return _upgrade_record(record) if record.format == 1 else record

    def has_predictions(self, record: Record) -> bool:
        """Whether the predictions of an ok score record match its hash.

        Older records have no hash: there the archive must be intact.
        """
        path = self.predictions_of(record.key)
        try:
            if record.predictions:
                return sha256_file(path) == record.predictions
            with open_regular(path) as file, zipfile.ZipFile(file) as archive:
                return archive.testzip() is None
        except Exception:  # foreign bytes make zipfile raise errors of any kind
            return False

    def read_all(self) -> Iterator[Record]:
        """Iterate over the readable records, sorted by key."""
        keys = sorted(path.stem for path in self.records.glob("*.json"))
        with track("reading", len(keys), "records") as advance:
            for key in keys:
                if (record := self.read(key)) is not None:
                    yield record
                advance()

    def refuse_old_format(self) -> None:
        """Raise `UserError` for a run of version 0.1: its records do not mix with new ones."""
        plan = read_plan(self.folder)
        first = plan or next(self.read_all(), None)  # others are refused when they are resumed
        if first and first.format == 1:
            raise old_format_error(self.folder)

    def unreadable_files(self) -> list[Path]:
        """List the record files that are damaged or altered."""
        return [path for path in sorted(self.records.glob("*.json")) if self.read(path.stem) is None]

    def write(self, record: Record, predictions: PredictionArrays | None = None) -> Record:
        """Write the predictions, then the record; return it with the hashes of the two files."""
        archive = _archive(predictions)
        if archive:
            write_bytes(self.predictions_of(record.key), archive)
        record = _with_hashes(record, archive)
        write_bytes(self.path(record.key), _encode(record))
        return record

    def write_once(
        self,
        record: Record,
        predictions: PredictionArrays | None,
        replaced: bytes | None,
        may_write: Callable[[], bool],
    ) -> Record | None:
        """Write a record that several processes may have computed, and its predictions: the first is kept.

        Args:
            record: with its predictions, if it has any.
            replaced: content of the record file that this one replaces; None where there was no file.
            may_write: called last; False where another process has taken the cell over.

        Returns:
            The record with the hashes of the two files; None where it came late and was dropped.
        """
        archive, path = _archive(predictions), self.path(record.key)
        record = _with_hashes(record, archive)
        target = self.predictions_of(record.key)
        aside = written_aside(target, lambda file: file.write(archive)) if archive else nullcontext()
        with aside as waiting, written_aside(path, lambda file: file.write(_encode(record))) as temporary:
            if not may_write() or not place_first(temporary, path, replaced):
                return None
            if waiting:  # last: predictions of a late record never replace those of the first
                waiting.replace(target)
        return record

    def read_predictions(self, key: str) -> PredictionArrays:
        """Return the arrays `labels`, `scores` and, where known, `groups` and `column NAME`."""
        with open_regular(self.predictions_of(key)) as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def old_format_error(folder: Path) -> UserError:
    """Return the refusal to continue a run of version 0.1."""
    return UserError(
        f"{folder} holds a run of version 0.1, which cannot be continued, only read by `report`, "
        "`leaderboard`, `compare` and `regress`: name another folder with --out."
    )


def _upgrade_record(record: Record) -> Record:
    """Convert a record of version 0.1, where names and labels alone tell inits apart."""
    cell, init = upgrade_cell(record.cell), record.init
    if init and "pretrained here" in init.label:
        init = msgspec.structs.replace(init, origin="here")
    elif init and re.search(r"(^|: )checkpoint ", init.label):
        init = msgspec.structs.replace(init, origin="card")
    if init and ":" in cell.init:
        source = init.identity.split(":", cell.init.count(":"))[-1]
        init = msgspec.structs.replace(init, derived_from=cell.init.split(":")[1], source_identity=source)
    return msgspec.structs.replace(record, cell=cell, init=init)


def _archive(predictions: PredictionArrays | None) -> bytes:
    """Return the file with a cell's predictions; empty without any."""
    archive = io.BytesIO()
    if predictions is not None:
        np.savez_compressed(archive, **predictions)  # type: ignore[arg-type]
    return archive.getvalue()


def _with_hashes(record: Record, archive: bytes) -> Record:
    record = msgspec.structs.replace(record, predictions=_sha256(archive) if archive else "", content="")
    return msgspec.structs.replace(record, content=_sha256(_encode(record)))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
