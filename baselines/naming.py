"""Parsing of `--inits`: registered inits, the user's checkpoints, and inits derived from them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..core.errors import UserError, unknown_name_error
from .derived import DERIVATIONS, derive_init
from .init import INIT_NAME, INIT_NAME_RULE, INITS, InitCard, InitFamily, InitRequest
from .init_file import InitFiles
from .timm_tags import check_tag
from .weights.checkpoint import from_checkpoint
from .zoo.card import FAMILY as ZOO
from .zoo.card import find_zoo_card, zoo_groups

MOST_NAMED = 6
"""Most inits named in a sentence about those that were left out."""
TAGGED = ("imagenet", "continued")
"""Families whose variant is a tag of timm: imagenet/dino."""
INIT_NAME_FORMS = {
    "imagenet/TAG": "timm's weights with this tag for the arch, e.g. imagenet/dino; `info imagenet/dino`",
    "zoo/NAME": "a public checkpoint; zoo/NAME=FILE where you have its file; `ls inits` lists them",
    "zoo/GROUP": "every checkpoint of a group that fits the run's archs: zoo/gray, zoo/color, zoo/resnet50",
    "mednet@IMAGES": "mednet, or continued, pretrained on IMAGES of its images in as many steps: mednet@4000",
    "NAME=CARD.toml": "weights of your own, under any name, or family/variant",
    "meanvar:INIT": "random normal weights with each tensor's mean and variance: scale without features",
    "shuffled:INIT": "each tensor's values in random order",
    "partial:INIT:K": "the first K stages of INIT, the rest random",
}
"""Form of an init name -> explanation, as shown by `ls` after the registered inits."""


@dataclass(frozen=True)
class InitName:
    """Parts of an init name such as `partial:mednet@4000:2`.

    Attributes:
        kind: kind of derivation, or "".
        base: the init itself or the source of the derivation: `family`, `family/variant` or `NAME`.
        images: number of different pretraining images after `@`, or 0 for all.
        stages: number of stages that "partial" keeps; 0 otherwise.
    """

    kind: str
    base: str
    images: int = 0
    stages: int = 0

    @property
    def source(self) -> str:
        """Name without the derivation."""
        return f"{self.base}@{self.images}" if self.images else self.base

    @property
    def text(self) -> str:
        """The whole name."""
        kind = f"{self.kind}:" if self.kind else ""
        return f"{kind}{self.source}" + (f":{self.stages}" if self.stages else "")

    @property
    def family(self) -> str:
        """First half of `base`: "imagenet" of `imagenet/dino`."""
        return self.base.partition("/")[0]

    @property
    def variant(self) -> str:
        """Second half of `base`, or ""."""
        return self.base.partition("/")[2]


def parse_init_name(name: str) -> InitName:
    """Parse the name of an init; `UserError` where its form is wrong."""
    kind, colon, source = name.partition(":")
    if not colon:
        kind, source = "", name
    elif kind not in DERIVATIONS:
        raise unknown_name_error("kind of derived init", kind, DERIVATIONS)
    stages = 0
    if kind == "partial":
        source, _, count = source.rpartition(":")
        if not source or not re.fullmatch(r"[1-9][0-9]{0,3}", count):
            raise UserError(
                f"--inits: {name} must say how many stages to keep, 1 or more, as partial:imagenet:2 does."
            )
        stages = int(count)
    if ":" in source:
        raise UserError(f"--inits: {name} derives from a derived init: take an init itself.")
    base, at, images = source.partition("@")
    if at and not re.fullmatch(r"[1-9][0-9]{0,9}", images):
        raise UserError(f"--inits: {name} must end in a number of images, as mednet@4000 does.")
    if not re.fullmatch(INIT_NAME, base, re.ASCII):
        raise UserError(f"--inits: '{base}' is no name: {INIT_NAME_RULE}.")
    return InitName(kind, base, int(images or 0), stages)


@dataclass(frozen=True)
class NamedInit:
    """Name in `--inits`; call it with a request to resolve the init."""

    name: str
    """As in tables and records, e.g. "partial:imagenet:2"."""
    parts: InitName
    paths: Mapping[str, Path]
    """Base init -> path, of the whole list."""
    inits: Mapping[str, InitFamily] = field(default_factory=dict)
    """Added by `--init-file`."""
    group: str = ""
    """Group that named it, such as "zoo/gray"; "" if the user did."""

    @property
    def base(self) -> str:
        """Init itself, or the source of the derivation."""
        return self.parts.base

    @property
    def zoo_name(self) -> str:
        """Name of the checkpoint's card in the zoo; "" for any other init."""
        return self.parts.variant if self.parts.family == ZOO and not self._has_own_card else ""

    @property
    def arch(self) -> str:
        """The only arch that a public checkpoint fits; "" where any may do."""
        return find_zoo_card(self.zoo_name).arch if self.zoo_name else ""

    @property
    def _has_own_card(self) -> bool:
        """Whether the path of a name such as zoo/NAME is a card, not a file of weights."""
        path = self.paths.get(self.base)
        return self.base in self.inits or (path is not None and (path.suffix == ".toml" or path.is_dir()))

    def with_tag(self, tag: str) -> "NamedInit":
        """Return the init for an arch with a tag of timm: `imagenet` becomes `imagenet/TAG`."""
        base = self.base
        if not tag or base not in TAGGED:
            return self
        parts = replace(self.parts, base=f"{base}/{tag}")
        paths = {**self.paths, parts.base: self.paths[base]} if base in self.paths else self.paths
        return replace(self, name=parts.text, parts=parts, paths=paths)

    def __call__(self, request: InitRequest) -> InitCard:
        """Resolve the init; `UserError` where it is unavailable."""
        base, images = self.base, self.parts.images
        path = self.paths.get(base)
        request = replace(request, path=path, paths=self.paths, images=images, variant=self.parts.variant)
        family = self.parts.family
        if base in self.inits:
            source = self.inits[base](request)
        elif base in INITS:
            source = INITS[base](request)
        elif family in (*TAGGED, ZOO) and not self._has_own_card:
            source = INITS[family](request)
        elif path is not None:
            source = from_checkpoint(base, path, request)
        else:
            source = INITS[base](request)  # refused by name
        if images:
            if source.pretraining is None:
                raise UserError(
                    f"--inits: {self.name}: {base} is not pretrained here, so its number of images is given: "
                    f"name it {base}."
                )
            source = replace(source, name=self.parts.source)
        return (
            derive_init(self.name, self.parts.kind, source, self.parts.stages) if self.parts.kind else source
        )


def read_inits(words: Sequence[str], files: InitFiles | None = None) -> list[NamedInit]:
    """Parse names, each with or without `=PATH`, without reading any file of weights.

    A path applies to its base init in the whole list: in `lab=card.toml,meanvar:lab` both names use the card.
    A group of public checkpoints stands for its members.

    Raises:
        UserError: a name is unknown, one init has two paths, or a name occurs twice.
    """
    parts = [word.partition("=") for word in words]
    files = files or InitFiles()
    paths = dict(files.paths)
    for name, equals, text in parts:
        if not equals:
            continue
        if not text:
            raise UserError(f"--inits: there is no path after '{name}='.")
        base, path = parse_init_name(name).base, Path(text).expanduser()
        if paths.setdefault(base, path) != path:
            raise UserError(f"--inits: {base} is {paths[base]} and {path}: give one of them another name.")
    names = [name for name, _, _ in parts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"--inits: one init is named twice ({twice}): remove one.")
    groups: dict[str, str] = {}  # of a member of several groups the first, of a named one ""
    for name, equals, _ in parts:
        for member, group in [(name, "")] if equals else _expand_group(name):
            groups[member] = groups.get(member, group) and group
    return [replace(_find_init(name, paths, files.inits), group=group) for name, group in groups.items()]


def _expand_group(name: str) -> list[tuple[str, str]]:
    """Return the names that a name means, each with the group, or "" for an init itself."""
    family, _, group = name.partition("/")
    members = zoo_groups().get(group, ()) if family == ZOO else ()
    return [(f"{ZOO}/{member}", name) for member in members] or [(name, "")]


def _find_init(name: str, paths: Mapping[str, Path], inits: Mapping[str, InitFamily]) -> NamedInit:
    parts = parse_init_name(name)
    base = parts.base
    found = NamedInit(name, parts, paths, inits)
    if parts.family == ZOO and parts.variant in zoo_groups():
        raise UserError(
            f"--inits: {base} is a group: name one of its checkpoints, such as {_member_of(parts)}."
        )
    if found.zoo_name:
        find_zoo_card(found.zoo_name)
    elif parts.variant and parts.family in TAGGED:
        return found  # the tag is looked up with the arch
    elif base not in INITS and base not in paths and base not in inits:
        error = unknown_name_error("init", base, {*INITS, *paths, *inits})
        raise UserError(f"{error} Weights of your own take their card along: {base}=card.toml.")
    return found


def _member_of(group: InitName) -> str:
    return f"{ZOO}/{zoo_groups()[group.variant][0]}"


@dataclass(frozen=True)
class ArchPairs:
    """Inits of a run, each with the archs it is used with.

    Attributes:
        pairs: arch without tag, and init; those of one arch are compared with one another.
        left_out: a sentence each about checkpoints that do not fit every arch of the run.
    """

    pairs: tuple[tuple[str, NamedInit], ...]
    left_out: tuple[str, ...] = ()


def pair_with_archs(inits: Sequence[NamedInit], archs: Sequence[str]) -> ArchPairs:
    """Pair the inits of a run with its archs.

    A tag of an arch (`resnet50.tv_in1k`) is one of its `imagenet` inits, so that it pairs with all inits of
    the arch. A public checkpoint is used with its own arch only.

    Raises:
        UserError: a checkpoint that the user names, or a whole group, fits no arch of the run.
    """
    pairs: dict[tuple[str, str], NamedInit] = {}
    for word in archs:
        arch, _, tag = word.partition(".")
        if tag:
            check_tag(arch, tag)
        for init in inits:
            if init.arch in ("", arch):
                named = init.with_tag(tag)
                pairs.setdefault((arch, named.name), named)
    bare = tuple(dict.fromkeys(arch for arch, _ in pairs)) or tuple(archs)
    unfit = [init for init in inits if init.arch not in ("", *(word.partition(".")[0] for word in archs))]
    used_groups = {named.group for named in pairs.values()}
    if refused := [init for init in unfit if not init.group or init.group not in used_groups]:
        needed = tuple(dict.fromkeys(init.arch for init in refused))
        named = ", ".join(dict.fromkeys(init.group or init.name for init in refused))
        raise UserError(
            f"No arch of --archs {','.join(archs)} is that of {named} ({', '.join(needed)}): pass --archs "
            f"with one or more of these."
        )
    only = [init for init in inits if init.arch and len(bare) > 1 and init not in unfit]
    sentences = [
        _arch_sentence("left out, being of other archs", unfit),
        _arch_sentence("on one arch only", only),
    ]
    return ArchPairs(
        tuple((arch, named) for (arch, _), named in pairs.items()), tuple(filter(None, sentences))
    )


def _arch_sentence(phrase: str, inits: Sequence[NamedInit]) -> str:
    named = [f"{init.name} ({init.arch})" for init in inits]
    some = ", ".join(named[:MOST_NAMED]) + (
        f" and {len(named) - MOST_NAMED} more" * (len(named) > MOST_NAMED)
    )
    return f"{phrase}: {some}." if inits else ""
