"""A build that is killed anywhere and started again ends as if nothing had happened."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from corpora import GRAY, Built, folder, made, opened

from mednet_bench.benchmark.corpus.build import build_corpus
from mednet_bench.benchmark.corpus.corpus import read_corpus
from mednet_bench.benchmark.corpus.source import SourceItem
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import StoppedError, UserError

PROGRAM = Path(sys.executable).parent / "mednet-bench"


def sources(place: Path) -> tuple[Path, Path]:
    """Two sources with images in common, so that finishing rewrites a shard and drops another."""
    first, second = folder(place, "zebra", range(20)), folder(place, "apple", range(10, 40))
    (place / "apple" / "malignant" / "broken.png").write_bytes(b"")
    return first, second


def killed(place: Path, cards: tuple[Path, ...], writes: int) -> bool:
    """Build in a process that kills itself after `writes` renamed files; returns whether it did."""

    def work() -> None:
        left, rename = writes, Path.replace

        def counted(self: Path, target: Path) -> Path:
            nonlocal left
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return rename(self, target)

        Path.replace = counted  # type: ignore[method-assign]
        build_corpus(place, opened(*cards), GRAY)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_killed_between_any_two_writes_it_ends_with_the_same_bytes(tmp_path: Path) -> None:
    cards = sources(tmp_path)
    whole = made(tmp_path / "whole", *cards)
    kills = 0
    while killed(tmp_path / "out", cards, kills):  # later and later, and so at every write of the end
        kills += 1
    built = Built(tmp_path / "out", read_corpus(tmp_path / "out"))
    assert kills >= 8
    assert built.files == whole.files
    assert built.corpus.identity == whole.corpus.identity
    assert not (built.folder / "parts").exists()


def test_killed_before_the_parts_are_removed_it_removes_them_the_next_time(tmp_path: Path) -> None:
    cards = sources(tmp_path)
    whole = made(tmp_path / "out", *cards)
    (tmp_path / "out" / "parts").mkdir()
    (tmp_path / "out" / "parts" / "zebra-00000.parquet").write_bytes(b"")
    assert made(tmp_path / "out", *cards).corpus == whole.corpus
    assert not (tmp_path / "out" / "parts").exists()


def test_what_is_finished_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = sources(tmp_path)
    assert killed(tmp_path / "out", cards, 6)
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "parts").glob("*.tar")}
    finished = {path.stem for path in (tmp_path / "out" / "parts").glob("*.parquet")}
    read: list[str] = []
    from mednet_bench.benchmark.corpus import file_source

    before = file_source.FileSource.read

    def watched(self, unit):
        read.append(f"{self.facts.name}-{unit.number:05d}")
        return before(self, unit)

    monkeypatch.setattr(file_source.FileSource, "read", watched)
    made(tmp_path / "out", *cards)
    assert finished
    assert done
    assert not finished & set(read)
    assert len(read) == len(set(read))


def test_other_sources_are_refused_before_the_build_is_finished(tmp_path: Path) -> None:
    cards = sources(tmp_path)
    assert killed(tmp_path / "out", cards, 6)
    with pytest.raises(UserError, match="not finished"):
        read_corpus(tmp_path / "out")
    with pytest.raises(UserError, match="unfinished build of other sources"):
        made(tmp_path / "out", cards[0])
    (tmp_path / "apple" / "benign" / "PATIENT1-010.png").write_bytes(b"changed")
    with pytest.raises(UserError, match="changed"):
        made(tmp_path / "out", *cards)


def test_a_failing_source_leaves_a_build_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mednet_bench.benchmark.corpus import file_source

    cards = sources(tmp_path)
    before = file_source.FileSource.read

    def failing(self, unit):
        yield from (found for found in before(self, unit) if isinstance(found, SourceItem))
        if unit.number == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(file_source.FileSource, "read", failing)
        made(tmp_path / "out", *cards)
    assert not list((tmp_path / "out" / "parts").glob(".*.tmp"))
    assert made(tmp_path / "out", *cards).corpus.images == 40


def test_a_build_that_another_process_has_taken_over_ends_and_finishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mednet_bench.benchmark.corpus import build

    def overtaken(*arguments: object, **options: object) -> tuple[int, int]:
        (tmp_path / "out" / ".lock").write_text("of another process")
        return 0, 0

    monkeypatch.setattr(build, "_build_unit", overtaken)
    with pytest.raises(StoppedError, match=r"Another process has taken over .*out.*run the same command"):
        made(tmp_path / "out", *sources(tmp_path))
    assert not (tmp_path / "out" / "corpus.json").exists()
    assert (tmp_path / "out" / ".lock").exists(), "the lease of the other process"


def living() -> dict[int, int]:
    """Return the parent of every running process, without zombies."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has ended meanwhile
            continue
        if state not in "ZX":
            found[int(path.parent.name)] = int(parent)
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_a_process_that_has_ended_and_waits_to_be_noted_is_not_living() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{process.pid}").exists() and process.pid not in living()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_kill_9_of_the_command_leaves_no_process_behind_and_is_resumed(tmp_path: Path) -> None:
    source = folder(tmp_path, "wards", range(40))
    for number in range(3000):  # three units
        copy = tmp_path / "wards" / "benign" / f"copy{number}.png"
        copy.hardlink_to(tmp_path / "wards" / "benign" / "PATIENT0-002.png")
    words = ["corpus", "build", str(tmp_path / "out"), "--variant", "gray", str(source)]
    process = subprocess.Popen([PROGRAM, *words, "--jobs", "2"], stderr=subprocess.DEVNULL)
    while not list((tmp_path / "out").glob("parts/.*.tar.*")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    ours = {child for child, parent in living().items() if parent == process.pid}
    process.kill()
    process.wait()
    assert ours
    while ours & living().keys():
        time.sleep(0.02)
    assert not (tmp_path / "out" / "corpus.json").exists()
    ended = CliRunner().invoke(cli, words, standalone_mode=False)
    assert re.search(r"wards +x-ray +40 +4 +3,000 ", ended.output), ended.output
    assert not list((tmp_path / "out").rglob("*.tmp"))
    words[2] = str(tmp_path / "alone")
    CliRunner().invoke(cli, words, standalone_mode=False)
    alone, resumed = (Built(tmp_path / name, read_corpus(tmp_path / name)) for name in ("alone", "out"))
    assert alone.files == resumed.files  # whichever process made which part
