"""Stored configuration of a pretraining; resuming with another one is an error."""

from pathlib import Path

import msgspec

from ...core.errors import UserError
from ...core.files import write_json
from .pretrain_result import PretrainSettings

SETTINGS_FILE = "settings.json"
OPTIONS = {"start": "--from", "smoothing": "--label-smoothing"}
"""Settings whose option has another name."""


class StoredConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides the weights of a pretraining."""

    settings: PretrainSettings
    corpus: str
    """Identity of the corpus."""
    sources: tuple[str, ...]
    """Names of the sources that are trained on."""
    leave_out: tuple[str, ...]


def read_stored_config(out: Path) -> StoredConfig | None:
    """Return the configuration stored in a folder; None if new; `UserError` if unreadable."""
    path = out / SETTINGS_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=StoredConfig)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise UserError(f"{path} cannot be read ({error}): choose another --out.") from error


def check_resume(out: Path, config: StoredConfig) -> None:
    """Store the configuration in a new folder, else `UserError` that lists all differences."""
    earlier = read_stored_config(out)
    if earlier is None:
        write_json(out / SETTINGS_FILE, config)
        return
    pairs = [
        (OPTIONS.get(name, f"--{name.replace('_', '-')}"), getattr(earlier.settings, name), value)
        for name, value in msgspec.structs.asdict(config.settings).items()
    ]
    pairs.append(("--leave-out", " ".join(earlier.leave_out), " ".join(config.leave_out)))
    different = [
        f"{option} {_format_value(before)} and not {_format_value(now)}"
        for option, before, now in pairs
        if before != now
    ]
    if earlier.corpus != config.corpus:
        different.append("another content of --corpus")
    elif earlier.sources != config.sources and not different:
        different.append(f"the sources {', '.join(earlier.sources)} and not {', '.join(config.sources)}")
    if different:
        raise UserError(
            f"{out} was started with {'; '.join(different)}: pass the same options, or another --out."
        )


def _format_value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) or "nothing"
