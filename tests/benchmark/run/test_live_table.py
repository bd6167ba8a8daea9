"""The live table of a run counts right and fits; without a terminal there are plain lines."""

import io
import logging
import re

import pytest
from msgspec.structs import replace
from rich.console import Console
from synthetic import Grid, record_of

from mednet_bench.benchmark.run.progress import RunProgress
from mednet_bench.benchmark.schema.plan import Cell, PlannedCell, Step
from mednet_bench.benchmark.schema.records import Record
from mednet_bench.core.progress import REPORTER


def planned(step: Step, protocol: str, seed: int) -> PlannedCell:
    facts = {"task": "breastmnist", "size": 28, "input_size": 64, "arch": "a", "init": "mednet"}
    return PlannedCell(
        cell=Cell(step=step, protocol=protocol, seed=seed, **facts), key=f"{step}{protocol}{seed}"
    )


CELLS = [planned("pretrain", "", 0), *(planned("score", p, s) for p in ("linear", "knn") for s in range(4))]


def record(of: PlannedCell, status: str = "ok", seconds: float = 2.0) -> Record:
    invented = record_of(of.cell, Grid(fail=lambda cell: status == "failed"))
    return replace(invented, key=of.key, seconds=seconds, metrics={"auc": 0.8125})


def console(width: int) -> Console:
    return Console(file=io.StringIO(), record=True, width=width, force_terminal=True, highlight=False)


def test_the_table_counts_every_cell_once() -> None:
    shown = console(80)
    progress = RunProgress(CELLS, jobs=2, console=shown)
    for each in (record(CELLS[0], seconds=60), record(CELLS[1]), record(CELLS[2], "failed")):
        progress.note_record(each)
        progress.note_record(each)  # a second listing of the same file
    progress.note_record(record(CELLS[5], seconds=0.5))
    progress.note_workers(["breastmnist mednet linear 1 seed 2: training 3/9 steps", ""])
    shown.print(progress.table())
    text = shown.export_text()
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines()}
    assert rows["cells"] == ["done", "failed", "waiting", "per", "minute", "time", "left"]
    assert rows["pretrain"] == ["1", "0", "0", "2"]
    assert rows["linear"] == ["1", "1", "2", "60", "2", "s"]
    assert rows["knn"][:4] == ["1", "0", "3", "240"]
    assert rows["all"][:3] == ["3", "1", "5"]
    assert "now: worker 1: breastmnist mednet linear 1 seed 2: training 3/9 steps\n" in text
    assert "last: breastmnist mednet knn 1 seed 0 test AUC 0.812\n" in text
    for cell in CELLS:
        progress.note_record(record(cell))
    shown.print(progress.table())
    text = shown.export_text()
    assert "now:" not in text and re.search(r"all +8 +1 +0 ", text)


@pytest.mark.parametrize("width", [10, 40, 80])
def test_a_live_table_fits_and_gives_the_cursor_back_after_ctrl_c(width: int) -> None:
    shown, frame = console(width), console(width)
    progress = RunProgress(CELLS, console=shown)
    with pytest.raises(KeyboardInterrupt), progress.show():
        progress.note_start(CELLS[0])
        with REPORTER.add(lambda: "[20/100] about 3 min left: loss 0.832 \x1b[31m[bold]"):
            progress.note_record(record(CELLS[1], "failed"))
            frame.print(progress.table())
        raise KeyboardInterrupt
    assert isinstance(shown.file, io.StringIO)
    raw = shown.file.getvalue()
    assert raw.count("\x1b[?25l") == raw.count("\x1b[?25h") == 1 and raw.endswith("\x1b[?25h")
    text = frame.export_text()
    assert "\x1b[31m" not in raw and max(map(len, text.splitlines())) <= width
    flat = re.sub(r"\s+", "", text)
    assert "now:pretrainmednet(breastmnist)a64px:[20/100]about3minleft:loss0.832" in flat or width == 10


def test_without_a_terminal_each_pretraining_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mednet_bench")
    file = io.StringIO()
    progress = RunProgress(CELLS, jobs=2, console=Console(file=file, force_terminal=False))
    with progress.show():
        for line in ("", ": reading source 1 of 2", ": [20/100] loss 0.8"):
            waiting = "waiting for process 7 on it, which computes pretrain mednet (breastmnist) a 64 px"
            progress.note_workers([f"pretrain mednet (breastmnist) a 64 px{line}", waiting])
        progress.note_record(record(CELLS[0]))
    assert [each.getMessage() for each in caplog.records] == [
        "[0/9] worker 1: pretrain mednet (breastmnist) a 64 px ...",
        "[1/9] pretrain mednet (breastmnist) a 64 px (2 s)",
    ]
    assert file.getvalue() == ""
