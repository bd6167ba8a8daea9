"""The leakage audit: what is planted is found, what is clean is called so, copies are counted and dropped."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from synthetic import Grid, write_run

from mednet_bench.benchmark.cli import cli
from mednet_bench.benchmark.errors import UserError
from mednet_bench.benchmark.leakage.audit import leakage_of
from mednet_bench.benchmark.leakage.copies import copies_in, identity, without_copies
from mednet_bench.benchmark.leakage.outcome import FOLDER, Leakage, read_leakage, write_leakage
from mednet_bench.benchmark.records import Copies, Record, Store
from mednet_bench.reports.build import build
from mednet_bench.reports.findings.reading import read
from mednet_bench.reports.findings.verdicts import judge
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.levels import sixteen_bits
from mednet_bench.tasks.task import Places, Split, Task

Splits = dict[str, Split]


@pytest.fixture(scope="module")
def task() -> Task:
    return catalog(Places())["phantom-nodule"]


@pytest.fixture(scope="module")
def clean(task: Task) -> Splits:
    """Generated images of three splits, none of which is a copy."""
    loaded = task.source.load(64, Places())
    return {name: Split(part.images[:120], part.labels[:120]) for name, part in loaded.items()}


def changed(splits: Splits, split: str, rows: list[int], images: NDArray[np.uint8]) -> Splits:
    pixels = splits[split].images.copy()
    pixels[rows] = images
    return {**splits, split: Split(pixels, splits[split].labels)}


def audited(splits: Splits, pairs: int = 0) -> Leakage:
    return leakage_of("planted", 64, "test:1", splits, pairs)


def test_clean_splits_are_called_clean(clean: Splits) -> None:
    found = audited(clean)
    assert (found.exact, found.shared, found.constant, found.blank, found.leaks) == ((), None, {}, {}, ())
    assert not any(hint.found for hint in found.hints if hint.target == "split")


def test_equal_images_are_found_as_groups_with_their_labels(clean: Splits) -> None:
    train = clean["train"]
    splits = changed(clean, "train", [7], train.images[5])  # within a split
    splits = changed(splits, "test", [3, 4], train.images[[20, 5]])
    labels = splits["test"].labels.copy()
    labels[3], labels[4] = 1 - train.labels[20], train.labels[5]
    splits["test"] = Split(splits["test"].images, labels)
    found = audited(splits)
    places = {group.places: group.conflict for group in found.exact}
    assert places[("train", 20), ("test", 3)]
    assert set(places) == {(("train", 5), ("train", 7), ("test", 4)), (("train", 20), ("test", 3))}
    assert found.spans == {"train and test": 2}
    near = next(near for near in found.near if (near.split, near.against) == ("test", "train"))
    exact = {(match.row, match.other, match.conflict) for match in near.matches if match.exact}
    assert (3, 20, True) in exact and {row for row, _, _ in exact} == {3, 4}
    assert found.leaks


def test_near_copies_are_found_and_looked_at_only_on_request(clean: Splits) -> None:
    noise = np.random.default_rng(0).integers(-3, 4, clean["train"].images[:60].shape)
    near = np.clip(clean["train"].images[:60] + noise, 0, 255).astype(np.uint8)
    splits = changed(clean, "test", list(range(60)), near)
    found = audited(splits)
    part = next(each for each in found.near if (each.split, each.against) == ("test", "train"))
    pairs = {(match.row, match.other) for match in part.matches}
    assert len(pairs & {(row, row) for row in range(60)}) >= 54
    assert part.beyond_look_alikes and not any(match.exact for match in part.matches)
    assert found.exact == () and found.pictures == ()
    assert len(audited(splits, 3).pictures) == 3


def test_shared_groups_are_counted_and_unknown_ones_are_not(clean: Splits) -> None:
    groups = {name: np.arange(len(part)) + 1000 * at for at, (name, part) in enumerate(clean.items())}
    groups["test"][:3] = groups["train"][0]
    groups["test"][3:9] = groups["val"][3:9] = -1
    splits = {name: Split(part.images, part.labels, groups[name]) for name, part in clean.items()}
    (shared,) = audited(splits).shared or ()
    assert (shared.split, shared.against, shared.groups, shared.images) == ("test", "train", 1, 3)
    assert shared.known == len(clean["test"]) - 6


def test_near_copies_within_a_split_are_counted_and_are_no_leak(clean: Splits) -> None:
    train = clean["train"]
    noise = np.random.default_rng(0).integers(-3, 4, train.images[:40].shape)
    near = np.clip(train.images[:40] + noise, 0, 255).astype(np.uint8)
    labels = train.labels.copy()
    labels[80:120] = labels[:40]
    labels[80:85] = 1 - labels[:5]
    splits = changed({**clean, "train": Split(train.images, labels)}, "train", list(range(80, 120)), near)
    found = audited(splits, 2)
    within = {near.split: near for near in found.near if near.within}
    assert list(within) == ["train", "val", "test"]
    rows = {match.row: match for match in within["train"].matches}
    assert sum(rows[row].other == row + 80 for row in range(40) if row in rows) >= 36
    assert sum(match.conflict for match in rows.values()) >= 8, "both images of a pair are counted"
    assert within["train"].means == "counted more than once" and found.leaks == ()
    assert len({frozenset((p.left, p.right)) for p in found.pictures}) == 2, "no pair is shown twice"


def test_equality_is_judged_in_full_depth_and_looks_in_8_bits(clean: Splits) -> None:
    deep = {name: Split(sixteen_bits(part.images), part.labels) for name, part in clean.items()}
    shallow = audited(clean)
    assert msgspec.structs.replace(audited(deep), made=shallow.made) == shallow
    images = deep["test"].images.copy()
    images[0] = deep["train"].images[4]
    images[1] = deep["train"].images[5] ^ 1  # what 8 bits cannot show
    images[2], images[3] = 700, 700
    images[3, 0, 0] = 701
    found = audited({**deep, "test": Split(images, clean["test"].labels)})
    assert [group.places for group in found.exact] == [(("train", 4), ("test", 0))]
    matches = {(match.row, match.other, match.exact) for near in found.near for match in near.matches}
    assert {(0, 4, True), (1, 5, False)} <= matches
    assert (found.constant, found.blank) == ({"test": (2,)}, {"test": (3,)})


def test_what_files_say_is_tried_as_shortcut(clean: Splits) -> None:
    rng = np.random.default_rng(0)

    def with_traits(part: Split, betray: bool) -> Split:
        label, count = part.labels, len(part)
        maker = np.where(rng.random(count) < 0.9, label, 1 - label) if betray else rng.integers(0, 2, count)
        dose = np.where(label == 1, np.nan, 80.0) if betray else rng.normal(80, 5, count)
        traits = {
            "bytes": rng.normal(1e5, 1e3, count) + 3e3 * label * betray,
            "height": np.full(count, 64.0),
            "stored": np.array(["8-bit", "12-bit"])[maker],
            "Manufacturer": np.array(["", "ACME"])[rng.integers(0, 2, count)],
            "KVP": dose,
        }
        return replace(part, traits=traits)

    found = audited({name: with_traits(part, True) for name, part in clean.items()})
    hints = {(hint.target, hint.features): hint for hint in found.hints}
    for family in ("file size", "bit depth and encoding", "header fields"):
        auc = hints["label", family].auc
        assert hints["label", family].found and auc and auc > 0.8, family
    assert not hints["split", "file size"].found
    assert hints["label", "image size"].reason == "the same in all images"
    assert "ACME" not in str(msgspec.json.encode(found)), "what a header says stays where it is"
    found = audited({name: with_traits(part, False) for name, part in clean.items()})
    assert not [
        hint for hint in found.hints if hint.found and hint.features in ("file size", "header fields")
    ]


def test_a_trait_that_one_split_lacks_tells_the_split(clean: Splits) -> None:
    splits = {name: replace(part, traits={"KVP": np.full(len(part), 80.0)}) for name, part in clean.items()}
    splits["test"] = clean["test"]
    hints = {(hint.target, hint.features): hint for hint in audited(splits).hints}
    assert hints["split", "header fields"].found and not hints["label", "header fields"].found


def test_images_that_show_nothing_are_listed(clean: Splits) -> None:
    images = np.full((2, 64, 64), 7, np.uint8)
    images[1, ::2] += 1
    found = audited(changed(clean, "val", [1, 2], images))
    assert (found.constant, found.blank) == ({"val": (1,)}, {"val": (2,)})
    even = Split(np.zeros((3, 64, 64), np.uint8), np.array([0, 1, 0]))
    found = audited({**clean, "val": even})
    assert [(near.checked, near.means) for near in found.near if near.split == "val"] == [(0, "clean")] * 2


def test_a_split_that_betrays_itself_by_its_border_is_a_hint(clean: Splits) -> None:
    images = clean["test"].images.copy()
    images[:, 0] = 255
    found = audited({**clean, "test": Split(images, clean["test"].labels)})
    border = next(h for h in found.hints if (h.target, h.features) == ("split", "border pixels"))
    assert border.found and border.auc is not None and border.auc > 0.8


def test_chance_is_rarely_called_a_hint() -> None:
    """Thirty sets of pure noise, three families, two targets: 180 chances to be wrong at 1 in 200."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(30):
        splits = {
            name: Split(rng.integers(0, 256, (count, 8, 8), dtype=np.uint8), rng.integers(0, 2, count))
            for name, count in (("train", 60), ("test", 40))
        }
        wrong += sum(hint.found for hint in audited(splits).hints)
    assert wrong <= 5  # more has a probability of 0.2 % where 1 in 200 holds


def test_one_class_and_tiny_sets_give_reasons(clean: Splits) -> None:
    few = {name: Split(part.images[:4], np.zeros(4, np.int64)) for name, part in clean.items()}
    found = audited(few)
    assert all(hint.auc is None and hint.reason for hint in found.hints)
    with pytest.raises(UserError, match="nothing can be audited"):
        audited({"test": Split(np.zeros((3, 4, 4), np.uint8), np.zeros(3, np.int64))})


def test_colour_and_several_labels_are_audited() -> None:
    rng = np.random.default_rng(0)
    splits = {
        name: Split(rng.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8), rng.integers(0, 2, (60, 3)))
        for name in ("train", "test")
    }
    splits["test"].images[0] = splits["train"].images[1]
    assert audited(splits).spans == {"train and test": 1}


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
    kept = without_copies("planted", splits, found)["test"]
    assert len(kept) == len(splits["test"]) - 2
    assert np.array_equal(kept.images[3], splits["test"].images[5])
    assert identity("md5:1", True) != identity("md5:1", False) == "md5:1"
    with pytest.raises(UserError, match="leave none"):
        without_copies("planted", {"test": Split(splits["test"].images[3:5], splits["test"].labels[3:5])},
                       msgspec.structs.replace(found, rows=(0, 1)))  # fmt: skip


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
licence = "none"
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


def test_run_counts_copies_and_dedupe_drops_them(card: Path, tmp_path: Path) -> None:
    small = ["run", "--task-file", card, "--tasks", "planted", "--inits", "scratch", "--protocols", "knn"]
    small += [
        "--input-size",
        32,
        "--seeds",
        0,
        "--fractions",
        1.0,
        "--device",
        "cpu",
        "--out",
        tmp_path / "run",
    ]
    assert command(*small, "--no-report").return_value == 0
    result = command(*small, "--dedupe")
    assert result.return_value == 0, result.exception
    assert "2 of 120 test images" in result.stderr and "dropped" in result.stderr
    records = [r for r in Store(tmp_path / "run").read_all() if r.cell.step == "score"]
    counts = {r.copies.dropped: (r.counts.test, r.copies.either) for r in records if r.copies and r.counts}
    assert counts == {False: (120, 2), True: (118, 2)}
    assert len({r.key for r in records}) == len({r.hashes.data for r in records}) == 2
    page = (tmp_path / "run" / "report" / "report.md").read_text()
    assert "Equal images and groups across splits" in page


def with_copies(record: Record) -> Record:
    counted = Copies(test=300, in_train=5, in_val=1, either=6, conflicts=1, val=40, val_in_train=0,
                     known=300, shared_groups=7, of_shared=31)  # fmt: skip
    return msgspec.structs.replace(record, copies=counted)


def test_the_report_flags_copies_and_shows_an_audit(tmp_path: Path, clean: Splits) -> None:
    store = Store(tmp_path)
    for record in write_run(tmp_path, Grid(tasks=("breastmnist",), fractions=(1.0,))):
        if record.cell.step == "score":
            store.path(record.key).write_bytes(msgspec.json.encode(with_copies(record)))
    splits = changed(clean, "test", [3], clean["train"].images[20])
    found = msgspec.structs.replace(
        audited(splits, 1), task="breastmnist", size=28, data="sha256:breastmnist28"
    )
    write_leakage(tmp_path / FOLDER, found)
    assert list(read_leakage(tmp_path)) == [("breastmnist", 28, "sha256:breastmnist28")]
    verdicts = judge(read([tmp_path]))
    names = [{flag.name for flag in verdict.flags} for verdict in verdicts]
    assert all({"test-in-train", "groups-in-train"} <= each for each in names)
    text = build([tmp_path]).html.read_text()
    assert "6 of 300 test images" in text and "31 of 300 test images are of 7 groups" in text
    assert "near copies within train" in text and "data:image/png;base64," in text
    (tmp_path / FOLDER / "broken.json").write_text("{")
    with pytest.raises(UserError, match="Cannot read the audit"):
        read([tmp_path])
