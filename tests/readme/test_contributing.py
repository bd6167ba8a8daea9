"""CONTRIBUTING.md and the README of the baseline name files, registries and commands that exist."""

import re
from pathlib import Path

import pytest

from mednet_bench.cli.main import cli

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BASELINE = (ROOT / "tests" / "regression" / "README.md").read_text(encoding="utf-8")
TO_COPY = re.findall(r"^\| .* \| `([\w/.]+\.py)` \| `(\S+)` \|$", GUIDE, re.MULTILINE)
COMMANDS = re.findall(r"^mednet-bench (.*)$", GUIDE + BASELINE, re.MULTILINE)


def test_the_guide_is_short() -> None:
    assert len(GUIDE.split()) <= 1000


def test_every_path_in_the_guide_exists() -> None:
    paths = re.findall(r"`([\w.-]+/[\w./-]*)`|\]\(([\w./-]+)\)", GUIDE)
    folders = [*ROOT.iterdir(), *(ROOT / name for name in ("tasks", "baselines", "benchmark", "reports"))]
    for path in filter(None, (part for pair in paths for part in pair)):
        assert any((folder / path).exists() for folder in (ROOT, *folders)), path


@pytest.mark.parametrize(("file", "registry"), TO_COPY)
def test_a_file_to_copy_registers_as_the_guide_says(file: str, registry: str) -> None:
    assert re.search(rf"^(class | +)?{re.escape(registry)}\b", (ROOT / file).read_text("utf-8"), re.MULTILINE)


def test_the_guide_names_a_file_to_copy_for_each_kind() -> None:
    assert len(TO_COPY) == len({file for file, _ in TO_COPY}) == 11


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_accepted(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name, *words = command.split()
    subcommand = cli.get_command(cli.make_context("mednet-bench", [name]), name)
    assert subcommand
    with subcommand.make_context(name, words):
        pass
