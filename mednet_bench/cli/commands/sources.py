"""`sources`: the catalog of public medical image databases, and compositions of a MedNet."""

from collections.abc import Iterable
from typing import Any

import click
import msgspec

from ...core.errors import unknown_name_error
from ...tasks.databases import plans, tables
from ...tasks.databases.licenses import LicenseTerms, implied_terms
from ...tasks.databases.tables import ImageDatabase
from .. import show
from ..options import flag_option
from .command import BenchCommand, CommandGroup, ParsedValues, echo, echo_json, format_option, json_flag


class ListingGroup(CommandGroup):
    """A group that runs `list` where no subcommand is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `list` where the first argument is no subcommand."""
        asks_help = bool(args) and args[0] in ctx.help_option_names
        bare = not args or (args[0].startswith("-") and not asks_help)
        return super().parse_args(ctx, ["list", *args] if bare else args)


def list_command(values: ParsedValues) -> int:
    """List databases with counts and licenses, and their sums."""
    rows = [row for row in tables.databases().values() if _fits(row, values)]
    if values["format"] == "json":
        echo_json(rows)
    else:
        echo(show.sources.database_listing(rows))
    return 0


def show_command(values: ParsedValues) -> int:
    """Show one database: evidence, parents, overlaps with tasks."""
    row = tables.find_database(values["id"])
    if values["format"] == "json":
        tasks, others = show.sources.touched_tasks(row), show.sources.touched_databases(row)
        touched = {"touches_tasks": _reasons_json(tasks), "touches_databases": _reasons_json(others)}
        echo_json({**msgspec.to_builtins(row), **touched})
    else:
        echo(show.sources.database_card(row))
    return 0


def sources_plan_command(values: ParsedValues) -> int:
    """Compose a MedNet of three million images.

    Prints caps, totals, license traps, and which modalities are missing.
    """
    rules = plans.CompositionRules(values["with_registration"], values["non_commercial"])
    composition = plans.compose(values["variant"], rules)
    if values["format"] == "json":
        echo_json(_plan_facts(composition))
    else:
        echo(show.composition.composition_text(composition))
    return 0


def idc_command(values: ParsedValues) -> int:
    """Sum the NCI Imaging Data Commons by modality and use.

    With --modality, its collections are listed too.
    """
    rows = tables.idc_collections()
    modality = values["modality"].upper()
    if modality:
        _check_name("modality of the Imaging Data Commons", modality, (row.modality for row in rows))
        rows = tuple(row for row in rows if row.modality == modality)
    if values["format"] == "json":
        echo_json(rows)
    else:
        echo(show.sources.commons_text(rows, bool(modality)))
    return 0


def _fits(row: ImageDatabase, values: ParsedValues) -> bool:
    modality, words = values["modality"], values["search"].casefold()
    if modality:
        _check_name("modality", modality, (other.modality for other in tables.databases().values()))
    text = " ".join((row.id, row.name, row.modality, row.anatomy, row.labels, row.note)).casefold()
    return (
        values["variant"] in (None, row.variant)
        and modality in ("", row.modality)
        and values["license"] in (None, implied_terms([row.license]).strictest.word)
        and values["access"] in (None, row.access)
        and words in text
    )


def _check_name(what: str, word: str, known: Iterable[str]) -> None:
    names = set(known)
    if word not in names:
        raise unknown_name_error(what, word, names)


def _reasons_json(reasons: list[tuple[str, str, str]]) -> list[dict[str, str]]:
    return [{"id": id, "level": level, "evidence": sentence} for id, level, sentence in reasons]


def _plan_facts(composition: plans.CorpusComposition) -> dict[str, Any]:
    modalities = plans.count_modalities(composition)
    traps = {share.id: list(plans.license_traps(share)) for share in composition.shares}
    return {
        **msgspec.to_builtins(composition),
        "images": composition.images,
        "target": plans.TARGET,
        "traps": {id: sentences for id, sentences in traps.items() if sentences},
        "modalities": [
            {**msgspec.to_builtins(modality), "lack": modality.lack(composition.images)}
            for modality in modalities
        ],
    }


_FORMAT = (json_flag(), format_option("json"))
_MODALITY = click.Option(["--modality"], default="", help="Only this modality, as the list names it.")
_LIST = [
    click.Option(
        ["--variant"],
        type=click.Choice(["gray", "color", "mixed"]),
        help="Only gray, color or mixed databases.",
    ),
    _MODALITY,
    click.Option(
        ["--license", "--licence"],
        type=click.Choice([terms.word for terms in LicenseTerms]),
        help="Only licenses with this strictest term.",
    ),
    click.Option(
        ["--access"],
        type=click.Choice(["open", "registration", "challenge", "request", "credentialed"]),
        help="Only databases with this kind of access.",
    ),
    click.Option(["--search"], default="", help="Only databases with this text in name, labels or note."),
    *_FORMAT,
]
_PLAN = [
    click.Argument(["variant"], type=click.Choice(["gray", "color"])),
    flag_option("--with-registration", "Include databases that require a registration."),
    flag_option("--non-commercial", "Include non-commercial, research-only and unclear licenses."),
    *_FORMAT,
]
_EACH = (
    BenchCommand(show_command, [click.Argument(["id"]), *_FORMAT], "mednet-bench sources show ham10000"),
    BenchCommand(sources_plan_command, _PLAN, "mednet-bench sources plan gray --with-registration", "plan"),
    BenchCommand(idc_command, [_MODALITY, *_FORMAT], "mednet-bench sources idc --modality PT"),
)
_LISTED = BenchCommand(list_command, _LIST, "mednet-bench sources --variant color --access open")
SOURCES_COMMANDS = (
    ListingGroup(
        "sources",
        commands=(_LISTED, *_EACH),
        help="List public medical image databases and combine them. `sources list -h` shows the filters.",
        epilog="\b\nExample:\n  mednet-bench sources --variant color --access open",
    ),
)
