"""Shortcuts: what betrays split or label is a hint, chance rarely is, and no value of a header goes out."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from planted import Splits, audited

from mednet_bench.benchmark.audits.leakage.outcome import LeakageAudit
from mednet_bench.tasks.task import Split


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
        assert hints["label", family].exceeds_chance and auc and auc > 0.8, family
    assert not hints["split", "file size"].exceeds_chance
    assert hints["label", "image size"].reason == "the same in all images"
    assert "ACME" not in str(msgspec.json.encode(found)), "what a header says stays where it is"
    found = audited({name: with_traits(part, False) for name, part in clean.items()})
    assert not [
        hint
        for hint in found.hints
        if hint.exceeds_chance and hint.features in ("file size", "header fields")
    ]


def test_a_trait_that_one_split_lacks_tells_the_split(clean: Splits) -> None:
    splits = {name: replace(part, traits={"KVP": np.full(len(part), 80.0)}) for name, part in clean.items()}
    splits["test"] = clean["test"]
    hints = {(hint.target, hint.features): hint for hint in audited(splits).hints}
    assert (
        hints["split", "header fields"].exceeds_chance and not hints["label", "header fields"].exceeds_chance
    )


def test_a_split_that_betrays_itself_by_its_border_is_a_hint(clean: Splits) -> None:
    images = clean["test"].images.copy()
    images[:, 0] = 255
    found = audited({**clean, "test": Split(images, clean["test"].labels)})
    border = next(h for h in found.hints if (h.target, h.features) == ("split", "border pixels"))
    assert border.exceeds_chance and border.auc is not None and border.auc > 0.8


def test_patients_of_several_images_count_once_and_not_knowing_them_is_said(clean: Splits) -> None:
    """Features that a patient's images share predict their label without any real shortcut."""
    rng = np.random.default_rng(2)

    def of_patients(part: Split, first: int, known: bool) -> Split:
        patients = np.arange(len(part)) // 6
        size = rng.normal(1e5, 1e4, patients.max() + 1)[patients]
        labels = rng.integers(0, 2, patients.max() + 1)[patients]
        groups = first + patients if known else None
        return Split(part.images, labels, groups, traits={"bytes": size + rng.normal(0, 100, len(part))})

    def audit(known: bool) -> LeakageAudit:
        return audited({n: of_patients(part, 1000 * at, known) for at, (n, part) in enumerate(clean.items())})

    def predicted_by_size(found: LeakageAudit) -> bool:
        return any(h.exceeds_chance for h in found.hints if (h.target, h.features) == ("label", "file size"))

    blind, knowing = audit(False), audit(True)
    assert predicted_by_size(blind) and "unless several images of each patient" in blind.shortcut_clauses[0]
    assert not predicted_by_size(knowing) and not any(
        "unless" in clause for clause in knowing.shortcut_clauses
    )


@pytest.mark.slow
def test_chance_is_rarely_called_a_hint() -> None:
    """Thirty sets of pure noise, three families, two targets: 180 chances to be wrong at 1 in 200."""
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(30):
        splits = {
            name: Split(rng.integers(0, 256, (count, 8, 8), dtype=np.uint8), rng.integers(0, 2, count))
            for name, count in (("train", 60), ("test", 40))
        }
        wrong += sum(hint.exceeds_chance for hint in audited(splits).hints)
    assert wrong <= 5  # more has a probability of 0.2 % where 1 in 200 holds


def test_of_few_files_a_property_that_parts_them_by_label_is_found(clean: Splits) -> None:
    """Below ten images of a class nothing is predicted; Fisher's exact test finds what parts 6 from 6."""

    def few(part: Split, rows: slice) -> Split:
        labels = np.arange(len(part))[rows] % 2
        traits = {
            "stored": np.array(["12-bit", "signed"])[labels],
            "Manufacturer": np.array(["ACME"] * len(labels)),
        }
        return Split(part.images[rows], labels, traits=traits)

    rows = {"train": slice(6), "val": slice(2), "test": slice(4)}
    found = audited({name: few(part, rows[name]) for name, part in clean.items()})
    assert all(hint.auc is None for hint in found.hints)
    (tested,) = found.associations
    assert (tested.trait, tested.found) == ("stored", True) and tested.p == pytest.approx(2 / 924)
    assert found.shortcut_clauses == (
        "the label can be predicted from stored (exact test, p = 0.002), unless several images of each "
        "patient make it look so",
    )
    assert "ACME" not in str(msgspec.json.encode(found))
