"""Checkpoints of every known layout become the same network to the bit; others are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import toys
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import get_model

from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.core.errors import UserError

State = dict[str, Tensor]
SIDE = 64


def stirred(model: nn.Module) -> nn.Module:
    """Give every batch norm other statistics: fresh ones are equal, and a swap would not show."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.normal_(0, 0.1)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 1.5)
    return model.eval()


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return stirred(build_backbone("resnet18", SIDE, classes=5))


def loaded(state: State, folder: Path, arch: str = "resnet18", **facts: object) -> nn.Module:
    """The whole way from a file to a network."""
    file = folder / "weights.safetensors"
    save_file({name: tensor.clone() for name, tensor in state.items()}, file)
    return load_backbone(toys.loaded_card(file, **facts), arch, SIDE, seed=1).module.eval()


def under(prefix: str) -> Callable[[State], State]:
    return lambda state: {prefix + name: tensor for name, tensor in state.items()}


def numbered(state: State) -> State:
    """Official RadImageNet: `nn.Sequential` of ResNet's children, without the last."""
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    parts = {name: name.partition(".") for name in state}
    return {f"backbone.{numbers[h]}.{t}": state[n] for n, (h, _, t) in parts.items() if h in numbers}


def moco(state: State) -> State:
    twin = {name: tensor * 2 for name, tensor in state.items()}
    return {
        **under("module.encoder_q.")(state),
        **under("module.encoder_k.")(twin),
        "module.queue": torch.zeros(8),
    }


LAYOUTS: dict[str, Callable[[State], State]] = {
    "timm": under(""),
    "DataParallel": under("module."),
    "Lightning": under("net."),
    "compiled inside a wrapper": under("_orig_mod.model."),
    "RadiologyNET": under("model."),
    "official RadImageNet": numbered,
    "MoCo": moco,
    "twice under two names": lambda state: {**state, **under("model.")(state)},
    "without counters": lambda state: {n: t for n, t in state.items() if "num_batches" not in n},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_renamed_resnet_computes_the_same_bit_by_bit(
    layout: str, resnet: nn.Module, tmp_path: Path
) -> None:
    network = loaded(LAYOUTS[layout](resnet.state_dict()), tmp_path)
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = resnet.global_pool(resnet.forward_features(images))  # type: ignore[operator]
        assert torch.equal(network(images), wanted)


@pytest.mark.parametrize("theirs", ["densenet121", "efficientnet_b0", "mobilenet_v2"])
def test_torchvisions_network_and_timms_compute_the_same(theirs: str, tmp_path: Path) -> None:
    ours = theirs.replace("mobilenet_v2", "mobilenetv2_100")
    reference = stirred(get_model(theirs, weights=None))
    network = loaded(reference.state_dict(), tmp_path, ours)
    reference.classifier = nn.Identity()
    images = torch.rand(1, 3, SIDE, SIDE)
    with torch.inference_mode():
        assert torch.equal(network(images), reference(images))


def test_a_network_of_torchvision_that_timm_builds_otherwise_is_refused_with_the_setting(
    tmp_path: Path,
) -> None:
    # the shapes agree to the last tensor, and the outputs would not: epsilon 0.001 against 0.00001
    with torch.device("meta"):
        names = get_model("efficientnet_b5", weights=None).state_dict()
    state = {name: torch.zeros(tensor.shape) for name, tensor in names.items() if tensor.numel() < 10_000}
    with pytest.raises(UserError, match=r"not the same network .* differ in eps \(0\.001, 1e-05\)"):
        loaded(state, tmp_path, "efficientnet_b5")


REFUSED: dict[str, tuple[Callable[[State], State], str]] = {
    "Keras names": (under("conv2_block1_1_conv."), "converted from Keras.*epsilon 1.001e-5"),
    "Keras in torch names": (
        lambda state: {**state, "layer1.0.conv1.bias": torch.zeros(64)},
        "converted from Keras.*convolutions with bias",
    ),
    "a stage missing": (
        lambda state: {name: tensor for name, tensor in state.items() if not name.startswith("layer4")},
        "missing .layer4",
    ),
    "a stage missing in numbers": (
        lambda state: {n: t for n, t in numbered(state).items() if not n.startswith("backbone.5")},
        "missing",
    ),
    "another head": (lambda state: {**state, "head.weight": torch.zeros(5, 512)}, "1 left over .head.weight"),
    "two networks": (
        lambda state: {**under("net.")(state), **under("model.")({n: t + 1 for n, t in state.items()})},
        "left over",
    ),
    "a segmentation decoder": (
        lambda state: {**under("encoder.")(state), "decoder.0.weight": torch.zeros(3)},
        "1 left over .decoder.0.weight",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_does_not_fit_totally_is_refused(fault: str, resnet: nn.Module, tmp_path: Path) -> None:
    change, message = REFUSED[fault]
    with pytest.raises(UserError, match=message):
        loaded(change(resnet.state_dict()), tmp_path)


def test_what_a_card_excuses_by_name_may_be_left_over(resnet: nn.Module, tmp_path: Path) -> None:
    decoder = {"decoder.0.weight": torch.zeros(3)}
    assert loaded({**under("encoder.")(resnet.state_dict()), **decoder}, tmp_path, excused=("decoder.",))


def test_a_twin_that_differs_is_no_twin(resnet: nn.Module, tmp_path: Path) -> None:
    twin = {name: tensor + 1 for name, tensor in under("model.")(resnet.state_dict()).items()}
    with pytest.raises(UserError, match="left over"):
        loaded({**resnet.state_dict(), **twin}, tmp_path)


def test_order_alone_is_believed_only_where_a_card_asks_for_it(resnet: nn.Module, tmp_path: Path) -> None:
    state = {
        name.replace("layer", "block"): t for name, t in resnet.state_dict().items() if "fc." not in name
    }
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    card = toys.loaded_card(path)
    with pytest.raises(UserError, match=r"missing .layer1"):
        load_backbone(card, "resnet18", SIDE, seed=0)
    network = load_backbone(toys.loaded_card(path, layout="order"), "resnet18", SIDE, seed=0).module
    assert torch.equal(network.state_dict()["layer4.1.bn2.weight"], state["block4.1.bn2.weight"])


CURES: dict[str, tuple[Callable[[State], State], str, str]] = {
    "another arch": (
        under("net."),
        "resnet34",
        "they fit resnet18: pass --archs resnet18, .*, or name a file of resnet34",
    ),
    "nearly another arch": (
        lambda state: {n: t for n, t in state.items() if n != "layer4.1.bn2.bias"},
        "resnet34",
        "nearest is resnet18, with 1 that do not fit",
    ),
    "a head": (
        lambda state: {**state, "head.0.weight": torch.zeros(5, 512)},
        "resnet18",
        "name their prefix in the card's `excused`",
    ),
    "gray": (
        lambda state: {**state, "conv1.weight": state["conv1.weight"][:, :1]},
        "resnet18",
        r"they fit resnet18 with arch_args = \{ in_chans = 1 \}: correct their card",
    ),
}


@pytest.mark.parametrize("fault", CURES)
def test_a_misfit_says_what_to_pass(fault: str, resnet: nn.Module, tmp_path: Path) -> None:
    change, arch, message = CURES[fault]
    with pytest.raises(UserError, match=message):
        loaded(change(resnet.state_dict()), tmp_path, arch)


def test_a_misfit_of_the_card_s_arguments_says_so(resnet: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="they fit resnet18 without its `layout` and `arch_args`"):
        loaded(resnet.state_dict(), tmp_path, arch_args=(("in_chans", 1),))
