"""Leases: exclusive, renewed, taken over by the file server's clock alone, and without any file lock."""

import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from mednet_bench.core import files, leases
from mednet_bench.core.errors import StoppedError, UserError
from mednet_bench.core.leases import claim_lock, new_owner, sweep

DIGITS = "0123456789abcdef" * 2


def leave_lease(path: Path, age: float, **changes: object) -> None:
    """Leave the lease of a process that does not renew it, of another machine unless `changes` say so."""
    owner = msgspec.structs.replace(new_owner(), **{"host": "node7", "pid": 12, **changes})
    path.write_bytes(msgspec.json.encode(owner))
    os.utime(path, (at := path.stat().st_mtime - age, at))


@pytest.fixture
def unwatched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a lease over by the clock of the file server alone, at the first look."""
    monkeypatch.setattr(leases, "SILENT_BEATS", 0)


def test_a_lease_names_its_owner_is_held_once_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with claim_lock(path) as lease, claim_lock(path) as second:
        assert lease and lease.is_mine() and second is None
        assert leases.lock_owner(path) == f"process {os.getpid()} on {lease.owner.host}"
    assert not list(tmp_path.iterdir()) and leases.lock_owner(path) == "another process"


def test_a_lease_is_renewed_while_its_owner_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(leases.LEASE_VARIABLE, "0.6")
    path = tmp_path / "a.lock"
    with claim_lock(path) as lease:
        first = path.stat().st_mtime_ns
        while path.stat().st_mtime_ns == first:
            time.sleep(0.01)
        assert lease and lease.is_mine()


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("skew", [-900.0, 900.0])
def test_the_clock_of_a_client_plays_no_part(
    skew: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + skew)
    monkeypatch.setattr(time, "time_ns", lambda: int((right() + skew) * 1e9))
    leave_lease(tmp_path / "alive.lock", 30)
    leave_lease(tmp_path / "dead.lock", 100)
    with claim_lock(tmp_path / "alive.lock") as alive, claim_lock(tmp_path / "dead.lock") as dead:
        assert alive is None and dead


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("ahead", [-900.0, 900.0])
def test_the_clock_of_the_file_server_decides(
    ahead: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "_offsets", {})
    monkeypatch.setattr(leases, "server_time", lambda folder: time.time() + ahead)
    leave_lease(tmp_path / "alive.lock", 30 - ahead)
    leave_lease(tmp_path / "dead.lock", 100 - ahead)
    with claim_lock(tmp_path / "alive.lock") as alive, claim_lock(tmp_path / "dead.lock") as dead:
        assert alive is None and dead


def test_a_process_of_this_machine_that_has_ended_is_known_at_once(tmp_path: Path) -> None:
    here, path = new_owner(), tmp_path / "a.lock"
    if not here.boot:
        pytest.skip("this system has no /proc")
    known = {"host": here.host, "pid": os.getpid()}
    for changes, free in (
        ({**known}, False),
        ({**known, "started": "1"}, True),  # its process id was given to another process
        ({**known, "started": "1", "boot": "of a container"}, False),
        ({**known, "started": "1", "host": "node7"}, False),
        ({**known, "pid": 2**22 + 1}, True),
    ):
        leave_lease(path, 1, **changes)
        with claim_lock(path) as lease:
            assert bool(lease) == free, changes


@pytest.mark.usefixtures("unwatched")
def test_of_many_that_take_over_a_lease_one_succeeds(tmp_path: Path) -> None:
    found, paths = Counter[str](), [tmp_path / f"{number}.lock" for number in range(50)]
    barrier = threading.Barrier(4)

    def take() -> None:
        for path in paths:
            barrier.wait()
            with claim_lock(path) as lease:
                if lease:
                    found[path.name] += 1
                barrier.wait()

    for path in paths:
        leave_lease(path, 100)
    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {path.name: 1 for path in paths}
    assert not list(tmp_path.iterdir())


def test_a_process_that_was_about_to_take_over_leaves_the_lease_of_a_faster_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.lock"
    leave_lease(path, 100)
    silent, faster = leases._is_silent, []
    monkeypatch.setattr(leases, "SILENT_BEATS", 0)

    def overtake(lease: Path, renewed: float) -> bool:
        monkeypatch.setattr(leases, "_is_silent", silent)
        faster.append(leases._acquire(path))
        return True

    monkeypatch.setattr(leases, "_is_silent", overtake)
    with claim_lock(path) as lease:
        assert lease is None and faster[0].is_mine()
    faster[0].release()


def test_a_lease_that_is_renewed_stays_where_clients_set_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = tmp_path / "a.lock", [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(leases, "server_time", lambda folder: now[0] + 1e6)  # far ahead of the lease's owner
    monkeypatch.setattr(leases, "_offsets", {})
    leave_lease(path, 0)
    for now[0] in range(0, 300, 15):
        os.utime(path, (now[0], now[0]))
        with claim_lock(path) as lease:
            assert lease is None, "its owner is alive"
    for now[0], free in ((314, False), (315, True)):
        with claim_lock(path) as lease:
            assert bool(lease) == free


def test_a_lease_whose_time_is_ahead_ends_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, now = tmp_path / "a.lock", [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    leave_lease(path, -1e6)
    for now[0], free in ((0, False), (90, False), (91, True)):
        with claim_lock(path) as lease:
            assert bool(lease) == free


def test_a_lease_that_seems_to_have_ended_is_watched_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(leases.LEASE_VARIABLE, "0.6")
    for name, age in (("alive", 0), ("dead", 100)):
        leave_lease(tmp_path / name, age)
    with claim_lock(tmp_path / "dead") as lease:
        assert lease is None
    with claim_lock(tmp_path / "dead", watch=True) as lease:
        assert lease
    monkeypatch.setenv(leases.LEASE_VARIABLE, "90")
    with claim_lock(tmp_path / "alive", watch=True) as lease:
        assert lease is None


def test_a_lease_that_cannot_be_read_for_a_moment_is_still_mine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, failing = leases._read, []

    def read_badly(path: Path) -> object:
        return fail_with(errno.EIO)() if failing and failing.pop() else read(path)

    monkeypatch.setattr(leases, "_read", read_badly)
    with claim_lock(tmp_path / "a.lock") as lease:
        failing.append(True)
        assert lease and lease.is_mine() and not failing


@pytest.mark.parametrize("left", ["", "{}", "of an older version"])
def test_what_is_no_lease_ends_by_its_age(left: str, tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    path.write_text(left)
    with claim_lock(path) as lease:
        assert lease is None
    os.utime(path, (at := path.stat().st_mtime - 100, at))
    with claim_lock(path) as lease:
        assert lease


@pytest.mark.usefixtures("unwatched")
def test_a_marker_of_a_process_that_was_killed_while_it_took_over_ends_too(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    leave_lease(path, 100, token="t")
    marker = tmp_path / "a.lock.t.ended"
    marker.touch()
    with claim_lock(path) as lease:
        assert lease is None
    os.utime(marker, (at := path.stat().st_mtime - 100, at))
    with claim_lock(path):
        pass
    with claim_lock(path) as lease:
        assert lease
    assert not list(tmp_path.iterdir())


def fail_with(number: int) -> Callable[..., None]:
    """Return a function that raises an `OSError`."""

    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_nothing_needs_file_locks(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.fcntl, "flock", fail_with(number))
    with claim_lock(tmp_path / "a.lock") as lease:
        files.write_bytes(tmp_path / "a", b"content")
        assert lease and (tmp_path / "a").read_bytes() == b"content"
    left = [files.temporary_path(tmp_path / "a"), tmp_path / f".a.{DIGITS}.tmp"]
    for path in left:
        path.touch()
    sweep(tmp_path)
    assert all(path.exists() for path in left), "their writers may be alive"
    for path in left:
        os.utime(path, (1, 1))
    sweep(tmp_path)
    assert not any(path.exists() for path in left)


def test_where_locks_are_local_the_file_of_a_writer_on_another_machine_is_kept(tmp_path: Path) -> None:
    path = tmp_path / f".a.{DIGITS}.tmp"  # not locked, as far as this machine knows
    path.touch()
    sweep(tmp_path)
    assert path.exists()


@pytest.mark.parametrize(
    ("number", "error", "words"),
    [(errno.EROFS, UserError, "choose another folder"), (errno.ENOSPC, StoppedError, "Disk full")],
)
def test_a_lease_that_cannot_be_written_is_one_sentence_and_leaves_no_file(
    number: int, error: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases.os, "write", fail_with(number))
    with pytest.raises(error, match=words), claim_lock(tmp_path / "a.lock"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", ["soon", "0", "-1", "inf", "nan"])
def test_a_lease_that_never_ends_or_begins_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(leases.LEASE_VARIABLE, given)
    with pytest.raises(UserError, match=f"{leases.LEASE_VARIABLE} is '{given}': set it to seconds"):
        leases.lease_seconds()
