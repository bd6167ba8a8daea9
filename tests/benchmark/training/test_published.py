"""The protocols of published scripts, against plain loops like those of the scripts."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from timm.scheduler import CosineLRScheduler
from torch import nn

from mednet_bench.baselines.init import InputSpec
from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.benchmark.protocols.published import MEDMNIST_PLUS, MEDMNIST_V2, PublishedProtocol
from mednet_bench.benchmark.training.epochwise import (
    Float32Classifier,
    PaddedPreparation,
    ScoreValidation,
    build_published,
    epoch_batches,
    train_published,
)
from mednet_bench.benchmark.training.fit import TaskTraining
from mednet_bench.benchmark.training.loop import ValidationResult
from mednet_bench.benchmark.training.protocol import PROTOCOLS, EvalContext
from mednet_bench.benchmark.training.published_script import PublishedScript

SHORT = replace(MEDMNIST_V2, epochs=4, batch=16, rate=lambda epoch: 0.1 ** ((epoch >= 2) + (epoch >= 3)))
"""MedMNIST's script with `--num_epochs 4`."""


def bench(tmp_path: Path, **toy: object) -> toys.Bench:
    return toys.Bench(toys.task_of(toys.Toy(**toy)), tmp_path)


def rates_of(scheduler: object, optimizer: torch.optim.Optimizer, epochs: int, **step: bool) -> list[float]:
    """The learning rate of every epoch in a loop that ends each with `scheduler.step`."""
    found = []
    for epoch in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*([epoch] if step else []))
    return found


def test_the_rate_is_that_of_multisteplr():
    optimizer = torch.optim.Adam(nn.Linear(1, 1).parameters(), lr=0.001)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[0.5 * 100, 0.75 * 100], gamma=0.1)
    theirs = rates_of(scheduler, optimizer, 100)
    ours = [MEDMNIST_V2.lr * MEDMNIST_V2.rate(epoch) for epoch in range(MEDMNIST_V2.epochs)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_the_probe_s_rate_is_that_of_timm_s_cosine():
    optimizer = torch.optim.AdamW(nn.Linear(1, 1).parameters(), lr=0.0001)
    scheduler = CosineLRScheduler(optimizer, t_initial=100, cycle_limit=1, t_in_epochs=True)
    theirs = rates_of(scheduler, optimizer, 100, by_epoch=True)
    ours = [MEDMNIST_PLUS.lr * MEDMNIST_PLUS.rate(epoch) for epoch in range(MEDMNIST_PLUS.epochs)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


@pytest.mark.parametrize(("kind", "classes"), [("binary", 2), ("multilabel", 3)])
def test_a_training_is_that_of_a_plain_loop(kind: str, classes: int, tmp_path: Path):
    here = bench(tmp_path, kind=kind, classes=classes, clear=1.5, sizes=(60, 31, 45))
    job = here.job("medmnist-v2", seed=2)
    training = build_published(job, SHORT)
    model = deepcopy(training.model)
    order = epoch_batches(training, SHORT)
    trained = train_published(training, SHORT)
    fitted, kept = trained.fitted, trained.kept

    criterion = nn.BCEWithLogitsLoss() if kind == "multilabel" else nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True)  # as ours, to the bit
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[2, 3], gamma=0.1)
    best, best_auc, best_epoch, losses = model, 0.0, 0, []
    for epoch in range(4):
        model.train()
        for place in range(4):
            inputs, targets = order.batch(4 * epoch + place)
            optimizer.zero_grad()
            criterion(model(inputs), targets).backward()
            optimizer.step()
        scheduler.step()
        found = replace(training, model=model).validate()
        auc = found.score or 0.0
        losses.append(found.loss)
        if auc > best_auc:
            best, best_auc, best_epoch = deepcopy(model), auc, epoch + 1
    assert kept == best_epoch
    np.testing.assert_allclose([point.val_loss for point in fitted.curve], losses, atol=1e-5)
    theirs = replace(training, model=best).predict("test")
    np.testing.assert_allclose(training.predict("test"), theirs, atol=1e-5)
    assert trained.last is not None
    np.testing.assert_allclose(trained.last, replace(training, model=model).predict("test"), atol=1e-5)


def test_the_first_epoch_with_the_best_auc_is_kept_and_none_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    aucs, losses = [0.7, 0.9, 0.9, None], [0.1, 0.9, 0.2, 0.1]  # the loss must not decide the tie
    states: list[dict[str, torch.Tensor]] = []

    def validate(self: TaskTraining) -> ValidationResult:
        states.append(deepcopy(self.model.state_dict()))
        return ValidationResult(losses[len(states) - 1], aucs[len(states) - 1])

    monkeypatch.setattr(TaskTraining, "validate", validate)
    training = build_published(bench(tmp_path).job("medmnist-v2"), SHORT)
    trained = train_published(training, SHORT)
    fitted, kept = trained.fitted, trained.kept
    assert (kept, len(fitted.curve)) == (2, 4)
    for name, value in training.model.state_dict().items():
        assert torch.equal(value, states[1][name]), name


def test_an_undefined_auc_loses_to_any_other():
    assert ScoreValidation(0.1, 0.2).beats(ScoreValidation(0.0, None))
    assert not ScoreValidation(0.0, None).beats(ScoreValidation(0.1, 0.2))


def test_an_epoch_shows_every_image_once_and_its_last_batch_is_what_is_left(tmp_path: Path):
    here = bench(tmp_path, sizes=(50, 30, 45))
    training = build_published(here.job("medmnist-v2"), SHORT)
    order = epoch_batches(training, SHORT)
    images = training.prepare(here.data.images("train"))
    first, second = ([order.batch(4 * epoch + place)[0] for place in range(4)] for epoch in (0, 1))
    assert [len(batch) for batch in first] == [16, 16, 16, 2]
    assert not torch.equal(first[0], second[0])
    for epoch in (first, second):
        shown = torch.cat(epoch).flatten(1)
        found = (shown[:, None] == images.flatten(1)[None]).all(dim=2)
        assert (found.sum(dim=0) == 1).all(), "no augmentation, no repetition"


def test_random_weights_are_drawn_as_pytorch_does_and_per_seed(tmp_path: Path):
    here = bench(tmp_path)
    jobs = [here.job("medmnist-v2", seed=seed) for seed in (1, 1, 2)]
    one, again, other = (build_published(job, SHORT).model for job in jobs)
    for (name, module), same in zip(one.named_modules(), again.modules(), strict=True):
        if isinstance(module, nn.Conv2d):
            bound = module.weight[0].numel() ** -0.5  # kaiming_uniform with a = sqrt(5)
            assert bound * 0.7 < module.weight.abs().max() <= bound, name
            assert torch.equal(module.weight, same.weight)
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_medmnist_s_networks_have_its_script_s_size():
    # kuangliu's CIFAR networks with three input channels, without the classifier
    for arch, count in {"resnet18_cifar": 11_168_832, "resnet50_cifar": 23_500_352}.items():
        assert sum(value.numel() for value in build_backbone(arch, 28).parameters()) == count


def test_the_probe_trains_the_head_alone_and_batch_norm_adapts(tmp_path: Path):
    card = toys.loaded_card(toys.write_weights(tmp_path / "w.safetensors"))
    job = bench(tmp_path, clear=3).job("medmnist-plus", card=card)
    script = replace(MEDMNIST_PLUS, epochs=3)
    training = build_published(job, script)
    before = deepcopy(training.model.state_dict())
    train_published(training, script)
    after = training.model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed >= {"head.weight", "head.bias"}
    assert all(name.startswith("head.") or "running_" in name or "num_batches" in name for name in changed)
    assert any("running_mean" in name for name in changed)


def test_the_probe_stops_after_five_epochs_without_a_lower_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    losses = iter([0.9, 0.5, *[0.6] * 98])
    monkeypatch.setattr(TaskTraining, "validate", lambda self: ValidationResult(next(losses), 0.5))
    training = build_published(bench(tmp_path).job("medmnist-plus"), MEDMNIST_PLUS)
    trained = train_published(training, MEDMNIST_PLUS)
    assert (trained.kept, len(trained.fitted.curve), trained.last) == (2, 7, None)


def test_a_small_image_is_surrounded_by_zeros_of_the_normalized_scale():
    images = torch.full((2, 1, 5, 5), 255, dtype=torch.uint8)
    out = PaddedPreparation(InputSpec(mean=(0.5, 0.4, 0.3), std=(0.5, 0.5, 0.5)), 8)(images)
    assert out.shape == (2, 3, 8, 8)
    inside = out[:, :, 1:6, 1:6]  # 3 pixels to add: one before, two after, as in the script
    torch.testing.assert_close(inside[0, :, 0, 0], torch.tensor([1.0, 1.2, 1.4]))
    assert out.count_nonzero() == inside.count_nonzero() == inside.numel()
    whole = PaddedPreparation(InputSpec(), 5)(images)
    assert whole.shape == (2, 3, 5, 5)


def test_autocast_does_not_reach_the_network(tmp_path: Path):
    model = Float32Classifier(build_backbone(toys.ARCH, 16), 2, 0)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.zeros(2, 3, 16, 16)).dtype == torch.float32


def exact() -> bool:
    """Whether torch computes float32 on a GPU in float32: its own answer, which needs no GPU."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    if hasattr(cudnn, "conv"):
        return cuda.matmul.fp32_precision == cudnn.conv.fp32_precision == "ieee"
    return not (cuda.matmul.allow_tf32 or cudnn.allow_tf32)


@pytest.mark.parametrize("script", [SHORT, replace(SHORT, head_only=True)], ids=["all", "head"])
def test_no_pass_of_a_float32_protocol_may_take_tf32(
    script: PublishedScript, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: dict[str, set[bool]] = {}

    def note(what: str) -> None:
        seen.setdefault(what, set()).add(exact())

    def watched(job: EvalContext, script: PublishedScript) -> TaskTraining:
        training = build_published(job, script)
        training.model.register_forward_pre_hook(
            lambda model, _: note("train" if model.training else "predict")
        )
        training.model.head.weight.register_hook(lambda _: note("backward"))
        return training

    assert not exact()
    monkeypatch.setattr("mednet_bench.benchmark.training.epochwise.build_published", watched)
    PublishedProtocol(script).score(bench(tmp_path).job("medmnist-v2"))
    assert seen == {"train": {True}, "predict": {True}, "backward": {True}}
    assert not exact(), "what others compute in this process stays as it was"


@pytest.mark.parametrize("script", [SHORT, replace(SHORT, head_only=True, keeps="loss")], ids=["all", "head"])
def test_an_outcome_has_one_row_per_image_and_says_which_epoch_it_is(script: PublishedScript, tmp_path: Path):
    here = bench(tmp_path, clear=4)
    outcome = PublishedProtocol(script).score(here.job("medmnist-v2"))
    assert outcome.test_scores.shape == (45, 3) and outcome.val_scores.shape == (30, 3)
    assert outcome.notes[-1].startswith("kept epoch ")
    assert len(outcome.curve) == 4 and outcome.choices == ()


def test_no_option_changes_the_protocols():
    for name in ("medmnist-v2", "medmnist-plus"):
        assert PROTOCOLS[name].recipe_fields == ()
