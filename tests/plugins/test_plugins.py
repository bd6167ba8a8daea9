"""The example package is built, installed and run; a broken one is named and left out."""

import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from mednet_bench.benchmark.schema.records import MetricFacts, Record, RecordStore
from mednet_bench.core.plugins import (
    GROUP_PREFIX,
    MOVED_SINCE_0_1,
    PLUGIN_KINDS,
    PlugInError,
    entry_points_of,
    load_entry_point,
)
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.pages.board import BoardRequest, choose_rows_shown, leaderboard_board
from mednet_bench.reports.regression.baseline import SeedScore, read_baseline
from mednet_bench.reports.regression.regress import regression_outcome, update_baseline
from mednet_bench.reports.sections.leaderboard import best_rows

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"
SMALL = shlex.split("--input-size 28 --protocols knn --fractions 1.0 --seeds 0 --archs test_resnet")


SOUND = """from mednet_bench.tasks.task import Task

def task(name):
    return Task(name, "", "binary", ("a", "b"), "ct", "gray", "x", (), "", "", source=None)

number = 3
breastmnist, gray, odd = map(task, ("breastmnist", "gray", "a,b"))
"""


def install(package: Path, folder: Path) -> None:
    """Build a package without network, from a copy, since a build leaves files in the folder."""
    copy = shutil.copytree(package, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    offline = ["--no-index", "--disable-pip-version-check", "--target", str(folder / "site"), str(copy)]
    built = subprocess.run([*command, *offline], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed: a folder for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("example")
    install(EXAMPLE, folder)
    return folder / "site"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A package whose entry points are wrong, each in another way."""
    points = (
        "[mednet_bench.tasks]\nlost = lacking:task\nnumber = sound:number\nbreastmnist = sound:breastmnist\n"
        "gray = sound:gray\na,b = sound:odd\n"
        "[mednet_bench.inits]\nscratch = operator:neg\nmean:x = operator:neg\n"
        "[mednet_bench.metrics]\nworst = lacking:metric\ntrue = operator:truth\nfailing = operator:neg\n"
        "[mednet_bench.sections]\npage = lacking:section\nfailing = operator:neg\n"
    )
    files = {"lacking": "import no_such_library\n", "sound": SOUND}
    return write_package(tmp_path / "broken", "broken", files, points)


def write_package(site: Path, name: str, files: dict[str, str], points: str) -> Path:
    """Write modules and entry points into a folder as pip would, without a build."""
    facts = site / f"{name}-2.dist-info"
    facts.mkdir(parents=True)
    for module, code in files.items():
        (site / f"{module}.py").write_text(code)
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2\n")
    (facts / "entry_points.txt").write_text(points)
    return site


INPUT = "reports.analysis.report_input"
OLD = {
    "from mednet_bench.benchmark.metrics import METRICS": "benchmark.training.metrics",
    "from mednet_bench.benchmark import metrics": "benchmark.training.metrics",
    "import mednet_bench.benchmark.protocol": "benchmark.training.protocol",
    "from mednet_bench.reports.section import Content": "reports.elements.section",
    "from mednet_bench.reports.findings.results import Results": INPUT,
    f"from mednet_bench.{INPUT} import Results": f"{INPUT}.ReportInput",
    "from mednet_bench.baselines.init import INITS, Need": "baselines.init.InitRequest",
    "from mednet_bench.tasks.task import Places, Task": "tasks.task.DataLocations",
}


@pytest.mark.parametrize("line", OLD)
def test_an_import_of_version_0_1_is_answered_with_the_new_path(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = "[mednet_bench.metrics]\nrecall = old_plugin:recall\n"
    monkeypatch.syspath_prepend(write_package(tmp_path, "lab-metrics", {"old_plugin": f"{line}\n"}, points))
    (point,) = [each for each in entry_points_of("mednet_bench.metrics") if each.name == "recall"]
    with pytest.raises(PlugInError) as caught:
        load_entry_point(point)
    start = "The plug-in 'recall' (mednet_bench.metrics) of the package lab-metrics imports mednet_bench."
    assert str(caught.value).startswith(start)
    assert str(caught.value).endswith(f"of version 0.1: it is now mednet_bench.{OLD[line]}")


def test_every_new_path_of_an_old_import_exists() -> None:
    for path in MOVED_SINCE_0_1.values():
        assert pkgutil.resolve_name(f"mednet_bench.{path}"), path


def mednet_bench(
    folder: Path, *words: str, sites: tuple[Path, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    paths = os.pathsep.join([*map(str, sites), os.environ.get("PYTHONPATH", "")])
    own = {"PYTHONPATH": paths, "MEDNET_BENCH_CACHE": str(folder / "cache"), "HOME": str(folder)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDNET_BENCH_")}
    program = [sys.executable, "-c", "from mednet_bench.cli.main import main; main()"]
    return subprocess.run(
        [*program, *words], cwd=folder, env=environment | own, capture_output=True, text=True
    )


@pytest.mark.slow
def test_the_example_is_found_and_run_beside_plug_ins_that_fail(
    example: Path, broken: Path, tmp_path: Path
) -> None:
    listed = mednet_bench(tmp_path, "ls", sites=(example,))
    assert (listed.returncode, listed.stderr) == (0, "")
    assert re.search(r"^example-rings +binary", listed.stdout, re.MULTILINE)
    assert re.search(r"^plug-in: +mednet-bench-example with .*section example-summary", listed.stdout, re.M)
    words = ("--tasks", "example-rings", "--inits", "example-flat,scratch", *SMALL, "--out", "run")
    ran = mednet_bench(tmp_path, "run", *words, sites=(example, broken))
    assert ran.returncode == 0, ran.stderr
    records = list(RecordStore(tmp_path / "run").read_all())
    assert len(records) == 2 and all(0 <= (r.metrics["example_miss"] or 0) <= 1 for r in records)
    text = (tmp_path / "run" / "report" / "report.md").read_text()
    assert "The worst class (example)" in text and "Missed share of the worst class, mean over" in text
    assert "Worst miss" in text  # a column of the leaderboard
    assert records[0].metric_facts == {
        "example_miss": MetricFacts(
            title="Worst miss", help="missed share of the worst class", lower_is_better=True, low=0, high=1
        )
    }
    _check_direction(tmp_path / "run", records)
    # a metric and a section that fail cost neither a cell nor the report
    assert all(record.metrics["failing"] is None for record in records)
    assert all(record.metrics["true"] == 1 for record in records)  # no bool, which no record can hold
    assert "the plug-in failed (TypeError" in records[0].undefined["failing"]
    assert "The plug-in that makes this section failed (TypeError" in text


def _check_direction(run: Path, records: list[Record]) -> None:
    """Ranks and regression tests take the smaller miss for the better one, without the plug-in."""
    results = choose_rows_shown(load_report_input([run]), BoardRequest(metric="example_miss"))
    misses = {record.cell.init: record.metrics["example_miss"] or 0.0 for record in records}
    best = {row.init for row in best_rows(results.rows, "example_miss", results.metric_facts)}
    assert best == {init for init in misses if min(misses.values()) == misses[init] < max(misses.values())}
    assert "Worst miss (lower is better)" in leaderboard_board(
        [run], BoardRequest(metric="example_miss"), "table"
    )
    update_baseline(run, run / "baseline.json", ["example_miss"])
    for change, red in ((-0.2, True), (0.2, False)):
        baseline = read_baseline(run / "baseline.json")
        moved = [
            msgspec.structs.replace(
                line,
                values={s: SeedScore(v.value + change, v.subset, v.weights) for s, v in line.values.items()},
            )
            for line in baseline.lines
        ]
        msgspec.structs.replace(baseline, lines=tuple(moved)).write(run / "moved.json")
        summary, found = regression_outcome(run, run / "moved.json")
        assert found == red and ("fell or are missing" in summary) == red


@pytest.mark.slow
def test_a_protocol_of_a_package_brings_an_option_of_its_own(example: Path, tmp_path: Path) -> None:
    words = (
        "run",
        "--tasks",
        "example-rings",
        "--inits",
        "scratch",
        *SMALL,
        "--protocols",
        "example-centroid",
    )
    records = {}
    for value in ("0", "1"):
        option = ("--protocol-option", f"example-centroid.shrinkage={value}")
        ran = mednet_bench(tmp_path, *words, *option, "--out", value, sites=(example,))
        assert ran.returncode == 0, ran.stderr
        (records[value],) = RecordStore(tmp_path / value).read_all()
        assert records[value].cell.protocol_options == {"shrinkage": float(value)}
        assert f"shrinkage={value}" in (tmp_path / value / "report" / "report.md").read_text()
    assert records["0"].key != records["1"].key
    assert records["1"].metrics["auc"] == 0.5, "every class mean is that of all images"
    assert (records["0"].metrics["auc"] or 0) > 0.5
    refused = mednet_bench(tmp_path, *words, *option[:1], f"{option[1]}.5", "--out", "no", sites=(example,))
    assert refused.returncode == 2 and "example-centroid.shrinkage=1.5: expected" in refused.stderr


def test_a_broken_plug_in_is_named_in_one_sentence_and_breaks_nothing_else(
    broken: Path, tmp_path: Path
) -> None:
    listed = mednet_bench(tmp_path, "ls", sites=(broken,))
    assert listed.returncode == 0 and "breastmnist" in listed.stdout
    lines = [line for line in listed.stderr.splitlines() if line]
    assert all(
        line.startswith("warning: The plug-in '") and "of the package broken" in line for line in lines
    )
    assert [re.findall(r"'([^']+)' \(mednet_bench\.(\w+)\)", line)[0] for line in lines] == [
        ("mean:x", "inits"), ("scratch", "inits"), ("worst", "metrics"), ("a,b", "tasks"),
        ("breastmnist", "tasks"), ("gray", "tasks"), ("lost", "tasks"), ("number", "tasks"),
    ]  # fmt: skip
    assert "ModuleNotFoundError: No module named 'no_such_library'" in listed.stderr
    assert "takes the name of another init, of mednet-bench itself" in listed.stderr
    assert "takes the name of another task, of mednet-bench itself" in listed.stderr
    assert "gives no Task" in listed.stderr and "takes the name of a group of tasks" in listed.stderr
    assert listed.stderr.count("has a name that is none") == 2


def test_only_who_asks_for_a_broken_plug_in_is_refused(broken: Path, tmp_path: Path) -> None:
    shown = mednet_bench(tmp_path, "plan", "--tasks", "lost", sites=(broken,))
    assert shown.returncode == 2 and "There is no task 'lost'" in shown.stderr
    assert "The plug-in 'lost' (mednet_bench.tasks) of the package broken cannot be loaded" in shown.stderr


def test_the_page_shows_code_of_the_example_as_it_is_built_here() -> None:
    page = (Path(__file__).parents[2] / "docs" / "plug-ins.md").read_text(encoding="utf-8")
    _, *blocks = re.findall(r"```(?:python|toml)\n(.*?)```", page, re.DOTALL)  # the first is of --init-file
    files = [EXAMPLE / "pyproject.toml", *(EXAMPLE / "mednet_bench_example").glob("*.py")]
    shown = {file.name for block in blocks for file in files if block in file.read_text(encoding="utf-8")}
    assert shown == {"pyproject.toml", "miss.py", "centroid.py", "summary.py"}
    assert len(shown) == len(blocks)
    points = re.findall(r'entry-points\."(.*?)"\]', (EXAMPLE / "pyproject.toml").read_text())
    assert set(points) == {GROUP_PREFIX + group for group in PLUGIN_KINDS}, "the example has one of each kind"
