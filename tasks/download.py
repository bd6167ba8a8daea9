"""Verified, resumable downloads, bounded in time and size."""

import errno
import hashlib
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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.message import Message
from pathlib import Path
from typing import BinaryIO

from ..core.errors import UserError
from ..core.files import DiskFullError
from ..core.leases import claim_lock
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


@dataclass(frozen=True)
class RemoteFile:
    """A published file, and what to say where it cannot be had.

    Attributes:
        url: an http or https address.
        digest: hexadecimal MD5 or SHA-256 of the file; "" where none is published.
        most: size limit in bytes; 0 if unknown.
        version: changes with the content of a file without digest, so that no pieces of two files are joined.
        token: sent to the first server only, never to one that it redirects to.
        variable: where the address comes from.
        cure: what a user can do, as a clause.
        denied: sentence for the answers 401 and 403; "" if the file is open.
    """

    url: str
    digest: str
    most: int = 0
    version: str = ""
    token: str = field(default="", repr=False)
    variable: str = "MEDNET_BENCH_MIRROR"
    cure: str = "name another server in MEDNET_BENCH_MIRROR"
    denied: str = ""

    def __str__(self) -> str:
        return self.url

    @property
    def tag(self) -> str:
        """Eight digits that differ for other content; part of the name of a partial file."""
        return self.digest[:8] or hashlib.sha256(f"{self.url} {self.version}".encode()).hexdigest()[:8]

    def fault_of(self, path: Path) -> str:
        """Return how the hash of a file differs from the published one; "" if equal or not published."""
        algorithm = "sha256" if len(self.digest) == 64 else "md5"
        found = file_hash(path, algorithm) if self.digest else ""
        name = algorithm.upper().replace("SHA", "SHA-")
        return "" if found == self.digest else f"{name} {found} instead of {self.digest}"

    def request(self, headers: Mapping[str, str], method: str = "GET") -> urllib.request.Request:
        """Return a request for the file."""
        request = urllib.request.Request(self.url, headers=dict(headers), method=method)
        if self.token:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        return request


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
    """Download a file whose MD5 is published to `target`; see `download_remote`."""
    return download_remote(RemoteFile(url, md5, most), target, progress, patience)


def download_remote(
    remote: RemoteFile,
    target: Path,
    progress: DownloadProgress | None = None,
    patience: RetryPolicy | None = None,
) -> Path:
    """Download a file to `target`, which appears only with the right hash; processes take turns.

    Partial content is kept in ``<target>.<hash>.part`` and resumed by HTTP Range, in this or the next run. A
    server that ignores Range restarts it.

    Args:
        remote: address, hash and limits.
        target: path of the file.
        progress: called for every block.
        patience: the time limits.

    Raises:
        OfflineError: no connection within `patience.connect` seconds.
        DiskFullError: the disk is full.
        UserError: the server refuses, keeps cutting, is too slow, or sends too much or another file.
    """
    patience = patience or RetryPolicy()
    report = progress or (lambda name, done, total: None)
    with claim_lock(target.with_name(f".{target.name}.lock"), wait=True):
        if target.is_file() and remote.fault_of(target) == "":
            return target  # downloaded by another process
        _check_connection(remote, patience.connect)
        part = target.with_name(f"{target.name}.{remote.tag}.part")
        _fill_part(remote, part, report, patience)
        part.replace(target)
        return target


def with_published_hash(remote: RemoteFile, patience: RetryPolicy | None = None) -> RemoteFile:
    """Ask the server for the SHA-256, size and version of a file, without its content.

    A model hub states the SHA-256 of large files; other servers state at most a version. A server that does
    not answer such a request leaves `remote` as it is.

    Raises:
        OfflineError: no connection within `patience.connect` seconds.
        UserError: the file is gated, or not there.
    """
    patience = patience or RetryPolicy()
    _check_connection(remote, patience.connect)
    redirects = _Redirects()
    headers = {"User-Agent": "mednet-bench", "Accept-Encoding": "identity"}
    try:
        opener = urllib.request.build_opener(redirects)
        with opener.open(remote.request(headers, "HEAD"), timeout=patience.read) as answer:
            seen = [*redirects.seen, answer.headers]
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403, 404, 410):
            raise _refusal(remote, error) from error
        return remote
    except (OSError, http.client.HTTPException, ValueError):
        return remote  # the download itself says what is wrong, and tries again
    linked = next((each for each in seen if each.get("X-Linked-Etag")), Message())
    digest = linked.get("X-Linked-Etag", "").strip('"').lower()
    size = linked.get("X-Linked-Size", "")
    return replace(
        remote,
        digest=remote.digest or (digest if re.fullmatch("[0-9a-f]{64}", digest) else ""),
        most=remote.most or (int(size) if re.fullmatch("[0-9]{1,18}", size) else 0),
        version=f"{seen[-1].get('ETag', '')} {seen[-1].get('Content-Length', '')}",
    )


def _refusal(remote: RemoteFile, error: urllib.error.HTTPError) -> UserError:
    if error.code in (401, 403) and remote.denied:
        return UserError(remote.denied)
    return UserError(
        f"{remote} answers HTTP {error.code} ({error.reason}): {remote.cure}, or put the file into a data "
        "folder by hand."
    )


def _fill_part(remote: RemoteFile, part: Path, report: DownloadProgress, patience: RetryPolicy) -> None:
    """Complete `part` and check its hash; a wrong file is deleted."""
    resumed = part.exists()
    resumed |= _transfer(remote, part, report, patience)
    fault = remote.fault_of(part)
    if fault and resumed:  # the pieces may be of different files: once more, in one piece
        part.unlink()
        _transfer(remote, part, report, patience)
        fault = remote.fault_of(part)
    if fault:
        part.unlink()
        raise UserError(
            f"{remote} serves another file than published ({fault}): try later, or {remote.cure}."
        )


def _check_connection(remote: RemoteFile, seconds: float) -> None:
    """Connect once, to detect a missing network early."""
    place, scheme = _host_and_port(remote.url, remote.variable), remote.url.partition(":")[0]
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
        raise OfflineError(f"Cannot reach {place[0]} ({reason}): check the network, or {remote.cure}.")


def _host_and_port(url: str, origin: str) -> tuple[str, int]:
    """Split an address; `UserError` names the variable it comes from, without a password."""
    try:
        address = urllib.parse.urlsplit(url)
        port = address.port  # this attribute raises ValueError on a bad port
    except ValueError as error:
        raise UserError(f"{origin} holds no address ({url.rpartition('@')[2]}): correct it.") from error
    return address.hostname or "", port or (443 if address.scheme == "https" else 80)


def _transfer(remote: RemoteFile, part: Path, report: DownloadProgress, patience: RetryPolicy) -> bool:
    """Complete `part`; returns whether it took more than one request."""
    failures, cut = 0, False
    largest = part.stat().st_size if part.exists() else 0
    while True:
        watch = _Watch(remote.most or _UNKNOWN)
        try:
            _run_watched_transfer(
                lambda watch=watch: _receive(remote, part, report, patience.read, watch), watch, patience
            )
            return cut
        except _CutError as error:
            cut = True
            size = part.stat().st_size if part.exists() else 0
            failures = 1 if size - largest > _GROWTH else failures + 1
            largest = max(largest, size)
            if failures >= patience.tries:
                raise UserError(
                    f"The download of {remote} failed {failures} times ({error}): run the same command again "
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
    """Follows redirects to http and https only, and keeps the headers of every answer on the way."""

    def __init__(self) -> None:
        self.seen: list[Message] = []

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        """Return the next request, or None to make the redirect an error; ValueError for a bad port."""
        self.seen.append(headers)
        address = urllib.parse.urlsplit(newurl)
        known = address.scheme in ("http", "https") and address.port != 0
        following = super().redirect_request(req, fp, code, msg, headers, newurl) if known else None
        token = req.unredirected_hdrs.get("Authorization")
        if following:
            following.method = req.get_method()  # urllib would turn HEAD into GET
        if following and token and address[:2] == urllib.parse.urlsplit(req.full_url)[:2]:
            following.add_unredirected_header("Authorization", token)
        return following


def _receive(remote: RemoteFile, part: Path, report: DownloadProgress, timeout: float, watch: _Watch) -> None:
    """Make one request and append the content to `part`."""
    have = part.stat().st_size if part.exists() else 0
    have = have if have <= watch.most else 0
    headers = {"User-Agent": "mednet-bench", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        opener = urllib.request.build_opener(_Redirects)
        with opener.open(remote.request(headers), timeout=timeout) as answer:
            whole = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            start = have if answer.status == 206 and whole else 0
            length = _remaining_bytes(remote, answer.headers.get("Content-Length"), start, watch.most)
            _check_room(part, length)
            with watch.guard_change():
                file = part.open("r+b" if start else "wb")
            name, total = part.name.rsplit(".", 2)[0], start + length
            with file:
                done = _copy_blocks(answer, file, start, watch, lambda done: report(name, done, total))
        if done > watch.most:
            with watch.guard_change():
                part.unlink()
            raise _too_large_error(remote, f"more than {watch.most:,} bytes", watch.most)
        if length and done < total:
            raise _CutError(f"cut after {done} of {total} bytes")
    except urllib.error.HTTPError as error:
        _handle_http_error(remote, part, have, watch, error)
    except (ValueError, OverflowError, http.client.InvalidURL) as error:  # a bad port, host or character
        raise UserError(
            f"{remote} leads to something that is no address ({error}): {remote.cure}."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise _disk_full_error(part) from error
        if isinstance(error, OSError) and error.filename is not None:  # a file error, not the network
            raise UserError(f"Cannot write {part} ({error.strerror}): choose another data folder.") from error
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):  # trying again would not help
            raise OfflineError(
                f"Cannot trust {remote} ({reason.verify_message}): check clock and proxy."
            ) from error
        raise _CutError(str(reason) or type(error).__name__) from error


def _remaining_bytes(remote: RemoteFile, declared: str | None, start: int, most: int) -> int:
    """Return the declared number of bytes to come, 0 if undeclared; `UserError` if it is absurd."""
    digits = (declared or "0").strip()
    if not re.fullmatch("[0-9]+", digits):
        raise UserError(f"{remote} declares a length that is no number: {remote.cure}.")
    if len(digits) > 19:  # int refuses thousands of digits
        raise _too_large_error(remote, f"a number of bytes with {len(digits):,} digits", most)
    if start + int(digits) > most:
        raise _too_large_error(remote, f"{start + int(digits):,} bytes", most)
    return int(digits)


def _too_large_error(remote: RemoteFile, size: str, most: int) -> UserError:
    return UserError(f"{remote} sends {size}, and the published file has at most {most:,}: {remote.cure}.")


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


def _handle_http_error(
    remote: RemoteFile, part: Path, have: int, watch: _Watch, error: urllib.error.HTTPError
) -> None:
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
            f"{remote} redirects in a circle, or to an address that is neither http nor https: {remote.cure}."
        ) from error
    raise _refusal(remote, error) from error


def _check_room(part: Path, length: int) -> None:
    if length > shutil.disk_usage(part.parent).free:
        raise _disk_full_error(part)


def _disk_full_error(part: Path) -> DiskFullError:
    return DiskFullError(
        f"Disk full: no space left for {part}; free some space and run the same command again to resume."
    )
