"""`verdicts.tex`: tables for a paper, one per protocol, network and image size."""

from collections.abc import Sequence

from ...core.errors import one_line
from ..analysis.report_input import ReportInput
from ..analysis.verdicts import Verdict, compute_verdicts
from ..elements.format import (
    DASH,
    NBSP,
    format_interval,
    format_number,
    format_percent,
    group_by_setting,
    named_task,
)
from ..elements.verdict_format import flag_names, pair_name, pair_of
from ..statistics.metric_influence import JUDGED_METRICS

LATEX_HEAD = "% \\usepackage{booktabs}; one table per protocol, architecture and image size\n"
LATEX_SIGNS = {"\u2212": "$-$", "\u00d7": r"$\times$", "±": r"$\pm$", DASH: "--", NBSP: "~"}
"""Signs that some LaTeX engines do not accept."""
SPECIAL = {sign: rf"\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}",
}  # fmt: skip
VERDICT_ALIGN = "llllllrrl"
HEADINGS = ("Task", "Labels", "Pair", "Difference", "95 % interval", "Verdict", "Seeds", "Images", "Flags")


def verdicts_tex(results: ReportInput) -> str:
    """Write a `table` environment per protocol and network; names are escaped."""
    tables = [
        latex_table(caption, HEADINGS, cells, VERDICT_ALIGN)
        for caption, cells in captioned_verdicts(results).items()
    ]
    return LATEX_HEAD + ("\n".join(tables) or "% There is nothing to compare.\n")


def captioned_verdicts(results: ReportInput) -> dict[str, list[tuple[str, ...]]]:
    """Return the texts of the comparisons by protocol, network and image size: caption -> rows."""
    title = JUDGED_METRICS[results.verdict_metric].full_title
    groups = group_by_setting(compute_verdicts(results), lambda verdict: verdict.a)
    return {
        f"{setting}. Paired differences in test {title}, first minus second init, over seeds and test "
        f"images; verdicts after Benjamini-Hochberg over tasks, margin {results.margin:g}.": [
            _cells(results, verdict) for verdict in members
        ]
        for setting, members in groups.items()
    }


def escape_latex(text: str) -> str:
    """Escape `text` for LaTeX, on one line."""
    flat = one_line(text)
    return "".join(SPECIAL.get(sign) or LATEX_SIGNS.get(sign) or sign for sign in flat)


def latex_table(caption: str, headings: Sequence[str], body: Sequence[Sequence[str]], align: str) -> str:
    """Write a `table` environment for booktabs; rows of one task are ruled off and named once."""
    lines, before = [], ""
    for row in body:
        name, *cells = map(escape_latex, row)
        if before and name != before:
            lines.append(r"\midrule")
        lines.append(" & ".join(("" if name == before else name, *cells)) + r" \\")
        before = name
    return "\n".join(
        (
            r"\begin{table}", r"\centering\footnotesize", rf"\caption{{{escape_latex(caption)}}}",
            rf"\begin{{tabular}}{{{align}}}", r"\toprule",
            " & ".join(map(escape_latex, headings)) + r" \\", r"\midrule", *lines, r"\bottomrule",
            r"\end{tabular}", r"\end{table}", "",
        )
    )  # fmt: skip


def _cells(results: ReportInput, verdict: Verdict) -> tuple[str, ...]:
    """Return the texts of a comparison under `HEADINGS`."""
    a = verdict.a
    return (
        named_task(results, a.task), format_percent(a.fraction), pair_name(pair_of(verdict)),
        format_number(verdict.difference, "+.3f"), format_interval(*verdict.interval) or DASH,
        verdict.verdict, str(len(verdict.seeds)), f"{verdict.n_test:,}", ", ".join(flag_names(verdict)),
    )  # fmt: skip
