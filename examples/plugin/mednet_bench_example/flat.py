"""An init: random weights that see their images without any scaling."""

from dataclasses import replace

from mednet_bench.baselines.init import INITS, InitCard, InitRequest, InputSpec


def flat(request: InitRequest) -> InitCard:
    """Random weights that see their images without any scaling."""
    scratch = INITS["scratch"](request)
    contract = InputSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    return replace(scratch, name="example-flat", label="random weights, unscaled input", contract=contract)
