"""Every command of docs/leakage.md is run, and the figures of the page are those that are printed."""

import os
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mednet_bench.cli.main import cli

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "leakage.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
TABLES = {table.split(",")[0]: table for table in re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)}
DATA = Path(os.environ.get("MEDNET_BENCH_DATA") or ROOT.parent / "shared" / "data").resolve()


def squeezed(text: str) -> list[str]:
    """Return the lines of a table with single spaces, so that the widths of columns do not matter."""
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not (DATA / "medmnist" / "retinamnist.npz").is_file() or not (DATA / "mednist_64.toml").is_file():
        pytest.skip("MEDNET_BENCH_DATA names no folder with medmnist/*.npz and mednist_64.toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDNET_BENCH_DATA", str(DATA))
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def command(line: str) -> Result:
    result = CliRunner().invoke(cli, shlex.split(line)[1:], standalone_mode=False)
    assert not result.exception and not result.return_value, (line, result.output, result.exception)
    return result


@pytest.mark.slow
def test_the_page_prints_what_the_commands_print(desk: Path) -> None:
    audits = [line for line in LINES if " audit leakage " in line]
    assert len(audits) == len(TABLES) == 4
    for line in audits:
        task = shlex.split(line)[3]
        said = squeezed(command(line.replace(" --format json", "")).stdout)
        missing = [row for row in squeezed(TABLES[task]) if row not in said]
        assert not missing, (task, missing, said)


@pytest.mark.slow
def test_the_run_of_the_page_says_what_it_dropped(desk: Path) -> None:
    (line,) = [line for line in LINES if "--dedupe" in line]
    assert "1 of 156 test images stand in train or val" in command(line).stderr
