"""Records state their inputs and results; a damaged one is computed again."""

import json
import math
import os
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from processes import FINISHED, CommandLine, planned_records, records_in, states
from synthetic import Grid, record_of
from synthetic import cells as cells_of

from mednet_bench.benchmark.audits.contamination.outcome import read_audits
from mednet_bench.benchmark.audits.leakage.outcome import read_leakage
from mednet_bench.benchmark.schema.plan import read_plan, record_version
from mednet_bench.benchmark.schema.records import RECORD_FORMAT, Record, RecordStore
from mednet_bench.benchmark.training.loop import BatchSource, OptimizerConfig, ValidationResult, fit
from mednet_bench.benchmark.training.metrics import Predictions, compute_metrics
from mednet_bench.benchmark.training.subsets import one_hot
from mednet_bench.core.errors import UserError
from mednet_bench.reports.pages.build import build_report
from mednet_bench.reports.pages.terminal import leaderboard_text


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def age(path: Path) -> None:
    """Change a record to another format, with other fields."""
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps({**content, "format": RECORD_FORMAT + 1, "status": {"code": 0}}))


def rename(path: Path) -> None:
    """Replace a record by that of another cell."""
    path.write_bytes(next(other for other in records_in(path.parent.parent) if other != path).read_bytes())


def raise_accuracy(path: Path) -> None:
    """Alter a score that no verdict uses, as with an editor: all other bytes stay."""
    record = json.loads(path.read_bytes())
    found = f'"accuracy":{record["metrics"]["accuracy"]!r}'.encode()
    assert path.read_bytes().count(found) == 1
    path.write_bytes(path.read_bytes().replace(found, b'"accuracy":0.987'))


def raise_auc(path: Path) -> None:
    """Alter the primary score, and write the record with another layout and order."""
    record = json.loads(path.read_bytes())
    record["metrics"]["auc"] = 0.987
    path.write_text(json.dumps(record, indent=1, sort_keys=True))


def predictions_beside(path: Path) -> Path:
    return RecordStore(path.parent.parent).predictions_of(path.stem)


def lose_predictions(path: Path) -> None:
    predictions_beside(path).unlink()


def cut_predictions(path: Path) -> None:
    truncate(predictions_beside(path))


def empty_predictions(path: Path) -> None:
    empty(predictions_beside(path))


def flip_predictions(path: Path) -> None:
    content = bytearray(predictions_beside(path).read_bytes())
    content[len(content) // 2] ^= 1
    predictions_beside(path).write_bytes(content)


def replace_predictions(path: Path) -> None:
    """Replace predictions by intact ones of other values."""
    kept = RecordStore(path.parent.parent).read_predictions(path.stem)
    np.savez(predictions_beside(path), **{**kept, "scores": kept["scores"][::-1]})


DAMAGES = (truncate, empty, age, rename, raise_accuracy, raise_auc)
BESIDE = (lose_predictions, cut_predictions, empty_predictions, flip_predictions, replace_predictions)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_record_that_cannot_be_trusted_is_not_read(damage, finished: Path, tmp_path: Path):
    out = shutil.copytree(finished, tmp_path / "run")
    path = records_in(out)[2]
    damage(path)
    store = RecordStore(out)
    assert store.read(path.stem) is None
    assert store.unreadable_files() == [path]
    assert len(list(store.read_all())) == 7


@pytest.mark.parametrize("damage", BESIDE, ids=lambda damage: damage.__name__)
def test_predictions_that_a_record_was_not_made_with_are_noticed(damage, finished: Path, tmp_path: Path):
    out = shutil.copytree(finished, tmp_path / "run")
    path, store = records_in(out)[2], RecordStore(out)
    record = store.read(path.stem)
    assert record is not None
    assert store.has_predictions(record)
    damage(path)
    assert store.read(path.stem) == record
    assert not store.has_predictions(record)


@pytest.mark.parametrize("damage", BESIDE[:4], ids=lambda damage: damage.__name__)
def test_a_record_of_0_1_is_read_and_its_predictions_must_be_whole(damage, finished: Path, tmp_path: Path):
    out = shutil.copytree(finished, tmp_path / "run")
    path, store = records_in(out)[2], RecordStore(out)
    content = json.loads(path.read_bytes())
    for later in ("run", "predictions", "content"):
        del content[later]
    path.write_text(json.dumps(content))
    record = store.read(path.stem)
    assert record is not None
    assert (record.run, record.predictions, record.content) == ("", "", "")
    assert store.has_predictions(record)
    damage(path)
    assert not store.has_predictions(record)


def test_altered_scores_are_in_no_mean_and_the_report_names_them_and_damaged_predictions_with_the_cure(
    finished: Path, tmp_path: Path
):
    out = shutil.copytree(finished, tmp_path / "run")
    accuracy, auc, flipped = records_in(out)[:3]
    raise_accuracy(accuracy)
    raise_auc(auc)
    flip_predictions(flipped)
    built = build_report([out])
    assert not {record.key for record in built.results.counted} & {accuracy.stem, auc.stem}
    # ends of an interval may be 0.987 by chance
    markdown = re.sub(r"## Clinical measures.*?\n## ", "## ", built.markdown.read_text(), flags=re.DOTALL)
    assert "0.987" not in leaderboard_text(built.results) + built.csv.read_text() + markdown
    assert {item.reason for item in built.results.missing} == {"its record is damaged"}
    text = " ".join(leaderboard_text(built.results).split())
    assert "3 records or their predictions are damaged: run the same command again" in text
    report = built.markdown.read_text()
    for name in (accuracy.name, auc.name, flipped.stem):
        assert name in report


@pytest.mark.slow
def test_damaged_records_and_predictions_are_computed_again_and_nothing_else_is(
    mednet_bench: CommandLine, finished: Path, tmp_path: Path
):
    out = shutil.copytree(finished, tmp_path / "run")
    before = {record.key: record for record in planned_records(out)}
    untouched = states(out)
    damages = (truncate, age, rename, raise_accuracy, lose_predictions, cut_predictions, flip_predictions)
    damaged = dict(zip(records_in(out), damages, strict=False))
    for path, damage in damaged.items():
        damage(path)

    ended = mednet_bench.succeed("run", *FINISHED, "--out", out)
    assert f"{len(damages)} of 8 cells on cpu" in ended.stderr
    after = {record.key: record for record in planned_records(out)}
    again = {path.stem for path in damaged}
    now = states(out)
    changed = {name.split(".")[0] for name in now if now[name][0] != untouched[name][0]}
    assert changed == again
    for key, record in after.items():
        assert record.metrics == before[key].metrics, "the same seed on the same machine: the same numbers"
        assert RecordStore(out).read_predictions(key).keys() == {"labels", "scores"}


def test_a_record_holds_all_that_a_reader_may_ask_of_it(finished: Path):
    records = {(r.cell.protocol, r.cell.init, r.cell.fraction): r for r in planned_records(finished)}
    assert len(records) == 8
    raw = json.loads(records_in(finished)[0].read_bytes())
    assert raw.keys() >= {
        *("key", "cell", "status", "format", "protocol_version", "error", "metrics", "undefined"),
        *("per_class", "val_metrics", "curve", "choices", "counts", "hashes", "task", "init"),
        *("provenance", "finished", "seconds", "peak_memory_mb", "recipe_hash"),
    }
    for (protocol, init, fraction), record in records.items():
        assert record.status == "ok"
        assert not record.error
        assert (record.format, record.protocol_version) == (RECORD_FORMAT, record_version(2))
        assert record.cell.task == "phantom-organ"
        assert record.cell.arch == "tf_efficientnet_lite0"
        assert (record.cell.size, record.cell.input_size, record.cell.seed) == (28, 32, 3)
        assert record.metrics.keys() >= {
            *("auc", "accuracy", "balanced_accuracy", "macro_f1", "average_precision", "ece", "brier")
        }
        assert all(value is not None or name in record.undefined for name, value in record.metrics.items())
        assert record.per_class["auc"].keys() == set(record.task.classes if record.task else ())
        (choice,) = record.choices
        assert choice.name == {"linear": "l2", "knn": "k"}[protocol]
        assert choice.value in choice.grid
        assert not choice.at_edge or choice.value in (min(choice.grid), max(choice.grid))
        assert len(choice.scores) == len(choice.grid)
        assert record.counts is not None
        assert record.counts.train == sum(record.counts.train_per_class) == 480 * fraction
        assert record.counts.val == sum(record.counts.val_per_class) == 120 * fraction
        assert record.counts.test == 240
        assert record.hashes.data.startswith("sha256:")
        assert record.hashes.weights == {"scratch": "random:3"}.get(init, record.hashes.weights)
        assert record.init is not None
        assert record.init.adapted == ("1 channel repeated to 3",)
        assert record.provenance.versions.keys() >= {"python", "torch", "timm", "mednet-bench", "numpy"}
        assert record.provenance.device.startswith("cpu")
        assert record.provenance.threads == 1
        assert record.seconds > 0
        assert record.peak_memory_mb > 50


def test_every_init_and_protocol_saw_the_same_labels_and_the_manifest_tells_which(finished: Path):
    seen: dict[float, set[str]] = {}
    for record in planned_records(finished):
        seen.setdefault(record.cell.fraction, set()).add(record.hashes.subset)
    assert {fraction: len(hashes) for fraction, hashes in seen.items()} == {0.2: 1, 1.0: 1}
    manifests = [json.loads(path.read_bytes()) for path in (finished / "subsets").iterdir()]
    assert {manifest["hash"] for manifest in manifests} == set.union(*seen.values())
    small, large = sorted(manifests, key=lambda manifest: manifest["n_train"])
    assert set(small["train"]) < set(large["train"])


def test_imagenet_weights_are_named_by_their_hash_and_shared_by_all_cells(finished: Path):
    weights = {r.hashes.weights for r in planned_records(finished) if r.cell.init == "imagenet"}
    assert weights == {"sha256:579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"}


def test_metrics_can_be_computed_again_from_the_kept_predictions(finished: Path):
    store = RecordStore(finished)
    for record in planned_records(finished):
        kept = store.read_predictions(record.key)
        assert record.task is not None
        truth = one_hot(kept["labels"], len(record.task.classes))
        predictions = Predictions(record.task.kind, truth, kept["scores"].astype(float))
        again = compute_metrics(predictions, record.task.classes)
        assert again.values.keys() == record.metrics.keys()
        for name, value in again.values.items():
            assert value == pytest.approx(record.metrics[name], abs=1e-12), name
        assert again.per_class == record.per_class


def test_a_validation_that_overflowed_leaves_a_record_that_can_be_read(tmp_path: Path):
    # an infinite loss would be null in JSON, which is no number to the reader
    model = torch.nn.Linear(2, 2)
    images, targets = torch.zeros(4, 2), torch.zeros(4, dtype=torch.long)
    feed = BatchSource(lambda step: (images, targets), torch.nn.functional.cross_entropy, 2)
    losses = iter((0.7, math.inf))
    fitted = fit(model, feed, OptimizerConfig(1e-3, 0.0, 1, 5), lambda: ValidationResult(next(losses), None))
    record = msgspec.structs.replace(example_record(), curve=fitted.curve)
    kept = RecordStore(tmp_path).write(record)
    assert RecordStore(tmp_path).read(record.key) == kept
    assert kept.curve == fitted.curve


def test_an_undefined_metric_is_null_in_the_file_and_none_to_the_reader(tmp_path: Path):
    record = msgspec.structs.replace(
        example_record(), metrics={"auc": None}, undefined={"auc": "one class only"}
    )
    RecordStore(tmp_path).write(record)
    assert '"auc":null' in RecordStore(tmp_path).path(record.key).read_text()
    found = RecordStore(tmp_path).read(record.key)
    assert found is not None
    assert found.metrics == {"auc": None}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_devices_and_endless_files_among_records_are_named_and_neither_hang_nor_fill_the_memory(
    finished: Path, tmp_path: Path
):
    out = shutil.copytree(finished, tmp_path / "run")
    os.mkfifo(out / "records" / "pipe.json")
    (out / "records" / "device.json").symlink_to("/dev/zero")
    with (out / "records" / "long.json").open("wb") as file:
        file.truncate(1 << 40)  # of which nothing lies on the disk
    strange = {"pipe.json", "device.json", "long.json"}
    predictions = predictions_beside(records_in(finished)[0])
    (out / "predictions" / predictions.name).unlink()
    os.mkfifo(out / "predictions" / predictions.name)
    built = build_report([out])
    assert {path.name for path in built.results.unreadable} == strange
    assert built.results.damaged == {predictions.stem}
    assert len(built.results.counted) == 8
    assert all(name in built.markdown.read_text() for name in strange)

    (out / "plan.json").unlink()
    os.mkfifo(out / "plan.json")
    assert read_plan(out) is None
    for folder, reads in (("contamination", read_audits), ("leakage", read_leakage)):
        (out / folder).mkdir()
        os.mkfifo(out / folder / "pipe.json")
        with pytest.raises(UserError, match=r"pipe\.json.*no regular file.*remove it"):
            list(reads(out))


def example_record() -> Record:
    return record_of(cells_of(Grid())[0], Grid())


def test_predictions_hold_plain_numbers_that_need_no_pickle(finished: Path):
    for path in (finished / "predictions").iterdir():
        with np.load(path, allow_pickle=False) as arrays:
            assert arrays["scores"].dtype == np.float32
            assert arrays["scores"].shape == (240, 5)
            assert np.allclose(arrays["scores"].sum(axis=1), 1, atol=1e-5)
            assert arrays["labels"].dtype == np.int64
