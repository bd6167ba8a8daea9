"""`corpus build`, `corpus info`, `corpus check`: the images for pretraining a MedNet."""

import click

from ... import tasks
from ...benchmark import corpus
from ...core.errors import one_line
from ..options import PATH, data_root_option, field_option, flag_option, jobs_option, option
from .command import BenchCommand, CommandGroup, ParsedValues, echo, echo_json, format_option, json_flag, say


def build_command(values: ParsedValues) -> int:
    """Build a corpus from SOURCES into OUT, or resume a build.

    A source is the name of a task, an npz with its card beside it, a card (TOML) of a folder, a table, DICOM
    or NIfTI files, or idc:COLLECTION. An image of several sources is kept from the first.
    """
    places = tasks.data_paths.data_locations(values["data_root"], values["download"])
    splits = corpus.source_args.splits_of(values["splits"])
    side, out = values["side"], values["out"]
    sources = corpus.source_args.open_sources(values["sources"], places, splits, side, values["yes"])
    settings = corpus.build_part.CorpusSettings(values["variant"], side, tasks.pseudonymize.own_salt())
    built = corpus.build.build_corpus(out, sources, settings, values["jobs"])
    echo(corpus.describe.describe_corpus(out))
    empty = [each.name for each in built.sources if not each.images + each.duplicates]
    if empty:
        say(f"mednet-bench: no image came from {', '.join(empty)}: see {out / 'problems.csv'}.")
    return 1 if empty else 0


def corpus_info_command(values: ParsedValues) -> int:
    """Show a corpus: sources, duplicates, problems, modalities, licenses."""
    folder, describe = values["corpus"], corpus.describe
    if values["format"] == "json":
        echo_json(describe.corpus_facts(folder))
    else:
        echo(describe.describe_corpus(folder))
    return 0


def check_command(values: ParsedValues) -> int:
    """Check that no image is missing or damaged; else exit with 3."""
    faults = corpus.check.check_corpus(values["corpus"], values["jobs"])
    for fault in faults:
        say(f"mednet-bench: {fault}")
    if not faults:
        echo(one_line(f"{values['corpus']}: every image is there and as it was stored"))
    return 3 if faults else 0


_FOLDER = click.Argument(["corpus"], type=PATH)
_SIDE = "Longest side of the stored images in pixels; larger ones are shrunk, smaller ones stay."
_SPLITS = "Splits to take from npz sources, as train,val or NAME=train; their cards' by default."
_BUILD = [
    click.Argument(["out"], type=PATH),
    click.Argument(["sources"], nargs=-1, required=True),
    click.Option(
        ["--variant"],
        type=click.Choice(["gray", "color"]),
        required=True,
        help="One channel or three; the same for every source.",
    ),
    option("--side", _SIDE, default=224, type=click.IntRange(16, 4096)),
    click.Option(["--splits"], multiple=True, help=_SPLITS),
    jobs_option(),
    data_root_option(),
    field_option("download", help="Download the data of named tasks if missing."),
    flag_option("--yes", "Download the files of idc:COLLECTION without asking."),
]
_INFO = [_FOLDER, json_flag(), format_option("json")]
_COMMANDS = (
    BenchCommand(
        build_command,
        _BUILD,
        "mednet-bench corpus build corpora/gray --variant gray pneumoniamnist xrays.toml",
    ),
    BenchCommand(corpus_info_command, _INFO, "mednet-bench corpus info corpora/gray", "info"),
    BenchCommand(check_command, [_FOLDER, jobs_option()], "mednet-bench corpus check corpora/gray --jobs 4"),
)
CORPUS_COMMANDS = (
    CommandGroup(
        "corpus", commands=_COMMANDS, help="Build, show and check the images for pretraining a MedNet."
    ),
)
