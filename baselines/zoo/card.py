"""Cards of public checkpoints, and groups of them by color of the images and by arch."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from ...core.errors import UserError, unknown_name_error
from ...core.toml_files import as_card, read_toml
from ..weights.checkpoint import CheckpointCard, check_values

FAMILY = "zoo"
CARDS = Path(__file__).with_name("cards")
COLOR_GROUPS: Mapping[str, tuple[str, ...]] = {"gray": ("gray", "mixed"), "color": ("color", "mixed")}
"""Group -> values of `ZooCard.images` that belong to it."""


class ZooCard(CheckpointCard, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A checkpoint's card, and where its maker publishes it.

    `path` is the published file's name, "" where it is not known; `sha256` is "" where none is published.
    """

    title: str
    """Network and method in a few words."""
    hub: str = ""
    """Repository on the model hub, OWNER/NAME."""
    revision: str = "main"
    """Commit, tag or branch of the repository."""
    url: str = ""
    """Address of the file where it is not on the hub."""
    page: str = ""
    """Page that leads to the file where neither `hub` nor `url` does, or that explains the terms."""
    access: Literal["open", "gated", "request"] = "open"
    """gated: after accepting terms, with a token; request: by hand only."""
    note: str = ""
    """What a user must know, such as a contradiction between two sources of the input."""

    @property
    def init(self) -> str:
        """Name of the init, "zoo/NAME"."""
        return f"{FAMILY}/{self.name}"


@cache
def zoo_cards() -> Mapping[str, ZooCard]:
    """Return every card by its name, sorted."""
    return {path.stem: _read_zoo_card(path) for path in sorted(CARDS.glob("*.toml"))}


def _read_zoo_card(path: Path) -> ZooCard:
    card = as_card(path, read_toml(path), ZooCard)
    check_values(path, card)
    if card.name != path.stem:
        raise UserError(f"{path} is of a checkpoint called '{card.name}': give both one name.")
    return card


def find_zoo_card(name: str) -> ZooCard:
    """Return the card called `name`; `UserError` suggests the nearest."""
    cards = zoo_cards()
    if name not in cards:
        raise unknown_name_error("public checkpoint or group", name, {*cards, *zoo_groups()})
    return cards[name]


@cache
def zoo_groups() -> Mapping[str, tuple[str, ...]]:
    """Return the names of the cards of each group: gray, color, and every arch of a card."""
    cards = zoo_cards().values()
    by_color = {
        group: tuple(card.name for card in cards if card.images_of in kinds)
        for group, kinds in COLOR_GROUPS.items()
    }
    archs = sorted({card.arch for card in cards})
    by_arch = {arch: tuple(card.name for card in cards if card.arch == arch) for arch in archs}
    return {**by_color, **by_arch}


def encode_arch(card: ZooCard) -> str:
    """Return the arch with its arguments, as text for a table."""
    args = ", ".join(f"{key}={msgspec.json.encode(value).decode()}" for key, value in card.arch_args.items())
    return f"{card.arch} ({args})" if args else card.arch
