"""`task new` asks for missing facts, at a terminal only."""

import csv
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mednet_bench.cli.commands.questions import QUESTIONS
from mednet_bench.core.errors import UserError
from mednet_bench.core.toml_files import read_toml
from mednet_bench.tasks.from_files.card_draft import draft_card
from mednet_bench.tasks.local_cards import local_task

PROGRAM = (sys.executable, "-c", "from mednet_bench.cli.main import main; main()")
FACTS = 3 + len(QUESTIONS)
"""Questions where label and patient are known: the order of the classes, the facts, the parents."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """24 images of 8 cases; no column is called label or patient, and two could be the label."""
    place = tmp_path / "gray"
    place.mkdir()
    rows = [["file", "chart", "dose", "view", "finding"]]
    for number in range(24):
        Image.fromarray(np.full((16, 16), 9 * number, np.uint8)).save(place / f"{number}.png")
        grade = ("little", "some", "much")[number // 3 % 3]
        rows.append(
            [f"{number}.png", f"M{number // 3}", f"{number / 7:.3f}", "ap" if number % 2 else "pa", grade]
        )
    with (place / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return place


def asked(folder: Path, answers: str | None) -> tuple[str, dict[str, object]]:
    """Run `task new` at a terminal that types the answers, or without one; return its words and the card."""
    ours, theirs = pty.openpty()
    if answers is not None:
        os.write(ours, answers.encode())
    try:
        done = subprocess.run(
            [*PROGRAM, "task", "new", str(folder)],
            stdin=subprocess.DEVNULL if answers is None else theirs,
            capture_output=True,
            text=True,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stderr
    return done.stderr, read_toml(folder / "my-gray.toml")


def test_answers_stand_in_the_card(folder: Path) -> None:
    facts = ["y", "Chest films", "x-ray", "our ward", "internal", "", "nih-a, nih-b"]
    lines = ["nothing", "finding", "chart", *facts]
    said, card = asked(folder, "\n".join(lines) + "\n")
    assert "Error: 'nothing' is not one of 'view', 'finding', 'chart'" in said  # and asked again
    assert card["classes"] == ["little", "much", "some"] and card["kind"] == "ordinal"
    assert card["files"] == {
        "path": ".", "table": "list.csv", "path_column": "file", "label_column": "finding",
        "patient_column": "chart",
    }  # fmt: skip
    assert (card["title"], card["modality"], card["source_group"]) == ("Chest films", "x-ray", "our ward")
    assert (card["license"], card["citation"], card["parents"]) == ("internal", "none", ["nih-a", "nih-b"])
    assert "not known" not in said
    task = local_task(folder / "my-gray.toml")
    assert (task.name, task.kind) == ("my-gray", "ordinal"), "'gray' alone is a group of tasks"


def test_accepting_every_default_equals_a_run_without_a_terminal(folder: Path) -> None:
    said, agreed = asked(folder, "\n" * (FACTS + 2))
    assert said.count("?") + said.count("[") >= FACTS
    (folder / "my-gray.toml").unlink()
    silent, drafted = asked(folder, None)
    assert agreed == drafted and "[" not in silent.replace("[files]", "")
    words = "decision: the label is taken from 'view'; change: edit label_column in [files] (finding, chart)"
    assert words in silent
    assert "patient_column, if it is chart" in silent and "columns give" not in silent
    assert "not known, please fill in: modality, license" in silent


def test_a_measurement_is_no_patient_and_a_usual_name_leaves_no_doubt(folder: Path) -> None:
    found = draft_card(folder)
    assert found.options("label_column") == ("view", "finding", "chart")
    assert found.options("patient_column") == ("none", "chart")
    table = folder / "list.csv"
    table.write_text(table.read_text().replace("chart", "Patient ID").replace("finding", "Diagnosis"))
    found = draft_card(folder)
    assert found.options("label_column") == found.options("patient_column") == ()
    assert found.content["files"]["patient_column"] == "Patient ID"
    said, _ = asked(folder, None)
    assert "decision: columns give the label ('Diagnosis'), the patient ('Patient ID'); " in said


def test_columns_of_0_and_1_are_classes_of_which_an_image_has_several(folder: Path) -> None:
    table = folder / "list.csv"
    lines = table.read_text().splitlines()
    more = [f",{number % 2},{number // 2 % 2},{number % 3}" for number in range(len(lines) - 1)]
    table.write_text("\n".join(a + b for a, b in zip(lines, [",Mass,Effusion,Age band", *more], strict=True)))
    said, card = asked(folder, None)
    assert (card["kind"], card["classes"]) == ("multilabel", ["Mass", "Effusion"])
    assert card["subgroups"] == ["Age band"]
    assert "each column of 0 and 1 is taken for a class (Mass, Effusion)" in said
    assert local_task(folder / "my-gray.toml").kind == "multilabel"


def test_classes_that_are_numbers_stand_in_the_order_of_numbers(folder: Path) -> None:
    table = folder / "list.csv"
    lines = table.read_text().splitlines()
    grades = [f",{(number * 5) % 12}" for number in range(len(lines) - 1)]
    table.write_text("\n".join(a + b for a, b in zip(lines, [",label", *grades], strict=True)))
    said, card = asked(folder, None)
    assert card["classes"] == [str(grade) for grade in range(12)]
    assert 'change: edit kind (if they are grades, say "ordinal")' in said


def test_the_word_none_is_a_class_where_there_is_one_other_and_else_no_label(folder: Path) -> None:
    table = folder / "list.csv"
    rows = table.read_text().replace("finding", "label")
    table.write_text(rows.replace("little", "none"))
    said, card = asked(folder, None)
    assert card["classes"] == ["much", "some"]
    assert "decision: 9 of 24 rows have no label and are left out ('NaN' and 'none' count as nothing)" in said
    table.write_text(re.sub("little|some", "None", rows))
    (folder / "my-gray.toml").unlink()
    said, card = asked(folder, None)
    assert card["classes"] == ["None", "much"]
    assert (
        "decision: the word none in 'label' is taken for a class; change: edit classes, or label_map" in said
    )


def test_separator_spelling_and_table_are_asked(folder: Path) -> None:
    table = folder / "list.csv"
    rows = (
        table.read_text()
        .replace("little", "Some;much")
        .replace("finding", "label")
        .replace("chart", "patient")
    )
    table.write_text(rows)
    (folder / "other.csv").write_text(rows.replace("Some;much", "x"))
    answers = ["other.csv", *[""] * FACTS]
    _, card = asked(folder, "\n".join(answers) + "\n")
    assert card["files"]["table"] == "other.csv" and card["classes"] == ["much", "some", "x"]
    (folder / "my-gray.toml").unlink()
    said, card = asked(folder, "\n".join(["list.csv", "yes", "no", *[""] * FACTS]) + "\n")
    assert "Does ';' separate several labels of an image" in said
    assert card["kind"] == "multilabel" and card["classes"] == ["Some", "much", "some"]
    assert card["files"]["label_separator"] == ";"
    (folder / "my-gray.toml").unlink()
    said, card = asked(folder, None)
    assert card["classes"] == ["Some", "much"], "in the most frequent spelling, of equal ones the first"
    lines = [line for line in said.splitlines() if line.startswith("decision: ")]
    for word in (
        "of 2 tables list.csv is taken",
        "';' separates several labels",
        "differ only by case or blanks",
    ):
        assert sum(word in line and "; change: edit " in line for line in lines) == 1, word


def test_a_file_that_is_gone_does_not_hide_the_column_of_paths(folder: Path) -> None:
    (folder / "0.png").unlink()  # `validate` names its line
    assert draft_card(folder).content["files"]["path_column"] == "file"
    table = folder / "list.csv"
    table.write_text(table.read_text().replace(".png", "x.jpg"))
    with pytest.raises(UserError, match="no column names files that lie in"):
        draft_card(folder)
