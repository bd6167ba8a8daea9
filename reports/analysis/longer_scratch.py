"""Whether "better than random weights" survives when these are trained longer."""

from dataclasses import dataclass

import numpy as np

from ..statistics.metric_influence import JUDGED_METRICS, JudgedMetric
from .flags import DoubtFlag
from .report_input import LeaderboardRow, ReportInput, visible_fields


@dataclass(frozen=True)
class LongerGain:
    """What more passes change in the metric of a row of random weights.

    Attributes:
        gain: mean over the seeds that have a control, against the row's own cells.
        factor: of the passes.
        by: " by image" where the verdict is by patient, else "".
    """

    init: str
    gain: float
    factor: float
    seeds: tuple[int, ...]
    measure: JudgedMetric
    by: str = ""

    def flag(self, winner: str, difference: float, interval: tuple[float, float]) -> DoubtFlag:
        """Return whether the verdict that `winner` is better survives.

        It does if the interval, moved by the gain, still excludes 0.
        """
        better = -self.gain if self.measure.lower_is_better else self.gain
        survives = abs(difference) - better > (interval[1] - interval[0]) / 2
        counted = f"seed{'s' if len(self.seeds) > 1 else ''} {', '.join(map(str, self.seeds))}"
        change = f"change the {self.measure.title}{self.by} of {self.init} by {self.gain:+.3f} ({counted})"
        longer = f"{self.factor:g} times the passes {change}"
        if survives:
            return DoubtFlag("beats-longer-scratch", f"{longer}: {winner} is still better")
        return DoubtFlag("scratch-short", f"{longer}: {winner} is not shown to be better than that")


def longer_gains(results: ReportInput) -> dict[LeaderboardRow, LongerGain]:
    """Return the gains of the rows whose cells have controls, see `Cell.longer`."""
    controls = {
        (visible_fields(record.cell), record.hashes.data, record.cell.seed): record
        for record in results.step("score")
        if record.cell.longer
    }
    records = {record.key: record for record in results.counted} if controls else {}
    found, metric = {}, results.verdict_metric
    for row in results.rows if controls else ():
        gained, factor = {}, 0.0
        for record in (records[key] for key in row.keys):
            control = controls.get((visible_fields(row), record.hashes.data, record.cell.seed))
            before, after = record.metrics.get(metric), control and control.metrics.get(metric)
            if control and before is not None and after is not None:
                gained[record.cell.seed], factor = after - before, control.cell.longer or 0.0
        if gained:
            gain = float(np.mean([*gained.values()]))
            by = " by image" if results.unit == "patient" else ""  # records have no others
            found[row] = LongerGain(row.init, gain, factor, tuple(gained), JUDGED_METRICS[metric], by)
    return found
