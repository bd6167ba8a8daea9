"""`corpus build`, `corpus info` and `corpus check`: the images that a MedNet is pretrained on."""

from pathlib import Path

import click

from ...core.errors import one_line
from ..options import data_root
from .command import BenchCommand, CommandGroup, ParsedValues, as_json, echo, say


def build_command(values: ParsedValues) -> int:
    """Build a corpus from SOURCES into the folder OUT; run it again to go on after an interruption.

    A source is a task or set by name, an npz with its card beside it, a card (TOML) of a folder, a table,
    DICOM or NIfTI files, or idc:COLLECTION. The first source keeps an image that several hold.
    """
    from ...benchmark.corpus.build import build_corpus
    from ...benchmark.corpus.build_part import CorpusSettings
    from ...benchmark.corpus.describe import describe_corpus
    from ...benchmark.corpus.source_args import open_sources, splits_of
    from ...tasks.data_paths import data_locations
    from ...tasks.pseudonymize import own_salt

    places = data_locations(values["data_root"], values["download"])
    splits = splits_of(values["splits"])
    sources = open_sources(values["sources"], places, splits, values["side"], values["yes"])
    settings = CorpusSettings(values["variant"], values["side"], own_salt())
    corpus = build_corpus(values["out"], sources, settings, values["jobs"])
    echo(describe_corpus(values["out"]))
    empty = [each.name for each in corpus.sources if not each.images + each.duplicates]
    if empty:
        say(f"mednet-bench: no image came from {', '.join(empty)}: see {values['out'] / 'problems.csv'}.")
    return 1 if empty else 0


def corpus_info_command(values: ParsedValues) -> int:
    """Show what a corpus is made of: sources, duplicates, problems, modalities, licenses."""
    from ...benchmark.corpus.describe import corpus_facts, describe_corpus

    folder = values["corpus"]
    echo(as_json(corpus_facts(folder)) if values["json"] else describe_corpus(folder))
    return 0


def check_command(values: ParsedValues) -> int:
    """Read every image of a corpus and compare its hash; exit code 3 if one is damaged or missing."""
    from ...benchmark.corpus.check import check_corpus

    faults = check_corpus(values["corpus"], values["jobs"])
    for fault in faults:
        say(f"mednet-bench: {fault}")
    if not faults:
        echo(one_line(f"{values['corpus']}: every image is there and as it was stored"))
    return 3 if faults else 0


_FOLDER = click.Argument(["corpus"], type=click.Path(path_type=Path))
_JOBS = click.Option(["--jobs"], type=click.IntRange(1), default=1, show_default=True, help="Processes.")
_BUILD = [
    click.Argument(["out"], type=click.Path(path_type=Path)),
    click.Argument(["sources"], nargs=-1, required=True),
    click.Option(
        ["--variant"],
        type=click.Choice(["gray", "color"]),
        required=True,
        help="One channel or three; every source must be of it.",
    ),
    click.Option(
        ["--side"],
        type=click.IntRange(16, 4096),
        default=224,
        show_default=True,
        help="Longest side in pixels; larger images are shrunk, smaller ones stay.",
    ),
    click.Option(
        ["--splits"],
        multiple=True,
        help="Splits of npz sources that are taken, as train,val or NAME=train; their cards' otherwise.",
    ),
    _JOBS,
    data_root(),
    click.Option(["--download/--no-download"], default=True, help="Fetch named tasks that are missing."),
    click.Option(["--yes"], is_flag=True, help="Download what idc:COLLECTION needs without asking."),
]
_JSON = click.Option(["--json"], is_flag=True, help="For a program.")
_COMMANDS = (
    BenchCommand(
        build_command,
        _BUILD,
        "mednet-bench corpus build corpora/gray --variant gray pneumoniamnist xrays.toml",
    ),
    BenchCommand(corpus_info_command, [_FOLDER, _JSON], "mednet-bench corpus info corpora/gray", "info"),
    BenchCommand(check_command, [_FOLDER, _JOBS], "mednet-bench corpus check corpora/gray --jobs 4"),
)
CORPUS_COMMANDS = (
    CommandGroup(
        "corpus",
        commands=_COMMANDS,
        help="Build, show and check the images that a MedNet is pretrained on.",
    ),
)
