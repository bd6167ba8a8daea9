"""Phrases planted in every column, header, folder and file name are never printed or stored."""

import csv
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from dicoms import SECRET, holds
from test_five_commands import bids

from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError

REMARK = f"{SECRET}: seen by Dr. {SECRET}-Arzt. " + "Lungs clear, heart of normal size. " * 12
"""Longer than a file's name may be, so that to look for a file of that name is an error of the system."""
PLANTED: tuple[str, ...] = (
    "remark",
    "seen by",
    "born",
    "path",
    "label",
    "split",
    "ward",
    "patient",
    "study",
    "name",
)
Table = list[dict[str, str]]


@pytest.fixture
def desk(ward: Path) -> Path:
    """A folder with the ward in it, whose table has a phrase in all that is neither label nor split."""
    rows: Table = []
    with (ward / "labels.csv").open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file)):
            fields = (REMARK + str(number), f"Dr. {SECRET}-{number % 3}", f"{SECRET}, {1940 + number % 40}")
            split = ("train", "train", "train", "val", "test")[number // 2 % 5]
            kin = (f"{SECRET}-Stift", row["patient"], f"{SECRET}-S{number // 2}", f"{SECRET} {number // 2}")
            cells = (*fields, row["path"], row["label"], split, *kin)
            rows.append(dict(zip(PLANTED, cells, strict=True)))
    write(ward, rows)
    (ward / "ward.toml").write_text(card_of(ward, ""))
    return ward.parent


def card_of(ward: Path, subgroups: str) -> str:
    facts = (ward / "ward.toml").read_text().partition("subgroups")[0] + f"subgroups = [{subgroups}]\n"
    columns = 'patient_column = "patient"\nstudy_column = "study"\nsplit_column = "split"\n'
    return f'{facts}[files]\ntable = "labels.csv"\n{columns}'


def write(ward: Path, rows: Table) -> None:
    with (ward / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, PLANTED)
        table.writeheader()
        table.writerows(rows)


def invoke(desk: Path, line: str) -> str:
    """Run a command; returns all that it says, with the traceback if it fails, and that of its causes."""
    result = CliRunner().invoke(cli, [word.replace("DESK", str(desk)) for word in line.split()])
    error = result.exception
    if error is None or isinstance(error, SystemExit):
        return result.output
    assert isinstance(error, UserError), error
    return result.output + "".join(traceback.format_exception(error))


def check(desk: Path, said: str, where: str = "ward") -> None:
    """Look for the phrases in what was said, and in every file but those that they were planted in."""
    assert SECRET not in said, said[max(0, said.index(SECRET) - 300) :][:600]
    kept = [path for path in desk.rglob("*") if path.is_file() and desk / where not in path.parents]
    assert not [path for path in kept if holds(path, [SECRET]) or SECRET in str(path.relative_to(desk))]


def as_csv(ward: Path, rows: Table) -> str:
    write(ward, rows)
    return ""


def as_excel(ward: Path, rows: Table) -> str:
    workbook = pytest.importorskip("openpyxl", reason="needs the extra excel").Workbook()
    for cells in (PLANTED, *(list(row.values()) for row in rows)):
        workbook.active.append(list(cells))
    workbook.properties.creator = f"Dr. {SECRET}"
    workbook.active.title = SECRET
    workbook.save(ward / "labels.xlsx")
    (ward / "labels.csv").unlink()
    return ""


def as_two_tables(ward: Path, rows: Table) -> str:
    """Put all but paths and labels into a table of its own, which has the paths in common."""
    lines = [f"{row['path']},{row['label']},{SECRET} of table two" for row in rows]
    (ward / "labels.csv").write_text("\n".join(["path,label,note", *lines]) + "\n")
    with (ward / "people.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [key for key in PLANTED if key != "label"], extrasaction="ignore")
        table.writeheader()
        table.writerows(rows)
    return " --table labels.csv --table people.csv"


@pytest.mark.parametrize("form", [as_csv, as_excel, as_two_tables])
def test_no_planted_phrase_is_said_or_kept(desk: Path, form: Callable[[Path, Table], str]) -> None:
    with (desk / "ward" / "labels.csv").open(newline="") as file:
        tables = form(desk / "ward", list(csv.DictReader(file)))
    (desk / "ward" / "ward.toml").unlink()
    said = invoke(desk, f"task new DESK/ward{tables}")
    card = (desk / "ward" / "ward.toml").read_text()
    assert "patient_column" in card and 'split_column = "split"' in card and SECRET not in card
    said += invoke(desk, "validate DESK/ward/ward.toml --size 28 --out DESK/check")
    said += invoke(desk, "audit leakage DESK/ward/ward.toml --size 28 --out DESK/found")
    asked = "--protocols knn --inits scratch --fractions 1.0 --seeds 0 --size 28 --input-size 32 --device cpu"
    said += invoke(desk, f"run --task-file DESK/ward/ward.toml --tasks ward {asked} --out DESK/run")
    assert (desk / "run" / "report" / "report.html").is_file()
    check(desk, said)


def test_no_phrase_of_a_bids_table_is_said_or_kept(tmp_path: Path) -> None:
    (tmp_path / "ward").mkdir()
    bids(tmp_path / "ward")
    table = tmp_path / "ward" / "participants.tsv"
    first, *rows = table.read_text().splitlines()
    planted = [f"{row}\tDr. {SECRET}-{number % 3}\t{REMARK}" for number, row in enumerate(rows)]
    table.write_text("\n".join([f"{first}\tseen by\tremark", *planted]) + "\n")
    said = invoke(tmp_path, "task new DESK/ward")
    assert SECRET not in (tmp_path / "ward" / "ward.toml").read_text()
    said += invoke(tmp_path, "validate DESK/ward/ward.toml --size 28 --out DESK/check")
    said += invoke(tmp_path, "audit leakage DESK/ward/ward.toml --size 28 --out DESK/found")
    assert list((tmp_path / "check").iterdir()) and list((tmp_path / "found").iterdir())
    check(tmp_path, said)


REFUSED: dict[str, tuple[Callable[[Table], object], str]] = {
    "a label": (lambda rows: rows[7].update(label="healthy-ish"), "its label is none of the card's classes"),
    "a split": (lambda rows: rows[7].update(split="trial"), "its split is none of"),
    "no path": (lambda rows: rows[7].update(path=""), "it is no path"),
    "a remark as path": (lambda rows: rows[7].update(path=REMARK), "there is no such file"),
    "a path that no file can have": (lambda rows: rows[7].update(path=f"{SECRET}\0"), "it is no path"),
    "another's path": (lambda rows: rows[7].update(path=f"/{SECRET}/1.dcm"), "it is absolute"),
    "a path twice": (lambda rows: rows[7].update(path=rows[8]["path"]), "it names the same file"),
    "a file that is gone": (lambda rows: rows[7].update(path=f"{SECRET}/gone.dcm"), "there is no such file"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_an_error_in_a_row_does_not_quote_its_cells(desk: Path, case: str) -> None:
    edit, words = REFUSED[case]
    with (desk / "ward" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    edit(rows)
    write(desk / "ward", rows)
    said = invoke(desk, "validate DESK/ward/ward.toml --size 16 --out DESK/check")
    assert words in said
    check(desk, said)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("study", "names images or patients"),
        ("born", "40 distinct"),
        ("remark", "40 distinct"),
        ("name", "another value for each patient"),
    ],
)
@pytest.mark.parametrize("command", ["validate DESK/ward/ward.toml", "audit leakage DESK/ward/ward.toml"])
def test_a_refused_subgroup_column_is_kept_nowhere(desk: Path, column: str, words: str, command: str) -> None:
    (desk / "ward" / "ward.toml").write_text(card_of(desk / "ward", f'"{column}"'))
    said = invoke(desk, f"{command} --size 16 --out DESK/check")
    assert words in said
    check(desk, said)


def test_a_table_without_a_header_is_not_quoted(desk: Path) -> None:
    """Its first row would be the names of the columns, which a sentence about a missing column lists."""
    table = desk / "ward" / "labels.csv"
    table.write_text(table.read_text().partition("\n")[2].replace(REMARK, SECRET))
    for command in ("task new DESK/ward --force", "validate DESK/ward/ward.toml"):
        said = invoke(desk, command)
        assert "its first line names a file: add a line of column names above it" in said
        check(desk, said)


def test_a_table_of_rows_alone_is_not_quoted_where_it_names_no_file_either(desk: Path) -> None:
    table = desk / "ward" / "labels.csv"
    table.write_text(table.read_text().partition("\n")[2].replace(REMARK, SECRET).replace(".dcm", ""))
    said = invoke(desk, "validate DESK/ward/ward.toml")
    assert "has no column 'path', and its first line may be a row" in said
    check(desk, said)


def test_a_table_without_a_header_is_not_quoted_where_the_file_of_its_first_row_is_gone(desk: Path) -> None:
    table = desk / "ward" / "labels.csv"
    rows = table.read_text().splitlines()
    cells = [f"{SECRET} {number}" for number in range(len(PLANTED))]
    cells[PLANTED.index("path")] = "gone.dcm"
    rows[0] = ",".join(cells)
    table.write_text("\n".join(rows))
    for command in ("task new DESK/ward --force", "validate DESK/ward/ward.toml"):
        said = invoke(desk, command)
        assert "its first line may be a row: add a line of column names above it" in said
        check(desk, said)


def test_columns_that_a_card_does_not_name_are_counted(desk: Path) -> None:
    table = desk / "ward" / "labels.csv"
    rows = table.read_text().splitlines()
    rows[0] = ",".join(f"column {SECRET} {number}" for number in range(len(PLANTED)))
    table.write_text("\n".join(rows))
    said = invoke(desk, "validate DESK/ward/ward.toml")
    assert f"has no column 'path' among its {len(PLANTED)}: name it" in said
    check(desk, said)


def test_folders_that_are_no_class_are_counted(desk: Path) -> None:
    card = desk / "ward" / "ward.toml"
    card.write_text(card.read_text().partition("subgroups")[0] + "[files]\n")
    said = invoke(desk, "validate DESK/ward/ward.toml")
    assert "differ (none is called healthy or ill; 20 called otherwise)" in said
    check(desk, said)
