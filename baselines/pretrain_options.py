"""Options of the pretraining of `mednet` and `continued` by a run, for each of them alone."""

import math
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..core.errors import UserError, unknown_name_error
from ..core.registry import Registry


class PretrainOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of one init's pretraining; `mednet-bench pretrain` has options of the same names.

    Defaults are those of the command; `RECIPES` has those of a run.
    """

    objective: str = "supervised"
    """A module of `benchmark/pretraining/objectives`."""
    augmentation: Literal["", "standard", "strong"] = ""
    """"" takes the objective's own."""
    ema: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights; 0 averages nothing."""
    lr: Annotated[float, Meta(ge=0)] = 0.0
    """Learning rate; 0 takes that of the run, `--pretrain-lr`."""
    layer_decay: Annotated[float, Meta(gt=0, le=1)] = 1.0
    """Factor of the rate from each layer to the one before it; of `continued` only."""
    anchor: Annotated[float, Meta(ge=0)] = 0.0
    """Strength of L2-SP, the pull towards the initial weights; of `continued` only."""
    freeze_norm: bool = False
    """Whether batch norm is trained with the statistics of the initial weights, 0 and 1 of random ones."""

    @property
    def changes(self) -> dict[str, object]:
        """Options that are not the default, by name."""
        options = msgspec.structs.asdict(self)
        return {
            field.name: options[field.name]
            for field in msgspec.structs.fields(self)
            if options[field.name] != field.default
        }

    @property
    def decisive(self) -> str:
        """JSON of all options that are not the default; "" where all are."""
        return msgspec.json.encode(self.changes, order="sorted").decode() if self.changes else ""


USUAL_OPTIONS = PretrainOptions()
OF_START = ("layer_decay", "anchor")
"""Options that keep what initial weights know; random weights know nothing."""
RECIPES: Mapping[str, PretrainOptions] = {
    "mednet": PretrainOptions(freeze_norm=True),
    "continued": PretrainOptions(freeze_norm=True, lr=1e-4, layer_decay=0.75, anchor=0.01),
}
"""Recipe of each init that a run pretrains, chosen for thousands of images: see docs/mednet.md."""
PRETRAINED_HERE: Mapping[str, tuple[str, ...]] = {"mednet": OF_START, "continued": ()}
"""Inits that a run pretrains, each with the options that it does not have."""


def resolve_pretrain_options(
    given: Mapping[str, Mapping[str, object]], families: Collection[str], objectives: Registry[Any]
) -> dict[str, PretrainOptions]:
    """Return the options of each init that a run pretrains.

    Args:
        given: init -> option -> value; numbers may be text from the command line.
        families: of the run's inits without a path.
        objectives: those that exist; read only if one is given.

    Raises:
        UserError: an init or option is unknown, or a value has a wrong type or is out of range.
    """
    for init, values in given.items():
        if init not in PRETRAINED_HERE:
            raise unknown_name_error("pretrained init", init, PRETRAINED_HERE)
        if init not in families:
            raise UserError(
                f"--pretrain-option {init}: this run pretrains no {init}: add it to --inits, without a path."
            )
        for name, value in values.items():
            _check_option(init, name, value, objectives)
    return {init: _convert(given.get(init, {}), recipe) for init, recipe in RECIPES.items()}


def _check_option(init: str, name: str, value: object, objectives: Registry[Any]) -> None:
    """Raise `UserError` for an option that the init does not have, or for a wrong value."""
    fields = [field.name for field in msgspec.structs.fields(PretrainOptions)]
    known = [field for field in fields if field not in PRETRAINED_HERE[init]]
    said = f"--pretrain-option {init}.{name}={value}"
    try:
        if name in fields and name not in known:
            raise UserError(f"{init} starts from random weights: set it for continued.")
        if name not in known:
            raise unknown_name_error("pretrain option", name, known)
        choices = {"objective": objectives, "augmentation": ("standard", "strong")}.get(name)
        if choices and value not in choices:
            raise unknown_name_error(name, str(value), choices)
        converted = getattr(_convert({name: value}), name)
        if isinstance(converted, float) and not math.isfinite(converted):
            raise UserError("the value is no finite number.")
    except (UserError, msgspec.ValidationError) as error:
        reason = str(error).partition(" - at ")[0]
        raise UserError(f"{said}: {reason[:1].lower()}{reason[1:].rstrip('.')}.") from None


def _convert(values: Mapping[str, Any], recipe: PretrainOptions = USUAL_OPTIONS) -> PretrainOptions:
    return msgspec.convert({**msgspec.structs.asdict(recipe), **values}, PretrainOptions, strict=False)
