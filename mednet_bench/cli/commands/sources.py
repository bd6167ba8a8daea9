"""`sources`: the catalog of public medical image databases, and what a MedNet could be made of."""

from collections.abc import Iterable
from typing import Any

import click
import msgspec

from ...tasks.databases import plans, tables
from ...tasks.databases.licenses import LicenseTerms, implied_terms
from ...tasks.databases.tables import ImageDatabase
from .command import BenchCommand, CommandGroup, ParsedValues, as_json, echo


class ListingGroup(CommandGroup):
    """A group that lists where no subcommand is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` in front of options that belong to it."""
        asks_help = bool(args) and args[0] in ctx.help_option_names
        bare = not args or (args[0].startswith("-") and not asks_help)
        return super().parse_args(ctx, ["list", *args] if bare else args)


def list_command(values: ParsedValues) -> int:
    """List databases with their counts and licenses, and sum images and patients."""
    from ..show.sources import database_listing

    rows = [row for row in tables.databases().values() if _fits(row, values)]
    echo(as_json(rows) if values["json"] else database_listing(rows))
    return 0


def show_command(values: ParsedValues) -> int:
    """Show one database: its evidence, parents and overlaps, and which tasks and databases it touches."""
    from ..show.sources import database_card, touched_databases, touched_tasks

    row = tables.find_database(values["id"])
    if values["json"]:
        tasks, others = _reasons(touched_tasks(row)), _reasons(touched_databases(row))
        facts = {**msgspec.to_builtins(row), "touches_tasks": tasks, "touches_databases": others}
        echo(as_json(facts))
    else:
        echo(database_card(row))
    return 0


def sources_plan_command(values: ParsedValues) -> int:
    """Compose a MedNet of three million images: caps, totals, license traps, and what is missing."""
    from ..show.composition import composition_text

    rules = plans.CompositionRules(values["with_registration"], values["non_commercial"])
    composition = plans.compose(values["variant"], rules)
    echo(as_json(_plan_facts(composition)) if values["json"] else composition_text(composition))
    return 0


def idc_command(values: ParsedValues) -> int:
    """Sum the NCI Imaging Data Commons by modality and use; --modality shows its collections too."""
    from ..show.sources import commons

    rows = tables.idc_collections()
    modality = values["modality"].upper()
    if modality:
        _one_of("modality of the Imaging Data Commons", modality, (row.modality for row in rows))
        rows = tuple(row for row in rows if row.modality == modality)
    echo(as_json(rows) if values["json"] else commons(rows, bool(modality)))
    return 0


def _fits(row: ImageDatabase, values: ParsedValues) -> bool:
    modality, words = values["modality"], values["search"].casefold()
    if modality:
        _one_of("modality", modality, (other.modality for other in tables.databases().values()))
    text = " ".join((row.id, row.name, row.modality, row.anatomy, row.labels, row.note)).casefold()
    return (
        values["variant"] in (None, row.variant)
        and modality in ("", row.modality)
        and values["license"] in (None, implied_terms([row.license]).strictest.word)
        and values["access"] in (None, row.access)
        and words in text
    )


def _one_of(what: str, word: str, known: Iterable[str]) -> None:
    from ...core.errors import unknown_name_error

    names = set(known)
    if word not in names:
        raise unknown_name_error(what, word, names)


def _reasons(found: list[tuple[str, str, str]]) -> list[dict[str, str]]:
    return [{"id": id, "level": level, "evidence": sentence} for id, level, sentence in found]


def _plan_facts(composition: plans.CorpusComposition) -> dict[str, Any]:
    modalities = plans.count_modalities(composition)
    return {
        **msgspec.to_builtins(composition),
        "images": composition.images,
        "target": plans.TARGET,
        "traps": {
            share.id: traps for share in composition.shares if (traps := list(plans.license_traps(share)))
        },
        "modalities": [
            {**msgspec.to_builtins(modality), "lack": modality.lack(composition.images)}
            for modality in modalities
        ],
    }


_JSON = click.Option(["--json"], is_flag=True, help="Print JSON for machines.")
_MODALITY = click.Option(["--modality"], default="", help="Only this one, as the list calls it.")
_LIST = [
    click.Option(["--variant"], type=click.Choice(["gray", "color", "mixed"]), help="Only this color."),
    _MODALITY,
    click.Option(
        ["--license"],
        type=click.Choice([terms.word for terms in LicenseTerms]),
        help="Only licenses whose strictest term is this.",
    ),
    click.Option(
        ["--access"],
        type=click.Choice(["open", "registration", "challenge", "request", "credentialed"]),
        help="Only what is obtained like this.",
    ),
    click.Option(["--search"], default="", help="Only where this text stands in name, labels or note."),
    _JSON,
]
_PLAN = [
    click.Argument(["variant"], type=click.Choice(["gray", "color"])),
    click.Option(["--with-registration"], is_flag=True, help="Also what asks for a registration."),
    click.Option(
        ["--non-commercial"],
        is_flag=True,
        help="Also what is for non-commercial or research use, or whose terms are not clear.",
    ),
    _JSON,
]
_EACH = (
    BenchCommand(show_command, [click.Argument(["id"]), _JSON], "mednet-bench sources show ham10000"),
    BenchCommand(sources_plan_command, _PLAN, "mednet-bench sources plan gray --with-registration", "plan"),
    BenchCommand(idc_command, [_MODALITY, _JSON], "mednet-bench sources idc --modality PT"),
)
_LISTED = BenchCommand(list_command, _LIST, "mednet-bench sources --variant color --access open")
SOURCES_COMMANDS = (
    ListingGroup(
        "sources",
        commands=(_LISTED, *_EACH),
        help="List public medical image databases (`sources list -h` shows the filters), show one, and "
        "compose a MedNet from them.",
        epilog="\b\nExample:\n  mednet-bench sources --variant color --access open",
    ),
)
