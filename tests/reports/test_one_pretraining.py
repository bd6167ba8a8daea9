"""A verdict on weights that were trained once says so, wherever they were trained."""

from dataclasses import replace
from typing import Any

import pytest

from mednet_bench.reports.analysis.flags import ComparisonSide, one_pretraining_flags
from mednet_bench.reports.analysis.influence_input import ScoreEvidence
from mednet_bench.reports.analysis.results import LeaderboardRow

BLANK: dict[str, Any] = dict.fromkeys(LeaderboardRow.__dataclass_fields__)


def side(label: str) -> ComparisonSide:
    return ComparisonSide(LeaderboardRow(**{**BLANK, "init": "x", "label": label}), ScoreEvidence(), ())


@pytest.mark.parametrize(
    ("label", "once"),
    [
        ("Gray-MedNet pretrained here on 7,308 images", True),
        ("checkpoint gray-mednet-resnet50-0a1b2c3d", True),
        ("mean and variance of: checkpoint lab", True),
        ("ImageNet-1k, from the package index", False),
        ("random weights", False),
    ],
)
def test_a_mednet_from_a_card_is_one_pretraining_too(label: str, once: bool) -> None:
    other = side("random weights")
    assert [flag.name for flag in one_pretraining_flags(side(label), other)] == ["one-pretraining"] * once
    assert not list(one_pretraining_flags(other, replace(other)))
