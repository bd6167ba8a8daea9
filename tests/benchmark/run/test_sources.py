"""`sources` prints the numbers of its page, suggests near names, and imports little."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError

PAGE = (Path(__file__).parents[3] / "docs" / "sources.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]


def printed(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line in this process and return its output."""
    words = shlex.split(command)
    assert cli.main(words[words[0] == "mednet-bench" :], standalone_mode=False) == 0
    return capsys.readouterr().out


def test_every_figure_of_the_page_is_printed_by_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    out = "\n".join(printed(command, capsys) for command in COMMANDS)
    figures = set(re.findall(r"\d[\d,]*(?:\.\d+)?%|\d{1,3}(?:,\d{3})+", re.sub(r"\]\([^)]*\)", "", PAGE)))
    assert len(figures) > 25
    known = set(re.findall(r"\d[\d,]*(?:\.\d+)?%|\d{1,3}(?:,\d{3})+", out))
    assert figures - known == set()


def test_the_list_filters_and_sums(capsys: pytest.CaptureFixture[str]) -> None:
    everything = printed("sources", capsys)
    assert "176 databases" in everything
    rows = json.loads(printed("sources --variant color --access open --license attribution --json", capsys))
    assert rows and {(row["variant"], row["access"]) for row in rows} == {("color", "open")}
    text = printed("sources --variant color --access open --license attribution", capsys)
    assert f"{len(rows)} databases: {sum(row.get('images') or 0 for row in rows):,} images" in text
    assert "No database" in printed("sources --search nothing-is-called-this", capsys)
    found = json.loads(printed("sources --search kermany --modality oct --json", capsys))
    assert "kermany-oct" in {row["id"] for row in found} and {row["modality"] for row in found} == {"oct"}


def test_a_database_is_shown_with_its_evidence_and_what_it_touches(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = printed("sources show 'NIH ChestX-ray14'", capsys)
    assert "MedMNIST info.py @805b742" in text and "evidence: read" in text
    assert re.search(r"chestmnist +declared +chestmnist derives from nih-chestxray14 \(read\)", text)
    assert re.search(r"mednist +declared", text) and re.search(r"covidx-cxr +possible .*\(recalled\)", text)
    shown = json.loads(printed("sources show lits --json", capsys))
    assert {row["id"] for row in shown["touches_tasks"]} == {f"organ{view}mnist" for view in "acs"}


def test_a_plan_for_machines_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    plan = json.loads(printed("sources plan color --json", capsys))
    assert plan["images"] == sum(share["images"] for share in plan["shares"]) >= plan["target"]
    assert "galar" in plan["traps"] and any(row["lack"] == "missing" for row in plan["modalities"])


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sources show chestmnst", "did you mean 'chestmnist'"),
        ("sources plam gray", "did you mean 'plan'"),
        ("sources --modality petx", "did you mean 'pet'"),
        ("sources idc --modality PTT", "did you mean 'PT'"),
    ],
)
def test_what_is_nearly_right_is_suggested(command: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        cli.main(shlex.split(command), standalone_mode=False)


@pytest.mark.parametrize("command", ["sources", "sources plan gray", "sources show lits"])
def test_it_imports_little_and_nothing_heavy(command: str) -> None:
    script = f"import sys; sys.argv[1:] = {command.split()}\nfrom mednet_bench.cli.main import main\n"
    script += "try:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0
    heavy = {"torch", "timm", "sklearn", "scipy", "pandas", "matplotlib", "medmnist", "pyarrow"}
    loaded = set(ended.stderr.split())
    assert not loaded & heavy and len(loaded) < 800  # as for `ls`
