"""Downloads that end whole and verified or not at all, and go on where a cut left them."""

import errno
import http.client
import os
import shutil
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..benchmark.errors import UserError
from ..benchmark.files import DiskFullError, claim
from .hashes import file_hash
from .places import download_folder
from .task import Missing, Places

Progress = Callable[[str, int, int], None]
"""Receives the file's name, the bytes that are there and the total (0 if the server states none)."""

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_GROWTH = 1 << 24
"""Bytes after which a cut counts as the first again: a big file may be cut more often than a small one."""


class OfflineError(UserError):
    """The server cannot be reached at all."""


@dataclass(frozen=True)
class Patience:
    """How long a download tries.

    Attributes:
        connect: seconds in all, name resolution included, until a machine counts as offline.
        read: seconds without a byte until a transfer counts as cut.
        tries: transfers that may fail in a row.
        wait: seconds before the second try; they double with each further one.
    """

    connect: float = 8.0
    read: float = 20.0
    tries: int = 5
    wait: float = 1.0


class _CutError(Exception):
    """A transfer that may succeed when it is tried again."""


def download_missing(missing: Missing, places: Places, progress: Progress | None = None) -> Path:
    """Download a published file into `download_folder` and return where it stands; errors as `download`."""
    url = f"{places.mirror.rstrip('/')}/{missing.name}" if places.mirror else missing.url
    return download(url, download_folder(places) / missing.name, missing.md5, progress)


def download(
    url: str, target: Path, md5: str, progress: Progress | None = None, patience: Patience | None = None
) -> Path:
    """Download a file; `target` stands only once its MD5 is right, and two processes take turns.

    What arrives is kept in ``<target>.<md5>.part`` and completed by HTTP Range on the next try or the
    next run; a server that ignores Range starts it anew.

    Args:
        url: an http or https address.
        target: where the file shall stand.
        md5: its hexadecimal sum.
        progress: is told of every block.
        patience: the time limits.

    Raises:
        OfflineError: no connection within `patience.connect` seconds.
        DiskFullError: no room.
        UserError: the server refuses, keeps cutting, or serves something else.
    """
    patience = patience or Patience()
    report = progress or (lambda name, done, total: None)
    with claim(target.with_name(f".{target.name}.lock"), wait=True):
        if target.is_file() and file_hash(target, "md5") == md5:
            return target  # another process was quicker
        _reach(url, patience.connect)
        part = target.with_name(f"{target.name}.{md5[:8]}.part")
        _complete(url, part, md5, report, patience)
        part.replace(target)
        return target


def _complete(url: str, part: Path, md5: str, report: Progress, patience: Patience) -> None:
    """Fill `part` until its sum is right; what is wrong is not kept."""
    resumed = part.exists()
    resumed |= _transfer(url, part, report, patience)
    found = file_hash(part, "md5")
    if found != md5 and resumed:  # the pieces may be of different files: once more, in one piece
        part.unlink()
        _transfer(url, part, report, patience)
        found = file_hash(part, "md5")
    if found != md5:
        part.unlink()
        raise UserError(
            f"{url} serves another file than published (MD5 {found} instead of {md5}): try later, or "
            "name another server in MEDNET_BENCH_MIRROR."
        )


def _reach(url: str, seconds: float) -> None:
    """Connect once, or find out soon that there is no network."""
    address = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(address.scheme)
    if proxy and not urllib.request.proxy_bypass(address.hostname or ""):
        address = urllib.parse.urlsplit(proxy if "://" in proxy else f"//{proxy}")
    place = (address.hostname or "", address.port or (443 if address.scheme == "https" else 80))
    outcome: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection(place, timeout=seconds).close()
            outcome.append("")
        except OSError as error:
            outcome.append(error.strerror or str(error))

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


def _transfer(url: str, part: Path, report: Progress, patience: Patience) -> bool:
    """Complete `part`; returns whether it took more than one request."""
    failures, cut = 0, False
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _receive(url, part, report, patience.read)
            return cut
        except _CutError as error:
            cut = True
            grown = part.exists() and part.stat().st_size - before > _GROWTH
            failures = 1 if grown else failures + 1
            if failures >= patience.tries:
                raise UserError(
                    f"The download of {url} failed {failures} times ({error}): run the same command again "
                    "later, it goes on where it stopped."
                ) from error
            time.sleep(patience.wait * 2 ** (failures - 1))


def _receive(url: str, part: Path, report: Progress, timeout: float) -> None:
    """Make one request and append what it brings to `part`."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "mednet-bench", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
            whole = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            start = have if answer.status == 206 and whole else 0
            length = int(answer.headers.get("Content-Length") or 0)
            _check_room(part, length)
            with part.open("r+b" if start else "wb") as file:
                done = _copy(answer, file, start, lambda done: report(_name(part), done, start + length))
        if length and done < start + length:
            raise _CutError(f"cut after {done} of {start + length} bytes")
    except urllib.error.HTTPError as error:
        _refused(url, part, have, error)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise _full(part) from error
        if isinstance(error, OSError) and error.filename is not None:  # the file's fault, not the network's
            raise UserError(f"Cannot write {part} ({error.strerror}): choose another data folder.") from error
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):  # trying again would not help
            raise OfflineError(
                f"Cannot trust {url} ({reason.verify_message}): check clock and proxy."
            ) from error
        raise _CutError(str(reason) or type(error).__name__) from error


def _copy(answer: http.client.HTTPResponse, file: BinaryIO, start: int, report: Callable[[int], None]) -> int:
    done = file.seek(start)
    file.truncate()
    while block := answer.read(1 << 18):
        done += file.write(block)
        report(done)
    file.flush()
    os.fsync(file.fileno())
    return done


def _refused(url: str, part: Path, have: int, error: urllib.error.HTTPError) -> None:
    """Tell what an HTTP error means: nothing left to fetch, another try, or the end."""
    error.close()
    if error.code == 416 and have:
        if error.headers.get("Content-Range", "") == f"bytes */{have}":
            return
        part.unlink()
        raise _CutError("what was kept did not fit the file") from error
    if error.code in _TRANSIENT:
        raise _CutError(f"HTTP {error.code}") from error
    raise UserError(
        f"{url} answers HTTP {error.code} ({error.reason}): name another server in MEDNET_BENCH_MIRROR, or "
        "put the file into a data folder by hand."
    ) from error


def _check_room(part: Path, length: int) -> None:
    if length > shutil.disk_usage(part.parent).free:
        raise _full(part)


def _full(part: Path) -> DiskFullError:
    return DiskFullError(
        f"No room left for {part}: free some space and run the same command again; what has arrived is kept."
    )


def _name(part: Path) -> str:
    return part.name.rsplit(".", 2)[0]
