"""`continued`: the medical pretraining of `mednet`, started from ImageNet's weights."""

from dataclasses import replace

from ...core.errors import UserError
from ..init import INITS, InitCard, InitRequest
from .mednet import pretraining_card

START = "imagenet"


@INITS.register("continued")
def resolve_continued(request: InitRequest) -> InitCard:
    """mednet pretrained here, but starting from ImageNet's weights.

    Raises:
        UserError: a path was given, or ImageNet's weights or an independent source are not available.
    """
    if request.path is not None:
        raise UserError(
            f"continued is always made here, but --inits says continued={request.path}: give finished "
            f"weights a name of their own, such as lab={request.path}."
        )
    variant = f"/{request.variant}" if request.variant else ""
    # the weights of `imagenet`, or of its variant, in the same list
    start = replace(request, path=request.paths.get(START + variant) or request.paths.get(START))
    return pretraining_card(f"continued{variant}", request, INITS[START](start))
