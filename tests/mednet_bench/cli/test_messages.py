"""Messages: --quiet, --verbose and --log; no codes of a live display in files."""

import io
import logging
import math
import re
import sys
from pathlib import Path

import click
import pytest
from rich.console import Console

from mednet_bench.cli.commands.command import BenchCommand, say
from mednet_bench.cli.main import cli
from mednet_bench.cli.messages import LOGGER, send_messages
from mednet_bench.core import progress
from mednet_bench.core.errors import UserError
from mednet_bench.core.progress import live_line, set_live_displays, show_downloads, stderr_console

SMALL = [
    "--tasks",
    "phantom-organ",
    "--inits",
    "scratch",
    "--protocols",
    "knn",
    "--seeds",
    "0",
    "--out",
    "run",
]
SMALL += ["--size", "28", "--input-size", "32", "--fractions", "1", "--device", "cpu"]
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING|ERROR) \S.*")


class Screen(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


@pytest.fixture(autouse=True)
def as_by_default():
    yield
    send_messages()


def commands(group: click.Group = cli) -> list[BenchCommand]:
    found = []
    for command in group.commands.values():
        found += commands(command) if isinstance(command, click.Group) else [command]
    return found


def test_every_command_has_the_same_options_for_messages_under_other() -> None:
    assert len(commands()) > 20
    for each in commands():
        with click.Context(each, info_name=str(each.name)) as context:
            other = each.get_help(context).partition("\nOther:\n")[2]
        flags = re.findall(r"^  (-\w, --\w+|--\w+)", other, re.MULTILINE)
        assert flags[:3] == ["-q, --quiet", "-v, --verbose", "--log"] and len(flags) == 4, each.name


def test_by_default_messages_are_lines_on_standard_error(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_SECONDS", math.inf)  # a slow machine would say more
    result = command("run", *SMALL, "--no-report")
    first, second = result.stderr.splitlines()
    assert re.fullmatch(r"1 of 1 cells on cpu: between .+, about .+; records in run/records", first)
    assert re.fullmatch(r"\[1/1\] phantom-organ scratch knn 1 seed 0 test AUC 0\.\d{3} \(.+\)", second)
    assert result.stdout == ""


@pytest.mark.slow
def test_quiet_leaves_results_warnings_and_errors(command) -> None:
    result = command("run", *SMALL, "-q")
    assert result.return_value == 0 and "phantom-organ" in result.stdout and result.stderr == ""
    warned = command("run", *SMALL, "--fractions", "0.001,0.002", "--quiet", "--no-report")
    assert warned.stderr and all(line.startswith("warning: ") for line in warned.stderr.splitlines())


def fail(*arguments: object, **more: object) -> None:
    raise ArithmeticError("no number")


@pytest.mark.slow
def test_verbose_adds_files_features_planning_and_tracebacks(
    command, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = command("run", *SMALL, "--verbose", "--no-report").stderr
    assert re.search(r"^planned 1 cells in \d+\.\d\d s$", first, re.MULTILINE)
    assert "reading the images of phantom-organ at 28 px\n" in first
    assert "features of phantom-organ by scratch: computing them\n" in first
    again = command("run", *SMALL, "-v", "--no-report", "--overwrite", "always").stderr
    assert re.search(r"features of phantom-organ by scratch: from .+/features/\w+\.npz\n", again)
    monkeypatch.setattr("mednet_bench.benchmark.run.cell_runner.compute_metrics", fail)
    failed = command("run", *SMALL, "-v", "--no-report", "--overwrite", "always")
    assert failed.return_value == 1
    assert 'Traceback (most recent call last):\n  File "' in failed.stderr
    assert "\nArithmeticError: no number\n" in failed.stderr
    quiet = command("run", *SMALL, "-q", "--no-report").stderr
    assert "FAILED phantom-organ scratch knn 1 seed 0: ArithmeticError: no number\n" in quiet
    assert "Traceback" not in quiet


@pytest.mark.slow
def test_the_log_gets_every_message_with_time_and_level_and_is_appended_to(command, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "run.log"
    shown = command("run", *SMALL, "--quiet", "--no-report", "--log", log)
    assert shown.stderr == ""
    lines = log.read_text("utf-8").splitlines()
    assert all(map(LOG_LINE.fullmatch, lines)), lines
    texts = [line.split(" ", 2)[1:] for line in lines]
    first = " ".join(next(text for text in texts if "of 1 cells" in text[1]))
    assert re.fullmatch(r"INFO 1 of 1 cells on cpu: between .+; records in run/records", first)
    assert {"DEBUG", "INFO"} == {level for level, _ in texts}
    assert any(text.startswith("[1/1] phantom-organ scratch knn") for _, text in texts)
    command("run", *SMALL, "--no-report", "--log", log)
    assert log.read_text("utf-8").splitlines()[: len(lines)] == lines
    assert "nothing to compute" in log.read_text("utf-8")


def test_verbose_names_the_cards_and_records_that_are_read(command, records: Path) -> None:
    count = len(list((records / "records").glob("*.json")))
    assert f"read {count} records of {records}\n" in command("leaderboard", records, "-v").stderr
    Path("mine.toml").write_text('kind = "binary"')
    assert (
        f"reading {Path('mine.toml').resolve()}\n" in command("ls", "--task-file", "mine.toml", "-v").stderr
    )


def test_the_log_gets_the_error_that_ends_the_program(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mednet_bench.cli import main

    for name in ("fix_threads", "heed_sigterm"):
        monkeypatch.setattr(main, name, lambda: None)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", ["mednet-bench", "info", "dermamnits", "--log", "log"])
    with pytest.raises(SystemExit):
        main.main()
    (line,) = Path("log").read_text().splitlines()
    assert LOG_LINE.fullmatch(line) and " ERROR mednet-bench: There is no task 'dermamnits'; did" in line
    try:
        fail()
    except ArithmeticError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    assert Path("log").read_text().endswith("ArithmeticError: no number\n")


def test_a_log_that_cannot_be_written_is_an_error_before_anything_runs(command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for log, reason in ((tmp_path / "file" / "log", "File exists|Not a directory"), ("", "--log' is empty")):
        result = command("run", *SMALL, "--log", log)
        assert isinstance(result.exception, (UserError, click.BadParameter))
        assert re.search(reason, str(result.exception))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_log_on_a_full_disk_ends_and_the_command_does_not(command) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    result = command("run", *SMALL, "--no-report", "--log", "/dev/full")
    assert result.return_value == 0, result.exception
    assert result.stderr.count("warning: /dev/full cannot be written any more: the log ends here.") == 1


def test_quiet_and_verbose_exclude_each_other(command) -> None:
    assert "exclude each other" in str(command("ls", "-q", "-v").exception)


def test_a_message_is_one_clean_line_and_its_beginning_is_its_level(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    send_messages(quiet=True, log=tmp_path / "log")
    for sentence in ("warning: 100 % of\nit\x1b[31m", "mednet-bench: %s", "failed: x", "left out: a"):
        say(sentence)
    assert capsys.readouterr().err == "warning: 100 % of it\ufffd[31m\nmednet-bench: %s\nfailed: x\n"
    levels = [line.split()[1] for line in (tmp_path / "log").read_text("utf-8").splitlines()]
    assert levels == ["WARNING", "ERROR", "ERROR", "INFO"]


def test_a_program_that_uses_the_library_configures_the_logger_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "mednet_bench"):
        say("left out: a")
    assert [(record.name.partition(".")[0], record.message) for record in caplog.records] == [
        ("mednet_bench", "left out: a")
    ]
    assert LOGGER.propagate


@pytest.mark.parametrize("name", ["", "NO_COLOR"])
def test_a_terminal_shows_a_live_line_with_messages_above_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if name:
        monkeypatch.setenv(name, "1")
    with live_line(stderr_console(), lambda: "[0/2] working", lambda: 0.0) as live:
        assert live is not None
        say(f"[red]warning[/red] :smile: {'long ' * 30}end")
    text = screen.getvalue()
    assert f"[red]warning[/red] :smile: {'long ' * 30}end\n" in text and "[0/2] working" in text
    assert "\x1b[2K" in text, "the line is drawn over"
    assert not re.search(r"\x1b\[[\d;]*m", text), "it needs no color"


def test_no_color_leaves_a_bar_without_colors(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    with show_downloads() as show:
        show("file.npz", 5, 10)
        show("file.npz", 10, 10)
    assert "file.npz" in screen.getvalue()
    assert not re.search(r"\x1b\[(?:\d+;)*(?:3|4|9|10)\d(?:;\d+)*m", screen.getvalue())


def test_what_is_no_terminal_gets_no_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with live_line(stderr_console(), lambda: "[0/2] working", lambda: 0.0) as live, show_downloads() as show:
        assert live is None
        show("file.npz", 5, 10)
    assert file.getvalue() == "file.npz: 50 % of 0.0 MB\n"


def test_quiet_shows_no_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Screen())
    assert stderr_console().is_terminal
    set_live_displays(False)
    assert isinstance(stderr_console(), Console) and not stderr_console().is_terminal
