"""Cross-validation of a folder of images: its cells, its records and what is refused."""

import csv
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cards import CARD
from PIL import Image

from mednet_bench.benchmark.audits.contamination.audit import ContaminationRequest, _tested_images
from mednet_bench.benchmark.run import auto_folds, estimate
from mednet_bench.benchmark.run.cell_cost import INDEX_BYTES, CellCost, CostCounter, count_disk
from mednet_bench.benchmark.run.cell_runner import CellRunner
from mednet_bench.benchmark.run.machine_probe import MachineProbe
from mednet_bench.benchmark.run.resolve import resolve_request
from mednet_bench.benchmark.schema.plan import Fold
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.benchmark.schema.request import AUTO_FOLDS, RunConfig
from mednet_bench.benchmark.training import features
from mednet_bench.benchmark.training.protocol import CostEstimate
from mednet_bench.cli.show.plan import plan_facts, plan_text
from mednet_bench.core.errors import UserError
from mednet_bench.experiment import compute_run, plan_run
from mednet_bench.tasks.task import DataLocations

CARD_WITH_TABLE = f"""{CARD}[files]
table = "labels.csv"
patient_column = "patient"
"""


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 images of 20 patients, of which half are ill and brighter; the card makes the splits."""
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    folder, rng = tmp_path / "ward", np.random.default_rng(0)
    folder.mkdir()
    rows = [["path", "label", "patient", "part"]]
    for number in range(40):
        ill = number // 2 % 2
        values = rng.integers(0, 120, (16, 16)) + 60 * ill
        Image.fromarray(values.astype(np.uint8)).save(folder / f"{number}.png")
        part = "test" if number >= 30 else "train"
        rows.append([f"{number}.png", ("healthy", "ill")[ill], f"P{number // 2}", part])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "ward.toml").write_text(CARD_WITH_TABLE)
    return folder / "ward.toml"


def config_of(card: Path, **options: object) -> RunConfig:
    common = {
        "tasks": "ward", "task_file": str(card), "inits": "scratch", "protocols": "linear", "size": 28,
        "archs": "test_efficientnet", "input_size": 32, "fractions": "0.5,1", "seeds": "0..2", "folds": 4,
        "repeats": 2, "device": "cpu", "report": False, "download": False,
        "out": str(card.parents[1] / "run"),
    }  # fmt: skip
    return RunConfig(**{**common, **options})  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_records_of_a_repeat_test_every_image_once(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    compute = features._compute_features
    monkeypatch.setattr(
        features, "_compute_features", lambda job: computed.append(job.cell.seed) or compute(job)
    )
    config = config_of(card)
    records = compute_run(config)
    assert computed == [0, 1], "features of random weights are computed once per seed, not once per fold"
    assert [record.status for record in records] == ["ok"] * 4 * 2 * 2  # folds, repeats, fractions
    assert {record.cell.protocol_label for record in records} == {"linear (folds=4)"}
    group_of: dict[int, int] = {}
    for start in range(0, 16, 4):
        repeat = records[start : start + 4]
        assert len({(record.cell.fraction, record.cell.seed) for record in repeat}) == 1
        assert [record.cell.view for record in repeat] == [Fold(index=index, folds=4) for index in range(4)]
        found = [RecordStore(config.folder).read_predictions(record.key) for record in repeat]
        rows = np.concatenate([arrays["rows"] for arrays in found])
        assert rows.dtype == np.int64 and np.array_equal(np.sort(rows), np.arange(40))
        for record, arrays in zip(repeat, found, strict=True):
            assert record.counts and record.counts.test == len(arrays["labels"]) == len(arrays["scores"])
            assert record.metrics["auc"] is not None and record.copies and not record.copies.sentence
            for row, group in zip(arrays["rows"].tolist(), arrays["groups"].tolist(), strict=True):
                assert group_of.setdefault(row, group) == group, "an image has one group everywhere"
    assert sorted(np.unique(list(group_of.values()), return_counts=True)[1]) == [2] * 20
    assert not plan_run(config).waiting


@pytest.mark.slow
def test_a_cell_never_sees_its_test_images(card: Path) -> None:
    """The manifest names the rows that a cell may use; protocols get no label of a test image."""
    config = config_of(card, protocols="finetune", fractions="1", repeats=1)
    resolved = resolve_request(config)
    runner = CellRunner(resolved, "cpu")
    pools = set()
    for planned in resolved.plan.cells[:4]:
        job = runner._eval_context(planned.cell)
        (path,) = (config.folder / "subsets").glob(f"*seed0-fold{planned.cell.view.index + 1}of4*")  # type: ignore[union-attr]
        manifest = json.loads(path.read_text())
        seen, test = {*manifest["train"], *manifest["val"]}, set(job.data.rows.test.tolist())  # type: ignore[attr-defined]
        assert not seen & test and len(seen | test) == 40
        for split in ("train", "val"):
            labels = job.data.splits[split].labels
            assert set(np.flatnonzero(labels < 0).tolist()) == test and (job.labels(split) >= 0).all()
        assert len(job.data.images("test")) == len(job.labels("test")) == len(test)
        assert job.data.validation_rows.tolist() == sorted(manifest["val"])
        pools.add(job.data.images("train").data_ptr())
    assert len(pools) == 1, "all folds share the images on the device"


def test_images_and_features_of_the_pool_lie_as_its_labels(card: Path) -> None:
    resolved = resolve_request(config_of(card))
    job = CellRunner(resolved, "cpu")._eval_context(resolved.plan.cells[5].cell)
    pool, rows = job.data.images("train"), job.data.rows.test  # type: ignore[attr-defined]
    bright = pool.float().mean(dim=(1, 2, 3)).numpy() > 90
    assert np.array_equal(bright[rows], job.labels("test") == 1)
    assert np.array_equal(bright[job.subset.train], job.labels("train") == 1)
    train, val, test = features.features_of(job).select(job)
    whole = features._compute_features(job).pool
    assert np.array_equal(test, whole[rows]) and np.array_equal(train, whole[job.subset.train])
    assert len(val) == len(job.labels("val"))


def test_a_training_of_a_fold_gives_one_score_per_test_image(card: Path) -> None:
    options = {"protocols": "finetune", "fractions": "1", "repeats": 1, "folds": 2, "resample": True}
    config = config_of(card, **options, steps=2, lr_grid="1e-3")
    records = compute_run(config)
    assert [record.status for record in records] == ["ok", "ok"], records[0].error
    assert records[0].cell.protocol_label.endswith("resampled folds=2)")
    for record in records:
        arrays = RecordStore(config.folder).read_predictions(record.key)
        assert arrays["scores"].shape == (len(arrays["rows"]), 2) and record.similarity


def test_keys_of_folds_follow_the_card_and_other_keys_stay(card: Path) -> None:
    usual = resolve_request(config_of(card, folds=0, repeats=0)).plan.cells
    folds = resolve_request(config_of(card)).plan.cells
    assert len({planned.key for planned in (*usual, *folds)}) == len(usual) + len(folds) == 6 + 16
    assert b"view" not in msgspec.json.encode(usual)
    assert {p.cell.seed for p in folds} == {0, 1} and {p.cell.seed for p in usual} == {0, 1, 2}
    all_seeds = resolve_request(config_of(card, repeats=0)).plan.cells
    assert {planned.key for planned in folds} < {planned.key for planned in all_seeds}
    deduped = resolve_request(config_of(card, dedupe="test")).plan.cells
    assert deduped == folds, "there are no copies to drop"


def test_plan_counts_the_images_of_folds(card: Path) -> None:
    planned = plan_run(config_of(card, protocols="finetune", tasks="ward,phantom-organ"))
    assert planned.warnings() == ["--folds is ignored for phantom-organ: the test split of the data stays."]
    (power,) = [each for each in planned.power_facts() if each["task"] == "ward"]
    assert (power["n_test"], power["n_seeds"], power["folds"]) == (40, 2, 4)
    trained = [each["n_train"] for each in planned.training_facts() if each["task"] == "ward"]
    assert trained == [11, 22]  # of 40 images 10 are tested, and a quarter of 30 is val
    cell = next(p.cell for p in planned.cells if p.cell.task == "ward" and p.cell.fraction == 1)
    assert planned.resolved.split_sizes(cell.task, cell.size) == (22, 8, 10), "not those of the card's split"
    with_text = plan_text(plan_facts(planned))
    assert "finetune (folds=4)" in with_text and "every image is a test image once" in with_text


def test_an_estimate_counts_the_reading_of_own_images_once_and_the_subsets_of_every_fold(
    card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan_run(config_of(card))
    costs = [CellCost(cell, planned.resolved.tasks["ward"], CostEstimate()) for cell in planned.waiting]
    monkeypatch.setattr(estimate, "READ_RATE", 1.0)
    counter = CostCounter(planned.resolved, {})
    timer = estimate._CellTimer(counter, costs, MachineProbe("cpu"))
    assert sum(timer.seconds(cost).expected for cost in costs) == 40 * 28 * 28
    written = [round(30 * fraction * INDEX_BYTES) for fraction in (0.5, 1.0)]
    assert count_disk(counter, costs)["subsets"] == 2 * 4 * sum(written)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"folds": 1}, "--folds 1: pass a whole number of at least 2"),
        ({"folds": -2}, "--folds -2: pass a whole number of at least -1"),
        ({"folds": 0}, "--repeats 2 repeats a cross-validation: pass --folds as well"),
        ({"repeats": 4}, "--repeats 4: each repeat takes a seed of its own, and --seeds has 3"),
    ],
)
def test_options_that_do_not_fit_are_refused(card: Path, options: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        config_of(card, **options)


def test_a_given_test_split_stays(card: Path) -> None:
    card.write_text(CARD_WITH_TABLE + 'split_column = "part"\n')
    with pytest.raises(UserError, match="--folds 4: every task here has a test split of its own"):
        resolve_request(config_of(card, tasks="ward,phantom-organ"))


def test_too_few_patients_end_plan_and_run_before_a_cell(card: Path) -> None:
    config = config_of(card, folds=11)
    for start in (lambda: plan_run(config).warnings(), lambda: compute_run(config)):
        with pytest.raises(
            UserError, match="Task 'ward': --folds 11 needs images of 11 patients in every class"
        ):
            start()
    assert not list((config.folder).glob("records/*"))


def test_an_audit_of_the_run_searches_every_image(card: Path) -> None:
    """By whether the run has folds, the test images of an audit are all images or the test split."""
    places, found = DataLocations(), []
    for options in ({}, {"folds": 0, "repeats": 0}):
        resolved = resolve_request(config_of(card, **options))
        resolved.plan.write(resolved.request.folder)
        wanted = ContaminationRequest(resolved.request, resolved.request.folder, None)
        found.append(len(_tested_images(wanted, resolved.tasks["ward"], 28, places)))
    assert found == [40, len(resolved.tasks["ward"].source.load(28, places)["test"])]


def test_frames_of_a_file_are_one_group(card: Path) -> None:
    """A volume without a patient is one unit in folds as in splits that are made."""
    rng = np.random.default_rng(1)
    with (card.parent / "labels.csv").open("w") as file:
        file.write("path,label\n")
        for number in range(20):
            np.save(card.parent / f"{number}.npy", rng.integers(0, 255, (3, 16, 16)).astype(np.uint8))
            file.write(f"{number}.npy,{('healthy', 'ill')[number % 2]}\n")
    card.write_text(CARD_WITH_TABLE.replace('patient_column = "patient"\n', ""))
    resolved = resolve_request(config_of(card))
    pool = resolved.load_pool("ward", 28)
    assert pool.groups is not None and sorted(np.unique(pool.groups, return_counts=True)[1]) == [3] * 20


def test_small_tasks_without_a_given_test_split_have_folds_by_default(
    card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(card, folds=AUTO_FOLDS, repeats=0)
    planned = plan_run(config)
    assert RunConfig().folds == AUTO_FOLDS and len(planned.cells) == 5 * 3 * 2
    assert {planned.cell.protocol_label for planned in planned.cells} == {"linear (folds=5)"}
    (said,) = planned.warnings()
    assert "40 images without a given test split: 5 folds by patient; --folds 0" in said
    assert {each["folds"] for each in planned.power_facts()} == {5}
    off = plan_run(config_of(card, folds=0, repeats=0))
    assert len(off.cells) == 3 * 2 and not off.warnings()
    monkeypatch.setattr(auto_folds, "DEFAULT_FOLDS", 11)  # 10 patients of each class
    few = plan_run(config)
    assert len(few.cells) == 3 * 2 and "too few patients for 11 folds" in few.warnings()[0]
    monkeypatch.setattr(auto_folds, "FEW_IMAGES", 40)
    assert len(plan_run(config).cells) == 3 * 2 and not plan_run(config).warnings()
    card.write_text(card.read_text() + 'split_column = "part"\n')
    monkeypatch.undo()
    assert len(plan_run(config).cells) == 3 * 2 and not plan_run(config).warnings()
