"""Exports load by the line of their README in a process without this package, with the same features."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import click
import msgspec
import numpy as np
import pytest
import timm
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from small_corpus import make_corpus
from small_result import finished_on

from mednet_bench.baselines.init import InitCard, InputSpec
from mednet_bench.baselines.weights.prepare import InputPreparation
from mednet_bench.benchmark.pretraining import export, export_timm
from mednet_bench.benchmark.pretraining.mednet_folder import FinishedMedNet, read_mednet
from mednet_bench.benchmark.pretraining.modelcard import write_results
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError
from mednet_bench.core.optional import import_extra

ROOT = Path(__file__).parents[3]
HAS_ONNX = all(find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_onnx = pytest.mark.skipif(
    not HAS_ONNX, reason="the extra onnx is not installed (117 MB, not part of the extra dev)"
)
BYTES = InputSpec(
    mean=(124, 116, 104), std=(58, 57, 57), channels="gray", value_range=255, interpolation="bicubic"
)
GRAY = InitCard("toy", "toy", "toy", contract=BYTES, arch_args=(("in_chans", 1),))
NETWORKS = {
    "convolutions": ("test_resnet", 28, None),
    "transformer": ("test_vit", 64, None),  # of 160 px: its position table is resampled in the forward pass
    "gray": ("test_efficientnet", 32, GRAY),
}
CLEAN = f"""
import sys
from importlib.machinery import PathFinder
inside = [place for place in sys.path if place.startswith({str(ROOT)!r}) and not place.startswith(sys.prefix)]
sys.path = [place for place in sys.path if place not in inside]
find_spec = PathFinder.find_spec

def find_installed(name, path=None, target=None):
    return None if name.partition(".")[0] in HIDDEN else find_spec(name, path, target)

PathFinder.find_spec = find_installed
try:
    import mednet_bench
    raise SystemExit("mednet_bench was imported")
except ModuleNotFoundError:
    pass
"""


@pytest.fixture(scope="module")
def mednets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of finished pretrainings, by name of the network."""
    corpus = tmp_path_factory.mktemp("corpora") / "gray"
    make_corpus(corpus)
    folders = {name: tmp_path_factory.mktemp(name) for name in NETWORKS}
    for name, (arch, side, start) in NETWORKS.items():
        write_results(finished_on(corpus, arch, side, start), folders[name])
    return folders


def run_cli(*words: object) -> Result:
    return CliRunner().invoke(cli, ["export", *map(str, words)], standalone_mode=False)


def run_clean(code: str, folder: Path, hidden: tuple[str, ...] = ()) -> NDArray[np.float32]:
    """Run code in `folder`, without this checkout; it reads `images.npy` and must set `features`."""
    names = ("mednet_bench", *hidden)
    parts = [f"HIDDEN = {names}", CLEAN, "import numpy\nimages = numpy.load('images.npy')", code]
    last = "assert not set(HIDDEN) & set(sys.modules)\nnumpy.save('features.npy', features)"
    ended = subprocess.run(
        [sys.executable, "-I", "-c", "\n".join([*parts, last])], cwd=folder, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return np.load(folder / "features.npy")


def documented_line(folder: Path) -> str:
    return re.findall(r"```python\n(.*)\n```", (folder / "README.md").read_text())[0]


def check_equal(found: NDArray[np.float32], mednet: FinishedMedNet, levels: torch.Tensor) -> None:
    with torch.inference_mode():
        prepare = InputPreparation(mednet.card.contract, mednet.card.input_size)
        wanted = mednet.backbone(prepare(levels)).numpy()
    spread = np.ptp(mednet.features(mednet.backbone).numpy(), axis=0).max()
    assert spread > 1e-3  # features that depend on the image, far more than is allowed below
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.slow
def test_timm_loads_it_in_one_line_without_this_package(
    name: str, mednets: dict[str, Path], tmp_path: Path
) -> None:
    if not hasattr(timm.models._factory, "load_model_config_from_path"):
        pytest.skip("timm reads no folders before 1.0.16")
    result = run_cli(mednets[name], "--to", "timm", "--out", tmp_path / "out")
    assert (result.exception, result.stdout.strip()) == (None, str(tmp_path / "out" / "README.md"))
    mednet = read_mednet(mednets[name])
    levels = mednet.probe_levels()
    prepared = InputPreparation(mednet.card.contract, mednet.card.input_size)(levels)
    np.save(tmp_path / "out" / "images.npy", prepared.numpy())
    code = f"import timm, torch\n{documented_line(tmp_path / 'out')}\n"
    found = run_clean(
        code + "features = network(torch.from_numpy(images)).detach().numpy()", tmp_path / "out"
    )
    check_equal(found, mednet, levels)


@needs_onnx
@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_runs_it_in_one_line_on_levels(
    name: str, mednets: dict[str, Path], tmp_path: Path
) -> None:
    result = run_cli(mednets[name], "--to", "onnx", "--out", tmp_path / "out")
    assert result.exception is None, result.exception
    assert result.stdout.strip() == str(tmp_path / "out" / "README.md")
    mednet = read_mednet(mednets[name])
    for count in (1, 4):  # neither is the batch of the export
        levels = mednet.probe_levels()[:count].flip(0)
        np.save(tmp_path / "out" / "images.npy", levels.numpy())
        code = f"import onnxruntime\n{documented_line(tmp_path / 'out')}"
        check_equal(run_clean(code, tmp_path / "out", ("torch", "timm")), mednet, levels)


@needs_onnx
def test_the_metadata_of_the_onnx_file_state_input_sources_and_license(
    mednets: dict[str, Path], tmp_path: Path
) -> None:
    export.export_mednet(mednets["convolutions"], "onnx", tmp_path / "out")
    onnx = import_extra("onnx", "onnx", "A test")
    facts = {each.key: each.value for each in onnx.load(tmp_path / "out" / "model.onnx").metadata_props}
    assert "[batch, 3, 28, 28], RGB" in facts["input"]
    assert "built in" in facts["input"]
    assert facts["sources"] == "cells (38 images, CC0); findings (38 images, CC BY 4.0)"
    assert facts["left_out"] == "organamnist"
    assert facts["license"].startswith("attribution")


def test_timms_configuration_prepares_pictures_as_the_mednet_was_fed(
    mednets: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("convolutions", "gray"):
        mednet = read_mednet(mednets[name])
        config = export_timm.timm_config(mednet)
        prepare = timm.data.create_transform(**timm.data.resolve_data_config({}, config["pretrained_cfg"]))
        levels = mednet.probe_levels()[:1]
        picture = Image.fromarray(levels[0].permute(1, 2, 0).squeeze().numpy().astype(np.uint8))
        wanted = InputPreparation(mednet.card.contract, mednet.card.input_size)(levels)[0]
        torch.testing.assert_close(prepare(picture), wanted, rtol=0, atol=1e-5)  # type: ignore[operator]


def test_the_files_say_what_the_network_is_and_from_which_data(
    mednets: dict[str, Path], tmp_path: Path
) -> None:
    export.export_mednet(mednets["convolutions"], "timm", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["num_classes"], config["pretrained_cfg"]["license"][:11]) == (0, "attribution")
    weights = (mednets["convolutions"] / "weights.safetensors").read_bytes()
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == weights
    text = (tmp_path / "out" / "README.md").read_text()
    for wanted in (
        r"\| cells +\| 38 +\| CC0 +\|",
        r"seen images of: cells, findings, ham10000\.",
        r"may contain their images: organamnist\.",
        r"\| steps +\| 8 +\|",
        r"sources' terms, attribution",
        r"Not for diagnosis",
    ):
        assert re.search(wanted, text), wanted


def test_a_new_classifier_is_added_to_the_exported_weights(mednets: dict[str, Path], tmp_path: Path) -> None:
    export.export_mednet(mednets["convolutions"], "timm", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    source = {**config["pretrained_cfg"], "file": str(tmp_path / "out" / "model.safetensors")}
    network = timm.create_model(config["architecture"], pretrained=True, pretrained_cfg=source, num_classes=5)
    wanted = read_mednet(mednets["convolutions"]).backbone.state_dict()
    found = network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())
    assert found["fc.weight"].shape[0] == 5


def test_other_features_are_refused(mednets: dict[str, Path]) -> None:
    mednet = read_mednet(mednets["convolutions"])
    features = mednet.features(mednet.backbone)
    mednet.check_features(features + 5e-6, "timm 9")
    for wrong in (features + 1e-3, features * float("nan"), features[:, :3]):
        with pytest.raises(UserError, match="timm 9 computes other features"):
            mednet.check_features(wrong, "timm 9")


def test_wrong_requests_end_in_one_sentence_and_leave_nothing(
    mednets: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "half").mkdir()
    text = (mednets["convolutions"] / "card.toml").read_text()
    (tmp_path / "half" / "card.toml").write_text(text)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "card.toml").write_text(text.partition("[training]")[0])
    good, out = mednets["convolutions"], tmp_path / "out"
    for folder, to, target, sentence in (
        (tmp_path, "timm", out, "is no MedNet folder, as it has no card.toml: name the --out folder"),
        (tmp_path / "absent", "timm", out, "is no MedNet folder"),
        (tmp_path / "half", "timm", out, "which are not there: name the --out folder"),
        (tmp_path / "other", "timm", out, "was not written by a pretraining: name the --out folder"),
        (good, "timm", tmp_path / "there", "there exists: name a new folder."),
        (good, "timm", good / "card.toml" / "out", "choose another folder."),
        (good, "keras", out, "'keras' is not one of 'timm', 'onnx'."),
    ):
        error = run_cli(folder, "--to", to, "--out", target).exception
        assert isinstance(error, (UserError, click.ClickException)), error  # both exit with 2
        said = error.format_message() if isinstance(error, click.ClickException) else str(error)
        assert sentence in said
        assert "\n" not in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["half", "other", "there"]


@pytest.mark.slow
def test_a_wrong_request_exits_with_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mednet_bench", "export", tmp_path, "--to", "timm", "--out", "out"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)
    assert ended.stderr.startswith("mednet-bench: ")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_export_leaves_no_half_folder(
    error: BaseException, mednets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(export, "export_card", fail)  # the weights are written by then
    with pytest.raises((KeyboardInterrupt, OSError)):
        export.export_mednet(mednets["convolutions"], "timm", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_network_that_timm_cannot_describe_is_refused(mednets: dict[str, Path], tmp_path: Path) -> None:
    mednet = read_mednet(mednets["transformer"])
    bgr = msgspec.structs.replace(mednet.card.input, channels="bgr")
    for changes, sentence in (
        ({"arch": "resnet18_cifar"}, "is no network of timm: take --to onnx."),
        ({"input": bgr}, "takes BGR images, which timm does not know: take --to onnx."),
        ({"arch_args": {"layer_norm_eps": 1e-5}}, "cannot build test_vit from a configuration file"),
        ({"arch_args": {"qkv_bias": False}}, "cannot build test_vit from a configuration file"),
        ({"arch_args": {"global_pool": "avg", "fc_norm": False}}, "computes other features"),
    ):
        wrong = replace(mednet, card=msgspec.structs.replace(mednet.card, **changes))
        with pytest.raises(UserError, match=re.escape(sentence)) as caught:
            export_timm.write_timm(wrong, tmp_path)
        assert "\n" not in str(caught.value)
