"""The card of an init: the source of its weights and the input that they expect."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from ..core.errors import UserError
from ..core.registry import Registry, not_callable
from ..tasks.task import DataLocations, Task
from .pretrain_options import USUAL_OPTIONS, PretrainOptions


class InputSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The input contract: the preprocessing that the weights were trained with.

    Attributes:
        mean: per channel, in units of the value range; so is `std`.
        channels: their order; "gray" for a network with one input channel, which uses the first mean and std.
        value_range: the value of white before mean and std: 1, or 255 for networks fed raw bytes.
    """

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    channels: Literal["rgb", "bgr", "gray"] = "rgb"
    value_range: Literal[1, 255] = 1
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"


@dataclass(frozen=True)
class PretrainPlan:
    """A pretraining that has not run yet: exactly the facts that decide its weights.

    Attributes:
        sources: the tasks to pretrain on, sorted by name.
        sizes: the stored size in pixels to read of each source.
        input_size: in pixels, of the network's square input.
        identity: hash of all of the above, the data fingerprints and the budget; names the cache file.
        start: the init whose weights the training starts from; None is random weights.
        images: number of different training images over all sources; 0 takes all of them.
        options: objective, augmentation, and the like.
    """

    variant: str
    sources: tuple[Task, ...]
    sizes: tuple[int, ...]
    arch: str
    input_size: int
    identity: str
    start: "InitCard | None" = None
    images: int = 0
    options: PretrainOptions = USUAL_OPTIONS


Derivation = Literal["meanvar", "shuffled", "partial"]
ArchArg = bool | int | float | str
"""Value of an argument of timm's `create_model`, as TOML writes it."""
ImagesOf = Literal["", "gray", "color", "mixed", "natural"]
"""Medical images of one color or of both, or natural images; "" if not stated."""
ABSENT = "missing:"
"""Start of the identity of a stand-in for weights that are not on this machine."""


@dataclass(frozen=True)
class WeightTransform:
    """A change of an init's weights after loading, to separate features from scale.

    Attributes:
        kind: "meanvar" redraws every tensor with its mean and variance, "shuffled" permutes the values of
            every tensor, "partial" keeps the first stages and leaves the rest random.
        source: the init whose weights are loaded.
        stages: number that "partial" keeps; 0 for the others.
    """

    kind: Derivation
    source: "InitCard"
    stages: int = 0

    def describe(self, label: str) -> str:
        """Return the label for tables, which ends with the label of the source."""
        first = "first stage" if self.stages == 1 else f"first {self.stages} stages"
        what = {"meanvar": "mean and variance", "shuffled": "shuffled values", "partial": first}
        return f"{what[self.kind]} of: {label}"


@dataclass(frozen=True)
class InitCard:
    """One init, resolved for one task and arch; no weights are loaded yet.

    Attributes:
        label: one phrase for every table, e.g. "pretrained here on 7,308 images".
        identity: decides the weights; part of every cell's key.
        file: the checkpoint; None for random weights.
        sha256: expected hash of `file`; "" if unknown, like `objective` and `license`.
        excused: prefixes of tensors that may be left over (the classifier), and only these.
        rename: how the names of the file become timm's; "" keeps them, "order" matches one to one in
            order and shape, before `layout` is applied.
        corpora: ids of data sets that the weights have seen, as declared; "unknown" for undeclared images.
        pretraining: the pretraining that must run first, or None.
        seeded: whether every seed draws its own weights, at random or by a random transform.
        layout: how the file names its tensors; "" detects it.
        fingerprint: output of the network on fixed images (`weights/fingerprint.py`); () if unknown.
        fingerprint_size: input size in pixels at which the fingerprint was computed.
        state_dict: which of the file's state dicts; "" where it holds one.
        objective: training objective, e.g. "supervised".
        arch_args: arguments of timm beside the arch's name, as a card writes them, sorted by name.
        pretraining_images: number of different images that the weights have seen; 0 if unknown.
        started_from: the init whose weights the training continued, or a phrase; "scratch" for random
            weights, "" if unknown.
        recalled: facts of the card, by key, that were written from memory and not read at the source.
        images_of: kind of the images that the weights have seen.
        origin: "here" for weights pretrained here, "card" for a checkpoint of the user's: either is one
            pretraining of many possible ones; "" for published or random weights.
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
    arch_args: tuple[tuple[str, ArchArg], ...] = ()
    pretraining_images: int = 0
    started_from: str = ""
    recalled: tuple[str, ...] = ()
    images_of: ImagesOf = ""
    origin: Literal["", "here", "card"] = ""

    @property
    def random(self) -> bool:
        """Whether it has no pretraining."""
        return self.file is None

    @property
    def absent(self) -> bool:
        """Whether it stands for weights that are not on this machine, in an estimate."""
        return self.identity.startswith(ABSENT)

    @property
    def source(self) -> "InitCard":
        """The init whose weights are loaded: this one, or the source of a derived init."""
        return self.transform.source if self.transform else self

    @property
    def decisive(self) -> str:
        """JSON of all facts that decide the network's output, and of its corpora; part of every key."""
        facts = (self.identity, self.contract, self.excused, self.rename, self.corpora)
        args = (self.arch_args,) if self.arch_args else ()
        return msgspec.json.encode((*facts, *args)).decode()

    @property
    def corpora_recalled(self) -> bool:
        """Whether the corpora are from memory, so that contamination is never more than possible."""
        return "corpora" in self.recalled


def contract_of(start: InitCard | None) -> InputSpec:
    """Return the input contract of a network that starts from an init; None is random weights."""
    return start.contract if start else InputSpec()


@dataclass(frozen=True)
class InitRequest:
    """A request to resolve an init for one target and arch.

    Attributes:
        task: the target.
        input_size: in pixels, of the network's square input.
        size: stored size in pixels of the run's images.
        tasks: every known task and source, for an init that pretrains.
        path: PATH of ``--inits name=PATH``, or None.
        images: number of different pretraining images, as in `mednet@4000`; 0 takes all of them.
        budget: description of the pretraining budget, e.g. ``"images=24000 lr=0.001"``; it is hashed.
        pretrained: folder for weights pretrained here.
        paths: every PATH of ``--inits``, by init, for an init that starts from another.
        variant: what follows the family, as in `imagenet/dino`; "" for the family's default.
        options: of a pretraining.
    """

    task: Task
    arch: str
    input_size: int
    size: int
    tasks: tuple[Task, ...]
    places: DataLocations
    path: Path | None
    budget: str
    pretrained: Path
    images: int = 0
    paths: Mapping[str, Path] = field(default_factory=dict)
    variant: str = ""
    options: PretrainOptions = USUAL_OPTIONS


class MissingWeightsError(UserError):
    """The weights are not on this machine, and cannot be downloaded."""


class InitFamily(Protocol):
    """A family of pretraining sources; `ls` shows the first line of its docstring."""

    def __call__(self, request: InitRequest, /) -> InitCard:
        """Resolve the init; `UserError` where it is unavailable."""
        ...


INIT_NAME = r"[A-Za-z0-9][\w.+-]{0,99}(/[A-Za-z0-9][\w.+-]{0,99})?"
"""Regular expression for `family` or `family/variant`, over ASCII."""
INIT_NAME_RULE = "take letters, digits, '-', '_', '.' and '+', at most 100, and at most one '/'"


def _fault(name: str, thing: object) -> str:
    """Describe what is wrong with a plug-in's init; "" if nothing."""
    fault = "" if re.fullmatch(INIT_NAME, name, re.ASCII) else f"has a name that is none: {INIT_NAME_RULE}"
    return not_callable(name, thing) or fault


def init_help(name: str) -> str:
    """Return what a registered init is, in one line, or ""."""
    return next(iter((INITS[name].__doc__ or "").strip().splitlines()), "")


INITS: Registry[InitFamily] = Registry("init", "mednet_bench.baselines.sources", "mednet_bench.inits", _fault)
