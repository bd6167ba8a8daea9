"""Task, its card, the arrays of a split, and the protocol of image sources."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.registry import Registry
from .databases.kinship import UNDECLARED as UNDECLARED
from .databases.kinship import ProvenanceOverlap, provenance_overlap
from .images.bit_depth import Levels

Kind = Literal["binary", "multiclass", "multilabel", "ordinal"]
Variant = Literal["gray", "color"]
SplitName = Literal["train", "val", "test"]
SPLITS = ("train", "val", "test")
GROUP_NAMES = ("all", "available", "medmnist", "phantom", "gray", "color")
"""Names of groups of tasks (`catalog.TASK_GROUPS`), not allowed as names of tasks."""
TASK_NAME = "[a-z0-9][a-z0-9._-]{0,99}"
"""Regular expression of allowed names."""
TASK_NAME_RULE = "use lower-case letters, digits, '.', '_' and '-', at most 100"


@dataclass(frozen=True)
class DataLocations:
    """Folders to search for data, and whether downloads are allowed.

    Attributes:
        roots: `--data-root`, then MEDNET_BENCH_DATA; each also with its `medmnist/` folder.
        medmnist_cache: folder of the medmnist package, searched last.
        mirror: base address for downloads, "" for the publisher's.
        assumed: names of files that count as present, for an estimate before they are downloaded; weights
            that are not on this machine count as well. None: work that reads them.
    """

    roots: tuple[Path, ...] = ()
    medmnist_cache: Path = field(default_factory=lambda: Path.home() / ".medmnist")
    mirror: str = ""
    download: bool = True
    assumed: frozenset[str] | None = None


@dataclass(frozen=True)
class MissingFile:
    """A file that a task needs and that was not found.

    Attributes:
        bytes_at_most: its size, or an upper bound if the publisher states none; 0 if unknown.
        url: its address, or "".
        md5: its published sum; a file with url and sum can be downloaded.
        place: required path, or None if any data root will do.
    """

    name: str
    bytes_at_most: int = 0
    url: str = ""
    md5: str = ""
    place: Path | None = None


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one split.

    Attributes:
        images: uint8, or uint16 if the source has more than 8 bits, over the whole range; [n, h, w] gray or
            [n, h, w, 3] RGB.
        labels: int64, [n] class indices; for multilabel tasks [n, classes] of 0 and 1.
        groups: int64 [n], patient, smear or lesion of each image; None if not known at all. An image without
            a known group has its own number below -1, shared with its file or equal images.
        columns: subgroup column (sex, age band, scanner, site) -> text [n], "" if unknown; never an
            identifier.
        traits: file properties beside the pixels (bytes, bits, scanner, exposure) -> float64 [n], NaN if
            unknown, or text [n], "" if unknown; only the leakage audit reads them.
        patient_known: bool [n], whether an image's group is a patient, not a study or a file; None if the
            data do not say what groups are, which are then taken for patients.
    """

    images: Levels
    labels: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    traits: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    patient_known: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def at(self, rows: NDArray[np.int64] | slice) -> "Split":
        """Return the selected rows of all arrays."""
        return Split(
            self.images[rows],
            self.labels[rows],
            None if self.groups is None else self.groups[rows],
            {name: values[rows] for name, values in self.columns.items()},
            {name: values[rows] for name, values in self.traits.items()},
            None if self.patient_known is None else self.patient_known[rows],
        )


class ImageSource(Protocol):
    """Protocol of the sources that load a task's images.

    A source that makes the test split by itself may have `val_share`, as `FilesSource` has, for `--folds`;
    its groups are then comparable between splits.
    """

    def fingerprint(self, size: int, places: DataLocations) -> str:
        """Return a content hash, ``"md5:..."`` or ``"sha256:..."``, without loading the images."""
        ...

    def missing(self, size: int, places: DataLocations) -> tuple[MissingFile, ...]:
        """List the missing files; if empty, `load` needs no network."""
        ...

    def sizes(self, places: DataLocations) -> tuple[int, ...]:
        """List the available image sides in pixels, smallest first."""
        ...

    def load(self, size: int, places: DataLocations) -> Mapping[str, Split]:
        """Load and check the splits; `UserError` names the file and the cure.

        A source whose images are many has `load_labels` with the same arguments as well, see there.
        """
        ...


def load_labels(source: ImageSource, size: int, places: DataLocations) -> Mapping[str, Split]:
    """Load splits without pixels, images [n, 0, 0]; a source without `load_labels` loads its images, too."""
    read = getattr(source, "load_labels", source.load)  # optional for a plug-in
    return read(size, places)


def no_pixels(count: int) -> Levels:
    """Return the images of a split that was read without its pixels, [count, 0, 0]."""
    return np.empty((count, 0, 0), np.uint8)


@dataclass(frozen=True)
class TaskCard:
    """Declared facts of a task; every kind of card and `Task` inherit these fields.

    Attributes:
        name: as the user types it.
        title: one line for a person.
        kind: of the labels; ordinal is trained as classes and also scored by quadratic kappa.
        classes: class names in label order.
        modality: x-ray, ct, mri, ultrasound, oct, fundus, dermoscopy, histopathology, microscopy, ...
        variant: gray or color, which also chooses the MedNet.
        source_group: tasks of one group never pretrain for each other.
        parents: source data sets of the images, as ids in the catalog of databases.
        license: of the images.
        citation: the publication to cite.
        role: "task" may be a target and pretrain for others; "source" only pretrains.
        pretrain_splits: splits that pretraining for another task may use; empty excludes this task.
        caveats: known defects that a report must repeat.
        subgroups: the columns of `Split.columns`, e.g. sex, age band, scanner; part of a cell's key.
        patient_score: how the scores of a patient's images make one; "max" is part of a cell's key, whose
            record has thresholds for it.
    """

    name: str
    title: str
    kind: Kind
    classes: tuple[str, ...]
    modality: str
    variant: Variant
    source_group: str
    parents: tuple[str, ...]
    license: str
    citation: str
    role: Literal["task", "source"] = "task"
    pretrain_splits: tuple[SplitName, ...] = ("train",)
    caveats: tuple[str, ...] = ()
    subgroups: tuple[str, ...] = ()
    patient_score: Literal["mean", "max"] = "mean"

    def card_facts(self) -> dict[str, Any]:
        """Return the fields of `TaskCard`, without those that a subclass adds."""
        return {field.name: getattr(self, field.name) for field in fields(TaskCard)}


@dataclass(frozen=True)
class Task(TaskCard):
    """Facts of a task and the source that loads its images.

    Attributes:
        source: loads the images.
        sizes: image sides in pixels that exist; empty if any side is resized from one file.
        split_sizes: number of images in (train, val, test), or None if only the file says.
        generated: drawn by a program; no evidence about real images.
        family: the collection that the task belongs to.
    """

    source: ImageSource = field(repr=False, compare=False, kw_only=True)
    sizes: tuple[int, ...] = ()
    split_sizes: tuple[int, int, int] | None = None
    generated: bool = False
    family: str = "local"

    @property
    def origin(self) -> frozenset[str]:
        """Name, source group and parents in lower case, for the relations of the catalog."""
        return frozenset(word.casefold() for word in (self.name, self.source_group, *self.parents))

    def contamination(self, corpora: Iterable[str], recalled: bool = False) -> ProvenanceOverlap:
        """Return whether corpora may hold images of this task, with the evidence.

        Accepts every spelling of the catalog; a family name (``"medmnist"``) stands for all its members.
        Where the corpora of weights are `recalled` from memory, nothing is more than possible.
        """
        family = self.family.casefold()
        return provenance_overlap(self.origin, corpora, (family, f"{family}-v2"), recalled)

    def overlap(self, corpora: Iterable[str], recalled: bool = False) -> tuple[str, ...]:
        """Return the declared corpora that hold, or are, images of this task; arguments as above."""
        reasons = self.contamination(corpora, recalled).reasons
        return tuple(sorted(reason.corpus for reason in reasons if reason.level == "declared"))

    @property
    def decisive(self) -> str:
        """JSON of everything but the images that decides a result; part of every cell's key."""
        columns = (self.subgroups,) if self.subgroups else ()  # stored with every prediction
        largest = ("max",) if self.patient_score == "max" else ()
        return json.dumps([self.kind, self.variant, self.classes, self.flips, *columns, *largest])

    @property
    def flips(self) -> tuple[bool, bool]:
        """Whether (left-right, upside-down) mirroring leaves an image plausible."""
        return plausible_flips(self.modality, self.classes)


def plausible_flips(modality: str, classes: Iterable[str]) -> tuple[bool, bool]:
    """Return whether (left-right, upside-down) mirroring leaves an image plausible.

    Radiographs, ultrasound, OCT and body slices have an up and a down; cells, tissue and skin do not.
    Left-right is allowed unless laterality is in the labels.
    """
    lateral = any("left" in name.lower() or "right" in name.lower() for name in classes)
    return (not lateral, modality in {"histopathology", "microscopy", "dermoscopy"})


def _fault(name: str, thing: object) -> str:
    """Return why a plug-in's object is no valid task, or ""."""
    if not isinstance(thing, Task):
        return "gives no Task"
    if thing.name != name:
        return f"gives a task that calls itself '{thing.name}'"
    if name in GROUP_NAMES:
        return "takes the name of a group of tasks"
    return "" if re.fullmatch(TASK_NAME, name) else f"has a name that is none: {TASK_NAME_RULE}"


TASKS: Registry[Task] = Registry("task", "mednet_bench.tasks.sources", "mednet_bench.tasks", _fault)
