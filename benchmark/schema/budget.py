"""Budgets: what a training may spend, and how many seeds and label fractions are compared."""

import msgspec


class TrainingBudget(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults of the options that `--budget` sets; their fields in `RunConfig` explain them."""

    passes: float
    steps: tuple[int, int]
    lr_grid: tuple[float, ...]
    seeds: tuple[int, ...]
    fractions: tuple[float, ...]
    pretrain_images: int


BUDGETS = {
    "quick": TrainingBudget(
        passes=5.0,
        steps=(200, 2_000),
        lr_grid=(3e-4, 1e-3, 3e-3),
        seeds=tuple(range(3)),
        fractions=(0.1, 1.0),
        pretrain_images=16_000,
    ),
    "standard": TrainingBudget(
        passes=10.0,
        steps=(1_000, 20_000),
        lr_grid=(1e-4, 3e-4, 1e-3, 3e-3),
        seeds=tuple(range(5)),
        fractions=(0.1, 0.25, 0.5, 1.0),
        pretrain_images=3_000_000,  # of the MedNet paper (Alzubaidi et al. 2021)
    ),
    "thorough": TrainingBudget(
        passes=30.0,
        steps=(2_000, 60_000),
        lr_grid=(3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
        seeds=tuple(range(10)),
        fractions=(0.05, 0.1, 0.25, 0.5, 1.0),
        pretrain_images=3_000_000,
    ),
}
STANDARD = "standard"
"""The default on every machine, so that the same command is the same experiment everywhere."""

VIT_PREFIXES = (
    "aimv2_", "beit3_", "beit_", "beitv2_", "deit3_", "deit_", "eva02_", "eva_", "flexivit_", "naflexvit_",
    "samvit_", "test_vit", "vit_",
)  # fmt: skip
"""First letters of timm's names of plain vision transformers: equal blocks, one resolution."""
VIT_RATE = 0.1
"""Factor of a budget's learning rates for vision transformers, which AdamW trains at lower rates."""


def is_vision_transformer(arch: str) -> bool:
    """Whether an architecture is a plain vision transformer."""
    return arch.startswith(VIT_PREFIXES)


def vit_rates(rates: tuple[float, ...]) -> tuple[float, ...]:
    """Return a budget's learning rates as vision transformers take them, without rounding errors."""
    return tuple(float(f"{rate * VIT_RATE:g}") for rate in rates)
