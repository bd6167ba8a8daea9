"""What every run counts and drops, and what command and report say of it and of an audit."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from planted import Splits, audited, changed
from synthetic import Grid, write_run

from mednet_bench.benchmark.audits.leakage.match_types import NearCopies, NearestCopy
from mednet_bench.benchmark.audits.leakage.outcome import LEAKAGE_FOLDER, read_leakage, write_leakage
from mednet_bench.benchmark.overlap.copies import copies_in, data_identity, dropped_copies, without_copies
from mednet_bench.benchmark.schema.records import Record, RecordStore, SplitOverlap
from mednet_bench.cli.commands.compute import RUN
from mednet_bench.cli.main import cli
from mednet_bench.cli.options import config_of
from mednet_bench.core.errors import UserError
from mednet_bench.reports.analysis.aggregate import overall_differences
from mednet_bench.reports.analysis.flags import LEAKS, leaks
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.verdicts import UNDECIDED, compute_verdicts
from mednet_bench.reports.answers.data_quality import data_quality_answer
from mednet_bench.reports.pages.board import BoardRequest, leaderboard_board
from mednet_bench.reports.pages.build import build_report
from mednet_bench.reports.pages.overview import build_page
from mednet_bench.reports.pages.terminal import leaderboard_text
from mednet_bench.reports.pages.verdict_board import verdict_board
from mednet_bench.tasks.task import Split, Task


def test_copies_are_counted_once_and_dropped(
    clean: Splits, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path))
    splits = changed(clean, "test", [3, 4], clean["train"].images[[20, 21]])
    splits = changed(splits, "val", [0], clean["train"].images[20])
    found = copies_in(task, splits, "test:1")
    copies = found.copies
    assert (copies.in_train, copies.in_val, copies.either, copies.val_in_train) == (2, 1, 2, 1)
    assert copies_in(task, {**clean}, "test:1") == found, "one content is hashed once"
    assert copies_in(task, {**clean}, "test:2").copies.either == 0
    kept = without_copies(task, splits, found, "test")
    assert len(kept["test"]) == len(splits["test"]) - 2
    assert np.array_equal(kept["test"].images[3], splits["test"].images[5])
    assert kept["train"] is splits["train"] and kept["val"] is splits["val"]
    kept = without_copies(task, splits, found, "train")
    assert kept["test"] is splits["test"]
    assert np.array_equal(kept["train"].images, np.delete(splits["train"].images, [20, 21], axis=0))
    assert np.array_equal(kept["train"].labels, np.delete(splits["train"].labels, [20, 21]))
    assert np.array_equal(kept["val"].images, splits["val"].images[1:])
    assert not copies_in(task, kept, "test:3").copies.either, "neither side knows the other any more"
    data = {data_identity("md5:1", dedupe) for dedupe in (None, "test", "train")}
    assert len(data) == 3 and "md5:1" in data and "md5:1, without copies in test" in data


def test_images_of_one_value_are_no_copies(
    clean: Splits, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path))
    even = np.full((64, 64), 90, np.uint8)
    even[:10] = even[-10:] = 0  # a letterbox
    splits = {name: changed(clean, name, [0, 1], even)[name] for name in clean}
    found = copies_in(task, splits, "test:1")
    assert not found.copies.sentence and without_copies(task, splits, found, "test")["test"] is splits["test"]


def drawn(labels: dict[int, object]) -> Split:
    """Images of one value but in a corner, by value: equal values in two splits are copies."""
    images = np.stack([np.full((8, 8), value, np.uint8) for value in labels])
    images[:, 0, 0] = 255
    return Split(images, np.array([*labels.values()], np.int64))


EMPTIED = {
    "half of a class is left": ("binary", {0: 0, 1: 1, 2: 1}, {3: 0, 1: 1, 4: 1}, "test", ""),
    "of test": ("binary", {0: 0, 1: 1, 2: 1, 5: 1}, {3: 0, 1: 1, 2: 1}, "test",
        r"--dedupe would leave no test image of 'ill', since .* in train or val: pass --dedupe train, "),
    "of train": ("binary", {0: 0, 1: 1}, {3: 0, 1: 1, 2: 1}, "train",
        r"--dedupe train would leave no train image of 'ill', since .* stand in test: pass --dedupe, "),
    "of both": ("binary", {3: 0, 1: 1}, {3: 0, 1: 1}, "test",
        r"no test image of 'well' and no test image of 'ill'.*: --dedupe train would empty a class too, so"),
    "a finding": ("multilabel", {0: (0, 0), 1: (1, 0), 2: (0, 1), 5: (1, 1)},
        {3: (0, 0), 4: (0, 1), 1: (1, 0)},
        "test", r"--dedupe would leave no test image of 'well', since"),
    "its absence": ("multilabel", {0: (0, 0), 1: (0, 1), 2: (1, 1)}, {3: (1, 1), 4: (1, 0), 1: (0, 1)},
        "test", r"--dedupe would leave no test image without 'well', since"),
}  # fmt: skip
"""By what is lost: kind of the task, train, test, where images are dropped, and what is said."""


@pytest.mark.parametrize("lost", EMPTIED)
def test_a_class_that_would_lose_every_image_is_an_error_that_names_it(
    lost: str, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path))
    kind, train, test, dedupe, words = EMPTIED[lost]
    own = replace(task, kind=kind, classes=("well", "ill"))
    splits = {
        "train": drawn(train),
        "val": drawn({7: next(iter(test.values())), 8: train[1]}),
        "test": drawn(test),
    }
    found = copies_in(own, splits, "test:1")
    if words:
        with pytest.raises(UserError, match=words):
            without_copies(own, splits, found, dedupe)
        return
    kept = without_copies(own, splits, found, dedupe)
    (said,) = dropped_copies(own, splits, kept, dedupe)
    assert said.endswith(
        ": --dedupe drops 1 of 3 test images, which also stand in train or val: 1 of the 2 of 'ill'"
    )


def test_every_run_counts_the_groups_that_test_shares(
    clean: Splits, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path))
    groups = {name: np.arange(len(part)) // 2 + 1000 * at for at, (name, part) in enumerate(clean.items())}
    groups["test"][:4] = groups["train"][0]
    groups["test"][4] = groups["val"][0]
    groups["test"][6:8] = -1
    splits = {name: replace(part, groups=groups[name]) for name, part in clean.items()}
    assert not copies_in(task, clean, "test:1").copies.sentence, "the note of a content holds no groups"
    copies = copies_in(task, splits, "test:1").copies
    assert (copies.known, copies.shared_groups, copies.of_shared) == (len(splits["test"]) - 2, 2, 5)
    assert copies.sentence.startswith("5 of 118 test images are of 2 groups that also stand in train or val")


CARD = """
name = "planted"
title = "Planted"
kind = "binary"
classes = ["no", "yes"]
modality = "x-ray"
variant = "gray"
source_group = "planted"
parents = []
license = "none"
citation = "none"
path = "planted.npz"
"""


@pytest.fixture
def card(clean: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set of the user's own, two of whose test images stand in train."""
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MEDNET_BENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    splits = changed(clean, "test", [3, 4], clean["train"].images[[20, 21]])
    arrays = {f"{name}_images": part.images for name, part in splits.items()}
    labels = {f"{name}_labels": part.labels[:, None] for name, part in splits.items()}
    np.savez(tmp_path / "planted.npz", **arrays, **labels)
    (tmp_path / "planted.toml").write_text(CARD)
    return tmp_path / "planted.toml"


def command(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments)], standalone_mode=False)


@pytest.mark.slow
def test_the_command_audits_a_card(card: Path, tmp_path: Path) -> None:
    result = command("audit", "leakage", card, "--json", "--strict", "--out", tmp_path / "found")
    assert not result.exception, result.exception
    assert result.return_value == 3
    (found,) = json.loads(result.stdout)
    written = json.loads(next((tmp_path / "found").glob("*.json")).read_text())
    assert found == written
    assert found["task"] == "planted" and found["pictures"] == []
    assert str(tmp_path) not in json.dumps(found)
    assert command("audit", "leakage", "phantom-nodule", "--size", 28, "--strict").return_value == 0
    assert "near copies" in command("audit", "leakage", card).stdout
    assert isinstance(command("audit", "leakage", "no-such-task").exception, UserError)


@pytest.mark.slow
def test_run_counts_copies_and_dedupe_drops_them(card: Path, tmp_path: Path) -> None:
    small = ["run", "--task-file", card, "--tasks", "planted", "--inits", "scratch", "--protocols", "knn"]
    small += ["--input-size", 32, "--seeds", 0, "--fractions", 1.0, "--device", "cpu"]
    small += ["--out", tmp_path / "run"]
    assert command(*small, "--no-report").return_value == 0
    result = command(*small, "--dedupe")
    assert result.return_value == 0, result.exception
    first, *_ = result.stderr.splitlines()
    assert first.startswith(
        "planted: --dedupe drops 2 of 120 test images, which also stand in train or val: "
    )
    assert (
        "2 of 120 test images stand in train or val, equal in every pixel, and were dropped" in result.stderr
    )
    kept = command(*small, "--dedupe", "train")
    assert kept.return_value == 0, kept.exception
    train, val, *_ = kept.stderr.splitlines()
    assert train.startswith("planted: --dedupe train drops 2 of 120 train images, which also stand in test: ")
    assert val == "planted: --dedupe train drops 0 of 120 val images, which also stand in test"
    assert "their copies, 2 in train and 0 in val, were dropped (--dedupe train)" in kept.stderr
    records = [r for r in RecordStore(tmp_path / "run").read_all() if r.cell.step == "score"]
    counts = [(r.copies.dropped, r.counts.train, r.counts.test) for r in records if r.copies and r.counts]
    assert sorted(counts) == [(False, 120, 120), (True, 118, 120), (True, 120, 118)]
    assert {r.copies.either for r in records if r.copies} == {2}
    assert len({r.key for r in records}) == len({r.hashes.data for r in records}) == 3
    page = (tmp_path / "run" / "report" / "report.md").read_text()
    assert "Equal images and groups across splits" in page


@pytest.mark.parametrize(
    ("content", "words", "dedupe"),
    [
        ("", "", None),
        ("", "--dedupe", "test"),
        ("", "--dedupe train", "train"),
        ("dedupe = true", "", "test"),
        ("dedupe = false", "", None),
        ('dedupe = "train"', "", "train"),
        ('dedupe = "train"', "--dedupe", "test"),
    ],
)
def test_dedupe_may_stand_alone_also_in_a_configuration(
    content: str, words: str, dedupe: str | None, tmp_path: Path
) -> None:
    (tmp_path / "run.toml").write_text(content)
    parameters = RUN.make_context("run", ["--config", str(tmp_path / "run.toml"), *words.split()]).params
    assert config_of(parameters).dedupe == dedupe


def with_copies(record: Record) -> Record:
    counted = SplitOverlap(test=300, in_train=5, in_val=1, either=6, conflicts=1, val=40, val_in_train=0,
                     known=300, shared_groups=7, of_shared=31)  # fmt: skip
    return msgspec.structs.replace(record, copies=counted)


def test_the_report_flags_copies_and_shows_an_audit(tmp_path: Path, clean: Splits) -> None:
    store = RecordStore(tmp_path)
    for record in write_run(tmp_path, Grid(tasks=("breastmnist",), fractions=(1.0,))):
        if record.cell.step == "score":
            store.path(record.key).write_bytes(msgspec.json.encode(with_copies(record)))
    splits = changed(clean, "test", [3], clean["train"].images[20])
    found = msgspec.structs.replace(
        audited(splits, 1), task="breastmnist", size=28, data="sha256:breastmnist28"
    )
    write_leakage(tmp_path / LEAKAGE_FOLDER, found)
    assert list(read_leakage(tmp_path)) == [("breastmnist", 28, "sha256:breastmnist28")]
    verdicts = compute_verdicts(load_report_input([tmp_path]))
    names = [{flag.name for flag in verdict.flags} for verdict in verdicts]
    assert all({"test-in-train", "groups-in-train"} <= each for each in names)
    text = build_report([tmp_path]).html.read_text()
    assert "6 of 300 test images" in text and "31 of 300 test images are of 7 groups" in text
    assert "near copies within train" in text and "data:image/png;base64," in text
    (tmp_path / LEAKAGE_FOLDER / "broken.json").write_text("{")
    with pytest.raises(UserError, match="Cannot read the audit"):
        load_report_input([tmp_path])


def counted(record: Record) -> Record:
    """Most test images of one task stand in train, some of another are of patients in train."""
    clean = SplitOverlap(test=300, in_train=0, in_val=0, either=0, conflicts=0, val=40, val_in_train=0)
    copies = {
        "retinamnist": msgspec.structs.replace(clean, in_train=170, either=170),
        "bloodmnist": msgspec.structs.replace(clean, known=280, shared_groups=9, of_shared=44),
    }
    return msgspec.structs.replace(record, copies=copies.get(record.cell.task, clean))


@pytest.mark.slow
def test_a_leak_is_the_first_doubt_everywhere_and_most_of_a_test_set_in_train_bars(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    tasks = ("breastmnist", "retinamnist", "bloodmnist")
    for record in write_run(tmp_path, Grid(tasks=tasks, inits=("imagenet", "scratch"), fractions=(0.1, 1.0))):
        if record.cell.step == "score":
            store.path(record.key).write_bytes(msgspec.json.encode(counted(record)))
    built = build_report([tmp_path])
    copies, patients = leaks(built.results)
    assert copies.startswith("retinamnist: 170 of 300 test images stand in train or val")
    assert patients.startswith("bloodmnist: 44 of 280 test images are of 9 groups")
    for verdict in compute_verdicts(built.results):
        names = [flag.name for flag in verdict.flags]
        if verdict.a.task == "retinamnist":
            assert names[:2] == ["test-in-train", "mostly-in-train"] and verdict.barred
            assert verdict.verdict == UNDECIDED
        else:
            assert ("groups-in-train" in names[:1]) == (verdict.a.task == "bloodmnist")
            assert not verdict.barred
    for each in overall_differences(built.results):
        assert each.tasks == ("breastmnist", "bloodmnist")
    sentence = data_quality_answer(built.results).sentence
    assert sentence.startswith(f"{copies}; {patients}. ") and "no doubt" not in sentence
    assert build_page(built.results).doubts[:2] == (f"{copies}.", f"{patients}.")
    flags = [row["flags"] for row in csv.DictReader((tmp_path / "report" / "verdicts.csv").open())]
    assert [each.partition(";")[0] for each in flags[2:4]] == ["test-in-train"] * 2
    shown = verdict_board([tmp_path], built.results.margin, "table")
    words = " ".join(shown.split())
    assert words.startswith(f"{copies}. {patients}. ")
    assert ": test-in-train 2, mostly-in-train 2, " in words
    assert leaderboard_text(built.results, 200).startswith(f"{copies}.")
    for format in ("markdown", "latex"):
        text = leaderboard_board([tmp_path], BoardRequest(), format)
        assert copies in text and patients in text
        assert text.startswith(copies) or r"\caption{finetune: " in text.split(copies)[0]
    rows = list(csv.DictReader(io.StringIO(leaderboard_board([tmp_path], BoardRequest(), "csv"))))
    lines = {f"{row['task']}: {row['leaks']}" for row in rows}
    assert lines == {copies, patients, "breastmnist: "}


def test_near_copies_that_an_audit_found_are_a_leak_of_just_the_data_audited(
    tmp_path: Path, clean: Splits
) -> None:
    write_run(tmp_path, Grid(tasks=("breastmnist",), inits=("imagenet", "scratch"), fractions=(1.0,)))
    matches = tuple(
        NearestCopy(row=row, other=row, correlation=0.99, exact=False, conflict=False) for row in range(90)
    )
    near = NearCopies(split="test", against="train", checked=300, matches=matches, interval=(0.25, 0.36))
    images = dict.fromkeys(clean, 300)
    found = msgspec.structs.replace(
        audited(clean, 1), task="breastmnist", size=28, images=images, near=(near,)
    )
    for data, known in (("sha256:other", ()), ("sha256:breastmnist28", ("near-copies-in-train",))):
        write_leakage(tmp_path / LEAKAGE_FOLDER, msgspec.structs.replace(found, data=data))
        (verdict,) = compute_verdicts(load_report_input([tmp_path]))
        assert tuple(flag.name for flag in verdict.flags if flag.name in LEAKS) == known
        assert data_quality_answer(load_report_input([tmp_path])).sentence.startswith(
            "breastmnist: 90 of 300"
        ) == bool(known)
        (leak,) = {
            row["leaks"]
            for row in csv.DictReader(io.StringIO(leaderboard_board([tmp_path], BoardRequest(), "csv")))
        }
        assert leak.startswith("90 of 300") == bool(known)
