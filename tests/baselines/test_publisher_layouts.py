"""Files under the names of BenchX, RadiologyNET and TorchXRayVision become the network that they hold."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import toys
from torch import Tensor, nn
from torchvision.models import get_model

from mednet_bench.baselines.init import InputSpec
from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.core.errors import UserError

State = dict[str, Tensor]
EXTRA = torch.zeros(2, 3)
QKV = ("query", "key", "value")
REFERS = {
    r"patch_embed\.proj": "embeddings.patch_embeddings",
    "pos_embed": "embeddings.position_embeddings",
    "cls_token": "embeddings.cls_token",
    r"^norm\.": "encoder.encoder_norm.",
    "norm1": "attention_norm",
    "norm2": "ffn_norm",
    r"attn\.proj": "attn.out",
    r"mlp\.": "ffn.",
    r"blocks\.": "encoder.layer.",
}


def under(prefix: str, *others: str) -> Callable[[State], State]:
    """Put the network under a prefix, beside other tensors."""
    return lambda state: {
        **{prefix + name: each for name, each in state.items()},
        **dict.fromkeys(others, EXTRA),
    }


def refers(state: State) -> State:
    """Names of jeonsworld/ViT-pytorch: query, key and value apart."""
    found = {}
    for name, tensor in state.items():
        new = name
        for old, replacement in REFERS.items():
            new = re.sub(old, replacement, new)
        parts = dict(zip(QKV, tensor.chunk(3), strict=True)) if "attn.qkv" in name else {"": tensor}
        found |= {f"visual.vit.transformer.{new.replace('qkv', part)}": each for part, each in parts.items()}
    return {**found, "textual.embedding.words.weight": EXTRA, "fusion.fc1.weight": EXTRA}


@dataclass(frozen=True)
class PublishedFile:
    """A layout, the arch of its network, and how the file names the tensors."""

    layout: str
    arch: str
    rename: Callable[[State], State]
    args: dict[str, int] = field(default_factory=dict)
    theirs: str = ""
    """Name of torchvision's network; "" for timm's own."""
    side: int = 64

    def source(self) -> nn.Module:
        """The network with random weights and, but for a ViT, random statistics; with a classifier."""
        torch.manual_seed(0)
        if self.theirs:
            more = {"aux_logits": True, "init_weights": False} if "inception" in self.theirs else {}
            model = get_model(self.theirs, weights=None, num_classes=3, **more)
        else:
            model = build_backbone(self.arch, self.side, classes=3, args=self.args)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        return model.eval()


GLORIA = ("gloria.img_encoder.global_embedder.weight", "gloria.text_encoder.model.a.weight")
MGCA = ("img_encoder_q.global_embed.head.0.weight", "text_encoder_q.model.a.weight", "prototype_layer.weight")
MRM = ("bert_encoder.model.a.weight", "bert_mlp.weight", "mask_token", "decoder_blocks.0.norm1.weight")
XRAY = ("op_threshs",)
ONE = {"in_chans": 1}
FILES = {
    "ConVIRT": PublishedFile(
        "benchx", toys.ARCH, under("visual.model.", "linguistic.a.weight", "vis_proj.0.weight")
    ),
    "GLoRIA": PublishedFile("benchx", toys.ARCH, under("gloria.img_encoder.model.", *GLORIA)),
    "MGCA": PublishedFile("benchx", toys.ARCH, under("img_encoder_q.model.", *MGCA)),
    "MGCA ViT": PublishedFile("benchx", "test_vit", under("module.img_encoder_q.model."), side=160),
    "M-FLAG": PublishedFile("benchx", toys.ARCH, under("encoder.", "proj_v.0.weight", "lm_model.a.weight")),
    "MRM": PublishedFile("benchx", "test_vit", under("", *MRM), side=160),
    "REFERS": PublishedFile("benchx", "test_vit", refers, side=160),
    "RadiologyNET ResNet": PublishedFile("radiologynet", "test_resnet", under("model.")),
    "RadiologyNET DenseNet": PublishedFile(
        "radiologynet", "densenet121", lambda s: {**s, **under("model.")(s)}, theirs="densenet121"
    ),
    "RadiologyNET EfficientNet": PublishedFile(
        "radiologynet", "efficientnet_b0", under(""), theirs="efficientnet_b0"
    ),
    "RadiologyNET Inception": PublishedFile(
        "radiologynet", "inception_v3", under("model."), theirs="inception_v3", side=96
    ),
    "TorchXRayVision DenseNet": PublishedFile("torchxrayvision", "densenet121", under("", *XRAY), ONE),
    "TorchXRayVision ResNet": PublishedFile("torchxrayvision", "test_resnet", under("model.", *XRAY), ONE),
}
LARGE = (
    "ConVIRT", "MGCA", "MGCA ViT", "RadiologyNET DenseNet", "RadiologyNET EfficientNet",
    "RadiologyNET Inception", "TorchXRayVision DenseNet",
)  # fmt: skip
"""Files of networks that take three to ten seconds."""


def loaded(state: State, file: PublishedFile, folder: Path) -> nn.Module:
    path = folder / "weights.pth"
    torch.save({"model_state": state, "epoch": 1}, path)
    contract = InputSpec(channels="gray") if file.args else InputSpec()
    card = toys.loaded_card(path, contract, layout=file.layout, arch_args=tuple(file.args.items()))
    return load_backbone(card, file.arch, file.side, seed=1).module.eval()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LARGE else ()) for name in FILES]
)
def test_a_published_file_gives_the_features_of_its_network_and_a_changed_one_is_refused(
    name: str, tmp_path: Path
) -> None:
    file = FILES[name]
    source = file.source()
    state = file.rename(source.state_dict())
    network = loaded(state, file, tmp_path)
    for head in ("fc", "classifier", "head"):
        if hasattr(source, head):
            setattr(source, head, nn.Identity())
    images = torch.rand(2, 1 if file.args else 3, file.side, file.side)
    with torch.inference_mode():
        wanted = source(images)
        assert torch.allclose(network(images), wanted, atol=1e-5) and wanted.std() > 1e-3
    *_, one = (n for n, t in state.items() if t.ndim == 4)
    rest = {n: t for n, t in state.items() if n not in (one, one.removeprefix("model."))}
    for changed, said in (
        (rest, "1 missing"),
        ({**rest, f"{one}_1": state[one]}, "1 missing .*1 left over"),
        ({**state, "surprise.weight": EXTRA}, r"1 left over \(surprise.weight\)"),
    ):
        with pytest.raises(UserError, match=said):
            loaded(changed, file, tmp_path)


@pytest.mark.parametrize("layout", ["benchx", "torchxrayvision"])
def test_a_file_of_other_names_is_not_of_the_layout(layout: str, tmp_path: Path) -> None:
    state = {f"a.{name}": each for name, each in build_backbone("resnet18", 64).state_dict().items()}
    with pytest.raises(UserError, match=f"not named as in the layout '{layout}'"):
        loaded(state, PublishedFile(layout, "resnet18", under("")), tmp_path)
