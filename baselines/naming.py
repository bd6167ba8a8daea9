"""What the words of `--inits` mean: an init, a checkpoint of the user's own, or one derived from either."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..core.errors import UserError, unknown_name_error
from .derived import DERIVATIONS, derive_init
from .init import INIT_NAME, INIT_NAME_RULE, INITS, InitCard, InitFamily, InitRequest
from .init_file import InitFiles
from .weights.checkpoint import from_checkpoint

FORMS = {
    "continued": "as mednet made here, but begun with ImageNet's weights",
    "NAME=CARD.toml": "weights of your own, under any name",
    "meanvar:INIT": "normal draws with the mean and variance of each of its tensors: its scale, no features",
    "shuffled:INIT": "the values of each of its tensors permuted: all but their order",
    "partial:INIT:K": "its first K stages, the rest random",
}
"""Form of a word -> one phrase, for whoever asks what there is."""


@dataclass(frozen=True)
class NamedInit:
    """One word of `--inits`; call it with a need to have the init.

    Attributes:
        name: as in tables and records, e.g. "partial:imagenet:2".
        base: the init that it names, or from which it derives.
        paths: every path of the list, by init; it takes that of its base.
        kind: of the derivation, or "".
        stages: how many "partial" keeps; 0 otherwise.
        inits: those that `--init-file` adds.
    """

    name: str
    base: str
    paths: Mapping[str, Path]
    kind: str = ""
    stages: int = 0
    inits: Mapping[str, InitFamily] = field(default_factory=dict)

    def __call__(self, need: InitRequest) -> InitCard:
        """Resolve the init; `UserError` says why it cannot be had, and the cure."""
        path = self.paths.get(self.base)
        need = replace(need, path=path, paths=self.paths)
        if self.base in self.inits:
            source = self.inits[self.base](need)
        elif self.base not in INITS and path is not None:
            source = from_checkpoint(self.base, path, need)
        else:
            source = INITS[self.base](need)
        return derive_init(self.name, self.kind, source, self.stages) if self.kind else source


def read_inits(words: Sequence[str], files: InitFiles | None = None) -> list[NamedInit]:
    """Understand the words of `--inits`, without a look at any file.

    A path behind `=` belongs to the init that the word names or derives from, wherever in the list that is
    named again: of `lab=card.toml,meanvar:lab` both words use the card.

    Args:
        words: as they stand between the commas.
        files: what `--init-file` adds to the names that are known.

    Raises:
        UserError: a word that means nothing, two paths for one init, or one word twice.
    """
    parts = [word.partition("=") for word in words]
    files = files or InitFiles()
    paths = dict(files.paths)
    for name, equals, text in parts:
        if not equals:
            continue
        if not text:
            raise UserError(f"--inits: there is no path behind '{name}='.")
        base, path = _split(name)[1], Path(text).expanduser()
        if paths.setdefault(base, path) != path:
            raise UserError(f"--inits: {base} is {paths[base]} and {path}: give one of them another name.")
    names = [name for name, _, _ in parts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UserError(f"--inits: one init is named twice ({twice}); its cells could not be told apart.")
    return [_named(name, paths, files.inits) for name in names]


def _named(name: str, paths: Mapping[str, Path], inits: Mapping[str, InitFamily]) -> NamedInit:
    kind, base, stages = _split(name)
    if not re.fullmatch(INIT_NAME, base, re.ASCII):
        raise UserError(f"--inits: '{base}' is no name: {INIT_NAME_RULE}.")
    if base not in INITS and base not in paths and base not in inits:
        error = unknown_name_error("init", base, {*INITS, *paths, *inits})
        raise UserError(f"{error} Weights of your own take their card along: {base}=card.toml.")
    return NamedInit(name, base, paths, kind, stages, inits)


def _split(name: str) -> tuple[str, str, int]:
    """Return the kind of derivation or "", the init behind it, and the number of stages or 0."""
    kind, colon, base = name.partition(":")
    if not colon:
        return "", name, 0
    if kind not in DERIVATIONS:
        raise unknown_name_error("kind of derived init", kind, DERIVATIONS)
    stages = 0
    if kind == "partial":
        base, _, count = base.rpartition(":")
        if not base or not re.fullmatch(r"[1-9]\d{0,3}", count):
            raise UserError(
                f"--inits: {name} must say how many stages to keep, 1 or more, as partial:imagenet:2 does."
            )
        stages = int(count)
    if ":" in base:
        raise UserError(f"--inits: {name} derives from a derived init: take an init itself.")
    return kind, base, stages
