"""Fixtures: the command line in this process, in an empty folder without this machine's data."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # for `synthetic`, which other tests share

Command = Callable[..., Result]
SMALL = ["--tasks", "phantom-organ", "--inits", "scratch", "--protocols", "knn", "--seeds", "0"]
SMALL += ["--size", "28", "--input-size", "32", "--fractions", "1", "--device", "cpu", "--out", "run"]
"""One cell, computed in a second."""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in an empty folder: it takes the words after `mednet-bench`."""
    from mednet_bench.cli.main import cli

    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MEDNET_BENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def invoke(*words: object) -> Result:
        return CliRunner().invoke(cli, [*map(str, words)], standalone_mode=False)

    return invoke


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directory with invented records of a real and a generated task, and its report."""
    from synthetic import Grid, write_run

    from mednet_bench.reports.pages.build import build_report

    folder = tmp_path_factory.mktemp("run")
    write_run(folder, Grid(tasks=("breastmnist", "phantom-thorax"), fractions=(0.1, 1.0)))
    build_report([folder])
    return folder
