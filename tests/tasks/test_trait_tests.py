"""Exact tests of file properties by class: scipy's p-values, few files, and silence without association."""

import numpy as np
import pytest
from scipy.stats import fisher_exact

from mednet_bench.tasks.trait_tests import ClassAssociation, class_associations, fisher_p, tarone_limit


def found(traits: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, ClassAssociation]:
    tested = class_associations(traits, labels[:, None] == np.unique(labels))
    return {each.trait: each for each in tested if each.found}


def test_p_values_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        table = rng.integers(0, 9, (2, 2)) + np.eye(2, dtype=int)
        marked, of_class = int(table[0].sum()), int(table[:, 0].sum())
        ours = fisher_p(int(table[0, 0]), marked, of_class, int(table.sum()))
        assert ours == pytest.approx(fisher_exact(table)[1])


def test_tests_that_cannot_pass_do_not_lower_the_limit() -> None:
    assert tarone_limit(np.array([1e-6, 0.5, 0.5, 0.5]), 0.05) == 0.05
    assert tarone_limit(np.array([1e-6] * 5), 0.05) == pytest.approx(0.01)


@pytest.mark.parametrize("each", [5, 8, 30])
def test_a_property_that_parts_few_files_as_the_label_does_is_found(each: int) -> None:
    labels = np.repeat([0, 1], each)
    rng = np.random.default_rng(0)
    traits = {
        "stored": np.array(["signed", "unsigned"])[labels],
        "maker": np.array(["", "A"])[labels],  # parts the files in the same way: the same test
        "window": np.array([f"header: {number}, 400" for number in range(2 * each)]),
        "width": labels * 100.0 + rng.random(2 * each),  # no two files are of one width
        "height": np.full(2 * each, np.nan),
    }
    assert set(found(traits, labels)) == {"stored", "maker", "width"}
    three = np.append(labels, np.full(each, 2))
    longer = {name: np.append(values, values[:each]) for name, values in traits.items()}
    assert {"stored", "maker"} <= set(found(longer, three)) or each == 5


def test_an_association_too_weak_for_a_network_is_no_hint() -> None:
    labels = np.repeat([0, 1], 2000)
    maker = np.where(np.arange(4000) % 100 < 50 + 8 * labels, "A", "B")
    (tested,) = class_associations({"maker": maker}, labels[:, None] == [0, 1])
    assert tested.p < tested.limit and not tested.found and tested.difference == pytest.approx(0.08)


def test_false_alarms_are_at_most_five_in_a_hundred_sets() -> None:
    """150 sets of 10 to 60 files whose nine properties depend on each other, but not on the label."""
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(150):
        n = int(rng.integers(10, 60))
        site = rng.integers(0, 3, n)
        traits = {f"text {k}": np.array([*"abc"])[(site + (rng.random(n) < k / 8)) % 3] for k in range(5)}
        traits |= {f"number {k}": np.round(rng.normal(site, 1 + k), 1) for k in range(4)}
        wrong += bool(found(traits, rng.permutation(np.arange(n) % int(rng.integers(2, 4)))))
    assert wrong <= 14  # more has a probability of 1 % where 1 in 20 holds
