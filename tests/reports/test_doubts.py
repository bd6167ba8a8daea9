"""What must not be believed is not claimed: errors that are unknown, test sets that training knew."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from synthetic import Grid, write_run

from mednet_bench.benchmark.audits.leakage.match_types import NearCopies, NearestCopy
from mednet_bench.benchmark.audits.leakage.outcome import (
    LEAKAGE_FOLDER,
    LeakageAudit,
    ShortcutHint,
    write_leakage,
)
from mednet_bench.benchmark.schema.records import Record, RecordStore, SplitOverlap
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.patients import patient_results
from mednet_bench.reports.analysis.report_input import ReportInput
from mednet_bench.reports.analysis.verdicts import BETTER, EQUIVALENT, UNDECIDED, compute_verdicts
from mednet_bench.reports.answers.data_quality import data_quality_answer
from mednet_bench.reports.elements.section import SectionPart
from mednet_bench.reports.sections.leaderboard import leaderboard_section
from mednet_bench.reports.sections.problems import problems_section

GRID = Grid(tasks=("retinamnist",), inits=("rival", "scratch"), fractions=(1.0,), protocols=("linear",))
Scores = np.ndarray


def rewritten(
    folder: Path, change: Callable[[Record, RecordStore], Record], grid: Grid = GRID
) -> ReportInput:
    """Invent a run, then change what its score cells left."""
    store = RecordStore(folder)
    for record in write_run(folder, grid):
        if record.cell.step == "score":
            store.path(record.key).write_bytes(msgspec.json.encode(change(record, store)))
    return load_report_input([folder])


def predicted(
    record: Record, store: RecordStore, labels: Scores, positive: Scores, groups: Scores | None = None
) -> Record:
    """Give a record other predictions of a binary task, and their AUC."""
    scores = np.stack([1 - positive, positive], axis=1).astype(np.float32)
    arrays = {"labels": labels, "scores": scores} | ({} if groups is None else {"groups": groups})
    np.savez(store.predictions_of(record.key), **arrays)
    return msgspec.structs.replace(
        record, metrics={**record.metrics, "auc": float(roc_auc_score(labels, scores[:, 1]))}
    )


def of_constant(labels: Scores, seed: int) -> Scores:
    return np.full(len(labels), 0.3 + 0.01 * seed)


def of_perfect(labels: Scores, seed: int) -> Scores:
    return 0.1 + 0.8 * labels


def of_inverted(labels: Scores, seed: int) -> Scores:
    return 0.9 - 0.8 * labels


def of_noise(labels: Scores, seed: int) -> Scores:
    return np.random.default_rng(seed).random(len(labels))


@pytest.mark.parametrize(
    ("rival", "scratch", "each"),
    [
        (of_perfect, of_inverted, 2),
        (of_perfect, of_constant, 3),
        (of_perfect, of_inverted, 150),
        (of_perfect, of_perfect, 150),
        (of_constant, of_constant, 150),
        (of_perfect, of_noise, 3),
    ],
)
def test_where_no_image_shows_an_error_or_too_few_could_there_is_no_verdict(
    tmp_path: Path, rival: Callable, scratch: Callable, each: int
) -> None:
    labels = np.arange(2 * each) % 2

    def change(record: Record, store: RecordStore) -> Record:
        of = rival if record.cell.init == "rival" else scratch
        return predicted(record, store, labels, of(labels, record.cell.seed))

    (verdict,) = compute_verdicts(rewritten(tmp_path, change))
    assert verdict.verdict == UNDECIDED and verdict.barred and verdict.barred.name == "no-evidence"
    assert np.isnan([*verdict.interval, *verdict.p, *verdict.p_equivalent, verdict.mde]).all()


def test_a_perfect_score_against_one_with_an_error_keeps_its_verdict(tmp_path: Path) -> None:
    labels = np.arange(300) % 2

    def change(record: Record, store: RecordStore) -> Record:
        of = of_perfect if record.cell.init == "rival" else of_noise
        return predicted(record, store, labels, of(labels, record.cell.seed))

    (verdict,) = compute_verdicts(rewritten(tmp_path, change))
    assert verdict.verdict == BETTER and verdict.has("perfect") and not verdict.barred


def counted(**known: int) -> SplitOverlap:
    """What a run counts of splits that share nothing else."""
    clean = SplitOverlap(test=300, in_train=0, in_val=0, either=0, conflicts=0, val=80, val_in_train=0)
    return msgspec.structs.replace(clean, **known)


def undoubted(record: Record, copies: SplitOverlap) -> Record:
    """Take away the doubts that invented records have by themselves."""
    choices = tuple(msgspec.structs.replace(choice, at_edge=False) for choice in record.choices)
    return msgspec.structs.replace(record, choices=choices, curve=(), copies=copies)


def doubts_of(results: ReportInput) -> SectionPart:
    (part,) = problems_section(results).parts
    return part


def test_leaks_and_flags_are_the_first_doubts(tmp_path: Path) -> None:
    copies = counted(in_train=140, either=140, known=300, shared_groups=9, of_shared=31)
    results = rewritten(tmp_path, lambda record, store: undoubted(record, copies))
    leak, flagged, *_ = doubts_of(results).points
    assert not doubts_of(results).lead
    assert leak.startswith("retinamnist: 140 of 300 test images stand in train or val")
    assert flagged.startswith("1 of 1 comparison has a flag: test-in-train 1, groups-in-train 1")


def test_what_has_no_leak_and_no_flag_is_said_to_have_none(tmp_path: Path) -> None:
    results = rewritten(tmp_path, lambda record, store: undoubted(record, counted(known=300)))
    assert doubts_of(results).lead == ("Nothing failed, nothing is missing, and no flag was raised.",)


def of_skill(labels: Scores, seed: int, skill: float = 1.2) -> Scores:
    """Scores of images whose difficulty all networks share."""
    hard = np.random.default_rng(1).normal(0, 1, len(labels))
    own = np.random.default_rng(seed).normal(0, 0.004, len(labels))
    return 1 / (1 + np.exp(-(hard + own + skill * labels)))


@pytest.mark.parametrize(("patients", "verdict"), [(6, UNDECIDED), (300, EQUIVALENT)])
def test_of_a_few_patients_two_inits_are_not_called_equivalent(
    tmp_path: Path, patients: int, verdict: str
) -> None:
    labels = np.arange(300) % 2
    groups = np.arange(300) % patients

    def change(record: Record, store: RecordStore) -> Record:
        seed = record.cell.seed + 10 * (record.cell.init == "rival")
        return predicted(record, store, labels, of_skill(labels, seed), groups)

    (found,) = compute_verdicts(rewritten(tmp_path, change))
    assert found.p_equivalent[1] < 0.05 and found.verdict == verdict
    assert found.has("few-groups") == (verdict == UNDECIDED)


def test_nor_where_the_images_of_a_class_are_of_a_few_patients(tmp_path: Path) -> None:
    labels = np.arange(300) % 2
    groups = np.where(labels == 1, np.arange(300) % 8 // 2, np.arange(300))  # four patients, and 150

    def change(record: Record, store: RecordStore) -> Record:
        seed = record.cell.seed + 10 * (record.cell.init == "rival")
        return predicted(record, store, labels, of_skill(labels, seed), groups)

    (found,) = compute_verdicts(rewritten(tmp_path, change))
    assert found.verdict == UNDECIDED and not found.barred
    (reason,) = [flag.reason for flag in found.flags if flag.name == "few-groups"]
    assert reason == "the test images of one side of a class are of only 4 groups"


def test_a_training_that_is_far_off_is_named_with_its_seed(tmp_path: Path) -> None:
    labels = np.arange(300) % 2

    def change(record: Record, store: RecordStore) -> Record:
        failed = record.cell.init == "rival" and record.cell.seed == 1
        return predicted(record, store, labels, of_skill(labels, record.cell.seed, 0.2 if failed else 1.2))

    (verdict,) = compute_verdicts(rewritten(tmp_path, change))
    (reason,) = [flag.reason for flag in verdict.flags if flag.name == "uneven-seeds"]
    assert reason.startswith("one training is far off: seed 1 of rival is 0.2")
    assert not verdict.barred


def test_near_the_ceiling_equivalence_needs_the_stricter_level(tmp_path: Path) -> None:
    labels = np.arange(300) % 2

    def change(record: Record, store: RecordStore) -> Record:
        seed = record.cell.seed + 10 * (record.cell.init == "rival")
        return predicted(record, store, labels, of_skill(labels, seed, 3.6))

    results = rewritten(tmp_path, change)
    (found,) = compute_verdicts(results)
    assert found.has("near-ceiling") and found.p_equivalent[1] < 0.001 and found.verdict == EQUIVALENT
    low, high = found.interval
    reach = (high - low) / 2
    (unsure,) = compute_verdicts(replace(results, margin=abs(found.difference) + 1.1 * reach))
    assert 0.001 < unsure.p_equivalent[1] < 0.05 and unsure.verdict == UNDECIDED


def test_an_auc_below_chance_is_flagged(tmp_path: Path) -> None:
    labels = np.arange(300) % 2

    def change(record: Record, store: RecordStore) -> Record:
        skill = -0.2 if record.cell.init == "rival" else -1.5
        return predicted(record, store, labels, of_skill(labels, record.cell.seed, skill))

    (verdict,) = compute_verdicts(rewritten(tmp_path, change))
    assert verdict.verdict == BETTER
    assert [flag.reason.split(",")[0] for flag in verdict.flags if flag.name == "below-chance"] == [
        "the AUC of rival",
        "the AUC of scratch",
    ]


def near_copies(images: int, equal: int = 0) -> LeakageAudit:
    """An audit that found near copies of so many test images in train, the first of them equal."""
    matches = tuple(
        NearestCopy(row=row, other=row, correlation=0.99, exact=row < equal, conflict=False)
        for row in range(images)
    )
    share = images / 300
    near = NearCopies(
        split="test", against="train", checked=300, matches=matches, interval=(share - 0.01, share)
    )
    return audit_of(near=(near,))


def audit_of(**found: object) -> LeakageAudit:
    """An audit of the invented task that found nothing else."""
    clean = LeakageAudit(
        task="retinamnist", size=28, data="sha256:retinamnist28", exact=(), near=(), shared=(), constant={},
        blank={}, hints=(), images={"train": 1000, "val": 80, "test": 300}, made="2026",
    )  # fmt: skip
    return msgspec.structs.replace(clean, **found)


@pytest.mark.parametrize(
    ("copies", "audit", "barred"),
    [
        (counted(), near_copies(200), True),
        (counted(), near_copies(140), False),
        (None, near_copies(200), True),
        (None, near_copies(140), False),
        (counted(in_train=160, either=160, dropped=True), near_copies(200, equal=160), False),
        (counted(in_train=160, either=160, dropped=True), near_copies(240, equal=160), True),
        (counted(in_train=160, either=160, dropped=True, dropped_train=160), near_copies(240, 160), False),
        (counted(shared_groups=9, of_shared=160), None, True),
        (counted(shared_groups=9, of_shared=140), None, False),
        (counted(in_train=200, either=200, dropped=True, shared_groups=9, of_shared=240), None, False),
        (counted(in_train=200, either=200, dropped=True, shared_groups=9, of_shared=260), None, True),
    ],
)  # fmt: skip
def test_most_of_a_test_set_near_train_or_of_its_patients_bars_a_verdict(
    tmp_path: Path, copies: SplitOverlap | None, audit: LeakageAudit | None, barred: bool
) -> None:
    if audit:
        write_leakage(tmp_path / LEAKAGE_FOLDER, audit)
    (verdict,) = compute_verdicts(
        rewritten(tmp_path, lambda record, store: msgspec.structs.replace(record, copies=copies))
    )
    assert verdict.has("mostly-in-train") == (verdict.barred is not None) == barred
    assert verdict.a.leaked == barred


def test_what_is_not_doubted_names_the_checks(tmp_path: Path) -> None:
    results = rewritten(tmp_path, lambda record, store: undoubted(record, counted(known=300)))
    sentence = data_quality_answer(results).sentence
    assert "without any of the 18 problems checked: test images, or" in sentence
    assert "known caveats of the task" in sentence


def of_six_patients(record: Record, store: RecordStore) -> Record:
    labels = np.arange(300) % 2
    return predicted(record, store, labels, of_skill(labels, record.cell.seed), np.arange(300) % 6)


def of_a_perfect_score(record: Record, store: RecordStore) -> Record:
    labels = np.arange(300) % 2
    return predicted(record, store, labels, of_perfect(labels, 0))


def of_a_score_below_chance(record: Record, store: RecordStore) -> Record:
    labels = np.arange(300) % 2
    return predicted(record, store, labels, of_skill(labels, record.cell.seed, -1.0))


def of_two_training_images(record: Record, store: RecordStore) -> Record:
    assert record.counts
    return msgspec.structs.replace(
        record, counts=msgspec.structs.replace(record.counts, train_per_class=(2, 600))
    )


def of_unnamed_patients(record: Record, store: RecordStore) -> Record:
    return msgspec.structs.replace(record, copies=counted())


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        (of_six_patients, "1 with test images of fewer than 10 groups in a class"),
        (of_a_perfect_score, "1 with a perfect score"),
        (of_a_score_below_chance, "1 with an AUC below chance"),
        (of_two_training_images, "1 with fewer than 5 training images of a class"),
        (of_unnamed_patients, "1 with test images of unknown patients"),
    ],
)
def test_doubts_of_one_row_touch_its_average(tmp_path: Path, change: Callable, doubt: str) -> None:
    alone = replace(GRID, inits=("rival",))
    results = rewritten(
        tmp_path, lambda record, store: change(undoubted(record, counted(known=300)), store), alone
    )
    assert f"Of 1 average, each over 3 seeds, {doubt}." in data_quality_answer(results).sentence


def test_caveats_of_a_task_touch_its_averages(tmp_path: Path) -> None:
    grid = replace(GRID, tasks=("dermamnist",))
    results = rewritten(tmp_path, lambda record, store: undoubted(record, counted(known=300)), grid)
    assert ", 2 with known caveats of the task." in data_quality_answer(results).sentence


@pytest.mark.parametrize(
    "found",
    [
        {"grouped": {"test": 300}, "patients": {"test": 0}},
        {"hints": (ShortcutHint(target="label", features="mean", images=1300, auc=0.95, chance=0.55),)},
        {"near": near_copies(2).near},
    ],
)
def test_what_an_audit_doubts_touches_the_averages(tmp_path: Path, found: dict) -> None:
    write_leakage(tmp_path / LEAKAGE_FOLDER, audit_of(**found))
    results = rewritten(tmp_path, lambda record, store: undoubted(record, counted(known=300)))
    assert ", 2 with look-alikes, unclear patients or shortcuts" in data_quality_answer(results).sentence


@pytest.mark.parametrize(("passes", "flagged"), [(0.387, True), (1.0, False), (0.0, False)])
def test_a_training_that_did_not_see_all_labels_is_flagged_with_its_passes(
    passes: float, flagged: bool, tmp_path: Path
) -> None:
    def train_shortly(record: Record, store: RecordStore) -> Record:
        return msgspec.structs.replace(record, passes=passes if record.cell.init == "rival" else 4.0)

    results = rewritten(tmp_path, train_shortly)
    (verdict,) = compute_verdicts(results)
    reasons = [flag.reason for flag in verdict.flags if flag.name == "labels-unused"]
    said = "rival was trained for 0.39 passes: it did not see all labels"
    assert reasons == ([said] if flagged else [])
    assert ("0.39 passes" in str(leaderboard_section(results))) == flagged


@pytest.mark.parametrize("patients", [2, 3])
def test_a_class_of_two_patients_beside_twenty_has_no_verdict(tmp_path: Path, patients: int) -> None:
    labels = np.arange(300) % 2
    groups = np.where(labels == 1, np.arange(300) // 2 % patients, 100 + np.arange(300) % 40)

    def change(record: Record, store: RecordStore) -> Record:
        seed = record.cell.seed + 10 * (record.cell.init == "rival")
        return predicted(record, store, labels, of_skill(labels, seed), groups)

    results = rewritten(tmp_path, change)
    by_patients = patient_results(results)
    assert by_patients
    (by_image,), (by_patient,) = compute_verdicts(results), compute_verdicts(by_patients.results)
    assert bool(by_image.barred) == (patients == 2)
    for found in (by_image, by_patient) if patients == 2 else ():
        assert found.barred and "of 2 groups: their error is unknown" in found.barred.reason
