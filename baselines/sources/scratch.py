"""`scratch`: no pretraining; every seed draws random weights by timm's initialization."""

from ...core.errors import UserError
from ..init import INITS, InitCard, InitRequest


@INITS.register("scratch")
def resolve_scratch(request: InitRequest) -> InitCard:
    """No pretraining: random weights by timm's initialization."""
    if request.path is not None:
        raise UserError(f"scratch takes no weights, but --inits says scratch={request.path}: drop the path.")
    return InitCard(name="scratch", label="random weights", identity="scratch", seeded=True)
