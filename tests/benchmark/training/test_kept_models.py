"""`--keep-models final`: the file is the network that made the predictions, and an init of later runs."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import timm
import torch
import toys
from safetensors import safe_open

from mednet_bench.baselines.init import InitRequest
from mednet_bench.baselines.weights.archs import DEFAULT_ARCH
from mednet_bench.baselines.weights.checkpoint import from_checkpoint
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.benchmark.run.cell_runner import CellRunner
from mednet_bench.benchmark.run.kept_models import NO_MODEL_NOTE, kept_bytes, missing_models, to_half
from mednet_bench.benchmark.run.planner import ResolvedPlan, build_plan
from mednet_bench.benchmark.schema.records import Record, RecordStore
from mednet_bench.benchmark.training.device_data import as_stored
from mednet_bench.core.files import sha256_file

QUICK = {"passes": 1, "steps": "8", "batch_size": 16, "lr_grid": "1e-3", "evaluations": 2, "seeds": "0"}


def plan_of(folder: Path, protocols: str, **options: object) -> ResolvedPlan:
    task = toys.task_of(toys.Toy(clear=0.5))
    settings = {"inits": "scratch", "fractions": "1", "protocols": protocols, "keep_models": "final", **QUICK}
    return build_plan(toys.run_config(folder / "run", **(settings | options)), [task], [task], toys.NOWHERE)


def compute(resolved: ResolvedPlan, place: int = 0) -> tuple[Record, RecordStore]:
    store, planned = RecordStore(resolved.request.folder), resolved.plan.cells[place]
    return store.write(*CellRunner(resolved, "cpu").compute(planned)), store


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("protocol", ["finetune", "lora", "partial"])
def test_a_kept_network_loads_strictly_and_predicts_the_same(protocol: str, tmp_path: Path) -> None:
    resolved = plan_of(tmp_path, protocol, steps="60", batch_size=8, lr_grid="1e-2")
    record, store = compute(resolved)
    path, task = store.model_of(record.key), next(iter(resolved.tasks.values()))
    assert record.model == sha256_file(path)
    request = InitRequest(task, toys.ARCH, 16, 16, (), toys.NOWHERE, None, "", tmp_path / "cache")
    card = from_checkpoint("kept", path, request)
    assert task.overlap(card.corpora), "the network has seen the training images of its task"
    backbone = load_backbone(card, toys.ARCH, 16, seed=5)
    assert backbone.weights == f"sha256:{record.model}"
    with safe_open(path, "pt") as file:
        head = {name: file.get_tensor(name).float() for name in ("classifier.weight", "classifier.bias")}
        facts = json.loads(file.metadata()["mednet_bench"])
    assert (facts["key"], facts["cell"]["arch"]) == (record.key, toys.ARCH)
    assert facts["classes"] == [*task.classes]
    test = task.source.load(16, toys.NOWHERE)["test"]
    images = InputPreparation(card.contract, 16)(as_stored(test, "cpu"))
    with torch.inference_mode():
        features = backbone.module.eval()(images)
        logits = features @ head["classifier.weight"].T + head["classifier.bias"]
    scores = store.read_predictions(record.key)["scores"]
    assert np.abs(logits.softmax(1).numpy() - scores).max() < 5e-3
    assert scores.std(axis=0).max() > 0.02, "a network that predicts one value would agree too"
    whole = timm.create_model(toys.ARCH, num_classes=len(task.classes))
    whole.load_state_dict({name: t.float() for name, t in _tensors(path).items()}, strict=True)
    with torch.inference_mode():
        assert torch.allclose(whole.eval()(images), logits, atol=1e-4)


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping


def test_matrices_are_halved_and_statistics_stay_whole(tmp_path: Path) -> None:
    resolved = plan_of(tmp_path, "finetune")
    record, store = compute(resolved)
    tensors = _tensors(store.model_of(record.key))
    kinds = {(tensor.ndim > 1, tensor.dtype) for name, tensor in tensors.items()}
    assert kinds == {(True, torch.float16), (False, torch.float32), (False, torch.int64)}
    size, estimate = store.model_of(record.key).stat().st_size, kept_bytes(resolved, resolved.plan.cells)
    one = estimate / len(resolved.plan.cells)
    assert abs(size - one) < 0.1 * size
    assert to_half(torch.full((2, 2), 1e6)).dtype == torch.float32, "1e6 would be infinite in float16"


def test_frozen_cells_and_runs_without_the_option_keep_nothing(tmp_path: Path) -> None:
    for number, options in enumerate(({"protocols": "knn,linear"}, {"keep_models": "none"})):
        resolved = plan_of(tmp_path / str(number), **{"protocols": "finetune", **options})
        record, store = compute(resolved)
        assert not record.model and not store.models.exists() and NO_MODEL_NOTE not in record.notes
        assert kept_bytes(resolved, resolved.plan.cells) == 0


def test_a_rerun_says_which_networks_are_missing(tmp_path: Path) -> None:
    old, store = compute(plan_of(tmp_path, "finetune", keep_models="none"))
    asked = plan_of(tmp_path, "finetune")
    assert "run/models: 1, computed without" in missing_models(asked.request, [old], store)
    record, _ = compute(asked)
    assert not missing_models(asked.request, [record], store)
    store.model_of(record.key).unlink()
    assert "pass --overwrite always" in missing_models(asked.request, [record], store)


def test_the_same_training_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = [compute(plan_of(tmp_path / name, "finetune"))[0].model for name in "ab"]
    assert digests[0] == digests[1] != ""


def test_the_estimate_knows_the_default_network(tmp_path: Path) -> None:
    resolved = plan_of(tmp_path, "finetune")
    planned = resolved.plan.cells[0]
    cell = msgspec.structs.replace(planned.cell, arch=DEFAULT_ARCH)
    resolved.cards[cell.task, cell.arch, cell.init] = resolved.card(planned.cell)
    planned = msgspec.structs.replace(planned, cell=cell)
    assert 6.5e6 < kept_bytes(resolved, [planned]) < 7.5e6  # 3.4 million weights
