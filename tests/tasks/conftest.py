"""Real data if present, generated npz files, and a separate cache."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mednet_bench.tasks.task import DataLocations

Arrays = dict[str, np.ndarray]

CARD = """
name = "cells"
title = "Cells"
kind = "multiclass"
classes = ["a", "b", "c"]
modality = "microscopy"
variant = "gray"
source_group = "cells"
parents = []
license = "CC0-1.0"
citation = "none"
path = "cells.npz"
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def real(tmp_path: Path) -> DataLocations:
    """The folder with real sets, never written to; the test is skipped where there is none."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    root = Path(os.environ.get("MEDNET_BENCH_DATA", beside))
    if not (root / "medmnist" / "breastmnist.npz").is_file():
        pytest.skip("needs real MedMNIST files: name their folder in MEDNET_BENCH_DATA")
    return DataLocations((root,), tmp_path / "no-cache", download=False)


@pytest.fixture
def arrays() -> Arrays:
    """A sound gray set of three classes, 12 / 6 / 6 images of 8 pixels."""
    rng = np.random.default_rng(0)
    content: Arrays = {}
    for split, n in (("train", 12), ("val", 6), ("test", 6)):
        content[f"{split}_images"] = rng.integers(0, 256, (n, 8, 8), np.uint8)
        content[f"{split}_labels"] = (np.arange(n, dtype=np.uint8) % 3)[:, None]
    return content


@pytest.fixture
def card_text() -> str:
    return CARD


@pytest.fixture
def write_set(tmp_path: Path, arrays: Arrays) -> Callable[..., Path]:
    """Write `cells.npz` and its card; returns the card's path."""

    def write(card: str = CARD, content: Arrays | None = None) -> Path:
        np.savez_compressed(tmp_path / "cells.npz", **(arrays if content is None else content))
        (tmp_path / "cells.toml").write_text(card)
        return tmp_path / "cells.toml"

    return write
