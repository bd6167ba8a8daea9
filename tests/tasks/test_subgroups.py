"""Subgroup columns of an npz: text is read, identifiers are refused, and no value is repeated."""

import re
from pathlib import Path

import numpy as np
import pytest

from mednet_bench.core.errors import UserError
from mednet_bench.tasks.from_npz.splits import NpzRows
from mednet_bench.tasks.local_cards import local_task
from mednet_bench.tasks.subgroups import MOST_SUBGROUPS, check_subgroups
from mednet_bench.tasks.task import DataLocations, Split

NAMED = 'subgroups = ["sex"]\n'


@pytest.fixture
def with_sex(arrays):
    """The set, with a column of its test and train images that only a card makes a subgroup."""
    sex = {
        "test_sex": np.array(["f", "m "] * 3)[:, None],
        "train_sex": np.array(["f"] * 12),
        "test_name": np.array([f"Erika {number}" for number in range(6)]),
    }
    return arrays | sex


def refusal(card: Path) -> str:
    with pytest.raises(UserError) as caught:
        local_task(card).source.load(8, DataLocations())
    message = str(caught.value)
    assert str(card.parent) in message and message.endswith(".") and "Erika" not in message
    return message


def test_only_what_the_card_names_is_read(write_set, card_text, with_sex):
    task = local_task(write_set(NAMED + card_text, with_sex))
    splits = task.source.load(8, DataLocations())
    assert task.subgroups == ("sex",)
    assert splits["test"].columns["sex"].tolist() == ["f", "m"] * 3
    assert list(splits["test"].columns) == ["sex"] and splits["val"].columns == {}
    unnamed = local_task(write_set(card_text, with_sex))
    assert unnamed.source.load(8, DataLocations())["test"].columns == {}


def test_naming_a_column_makes_other_cells_and_its_absence_the_same_as_before(write_set, card_text, with_sex):
    plain = local_task(write_set(card_text, with_sex)).decisive
    assert "sex" not in plain and plain == local_task(write_set(card_text)).decisive
    assert local_task(write_set(NAMED + card_text, with_sex)).decisive != plain


def test_a_pretraining_reads_past_the_columns(write_set, card_text, with_sex):
    source = local_task(write_set(NAMED + card_text, with_sex)).source
    rows = source.rows("train", 8, DataLocations())  # type: ignore[attr-defined]
    assert isinstance(rows, NpzRows) and rows.read(0, 2).columns == {}


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (np.array([1, 2] * 3), "a subgroup column holds one text per image"),
        (np.array(["f", "m"]), r"is <U1 \[2\] for 6 images"),
        (np.array(["f", "m"] * 3, object), "holds Python objects"),
        (np.array(["f", "m"] * 2 + ["f", "Erika Mustermann, geboren am 12. August 1957"]), "more than 40"),
    ],
)
def test_what_is_no_subgroup_column_is_refused(write_set, card_text, with_sex, column, words):
    card = write_set(NAMED + card_text, with_sex | {"test_sex": column})
    assert re.search(words, refusal(card))


def test_a_column_that_the_test_set_lacks_is_named(write_set, card_text, arrays):
    message = refusal(write_set(NAMED + card_text, arrays))
    assert "no array test_sex" in message and "leave 'sex' out" in message


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ('["labels"]', "the name of another array"),
        ('["sex", "sex"]', "each column once"),
        ('["../sex"]', "is no name"),
        ('"sex"', "Expected `array`"),
    ],
)
def test_a_wrong_name_is_refused_with_the_card(write_set, card_text, with_sex, names, words):
    with pytest.raises(UserError, match="key 'subgroups'") as caught:
        local_task(write_set(f"subgroups = {names}\n" + card_text, with_sex))
    assert words in str(caught.value)


def test_an_identifier_is_no_subgroup():
    def split(values: list[str]) -> Split:
        column = {"patient": np.array(values)}
        return Split(np.zeros((len(values), 8, 8), np.uint8), np.zeros(len(values), np.int64), columns=column)

    few = [f"P{number}" for number in range(MOST_SUBGROUPS)]
    check_subgroups("set.npz", {"test": split([*few, ""])})  # not known is no value
    with pytest.raises(UserError, match="21 distinct values: an identifier is no subgroup") as caught:
        check_subgroups("set.npz", {"train": split(few[:10]), "test": split([*few[10:], "P77"])})
    assert "P77" not in str(caught.value)
    short = Split(np.zeros((3, 8, 8), np.uint8), np.zeros(3, np.int64), columns={"sex": np.array(["f"])})
    with pytest.raises(UserError, match="has 1 values for 3 images of the split test"):
        check_subgroups("set.npz", {"test": short})
