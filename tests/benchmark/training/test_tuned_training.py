"""`partial`, `lora` and layer-wise decay: frozen is frozen, and updates equal those of peft."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import toys
from torch import Tensor, nn
from toys import bits
from waits import watched

from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.baselines.weights.stages import stages
from mednet_bench.benchmark.protocols.lora import add_low_rank_updates
from mednet_bench.benchmark.training.fit import TaskTraining
from mednet_bench.benchmark.training.loop import OptimizerConfig, fit, parameter_groups
from mednet_bench.benchmark.training.model import ImageClassifier, freeze_tensors
from mednet_bench.benchmark.training.protocol import PROTOCOLS, EvalContext
from mednet_bench.core.errors import UserError

ARCHS = ("tf_efficientnet_lite0", "resnet18", "vit_tiny_patch16_224")
FEW = msgspec.structs.replace(toys.QUICK, steps=(3, 3), batch_size=8, evaluations=1)


def job_of(tmp_path: Path, protocol: str, arch: str = toys.ARCH, **options: object) -> EvalContext:
    here = toys.Bench(toys.task_of(toys.Toy()), tmp_path, arch=arch, side=32, recipe=FEW)
    job = here.job(protocol)
    return replace(job, cell=msgspec.structs.replace(job.cell, protocol_options=options or msgspec.UNSET))


def trained(job: EvalContext) -> tuple[dict[str, Tensor], TaskTraining]:
    """Train a cell, and return the backbone's tensors from before as well."""
    training = PROTOCOLS[job.cell.protocol].build_training(job)  # type: ignore[attr-defined]
    before = {name: tensor.clone() for name, tensor in training.model.backbone.state_dict().items()}
    training.run(3e-3)
    return before, training


def changed(before: Mapping[str, Tensor], training: TaskTraining) -> set[str]:
    after = training.model.backbone.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("arch", ARCHS)
def test_partial_trains_the_last_stages_and_leaves_every_other_bit(arch: str, tmp_path: Path) -> None:
    before, training = trained(job_of(tmp_path, "partial", arch, stages=2))
    found = stages(training.model.backbone)
    last = {tensor for stage in found[-2:] for tensor in stage.tensors}
    assert changed(before, training) <= last
    weights = {name for name, _ in training.model.backbone.named_parameters()}
    assert {name for name, value in training.model.backbone.named_parameters() if value.requires_grad} == (
        last & weights
    )
    assert len(changed(before, training)) > 0.9 * len(last)  # statistics of batch norm, too
    for stage in found[-2:]:
        assert changed(before, training) & {*stage.tensors}


@pytest.mark.parametrize("arch", ARCHS)
def test_partial_of_all_stages_trains_as_finetune_does(arch: str, tmp_path: Path) -> None:
    count = len(stages(build_backbone(arch, 32)))
    everything = PROTOCOLS["partial"].score(job_of(tmp_path, "partial", arch, stages=count))
    finetuned = PROTOCOLS["finetune"].score(job_of(tmp_path, "finetune", arch))
    assert bits(everything) == bits(finetuned)
    assert everything.parameters == finetuned.parameters > 0


def test_more_stages_than_there_are_is_an_error_with_their_number(tmp_path: Path) -> None:
    job = job_of(tmp_path, "partial", "resnet18", stages=6)
    said = "--protocol-option partial.stages=6: the network has 5 stages; pass at most 5"
    with pytest.raises(UserError, match=said):
        PROTOCOLS["partial"].score(job)
    with pytest.raises(UserError, match=f"resnet18: {said}"):
        PROTOCOLS["partial"].check_arch("resnet18", 32, job.options)


@pytest.mark.parametrize("arch", ARCHS)
def test_lora_trains_its_updates_and_leaves_every_bit_of_the_init(arch: str, tmp_path: Path) -> None:
    before, training = trained(job_of(tmp_path, "lora", arch, rank=2, alpha=4.0))
    updates = {name for name in before if name.endswith((".down", ".up"))}
    assert changed(before, training) == updates and updates
    modules = dict(training.model.backbone.named_modules())
    adapted = {modules[name.partition(".parametrizations")[0]] for name in updates}
    for module in modules.values():  # depthwise, grouped and larger convolutions stay as they are
        if isinstance(module, nn.Conv2d):
            assert (module in adapted) == (module.groups == 1 and module.kernel_size == (1, 1))
        elif isinstance(module, nn.Linear):
            assert module in adapted
    numbers = [tensor.numel() for name, tensor in before.items() if name in updates]
    outcome = PROTOCOLS["lora"].score(job_of(tmp_path, "lora", arch, rank=2, alpha=4.0))
    assert outcome.parameters == sum(numbers)


def test_lora_starts_as_the_init_and_draws_from_the_seed(tmp_path: Path) -> None:
    job = job_of(tmp_path, "lora")
    one, again = (PROTOCOLS["lora"].build_training(job) for _ in range(2))  # type: ignore[attr-defined]
    plain = TaskTraining.load(job)
    plain.estimate_batch_norm()  # as for every network with frozen random weights
    np.testing.assert_allclose(one.predict("test"), plain.predict("test"), rtol=0, atol=1e-5)
    seed = replace(job, cell=msgspec.structs.replace(job.cell, seed=1))
    other = PROTOCOLS["lora"].build_training(seed)  # type: ignore[attr-defined]
    downs = [
        [value for name, value in training.model.state_dict().items() if name.endswith(".down")]
        for training in (one, again, other)
    ]
    assert all(torch.equal(a, b) for a, b in zip(downs[0], downs[1], strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(downs[0], downs[2], strict=True))
    assert all(float(value.detach().std()) > 0 for value in downs[0])


def test_a_network_without_a_layer_to_adapt_is_refused() -> None:
    lora = PROTOCOLS["lora"]
    with pytest.raises(UserError, match="no linear layer and no 1x1 convolution"):
        lora.adapt_backbone(nn.Conv2d(3, 4, 3), lora.options(), 0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("arch", ARCHS)
def test_lora_equals_peft(arch: str) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed: pip install peft")
    torch.manual_seed(0)
    network = build_backbone(arch, 32).eval()
    reference = copy.deepcopy(network)
    updates = add_low_rank_updates(network, 4, 8 / 4)
    adapted = sorted({name.partition(".parametrizations")[0] for name in updates})
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=adapted)
    reference = peft.get_peft_model(reference, config).eval()
    pairs: list[tuple[nn.Parameter, nn.Parameter]] = []
    for name in adapted:
        layer = reference.base_model.model.get_submodule(name)
        ours = network.get_submodule(f"{name}.parametrizations.weight.0")
        assert not ours.up.any() and not layer.lora_B["default"].weight.any()
        theirs = layer.lora_A["default"].weight
        # the same law of random numbers: uniform between +- 1 / sqrt(inputs)
        bound = ours.down.shape[1] ** -0.5
        for drawn in (ours.down, theirs):
            assert 0.7 * bound < float(drawn.detach().abs().max()) <= bound
        with torch.no_grad():
            ours.up.normal_()
            layer.lora_A["default"].weight.copy_(ours.down.view_as(theirs))
            layer.lora_B["default"].weight.copy_(ours.up.view_as(layer.lora_B["default"].weight))
        pairs += [(ours.down, theirs), (ours.up, layer.lora_B["default"].weight)]
    assert len(pairs) >= 6
    # in float64: the two sum in another order
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    mine, other = network.double()(images), reference.double()(images)
    torch.testing.assert_close(mine, other, rtol=1e-7, atol=1e-9)
    weights = torch.randn_like(mine)
    for outputs in (mine, other):
        (weights * outputs).sum().backward()
    for own, theirs in pairs:
        assert own.grad is not None and theirs.grad is not None
        scale = float(theirs.grad.abs().max())
        torch.testing.assert_close(own.grad, theirs.grad.view_as(own.grad), rtol=0, atol=1e-7 * scale)


def test_frozen_modules_stay_in_eval_mode_and_others_do_not() -> None:
    network = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout()),
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False), nn.Dropout()),
    )
    network.num_features = 4  # type: ignore[assignment]
    frozen = {name for name in network.state_dict() if name.startswith("0.")} | {"1.0.weight"}
    model = ImageClassifier(network, 2, 0, frozen).train()
    assert [name for name, module in network.named_modules() if not module.training] == [
        "0", "0.0", "0.1", "0.2",
    ]  # fmt: skip
    assert not any(module.training for module in model.eval().modules())
    assert all(module.training for module in ImageClassifier(copy.deepcopy(network), 2, 0).train().modules())
    assert [name for name, value in network.named_parameters() if value.requires_grad] == ["1.0.bias"]
    assert freeze_tensors(nn.Linear(2, 2), ()) == ()


def test_frozen_statistics_stay_where_the_scale_beside_them_is_trained() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    (norm,) = freeze_tensors(network, {name for name in network.state_dict() if name != "1.bias"})[1:]
    assert norm is network[1] and norm.bias.requires_grad and not norm.weight.requires_grad


def test_layer_decay_gives_each_layer_of_a_vit_its_rate() -> None:
    model = ImageClassifier(build_backbone("vit_tiny_patch16_224", 224), 2, 0)
    scales = {
        id(value): group["lr_scale"] for group in parameter_groups(model, 0.5) for value in group["params"]
    }
    names = {name: scales.pop(id(value)) for name, value in model.named_parameters()}
    assert not scales
    for name, scale in names.items():
        place = name.removeprefix("backbone.").split(".")
        if place[0] in ("cls_token", "pos_embed", "patch_embed"):
            layer = 0
        elif place[0] in ("blocks", "norm"):
            layer = 1 + int(place[1]) if place[0] == "blocks" else 12
        else:
            layer = 13
            assert name.startswith("head.")
        assert scale == 0.5 ** (13 - layer), name


def test_every_parameter_keeps_the_weight_decay_of_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[torch.optim.AdamW] = []
    adamw = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *args, **kw: made.append(adamw(*args, **kw)) or made[-1])
    trained(job_of(tmp_path, "finetune", "test_vit", layer_decay=0.75))
    (optimizer,) = made
    assert {group["weight_decay"] for group in optimizer.param_groups} == {FEW.weight_decay}
    # the last of 3 steps: warm-up of 1, then a cosine; every group at its share of the run's rate
    rate = OptimizerConfig(lr=3e-3, weight_decay=0, every=1, patience=1).rate(2, 3)
    assert [group["lr"] for group in optimizer.param_groups] == [
        rate * group["lr_scale"] for group in optimizer.param_groups
    ]
    assert len({group["lr"] for group in optimizer.param_groups}) > 5


def test_a_decay_of_one_is_plain_adamw_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def weights(decay: float) -> list[Tensor]:
        training = TaskTraining.load(job_of(tmp_path, "finetune", "test_vit"))
        training.layer_decay = decay
        training.run(3e-3)
        return list(training.model.state_dict().values())

    plain = weights(1.0)
    groups = parameter_groups

    def grouped(model: nn.Module, layer_decay: float) -> list[dict[str, object]]:
        """Group as with a decay, with a scale of 1."""
        return [{**group, "lr_scale": layer_decay} for group in groups(model, 0.5)]

    monkeypatch.setattr("mednet_bench.benchmark.training.loop.parameter_groups", grouped)
    assert all(torch.equal(a, b) for a, b in zip(plain, weights(1.0), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(plain, weights(0.5), strict=True))


def test_a_cell_without_options_is_the_plain_training(tmp_path: Path) -> None:
    # a cell of version 0.1, or one with a decay of 1
    plain, decayed = (
        PROTOCOLS["finetune"].score(job_of(tmp_path, "finetune", "test_vit", **options))
        for options in ({}, {"layer_decay": 0.75})
    )
    assert plain.parameters == decayed.parameters and bits(plain) != bits(decayed)
    training = PROTOCOLS["finetune"].build_training(job_of(tmp_path, "finetune", "test_vit"))  # type: ignore[attr-defined]
    assert training.layer_decay == 1


@pytest.mark.parametrize(
    ("protocol", "options"), [("lora", {}), ("partial", {}), ("finetune", {"layer_decay": 0.75})]
)
def test_no_protocol_makes_the_host_wait(protocol: str, options: dict[str, object], tmp_path: Path) -> None:
    job = job_of(tmp_path, protocol, "test_vit", **options)
    training = PROTOCOLS[protocol].build_training(job)  # type: ignore[attr-defined]
    feed = training.batch_source()
    feed.batch(0)  # the contract's mean and std go to the device once
    hyper = OptimizerConfig(1e-3, 0.01, every=3, patience=1, layer_decay=training.layer_decay)
    with watched() as (waits, pausing):
        fit(training.model, feed, hyper, pausing(training.validate))
    assert len(waits.seen) <= 2, waits.seen  # one validation


@pytest.mark.parametrize("protocol", ["lora", "partial"])
def test_frozen_random_weights_get_the_statistics_of_their_training_images(
    protocol: str, tmp_path: Path
) -> None:
    job = job_of(tmp_path, protocol, "resnet18")
    before, training = trained(job)
    name = "layer1.0.bn1.running_mean"
    assert before[name].abs().max() > 0.01, "timm's random weights have a mean of 0"
    assert name not in changed(before, training)
    backbone = training.model.backbone
    images = training.prepare(job.data.images("train")[torch.from_numpy(job.subset.train)])
    seen: list[Tensor] = []
    backbone.get_submodule("layer1.0.conv1").register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        backbone.eval()(images)
    torch.testing.assert_close(before[name], seen[0].mean(dim=(0, 2, 3)), rtol=0.2, atol=0.02)
    loaded = replace(job, card=replace(job.card, seeded=False, file=Path("weights.safetensors")))
    assert not loaded.card.random, "weights from a file keep their statistics"
