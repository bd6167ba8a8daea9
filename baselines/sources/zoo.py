"""`zoo`: public checkpoints, each described by a card of `baselines/zoo/`."""

from dataclasses import replace
from pathlib import Path

import msgspec

from ...core.errors import UserError
from ...tasks.hashes import file_hash
from ..init import INITS, InitCard, InitRequest, MissingWeightsError
from ..weights.checkpoint import init_from_card
from ..zoo.card import ZooCard, find_zoo_card
from ..zoo.files import expected_hash, find_weights, missing_clause, unpacked


@INITS.register("zoo")
def resolve_zoo(request: InitRequest) -> InitCard:
    """A public checkpoint, as in zoo/radio-dino-s16; `ls inits` lists all.

    Of a file of the user's that holds several state dicts, zoo/NAME=FILE#STATE_DICT chooses one.

    Raises:
        UserError: it is unknown, of another arch or color, not on this machine, or another file.
    """
    card = find_zoo_card(request.variant)
    check_fit(card, request)
    file = request.path or find_weights(card, request.places)
    if file is None:
        raise MissingWeightsError(f"{missing_clause(card)}.")
    file, state_dict = split_state_dict(file)
    card = msgspec.structs.replace(card, state_dict=state_dict or card.state_dict)
    if not file.is_file():
        raise UserError(f"There are no weights at {file}: correct the path of {card.init}=FILE.")
    found, wanted = file_hash(file, "sha256"), expected_hash(card, file)
    if wanted and found != wanted:
        raise UserError(
            f"{file} is not the file of {card.init} (SHA-256 {found} instead of {wanted}): delete it and "
            f"run `mednet-bench download {card.init}`."
        )
    return init_of(card, unpacked(file, card))


def split_state_dict(path: Path) -> tuple[Path, str]:
    """Split FILE#NAME into the file and the name of its state dict, which is "" for the card's."""
    file, mark, name = str(path).rpartition("#")
    return (Path(file), name) if mark and not path.exists() else (path, "")


def check_fit(card: ZooCard, request: InitRequest) -> None:
    """Raise `UserError` where a checkpoint is of another arch than the run, or of another color only."""
    if card.arch != request.arch:
        raise UserError(
            f"{card.init} is a {card.arch}, the run asks for {request.arch}: pass --archs {card.arch}."
        )
    if card.color not in ("", request.task.variant):
        raise UserError(
            f"{card.init} takes only {card.color} images and {request.task.name} is "
            f"{request.task.variant}: choose --tasks of its color."
        )


def init_of(card: ZooCard, file: Path) -> InitCard:
    """Return the init of a checkpoint, whose label is its title."""
    return replace(init_from_card(card, card.init, file, file_hash(file, "sha256")), label=card.title)
