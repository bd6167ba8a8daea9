"""Describe a corpus as text and as JSON."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from ...core.errors import one_line
from ...core.text_tables import format_table
from ...tasks.catalog import format_megabytes
from ...tasks.databases.licenses import implied_terms
from .contact_sheet import write_sheet
from .corpus import DUPLICATES, PROBLEMS, SHEET, Corpus, SourceFacts, read_corpus


def corpus_facts(folder: Path) -> dict[str, Any]:
    """Return the facts of a corpus as plain data; `UserError` where there is no corpus."""
    corpus = read_corpus(folder)
    license = implied_terms(source.license for source in corpus.sources if source.images)
    sheet = folder / SHEET
    return {
        **msgspec.to_builtins(corpus),
        "images": corpus.images,
        "modalities": dict(_modality_counts(corpus)),
        "license": str(license),
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "contact_sheet": str(sheet if sheet.is_file() else write_sheet(folder, corpus)),
    }


def describe_corpus(folder: Path) -> str:
    """Return the facts of a corpus as text; errors as `corpus_facts`."""
    corpus, found = read_corpus(folder), corpus_facts(folder)
    lines = [
        f"{one_line(str(folder))}: {corpus.variant}, {corpus.images:,} images of at most {corpus.side} "
        f"pixels a side, {format_megabytes(found['bytes'])}, built {corpus.made[:10]}, identity "
        f"{corpus.identity[:12]}",
        "",
        format_table([_table_row(source) for source in corpus.sources], _HEAD, "ll" + "r" * (len(_HEAD) - 2)),
        "",
    ]
    for source in corpus.sources:
        splits = f" ({', '.join(source.splits)})" if source.splits else ""
        labels = f"{source.kind}, {', '.join(source.classes)}" if source.classes else "no labels"
        lines.append(one_line(f"{source.name}{splits}: {labels}"))
        origin = ", ".join(source.parents) or "no named database"
        lines.append(one_line(f"  from {origin}; {source.license}"))
    shares = (
        f"{one_line(name)} {count / max(corpus.images, 1):.0%}" for name, count in _modality_counts(corpus)
    )
    lines += ["", f"modalities: {', '.join(shares)}", f"licenses together: {found['license']}"]
    conflicts = sum(source.conflicts for source in corpus.sources)
    if conflicts:
        what = "equal image has" if conflicts == 1 else "equal images have"
        lines.append(f"{conflicts:,} {what} another label than the one that was kept: {folder / DUPLICATES}")
    if any(source.problems for source in corpus.sources):
        lines.append(f"what could not be read, and why: {folder / PROBLEMS}")
    return "\n".join([*lines, f"a look at it: {found['contact_sheet']}"])


_HEAD = (
    "source", "modality", "images", "patients or groups", "duplicates", "conflicts", "capped", "problems",
)  # fmt: skip


def _table_row(source: SourceFacts) -> tuple[str, ...]:
    counts = (source.duplicates, source.conflicts, source.capped, source.problems)
    groups = f"{source.groups:,}" if source.groups else "not known"
    return (source.name, source.modality, f"{source.images:,}", groups, *(f"{count:,}" for count in counts))


def _modality_counts(corpus: Corpus) -> list[tuple[str, int]]:
    counts = Counter[str]()
    for source in corpus.sources:
        counts[source.modality] += source.images
    return counts.most_common()
