"""Flags: reasons to doubt a comparison."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...benchmark.audits.leakage.outcome import LeakageAudit
from ...benchmark.schema.records import PRIMARY_METRIC, Record
from ..statistics.paired import CEILING
from ..statistics.uneven_seeds import uneven_seeds_reason
from ..statistics.verdict_terms import CHANCE_AUC, FEW_TEST, HEADROOM, DoubtFlag, few_groups_reason
from .influence_input import ScoreEvidence
from .report_input import LeaderboardRow, ReportInput

FEW_PER_CLASS = 5
LEAKS = ("test-in-train", "mostly-in-train", "groups-in-train", "near-copies-in-train")
"""Flags of a test set that the training partly knew; listed before all others."""


@dataclass(frozen=True, eq=False)
class ComparisonSide:
    """One of the two inits of a comparison.

    Attributes:
        leakage: audit of the splits that it was scored on; None without an audit.
    """

    row: LeaderboardRow
    evidence: ScoreEvidence
    records: tuple[Record, ...]
    leakage: LeakageAudit | None = None

    @property
    def score(self) -> float:
        """Mean over seeds of the metric of the verdict; NaN where it is undefined."""
        stat = self.row.stats.get(self.evidence.metric)
        return stat.mean if stat else float("nan")


FlagCheck = Callable[[ComparisonSide, ComparisonSide], Iterator[DoubtFlag]]


def flags_of(a: ComparisonSide, b: ComparisonSide) -> tuple[DoubtFlag, ...]:
    """Return all flags of the comparison of `a` with `b`."""
    return tuple(flag for check in CHECKS for flag in check(a, b))


def generated_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """Generated images are no evidence about real ones."""
    if any(record.task and record.task.generated for record in a.records):
        yield DoubtFlag("phantom", "the images are generated: not evidence about real images")


def contamination_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """Weights that may have seen images of the task have an unfair advantage."""
    for side in (a, b):
        if side.row.overlap:
            seen = f"the weights of {side.row.init} are declared to have seen {', '.join(side.row.overlap)}"
            yield DoubtFlag("contaminated", seen)
        audit, init = side.row.audit, side.records[-1].init
        if audit and audit.contaminated and not side.row.overlap:
            yield DoubtFlag("contaminated", audit.sentence)
        elif audit and audit.doubtful:
            yield DoubtFlag("possibly-contaminated", audit.sentence)
        elif audit is None and init and init.possible:
            yield DoubtFlag("possibly-contaminated", f"of {side.row.init}, {'; '.join(init.possible)}")


def not_imagenet_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """Default timm weights of an architecture need not be from ImageNet, despite the name."""
    for side in (a, b):
        init = side.records[-1].init
        if init and init.not_imagenet:
            yield DoubtFlag("not-imagenet", init.not_imagenet)


def split_overlap_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """Test images, or patients, that are also in train are not new for either side."""
    copies = a.records[-1].copies
    if copies and copies.either and not copies.dropped:
        yield DoubtFlag("test-in-train", copies.equal_clause)
    if a.row.leaked or b.row.leaked:
        known = "train or val hold more than half of the test images, near copies of them or their patients"
        yield DoubtFlag("mostly-in-train", f"{known}: the scores say nothing of new images")
    if copies and copies.shared_groups:
        yield DoubtFlag("groups-in-train", copies.groups_clause)
    for near in a.leakage.near_test if a.leakage else ():
        yield DoubtFlag("near-copies-in-train", near)


def leaks(results: ReportInput) -> tuple[str, ...]:
    """Return a clause per task and kind of leak from test to train or val, worst first."""
    records = {record.key: record for record in results.counted}
    rows = sorted(results.rows, key=lambda row: not row.leaked)  # the page's first lines name only a few
    counted = ((row.task, records[key].copies) for row in rows for key in row.keys)
    found = [f"{task}: {copies.leak_clause}" for task, copies in counted if copies and copies.leak_clause]
    found += [f"{audit.task}: {near}" for audit in results.leakage_audits for near in audit.near_test]
    return tuple(dict.fromkeys(found))


def leaks_by_row(results: ReportInput) -> dict[LeaderboardRow, tuple[str, ...]]:
    """Return row -> a clause per kind of leak of its test images or patients to train or val."""
    records = {record.key: record for record in results.counted}
    found = {}
    for row in results.rows:
        held = [records[key] for key in row.keys]
        clauses = [record.copies.leak_clause for record in held if record.copies]
        for key in sorted({record.leakage_key for record in held} & results.leakage.keys()):
            clauses += results.leakage[key].near_test
        found[row] = tuple(dict.fromkeys(filter(None, clauses)))
    return found


def unpaired_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """Seeds that only one of the two inits has are left out."""
    alone = sorted(set(a.row.seeds) ^ set(b.row.seeds))
    if alone:
        yield DoubtFlag("unpaired", f"left out, since only one of the two has them: seeds {_join(alone)}")


def seed_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """One seed, or seeds with identical results, show no spread."""
    both = sorted(set(a.evidence.seeds) & set(b.evidence.seeds))
    if len(both) == 1:
        yield DoubtFlag("single-seed", "one seed in common: the spread over trainings is unknown")
    still = [side for side in (a, b) if len(both) > 1 and np.ptp(side.evidence.values) == 0]
    if len(still) == 2:
        reason = "every seed gives the same result: the verdict is about these two trained models only"
        yield DoubtFlag("fixed-models", reason)
    elif still:
        one = f"every seed of {still[0].row.init} gives the same result"
        yield DoubtFlag("identical-seeds", f"{one}: nothing is known of other training images")


def uneven_seed_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """The t distribution fails where one init sometimes trains far worse than usual."""
    common = sorted(set(a.evidence.seeds) & set(b.evidence.seeds))
    if a.evidence.problem or b.evidence.problem or len(common) < 2:
        return
    values = np.stack([side.evidence.at(common)[0] for side in (a, b)])
    if reason := uneven_seeds_reason(values, (a.row.init, b.row.init), common):
        yield DoubtFlag("uneven-seeds", reason)


def one_pretraining_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """Another pretraining of the same kind would give different weights."""
    for side in (a, b):
        if side.row.origin:
            reason = f"{side.row.init} was pretrained once: what another pretraining would give is not known"
            yield DoubtFlag("one-pretraining", reason)


def headroom_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """Scores at the ceiling cannot differ."""
    if a.evidence.measure.lower_is_better:
        return
    if max(a.score, b.score) >= CEILING:
        reason = f"one of the two reaches {CEILING}: its errors rest on very few images"
        yield DoubtFlag("near-ceiling", reason)
    if min(a.score, b.score) >= HEADROOM:
        reason = f"both reach {HEADROOM} or more: the task is too easy to tell them apart"
        yield DoubtFlag("no-headroom", reason)


def perfect_score_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """A perfect score is usually a leak."""
    for side in (a, b):
        known = side.evidence.values.size and not side.evidence.measure.lower_is_better
        if known and side.evidence.values.max() == 1:
            reason = f"{side.row.init} scores 1.0 with some seed: look for a leak, or a task too easy"
            yield DoubtFlag("perfect", reason)


def below_chance_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """An AUC below chance is usually due to inverted labels."""
    for side in (a, b):
        if side.evidence.metric == "auc" and mean_auc(side.row) < CHANCE_AUC:
            seen = f"the AUC of {side.row.init}, {mean_auc(side.row):.3f}, is below that of chance"
            yield DoubtFlag("below-chance", f"{seen}: look for inverted labels")


def majority_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """An accuracy not above that of always predicting the most frequent class shows no learning."""
    for side in (a, b):
        accuracy, share = side.row.stats.get("accuracy"), side.evidence.majority
        if accuracy and accuracy.mean <= share + 1e-9:
            ours = f"the accuracy of {side.row.init}, {accuracy.mean:.3f}"
            frequent = f"always giving the most frequent answer, {share:.3f}"
            yield DoubtFlag("majority", f"{ours}, is not above that of {frequent}")


def grid_edge_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """A hyper-parameter on the edge of its grid: a wider grid might do better."""
    for side in (a, b):
        edges = [choice for record in side.records for choice in record.choices if choice.at_edge]
        if edges:
            chosen = _join(sorted({f"{choice.name} {choice.value:g}" for choice in edges}))
            yield DoubtFlag("grid-edge", f"{side.row.init} chose from the edge of its grid: {chosen}")


def still_improving_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """The best validation was the last one: longer training might do better."""
    for side in (a, b):
        curves = [[p.val_score or 0.0 for p in r.curve] for r in side.records if len(r.curve) > 2]
        late = sum(max(curve) == curve[-1] > max(curve[:-1]) for curve in curves)
        trainings = "trainings" if side.row.folds else "seeds"
        if late * 2 > len(curves):
            best = f"{side.row.init} was best at its last validation with {late} of {len(curves)} {trainings}"
            yield DoubtFlag("still-improving", f"{best}: it may be under-trained")


def few_images_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """With so few images of a class, or so few groups, chance decides."""
    train = [n for r in (*a.records, *b.records) if r.counts for n in r.counts.train_per_class]
    if train and min(train) < FEW_PER_CLASS:
        yield DoubtFlag("few-train", f"a class has only {min(train)} training images")
    by_class = a.evidence.measure.needs_every_class
    if 0 < (fewest := a.evidence.fewest if by_class else a.evidence.n_test) < FEW_TEST:
        few = "a class has only" if by_class else "there are only"
        yield DoubtFlag("few-test", f"{few} {fewest} test images")
    if reason := few_groups_reason(a.evidence.groups, a.evidence.fewest_groups):
        yield DoubtFlag("few-groups", reason)


def labels_unused_flags(a: ComparisonSide, b: ComparisonSide) -> Iterator[DoubtFlag]:
    """A training of less than one pass has not seen all labels that the tables count."""
    for side in (a, b):
        passes = [record.passes for record in side.records if 0 < record.passes < 1]
        if passes:
            reason = f"{side.row.init} was trained for {min(passes):.2g} passes: it did not see all labels"
            yield DoubtFlag("labels-unused", reason)


CHECKS: tuple[FlagCheck, ...] = (
    split_overlap_flags, generated_flags, contamination_flags, not_imagenet_flags, unpaired_flags, seed_flags,
    uneven_seed_flags, one_pretraining_flags, headroom_flags, perfect_score_flags, below_chance_flags,
    majority_flags, grid_edge_flags, still_improving_flags, few_images_flags, labels_unused_flags,
)  # fmt: skip
"""In display order."""


def mean_auc(row: LeaderboardRow) -> float:
    """Return the mean AUC of a row; NaN where it is undefined."""
    stat = row.stats.get(PRIMARY_METRIC)
    return stat.mean if stat else float("nan")


def _join(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))
