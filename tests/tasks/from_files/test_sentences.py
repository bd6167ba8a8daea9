"""`validate` reports each error of a card or table in one sentence that names the file."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from cards import CARD
from pyarrow.parquet import write_table

from mednet_bench.cli.show.files import validate_card
from mednet_bench.core.errors import UserError
from mednet_bench.core.process_pool import map_in_processes
from mednet_bench.tasks import patients
from mednet_bench.tasks.from_files import table
from mednet_bench.tasks.patients import compile_pattern, pair_with_patients

WRONG: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no UTF-8": (lambda card: card.replace(b"A ward", b"\xe4"), "it is no text in UTF-8: save it as that"),
    "UTF-16": (lambda card: card.decode().encode("utf-16"), "it is no text in UTF-8"),
    "no card": (lambda _: b"path,label\n", "is not valid TOML"),
    "empty": (lambda _: b"", "lacks the keys 'name', 'title'"),
    "a group's name": (lambda card: card.replace(b'"ward"', b'"gray"'), "'gray' is the name of a group"),
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
    "pattern of many repeats": (
        lambda card: card + b'group_pattern = "' + b"(a{99999999999})" + b'"\n',
        "key 'files.group_pattern': it is no regular expression",
    ),
    "long pattern": (
        lambda card: card + b'group_pattern = "' + b"(x)" * 400 + b'"\n',
        "key 'files.group_pattern': it has 1,200 characters, and 1,000 may be",
    ),
}
TABLES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no UTF-8": (lambda table: table.replace(b"healthy", b"\xe4", 1), "is no text in UTF-8: save it as"),
    "UTF-16": (lambda table: table.decode().encode("utf-16"), "is no text in UTF-8"),
    "empty": (lambda _: b"", "is no CSV: it is empty: add a header"),
    "first rows too long": (lambda table: table.replace(b"healthy", b"ill,x", 1), "its first rows have more"),
    "a row too long": (lambda table: table + b"a,b,c,d,e\n", "line 42 has 5 cells and the header 4"),
    "an open quotation": (lambda table: table + b'"open', "a quotation mark is opened and never closed"),
    "two columns": (lambda table: table.replace(b"sex", b"label"), "its columns 2 and 4 have the same name"),
}  # fmt: skip


def refusal(card: Path) -> str:
    with pytest.raises(UserError) as caught:
        validate_card(card, 16, 1, card.parent.parent / "check")
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
    monkeypatch.setattr(table, "LARGEST_TABLE", 4_000)
    assert (ward / "rows.parquet").stat().st_size < 4_000
    (ward / "rows.csv").write_text("path,label\n" + "x.png,a\n" * 500)
    with pytest.raises(UserError, match=r"rows\.csv has more than 4,000 bytes: leave out"):
        table.read_table(ward / "rows.csv")
    with pytest.raises(UserError, match=r"rows\.parquet has more than 3,999 cells: leave out"):
        table.read_table(ward / "rows.parquet")


def test_one_patient_with_most_of_the_images_is_reported(changed: Callable[..., Path]) -> None:
    def one_patient(rows: list[list[str]]) -> None:
        for row in rows[:30]:
            row[2] = "the same"

    card = changed(one_patient)
    said = validate_card(card, 16, 1, card.parent.parent / "check")
    assert "of the images, not 60%, 20%, 20%: one patient has 30 of 40" in said


def test_a_folder_is_no_card_and_a_mark_before_one_does_no_harm(ward: Path) -> None:
    assert f"{ward} is a folder: name the TOML file in it" in refusal(ward)
    card = ward / "ward.toml"
    card.write_bytes(b"\xef\xbb\xbf" + card.read_bytes())  # as some editors save text
    assert "patients     20 known" in validate_card(card, 16, 1, ward.parent / "check")


def test_an_npz_is_described_as_it_is_whatever_size_is_asked_for(tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text(CARD + 'path = "x.npz"\n')

    def save(labels: list[int]) -> None:
        splits = ("train", "val", "test")
        arrays = {f"{split}_images": np.zeros((4, 8, 8), np.uint8) for split in splits}
        np.savez(tmp_path / "x.npz", **arrays, **{f"{split}_labels": np.array(labels) for split in splits})

    save([0, 1, 0, 1])
    said = validate_card(card, 64, 1, tmp_path / "check")
    assert "12 at 8 px, as the npz has them: --size is for tasks from files" in said
    save([1, 1, 1, 1])
    assert f"{card}: the split train has no image of the class 'healthy'" in refusal(card)


CATASTROPHES = ("(x+x+)+y", "^(([a-zX])+.)+[A-Z]([a-z])+$", "(.*)*#", "(x|xx|xxx)*$ ")
"""Each takes more steps on 60 letters than there are seconds to wait for."""


@pytest.mark.parametrize("pattern", CATASTROPHES)
def test_a_pattern_that_never_ends_is_refused(
    ward: Path, pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patients, "LIMIT", 1.0)
    card, odd = ward / "ward.toml", "x" * 60 + ".dcm"
    first = (ward / "labels.csv").read_text().splitlines()[1].split(",")[0]
    (ward / first).rename(ward / odd)
    (ward / "labels.csv").write_text((ward / "labels.csv").read_text().replace(first, odd))
    card.write_text(card.read_text() + f"group_pattern = '{pattern}'\n")
    assert "key 'files.group_pattern': it does not get done with 40 paths in 1 seconds" in refusal(card)


def test_a_pattern_that_never_ends_does_not_hold_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    find = compile_pattern("(x+x+)+y", "key")
    assert find is not None
    monkeypatch.setattr(patients, "LIMIT", 1.0)
    with pytest.raises(UserError, match="key: it does not get done with 1 paths"):
        find(["x" * 60])
    assert list(map_in_processes(find, [["zxxyz"], ["-"]], 2)) in ([["xx"], [""]], [[""], ["xx"]])


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="the system has no alarm")
def test_a_search_ends_after_its_parent_was_killed() -> None:
    asked = json.dumps([0, "(x+x+)+y", ["x" * 60]]).encode()
    command = (sys.executable, "-I", "-S", "-c", patients._MATCHER)
    assert subprocess.run(command, input=asked, capture_output=True).returncode == -signal.SIGALRM


def test_patients_are_found_as_python_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patients, "AT_ONCE", 2)
    paths = ["P-1/a.png", "Pß/é\u2028.png", "P-3/\udc80", "Q/a", "P/"]
    find = compile_pattern(r"^P-?(\w)?.*/", "key")
    found = pair_with_patients(iter(paths), str, find)
    assert list(found) == list(zip(paths, ["1", "ß", "3", "", ""], strict=True))
    assert list(pair_with_patients(paths, str, compile_pattern("", "key"))) == [(path, "") for path in paths]
