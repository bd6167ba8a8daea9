"""The card of an init: where weights come from, and how the network wants its images."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from ..core.registry import Registry, not_callable
from ..tasks.task import DataLocations, Task


class InputSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The input contract: what the weights were trained to see. It belongs to the init.

    Attributes:
        mean: per channel, in units of the value range.
        std: per channel, likewise.
        channels: order of the color channels.
        value_range: what white is before mean and std: 1.0, or 255.0 for networks fed raw bytes.
        interpolation: how images are resized to the network's side.
    """

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    channels: Literal["rgb", "bgr"] = "rgb"
    value_range: Literal[1, 255] = 1
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"


@dataclass(frozen=True)
class PretrainPlan:
    """A MedNet that has yet to be made: everything that decides its weights, and nothing else.

    Attributes:
        variant: gray or color.
        sources: the tasks to pretrain on, sorted by name.
        sizes: the stored image side to use of each source.
        arch: timm architecture.
        input_size: side in pixels of what the network sees.
        identity: hash of all of the above, the data fingerprints and the budget; names the cache file.
        start: the init whose weights it begins with; None begins with random weights.
        images: pretraining images shown, with repetition; 0 leaves the number to the run's budget.
    """

    variant: str
    sources: tuple[Task, ...]
    sizes: tuple[int, ...]
    arch: str
    input_size: int
    identity: str
    start: "InitCard | None" = None
    images: int = 0


Derivation = Literal["meanvar", "shuffled", "partial"]


@dataclass(frozen=True)
class WeightTransform:
    """What is done to an init's weights after they are loaded, to tell features from the scale of weights.

    Attributes:
        kind: "meanvar" draws every tensor anew with its mean and variance, "shuffled" permutes the values of
            every tensor, "partial" keeps the first stages and leaves the rest random.
        source: the init whose weights are loaded.
        stages: how many the kind "partial" keeps; 0 for the others.
    """

    kind: Derivation
    source: "InitCard"
    stages: int = 0

    def described(self, label: str) -> str:
        """Return the phrase for tables, around that of the source."""
        first = "first stage" if self.stages == 1 else f"first {self.stages} stages"
        what = {"meanvar": "mean and variance", "shuffled": "shuffled values", "partial": first}
        return f"{what[self.kind]} of: {label}"


@dataclass(frozen=True)
class InitCard:
    """One init, resolved for one task and arch; cheap to make, nothing is loaded yet.

    Attributes:
        name: as in tables (`mednet`, `imagenet`, `scratch`).
        label: one phrase for every table, e.g. "pretrained here on 7,308 images".
        identity: decides the weights; part of every cell's key.
        contract: the input contract.
        file: the checkpoint, or None for random weights and for one that has yet to be made.
        sha256: what `file` must hash to, or "" where nobody stated it.
        excused: prefixes of tensors that may be left over (the classifier), and only these.
        rename: how the names of the file become timm's; "" is as they stand, "order" is one to one in
            order and shape.
        corpora: ids of data sets that the weights are declared to have seen; "unknown" among them stands for
            images that nobody names.
        pretraining: what must be made first, or None.
        seeded: random weights, or weights that are transformed at random: every seed draws its own.
        transform: what is done to the weights once they are loaded, or None.
        layout: how the file names its tensors, or "" to find it out; `rename` goes first.
        fingerprint: what the network computes on fixed pictures, or () where nobody stated it.
        fingerprint_size: side in pixels at which that was taken.
        state_dict: which of the file's state dicts, or "" where it holds one.
        objective: how the weights were trained, e.g. "supervised"; "" where nobody stated it.
        license: of the weights; "" where nobody stated it.
    """

    name: str
    label: str
    identity: str
    contract: InputSpec = field(default_factory=InputSpec)
    file: Path | None = None
    sha256: str = ""
    excused: tuple[str, ...] = ()
    rename: Literal["", "order"] = ""
    corpora: tuple[str, ...] = ()
    pretraining: PretrainPlan | None = None
    seeded: bool = False
    transform: WeightTransform | None = None
    layout: str = ""
    fingerprint: tuple[float, ...] = ()
    fingerprint_size: int = 0
    state_dict: str = ""
    objective: str = ""
    license: str = ""

    @property
    def source(self) -> "InitCard":
        """The init whose weights are loaded: this one, or the one that it is derived from."""
        return self.transform.source if self.transform else self

    @property
    def decisive(self) -> str:
        """What decides the network's output, and what is declared of it; part of every key."""
        facts = (self.identity, self.contract, self.excused, self.rename, self.corpora)
        return msgspec.json.encode(facts).decode()


def contract_of(start: InitCard | None) -> InputSpec:
    """Return how a network wants its images that begins with an init; None is random weights."""
    return start.contract if start else InputSpec()


@dataclass(frozen=True)
class InitRequest:
    """What an init is asked for.

    Attributes:
        task: the target.
        arch: timm architecture.
        input_size: side in pixels of what the network sees.
        size: stored side in pixels of the run's images.
        tasks: every task and source that is known, for an init that pretrains.
        places: where data are.
        path: what stood behind ``=`` in ``--inits name=PATH``, or None.
        images: pretraining images shown, as in `mednet@4000`; 0 leaves the number to `budget`.
        budget: hashable description of the pretraining budget, e.g. ``"images=24000 lr=0.001"``.
        cache: folder for weights made here.
        paths: what stood behind every ``=`` of ``--inits``, by init, for one that starts from another.
    """

    task: Task
    arch: str
    input_size: int
    size: int
    tasks: tuple[Task, ...]
    places: DataLocations
    path: Path | None
    budget: str
    cache: Path
    images: int = 0
    paths: Mapping[str, Path] = field(default_factory=dict)


class InitFamily(Protocol):
    """A family of pretraining sources."""

    def __call__(self, request: InitRequest, /) -> InitCard:
        """Resolve the init; `UserError` where it is unavailable."""
        ...


INIT_NAME = r"[A-Za-z0-9][\w.+-]{0,99}(/[A-Za-z0-9][\w.+-]{0,99})?"
"""`family` or `family/variant`, as a regular expression over ASCII."""
INIT_NAME_RULE = "take letters, digits, '-', '_', '.' and '+', at most 100, and at most one '/'"


def _fault(name: str, thing: object) -> str:
    """Say what is wrong with what a plug-in calls an init."""
    fault = "" if re.fullmatch(INIT_NAME, name, re.ASCII) else f"has a name that is none: {INIT_NAME_RULE}"
    return not_callable(name, thing) or fault


INITS: Registry[InitFamily] = Registry("init", "mednet_bench.baselines.sources", "mednet_bench.inits", _fault)
