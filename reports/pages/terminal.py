"""Leaderboard and verdicts for a terminal: a line per task and fraction, a column per init."""

import shutil
import textwrap
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from ..analysis.flags import leaks
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..analysis.verdicts import compute_verdicts
from ..answers.headline import NOTHING
from ..elements.format import (
    GENERATED,
    NBSP,
    clean,
    format_number,
    format_percent,
    place_label,
    primary_title,
    shorten_label,
)
from ..elements.verdict_format import by_pair, flagged_text, pair_name, tally_text
from ..statistics.metric_influence import JUDGED_METRICS
from .overview import notices


def leaderboard_text(results: ReportInput, width: int | None = None) -> str:
    """Return the leaderboard for `width` columns, by default of the terminal.

    Inits that do not fit side by side get a line each.
    """
    width = width or shutil.get_terminal_size((100, 24)).columns
    tables: dict[tuple[str, str, int, int], list[LeaderboardRow]] = defaultdict(list)
    for row in results.rows:
        tables[row.protocol, row.arch, row.size, row.input_size].append(row)
    parts = [textwrap.fill(_one_line(notice), width) for notice in notices(results)]
    for (protocol, arch, size, input_size), rows in tables.items():
        score = f"test {primary_title(results)}, mean ± sd (seeds)"
        what = f"{protocol}: {place_label(arch, size, input_size)}; {score}"
        parts.append(f"{textwrap.fill(_one_line(what), width)}\n\n{_fitting_table(results, rows, width)}")
    if results.rows:
        parts += filter(None, (_undefined_reasons(results, width), _weights(results.rows, width)))
    else:
        parts.append(NOTHING)
    return "\n\n".join(parts).replace(NBSP, " ") + "\n"


def verdict_text(results: ReportInput, width: int | None = None) -> str:
    """Return the counts of verdicts per pair and the warnings; "" if nothing can be compared."""
    width = width or shutil.get_terminal_size((100, 24)).columns
    verdicts = compute_verdicts(results)
    if not verdicts:
        return ""
    title = JUDGED_METRICS[results.verdict_metric].full_title
    head = (
        f"verdicts, first init against second: at most 5 % of the calls false (Benjamini-Hochberg), margin "
        f"{results.margin:g} {title}"
    )
    lines = [textwrap.fill(head, width), ""]
    for made in (False, True):
        chosen = [verdict for verdict in verdicts if results.generated(verdict.a.task) == made]
        warning = f" ({GENERATED})" if made else ""
        for pair, members in by_pair(chosen).items():
            line = _one_line(f"{pair_name(pair)}{warning}: {tally_text(members)}")
            lines.append(textwrap.fill(line, width, subsequent_indent="  "))
    doubts = [f"{leak}." for leak in leaks(results)] + list(filter(None, (flagged_text(verdicts),)))
    lines += [""] * bool(doubts)
    lines += [textwrap.fill(_one_line(doubt), width, subsequent_indent="  ") for doubt in doubts]
    return "\n".join(lines).replace(NBSP, " ") + "\n"


def _one_line(text: str) -> str:
    return " ".join(clean(text).split())


def _fitting_table(results: ReportInput, rows: Sequence[LeaderboardRow], width: int) -> str:
    wide = _wide_table(results, rows)
    return wide if max(map(len, wide.splitlines())) <= width else _long_table(results, rows)


def by_line(rows: Sequence[LeaderboardRow]) -> dict[tuple[str, float], list[LeaderboardRow]]:
    """Group the rows by task and fraction."""
    lines: dict[tuple[str, float], list[LeaderboardRow]] = defaultdict(list)
    for row in rows:
        lines[row.task, row.fraction].append(row)
    return lines


def _labels(row: LeaderboardRow) -> str:
    counted = f" ({row.n_train:,.0f})" if row.n_train > 0 else ""
    return format_percent(row.fraction) + counted


def score_text(results: ReportInput, row: LeaderboardRow) -> str:
    """Write the primary metric of a row, e.g. "0.870 ± 0.012 (3)"."""
    stat = row.stats.get(results.primary)
    if stat is None or not stat.n:
        return "undefined"
    sd = f" ± {format_number(stat.sd)}" if stat.n > 1 else ""
    return f"{format_number(stat.mean)}{sd} ({stat.n})" + (f" [{row.variant}]" if row.ambiguous else "")


def _task_names(results: ReportInput, tasks: Sequence[str]) -> list[str]:
    """Name every task once; the warning for generated images is on its next lines."""
    entries: list[str] = []
    for task, run in groupby(tasks):
        words = [_one_line(task), *(textwrap.wrap(GENERATED, 24) if results.generated(task) else ())]
        lines = len(list(run))
        entries += [*[*words, *[""] * lines][: lines - 1], "\n".join(words[lines - 1 :])]
    return entries


def _wide_table(results: ReportInput, rows: Sequence[LeaderboardRow]) -> str:
    inits = list(dict.fromkeys(row.init for row in rows))
    lines = by_line(rows)
    names = _task_names(results, [task for task, _ in lines])
    body = [
        [
            name,
            _labels(members[0]),
            *("\n".join(score_text(results, row) for row in members if row.init == init) for init in inits),
        ]
        for name, members in zip(names, lines.values(), strict=True)
    ]
    return _simple_table(body, ["task", "labels", *map(_one_line, inits)])


def _long_table(results: ReportInput, rows: Sequence[LeaderboardRow]) -> str:
    names = _task_names(results, [row.task for row in rows])
    body = [
        [name, _labels(row), _one_line(row.init), score_text(results, row)]
        for name, row in zip(names, rows, strict=True)
    ]
    return _simple_table(body, ["task", "labels", "init", "score"])


def _weights(rows: Sequence[LeaderboardRow], width: int) -> str:
    """List the origin of the weights of every init."""
    labels: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        labels[row.init][_one_line(shorten_label(row.label))] = None
    lines = (f"{_one_line(init)}: {'; '.join(found)}" for init, found in labels.items() if any(found))
    return "\n".join(textwrap.fill(line, width, subsequent_indent="  ") for line in lines)


def _undefined_reasons(results: ReportInput, width: int) -> str:
    """List the reasons for undefined scores per task, or ""."""
    title = primary_title(results)
    found = {
        f"{record.cell.task}: {title} undefined: {record.undefined[results.primary]}": None
        for record in results.counted
        if results.primary in record.undefined
    }
    return "\n".join(textwrap.fill(_one_line(line), width, subsequent_indent="  ") for line in found)


def _simple_table(body: list[list[str]], headers: list[str]) -> str:
    import tabulate

    return tabulate.tabulate(body, headers, tablefmt="simple", disable_numparse=True)
