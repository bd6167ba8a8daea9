"""Output for programs: one JSON document of the same facts as the text, and nothing else beside it."""

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from mednet_bench.benchmark.run import estimate
from mednet_bench.cli.commands.command import echo_json

SMALL = ["--tasks", "phantom-organ", "--inits", "scratch,imagenet", "--protocols", "knn", "--out", "run"]
SMALL += ["--size", "28", "--input-size", "32", "--fractions", "1", "--seeds", "0,1", "--device", "cpu"]


def document(result: Result) -> Any:
    """Parse the standard output of a command, which must be JSON without NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert result.return_value == 0, result.exception
    return json.loads(result.stdout_bytes.decode("utf-8"), parse_constant=refuse)


@pytest.fixture
def no_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimate without the seconds of a timing probe."""
    set_estimate(monkeypatch, 1.25, 90.0)


def set_estimate(monkeypatch: pytest.MonkeyPatch, low: float, high: float) -> None:
    """Let every plan have one estimate."""
    found = estimate.PlanEstimate(
        seconds=estimate.SecondsRange(low, low, high),
        cells={"knn": 2},
        trained=0,
        seen=840,
        steps=0,
        validations=0,
        disk={"predictions": 12_000},
        memory_mb=500.0,
        largest="a cell",
        largest_seconds=low,
    )
    monkeypatch.setattr(estimate, "estimate_plan", lambda *_: found)


def test_ls_lists_the_same_names_as_json_and_as_text(command) -> None:
    facts, text = document(command("ls", "--format", "json")), command("ls").stdout
    tasks = {task["task"]: task for task in facts["tasks"]}
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert tasks.keys() <= lines.keys()
    for name in ("groups", "inits", "protocols", "metrics"):
        assert lines[f"{name}:"].partition(":")[2].strip() == ", ".join(facts[name])
    assert tasks["phantom-organ"]["generated"] and tasks["phantom-organ"]["available"] == [28, 64, 128, 224]
    assert tasks["dermamnist"]["available"] == [] and tasks["dermamnist"]["classes"] == 7


def test_info_gives_numbers_as_numbers(command) -> None:
    facts = document(command("info", "dermamnist", "--format", "json"))
    assert facts["split_sizes"] == {"train": 7007, "val": 1003, "test": 2005}
    assert facts["classes"][4] == "melanoma" and facts["generated"] is False
    assert (facts["files"][0]["size"], facts["files"][0]["available"]) == (28, False)
    assert facts["files"][0]["missing"][0]["name"] == "dermamnist.npz"
    assert document(command("info", "phantom-organ", "--format", "json"))["files"][0]["available"]


def test_doctor_gives_what_its_lines_say(command) -> None:
    facts, text = document(command("doctor", "--format", "json")), command("doctor").stdout
    assert all(f"{name:12} {version}\n" in text for name, version in facts["versions"].items())
    assert f"{'would work':12} {facts['would_work'][0]}" in text
    assert facts["data"] == {"28": [], "64": [], "128": [], "224": []}
    assert f"({facts['cache_used_gb']:.1f} GB used, " in text and facts["cache_free_gb"] > 0


def test_plan_gives_every_cell_with_its_key_and_state(command, no_probe: None, tmp_path: Path) -> None:
    made = command("run", *SMALL, "--seeds", "0", "--no-report")
    assert made.return_value == 0, made.exception
    done = {path.stem for path in (tmp_path / "run" / "records").glob("*.json")}
    plan = document(command("plan", *SMALL, "--format", "json"))
    assert (plan["n_cells"], plan["n_to_do"], plan["device"]) == (4, 2, "cpu")
    numbers = {"low_seconds": 1.25, "expected_seconds": 1.25, "high_seconds": 90.0, "seen": 840, "steps": 0}
    assert numbers.items() <= plan["estimate"].items()
    assert plan["estimate"]["disk"] == {"predictions": 12_000}
    states = {cell["key"]: cell["state"] for cell in plan["cells"]}
    assert {key for key, state in states.items() if state == "done"} == done and len(states) == 4
    names = ("task", "size", "input_size", "arch", "init", "protocol", "fraction", "seed", "step", "needs")
    assert all({*names} <= cell.keys() for cell in plan["cells"])
    assert {(each["init"], each["label"]) for each in plan["inits"]} >= {("scratch", "random weights")}
    text = command("plan", *SMALL).stdout
    assert "2 of 4 cells on cpu: between 1 s and 1 min 30 s" in text


@pytest.mark.slow
def test_plan_of_a_finished_run_has_null_for_device_and_time(command) -> None:
    command("run", *SMALL, "--no-report")
    plan = document(command("plan", *SMALL, "--estimate-only", "--format", "json"))
    assert plan == {
        "n_cells": 4,
        "n_to_do": 0,
        "device": None,
        "estimate": None,
        "proposal": None,
        "kept_models_gb": 0.0,
        "warnings": [],
    }


def test_plan_gives_the_passes_of_a_training_per_task_and_fraction(command, no_probe: None) -> None:
    words = [
        *SMALL,
        "--inits",
        "scratch",
        "--protocols",
        "finetune,knn",
        "--fractions",
        "0.1,1",
        "--steps",
        "10",
    ]
    trainings = document(command("plan", *words, "--format", "json"))["trainings"]
    assert [(each["fraction"], each["n_train"], each["steps"]) for each in trainings] == [
        (0.1, 48, 10),
        (1.0, 480, 10),
    ]
    assert trainings[1]["passes"] == 10 * 32 / 480
    lines = [line.split() for line in command("plan", *words).stdout.splitlines()]
    assert ["phantom-organ", "0.1", "48", "10", "10", "6.67"] in lines
    assert ["phantom-organ", "1", "480", "10", "2", "0.667", "not", "all", "labels", "are", "seen"] in lines
    plan = document(command("plan", *SMALL, "--seeds", "0..2", "--format", "json"))
    assert plan["trainings"] == []  # of knn
    (power,) = plan["power"]
    assert (power["task"], power["n_seeds"]) == ("phantom-organ", 3) and 0.05 < power["detectable"] < 0.2
    one = document(command("plan", *SMALL, "--seeds", "0", "--format", "json"))
    assert one["power"][0]["detectable"] is None, "one seed shows no spread"


def test_plan_proposes_a_quick_budget_where_a_run_takes_more_than_a_day(
    command, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_estimate(monkeypatch, 50_000.0, 90_000.0)
    words = [*SMALL, "--estimate-only"]
    assert "--budget quick gives a first answer sooner" in command("plan", *words).stdout
    assert document(command("plan", *words, "--format", "json"))["proposal"] == "--budget quick"
    assert "first answer" not in command("plan", *words, "--budget", "quick").stdout


def test_a_warning_of_plan_is_in_the_document_and_on_standard_error(command, no_probe: None) -> None:
    result = command("plan", *SMALL, "--fractions", "0.001,0.002", "--format", "json", "--estimate-only")
    (warning, *_) = document(result)["warnings"]
    assert f"warning: {warning}\n" in result.stderr


def test_the_rows_of_leaderboard_are_those_of_its_csv(command, records: Path) -> None:
    board = document(command("leaderboard", records, "--format", "json"))
    lines = list(csv.DictReader(io.StringIO((records / "report" / "leaderboard.csv").read_text())))
    assert len(lines) == len(board["rows"]) and board["primary_metric"] == "auc"
    for row, line in zip(board["rows"], lines, strict=True):
        assert [*row] == [*line]
        for name, value in row.items():
            expected = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
            assert line[name] == expected
    assert board["notices"] == ["phantom-thorax: generated: not evidence about real images."]


def test_verdicts_are_those_of_the_report(command, records: Path) -> None:
    written = json.loads((records / "report" / "verdicts.json").read_text())
    assert document(command("verdicts", records, "--format", "json")) == written
    for format, name in (("csv", "verdicts.csv"), ("latex", "verdicts.tex")):
        assert (
            command("verdicts", records, "--format", format).stdout == (records / "report" / name).read_text()
        )
    wide = document(command("verdicts", records, "--format", "json", "--margin", "0.4"))
    assert {verdict["verdict"] for verdict in wide["verdicts"]} == {"equivalent"}


@pytest.mark.parametrize("format", ["table", "markdown"])
def test_verdicts_list_each_comparison_with_its_interval(command, records: Path, format: str) -> None:
    text = command("verdicts", records, "--format", format).stdout
    listed = [line for line in text.splitlines() if " to " in line and " against " in line]
    known = json.loads((records / "report" / "verdicts.json").read_text())["verdicts"]
    assert len(listed) == len(known) == 12
    for line, verdict in zip(listed, known, strict=True):
        assert f"{verdict['init_a']} against {verdict['init_b']}" in line and verdict["verdict"] in line
        assert f"{abs(verdict['low']):.3f} to" in line and verdict["flags"][0]["name"] in line
        assert ("generated: not evidence" in line) == verdict["generated"]
    assert text.startswith("phantom-thorax: generated: not evidence about real images.")


def test_verdicts_of_one_init_say_that_there_is_nothing_to_compare(command, tmp_path: Path) -> None:
    from synthetic import Grid, write_run

    write_run(tmp_path / "alone", Grid(tasks=("breastmnist",), inits=("scratch",), fractions=(1.0,)))
    assert "There is nothing to compare" in command("verdicts", tmp_path / "alone").stdout
    assert document(command("verdicts", tmp_path / "alone", "--format", "json"))["verdicts"] == []


def without_time(result: Result) -> str:
    return re.sub(r'"made": [^,}]+', "", json.dumps(document(result)))


@pytest.mark.parametrize(
    "words",
    ["sources", "sources show lits", "sources plan color", "sources idc", "audit leakage phantom-organ"],
)
def test_json_is_a_synonym_of_format_json(command, words: str) -> None:
    new, old = (command(*words.split(), *how) for how in (("--format", "json"), ("--json",)))
    assert without_time(new) == without_time(old)
    assert command(*words.split()).stdout[0] not in "[{"


def test_the_synonym_is_not_in_the_help(command) -> None:
    shown = command("sources", "list", "--help").stdout
    assert "--format" in shown and "--json" not in shown


def test_json_has_null_for_nan_and_no_text_that_steers_a_terminal(capsysbinary) -> None:
    echo_json(
        {"score": math.nan, "count": 3, "na\u202eme": "tw\u00f6\x1b[31m\udc80", "more": [(1.5, "\x85")]}
    )
    out = capsysbinary.readouterr().out.decode("utf-8")
    assert json.loads(out) == {
        "score": None,
        "count": 3,
        "na\ufffdme": "tw\u00f6\ufffd[31m\ufffd",
        "more": [[1.5, "\ufffd"]],
    }


@pytest.mark.parametrize("color", ["FORCE_COLOR", "NO_COLOR"])
def test_json_is_utf8_without_codes_in_any_environment(tmp_path: Path, color: str) -> None:
    environment = {
        **os.environ,
        color: "1",
        "PYTHONIOENCODING": "latin-1",
        "MEDNET_BENCH_CACHE": str(tmp_path),
    }
    card = '''name = "mine"\ntitle = "\u00dcberblick"\nkind = "binary"\nclasses = ["a", "b"]\nmodality = "ct"
variant = "gray"\nsource_group = "mine"\nparents = []\nlicense = "own"\ncitation = "me"\npath = "mine.npz"'''
    (tmp_path / "mine.toml").write_text(card, encoding="utf-8")
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "mednet_bench",
            "info",
            "mine",
            "--task-file",
            "mine.toml",
            "--format",
            "json",
        ],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert json.loads(ended.stdout.decode("utf-8"))["title"] == "\u00dcberblick"
    assert "\u00dc".encode() in ended.stdout and b"\x1b" not in ended.stdout
