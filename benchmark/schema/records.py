"""What a cell leaves behind, and the folder in which it is kept."""

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.files import open_regular, read_regular, sha256_file, write_bytes
from .plan import Cell, read_plan, upgrade_cell
from .split_overlap import SplitOverlap

RECORD_FORMAT = 2
"""1 is version 0.1, which is still read: it wrote `licence` and kept a pretraining's identity in its task."""


class ValidationPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One validation during a training."""

    step: int
    seconds: float
    train_loss: float
    val_loss: float
    """The largest number where the network overflowed: JSON has no infinity, and null is no loss."""
    val_score: float | None
    """The primary metric on the validation labels of this cell; None where it is undefined."""


class HyperparameterChoice(msgspec.Struct, frozen=True, kw_only=True):
    """A hyper-parameter chosen on validation, with everything that it was chosen from."""

    name: str
    value: float
    grid: tuple[float, ...]
    scores: tuple[float | None, ...]
    """Value of the criterion per grid value, higher is better; None where that trial failed."""
    criterion: str
    """What was compared, on the validation labels of the cell."""
    at_edge: bool
    """The choice is the smallest or largest of the grid: a wider grid might do better."""


class StageSimilarity(msgspec.Struct, frozen=True, kw_only=True):
    """How alike the features of one stage are before and after a fine-tuning."""

    stage: str
    """The module at whose output they were compared."""
    cka: float | None
    """Debiased linear CKA; None where the features do not vary."""
    images: int
    """Validation images on which they were compared."""


class ImageCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many images the cell really saw."""

    train: int
    val: int
    test: int
    train_per_class: tuple[int, ...]
    val_per_class: tuple[int, ...]


class ContentHashes(msgspec.Struct, frozen=True, kw_only=True):
    """Content hashes of everything that went in."""

    data: str = ""
    card: str = ""
    """Of what a task's card decides: kind, classes, color, plausible flips."""
    subset: str = ""
    weights: str = ""


class TaskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a task's card that a report needs, so that a report needs no task."""

    title: str
    kind: str
    classes: tuple[str, ...]
    modality: str
    variant: str
    source_group: str = ""
    """Tasks of one group share their images' origin: they are not independent evidence."""
    license: str
    citation: str
    caveats: tuple[str, ...] = ()
    generated: bool = False


class InitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Where the weights came from and how images were fed to them."""

    label: str
    """For every table, e.g. "pretrained here on 7,308 images"."""
    identity: str
    contract: dict[str, object]
    """Mean, std, channel order, value range, interpolation."""
    adapted: tuple[str, ...] = ()
    """What was done to fit the input, e.g. "1 channel repeated to 3"."""
    corpora: tuple[str, ...] = ()
    derived_from: str = ""
    """Name of the init from whose weights this one, e.g. `meanvar:imagenet`, is derived; else ""."""
    source_identity: str = ""
    """Identity of that init's weights; else ""."""
    overlap: tuple[str, ...] = ()
    """Declared corpora that share a parent data set with the task: contamination."""
    possible: tuple[str, ...] = ()
    """Why others of them may hold images of the task, a sentence each: no more than possible."""
    objective: str = ""
    """How the weights were trained, e.g. "supervised"; "" where nobody stated it."""
    license: str = ""
    """Of the weights; "" where nobody stated it."""
    not_imagenet: str = ""
    """What the weights of an init called imagenet have seen besides, or instead, in a clause; else ""."""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """With what, and on what, the cell was computed."""

    versions: dict[str, str]
    commit: str
    """Of the project's checkout; "" where it runs from an installed wheel."""
    dirty: bool
    device: str
    threads: int


class MetricFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How a plug-in's metric is to be read; a report needs no plug-in."""

    title: str = ""
    """Heading; "" is the name."""
    help: str = ""
    """What it is, in one phrase."""
    lower_is_better: bool | None = False
    """None where neither end is better: then nothing is ranked or judged by it."""
    low: float | None = None
    """Smallest possible value; None where there is none."""
    high: float | None = None
    """Largest possible value, likewise."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One finished or failed cell: plain data, versioned."""

    key: str
    cell: Cell
    status: str
    """"ok" or "failed"."""
    format: int = RECORD_FORMAT
    protocol_version: int
    recipe_hash: str
    error: str = ""
    metrics: dict[str, float | None] = {}
    """Test metrics by name; None is undefined, with its reason in `undefined`."""
    undefined: dict[str, str] = {}
    per_class: dict[str, dict[str, float | None]] = {}
    """Metric name -> class name -> value."""
    val_metrics: dict[str, float | None] = {}
    beside: dict[str, dict[str, float | None]] = {}
    """Test metrics by other fixed rules than the protocol's own, by name; no verdict uses them."""
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
    """Per stage in the order of the images; empty of what trains no backbone, and of older records."""
    parameters: int = 0
    """Weights of the backbone that was trained; 0 likewise."""
    metric_facts: dict[str, MetricFacts] = {}
    """Of the metrics that a plug-in describes; no other metric, and no older record, has any."""
    copies: SplitOverlap | None = None
    """Equal images and groups across splits; None of a pretraining, a failed cell, and older records."""
    run: str = ""
    """Id of the run that computed it; "" in older records."""
    predictions: str = ""
    """SHA-256 of the file with its predictions; "" where it has none, and in older records."""
    content: str = ""
    """SHA-256 of the record's file with this field empty; "" in older records."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


class RecordStore:
    """The records and predictions of one run directory; safe for several processes.

    Args:
        folder: the run directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = folder / "records"
        self.predictions = folder / "predictions"

    def path(self, key: str) -> Path:
        """Return where the record of `key` stands."""
        return self.records / f"{key}.json"

    def predictions_of(self, key: str) -> Path:
        """Return where the predictions of `key` stand."""
        return self.predictions / f"{key}.npz"

    def lock(self, key: str) -> Path:
        """Return the lock file that whoever computes `key` holds."""
        return self.folder / "locks" / f"{key}.lock"

    def read(self, key: str) -> Record | None:
        """Return the record of `key`; None where there is none, or it cannot be read whole or was altered."""
        try:
            content = read_regular(self.path(key))
            record = _decode(content.replace(b'"licence":', b'"license":'))
        except (OSError, ValueError, RecursionError):  # absent, cut or not ours: the cell is run again
            return None
        if record.format not in (1, RECORD_FORMAT) or record.key != key:
            return None
        written = content.replace(record.content.encode(), b"", 1)
        if record.content and _sha256(written) != record.content:
            return None
        return record if record.format == RECORD_FORMAT else _upgrade_record(record)

    def has_predictions(self, record: Record) -> bool:
        """Whether the predictions of an ok score record are those that it was made with.

        Beside an older record, which keeps no hash of them, they must be whole.
        """
        path = self.predictions_of(record.key)
        try:
            if record.predictions:
                return sha256_file(path) == record.predictions
            with open_regular(path) as file, zipfile.ZipFile(file) as archive:
                return archive.testzip() is None
        except Exception:  # absent, cut, or not ours: foreign bytes break the reader of archives in any way
            return False

    def read_all(self) -> Iterator[Record]:
        """Iterate over every readable record, by key."""
        keys: Iterable[str] = sorted(path.stem for path in self.records.glob("*.json"))
        return (record for record in map(self.read, keys) if record is not None)

    def refuse_old_format(self) -> None:
        """Raise a `UserError` for a run of version 0.1: its records do not mix with new ones."""
        plan = read_plan(self.folder)
        first = next(self.records.glob("*.json"), None)
        record = self.read(first.stem) if first else None
        if (plan and plan.format == 1) or (record and record.format == 1):
            raise UserError(
                f"{self.folder} holds a run of version 0.1, which cannot be continued, only read by "
                "`report`, `compare` and `regress`: name another folder with --out."
            )

    def unreadable_files(self) -> list[Path]:
        """List the record files that cannot be read whole."""
        return [path for path in sorted(self.records.glob("*.json")) if self.read(path.stem) is None]

    def write(self, record: Record, predictions: dict[str, NDArray[np.generic]] | None = None) -> Record:
        """Write the predictions, then the record: a record never stands without its predictions.

        Returns:
            The record as it is kept, with the hashes of the two files.
        """
        digest = ""
        if predictions is not None:
            archive = io.BytesIO()
            np.savez_compressed(archive, **predictions)  # type: ignore[arg-type]
            digest = _sha256(archive.getvalue())
            write_bytes(self.predictions_of(record.key), archive.getvalue())
        record = msgspec.structs.replace(record, predictions=digest, content="")
        record = msgspec.structs.replace(record, content=_sha256(_encode(record)))
        write_bytes(self.path(record.key), _encode(record))
        return record

    def read_predictions(self, key: str) -> dict[str, NDArray[np.generic]]:
        """Return what is kept for `key`: `labels`, `scores`, and where known `groups` and `column NAME`."""
        with open_regular(self.predictions_of(key)) as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def _upgrade_record(record: Record) -> Record:
    """Return a record of version 0.1, where the name alone says from which init another is derived."""
    cell, init = upgrade_cell(record.cell), record.init
    if init and ":" in cell.init:
        source = init.identity.split(":", cell.init.count(":"))[-1]
        init = msgspec.structs.replace(init, derived_from=cell.init.split(":")[1], source_identity=source)
    return msgspec.structs.replace(record, cell=cell, init=init)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
