"""Parsing of `--inits`: registered inits, the user's checkpoints, and inits derived from them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..core.errors import UserError, unknown_name_error
from .derived import DERIVATIONS, derive_init
from .init import INIT_NAME, INIT_NAME_RULE, INITS, InitCard, InitFamily, InitRequest
from .init_file import InitFiles
from .weights.checkpoint import from_checkpoint

INIT_NAME_FORMS = {
    "mednet@IMAGES": "mednet, or continued, pretrained on IMAGES images, e.g. mednet@4000",
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
        images: number of pretraining images after `@`, or 0.
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

    @property
    def base(self) -> str:
        """Init itself, or the source of the derivation."""
        return self.parts.base

    def __call__(self, request: InitRequest) -> InitCard:
        """Resolve the init; `UserError` where it is unavailable."""
        base, images = self.base, self.parts.images
        path = self.paths.get(base)
        request = replace(request, path=path, paths=self.paths, images=images)
        if base in self.inits:
            source = self.inits[base](request)
        elif base not in INITS and path is not None:
            source = from_checkpoint(base, path, request)
        else:
            source = INITS[base](request)
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
    """Parse names, each with or without `=PATH`, without reading any file.

    A path applies to its base init in the whole list: in `lab=card.toml,meanvar:lab` both names use the card.

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
    return [_find_init(name, paths, files.inits) for name in names]


def _find_init(name: str, paths: Mapping[str, Path], inits: Mapping[str, InitFamily]) -> NamedInit:
    parts = parse_init_name(name)
    base = parts.base
    if base not in INITS and base not in paths and base not in inits:
        error = unknown_name_error("init", base, {*INITS, *paths, *inits})
        raise UserError(f"{error} Weights of your own take their card along: {base}=card.toml.")
    return NamedInit(name, parts, paths, inits)
