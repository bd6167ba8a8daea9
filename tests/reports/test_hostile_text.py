"""Control characters of records reach no file of a report, and no line that is made of records."""

import csv
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from hostile import CONTROL, LINE, left
from synthetic import Grid, write_run

from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.reports.pages.board import BoardRequest, leaderboard_board
from mednet_bench.reports.pages.build import BuiltReport, build_report
from mednet_bench.reports.pages.terminal import leaderboard_text
from mednet_bench.reports.pages.verdict_board import verdict_board
from mednet_bench.reports.regression.compare import comparison_markdown
from mednet_bench.reports.regression.regress import regression_outcome, update_baseline

EVIL = CONTROL + LINE
replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose every text is hostile, with subgroups, failures and undefined metrics."""
    folder = tmp_path_factory.mktemp("run")
    grid = Grid(
        tasks=(f"task{EVIL}", f"phantom{EVIL}"),
        inits=("mednet", "imagenet", f"init{EVIL}"),
        archs=(f"arch{EVIL}",),
        protocols=(f"protocol{EVIL}", "finetune"),
        fractions=(0.1, 1.0),
        fail=lambda cell: cell.init == "mednet" and cell.seed == 2 and cell.protocol == "finetune",
    )
    store = RecordStore(folder)
    for record in write_run(folder, grid):
        store.write(_soiled(record), _with_columns(store, record))
    return folder


def _soiled(record):
    facts = record.task and replace(
        record.task,
        **dict.fromkeys(("title", "modality", "source_group", "license", "citation"), EVIL),
        classes=tuple(f"{number}{EVIL}" for number, _ in enumerate(record.task.classes)),
        caveats=(EVIL,),
    )
    init = record.init and replace(
        record.init, label=EVIL, corpora=(EVIL,), possible=(EVIL,), adapted=(EVIL,)
    )
    about = replace(record.provenance, device=f"cpu {EVIL}", versions={EVIL: EVIL}, commit="c" + EVIL)
    metrics = {**record.metrics, f"metric{EVIL}": None} if record.metrics else {}
    undefined = {name: EVIL for name, value in metrics.items() if value is None}
    changed = {"metrics": metrics, "undefined": undefined, "notes": (EVIL,), "provenance": about}
    return replace(record, task=facts, init=init, error=record.error and EVIL, **changed)


def _with_columns(store: RecordStore, record) -> "dict[str, np.ndarray] | None":
    if not store.predictions_of(record.key).exists():
        return None
    arrays = store.read_predictions(record.key)
    return {**arrays, f"column {EVIL}": np.where(np.arange(len(arrays["labels"])) % 2, EVIL, "other")}


@pytest.fixture(scope="module")
def built(run: Path) -> BuiltReport:
    return build_report([run])


def test_no_file_of_a_report_holds_a_control_character(run: Path, built: BuiltReport):
    files = [path for path in (run / "report").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".md", ".csv", ".json", ".tex", ".svg"}
    assert {"leaderboard.csv", "subgroups.csv", "verdicts.csv", "score-against-cost.svg"} <= {
        f.name for f in files
    }
    found = {f.name: left(f.read_bytes().decode(), f.suffix not in (".html", ".svg")) for f in files}
    assert {name: what for name, what in found.items() if what} == {}


def test_every_drawing_is_well_formed(built: BuiltReport):
    assert built.figures
    for path in built.figures:
        ElementTree.fromstring(path.read_bytes())


def test_a_row_of_a_csv_is_one_line(run: Path):
    for path in (run / "report").glob("*.csv"):
        lines = path.read_text().splitlines()
        assert len(lines) == len(list(csv.reader(lines))) > 1, path


def test_the_terminal_gets_none(
    run: Path, built: BuiltReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "100000")  # a line that is wrapped may begin with anything
    texts = [
        leaderboard_board([run], BoardRequest(), format) for format in ("table", "markdown", "csv", "latex")
    ]
    texts += [
        leaderboard_text(built.results),
        verdict_board([run], built.results.margin, "table"),
        comparison_markdown(run, run),
    ]
    assert [left(each) for each in texts if left(each)] == []
    finished = tmp_path / "finished"
    write_run(finished, Grid(tasks=(f"task{EVIL}",), fractions=(1.0,)))
    update_baseline(finished, tmp_path / f"base{CONTROL}.json")
    summary, red = regression_outcome(finished, tmp_path / f"base{CONTROL}.json")
    assert not left(summary) and not red
