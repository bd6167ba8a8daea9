"""Site of published runs: an index with filters, and a page per task and per init."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ...benchmark.schema.plan import Fold
from ...core.errors import UserError, one_line
from ...core.files import new_folder, sha256_file, write_bytes, write_json
from ...core.progress import show_phase
from ..analysis.flags import leaks
from ..analysis.load_report_input import load_report_input
from ..analysis.report_input import ReportInput
from ..answers.headline import pair_headlines
from ..elements.format import count_noun, task_entry
from ..elements.section import Datum, Figure, FigurePanel, SectionContent, SectionPart, Table, TableColumn
from ..published.manifest import MANIFEST, PublishedManifest, check_published
from ..sections.leaderboard import leaderboard_section
from .csv_table import leaderboard_csv
from .explorer import explorer_data
from .facets import Fact, list_facets, row_facts, single_facts
from .html_page import render_html
from .overview import ReportPage, build_page, count_cells, notices

SITE_FILE = "site.json"
"""File by which a site is known; it names the runs that the site was made from."""
SITE_SECTIONS = ("contents", "verdicts", "leaderboard", "not-ranked", "provenance")
FACET_FOLDERS = {"task": "tasks", "init": "inits"}
"""Facet -> folder of the pages of its values."""
NOT_RANKED = (
    "Averages of weights that have seen images of the task, as declared or as an audit found, and of test "
    "sets that the training partly knew. They do not apply to new images: no ranking or verdict counts them."
)
_ROW_COUNT = re.compile(r": [\d,]+ \w+(?=;|$)")


@show_phase("writing the site")
def build_site(folders: Sequence[Path], out: Path) -> Path:
    """Write a site of published runs that needs no server and no network; return its first page.

    Args:
        folders: published runs.
        out: folder to write; an older site there is replaced when all is written.

    Raises:
        UserError: a folder is no published run, or not as it was published; two runs have different data of
            one task; `out` exists and is no site, or is not writable.
        DiskFullError: the disk is full; `out` is then as before.
    """
    manifests = [check_published(folder) for folder in folders]
    with new_folder(out.resolve(), SITE_FILE) as making:
        results = load_report_input(folders)
        _refuse_incomparable(results)
        for name, page in _build_pages(results, manifests).items():
            write_bytes(making / name, render_html(page).encode())
        for folder in ("", *FACET_FOLDERS.values()):  # the foot of every page names the table beside it
            write_bytes(making / folder / "leaderboard.csv", leaderboard_csv(results).encode())
        runs = {folder.resolve().name: sha256_file(folder / MANIFEST) for folder in results.folders}
        write_json(making / SITE_FILE, {"format": 1, "runs": runs})
    return out / "index.html"


def _refuse_incomparable(results: ReportInput) -> None:
    """Raise `UserError` where one task has different images, classes or numbers of test images."""
    seen: dict[tuple[str, int], dict[tuple[str, str, int], Path]] = defaultdict(dict)
    for record in results.step("score"):
        tested = record.counts.test if record.counts and not isinstance(record.cell.view, Fold) else 0
        version = (record.hashes.data, record.hashes.card, tested)
        seen[record.cell.task, record.cell.size].setdefault(version, results.places[record.key][0])
    for (task, size), versions in sorted(seen.items()):
        for place, what in enumerate(("images", "classes", "numbers of test images")):
            if len({version[place] for version in versions} - {0}) > 1:
                where = " and ".join(dict.fromkeys(map(str, versions.values())))
                raise UserError(
                    f"Task {one_line(task)} at {size} px has different {what} in {where}, so that scores "
                    "cannot be compared: make a site of each."
                )


def _build_pages(results: ReportInput, manifests: Sequence[PublishedManifest]) -> dict[str, ReportPage]:
    """Return path -> page."""
    ranked = tuple(row for row in results.rows if not row.inconclusive)
    counted = replace(results, rows=ranked)
    whole = build_page(counted)
    scope = f"From {count_noun(len(results.folders), 'published run')}. {whole.scope}"
    whole = replace(whole, scope=scope)
    pages = {"index.html": _fill(whole, results, dict(whole.sections), manifests, "")}
    for facet, folder in FACET_FOLDERS.items():
        for name in dict.fromkeys(getattr(row, facet) for row in results.rows):
            part = _part_of(results, facet, name)
            kept = {anchor: _narrow(content, (facet, name)) for anchor, content in whole.sections}
            page = _fill(whole, part, kept, manifests, "../")
            task, init = (name, "") if facet == "task" else ("", name)
            found = [each for each in pair_headlines(counted, task) if init in ("", *each.pair)]
            text = found[0].text if found else f"No result of {facet} {name} can be ranked."
            pages[f"{folder}/{page_name(name)}.html"] = replace(
                page, title=name, headline=text, sureness="", recommendation="", next_step=("", ""),
                data=explorer_data(counted, task, init),
            )  # fmt: skip
    return pages


def page_name(name: str) -> str:
    """Return a file name, without suffix, for any task or init; different names have different ones.

    A name that is no lower-case file name gets a hash: file systems may ignore case.
    """
    plain = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:60]
    return name if name and name == plain else f"{plain}--{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _fill(
    whole: ReportPage,
    results: ReportInput,
    sections: dict[str, SectionContent | None],
    manifests: Sequence[PublishedManifest],
    root: str,
) -> ReportPage:
    """Return a page on results; `root` leads from it to the index."""
    apart = replace(results, rows=tuple(row for row in results.rows if row.inconclusive))
    known = [text.replace("; see Warnings.", ".") for text in notices(results)]
    if apart.rows:
        apart_count = count_noun(len(apart.rows), "average")
        known.append(f"{apart_count} of contaminated weights or leaked test sets: see Not ranked.")
    if results.differing:
        twice = count_noun(len(results.differing), "cell")
        known.append(f"{twice} published twice with different scores: the latest counts.")
    found = {**sections, "contents": _contents(results, manifests, root), "not-ranked": _not_ranked(apart)}
    return replace(
        whole,
        title="mednet-bench results",
        tally=count_cells(results),
        doubts=tuple(known),
        answers=(),  # they name every pair of inits, and a site may have dozens
        sections=tuple((name, content) for name in SITE_SECTIONS if (content := found.get(name))),
        facets=list_facets(results),
    )


def _contents(results: ReportInput, manifests: Sequence[PublishedManifest], root: str) -> SectionContent:
    """Link to the page of every task and init, with the terms of its images or weights."""
    back = Table("Site", (TableColumn("Page"),), ((Datum("All results", link="../index.html"),),))
    tables = (_inputs_table(results, manifests, facet, root) for facet in FACET_FOLDERS)
    return SectionContent("Tasks and inits", (SectionPart(blocks=(*([back] if root else ()), *tables)),))


def _inputs_table(
    results: ReportInput, manifests: Sequence[PublishedManifest], facet: str, root: str
) -> Table:
    declared = [
        each for manifest in manifests for each in (manifest.tasks if facet == "task" else manifest.inits)
    ]
    rows = []
    for name, count in Counter(getattr(row, facet) for row in results.rows).items():
        entry = task_entry(results, name) if facet == "task" else Datum(name)
        link = f"{root}{FACET_FOLDERS[facet]}/{page_name(name)}.html"
        own = [each for each in declared if getattr(each, facet) == name]
        texts = ([getattr(each, fact) for each in own] for fact in ("license", "citation", "source"))
        rows.append((replace(entry, link=link), count, *("; ".join(dict.fromkeys(text)) for text in texts)))
    title = facet.capitalize()
    columns = (TableColumn(title, facet=facet), TableColumn("Averages", ",d"))
    terms = tuple(map(TableColumn, ("License", "Cite", "Source")))
    return Table(f"{title}s", (*columns, *terms), tuple(rows))


def _not_ranked(apart: ReportInput) -> SectionContent | None:
    """Return a leaderboard without ranks of contaminated and leaked rows; None without one."""
    content = leaderboard_section(apart)
    if content is None:
        return None
    first = replace(content.parts[0], lead=(NOT_RANKED,), points=leaks(apart))
    return replace(content, title="Not ranked", parts=(first, *content.parts[1:]))


def _part_of(results: ReportInput, facet: str, name: str) -> ReportInput:
    """Return the rows and cells of one task or init."""
    rows = tuple(row for row in results.rows if getattr(row, facet) == name)
    keys = {key for row in rows for key in row.keys}
    return replace(
        results,
        rows=rows,
        counted=tuple(record for record in results.counted if record.key in keys),
        failed=tuple(record for record in results.failed if getattr(record.cell, facet) == name),
        missing=tuple(item for item in results.missing if getattr(item.cell, facet) == name),
    )


def _narrow(content: SectionContent, fact: Fact) -> SectionContent | None:
    """Return the rows and panels of one task or init, without sentences on all of them; None if none."""
    parts = [
        replace(part, lead=() if part.title else part.lead, points=(), blocks=tuple(_blocks(part, fact)))
        for part in content.parts
    ]
    kept = tuple(part for part in parts if part.blocks or part.lead)
    return replace(content, parts=kept, answers=()) if any(part.blocks for part in kept) else None


def _blocks(part: SectionPart, fact: Fact) -> Iterable[Table | Figure]:
    for block in part.blocks:
        if isinstance(block, Figure):
            if panels := tuple(panel for panel in block.panels if _shows(panel, fact)):
                yield replace(block, panels=panels)
            continue
        places = [at for at, row in enumerate(block.rows) if fact in row_facts(block, row)]
        if places:
            rows = tuple(block.rows[at] for at in places)
            keys = tuple(block.keys[at] for at in places) if block.keys else ()
            yield replace(block, caption=_ROW_COUNT.sub("", block.caption), rows=rows, keys=keys)


def _shows(panel: FigurePanel, fact: Fact) -> bool:
    """Whether a panel is of one task alone, or of one init or a pair with it."""
    values = [value for facet, value in single_facts(panel.facts) if facet == fact[0]]
    return fact[1] in values and len(values) <= (1 if fact[0] == "task" else 2)
