"""A verdict on weights that were trained once says so, wherever they were trained."""

from dataclasses import replace
from typing import Any

import pytest

from mednet_bench.reports.analysis.flags import ComparisonSide, one_pretraining_flags
from mednet_bench.reports.analysis.influence_input import ScoreEvidence
from mednet_bench.reports.analysis.report_input import LeaderboardRow

BLANK: dict[str, Any] = dict.fromkeys(LeaderboardRow.__dataclass_fields__)


def side(origin: str) -> ComparisonSide:
    return ComparisonSide(LeaderboardRow(**{**BLANK, "init": "x", "origin": origin}), ScoreEvidence(), ())


@pytest.mark.parametrize(("origin", "flagged"), [("here", True), ("card", True), ("", False)])
def test_a_mednet_from_a_card_is_one_pretraining_too(origin: str, flagged: bool) -> None:
    other = side("")
    assert [flag.name for flag in one_pretraining_flags(side(origin), other)] == ["one-pretraining"] * flagged
    assert not list(one_pretraining_flags(other, replace(other)))
