"""Commands as users see them: help, listings, start-up without torch, and progress."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from processes import COMMAND, FINISHED, QUICK, SMALL, CommandLine

from mednet_bench.benchmark import run
from mednet_bench.cli.main import COMMAND_HEADINGS, cli, main

COMMANDS = (
    "run", "plan", "parity", "report", "leaderboard", "compare", "regress", "calibrate", "ls", "info",
    "download", "doctor", "sources",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example_that_parses(command: str, fresh: CommandLine):
    ended = fresh(command, "--help")
    assert ended.returncode == 0
    example = re.search(r"Example:\n +mednet-bench (.+)", ended.stdout)
    assert example, ended.stdout
    assert example.group(1).split()[0] == command
    # with --help after it, click reads the example without carrying it out, and refuses unknown options
    assert fresh(*example.group(1).split(), "--help").returncode == 0


def test_the_help_names_every_command_and_the_exit_codes(fresh: CommandLine):
    for arguments in ((), ("--help",), ("-h",)):
        ended = fresh(*arguments)
        assert ended.returncode == 0
        assert all(re.search(rf"^  {command} ", ended.stdout, re.MULTILINE) for command in COMMANDS)
        codes = (
            "Exit codes: 0 all well, 1 some cell failed or the run was stopped, 2 the request was wrong, 3 a "
            "threshold was broken, 130 interrupted (Ctrl-C), 143 terminated (SIGTERM)."
        )
        assert codes in " ".join(ended.stdout.split())


def test_every_command_is_under_one_heading_of_the_help_with_a_whole_sentence(fresh: CommandLine):
    page = fresh("--help").stdout
    assert [*re.findall(r"^(\w+):$", page, re.MULTILINE)] == ["Options", *COMMAND_HEADINGS]
    names = [name for heading in COMMAND_HEADINGS.values() for name in heading]
    assert sorted(names) == sorted(cli.commands)
    assert re.findall(r"^  ([a-z][a-z-]*)  +[A-Z]", page, re.MULTILINE) == names
    for text in (page, *(fresh(group, "--help").stdout for group in ("corpus", "sources", "audit"))):
        assert not re.search(r"\w\.\.\.$", text, re.MULTILINE), "a sentence is cut short"


@pytest.mark.parametrize("name", ["run", "plan", "pretrain"])
def test_a_command_of_many_options_lists_each_once_under_a_heading(name: str, fresh: CommandLine):
    page = fresh(name, "--help").stdout
    assert {"Training", "Machine", "Output"} <= {*re.findall(r"^(\w+):$", page, re.MULTILINE)}
    flags = re.findall(r"^  (?:-\w, )?(--[\w-]+)", page[page.index(":\n  --") :], re.MULTILINE)
    every = [each.opts[0] for each in cli.commands[name].params if isinstance(each, click.Option)]
    assert sorted(flags) == sorted([*every, "--quiet", "--verbose", "--log", "--help"])


def test_every_option_says_what_it_does_in_one_sentence():
    def options(command: click.Command) -> Iterator[click.Option]:
        for each in command.commands.values() if isinstance(command, click.Group) else ():
            yield from options(each)
        yield from (each for each in command.params if isinstance(each, click.Option))

    for each in options(cli):
        text = each.help or ""
        assert re.fullmatch(r"\S.{9,109}\.", text) and not text.startswith("Of "), each.name


@pytest.mark.parametrize("command", ["ls", "--help", "run --help"])
def test_what_computes_nothing_imports_little_and_no_torch(command: str, fresh: CommandLine):
    script = f"import sys; sys.argv[1:] = {command.split()}\n"
    script += "from mednet_bench.cli.main import main\n"
    script += "try:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", script], env=fresh.environment, capture_output=True, text=True
    )
    loaded = set(ended.stderr.split())
    assert "mednet_bench.cli.main" in loaded
    assert not loaded & {"torch", "timm", "sklearn", "scipy", "pandas", "matplotlib", "medmnist"}
    assert len(loaded) < 850  # torch alone has more; how long that takes is measured by `make bench`


def test_a_package_imports_its_modules_on_first_use():
    code = "import sys; from mednet_bench.benchmark import run; name = 'mednet_bench.benchmark.run.planner'\n"
    code += "assert name not in sys.modules; assert run.planner is sys.modules[name]\n"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match=r"'mednet_bench\.benchmark\.run' has no attribute 'plannner'"):
        _ = run.plannner  # pyright: ignore[reportAttributeAccessIssue]


def test_ls_lists_what_can_be_asked_for(fresh: CommandLine):
    ended = fresh("ls")
    assert ended.returncode == 0
    names = "breastmnist phantom-fundus available mednet imagenet scratch linear knn quick"  # a plug-in's too
    assert [name for name in names.split() if name not in ended.stdout] == []


def test_info_shows_the_card_of_a_task(fresh: CommandLine):
    ended = fresh("info", "dermamnist")
    assert ended.returncode == 0
    for fact in ("melanoma", "ham10000", "7,007", "CC BY-NC", "caveat", "dermamnist_224.npz"):
        assert fact in ended.stdout


@pytest.mark.slow
def test_doctor_prints_versions_devices_data_weights_and_what_would_work(mednet_bench: CommandLine):
    ended = mednet_bench("doctor")
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"^torch +\d", ended.stdout, re.MULTILINE)
    assert re.search(r"^device +cpu", ended.stdout, re.MULTILINE)
    assert re.search(r"^weights +tf_efficientnet_lite0: found", ended.stdout, re.MULTILINE)
    assert "would work   mednet-bench run --tasks phantom" in ended.stdout
    assert mednet_bench.environment["MEDNET_BENCH_CACHE"] in ended.stdout


def test_the_version_is_that_of_the_package(fresh: CommandLine):
    assert re.search(r"\d+\.\d+", fresh("--version").stdout)


@pytest.mark.slow
def test_plan_prints_the_grid_and_a_range_and_leaves_nothing(mednet_bench: CommandLine, tmp_path: Path):
    command = [*SMALL, "--inits", "scratch,imagenet", "--protocols", "finetune,linear", "--out", "run"]
    ended = mednet_bench("plan", *command, "--fractions", "0.1,1", "--seeds", "0..2")
    assert ended.returncode == 0, ended.stderr
    lines = [line.split() for line in ended.stdout.splitlines()]
    for init in ("scratch", "imagenet"):
        place = f"phantom-organ 28->32 tf_efficientnet_lite0 {init}"
        assert f"score {place} linear 6 6".split() in lines
        assert f"score {place} finetune 6 6".split() in lines
    control = "score phantom-organ 28->32 tf_efficientnet_lite0 scratch finetune, 4 x the passes 6 6"
    assert control.split() in lines
    assert re.search(r"^30 of 30 cells on cpu: between .+ and .+$", ended.stdout, re.MULTILINE)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_plan_of_a_finished_run_has_nothing_to_estimate(mednet_bench: CommandLine, finished: Path):
    ended = mednet_bench("plan", *FINISHED, "--estimate-only", "--out", finished)
    assert ended.returncode == 0
    assert ended.stdout == "all 8 cells have their records\n"
    ended = mednet_bench("plan", *FINISHED, "--seeds", "3,4", "--estimate-only", "--out", finished)
    assert ended.returncode == 0, ended.stderr
    assert re.match(r"8 of 16 cells on cpu: between .+ and .+\ncells: 4 linear, 4 knn; ", ended.stdout)


def test_report_writes_to_the_folder_of_its_option_and_its_lines_go_to_standard_output(
    mednet_bench: CommandLine, finished: Path, tmp_path: Path
):
    ended = mednet_bench("report", finished, "--to", tmp_path / "there")
    assert ended.returncode == 0, ended.stderr
    names = {path.name for path in (tmp_path / "there").iterdir()}
    assert names >= {"report.html", "report.md", "leaderboard.csv"}
    assert "phantom-organ" in ended.stdout
    assert ended.stdout.endswith(f"report: {tmp_path / 'there' / 'report.html'}\n")


def test_a_run_is_judged_against_its_own_baseline_and_red_is_exit_code_3(
    mednet_bench: CommandLine, finished: Path, tmp_path: Path
):
    against = ("--against", tmp_path / "baseline.json")
    assert mednet_bench("regress", finished, *against).returncode == 2
    assert mednet_bench("regress", finished, *against, "--update").returncode == 0
    green = mednet_bench("regress", finished, *against, "--summary", tmp_path / "summary.md")
    assert green.returncode == 0 and "Green" in green.stdout
    assert (tmp_path / "summary.md").read_text() == green.stdout
    baseline = tmp_path / "baseline.json"
    raised = re.sub(r'(?<="3":\[)[0-9.]+', "1.5", baseline.read_text())
    baseline.write_text(raised)
    red = mednet_bench("regress", finished, *against)
    assert red.returncode == 3 and "Red" in red.stdout and not red.stderr


def test_two_runs_are_compared_and_shown(mednet_bench: CommandLine, finished: Path):
    compared = mednet_bench("compare", finished, finished)
    assert compared.returncode == 0 and "every paired seed scores exactly the same" in compared.stdout
    shown = mednet_bench(
        "leaderboard", finished, "--protocol", "knn", "--fraction", "1.0", "--format", "latex"
    )
    assert shown.returncode == 0 and shown.stdout.count(r"\toprule") == 1


def test_progress_is_plain_lines_with_the_time_left_outside_of_a_terminal(finished: Path):
    text = (finished.parent / "stderr").read_text()
    assert re.search(r"^8 of 8 cells on cpu: between .+, about .+; records in run/records$", text, re.M)
    assert text.index("8 of 8 cells") < text.index("[1/8")
    lines = [
        line for line in text.splitlines() if " test AUC " in line
    ]  # a slow machine also says what it is at
    assert [line.split("]")[0] for line in lines] == [f"[{number}/8" for number in range(1, 9)]
    assert re.match(
        r"\[3/8\] about \d[\w ]* left: phantom-organ scratch knn 0.2 seed 3 test AUC 0\.\d{3} \(\d[\w ]*\)",
        lines[2],
    )
    assert "left" not in lines[-1]
    assert "\x1b" not in text, "no colors and no cursor movements in a file"
    assert not (finished.parent / "stdout").read_text(), "nothing but the report goes to standard output"
    assert not (finished / "report").exists(), "--no-report"


@pytest.mark.slow
def test_progress_is_one_living_table_in_a_terminal(fresh: CommandLine, tmp_path: Path):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *QUICK, "--fractions", "1", "--seeds", "0..4", "--out", "run"],
        cwd=tmp_path,
        env={**fresh.environment, "QUICK_SECONDS": "0.6", "QUICK_FAIL": "score scratch 1 1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    shown = bytearray()
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not block:  # the same on macOS
            break
        shown += block
    os.close(ours)
    assert process.wait() == 1
    text = shown.decode()
    rows = re.findall(r"quick +(\d) +(\d) +(\d) +[\d.]+ +\d+ s", text)
    assert ("1", "1", "3") in rows and ("3", "1", "1") in rows, "done, failed and waiting"
    assert re.search(r"now: phantom-organ scratch quick 1 seed \d", text)
    assert re.search(r"last: phantom-organ scratch quick 1 seed \d test AUC 0\.\d{3}", text)
    assert "\r" in text
    assert "\x1b[2K" in text, "the table is drawn over"
    assert "FAILED phantom-organ scratch quick 1 seed 1: ArithmeticError" in text, "what failed stays in view"
    assert "[1/5]" not in text, "what went well needs no line of its own"
    assert text.endswith("\x1b[?25h") or "\x1b[?25h" in text[-400:], "the cursor is back"


def test_a_file_that_is_cut_off_is_not_reported_as_an_interruption(monkeypatch: pytest.MonkeyPatch):
    def cut_off(*arguments: object) -> None:
        raise EOFError("marshal data too short")

    monkeypatch.setattr("mednet_bench.cli.show.tasks.task_listing", cut_off)
    monkeypatch.setattr("sys.argv", ["mednet-bench", "ls"])
    with pytest.raises(EOFError, match="too short"):
        main()


def test_the_package_is_a_program_too() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "mednet_bench", "--version"], capture_output=True, text=True
    )
    assert (shown.returncode, shown.stderr) == (0, "") and "mednet-bench" in shown.stdout
