"""Shell completion by click's protocol, and a page that documents the whole command line."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from mednet_bench.cli.main import COMMAND_HEADINGS, cli

PAGE = (Path(__file__).parents[3] / "docs" / "command-line.md").read_text(encoding="utf-8")
COMMAND_LINES = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]
PROGRAM = "from mednet_bench.cli.main import main; import sys; sys.argv[0] = 'mednet-bench'\n"
PROGRAM += "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules"


def complete(*words: str, shell: str = "bash_complete") -> str:
    """Ask for the completions of the last word, as the script of a shell does."""
    line = {"COMP_WORDS": shlex.join(["mednet-bench", *words]), "COMP_CWORD": str(len(words))}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **line, "_MEDNET_BENCH_COMPLETE": shell},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_commands_options_and_values_are_completed_without_torch() -> None:
    assert complete("le") == "plain,leaderboard\n"
    assert "plain,--fractions\n" in complete("run", "--frac") and "plain,--quiet\n" in complete("run", "--q")
    values = complete("leaderboard", "--format", "")
    assert [*re.findall(r"^plain,(\w+)$", values, re.MULTILINE)] == [
        "table",
        "markdown",
        "csv",
        "json",
        "latex",
    ]


def test_info_and_download_complete_names_of_tasks() -> None:
    assert complete("info", "derma") == "plain,dermamnist\n"
    assert "plain,phantom-organ\n" in complete("download", "dermamnist", "phantom-o")


def test_an_unknown_command_has_no_completions_and_no_error() -> None:
    assert "leaderboard" not in complete("nonsense", "--fo")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_line_of_the_page_makes_a_script_for_the_shell(shell: str) -> None:
    assert f"_MEDNET_BENCH_COMPLETE={shell}_source mednet-bench" in PAGE
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("click asks bash for its version")
    assert f"_MEDNET_BENCH_COMPLETE={shell}_complete" in complete(shell=f"{shell}_source")


def test_help_does_not_import_torch() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM, "--help"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_the_page_lists_every_command_under_its_heading() -> None:
    table = dict(re.findall(r"^\| (\w+) \| (.+) \|$", PAGE, re.MULTILINE))
    for heading, names in COMMAND_HEADINGS.items():
        assert re.findall(r"`([\w-]+)`", table[heading]) == [*names]


def test_the_page_shows_json_of_every_command_that_has_it() -> None:
    def with_json(group: click.Group, before: str = "") -> set[str]:
        found = set()
        for name, each in group.commands.items():
            if isinstance(each, click.Group):
                found |= with_json(each, f"{before}{name} ")
            elif any("json" in getattr(param.type, "choices", ()) for param in each.params):
                found.add(f"{before}{name}")
        return found

    listed = PAGE.partition("## Output for programs")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z -]+)`", listed))
    assert with_json(cli) <= named
    shown = re.findall(r"^mednet-bench (\S+) .*--format json", "\n".join(COMMAND_LINES), re.MULTILINE)
    assert {"ls", "info", "plan", "leaderboard", "verdicts", "doctor"} <= {*shown}


@pytest.mark.parametrize("line", [line for line in COMMAND_LINES if line.startswith("mednet-bench ")])
def test_every_command_of_the_page_parses(line: str) -> None:
    words = shlex.split(line.partition(" | ")[0].partition(" 2> ")[0])[1:]
    assert cli.main([*words, "--help"], standalone_mode=False) == 0


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
@pytest.mark.parametrize("name", ["leaderboard", "verdicts", "ls", "info"])
def test_the_filters_of_the_page_find_something(command, records: Path, name: str) -> None:
    (line,) = [line for line in COMMAND_LINES if line.startswith(f"mednet-bench {name} ")]
    words, filter = line.split(" | jq ")
    arguments = shlex.split(words.replace("runs/latest", str(records)))[1:]
    found = command(*arguments).stdout
    ended = subprocess.run(["jq", *shlex.split(filter)], input=found, capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stdout.strip() not in ("", "null"), ended.stderr
