"""Patients, studies and smears as numbers that nobody can turn back without this user's own salt."""

import secrets
from hashlib import blake2b, sha256
from pathlib import Path

from ..core.errors import UserError
from ..core.files import cache_folder, claim_lock, write_bytes

NO_GROUP = -1
"""The group of an image of which no patient, study or smear is known."""


def own_salt() -> bytes:
    """Return this user's salt, made on first use; it stays in the cache folder and goes into no corpus."""
    path = cache_folder() / "corpus-salt"
    with claim_lock(path.with_suffix(".lock"), wait=True):
        if not path.exists():
            write_bytes(path, secrets.token_bytes(32))
            path.chmod(0o600)
        return _read(path)


def _read(path: Path) -> bytes:
    try:
        salt = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): correct its rights.") from error
    if len(salt) != 32:
        raise UserError(f"{path} is damaged: delete it, and build anew what was not finished.")
    return salt


def group_number(salt: bytes, source: str, group: str) -> int:
    """Return the salted hash of a group as a number from 0 to 2**63 - 1, `NO_GROUP` for an empty one.

    Equal groups of one source give equal numbers; two sources never share one, since the same patient
    number in two hospitals is not the same patient.
    """
    if not group:
        return NO_GROUP
    digest = blake2b(f"{source}\0{group}".encode(), key=salt, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def salt_trace(salt: bytes) -> str:
    """Return what tells two salts apart and reveals neither."""
    return sha256(b"mednet-bench corpus" + salt).hexdigest()[:16]
