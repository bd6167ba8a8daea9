"""The leakage audit: what is planted is found, and what is clean is called so."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from planted import Splits, audited, changed

from mednet_bench.benchmark.overlap.groups import in_several
from mednet_bench.cli.show.leakage import leakage_text
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.images.bit_depth import to_uint16
from mednet_bench.tasks.task import Split


def test_clean_splits_are_called_clean(clean: Splits) -> None:
    found = audited(clean)
    assert (found.exact, found.shared, found.constant, found.blank, found.leaks) == ((), None, {}, {}, ())
    assert not any(hint.exceeds_chance for hint in found.hints if hint.target == "split")


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


def test_few_near_copies_are_no_leak_and_yet_not_called_clean(clean: Splits) -> None:
    rng = np.random.default_rng(1)
    noisy = clean["train"].images[:3] + rng.normal(0, 3, clean["train"].images[:3].shape)
    found = audited(changed(clean, "test", [0, 1, 2], noisy.clip(0, 255).astype(np.uint8)))
    doubt = found.doubts[0]
    assert "of 120 images of test have a near copy or a look-alike in train" in doubt
    assert not found.leaks and "no leak is shown\n" in leakage_text(found) and doubt in leakage_text(found)


def test_shared_groups_are_counted_and_unknown_ones_are_not(clean: Splits) -> None:
    groups = {name: np.arange(len(part)) + 1000 * at for at, (name, part) in enumerate(clean.items())}
    groups["test"][:3] = groups["train"][0]
    groups["test"][3:9] = groups["val"][3:9] = -1
    splits = {name: Split(part.images, part.labels, groups[name]) for name, part in clean.items()}
    (shared,) = audited(splits).shared or ()
    assert (shared.split, shared.against, shared.groups, shared.images) == ("test", "train", 1, 3)
    assert shared.known == len(clean["test"]) - 6


def test_groups_of_which_nothing_is_known_are_not_called_clean(clean: Splits) -> None:
    """Where only test knows its groups there is nothing to compare; where few are known, it is said."""
    groups = np.arange(len(clean["test"])) // 2
    test = {"test": replace(clean["test"], groups=groups)}
    alone = audited({**clean, **test})
    assert alone.shared is None and alone.grouped == {"train": 0, "val": 0, "test": len(groups)}
    few = np.where(np.arange(len(clean["train"])) < 3, 10_000 + np.arange(len(clean["train"])), -1)
    both = audited({**clean, **test, "train": replace(clean["train"], groups=few)})
    total = sum(map(len, clean.values()))
    assert both.shared == () and f"none, known of {len(groups) + 3} of {total} images" in leakage_text(both)
    assert "clean where known" in leakage_text(both)


def test_groups_of_one_image_and_studies_are_no_patients(clean: Splits) -> None:
    """Numbers of images or studies do not show which images are of one patient."""
    starts = np.cumsum([0, *map(len, clean.values())]).tolist()
    numbers = [np.arange(len(part)) + start for part, start in zip(clean.values(), starts, strict=False)]
    single = {n: replace(part, groups=at) for (n, part), at in zip(clean.items(), numbers, strict=True)}
    paired = {n: replace(part, groups=at // 2) for (n, part), at in zip(clean.items(), numbers, strict=True)}
    studies = {n: replace(part, patient_known=np.arange(len(part)) < 30) for n, part in paired.items()}
    total = starts[-1]
    for splits, known, means in (
        (single, 0, "nothing"),
        (paired, total, "clean"),
        (studies, 90, "where known"),
    ):
        found = audited(splits)
        (line,) = (line for line in leakage_text(found).splitlines() if line.startswith("shared groups"))
        assert found.shared == () and f"none, known of {known} of {total} images" in line
        assert line.endswith(means)
        assert ("one patient may have several" in leakage_text(found)) == (known < total)


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
    deep = {name: Split(to_uint16(part.images), part.labels) for name, part in clean.items()}
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


def test_images_that_show_nothing_are_listed(clean: Splits) -> None:
    images = np.full((2, 64, 64), 7, np.uint8)
    images[1, ::2] += 1
    found = audited(changed(clean, "val", [1, 2], images))
    assert (found.constant, found.blank) == ({"val": (1,)}, {"val": (2,)})
    even = Split(np.zeros((3, 64, 64), np.uint8), np.array([0, 1, 0]))
    found = audited({**clean, "val": even})
    assert [(near.checked, near.means) for near in found.near if near.split == "val"] == [
        (0, "not looked")
    ] * 2


def letterboxed(levels: object, bars: tuple[int, int], across: bool = False) -> np.ndarray:
    image = np.zeros((64, 64), np.uint8)
    image[bars[0] : 64 - bars[1]] = levels
    return image.T if across else image


SHOWS_NOTHING = {
    "white": letterboxed(255, (0, 0)),
    "bars above and below": letterboxed(90, (8, 9)),
    "bars beside": letterboxed(90, (12, 12), across=True),
}
SHOWS_SOMETHING = {
    "a band that is not centered": letterboxed(90, (8, 20)),
    "a line": letterboxed(np.where(np.arange(64) == 30, 91, 90), (8, 8)),
    "a disc": letterboxed(90 * (np.hypot(*np.ogrid[-32:32, -32:32]) < 20), (0, 0)),
}


@pytest.mark.parametrize("what", [*SHOWS_NOTHING, *SHOWS_SOMETHING])
def test_images_of_one_value_are_counted_as_such_and_are_no_copies(clean: Splits, what: str) -> None:
    """A window or an export that fails empties many images alike, of other patients and classes."""
    image = {**SHOWS_NOTHING, **SHOWS_SOMETHING}[what]
    splits = {name: changed(clean, name, [0, 1], image)[name] for name in clean}
    found = audited(splits)
    if what in SHOWS_SOMETHING:
        assert len(found.crossing) == 1 and found.leaks and not found.constant
        return
    assert found.constant == dict.fromkeys(clean, (0, 1))
    assert (found.exact, found.leaks) == ((), ()) and not any(
        match.row < 2 for near in found.near for match in near.matches
    )
    assert "LEAK" not in leakage_text(found) and "one single value" in leakage_text(found)


def test_one_class_and_tiny_sets_give_reasons(clean: Splits) -> None:
    few = {name: Split(part.images[:4], np.zeros(4, np.int64)) for name, part in clean.items()}
    found = audited(few)
    assert all(hint.auc is None and hint.reason for hint in found.hints)
    with pytest.raises(UserError, match="nothing can be audited"):
        audited({"test": Split(np.zeros((3, 4, 4), np.uint8), np.zeros(3, np.int64))})


def test_color_and_several_labels_are_audited() -> None:
    rng = np.random.default_rng(0)
    splits = {
        name: Split(rng.integers(0, 256, (60, 16, 16, 3), dtype=np.uint8), rng.integers(0, 2, (60, 3)))
        for name in ("train", "test")
    }
    splits["test"].images[0] = splits["train"].images[1]
    assert audited(splits).spans == {"train and test": 1}


def test_groups_that_leak_between_splits_are_counted() -> None:
    def split(groups: list[int] | None) -> Split:
        n = 3 if groups is None else len(groups)
        ids = None if groups is None else np.array(groups)
        return Split(np.zeros((n, 2, 2), np.uint8), np.zeros(n, np.int64), ids)

    assert in_several({"train": split([1, 1, 2, 3]), "val": split([4]), "test": split([3, 2, 9])}) == 2
    assert in_several({"train": split([1, 2]), "test": split(None)}) == 0
    assert in_several({"train": split([1, -5]), "test": split([-5])}) == 0, "below 0 is unknown"
