"""`verdicts.tex`: tables for a paper, one per protocol, network and image size."""

from collections import defaultdict
from collections.abc import Sequence

from ...core.errors import one_line
from ..analysis.report_input import ReportInput
from ..analysis.verdicts import Verdict, compute_verdicts
from ..elements.format import (
    DASH,
    GENERATED,
    NBSP,
    format_interval,
    format_number,
    format_percent,
    place_label,
)
from ..elements.verdict_format import flag_names, pair_name, pair_of
from ..statistics.metric_influence import JUDGED_METRICS

LATEX_HEAD = "% \\usepackage{booktabs}; one table per protocol, architecture and image size\n"
LATEX_SIGNS = {"\u2212": "$-$", "\u00d7": r"$\times$", DASH: "--", NBSP: "~"}
"""Signs that some LaTeX engines do not accept."""
SPECIAL = {sign: rf"\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}",
}  # fmt: skip
HEADINGS = ("Task", "Labels", "Pair", "Difference", "95 % interval", "Verdict", "Seeds", "Images", "Flags")


def verdicts_tex(results: ReportInput) -> str:
    """Write a `table` environment per protocol and network; names are escaped."""
    tables = [_table(results, caption, members) for caption, members in captioned_verdicts(results)]
    return LATEX_HEAD + ("\n".join(tables) or "% There is nothing to compare.\n")


def captioned_verdicts(results: ReportInput) -> list[tuple[str, list[Verdict]]]:
    """Group the comparisons by protocol, network and image size, each group with its caption."""
    groups: dict[tuple[str, str, int, int], list[Verdict]] = defaultdict(list)
    for verdict in compute_verdicts(results):
        a = verdict.a
        groups[a.protocol, a.arch, a.size, a.input_size].append(verdict)
    title = JUDGED_METRICS[results.verdict_metric].full_title
    return [
        (
            f"{protocol}: {place_label(arch, size, input_size)}. Paired differences in test {title}, first "
            "minus second init, over seeds and test images; verdicts after Benjamini-Hochberg over tasks, "
            f"margin {results.margin:g}.",
            members,
        )
        for (protocol, arch, size, input_size), members in groups.items()
    ]


def escape_latex(text: str) -> str:
    """Escape `text` for LaTeX, on one line."""
    flat = one_line(text)
    return "".join(SPECIAL.get(sign) or LATEX_SIGNS.get(sign) or sign for sign in flat)


def _table(results: ReportInput, caption: str, verdicts: Sequence[Verdict]) -> str:
    body, before = [], ""
    for verdict in verdicts:
        task = verdict.a.task
        if before and task != before:
            body.append(r"\midrule")
        name, *cells = map(escape_latex, verdict_cells(results, verdict))
        body.append(" & ".join(("" if task == before else name, *cells)) + r" \\")
        before = task
    return "\n".join(
        (
            r"\begin{table}", r"\centering\footnotesize", rf"\caption{{{escape_latex(caption)}}}",
            r"\begin{tabular}{llllllrrl}", r"\toprule",
            " & ".join(HEADINGS).replace(" %", r"\,\%") + r" \\", r"\midrule", *body, r"\bottomrule",
            r"\end{tabular}", r"\end{table}", "",
        )
    )  # fmt: skip


def verdict_cells(results: ReportInput, verdict: Verdict) -> tuple[str, ...]:
    """Return the texts of a comparison under `HEADINGS`."""
    a = verdict.a
    return (
        f"{a.task} ({GENERATED})" if results.generated(a.task) else a.task,
        format_percent(a.fraction), pair_name(pair_of(verdict)),
        format_number(verdict.difference, "+.3f"), format_interval(*verdict.interval) or DASH,
        verdict.verdict, str(len(verdict.seeds)), f"{verdict.n_test:,}", ", ".join(flag_names(verdict)),
    )  # fmt: skip
