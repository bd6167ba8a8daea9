"""`continued`: the medical pretraining of `mednet`, begun with ImageNet's weights instead of random ones."""

from dataclasses import replace

from ...core.errors import UserError
from ..init import INITS, InitCard, InitRequest
from .mednet import made_here

START = "imagenet"


@INITS.register("continued")
def resolve_continued(need: InitRequest) -> InitCard:
    """Resolve to a pretraining here on every independent source at hand, from ImageNet's weights.

    Raises:
        UserError: it was given weights, ImageNet's cannot be had, or no independent source is at hand.
    """
    if need.path is not None:
        raise UserError(
            f"continued is always made here, but --inits says continued={need.path}: give finished weights "
            f"a name of their own, such as lab={need.path}."
        )
    # the same ImageNet weights as `imagenet` in the same list
    return made_here("continued", need, INITS[START](replace(need, path=need.paths.get(START))))
