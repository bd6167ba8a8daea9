"""Verified, resumable downloads, bounded in time and size."""

import errno
import http.client
import os
import re
import shutil
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ..core.errors import UserError
from ..core.files import DiskFullError, claim_lock
from .data_paths import download_folder
from .hashes import file_hash
from .task import DataLocations, MissingFile

DownloadProgress = Callable[[str, int, int], None]
"""Called with file name, bytes received, and total (0 if the server states none)."""

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_GROWTH = 1 << 24
"""Bytes of progress that reset the failure count: a big file may be cut more often."""
_UNKNOWN = 1 << 40
"""Limit in bytes for a file of unknown size."""


class OfflineError(UserError):
    """The server cannot be reached."""


@dataclass(frozen=True)
class RetryPolicy:
    """Time limits and retries of a download.

    Attributes:
        connect: seconds for name resolution and connection before the machine counts as offline.
        read: seconds without a byte until a transfer counts as cut.
        tries: consecutive transfers that may fail.
        wait: seconds before the second try; doubled for each further one.
        window: seconds over which the pace is measured.
        pace: minimum bytes per second; bounds a transfer to ``size / pace + window`` seconds.
    """

    connect: float = 8.0
    read: float = 20.0
    tries: int = 5
    wait: float = 1.0
    window: float = 60.0
    pace: float = 10_000.0


class _CutError(Exception):
    """A transfer failed in a way that a retry may cure."""


@dataclass
class _Watch:
    """State shared by a transfer's thread and its caller.

    Attributes:
        most: size limit of the file in bytes.
        arrived: bytes of this transfer so far.
        over: the caller has abandoned the transfer, which must not change the file any more.
        lock: guards changes of the file and `over`.
    """

    most: int
    arrived: int = 0
    over: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def guard_change(self) -> Iterator[None]:
        """Allow a change of the file in the block; `_CutError` if the transfer was abandoned."""
        with self.lock:
            if self.over:
                raise _CutError("given up")
            yield

    def give_up(self) -> None:
        """Abandon the transfer, after the change in progress."""
        with self.lock:
            self.over = True


def download_missing(
    missing: MissingFile, places: DataLocations, progress: DownloadProgress | None = None
) -> Path:
    """Download a published file into `download_folder`; errors as `download_file`."""
    url = f"{places.mirror.rstrip('/')}/{missing.name}" if places.mirror else missing.url
    target = download_folder(places) / missing.name
    return download_file(url, target, missing.md5, progress, most=missing.bytes_at_most)


def download_file(
    url: str,
    target: Path,
    md5: str,
    progress: DownloadProgress | None = None,
    patience: RetryPolicy | None = None,
    most: int = 0,
) -> Path:
    """Download a file to `target`, which appears only with the right MD5; processes take turns.

    Partial content is kept in ``<target>.<md5>.part`` and resumed by HTTP Range, in this or the next run. A
    server that ignores Range restarts it.

    Args:
        url: an http or https address.
        target: path of the file.
        md5: its hexadecimal sum.
        progress: called for every block.
        patience: the time limits.
        most: size limit in bytes; 0 if unknown.

    Raises:
        OfflineError: no connection within `patience.connect` seconds.
        DiskFullError: the disk is full.
        UserError: the server refuses, keeps cutting, is too slow, or sends too much or another file.
    """
    patience = patience or RetryPolicy()
    report = progress or (lambda name, done, total: None)
    with claim_lock(target.with_name(f".{target.name}.lock"), wait=True):
        if target.is_file() and file_hash(target, "md5") == md5:
            return target  # downloaded by another process
        _check_connection(url, patience.connect)
        part = target.with_name(f"{target.name}.{md5[:8]}.part")
        _fill_part(url, part, md5, report, patience, most or _UNKNOWN)
        part.replace(target)
        return target


def _fill_part(
    url: str, part: Path, md5: str, report: DownloadProgress, patience: RetryPolicy, most: int
) -> None:
    """Complete `part` and check its MD5; a wrong file is deleted."""
    resumed = part.exists()
    resumed |= _transfer(url, part, report, patience, most)
    found = file_hash(part, "md5")
    if found != md5 and resumed:  # the pieces may be of different files: once more, in one piece
        part.unlink()
        _transfer(url, part, report, patience, most)
        found = file_hash(part, "md5")
    if found != md5:
        part.unlink()
        raise UserError(
            f"{url} serves another file than published (MD5 {found} instead of {md5}): try later, or "
            "name another server in MEDNET_BENCH_MIRROR."
        )


def _check_connection(url: str, seconds: float) -> None:
    """Connect once, to detect a missing network early."""
    place, scheme = _host_and_port(url, "MEDNET_BENCH_MIRROR"), url.partition(":")[0]
    proxy = urllib.request.getproxies().get(scheme)
    if proxy and not urllib.request.proxy_bypass(place[0]):
        place = _host_and_port(proxy if "://" in proxy else f"//{proxy}", f"{scheme}_proxy")
    outcome: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection(place, timeout=seconds).close()
            outcome.append("")
        except (OSError, UnicodeError) as error:  # a name that no resolver takes
            outcome.append(getattr(error, "strerror", "") or str(error))

    # in a thread, because the resolver of the C library knows no timeout
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    reason = outcome[0] if outcome else f"no answer in {seconds:g} s"
    if reason:
        raise OfflineError(
            f"Cannot reach {place[0]} ({reason}): check the network, or name another server in "
            "MEDNET_BENCH_MIRROR."
        )


def _host_and_port(url: str, origin: str) -> tuple[str, int]:
    """Split an address; `UserError` names the variable it comes from, without a password."""
    try:
        address = urllib.parse.urlsplit(url)
        port = address.port  # this attribute raises ValueError on a bad port
    except ValueError as error:
        raise UserError(f"{origin} holds no address ({url.rpartition('@')[2]}): correct it.") from error
    return address.hostname or "", port or (443 if address.scheme == "https" else 80)


def _transfer(url: str, part: Path, report: DownloadProgress, patience: RetryPolicy, most: int) -> bool:
    """Complete `part`; returns whether it took more than one request."""
    failures, cut = 0, False
    largest = part.stat().st_size if part.exists() else 0
    while True:
        watch = _Watch(most)
        try:
            _run_watched_transfer(
                lambda watch=watch: _receive(url, part, report, patience.read, watch), watch, patience
            )
            return cut
        except _CutError as error:
            cut = True
            size = part.stat().st_size if part.exists() else 0
            failures = 1 if size - largest > _GROWTH else failures + 1
            largest = max(largest, size)
            if failures >= patience.tries:
                raise UserError(
                    f"The download of {url} failed {failures} times ({error}): run the same command again "
                    "later, it resumes where it stopped."
                ) from error
            time.sleep(patience.wait * 2 ** (failures - 1))


def _run_watched_transfer(receive: Callable[[], None], watch: _Watch, patience: RetryPolicy) -> None:
    """Run a transfer in a thread while it keeps pace.

    A socket timeout is not enough: a server that sends a byte now and then, even of a header, never triggers
    it.
    """
    outcome: list[BaseException | None] = []

    def work() -> None:
        try:
            receive()
            outcome.append(None)
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            before = watch.arrived
            thread.join(patience.window)
            came = watch.arrived - before
            if thread.is_alive() and came < patience.pace * patience.window:
                raise _CutError(f"only {came:,} bytes in {patience.window:g} s")
    finally:
        watch.give_up()
    if outcome[0] is not None:
        raise outcome[0]


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        """Return the next request, or None to make the redirect an error; ValueError for a bad port."""
        address = urllib.parse.urlsplit(newurl)
        known = address.scheme in ("http", "https") and address.port != 0
        return super().redirect_request(req, fp, code, msg, headers, newurl) if known else None


def _receive(url: str, part: Path, report: DownloadProgress, timeout: float, watch: _Watch) -> None:
    """Make one request and append the content to `part`."""
    have = part.stat().st_size if part.exists() else 0
    have = have if have <= watch.most else 0
    headers = {"User-Agent": "mednet-bench", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        opener = urllib.request.build_opener(_Redirects)
        with opener.open(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            whole = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            start = have if answer.status == 206 and whole else 0
            length = _remaining_bytes(url, answer.headers.get("Content-Length"), start, watch.most)
            _check_room(part, length)
            with watch.guard_change():
                file = part.open("r+b" if start else "wb")
            name, total = part.name.rsplit(".", 2)[0], start + length
            with file:
                done = _copy_blocks(answer, file, start, watch, lambda done: report(name, done, total))
        if done > watch.most:
            with watch.guard_change():
                part.unlink()
            raise _too_large_error(url, f"more than {watch.most:,} bytes", watch.most)
        if length and done < total:
            raise _CutError(f"cut after {done} of {total} bytes")
    except urllib.error.HTTPError as error:
        _handle_http_error(url, part, have, watch, error)
    except (ValueError, OverflowError, http.client.InvalidURL) as error:  # a bad port, host or character
        raise UserError(
            f"{url} leads to something that is no address ({error}): name another server in "
            "MEDNET_BENCH_MIRROR."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise _disk_full_error(part) from error
        if isinstance(error, OSError) and error.filename is not None:  # a file error, not the network
            raise UserError(f"Cannot write {part} ({error.strerror}): choose another data folder.") from error
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):  # trying again would not help
            raise OfflineError(
                f"Cannot trust {url} ({reason.verify_message}): check clock and proxy."
            ) from error
        raise _CutError(str(reason) or type(error).__name__) from error


def _remaining_bytes(url: str, declared: str | None, start: int, most: int) -> int:
    """Return the declared number of bytes to come, 0 if undeclared; `UserError` if it is absurd."""
    digits = (declared or "0").strip()
    if not re.fullmatch("[0-9]+", digits):
        raise UserError(
            f"{url} declares a length that is no number: name another server in MEDNET_BENCH_MIRROR."
        )
    if len(digits) > 19:  # int refuses thousands of digits
        raise _too_large_error(url, f"a number of bytes with {len(digits):,} digits", most)
    if start + int(digits) > most:
        raise _too_large_error(url, f"{start + int(digits):,} bytes", most)
    return int(digits)


def _too_large_error(url: str, size: str, most: int) -> UserError:
    return UserError(
        f"{url} sends {size}, and the published file has at most {most:,}: name another server in "
        "MEDNET_BENCH_MIRROR."
    )


def _copy_blocks(
    answer: http.client.HTTPResponse, file: BinaryIO, start: int, watch: _Watch, report: Callable[[int], None]
) -> int:
    """Append to `file` from `start` until the response ends; return the size of the file in bytes.

    Stops early once the file exceeds `watch.most` bytes.
    """
    with watch.guard_change():
        done = file.seek(start)
        file.truncate()
    while done <= watch.most and (block := answer.read1(1 << 18)):  # `read` would wait for a full block
        with watch.guard_change():
            done += file.write(block)
            file.flush()  # closing an abandoned file would write its buffer
        watch.arrived += len(block)
        report(done)
    os.fsync(file.fileno())
    return done


def _handle_http_error(url: str, part: Path, have: int, watch: _Watch, error: urllib.error.HTTPError) -> None:
    """Return if nothing is left to fetch, else raise `_CutError` for a retry or `UserError`."""
    error.close()
    if error.code == 416 and have:
        if error.headers.get("Content-Range", "") == f"bytes */{have}":
            return
        with watch.guard_change():
            part.unlink()
        raise _CutError("the partial file did not match") from error
    if error.code in _TRANSIENT:
        raise _CutError(f"HTTP {error.code}") from error
    if 300 <= error.code < 400:
        raise UserError(
            f"{url} redirects in a circle, or to an address that is neither http nor https: name another "
            "server in MEDNET_BENCH_MIRROR."
        ) from error
    raise UserError(
        f"{url} answers HTTP {error.code} ({error.reason}): name another server in MEDNET_BENCH_MIRROR, or "
        "put the file into a data folder by hand."
    ) from error


def _check_room(part: Path, length: int) -> None:
    if length > shutil.disk_usage(part.parent).free:
        raise _disk_full_error(part)


def _disk_full_error(part: Path) -> DiskFullError:
    return DiskFullError(
        f"Disk full: no space left for {part}; free some space and run the same command again to resume."
    )
