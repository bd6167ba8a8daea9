"""`inspect-weights`: every command of docs/weights.md runs, and its draft card is usable."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.baselines.weights.checkpoint import SeenCorpus, read_checkpoint_card, write_card
from mednet_bench.baselines.weights.inspect import inspect_checkpoint
from mednet_bench.cli.commands.weights import WEIGHTS_COMMANDS as COMMANDS_OF_WEIGHTS
from mednet_bench.cli.commands.weights import inspect_weights_command
from mednet_bench.core.errors import UserError

PAGE = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files: a Lightning checkpoint of a ResNet-18."""
    desk = tmp_path_factory.mktemp("desk")
    torch.manual_seed(0)
    state = build_backbone("resnet18", 64, classes=3).state_dict()
    content = {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}, "epoch": 3}
    torch.save(content, desk / "checkpoint.ckpt")
    return desk


def run(command: str, desk: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command)
    words[0] = str(Path(sys.executable).parent / words[0])
    environment = {**os.environ, "MEDNET_BENCH_CACHE": str(desk / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=desk, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_every_command_of_the_page_works_in_its_order(desk: Path) -> None:
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        ended = run(command, desk)
        assert ended.returncode == 0, ended.stderr
        if command.startswith("mednet-bench inspect"):
            assert "layout:      timm under 'model.'" in ended.stdout and "resnet18" in ended.stdout
            assert "2 left over by name (model.fc.weight, model.fc.bias)" in ended.stdout
        else:
            assert "my-lab" in ended.stdout
    card = read_checkpoint_card(desk / "card.toml")
    assert card.arch == "resnet18" and len(card.fingerprint) == 32 and card.layout == "timm"


def test_a_card_that_is_there_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text("mine")
    arguments = [str(tmp_path / "weights.safetensors"), "--write-card", str(tmp_path / "card.toml")]
    values = COMMANDS_OF_WEIGHTS[0].make_context("inspect-weights", arguments).params
    with pytest.raises(UserError, match="pass --force"):
        inspect_weights_command(values)


@pytest.mark.slow
def test_the_choice_of_a_state_dict_goes_from_the_command_into_the_card_and_the_run(tmp_path: Path) -> None:
    torch.manual_seed(1)
    state = build_backbone("test_efficientnet", 32, classes=2).state_dict()
    slow = {name: value / 2 if value.is_floating_point() else value for name, value in state.items()}
    torch.save({"student": state, "teacher": slow, "epoch": 9}, tmp_path / "ssl.pth")
    look = "mednet-bench inspect-weights ssl.pth --arch test_efficientnet"
    ended = run(f"{look} --write-card ssl.toml", tmp_path)
    assert ended.returncode == 2 and "student (" in ended.stderr and "teacher (" in ended.stderr
    assert not (tmp_path / "ssl.toml").exists()
    ended = run(f"{look} --state-dict teacher --write-card ssl.toml", tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "state dict:  teacher (not read: student)" in ended.stdout
    card = read_checkpoint_card(tmp_path / "ssl.toml")
    assert card.state_dict == "teacher"
    run_it = (
        "mednet-bench run --tasks phantom-nodule --inits ssl=ssl.toml --archs test_efficientnet "
        "--protocols knn --size 28 --input-size 32 --seeds 0 --fractions 1.0 --out runs --device cpu"
    )
    ended = run(run_it, tmp_path)
    assert ended.returncode == 0, ended.stderr
    (tmp_path / "ssl.toml").write_text((tmp_path / "ssl.toml").read_text().replace('"teacher"', '"student"'))
    ended = run(run_it, tmp_path)  # the other's fingerprint is not the card's
    assert ended.returncode == 2 and "fingerprint" in ended.stderr


def test_a_file_of_no_known_network_and_a_keras_port_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file({"what.ever": torch.zeros(3)}, file)
    with pytest.raises(UserError, match="pass --arch"):
        inspect_checkpoint(file)
    save_file({"conv2_block1_1_conv.weight": torch.zeros(3)}, file)
    with pytest.raises(UserError, match="converted from Keras"):
        inspect_checkpoint(file)


def test_a_card_that_was_written_is_read_again(tmp_path: Path, desk: Path) -> None:
    import msgspec

    card = inspect_checkpoint(desk / "checkpoint.ckpt").draft()
    card = msgspec.structs.replace(
        card,
        corpora=("nih-chestxray14",),
        corpus=(SeenCorpus(id="medmnist", images=12, license="CC BY 4.0"),),
        label_spaces={"nih-chestxray14": ["a", 'b "quoted"']},
        training={"lr": 0.001, "commit": "abc"},
    )
    write_card(card, tmp_path / "card.toml", ["A remark."])
    assert (tmp_path / "card.toml").read_text().startswith("# A remark.\n")
    assert read_checkpoint_card(tmp_path / "card.toml") == card
