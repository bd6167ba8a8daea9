"""CKA says 1 of the same features, 0 of unrelated ones, and measuring it changes no result."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import toys
from numpy.typing import NDArray
from toys import bits

from mednet_bench.baselines.init import InputSpec
from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.baselines.weights.stages import stages
from mednet_bench.benchmark.schema.records import Record, RecordStore
from mednet_bench.benchmark.training import fit
from mednet_bench.benchmark.training.cka import (
    SIMILARITY_IMAGES,
    center_gram,
    gram_matrices,
    linear_cka,
    similarities,
    similarity_images,
)
from mednet_bench.benchmark.training.protocol import PROTOCOLS
from mednet_bench.cli.main import cli
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.sections.transfusion import transfusion_section


def features(seed: int, images: int = 80, units: int = 500) -> torch.Tensor:
    """Features with more units than images, where the uncorrected estimate is close to 1."""
    return torch.randn(images, units, generator=torch.Generator().manual_seed(seed))


def test_the_same_features_have_1_whatever_their_rotation_scale_and_place() -> None:
    x = features(0)
    rotation = torch.linalg.qr(features(1, 500))[0]
    for y in (x, x @ rotation, 3 * x, x + 100, x[:, torch.randperm(500)]):
        assert linear_cka(center_gram(x), center_gram(y)) == pytest.approx(1, abs=1e-4)


def test_unrelated_features_have_about_0() -> None:
    x = features(0)
    values = [linear_cka(center_gram(x), center_gram(features(seed))) for seed in range(1, 21)]
    assert abs(float(np.mean(values))) < 0.01 and max(map(abs, values)) < 0.1  # type: ignore[arg-type]
    plain = [each - each.mean(0) for each in (x, features(1))]
    gram = [each @ each.T for each in plain]
    assert float((gram[0] * gram[1]).sum() / (gram[0].norm() * gram[1].norm())) > 0.8  # why it is corrected


def test_it_falls_with_the_share_of_common_features() -> None:
    x, y = features(0), features(1)
    values = [
        linear_cka(center_gram(x), center_gram(share * x + (1 - share) * y)) for share in (0.9, 0.6, 0.3)
    ]
    assert values == sorted(values, reverse=True) and values[-1] is not None  # type: ignore[type-var]


def test_features_that_do_not_vary_have_none() -> None:
    assert linear_cka(center_gram(torch.ones(10, 3)), center_gram(features(0, 10))) is None


@pytest.mark.parametrize(
    "arch", ["test_efficientnet", "test_convnext", "resnet18", "test_vit", "densenet121"]
)
def test_every_stage_is_measured_and_the_network_stays_as_it_is(arch: str) -> None:
    model = build_backbone(arch, 32).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images = torch.randint(0, 256, (12, 1, 32, 32), dtype=torch.uint8)
    random = torch.random.get_rng_state()
    found = gram_matrices(model, InputPreparation(InputSpec(), 32), images)
    assert torch.equal(random, torch.random.get_rng_state())
    assert list(found) == [stage.name for stage in stages(model)]
    assert all(gram.shape == (12, 12) and np.isfinite(gram).all() for gram in found.values())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(each.cka == pytest.approx(1) for each in similarities(found, found))
    assert gram_matrices(model, InputPreparation(InputSpec(), 32), images[:3]) == {}


def test_the_images_are_always_the_same_and_never_too_many() -> None:
    images, rows = torch.arange(1000), np.arange(0, 1000, 2)
    chosen = similarity_images(images, rows)
    assert torch.equal(chosen, similarity_images(images, rows))
    assert len(chosen.unique()) == SIMILARITY_IMAGES and not (chosen % 2).any()
    assert torch.equal(similarity_images(images, rows[:20]), images[:40:2])


def test_measuring_changes_no_bit_and_never_looks_at_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = toys.Bench(toys.task_of(toys.Toy()), tmp_path)
    seen: list[torch.Tensor] = []

    def watched(
        images: torch.Tensor, rows: NDArray[np.int64], then: Callable[..., torch.Tensor] = similarity_images
    ) -> torch.Tensor:
        seen.append(images)
        return then(images, rows)

    monkeypatch.setattr(fit, "similarity_images", watched)
    finetune = PROTOCOLS["finetune"]
    measured = finetune.score(here.job("finetune"))
    assert len(seen) == 2 and all(images is here.data.images("val") for images in seen)
    assert measured.parameters == sum(p.numel() for p in build_backbone(toys.ARCH, 16).parameters())
    values = [each.cka for each in measured.similarity]
    assert len(values) == 5 and all(value is not None and -0.5 < value <= 1.001 for value in values)
    assert min(values) < 0.999  # type: ignore[type-var]  # it was trained
    monkeypatch.setattr(fit, "gram_matrices", lambda *arguments: {})
    without = finetune.score(here.job("finetune"))
    assert without.similarity == () and bits(without) == bits(measured)


def test_records_without_it_stay_readable() -> None:
    record = toys_record()
    content = msgspec.json.decode(msgspec.json.encode(record))
    del content["similarity"], content["parameters"]
    assert msgspec.convert(content, Record) == record


def toys_record() -> Record:
    facts = {"task": "t", "size": 28, "input_size": 28, "arch": "a", "init": "scratch"}
    made = {"versions": {}, "commit": "", "dirty": False, "device": "cpu", "threads": 1}
    content = {"key": "k", "cell": facts, "status": "ok", "protocol_version": 1, "recipe_hash": ""}
    content |= {"provenance": made, "finished": "", "seconds": 0.0, "peak_memory_mb": 0.0}
    return msgspec.convert(content, Record)


@pytest.mark.slow
def test_a_run_of_derived_inits_is_reported_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    weights = toys.write_weights(tmp_path / "imagenet.safetensors", side=32)
    inits = f"imagenet={weights},meanvar:imagenet,shuffled:imagenet,partial:imagenet:2,scratch"
    options = (
        f"--tasks phantom-organ --archs {toys.ARCH} --protocols finetune --seeds 0 --fractions 1.0 --size 28 "
        "--device cpu --input-size 32 --steps 6 --evaluations 3 --lr-grid 0.01 --batch-size 8 --no-report"
    )
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--inits", inits, *options.split(), "--out", "run"], standalone_mode=False) == 0
    out = tmp_path / "run"
    records = [record for record in RecordStore(out).read_all() if not record.cell.longer]
    assert len(records) == 5 and all(len(record.similarity) == 5 for record in records)
    labels = {record.cell.init: record.init.label for record in records if record.init}
    assert labels["partial:imagenet:2"] == f"first 2 stages of: {labels['imagenet']}"
    text = str(transfusion_section(load_report_input([out])))
    assert all(name in text for name in labels) and "one seed shows no spread" in text
