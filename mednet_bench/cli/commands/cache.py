"""`cache ls` and `cache clear`: what the cache holds, and removing it by kind."""

import sys
from collections.abc import Sequence

import click

from ... import cli
from ...core.errors import UserError
from ..options import flag_option
from .command import BenchCommand, CommandGroup, ParsedValues, echo, echo_json, format_option, say


def cache_ls_command(values: ParsedValues) -> int:
    """List the cache by kind: entries, sizes, last use."""
    facts = cli.cache_content.cache_facts()
    if values["format"] == "json":
        echo_json(facts)
    else:
        echo(cli.cache_content.cache_text(facts))
    return 0


def clear_command(values: ParsedValues) -> int:
    """Remove kinds of cached files.

    What takes hours to make again, or files that may be gone, is removed only after a confirmation or with
    --yes. What a process is using is kept. The salt of pseudonyms is never removed.
    """
    content = cli.cache_content
    kinds = [listing() for name, listing in content.CACHE_KINDS.items() if values[name]]
    if not kinds:
        raise UserError(f"Name what to remove: {', '.join(f'--{name}' for name in content.CACHE_KINDS)}.")
    _confirm([kind for kind in kinds if kind.costly and kind.entries], values["yes"])
    for kind in kinds:
        echo(content.remove_entries(kind))
    return 0


def _confirm(costly: "Sequence[cli.cache_content.CacheKind]", agreed: bool) -> None:
    """Say what the removal of costly kinds means; `UserError` unless the user agrees to it."""
    for kind in costly:
        say(f"{kind.summary}, {kind.again}.")
    if not costly or agreed:
        return
    if not (sys.stdin.isatty() and click.confirm("Remove them?", default=False, err=True)):
        listed = ", ".join(kind.summary for kind in costly)
        raise UserError(f"Nothing was removed ({listed}): pass --yes to remove them.")


_CLEAR = [
    flag_option("--features", "Features of frozen networks."),
    flag_option("--mednets", "MedNets pretrained by `run`, with their facts."),
    flag_option("--prepared", "Arrays of your own tasks, decoded from your files."),
    flag_option("--hashes", "Hashes of files, and copies found across splits."),
    flag_option("--downloads", "Published files in the folder of the medmnist package."),
    flag_option("--checkpoints", "Public checkpoints that were downloaded."),
    flag_option("--yes", "Remove without asking."),
]
_COMMANDS = (
    BenchCommand(cache_ls_command, [format_option("json")], "mednet-bench cache ls", "ls"),
    BenchCommand(clear_command, _CLEAR, "mednet-bench cache clear --features"),
)
CACHE_COMMANDS = (CommandGroup("cache", commands=_COMMANDS, help="List and clear the cache."),)
