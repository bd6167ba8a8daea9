"""Each finding of Transfusion is reproduced, contradicted or undecided, as in the synthetic records."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import synthetic
from synthetic import Grid, write_run

from mednet_bench.baselines.derived import derive_init
from mednet_bench.baselines.init import InitCard
from mednet_bench.benchmark.run.new_record import init_facts
from mednet_bench.benchmark.schema.plan import Cell
from mednet_bench.benchmark.schema.records import Record, RecordStore, StageSimilarity, ValidationPoint
from mednet_bench.reports.analysis import transfusion
from mednet_bench.reports.analysis.feature_reuse import finetune_places, learned_inits
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.report_input import ReportInput
from mednet_bench.reports.analysis.transfusion import (
    CONTRADICTED,
    FEW,
    GAP,
    LOWEST,
    NETWORK,
    REPRODUCED,
    SCALE,
    SPEED,
    UNCLEAR,
    UNTESTED,
    TransfusionFinding,
    transfusion_findings,
)
from mednet_bench.reports.analysis.verdicts import BETTER, EQUIVALENT, UNDECIDED, compute_verdicts
from mednet_bench.reports.elements.section import Table
from mednet_bench.reports.pages.build import build_report
from mednet_bench.reports.sections.transfusion import transfusion_section as section

MEANVAR = "meanvar:imagenet"
STEPS = {"imagenet": 40, MEANVAR: 45, "scratch": 160}
INITS = ("imagenet", MEANVAR, "scratch")
GRID = Grid(tasks=("breastmnist",), inits=INITS, fractions=(1.0,), seeds=(0, 1, 2, 3), predictions=False)
Steps = Callable[[Cell], int]


def as_named(cell: Cell) -> int:
    return STEPS[cell.init]


def flat(cell: Cell) -> tuple[float, ...]:
    return (0.5, 0.5, 0.5)


def planted(folder: Path, grid: Grid = GRID, steps: Steps = as_named, cka=flat) -> ReportInput:
    """Write a run whose trainings converge after `steps`, with the CKA per stage of `cka`."""
    write_run(folder, grid)
    store = RecordStore(folder)
    for record in list(store.read_all()):
        if record.cell.step == "score":
            store.write(_planted(record, steps, cka))
    return load_report_input([folder])


def curve_of(reached: int, every: int) -> tuple[ValidationPoint, ...]:
    """Return a curve of 200 steps that validates at 0.55 before step `reached` and at 0.9 from there on."""
    scores = {at: 0.9 if at >= reached else 0.55 for at in range(every, 201, every)}
    return tuple(
        ValidationPoint(step=s, seconds=s / 10, train_loss=1, val_loss=1, val_score=v)
        for s, v in scores.items()
    )


def _planted(record: Record, steps: Steps, cka: Callable[[Cell], tuple[float, ...]]) -> Record:
    cell = record.cell
    rng = np.random.default_rng([cell.seed, len(cell.init)])
    reached = steps(cell) + 5 * int(rng.integers(-1, 2))
    curve = curve_of(reached, 5)
    stages = tuple(
        StageSimilarity(stage=f"stage{at}", cka=value + float(rng.normal(0, 0.01)), images=78)
        for at, value in enumerate(cka(cell))
    )
    parameters = 25_000_000 if cell.arch == "resnet50" else 5_000_000
    return msgspec.structs.replace(
        record, curve=curve, val_metrics={"auc": 0.9}, similarity=stages, parameters=parameters
    )


def finding(results: ReportInput, claim: str) -> TransfusionFinding:
    found = transfusion_findings(results, finetune_places(results), "imagenet")
    return next(each for each in found if each.claim == claim)


SPEEDS = {REPRODUCED: (40, 40), CONTRADICTED: (180, 180), UNCLEAR: (40, 190)}
"""Steps of imagenet with even and with odd seeds; scratch needs 160."""


@pytest.mark.parametrize("outcome", SPEEDS)
def test_speed_is_judged_against_scratch(outcome: str, tmp_path: Path) -> None:
    steps = SPEEDS[outcome]
    results = planted(tmp_path, steps=lambda c: steps[c.seed % 2] if c.init == "imagenet" else STEPS[c.init])
    assert finding(results, SPEED).outcome == outcome


SCALES = {
    REPRODUCED: STEPS,
    CONTRADICTED: {**STEPS, MEANVAR: 150},
    UNCLEAR: {**STEPS, "imagenet": 170},  # no speed that could be kept
}


@pytest.mark.parametrize("outcome", SCALES)
def test_mean_and_variance_keep_at_least_half_of_the_speed_or_not(outcome: str, tmp_path: Path) -> None:
    found = finding(planted(tmp_path, steps=lambda cell: SCALES[outcome][cell.init]), SCALE)
    assert found.outcome == outcome
    assert outcome == UNCLEAR or "n = 4 seeds" in found.reason


CHANGES = {
    REPRODUCED: lambda cell: (0.95, 0.7, 0.9 if cell.init == "scratch" else 0.3),
    CONTRADICTED: lambda cell: (0.95, 0.7, 0.3),  # scratch stays as it was just there, too
    UNCLEAR: lambda cell: (0.6 + (cell.init == "imagenet") * 0.25 * (-1) ** cell.seed, 0.5, 0.5),
}


@pytest.mark.parametrize("outcome", CHANGES)
def test_reuse_is_lowest_where_cka_falls_with_depth_more_than_that_of_scratch(
    outcome: str, tmp_path: Path
) -> None:
    assert finding(planted(tmp_path, cka=CHANGES[outcome]), LOWEST).outcome == outcome


def test_only_trainings_of_all_weights_count_and_two_decays_are_told_apart(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("partial", "lora", "plain", "decay")]
    planted(folders[0], replace(GRID, protocols=("partial",), protocol_options={"stages": 1}))
    planted(folders[1], replace(GRID, protocols=("lora",), protocol_options={"rank": 8}))
    planted(folders[2])
    planted(folders[3], replace(GRID, protocol_options={"layer_decay": 0.75}))
    assert section(load_report_input(folders[:2])) is None
    results = load_report_input(folders)
    protocols = ["finetune", "finetune (layer_decay=0.75)"]
    assert sorted(place.block[4] for place in finetune_places(results)) == protocols
    content = section(results)
    assert content is not None
    table = content.parts[0].blocks[1]
    assert isinstance(table, Table) and "Protocol" in [column.title for column in table.columns]


def scored(gap: Callable[[Cell], float]) -> Callable[[Cell, np.random.Generator], float]:
    """Give imagenet an AUC that is `gap` above that of scratch."""
    return lambda cell, rng: (
        0.65 + (gap(cell) if cell.init == "imagenet" else 0) + float(rng.normal(0, 0.004))
    )


TWO = replace(GRID, inits=("imagenet", "scratch"), predictions=True)
SIGNS = {REPRODUCED: (0.28, 0.02), CONTRADICTED: (0.02, 0.28), UNCLEAR: (0.15, 0.15)}


@pytest.mark.parametrize("outcome", SIGNS)
def test_gaps_of_few_and_many_labels_differ_or_not(
    outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many = SIGNS[outcome]
    monkeypatch.setattr(synthetic, "_expected_auc", scored(lambda cell: few if cell.fraction < 1 else many))
    results = planted(tmp_path, replace(TWO, fractions=(0.1, 1.0)))
    assert finding(results, FEW).outcome == outcome
    assert finding(results, NETWORK).outcome == UNTESTED
    assert "--archs" in finding(results, NETWORK).reason


@pytest.mark.parametrize("outcome", SIGNS)
def test_gaps_of_large_and_small_networks_differ_or_not(
    outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, small = SIGNS[outcome]
    gap = scored(lambda cell: large if cell.arch == "resnet50" else small)
    monkeypatch.setattr(synthetic, "_expected_auc", gap)
    results = planted(tmp_path, replace(TWO, archs=("resnet50", "resnet18")))
    assert finding(results, NETWORK).outcome == outcome
    assert finding(results, FEW).outcome == UNTESTED and "--fractions" in finding(results, FEW).reason


MUCH = {REPRODUCED: EQUIVALENT, CONTRADICTED: BETTER, UNCLEAR: UNDECIDED}


@pytest.mark.parametrize("outcome", MUCH)
def test_the_gap_with_much_data_is_that_of_the_verdicts(
    outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = planted(tmp_path, replace(TWO, tasks=("octmnist",)))
    verdicts = tuple(replace(verdict, verdict=MUCH[outcome]) for verdict in compute_verdicts(results))
    monkeypatch.setattr(transfusion, "compute_verdicts", lambda results: verdicts)
    assert finding(results, GAP).outcome == outcome


def test_one_seed_claims_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "_expected_auc", scored(lambda cell: 0.3 if cell.fraction < 1 else 0.0))
    grid = replace(GRID, seeds=(0,), fractions=(0.1, 1.0), archs=("resnet50", "resnet18"), predictions=True)
    results = planted(tmp_path, grid, cka=CHANGES[REPRODUCED])
    found = transfusion_findings(results, finetune_places(results), "imagenet")
    assert {each.outcome for each in found} <= {UNCLEAR, UNTESTED}


def test_identical_seeds_are_no_certainty_where_validations_are_coarse(tmp_path: Path) -> None:
    def coarse(record: Record) -> Record:  # a validation every 50 steps: 50 against 100 may be 50 against 51
        reached = {"scratch": 100}.get(record.cell.init, 50)
        return msgspec.structs.replace(record, curve=curve_of(reached, 50), val_metrics={"auc": 0.9})

    write_run(tmp_path, replace(GRID, seeds=(0, 1)))
    store = RecordStore(tmp_path)
    for record in list(store.read_all()):
        store.write(coarse(record) if record.cell.step == "score" else record)
    assert finding(load_report_input([tmp_path]), SPEED).outcome == UNCLEAR


def test_what_is_not_there_is_named_with_its_cure(tmp_path: Path) -> None:
    results = planted(tmp_path, replace(GRID, inits=("imagenet", "scratch")))
    assert finding(results, GAP).outcome == UNTESTED and "50,000" in finding(results, GAP).reason
    assert f"--inits imagenet,{MEANVAR},scratch" in finding(results, SCALE).reason


def test_contaminated_weights_and_generated_images_do_not_count_beside_real_ones(tmp_path: Path) -> None:
    inits = ("radimagenet", "imagenet", "scratch")  # of which the first is declared to overlap
    grid = replace(GRID, tasks=("breastmnist", "phantom-thorax"), inits=inits)
    found = finetune_places(planted(tmp_path, grid, steps=lambda cell: 50))
    assert {place.task for place in found} == {"breastmnist"}
    assert learned_inits(found) == ["imagenet"]


@pytest.mark.parametrize("name, kind, stages", [("meanvar:x", "meanvar", 0), ("partial:x:12", "partial", 12)])
def test_the_record_names_the_init_that_another_is_derived_from(name: str, kind: str, stages: int) -> None:
    source = InitCard(name="x", label="", identity="sha256:abc", file=Path("x"))
    facts = init_facts(derive_init(name, kind, source, stages), None)
    assert (facts.derived_from, facts.source_identity) == ("x", "sha256:abc") != ("x", facts.identity)
    assert init_facts(source, None).derived_from == ""


def test_the_page_shows_the_section_only_where_it_has_something_to_say(tmp_path: Path) -> None:
    results = planted(tmp_path / "with", cka=CHANGES[REPRODUCED])
    content = section(results)
    assert content is not None
    sentence = content.answers[0].sentence
    assert sentence.startswith("Of the findings of Transfusion (Raghu et al. 2019), with ")
    assert f"reproduces {SPEED}, {SCALE} and {LOWEST}; does not test" in sentence and "n = 1 task" in sentence
    text = build_report([tmp_path / "with"]).markdown.read_text()
    assert MEANVAR in text and "## Features or scale" in text and "0.95" in text
    write_run(tmp_path / "without")
    assert section(load_report_input([tmp_path / "without"])) is None
