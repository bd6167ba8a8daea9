"""Options of `run` and `plan` as plain data."""

from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import UserError
from .plan import TrainingConfig
from .split_overlap import Dedupe

MIN_INPUT_SIZE = 64
"""Pixels; below, weights trained at 224 px lose far more than those trained at the run's size."""


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Resolved options of one invocation, as written into `plan.json`."""

    tasks: str = "available"
    inits: str = "mednet,imagenet,scratch"
    archs: str = "tf_efficientnet_lite0"
    protocols: str = "finetune"
    protocol_option: dict[str, dict[str, Any]] = {}
    """Protocol -> option -> value, e.g. `{"partial": {"stages": 2}}`."""
    fractions: str = "0.1,1.0"
    seeds: str = "0..2"
    size: int = 28
    input_size: int = 0
    """0 for the larger of `size` and `MIN_INPUT_SIZE`."""
    out: str = "runs/latest"
    data_root: str = ""
    task_file: tuple[str, ...] = ()
    init_file: tuple[str, ...] = ()
    device: str = "auto"
    download: bool = True
    dedupe: Dedupe | None = None
    """Where images that are equal across splits are dropped: test, or train and val."""
    recipe: TrainingConfig = TrainingConfig()

    @property
    def folder(self) -> Path:
        """Run directory."""
        return Path(self.out)

    @property
    def network_input_size(self) -> int:
        """Side of the network's input in pixels, never 0."""
        return self.input_size or max(self.size, MIN_INPUT_SIZE)


MAX_SEED = 2**32 - 1
"""Largest seed that every random number generator accepts."""
MAX_SEED_RANGE = 100_000
"""A longer range is taken for a typing error."""


def parse_names(text: str, what: str) -> list[str]:
    """Split a comma-separated list and drop repetitions; `UserError` where it is empty."""
    found = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise UserError(f"--{what} is empty: name at least one.")
    return found


def parse_seeds(text: str) -> list[int]:
    """Parse `0..4` (both ends included), `0,1,2` or a mixture."""
    found: list[int] = []
    for part in parse_names(text, "seeds"):
        first, dots, last = part.partition("..")
        try:
            low, high = int(first), int(last) if dots else int(first)
        except ValueError:
            raise UserError(f"--seeds {text}: '{part}' is neither a number nor a range like 0..4.") from None
        if not 0 <= low <= high <= MAX_SEED:
            raise UserError(f"--seeds {text}: '{part}' must rise, and lie between 0 and {MAX_SEED}.")
        if high - low >= MAX_SEED_RANGE:
            raise UserError(f"--seeds {text}: '{part}' are more than {MAX_SEED_RANGE:,} seeds.")
        found.extend(range(low, high + 1))
    return list(dict.fromkeys(found))


def parse_fractions(text: str) -> list[float]:
    """Parse shares in (0, 1] and sort them."""
    found = []
    for part in parse_names(text, "fractions"):
        try:
            value = float(part)
        except ValueError:
            raise UserError(f"--fractions {text}: '{part}' is not a number.") from None
        if not 0 < value <= 1:
            raise UserError(f"--fractions {text}: {part} is not in (0, 1]; 0.1 means 10 % of the labels.")
        found.append(value)
    return sorted(set(found))
