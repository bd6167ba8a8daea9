"""Fixtures: the command line in an empty folder, with a plug-in and a cache that tests share."""

import dataclasses
import os
import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CARDS = HERE.parents[1] / "tasks" / "from_files"
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(CARDS)]  # for `processes`, `synthetic` and `cards`

from processes import FINISHED, CommandLine  # noqa: E402 - only now it can be found


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache folder shared by all tests of this process, so that features are computed once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def environment(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment without this machine's data and settings, with the plug-in installed."""
    plugin = tmp_path_factory.mktemp("plugin")
    shutil.copy(HERE / "quick.py", plugin)
    (plugin / "quick-1.dist-info").mkdir()
    (plugin / "quick-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: quick\nVersion: 1\n")
    (plugin / "quick-1.dist-info" / "entry_points.txt").write_text(
        "[mednet_bench.protocols]\nquick = quick:quick\n[mednet_bench.sections]\nmoving = quick:moving\n"
    )
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MEDNET_BENCH_", "QUICK_", "COLUMNS", "FORCE_COLOR", "TTY_"))
    }
    return inherited | {
        "HOME": str(tmp_path_factory.mktemp("home")),
        "MEDNET_BENCH_CACHE": str(cache),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(plugin), os.environ.get("PYTHONPATH")])),
        "NO_PROXY": "127.0.0.1",
        "TERM": "xterm",
    }


@pytest.fixture
def mednet_bench(tmp_path: Path, environment: dict[str, str]) -> CommandLine:
    """Command line in an empty folder; the plug-in's tally is `tally` in it."""
    return CommandLine(tmp_path, {**environment, "QUICK_TALLY": str(tmp_path / "tally")})


@pytest.fixture
def fresh(mednet_bench: CommandLine) -> CommandLine:
    """Command line with a new interpreter for every command."""
    return dataclasses.replace(mednet_bench, fresh=True)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Run directory with eight finished cells beside its `stdout` and `stderr`; change a copy."""
    folder = tmp_path_factory.mktemp("finished")
    ended = CommandLine(folder, environment, fresh=True)("run", *FINISHED, "--out", "run")
    assert ended.returncode == 0, ended.stderr
    (folder / "stdout").write_text(ended.stdout)
    (folder / "stderr").write_text(ended.stderr)
    return folder / "run"
