"""What a process does, and polls, while others compute the cells of its plan."""

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mednet_bench.benchmark.run import executor, scheduler
from mednet_bench.benchmark.run.executors import local
from mednet_bench.benchmark.run.progress import RunProgress
from mednet_bench.benchmark.run.scheduler import CellWatcher, ResumeRules, compute_cells
from mednet_bench.benchmark.schema.plan import Cell, PlannedCell
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.core.leases import claim_lock
from mednet_bench.core.progress import REPORTER


class StopWaitingError(Exception):
    """Ends a test that would wait for ever."""


def cell_of(key: str, needs: tuple[str, ...] = (), **facts: Any) -> PlannedCell:
    """Plan a cell."""
    cell = Cell(task="t", size=28, input_size=64, arch="a", init="scratch", protocol="linear", **facts)
    return PlannedCell(cell=cell, key=key, needs=needs)


@pytest.fixture
def runner(tmp_path: Path) -> Any:
    """A runner of an empty run directory, which must not compute."""
    (tmp_path / "plan.json").write_text("{}")
    return SimpleNamespace(resolved=SimpleNamespace(request=SimpleNamespace(folder=tmp_path)))


def test_a_process_that_waits_for_another_names_it_and_the_cell(
    runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = [cell_of("b", needs=("a",), seed=1), cell_of("a", seed=7)]
    progress = RunProgress(waiting)
    monkeypatch.setattr(scheduler.time, "sleep", lambda seconds: (_ for _ in ()).throw(StopWaitingError))
    with claim_lock(RecordStore(tmp_path).lock("a")), pytest.raises(StopWaitingError):
        compute_cells(runner, waiting, ResumeRules(), CellWatcher(on_wait=progress.note_wait))
    assert f"waiting for process {os.getpid()} on " in progress.line()
    assert progress.line().endswith("which computes t scratch linear 1 seed 7")


def test_thousands_of_cells_that_wait_for_one_cost_one_look_per_poll(
    runner: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    polls = iter(range(3))

    def sleep(seconds: float) -> None:
        if next(polls, None) is None:
            raise StopWaitingError

    def claim(path: Path) -> Any:
        looked.append(path)
        return claim_lock(path)

    monkeypatch.setattr(scheduler.time, "sleep", sleep)
    monkeypatch.setattr(scheduler, "claim_lock", claim)
    monkeypatch.setattr(scheduler, "check_folder", lambda folder: looked.append(folder))
    waiting = [cell_of("p"), *(cell_of(f"c{number}", needs=("p",), seed=number) for number in range(5000))]
    with claim_lock(RecordStore(tmp_path).lock("p")), pytest.raises(StopWaitingError):
        compute_cells(runner, waiting, ResumeRules(), CellWatcher())
    assert len(looked) <= 2 * 4, "the folder and the one lock, for four polls"


def test_records_are_listed_only_when_one_was_written(tmp_path: Path) -> None:
    listing = scheduler.RecordListing(tmp_path / "records")
    assert listing.changed_names() == set()
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "a.json").write_text("{}")
    assert listing.changed_names() == {"a"}
    assert listing.changed_names() == set() and listing.names() == {"a"}
    os.utime(tmp_path / "records", ns=(1, 1))
    assert listing.changed_names() == {"a"}


def test_a_worker_says_what_it_does_and_its_parent_shows_every_worker(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with executor.report_status(lambda: "a cell\n", 0.0), REPORTER.add(lambda: "learning rate 2 of 3"):
        REPORTER.tick()
    said = capsys.readouterr().out
    assert said.endswith("learning rate 2 of 3\n") and said.startswith("a cell")
    with tempfile.TemporaryFile() as file:
        assert local._last_line(file) == ""
        file.write(b"x" * 20_000 + b"\nfirst\n" + said.encode())
        file.flush()
        line = local._last_line(file)
    progress = RunProgress([cell_of("a"), cell_of("b")], jobs=2)
    progress.note_workers([line, ""])
    assert "worker 1: a cell" in progress.line() and "worker 2" not in progress.line()
