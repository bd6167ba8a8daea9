"""Labels saved and cost of two inits in one line each, for the table of their comparisons."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from ..analysis.labels_saved import LabelSaving, label_savings
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..analysis.verdicts import Verdict, compute_verdicts
from ..elements.format import format_duration
from ..elements.verdict_format import Pair, pair_of
from .labels import saving_sentence

PairSetting = tuple[Pair, str, str]
"""(inits, protocol, network)"""


def pair_summaries(results: ReportInput, task: str = "") -> dict[PairSetting, tuple[str, str]]:
    """Return pair and setting -> how many labels one init saves ("" if not measured), and cost of both.

    Both are over all label budgets of the real tasks, of generated tasks if there are no others.

    Args:
        results: all results.
        task: keep the comparisons of one task only.
    """
    savings: dict[PairSetting, list[LabelSaving]] = defaultdict(list)
    for each in label_savings(results):
        row, reference = each.init, each.reference.init
        if each.saved and task in ("", row.task):
            for pair in ((row.init, reference), (reference, row.init)):
                savings[pair, row.protocol, row.arch].append(each)
    verdicts: dict[PairSetting, list[Verdict]] = defaultdict(list)
    for verdict in compute_verdicts(results):
        if task in ("", verdict.a.task):
            verdicts[pair_of(verdict), verdict.a.protocol, verdict.a.arch].append(verdict)
    costs = CellCosts(results)
    return {
        setting: (_labels_text(results, savings[setting]), costs.compare(found))
        for setting, found in verdicts.items()
    }


def _labels_text(results: ReportInput, savings: Sequence[LabelSaving]) -> str:
    found = [each for each in savings if not results.generated(each.init.task)] or savings
    if not found:
        return ""
    return f"for the score of {found[0].reference.init} at all its labels, {saving_sentence(found)}"


class CellCosts:
    """Seconds of the cells of a run, and of the pretrainings that it made."""

    def __init__(self, results: ReportInput) -> None:
        self._cells = {record.key: results.cells_of(record) for record in results.counted}
        self._pretraining: dict[str, float] = defaultdict(float)
        for record in results.step("pretrain"):
            if record.init:
                self._pretraining[record.init.identity] += record.seconds

    def compare(self, verdicts: Sequence[Verdict]) -> str:
        """Write the mean seconds of a cell of both inits, and of the pretraining of their weights here."""
        found = [verdict for verdict in verdicts if not verdict.generated] or verdicts
        sides = ([verdict.a for verdict in found], [verdict.b for verdict in found])
        return f"mean of a cell: {'; '.join(f'{rows[0].init} {self._text(rows)}' for rows in sides)}"

    def _text(self, rows: Iterable[LeaderboardRow]) -> str:
        cells = [cell for row in rows for key in row.keys for cell in self._cells[key]]
        once = sum(self._pretraining[name] for name in {cell.init.identity for cell in cells if cell.init})
        each = format_duration(float(np.mean([cell.seconds for cell in cells])))
        return f"{each} plus {format_duration(once)} of pretraining, once" if once else each
