"""Salted numbers for patients, studies and smears, irreversible without the user's salt."""

import secrets
from hashlib import blake2b, sha256
from pathlib import Path

from ..core.errors import UserError
from ..core.files import cache_folder, write_bytes
from ..core.leases import claim_lock

NO_GROUP = -1
"""The group of an image without known patient, study or smear."""


def own_salt() -> bytes:
    """Return this user's salt, created on first use; it never leaves the cache folder."""
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
    """Return the salted hash of a group, 0 to 2**63 - 1, or `NO_GROUP` for "".

    Numbers of two sources never coincide: the same patient id in two hospitals is another patient.
    """
    if not group:
        return NO_GROUP
    digest = blake2b(f"{source}\0{group}".encode(), key=salt, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def salt_trace(salt: bytes) -> str:
    """Return a hash that identifies a salt without revealing it."""
    return sha256(b"mednet-bench corpus" + salt).hexdigest()[:16]
