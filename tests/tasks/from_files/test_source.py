"""A task from files pretrains for others with its train split only, unless its card differs."""

from pathlib import Path

import numpy as np
import pytest
from cards import CARD
from click.testing import CliRunner
from dicoms import SECRET

from mednet_bench.baselines.init import InitRequest
from mednet_bench.baselines.sources.mednet import plan_pretraining
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.task import DataLocations

SIZE = 16
SMALL = (
    "--protocols", "knn", "--archs", "test_resnet", "--size", str(SIZE), "--input-size", "32", "--seeds", "0",
    "--fractions", "1.0", "--pretrain-images", "64", "--pretrain-batch", "8", "--device", "cpu",
)  # fmt: skip


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """The card of an npz of another origin."""
    rng, arrays = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = rng.integers(0, 256, (12, SIZE, SIZE), np.uint8)
        arrays[f"{split}_labels"] = np.arange(12) % 2
    np.savez(tmp_path / "cells.npz", **arrays)
    card = tmp_path / "cells.toml"
    card.write_text(CARD.replace('"ward"', '"cells"').replace('"ours"', '"theirs"') + 'path = "cells.npz"\n')
    return card


def sources(*cards: Path) -> list[tuple[str, int]]:
    """Return name and side of what pretrains for the cells."""
    known = catalog(DataLocations(), cards)
    need = InitRequest(
        known["cells"], "test_resnet", 32, SIZE, tuple(known.values()), DataLocations(), None, "", Path("c")
    )
    plan = plan_pretraining(need)
    return [(task.name, side) for task, side in zip(plan.sources, plan.sizes, strict=True)]


def test_a_run_pretrains_on_the_train_split_of_files(
    ward: Path, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MEDNET_BENCH_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where no MedMNIST lies
    cards = ("--task-file", str(ward / "ward.toml"), "--task-file", str(cells))
    words = ["run", "--tasks", "cells", "--inits", "mednet", *cards, *SMALL, "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(cli, words, standalone_mode=False)
    assert not result.exception and result.return_value == 0, result.output
    [record] = [each for each in RecordStore(tmp_path / "run").read_all() if each.cell.step != "pretrain"]
    assert record.init is not None and "Gray-MedNet pretrained here on" in record.init.label
    assert record.init.label.endswith("images at 32 px (ward)"), "24 of train, less what it is scored on"
    assert int(record.init.label.split(" on ")[1].split()[0]) <= 24
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]


def test_a_card_can_keep_its_images_out_of_every_pretraining(
    ward: Path, cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(ward.parent))
    card = ward / "ward.toml"
    assert sources(card, cells) == [("ward", SIZE)]
    card.write_text(card.read_text().replace("[files]", "pretrain_splits = []\n[files]"))
    with pytest.raises(UserError, match="no other gray data set"):
        sources(card, cells)
