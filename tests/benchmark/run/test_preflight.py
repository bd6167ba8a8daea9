"""The checks before a run read labels, groups and columns, not pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mednet_bench.benchmark.run import preflight
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.core.errors import UserError
from mednet_bench.experiment import PlannedRun, plan_run
from mednet_bench.tasks.from_npz import arrays
from mednet_bench.tasks.task import SPLITS

CARD = """
name = "own"
title = "Own"
kind = "binary"
classes = ["no", "yes"]
modality = "x-ray"
variant = "gray"
source_group = "own"
parents = []
license = "none"
citation = "none"
path = "own.npz"
"""


def write_set(folder: Path, labels: np.ndarray) -> Path:
    """Write a set."""
    content: dict[str, np.ndarray] = {}
    for name in SPLITS:
        images = np.random.default_rng(0).integers(0, 256, (len(labels), 28, 28), np.uint8)
        content |= {
            f"{name}_images": images,
            f"{name}_labels": labels,
            f"{name}_groups": np.arange(len(labels)),
        }
    np.savez(folder / "own.npz", **content)  # type: ignore[arg-type]
    card = folder / "own.toml"
    card.write_text(CARD)
    return card


def plan_set(folder: Path, labels: np.ndarray, **options: Any) -> PlannedRun:
    """Plan a run of the set."""
    card = write_set(folder, labels)
    config = RunConfig(
        tasks=("own",),
        task_file=(str(card),),
        inits=("scratch",),
        protocols=("knn",),
        out=str(folder / "run"),
    )
    return plan_run(config.with_options(options))


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache."""
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))


def test_a_run_is_checked_without_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan_set(tmp_path, np.arange(40) % 2, fractions="0.001,0.002")
    read: list[str] = []
    one = arrays._array
    monkeypatch.setattr(arrays, "_array", lambda archive, name: read.append(name) or one(archive, name))
    assert preflight.check_before_run(planned.resolved, planned.waiting) == []
    assert len(preflight.equal_fraction_warnings(planned.resolved, planned.waiting)) == 1
    assert {name.partition("_")[2] for name in read} == {"labels", "groups"}


def test_a_set_of_one_class_is_refused_without_pixels(tmp_path: Path) -> None:
    planned = plan_set(tmp_path, np.zeros(40, int))
    with pytest.raises(UserError, match="holds no class but 'no'"):
        preflight.check_before_run(planned.resolved, planned.waiting)
