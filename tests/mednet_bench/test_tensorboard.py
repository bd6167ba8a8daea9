"""Records in TensorBoard: curves, metrics and hyper-parameters of every finished cell."""

import sys
from pathlib import Path

import msgspec
import pytest

import mednet_bench as mb
from mednet_bench.benchmark.schema.plan import Cell
from mednet_bench.benchmark.schema.records import Provenance, Record, ValidationPoint

CURVE = tuple(
    ValidationPoint(step=step, seconds=1.0, train_loss=1 / step, val_loss=2 / step, val_score=None)
    for step in (10, 20)
)
RECORD = Record(
    key="0123", cell=Cell(task="breastmnist", size=28, input_size=64, arch="resnet18", init="scratch"),
    status="ok", protocol_version=1, recipe_hash="", metrics={"auc": 0.75, "auprc": None}, curve=CURVE,
    provenance=Provenance(versions={}, commit="", dirty=False, device="cpu", threads=1),
    finished="", seconds=1.0, peak_memory_mb=0.0,
)  # fmt: skip


def test_curve_metrics_and_hyper_parameters_are_read_back(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write = mb.tensorboard_writer(tmp_path)
    write(RECORD)
    write(msgspec.structs.replace(RECORD, key="4567", status="failed"))
    (folder,) = tmp_path.iterdir()
    events = EventAccumulator(str(folder)).Reload()
    losses = [(event.step, event.value) for event in events.Scalars("val/loss")]
    assert losses == [(10, pytest.approx(0.2)), (20, pytest.approx(0.1))]
    assert events.Scalars("test/auc")[0].value == 0.75
    assert "test/auprc" not in events.Tags()["scalars"]
    hparams = str(events.summary_metadata["_hparams_/session_start_info"])
    assert "breastmnist" in hparams and "scratch" in hparams


def test_without_the_package_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(mb.UserError, match=r"TensorBoard needs tensorboard: .*mednet-bench\[tensorboard\]"):
        mb.tensorboard_writer(tmp_path)
