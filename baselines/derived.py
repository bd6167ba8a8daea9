"""Inits made from other inits, to tell whether features are reused or only the scale of weights."""

from dataclasses import replace
from typing import cast, get_args

from ..core.errors import UserError
from .init import Derivation, InitCard, WeightTransform

DERIVATIONS: tuple[str, ...] = get_args(Derivation)


def derive_init(name: str, kind: str, source: InitCard, stages: int = 0) -> InitCard:
    """Derive an init; what its source is declared to have seen is declared of it too.

    The corpora are kept even of "meanvar", of which only the scale remains: rather too careful than not.

    Args:
        name: as in tables, e.g. "partial:imagenet:2".
        kind: one of `DERIVATIONS`.
        source: the resolved init to derive from.
        stages: how many "partial" keeps.

    Raises:
        UserError: the source has no weights of its own.
    """
    if source.file is None:
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
