"""What makes a comparison doubtful, each with its reason."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...benchmark.audits.leakage.outcome import Leakage
from ...benchmark.schema.records import Record
from ..statistics.paired import CEILING
from .influence_input import METRIC, Evidence
from .results import Results, Row

HEADROOM = 0.995
CHANCE = 0.5
FEW = 5
FEW_TEST = 10
FEW_GROUPS = 10
LEAKS = ("test-in-train", "mostly-in-train", "groups-in-train", "near-copies-in-train")
"""Flags of a test set that the training knew in part: they are named before every other doubt."""

ONCE = re.compile(r"pretrained here|(^|: )checkpoint ")
"""In the label of weights of which others of their kind could be made: a MedNet from here or from a card."""


@dataclass(frozen=True)
class Flag:
    """One reason to doubt.

    Attributes:
        name: short and stable, for tables and files.
        reason: one sentence with the numbers.
    """

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two inits of a comparison: its row, what its predictions show, its records.

    Attributes:
        leakage: the audit of the splits that it was scored on; None where nobody made one.
    """

    row: Row
    evidence: Evidence
    records: tuple[Record, ...]
    leakage: Leakage | None = None


Check = Callable[[Side, Side], Iterator[Flag]]


def flags_of(a: Side, b: Side) -> tuple[Flag, ...]:
    """Return every flag of the comparison of `a` with `b`."""
    return tuple(flag for check in CHECKS for flag in check(a, b))


def phantom(a: Side, b: Side) -> Iterator[Flag]:
    """Generated images are no evidence about real ones."""
    if any(record.task and record.task.generated for record in a.records):
        yield Flag("phantom", "the images are generated: not evidence about real images")


def contaminated(a: Side, b: Side) -> Iterator[Flag]:
    """Weights that may have seen the task's images compete unfairly."""
    for side in (a, b):
        if side.row.overlap:
            seen = ", ".join(side.row.overlap)
            yield Flag("contaminated", f"the weights of {side.row.init} are declared to have seen {seen}")
        audit, init = side.row.audit, side.records[-1].init
        if audit and audit.contaminated and not side.row.overlap:
            yield Flag("contaminated", audit.sentence)
        elif audit and audit.doubtful:
            yield Flag("possibly-contaminated", audit.sentence)
        elif audit is None and init and init.possible:
            yield Flag("possibly-contaminated", f"of {side.row.init}, {'; '.join(init.possible)}")


def other_than_imagenet(a: Side, b: Side) -> Iterator[Flag]:
    """What timm calls the weights of an arch need not be ImageNet's, whatever the init is called."""
    for side in (a, b):
        init = side.records[-1].init
        if init and init.not_imagenet:
            yield Flag("not-imagenet", init.not_imagenet)


def copied(a: Side, b: Side) -> Iterator[Flag]:
    """Test images that stand in train too are no new images for either side, nor their patients new ones."""
    copies = a.records[-1].copies
    if copies and copies.either and not copies.dropped:
        yield Flag("test-in-train", copies.equal)
    if a.row.leaked or b.row.leaked:
        known = "train or val hold more than half of the test images, near copies of them or their patients"
        yield Flag("mostly-in-train", f"{known}: the scores say nothing of new images")
    if copies and copies.shared_groups:
        yield Flag("groups-in-train", copies.grouped)
    for near in a.leakage.near_test if a.leakage else ():
        yield Flag("near-copies-in-train", near)


def leaks(results: Results) -> tuple[str, ...]:
    """Say of every task which test images, or whose patients, its training knew; a clause each."""
    records = {record.key: record for record in results.counted}
    rows = sorted(results.rows, key=lambda row: not row.leaked)  # the worst first: the top names a few
    counted = ((row.task, records[key].copies) for row in rows for key in row.keys)
    found = [f"{task}: {copies.leaks}" for task, copies in counted if copies and copies.leaks]
    found += [f"{audit.task}: {near}" for audit in results.leakage_audits for near in audit.near_test]
    return tuple(dict.fromkeys(found))


def leaks_by_row(results: Results) -> dict[Row, tuple[str, ...]]:
    """Return of every row which of its test images, or whose patients, its training knew; a clause each."""
    records = {record.key: record for record in results.counted}
    found = {}
    for row in results.rows:
        held = [records[key] for key in row.keys]
        clauses = [record.copies.leaks for record in held if record.copies]
        data = {record.hashes.data.partition(", ")[0] for record in held}
        for audit in results.leakage_audits:
            if (audit.task, audit.size) == (row.task, row.size) and audit.data in data:
                clauses += audit.near_test
        found[row] = tuple(dict.fromkeys(filter(None, clauses)))
    return found


def unpaired(a: Side, b: Side) -> Iterator[Flag]:
    """Seeds that only one of the two has are left out."""
    alone = sorted(set(a.row.seeds) ^ set(b.row.seeds))
    if alone:
        yield Flag("unpaired", f"left out, since only one of the two has them: seeds {_listed(alone)}")


def seeds(a: Side, b: Side) -> Iterator[Flag]:
    """One seed shows no spread, and identical seeds show none either."""
    both = sorted(set(a.evidence.seeds) & set(b.evidence.seeds))
    if len(both) == 1:
        yield Flag("single-seed", "one seed in common: the spread over trainings is unknown")
    still = [side for side in (a, b) if len(both) > 1 and np.ptp(side.evidence.values) == 0]
    if len(still) == 2:
        reason = "every seed gives the same result: the verdict is about these two trained models only"
        yield Flag("fixed-models", reason)
    elif still:
        one = f"every seed of {still[0].row.init} gives the same result"
        yield Flag("identical-seeds", f"{one}: nothing is known of other training images")


def one_pretraining(a: Side, b: Side) -> Iterator[Flag]:
    """Another pretraining of the same kind would give other weights."""
    for side in (a, b):
        if ONCE.search(side.row.label):
            yield Flag(
                "one-pretraining",
                f"{side.row.init} was pretrained once: what another pretraining would give is not known",
            )


def no_headroom(a: Side, b: Side) -> Iterator[Flag]:
    """Two scores at the ceiling cannot differ."""
    if max(mean_auc(a.row), mean_auc(b.row)) >= CEILING:
        yield Flag("near-ceiling", f"one of the two reaches {CEILING}: its errors rest on very few images")
    if min(mean_auc(a.row), mean_auc(b.row)) >= HEADROOM:
        yield Flag("no-headroom", f"both reach {HEADROOM} or more: the task is too easy to tell them apart")


def perfect(a: Side, b: Side) -> Iterator[Flag]:
    """A perfect score is more often a leak than a triumph."""
    for side in (a, b):
        if side.evidence.values.size and side.evidence.values.max() == 1:
            yield Flag(
                "perfect", f"{side.row.init} scores 1.0 with some seed: look for a leak, or a task too easy"
            )


def below_chance(a: Side, b: Side) -> Iterator[Flag]:
    """An AUC below that of chance is more often one of inverted labels than of a network that learned."""
    for side in (a, b):
        if mean_auc(side.row) < CHANCE:
            seen = f"the AUC of {side.row.init}, {mean_auc(side.row):.3f}, is below that of chance"
            yield Flag("below-chance", f"{seen}: look for inverted labels")


def majority(a: Side, b: Side) -> Iterator[Flag]:
    """An accuracy that the most frequent answer alone would reach."""
    for side in (a, b):
        accuracy, share = side.row.stats.get("accuracy"), side.evidence.majority
        if accuracy and accuracy.mean <= share + 1e-9:
            yield Flag(
                "majority",
                f"the accuracy of {side.row.init}, {accuracy.mean:.3f}, is not above that of always giving "
                f"the most frequent answer, {share:.3f}",
            )


def grid_edge(a: Side, b: Side) -> Iterator[Flag]:
    """A choice on the edge of its grid: a wider grid might do better."""
    for side in (a, b):
        edges = [choice for record in side.records for choice in record.choices if choice.at_edge]
        if edges:
            chosen = _listed(sorted({f"{choice.name} {choice.value:g}" for choice in edges}))
            yield Flag("grid-edge", f"{side.row.init} chose from the edge of its grid: {chosen}")


def still_improving(a: Side, b: Side) -> Iterator[Flag]:
    """The best validation was the last one: longer training might do better."""
    for side in (a, b):
        curves = [[p.val_score or 0.0 for p in r.curve] for r in side.records if len(r.curve) > 2]
        late = sum(max(curve) == curve[-1] > max(curve[:-1]) for curve in curves)
        if late * 2 > len(curves):
            yield Flag(
                "still-improving",
                f"{side.row.init} was best at its last validation with {late} of {len(curves)} seeds: it may "
                "be under-trained",
            )


def few(a: Side, b: Side) -> Iterator[Flag]:
    """Classes with so few images that chance decides."""
    train = [n for r in (*a.records, *b.records) if r.counts for n in r.counts.train_per_class]
    if train and min(train) < FEW:
        yield Flag("few-train", f"a class has only {min(train)} training images")
    if 0 < a.evidence.fewest < FEW_TEST:
        yield Flag("few-test", f"a class has only {a.evidence.fewest} test images")
    if 0 < a.evidence.groups < FEW_GROUPS:
        yield Flag("few-groups", f"the test images are of only {a.evidence.groups} groups")


CHECKS: tuple[Check, ...] = (
    copied, phantom, contaminated, other_than_imagenet, unpaired, seeds, one_pretraining, no_headroom,
    perfect, below_chance, majority, grid_edge, still_improving, few,
)  # fmt: skip
"""In the order in which flags are shown."""


def mean_auc(row: Row) -> float:
    """Return the mean AUC of a row; NaN where it is undefined."""
    stat = row.stats.get(METRIC)
    return stat.mean if stat else float("nan")


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))
