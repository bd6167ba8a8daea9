"""The time stamp of records, audits and corpora."""

from datetime import datetime, timezone


def utc_now() -> str:
    """Return the time as ``2026-05-01T12:00:00+00:00``."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
