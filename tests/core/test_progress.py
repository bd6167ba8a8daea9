"""Whatever takes long says what it does, its rate and the time left, also without a terminal."""

import os
import threading
from pathlib import Path

import pytest

from mednet_bench.core import progress
from mednet_bench.core.leases import claim_lock
from mednet_bench.core.progress import ProgressReporter, TrackedWork


class FakeClock:
    """A clock that a test sets, and what was said at which time."""

    def __init__(self) -> None:
        self.now, self.said = 0.0, list[tuple[float, str]]()
        self.reporter = ProgressReporter(lambda: self.now)
        self.reporter.say = lambda line: self.said.append((self.now, line))

    def pass_seconds(self, seconds: int) -> None:
        """Let seconds pass, each with a tick, as the thread gives."""
        for _ in range(seconds):
            self.now += 1
            self.reporter.tick()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """A reporter of this process with a fake clock."""
    clock = FakeClock()
    monkeypatch.setattr(progress, "REPORTER", clock.reporter)
    return clock


def test_a_line_comes_after_ten_seconds_and_after_every_thirty_of_silence(clock: FakeClock) -> None:
    with clock.reporter.add(lambda: "[0/2]"):
        with progress.track("training", 400, "steps") as advance:
            clock.pass_seconds(5)
            advance(20)
            clock.pass_seconds(45)
        progress.log_progress("[1/2] a cell")
        clock.pass_seconds(29)
        assert [at for at, _ in clock.said] == [10, 40], "said anew by a record at 50"
        clock.pass_seconds(1)
    assert clock.said == [
        (10, "[0/2]: training 20/400 steps, 2/s, about 3 min 10 s left"),
        (40, "[0/2]: training 20/400 steps, 0.5/s, about 12 min 40 s left"),
        (80, "[0/2]"),
    ]
    clock.pass_seconds(60)
    assert len(clock.said) == 3, "nothing is under way"


def test_nested_work_is_shown_only_inside_a_display(clock: FakeClock) -> None:
    with progress.track("predicting", 10) as advance:
        advance(3)
        assert clock.reporter.line() == ""
    with clock.reporter.add(lambda: "a cell"):
        lines = []
        for _ in progress.track_each("learning rate", (1e-3, 1e-2)):
            with progress.track("predicting", 10, "images") as advance:
                lines.append(clock.reporter.line())
        assert lines[1] == "a cell: learning rate 2 of 2: predicting 0/10 images"
        assert clock.reporter.line() == "a cell"


def test_a_failure_inside_ends_its_line(clock: FakeClock) -> None:
    with clock.reporter.add(lambda: "a run"):
        with pytest.raises(ZeroDivisionError), progress.track("training", 1):
            raise ZeroDivisionError
        assert clock.reporter.line() == "a run"


def test_the_rate_leaves_out_what_was_done_before() -> None:
    now = 100.0
    work = TrackedWork("units", 10, done=4, clock=lambda: now)
    now = 110.0
    assert work.line() == "units 4/10"
    work.advance(note="sources a")
    assert work.line() == "units 5/10, 0.1/s, about 50 s left, sources a" and work.share() == 0.5


def test_who_waits_for_a_lock_says_for_which_process(clock: FakeClock, tmp_path: Path) -> None:
    path, shown = tmp_path / "features.lock", []

    def wait() -> None:
        with claim_lock(path, wait=True):
            shown.append("claimed")

    with clock.reporter.add(lambda: "a cell"), claim_lock(path):
        other = threading.Thread(target=wait)
        other.start()
        while "waiting" not in (line := clock.reporter.line()):
            assert other.is_alive()
        assert line.startswith(f"a cell: waiting for process {os.getpid()} on ") and str(path) in line
    other.join()
    assert shown == ["claimed"] and not list(tmp_path.glob("*.owner"))
