"""Whether inits are fed what they were trained to see: asked before a run, and noted in its records."""

import functools

from ..init import InitCard
from .input_spec import check_input_spec
from .load import load_backbone


@functools.lru_cache(maxsize=64)  # every cell of an init asks again
def preprocessing_warnings(card: InitCard, arch: str, input_size: int) -> tuple[str, ...]:
    """Load the weights of a card strictly, and say what they have against its input contract.

    Args:
        card: an init with a file that was not made here; transformed weights remember no images.
        arch: timm architecture.
        input_size: side in pixels.

    Returns:
        Sentences, none where nothing speaks against the contract.

    Raises:
        UserError: as `load_backbone`.
    """
    backbone = load_backbone(card, arch, input_size, seed=0)
    if card.transform:
        return ()
    found = check_input_spec(backbone.module, card.contract, input_size)
    return tuple(f"the input contract of {card.name} is in doubt: {warning}." for warning in found.warnings)
