"""The end of a run in a terminal: it fits, and its numbers are those of the files."""

import csv
import re
from pathlib import Path

import pytest
from synthetic import Grid, write_run

from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.answers.headline import headline, pair_headlines
from mednet_bench.reports.pages.terminal_summary import MOST_ROWS, summary_text
from mednet_bench.reports.pages.verdict_files import verdicts_csv

LONG = "a-task-of-our-own-hospital-with-a-very-long-name-2024"
GRIDS = {
    "usual": Grid(),
    "long names": Grid(
        tasks=(LONG, "pneumoniamnist"), inits=("zoo/radio-dino-s16-of-the-lab", "imagenet/dino", "scratch")
    ),
    "protocols": Grid(
        tasks=("breastmnist", LONG), protocols=("linear", "finetune"), archs=("resnet18", "r" * 90)
    ),
    "labels per class": Grid(tasks=(LONG, "breastmnist"), fractions=(-1 / 5, -1 / 100, 1.0)),
    "phantoms": Grid(tasks=("phantom-thorax", "phantom-nodule")),
    "single seed": Grid(tasks=(LONG,), seeds=(0,), fractions=(-1 / 1000,)),
    "no pair": Grid(inits=("scratch",)),
    "failed cells": Grid(fail=lambda cell: cell.init == "imagenet" and cell.seed == 0),
    "all failed": Grid(fail=lambda cell: True),
}
ROW = re.compile(
    r"(?P<task>\S+) +(?P<labels>[\d.]+ %|\d+/class) +(?P<a>\d\.\d{3}) +(?P<b>\d\.\d{3})  "
    r"(?P<difference>[+\u2212]\d\.\d{3})(?: \((?P<low>\S+) to (?P<high>\S+)\))? +(?:[▲■○▼] )?(?P<verdict>\S+)"
)


@pytest.mark.parametrize("name", GRIDS)
def test_every_line_fits_and_the_headline_is_first(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, GRIDS[name])
    results = load_report_input([tmp_path])
    shown = summary_text(results, 80, "utf-8")
    tasks = {line for line in shown.splitlines() if len(line) > 80}
    assert tasks == set()
    assert " ".join(shown.split()).startswith(headline(results).text.replace("\u00a0", " "))
    assert len(ROW.findall(shown)) == len(headline(results).verdicts) or name == "single seed"
    for other in pair_headlines(results)[1:]:
        assert other.text.replace("\u00a0", " ") in " ".join(shown.split())


def test_the_numbers_are_those_of_the_csv(tmp_path: Path) -> None:
    write_run(tmp_path, Grid(protocols=("linear", "finetune"), fail=GRIDS["failed cells"].fail))
    results = load_report_input([tmp_path])
    shown = summary_text(results, 80, "utf-8")
    assert "differences are over the seeds that both inits have" in shown
    protocol, found = "", {}
    for line in shown.splitlines():
        if heading := re.match(r"(\w+): tf_efficientnet_lite0", line):
            protocol = heading[1]
        elif row := ROW.fullmatch(line):
            found[protocol, row["task"], row["labels"]] = row
    pair = headline(results).pair
    lines = [
        line
        for line in csv.DictReader(verdicts_csv(results).splitlines())
        if {line["init_a"], line["init_b"]} == {*pair}
    ]
    assert len(found) == len(lines) == 18
    for line in lines:
        assert (line["init_a"], line["init_b"]) == pair
        row = found[line["protocol"], line["task"], f"{100 * float(line['fraction']):g} %"]
        for name in ("difference", "low", "high"):
            assert float(row[name].replace("\u2212", "-")) == pytest.approx(float(line[name]), abs=5.1e-4)
        assert row["verdict"] == line["verdict"]
    means = {
        (row.protocol, row.task, f"{100 * row.fraction:g} %", row.init): row.stats["auc"].mean
        for row in results.rows
    }
    for place, row in found.items():
        assert float(row["a"]) == pytest.approx(means[(*place, pair[0])], abs=5.1e-4)
        assert float(row["b"]) == pytest.approx(means[(*place, pair[1])], abs=5.1e-4)


def test_many_rows_are_cut_and_counted_and_a_wide_terminal_shows_whole_names(tmp_path: Path) -> None:
    write_run(tmp_path, Grid(tasks=(LONG, "breastmnist"), archs=tuple("abcdefgh"), predictions=False))
    shown = summary_text(load_report_input([tmp_path]), 140, "utf-8")
    assert LONG in shown
    assert len(ROW.findall(shown)) in (0, MOST_ROWS), "without predictions nothing is judged"
    assert f"and {2 * 8 * 3 - MOST_ROWS} other rows: report.html and verdicts.csv have all" in shown


def test_what_nobody_can_compare_keeps_the_leaderboard(tmp_path: Path) -> None:
    write_run(tmp_path, Grid(tasks=("phantom-thorax",), inits=("scratch",)))
    shown = summary_text(load_report_input([tmp_path]), 80, "utf-8")
    assert shown.startswith("Nothing to compare: there are results of scratch only.\n")
    assert "Every task here is a phantom" in shown and "±" in shown


def test_phantoms_beside_real_tasks_are_left_out_and_named(tmp_path: Path) -> None:
    write_run(tmp_path, Grid(tasks=("phantom-thorax", "breastmnist")))
    shown = summary_text(load_report_input([tmp_path]), 80, "utf-8")
    assert "Generated tasks are left out." in shown
    assert not re.search(r"^phantom-thorax +\d", shown, re.M)
    assert "phantom-thorax: generated: not evidence about real images." in shown


def test_a_terminal_without_the_glyphs_gets_the_words(tmp_path: Path) -> None:
    write_run(tmp_path, Grid(inits=("imagenet", "scratch")))
    results = load_report_input([tmp_path])
    assert "○ undecided" in summary_text(results, 80, "utf-8")
    plain = summary_text(results, 80, "cp1252")
    assert re.search(r"\)  (better|undecided)$", plain, re.M) and not set("▲■○▼") & set(plain)
