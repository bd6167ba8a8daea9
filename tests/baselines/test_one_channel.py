"""Networks with one input channel take gray images, and only these, through a whole run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from click.testing import CliRunner
from torchvision.models import densenet121

import mednet_bench
from mednet_bench.baselines.init import InitRequest, InputSpec
from mednet_bench.baselines.naming import read_inits
from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.baselines.weights.checkpoint import CheckpointCard, read_checkpoint_card, write_card
from mednet_bench.baselines.weights.fingerprint import fingerprint
from mednet_bench.baselines.weights.input_spec import check_input_spec, format_input_spec
from mednet_bench.baselines.weights.inspect import inspect_checkpoint
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError
from mednet_bench.core.files import sha256_file

XRAY = InputSpec(mean=(0.5,) * 3, std=(1 / 2048,) * 3, channels="gray")


@pytest.fixture(scope="module")
def xray_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pickled DenseNet-121 of one channel whose first batch norm has seen images from -1024 to 1024."""
    torch.manual_seed(0)
    model = densenet121(weights=None, num_classes=18)
    features = model.features
    features.conv0 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    features.norm0.running_mean.zero_()
    features.norm0.running_var.copy_((features.conv0.weight.square().sum((1, 2, 3)) * 500**2).detach())
    path = tmp_path_factory.mktemp("xray") / "weights.pt"
    torch.save(model, path)
    return path


def test_one_channel_is_scaled_by_the_first_mean_and_std() -> None:
    images = torch.tensor([0.0, 255.0]).view(2, 1, 1, 1)
    prepare = InputPreparation(XRAY, 1)
    assert prepare(images).flatten().tolist() == [-1024, 1024] and prepare(images).shape == (2, 1, 1, 1)
    with pytest.raises(UserError, match="takes gray images only"):
        prepare(torch.zeros(2, 3, 1, 1))
    assert format_input_spec(XRAY) == "mean [0.5], std [0.0004883], gray, value_range 1"


def test_evidence_finds_a_wrong_scale_and_the_right_one(xray_file: Path) -> None:
    card = toys.loaded_card(xray_file, XRAY, layout="torchxrayvision", arch_args=(("in_chans", 1),))
    model = load_backbone(card, "densenet121", 64, 0).module.eval()
    right = check_input_spec(model, XRAY, 64)
    assert right.checked and right.warnings == () and len(right.means) in (0, 1)
    images = np.random.default_rng(0).integers(0, 255, (4, 1, 64, 64), dtype=np.uint8)
    assert check_input_spec(model, XRAY, 64, images).checked
    wrong = check_input_spec(model, InputSpec(channels="gray"), 64)
    assert "too small" in wrong.warnings[0] and ", gray, value_range 255" in wrong.warnings[0]
    assert fingerprint(model, XRAY, 64) != fingerprint(model, InputSpec(channels="gray"), 64)


def test_inspection_finds_the_channel_and_its_card_loads(xray_file: Path) -> None:
    found = inspect_checkpoint(xray_file, excused=())
    assert (found.arch, found.one_channel) == ("densenet121", True)
    assert found.contract.channels == "gray" and found.contract.std[0] == 1 / 2048
    path = xray_file.with_name("draft.toml")
    write_card(found.draft(), path)
    card = read_checkpoint_card(path)
    assert card.arch_args == {"in_chans": 1} and card.color == "gray" and card.contract.channels == "gray"
    shown = CliRunner().invoke(cli, ["inspect-weights", str(xray_file), "--arch", "densenet121"])
    assert "densenet121 with one input channel" in shown.output


WRONG = {
    "images have 1 or 3 channels, and in_chans is 2": {"arch_args": {"in_chans": 2}},
    "add arch_args.in_chans = 1": {"input": InputSpec(channels="gray")},
    "takes no color images": {"arch_args": {"in_chans": 1}, "variant": "color"},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_card_that_contradicts_itself_is_refused(message: str, tmp_path: Path) -> None:
    facts = {"name": "a", "path": "a", "sha256": "0" * 64, "arch": "resnet18", "corpora": ("x",)}
    facts |= {"input": InputSpec(), **WRONG[message]}
    write_card(CheckpointCard(**facts), tmp_path / "card.toml")
    with pytest.raises(UserError, match=message):
        read_checkpoint_card(tmp_path / "card.toml")


def own_card(file: Path, arch: str) -> Path:
    """Write the card of a user's file of weights with one input channel."""
    card = CheckpointCard(
        name="own", path=file.name, sha256=sha256_file(file), arch=arch, arch_args={"in_chans": 1},
        input=InputSpec(), corpora=("chexpert",),
    )  # fmt: skip
    write_card(card, file.with_name("own.toml"))
    return file.with_name("own.toml")


@pytest.fixture
def request_of_color(tmp_path: Path) -> InitRequest:
    task = replace(toys.task_of(toys.Toy()), variant="color")
    return toys.need_of(task, tmp_path / "cache", arch="densenet121")


def test_color_tasks_are_refused_by_zoo_and_own_cards(
    request_of_color: InitRequest, xray_file: Path, tmp_path: Path
) -> None:
    inits = [f"zoo/torchxrayvision-chex={xray_file}", f"own={own_card(xray_file, 'densenet121')}"]
    for init in read_inits(inits):
        with pytest.raises(UserError, match=r"gray .*choose --tasks of its color"):
            init(request_of_color)


@pytest.mark.parametrize("arch", [toys.ARCH, pytest.param("densenet121", marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_run_on_a_gray_task_trains_and_probes_the_network(
    arch: str, xray_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    name = "zoo/torchxrayvision-all"
    gray = f"{name}={xray_file}"
    if arch == toys.ARCH:
        torch.save(build_backbone(arch, 32, args={"in_chans": 1}).state_dict(), tmp_path / "own.pth")
        name, gray = "own", f"own={own_card(tmp_path / 'own.pth', arch)}"
    config = RunConfig(
        tasks=("phantom-organ",), archs=(arch,), protocols=("finetune", "linear"), seeds=(0,),
        fractions=(0.1,), inits=(gray, "scratch"), download=False,
        out=str(tmp_path / "run"), report=False, input_size=32, keep_models="final",
    ).with_options({"steps": "2", "lr_grid": (1e-3,), "evaluations": 1})  # fmt: skip
    results = mednet_bench.run(config)
    assert not results.failed
    facts = {record.cell.init: record.init for record in RecordStore(config.folder).read_all()}
    assert facts[name].adapted == () and facts[name].contract["channels"] == "gray"
    assert facts["scratch"].adapted == ("1 channel repeated to 3",)
    kept = [read_checkpoint_card(path) for path in (config.folder / "models").glob("*.toml")]
    assert {(card.contract.channels, card.arch_args.get("in_chans", 3)) for card in kept} == {
        ("gray", 1), ("rgb", 3),
    }  # fmt: skip
