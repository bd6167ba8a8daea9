"""`validate` says what is wrong with a card or a table in one sentence that names the file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from cards import CARD
from pyarrow.parquet import write_table

from mednet_bench.benchmark.errors import UserError
from mednet_bench.benchmark.show.files import validated
from mednet_bench.tasks.files import table

WRONG: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no UTF-8": (lambda card: card.replace(b"A ward", b"\xe4"), "it is no text in UTF-8: save it as that"),
    "UTF-16": (lambda card: card.decode().encode("utf-16"), "it is no text in UTF-8"),
    "no card": (lambda _: b"path,label\n", "is not valid TOML"),
    "empty": (lambda _: b"", "lacks the keys 'name', 'title'"),
    "a group's name": (
        lambda card: card.replace(b'"ward"', b'"gray"'),
        "'gray' is the name of a group",
    ),
    "a taken name": (
        lambda card: card.replace(b'"ward"', b'"breastmnist"'),
        "by mednet-bench itself: rename",
    ),
    "frames": (
        lambda card: card + b'[reader]\nframes = "al"\n',
        "key 'reader.frames': it is one of all, middle, a whole number, not 'al'",
    ),
    "split by": (
        lambda card: card + b'[split]\nby = "patients"\n',
        "key 'split.by': it is one of patient, image, not 'patients'",
    ),
    "pattern": (
        lambda card: card + b'group_pattern = "("\n',
        "key 'files.group_pattern': it is no regular expression",
    ),
}
TABLES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no UTF-8": (lambda table: table.replace(b"healthy", b"\xe4", 1), "is no text in UTF-8: save it as"),
    "UTF-16": (lambda table: table.decode().encode("utf-16"), "is no text in UTF-8"),
    "empty": (lambda _: b"", "is no CSV: it is empty: add a header"),
    "first rows too long": (lambda table: table.replace(b"healthy", b"ill,x", 1), "its first rows have more"),
    "a row too long": (lambda table: table + b"a,b,c,d,e\n", "line 42 has 5 cells and the header 4"),
    "an open quotation": (lambda table: table + b'"open', "a quotation mark is opened and never closed"),
    "two columns": (lambda table: table.replace(b"sex", b"label"), "has two columns called 'label'"),
}  # fmt: skip


def refusal(card: Path) -> str:
    with pytest.raises(UserError) as caught:
        validated(card, 16, 1, card.parent.parent / "check")
    said = str(caught.value)
    assert "\n" not in said and "MUSTERMANN" not in said
    return said


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_card_names_it(ward: Path, case: str) -> None:
    edit, words = WRONG[case]
    card = ward / "ward.toml"
    card.write_bytes(edit(card.read_bytes()))
    said = refusal(card)
    assert words in said and "ward.toml" in said


@pytest.mark.parametrize("case", TABLES)
def test_what_is_wrong_with_a_table_names_it(ward: Path, case: str) -> None:
    edit, words = TABLES[case]
    (ward / "labels.csv").write_bytes(edit((ward / "labels.csv").read_bytes()))
    said = refusal(ward / "ward.toml")
    assert words in said and "labels.csv" in said


def test_tables_too_large_for_memory_are_refused_unread(ward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = pa.array(np.zeros(2_000, np.int32))
    same = pa.DictionaryArray.from_arrays(cells, pa.array(["x.png"]))
    write_table(pa.table({"path": same, "label": same}), ward / "rows.parquet")
    monkeypatch.setattr(table, "MOST_CELLS", 3_999)
    monkeypatch.setattr(table, "LARGEST", 4_000)
    assert (ward / "rows.parquet").stat().st_size < 4_000
    (ward / "rows.csv").write_text("path,label\n" + "x.png,a\n" * 500)
    with pytest.raises(UserError, match=r"rows\.csv has more than 4,000 bytes: leave out"):
        table.read_table(ward / "rows.csv")
    with pytest.raises(UserError, match=r"rows\.parquet has more than 3,999 cells: leave out"):
        table.read_table(ward / "rows.parquet")


def test_one_patient_who_has_most_of_the_images_is_told(changed: Callable[..., Path]) -> None:
    def one_patient(rows: list[list[str]]) -> None:
        for row in rows[:30]:
            row[2] = "the same"

    card = changed(one_patient)
    said = validated(card, 16, 1, card.parent.parent / "check")
    assert "of the images, not 60%, 20%, 20%: one patient has 30 of 40" in said


def test_a_folder_is_no_card_and_a_mark_before_one_does_no_harm(ward: Path) -> None:
    assert f"{ward} is a folder: name the TOML file in it" in refusal(ward)
    card = ward / "ward.toml"
    card.write_bytes(b"\xef\xbb\xbf" + card.read_bytes())  # as some editors save text
    assert "patients     20 known" in validated(card, 16, 1, ward.parent / "check")


def test_an_npz_is_described_as_it_is_whatever_size_is_asked_for(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text(CARD + 'path = "x.npz"\n')

    def save(labels: list[int]) -> None:
        splits = ("train", "val", "test")
        arrays = {f"{split}_images": np.zeros((4, 8, 8), np.uint8) for split in splits}
        np.savez(tmp_path / "x.npz", **arrays, **{f"{split}_labels": np.array(labels) for split in splits})

    save([0, 1, 0, 1])
    said = validated(card, 64, 1, tmp_path / "check")
    assert "12 at 8 px, as the npz has them: --size is for tasks from files" in said
    save([1, 1, 1, 1])
    assert f"{card}: the split train has no image of the class 'healthy'" in refusal(card)
