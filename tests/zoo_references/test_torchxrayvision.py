"""Networks of TorchXRayVision, saved as its makers save them, give the same features after loading."""

from pathlib import Path

import pytest
import torch
import toys
from torch import nn
from torchvision.models import resnet50

from mednet_bench.baselines.init import InitCard
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.baselines.zoo.card import find_zoo_card

xrv = pytest.importorskip("torchxrayvision", reason="needs the extra zoo: make test-zoo")

SIDE = 96


def stirred(model: nn.Module) -> nn.Module:
    """Give batch norms statistics of images from -1024 to 1024, each other ones."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def card_of(name: str, path: Path) -> InitCard:
    card = find_zoo_card(name)
    args = tuple(card.arch_args.items())
    return toys.loaded_card(path, card.contract, layout=card.layout, arch_args=args)


@pytest.mark.parametrize("zip_format", [True, False])
@pytest.mark.parametrize("thresholds", [False, True])
@pytest.mark.filterwarnings("ignore:.*source code.*")
def test_its_densenet_is_read_from_a_pickled_module(
    zip_format: bool, thresholds: bool, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = stirred(xrv.models.DenseNet(op_threshs=torch.rand(18) if thresholds else None))
    path = tmp_path / "weights.pt"
    torch.save(model, path, _use_new_zipfile_serialization=zip_format)
    card = card_of("torchxrayvision-all", path)
    network = load_backbone(card, "densenet121", SIDE, seed=0).module.eval()
    levels = torch.randint(0, 256, (2, 1, SIDE, SIDE), dtype=torch.uint8)
    theirs = torch.from_numpy(xrv.utils.normalize(levels.numpy(), 255))
    ours = InputPreparation(card.contract, SIDE)(levels)
    assert (ours - theirs).abs().max() < 1e-3  # of 1024
    with torch.inference_mode():
        found, wanted = network(theirs), model.features2(theirs)
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max() and wanted.std() > 1e-3


def test_its_resnet_is_read_from_a_state_dict(tmp_path: Path) -> None:
    model = resnet50(weights=None, num_classes=18)  # as its class builds it, which needs its weights
    model.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    stirred(model)
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    network = load_backbone(card_of("torchxrayvision-resnet50", path), "resnet50", SIDE, 0).module
    images = torch.rand(2, 1, SIDE, SIDE)
    model.fc = nn.Identity()
    with torch.inference_mode():
        found, wanted = network.eval()(images), model(images)
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
