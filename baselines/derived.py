"""Inits derived from others, to separate feature reuse from the scale of the weights."""

from dataclasses import replace
from typing import cast, get_args

from ..core.errors import UserError
from .init import Derivation, InitCard, WeightTransform

DERIVATIONS: tuple[str, ...] = get_args(Derivation)


def derive_init(name: str, kind: str, source: InitCard, stages: int = 0) -> InitCard:
    """Derive an init; it inherits the source's corpora, even "meanvar", to be on the safe side.

    `name` is as in tables, e.g. "partial:imagenet:2"; `stages` is the number that "partial" keeps.

    Raises:
        UserError: the source has random weights.
    """
    if source.random:
        raise UserError(
            f"{name} has nothing to work on, since {source.name} is random weights: "
            f"name an init that loads some, such as {kind}:imagenet{':2' if kind == 'partial' else ''}."
        )
    transform = WeightTransform(cast("Derivation", kind), source, stages)
    first = f"{kind}:{stages}" if stages else kind
    return replace(
        source,
        name=name,
        label=transform.describe(source.label),
        identity=f"{first}:{source.identity}",
        seeded=True,
        transform=transform,
    )
