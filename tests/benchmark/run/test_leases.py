"""Processes that share a run directory by leases: none computes a cell twice, a late one writes nothing."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from processes import tally, wait_until
from stub_worker import stub_cells, stub_record

from mednet_bench.benchmark.run import run_status as module
from mednet_bench.benchmark.run.scheduler import late_records, note_late_record
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.cli.show.status import status_text
from mednet_bench.core.files import place_first
from mednet_bench.core.leases import LeaseOwner

Worker = subprocess.Popen[str]


@contextlib.contextmanager
def worker(folder: Path, cells: int, seconds: float, score: float = 0.5, lease: str = "") -> Iterator[Worker]:
    """Start a process that computes cells; kill it at the end."""
    script = Path(__file__).with_name("stub_worker.py")
    command = [sys.executable, script, folder, *map(str, (cells, seconds, score))]
    process = subprocess.Popen(command, env=os.environ | {"MEDNET_BENCH_LEASE": lease}, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def computed(folder: Path) -> list[str]:
    """List the keys of all computed cells, in order."""
    return [line.split()[1] for line in tally(folder / "tally")]


def test_two_processes_that_race_for_200_cells_compute_none_twice(tmp_path: Path) -> None:
    with worker(tmp_path, 200, 0.001) as first, worker(tmp_path, 200, 0.001) as second:
        assert (first.wait(), second.wait()) == (0, 0)
    assert sorted(computed(tmp_path)) == [planned.key for planned in stub_cells(200)]
    assert len({line.split()[0] for line in tally(tmp_path / "tally")}) == 2, "one did all: no race"
    assert len(list(RecordStore(tmp_path).read_all())) == 200
    assert not list((tmp_path / "locks").iterdir())


def test_the_cell_of_a_process_that_was_killed_is_computed_at_once(tmp_path: Path) -> None:
    with worker(tmp_path, 1, 3600) as process:
        wait_until(lambda: computed(tmp_path))
        process.kill()  # and not awaited: a zombie has ended, too
        with worker(tmp_path, 1, 0, lease="3600") as second:
            assert second.wait() == 0
    assert len(computed(tmp_path)) == 2 and RecordStore(tmp_path).read("00000")


@pytest.mark.slow
def test_a_process_that_was_stopped_beyond_its_lease_writes_no_record(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    with worker(tmp_path, 1, 2, score=0.1, lease="1") as stopped:
        wait_until(lambda: computed(tmp_path))
        os.kill(stopped.pid, signal.SIGSTOP)
        with worker(tmp_path, 1, 6, score=0.9, lease="1") as second:
            wait_until(lambda: len(computed(tmp_path)) == 2)
            os.kill(stopped.pid, signal.SIGCONT)
            wait_until(lambda: list((tmp_path / "logs").glob("*.late")))
            assert not store.path("00000").exists(), "the other process computes for some more seconds"
            assert second.wait() == 0
        assert stopped.wait() == 0
    record = store.read("00000")
    assert record and record.metrics == {"auc": 0.9} and store.has_predictions(record)
    assert len(computed(tmp_path)) == 2 and not list(tmp_path.rglob("*.tmp"))
    assert late_records(store, "stub").startswith("Late records of cells that another process had taken over")


@pytest.mark.parametrize(("score", "others"), [(0.5, "0 with other scores"), (0.25, "1 with other scores")])
def test_the_second_record_of_a_cell_is_dropped_and_counted(
    score: float, others: str, tmp_path: Path
) -> None:
    store, (planned,) = RecordStore(tmp_path), stub_cells(1)
    first = store.write_once(*stub_record(planned), None, lambda: True)
    late = stub_record(planned, score, run="stub")
    assert first and store.write_once(*late, None, lambda: True) is None
    assert store.read(planned.key) == first and store.has_predictions(first)
    note_late_record(store, late[0])
    assert f"were dropped: 1, of which {others}" in late_records(store, "stub")
    assert late_records(store, "another run") == ""


def test_a_record_replaces_only_the_one_that_was_found_before(tmp_path: Path) -> None:
    store, (planned,) = RecordStore(tmp_path), stub_cells(1)
    store.write(*stub_record(planned, 0.1))
    found = store.path(planned.key).read_bytes()
    assert store.write_once(*stub_record(planned, 0.2), found, lambda: True)
    assert store.write_once(*stub_record(planned, 0.3), found, lambda: True) is None
    record = store.read(planned.key)
    assert record and record.metrics == {"auc": 0.2} and store.has_predictions(record)
    store.path(planned.key).unlink()
    assert store.write_once(*stub_record(planned, 0.4), found, lambda: True), "removed by the user meanwhile"


def test_without_hard_links_the_first_record_is_still_the_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*paths: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for number in range(3):
        (tmp_path / f"{number}").write_text(f"{number}")
    path = tmp_path / "record"
    assert [place_first(tmp_path / f"{number}", path) for number in range(3)] == [True, False, False]
    assert path.read_text() == "0"
    assert place_first(tmp_path / "2", path, b"0") and path.read_text() == "2"
    assert [record.message for record in caplog.records if "without hard links" in record.message] == [
        f"warning: {tmp_path} is on a file system without hard links: records are written in place there, "
        "and one that a killed process leaves half written is made again by the next run."
    ]


def test_status_tells_dead_workers_from_living_ones_and_leaves_out_claims_of_finished_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells, store = stub_cells(4), RecordStore(tmp_path)
    monkeypatch.setattr(module, "read_plan", lambda folder: SimpleNamespace(cells=cells))
    store.write(*stub_record(cells[0]))
    for planned, age in zip([*cells[:3], *stub_cells(9)[8:]], (100, 100, 0, 0), strict=True):
        path = store.lock(planned.key)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(msgspec.json.encode(LeaseOwner(token="t", host="node7", pid=12)))
        os.utime(path, (at := path.stat().st_mtime - age, at))
    status = module.run_status(tmp_path)
    assert [(cell.key, cell.is_silent) for cell in status.running] == [("00001", True), ("00002", False)]
    said = status_text(status)
    assert "3, of which 1 are computed now" in said and said.count("probably dead") == 1
