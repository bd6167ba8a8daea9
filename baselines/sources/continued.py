"""`continued`: the medical pretraining of `mednet`, started from ImageNet's weights."""

from dataclasses import replace

from ...core.errors import UserError
from ..init import INITS, InitCard, InitRequest
from .mednet import pretraining_card

START = "imagenet"


@INITS.register("continued")
def resolve_continued(need: InitRequest) -> InitCard:
    """Resolve to a pretraining on every available independent source, from ImageNet's weights.

    Raises:
        UserError: a path was given, or ImageNet's weights or an independent source are not available.
    """
    if need.path is not None:
        raise UserError(
            f"continued is always made here, but --inits says continued={need.path}: give finished weights "
            f"a name of their own, such as lab={need.path}."
        )
    # the same ImageNet weights as `imagenet` in the same list
    return pretraining_card("continued", need, INITS[START](replace(need, path=need.paths.get(START))))
