"""Every `corpus` command of docs/build-a-mednet.md is run, in the order of the page."""

import os
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from corpora import npz, picture
from PIL import Image

from mednet_bench.cli.main import cli

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "build-a-mednet.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
DATA = Path(os.environ.get("MEDNET_BENCH_DATA") or ROOT.parent / "shared" / "data").resolve()
COMMANDS = [line for line in LINES if line.startswith("mednet-bench corpus ")]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder: MedMNIST files, the page's own set, and its two source cards."""
    real = DATA / "medmnist"
    if not (real / "retinamnist.npz").is_file():
        pytest.skip(
            "no MedMNIST files: MEDNET_BENCH_DATA names no folder that holds medmnist/retinamnist.npz"
        )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "medmnist").symlink_to(real)
    npz(tmp_path / "data", "cells", range(6), variant="color")
    for card in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        name = re.findall(r'name = "(\w+)"', card)[0]
        (tmp_path / f"{name}.toml").write_text(card, encoding="utf-8")
    rows = ["path,label,patient"]
    for number in range(8):
        place = tmp_path / "wards" / ("normal", "other")[number % 2] / f"{number // 4}-{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number)).save(place)
        Image.fromarray(picture(100 + number)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{('effusion|nodule', 'nodule', '')[number % 3]},{number}")
    (tmp_path / "clinic.csv").write_text("\n".join(rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDNET_BENCH_DATA", "data")
    return tmp_path


@pytest.mark.slow
def test_the_commands_of_the_page_work(desk: Path) -> None:
    assert len(COMMANDS) >= 5
    for command in COMMANDS:
        small = " --jobs 1" if "--jobs" in command else ""  # starting processes takes longer than the work
        result = CliRunner().invoke(cli, shlex.split(command + small)[1:], standalone_mode=False)
        assert not result.exception, (command, result.exception)
        assert not result.return_value, (command, result.output)
    shown = CliRunner().invoke(cli, ["corpus", "info", "corpora/wards"], standalone_mode=False).output
    assert re.search(r"wards +x-ray +8 +2 ", shown)
    assert re.search(r"clinic +ct +8 +8 ", shown)
