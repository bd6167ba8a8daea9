"""Derived inits keep the stated part of their source, and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toys

from mednet_bench.baselines.derived import derive_init
from mednet_bench.baselines.init import InitCard, InitRequest
from mednet_bench.baselines.naming import InitName, parse_init_name, read_inits
from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.weights.stages import stages
from mednet_bench.baselines.weights.transform import check_transform
from mednet_bench.benchmark.run.new_record import init_facts
from mednet_bench.benchmark.run.resolve import resolve_request
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.core.errors import UserError

State = dict[str, torch.Tensor]


@pytest.fixture
def source(tmp_path: Path) -> InitCard:
    """Weights whose statistics differ from tensor to tensor, and from those of a fresh network."""
    file = toys.write_weights(tmp_path / "weights.safetensors")
    from safetensors.torch import load_file, save_file

    state = load_file(file)
    generator = torch.Generator().manual_seed(0)
    for place, (name, tensor) in enumerate(state.items()):
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=generator)
            state[name] = noise * (0.1 + 0.01 * place) + 0.05
    save_file(state, file)
    return toys.loaded_card(file, corpora=("somewhere",))


def state(card: InitCard, seed: int = 0) -> State:
    return dict(load_backbone(card, toys.ARCH, 16, seed).module.state_dict())


def weights(state: State) -> State:
    """The parameters of the network, without the running statistics."""
    names = {name for name, _ in build_backbone(toys.ARCH, 16).named_parameters()}
    return {name: tensor for name, tensor in state.items() if name in names}


def same(a: State, b: State) -> set[str]:
    return {name for name in a if torch.equal(a[name], b[name])}


def test_mean_and_variance_are_kept_and_nothing_else(source: InitCard) -> None:
    ours, theirs = weights(state(derive_init("x", "meanvar", source))), weights(state(source))
    large = [name for name in theirs if theirs[name].numel() >= 2000]
    assert large
    for name in large:
        a, b = ours[name].double().flatten(), theirs[name].double().flatten()
        assert abs(float(a.mean() - b.mean())) < 4 * float(b.std()) / len(b) ** 0.5
        assert float(a.std() / b.std()) == pytest.approx(1, abs=4 / (2 * len(b)) ** 0.5)
        assert abs(float(torch.corrcoef(torch.stack([a, b]))[0, 1])) < 4 / len(b) ** 0.5
        kurtosis = float(((a - a.mean()) ** 4).mean() / a.var() ** 2)
        assert kurtosis == pytest.approx(3, abs=0.5)  # normal; the source, uniform, has 1.8


def test_shuffling_keeps_every_value(source: InitCard) -> None:
    ours, theirs = weights(state(derive_init("x", "shuffled", source))), weights(state(source))
    assert all(torch.equal(ours[name].flatten().sort()[0], theirs[name].flatten().sort()[0]) for name in ours)
    moved = {name for name in ours if ours[name].numel() > 10} - same(ours, theirs)
    assert moved == {name for name in ours if ours[name].numel() > 10}


@pytest.mark.parametrize("kind", ["meanvar", "shuffled"])
def test_statistics_of_lost_features_are_those_of_a_fresh_network(source: InitCard, kind: str) -> None:
    ours, fresh = state(derive_init("x", kind, source)), state(toys.RANDOM)
    running = {name for name in ours if "running" in name}
    assert running and running <= same(ours, fresh) - same(fresh, state(source))
    assert all(tensor.isfinite().all() for tensor in ours.values())


def test_draws_belong_to_the_seed_and_pair_the_sources(source: InitCard, tmp_path: Path) -> None:
    card = derive_init("x", "meanvar", source)
    assert same(state(card, 3), state(card, 3)) == set(state(card))
    assert not same(weights(state(card, 3)), weights(state(card, 4)))
    other = derive_init("y", "meanvar", toys.loaded_card(toys.write_weights(tmp_path / "other.safetensors")))
    a, b = (weights(state(each, 3)) for each in (card, other))
    name = max(a, key=lambda name: a[name].numel())
    both = torch.stack([a[name].flatten(), b[name].flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.999  # the same normal numbers, scaled


@pytest.mark.parametrize("kept", [1, 3])
def test_partial_keeps_the_first_stages_and_leaves_the_rest_to_scratch(source: InitCard, kept: int) -> None:
    ours = state(derive_init("x", "partial", source, kept), 5)
    theirs, fresh = state(source), state(toys.RANDOM, 5)
    of_stage = stages(build_backbone(toys.ARCH, 16))
    first = {name for stage in of_stage[:kept] for name in stage.tensors}
    rest = {name for stage in of_stage[kept:] for name in stage.tensors}
    assert first | rest == set(ours) and not first & rest
    assert first <= same(ours, theirs) and rest <= same(ours, fresh)
    assert any("running" in name for name in first - same(theirs, fresh))  # statistics of kept features stay


RESNET_STAGES = ["act1", "layer1", "layer2", "layer3", "layer4"]
NETWORKS = {
    "resnet18": (RESNET_STAGES, {"conv1.weight": 0, "layer1.0.bn1.bias": 1}),
    "resnet18_cifar": (RESNET_STAGES, {"bn1.weight": 0}),
    "tf_efficientnet_lite0": (
        ["blocks.0", "blocks.1", "blocks.2", "blocks.4", "blocks.6"],
        {"conv_stem.weight": 0, "blocks.3.0.bn1.bias": 3, "conv_head.weight": 4, "bn2.running_mean": 4},
    ),
    "test_convnext": (
        [f"stages.{at}" for at in range(4)],
        {"stem.0.weight": 0, "stages.3.blocks.0.gamma": 3},
    ),
    "test_vit": (
        [f"blocks.{at}" for at in range(6)],
        {"cls_token": 0, "patch_embed.proj.weight": 0, "blocks.4.norm1.bias": 4, "norm.bias": 5},
    ),
}


@pytest.mark.parametrize("arch", NETWORKS)
def test_stages_hold_every_tensor_once_in_the_order_of_the_images(arch: str) -> None:
    names, places = NETWORKS[arch]
    model = build_backbone(arch, 64)
    found = stages(model)
    assert [stage.name for stage in found] == names
    assert [name for stage in found for name in stage.tensors] == list(model.state_dict())
    assert {name: next(i for i, s in enumerate(found) if name in s.tensors) for name in places} == places


def resolved(words: str, need: InitRequest) -> dict[str, InitCard]:
    return {named.name: named(need) for named in read_inits(words.split(","))}


@pytest.fixture
def need(tmp_path: Path) -> InitRequest:
    toy = toys.task_of(toys.Toy())
    other = toys.task_of(toys.Toy(), "other", source_group="elsewhere")
    return toys.need_of(toy, tmp_path / "cache", tasks=(toy, other))


def test_names_take_the_card_from_elsewhere_in_the_list(need: InitRequest, tmp_path: Path) -> None:
    path = toys.write_card(tmp_path)
    cards = resolved(f"meanvar:lab,lab={path},partial:lab:2,mednet={path},shuffled:mednet,scratch", need)
    assert list(cards) == ["meanvar:lab", "lab", "partial:lab:2", "mednet", "shuffled:mednet", "scratch"]
    for name in ("meanvar:lab", "partial:lab:2", "shuffled:mednet"):
        card = cards[name]
        assert card.name == name and card.seeded and card.file == cards["lab"].file
        assert card.corpora == cards["lab"].corpora == ("somewhere",)  # contaminated weights stay declared
    identities = {card.decisive for card in cards.values()}
    assert len(identities) == len(cards) - 1  # `lab` and `mednet` are the same weights
    assert init_facts(cards["partial:lab:2"], None).label == "first 2 stages of: checkpoint own"
    assert load_backbone(cards["meanvar:lab"], toys.ARCH, 16, 0).weights == f"sha256:{cards['lab'].sha256}"


def test_what_derives_from_mednet_shares_its_pretraining(need: InitRequest) -> None:
    cards = resolved("mednet,partial:mednet:1", need)
    assert cards["partial:mednet:1"].pretraining == cards["mednet"].pretraining
    assert cards["partial:mednet:1"].source == cards["mednet"]


def test_continued_begins_with_the_imagenet_weights_of_the_list(need: InitRequest, tmp_path: Path) -> None:
    need = replace(need, arch="resnet18")
    file = toys.write_weights(tmp_path / "own.safetensors", "resnet18", 32)
    cards = resolved(f"mednet,continued,imagenet={file}", need)
    start = cards["continued"].pretraining.start  # type: ignore[union-attr]
    assert start is not None and start == cards["imagenet"] and start.file == file
    assert cards["continued"].contract == start.contract and "imagenet-1k" in cards["continued"].corpora
    assert cards["continued"].file != cards["mednet"].file


WRONG = {
    "meanvr:imagenet": "did you mean 'meanvar'?",
    "imagnet": "did you mean 'imagenet'?",
    "meanvar:imagnet": "did you mean 'imagenet'?",
    "meanvar:lab": "lab=card.toml",
    "lab": "lab=card.toml",
    "partial:imagenet": "as partial:imagenet:2",
    "partial:imagenet:0": "as partial:imagenet:2",
    "partial:imagenet:two": "as partial:imagenet:2",
    "shuffled:meanvar:imagenet": "derives from a derived init",
    "a/b/c=x.toml": "no name",
    "scratch@4000": "is not pretrained here",
    "mednet@many": "as mednet@4000",
    "mednet@0": "as mednet@4000",
    "imagenet/dino": "There is no tag of timm's weights for test_efficientnet called 'dino'",
    "lab=": "no path after 'lab='",
    "lab=a.toml,meanvar:lab=b.toml": "give one of them another name",
    "scratch,meanvar:scratch": "scratch is random weights",
    "continued=x.toml": "lab=x.toml",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_means_nothing_is_refused_in_one_sentence(words: str, need: InitRequest) -> None:
    with pytest.raises(UserError) as refusal:
        resolved(words, need)
    assert WRONG[words] in str(refusal.value) and "\n" not in str(refusal.value)


def test_more_stages_than_there_are_is_refused_with_their_number(source: InitCard) -> None:
    card = derive_init("x", "partial", source, 9)
    for refused in (lambda: state(card), lambda: check_transform(card.transform, toys.ARCH, 16)):  # type: ignore[arg-type]
        with pytest.raises(UserError, match=r"test_efficientnet has 5 stages.*keep 1 to 4"):
            refused()


def test_a_transformed_network_computes_numbers(source: InitCard) -> None:
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 3, 16, 16)).astype(np.float32))
    for kind in ("meanvar", "shuffled"):
        model = load_backbone(derive_init("x", kind, source), toys.ARCH, 16, 0).module.eval()
        with torch.inference_mode():
            assert model(images).isfinite().all()


def test_a_family_has_variants_and_numbers_of_images(need: InitRequest, tmp_path: Path) -> None:
    path = toys.write_card(tmp_path)
    cards = resolved(f"mednet,mednet@64,meanvar:mednet@64,lab/large={path},partial:lab/large:2", need)
    plans = {name: card.source.pretraining for name, card in cards.items()}
    assert [plan.images if plan else None for plan in plans.values()] == [0, 64, 64, None, None]
    assert cards["meanvar:mednet@64"].source.name == cards["mednet@64"].name == "mednet@64"
    assert cards["partial:lab/large:2"].source.file == cards["lab/large"].file
    assert parse_init_name("partial:mednet@64:2") == InitName("partial", "mednet", 64, 2)


def test_inits_declare_where_their_weights_come_from(need: InitRequest, tmp_path: Path) -> None:
    words = f"mednet,meanvar:mednet,lab={toys.write_card(tmp_path)},scratch"
    cards = resolved(words, need)
    assert {name: init_facts(card, need.task).origin for name, card in cards.items()} == {
        "mednet": "here", "meanvar:mednet": "here", "lab": "card", "scratch": ""
    }  # fmt: skip


def test_a_number_of_images_is_of_different_images_with_the_steps_of_the_run() -> None:
    words = {"tasks": "phantom-organ", "protocols": "linear", "size": 28, "input_size": 32, "download": False}

    def cards_of(inits: str, images: int) -> dict[str, InitCard]:
        config = RunConfig(inits=inits, pretrain_images=images, **words)  # type: ignore[arg-type]
        return {name: card for (_, _, name), card in resolve_request(config).cards.items()}

    few, many = (cards_of("mednet@64,mednet@96,mednet", images) for images in (128, 256))
    identities = [card.identity for card in (*few.values(), *many.values())]
    assert len(set(identities)) == len(identities)
    assert cards_of("mednet", 128)["mednet"].identity == few["mednet"].identity
    assert "pretrained here on 64 images of phantom-" in few["mednet@64"].label
