"""The end of a run in a terminal: the headline and one table of its comparisons."""

import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence

from ...core.errors import one_line
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..analysis.verdicts import Verdict, compute_verdicts
from ..answers.headline import doubts, headline, pair_headlines, recommendation, sureness
from ..answers.main_answer import evidence_of
from ..elements.format import NBSP, count_noun, format_number, format_percent, place_label
from ..elements.pictures import shorten_name
from ..elements.verdict_format import Pair, difference_text, pair_name, verdicts_between
from ..elements.verdict_style import LOOKS
from ..statistics.metric_influence import JUDGED_METRICS
from .overview import notices
from .terminal import fill_line, leaderboard_text

WIDTH = 80
"""Columns that a terminal has at least."""
MOST_ROWS, MOST_PAIRS, MOST_DOUBTS = 40, 8, 2
LONGEST_INIT = 8
ALIGNMENT, GAP = "<<>><<", "  "


def summary_text(results: ReportInput, width: int | None = None, encoding: str = "") -> str:
    """Return headline, its comparisons as a table, the other pairs, doubts and recommendation.

    The leaderboard takes the place of the table where no two inits can be compared.

    Args:
        width: columns; by default those of the terminal, at least 80.
        encoding: of the terminal, which may lack the glyphs of verdicts; by default that of standard output.
    """
    width = width or max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    found = headline(results)
    if not any(found.pair) and results.rows:
        return f"{fill_line(found.text, width)}\n\n{leaderboard_text(results, width)}"
    pairs = [other.text for other in pair_headlines(results)[1:]]
    more = [f"and {count_noun(len(pairs) - MOST_PAIRS, 'other pair')}: see the report"]
    paragraphs = [
        [found.text, sureness(results, found)],
        [*pairs[:MOST_PAIRS], *more * (len(pairs) > MOST_PAIRS)],
        [*doubts(results, notices(results))[:MOST_DOUBTS], recommendation(results)],
    ]
    texts = ["\n".join(fill_line(line, width) for line in lines if line) for lines in paragraphs]
    if any(found.pair):
        texts.insert(1, _comparisons(results, found.pair, width, encoding))
    return "\n\n".join(filter(None, texts)).replace(NBSP, " ") + "\n"


def _comparisons(results: ReportInput, pair: Pair, width: int, encoding: str) -> str:
    """Write the comparisons of a pair, below a line for each protocol, network and image size."""
    everything = compute_verdicts(results)
    counted, warning = evidence_of(results, everything)
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts_between(counted, *pair):
        groups[_setting(verdict)].append(verdict)
    ordered = [(setting, verdict) for setting, members in groups.items() for verdict in members]
    shown = ordered[:MOST_ROWS]
    head, rule, *rows = _table_lines(results, pair, [verdict for _, verdict in shown], width, encoding)
    lines, last = [head, rule], ""
    for (setting, _), row in zip(shown, rows, strict=True):
        lines += [*([shorten_name(setting, width)] if setting != last else []), row]
        last = setting
    left = len(ordered) - len(shown)
    title = JUDGED_METRICS[results.verdict_metric].full_title
    notes = [
        f"and {count_noun(left, 'other row')}: report.html and verdicts.csv have all" if left else "",
        f"test {title}, {pair_name(pair)}, each difference with its 95 % interval; verdicts allow for the "
        f"number of tasks, margin {results.margin:g}",
        "differences are over the seeds that both inits have" if _uneven(ordered) else "",
        warning.strip() if len(counted) < len(everything) else "",
    ]
    return "\n".join([*lines, *(fill_line(note, width) for note in notes if note)])


def _setting(verdict: Verdict) -> str:
    a, b = verdict.a, verdict.b
    variants = f"; variants {a.variant} and {b.variant}" if a.ambiguous or b.ambiguous else ""
    return one_line(f"{a.protocol}: {place_label(a.arch, a.size, a.input_size)}{variants}")


def _uneven(ordered: Sequence[tuple[str, Verdict]]) -> bool:
    return any(set(each.a.seeds) != set(each.b.seeds) for _, each in ordered)


def _table_lines(
    results: ReportInput, pair: Pair, verdicts: Sequence[Verdict], width: int, encoding: str
) -> list[str]:
    """Return the lines of a table of at most `width` columns, in which names are shortened."""
    inits = (shorten_name(init, LONGEST_INIT) for init in pair)
    body = [["labels", *inits, "difference (95 %)", "verdict"]]
    body += [
        [
            format_percent(verdict.a.fraction).replace(" per class", "/class"),
            *(_score(results, row) for row in (verdict.a, verdict.b)),
            difference_text(verdict).removesuffix(" ()"),
            _verdict_text(verdict, encoding or sys.stdout.encoding or "utf-8"),
        ]
        for verdict in verdicts
    ]
    room = width - sum(max(map(len, column)) + len(GAP) for column in zip(*body, strict=True))
    tasks = ["task", *(shorten_name(verdict.a.task, room) for verdict in verdicts)]
    return _align([tasks, *zip(*body, strict=True)])


def _align(columns: Sequence[Sequence[str]]) -> list[str]:
    """Return heading, rule and rows as lines; numbers are aligned right."""
    widths = [max(map(len, column)) for column in columns]
    head, *rows = zip(*columns, strict=True)
    ruled = [head, ["-" * wide for wide in widths], *rows]
    cells = (zip(row, ALIGNMENT, widths, strict=True) for row in ruled)
    return [GAP.join(f"{cell:{side}{wide}}" for cell, side, wide in row).rstrip() for row in cells]


def _score(results: ReportInput, row: LeaderboardRow) -> str:
    stat = row.stats.get(results.verdict_metric)
    return format_number(stat.mean if stat and stat.n else None)


def _verdict_text(verdict: Verdict, encoding: str) -> str:
    """Write the verdict with its glyph, or the flag that excludes one."""
    if verdict.barred:
        return verdict.barred.name
    glyph = LOOKS[verdict.verdict].glyph
    known = glyph.encode(encoding, "ignore")
    return f"{glyph} {verdict.verdict}" if known else verdict.verdict
