"""A disk that fills up: one sentence, exit 1, whole files only, and a rerun that completes."""

import functools
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from processes import (
    COMMAND,
    FINISHED,
    QUICK,
    CommandLine,
    Ended,
    only_sentence,
    planned_records,
    records_in,
    sentence,
)

from mednet_bench.benchmark.schema.plan import read_plan
from mednet_bench.benchmark.schema.records import RecordStore

pytestmark = pytest.mark.slow


def _limit(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    # Python does not notice that a module's compiled file was cut off, and every later process would read it
    sys.dont_write_bytecode = True


def files_up_to(limit: int) -> Callable[[], object]:
    """Limit a process's files to `limit` bytes, which looks like a full disk."""
    return functools.partial(_limit, limit)


def test_a_disk_that_is_full_at_any_stage_ends_the_run_with_one_sentence_and_the_rerun_completes(
    mednet_bench: CommandLine, tmp_path: Path
):
    out = tmp_path / "run"
    command = [*QUICK, "--seeds", "0..1", "--fractions", "1", "--report", "--out", out]

    ended = mednet_bench(*command, prepare=files_up_to(512))
    assert ended.returncode == 1
    assert str(out / "plan.json") in sentence(ended)
    assert read_plan(out) is None

    # the plan and the subsets fit, predictions do not; two workers meet it, with one error line
    ended = mednet_bench(*command, "--jobs", "2", prepare=files_up_to(4096))
    assert ended.returncode == 1
    assert "predictions" in sentence(ended)
    assert not records_in(out), "a record without its predictions"

    ended = mednet_bench(*command, prepare=files_up_to(16384))  # all cells fit, the report does not
    assert ended.returncode == 1
    assert f"Disk full while writing {out / 'report'}" in sentence(ended)
    assert [record.status for record in planned_records(out)] == ["ok", "ok"]
    assert not list(out.rglob("*.tmp")), "temporary files, although no process was killed"

    ended = mednet_bench.succeed(*command)
    assert "nothing to compute" in ended.stderr
    assert (out / "report" / "report.html").stat().st_size > 16384


def test_a_full_disk_under_the_cache_of_features_is_no_failed_cell(mednet_bench: CommandLine, tmp_path: Path):
    cache = tmp_path / "cache"  # empty: features would have to be written
    command = ["run", *FINISHED, "--out", tmp_path / "run"]
    ended = mednet_bench(*command, prepare=files_up_to(100_000), MEDNET_BENCH_CACHE=str(cache))
    assert ended.returncode == 1
    assert str(cache / "features") in sentence(ended)
    assert not records_in(tmp_path / "run")
    assert not list(cache.rglob("*.tmp"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_what_is_printed_onto_a_full_disk_is_missed_with_a_sentence(fresh: CommandLine):
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [*COMMAND, "ls"], env=fresh.environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert "Disk full: free some space" in only_sentence(Ended("ls", 1, "", ended.stderr))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """File system with space for a few records; needs the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or _mount(place, "size=160k"):
        pytest.skip("file systems cannot be mounted here: the tests with file size limits say the same")
    yield place
    subprocess.run(["umount", place], check=True)


def _mount(place: Path, options: str) -> int:
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True
    ).returncode


def test_a_run_goes_on_where_a_real_disk_was_full(mednet_bench: CommandLine, small_disk: Path):
    out = small_disk / "run"
    command = [*QUICK, "--seeds", "0..19", "--fractions", "1", "--out", out]
    ended = mednet_bench(*command)
    assert ended.returncode == 1
    assert "Disk full while writing" in sentence(ended)
    kept = {path: path.read_bytes() for path in records_in(out)}
    assert 0 < len(kept) < 20
    assert not RecordStore(out).unreadable_files()

    assert _mount(small_disk, "remount,size=8m") == 0
    ended = mednet_bench.succeed(*command)
    assert f"{20 - len(kept)} of 20 cells on cpu" in ended.stderr
    assert len(planned_records(out)) == 20
    assert {path: path.read_bytes() for path in kept} == kept
