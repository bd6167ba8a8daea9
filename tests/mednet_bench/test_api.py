"""The Python API: what a notebook calls."""

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import mednet_bench as mb
from mednet_bench.benchmark.schema.records import Record
from mednet_bench.benchmark.training.metrics import METRICS
from mednet_bench.benchmark.training.protocol import PROTOCOLS, EvalContext, ProtocolResult
from mednet_bench.reports.elements.section import SECTIONS

OPTIONS = {
    "tasks": ["phantom-organ"], "inits": ["imagenet", "scratch"], "protocols": ["knn"],
    "fractions": [0.1, 1.0], "seeds": range(2), "size": 28, "input_size": 32, "download": False,
}  # fmt: skip
HEAVY = ("torch", "pandas", "numpy", "matplotlib", "scipy", "sklearn")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api") / "run"


@pytest.fixture(scope="module")
def results(out: Path, tmp_path_factory: pytest.TempPathFactory) -> mb.Results:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDNET_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return mb.run(out=out, **OPTIONS)


def loaded_modules(code: str) -> list[str]:
    """Run code in a new process; return which heavy libraries it has imported."""
    code += f"\nimport sys, json; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def test_the_import_and_a_configuration_load_no_heavy_library():
    assert loaded_modules("import mednet_bench as mb\nmb.RunConfig(), mb.__version__, dir(mb)") == []


def test_the_import_adds_no_filter_of_warnings():
    code = "import warnings; old = [*warnings.filters]; import mednet_bench; assert warnings.filters == old"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_exists_and_no_other():
    assert sorted(mb.__all__) == mb.__all__ and set(mb.__all__) <= set(dir(mb))
    for name in mb.__all__:
        assert getattr(mb, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        _ = mb.rnu  # type: ignore[attr-defined]


def test_frames_equal_the_files(results: mb.Results, out: Path):
    report = out / "report"
    assert_frame_equal(results.leaderboard(), pd.read_csv(report / "leaderboard.csv"), check_exact=True)
    assert_frame_equal(results.verdicts(), pd.read_csv(report / "verdicts.csv"), check_exact=True)
    again = mb.load_results(out)
    assert_frame_equal(again.leaderboard(), results.leaderboard(), check_exact=True)
    assert set(results.leaderboard().fraction) == {0.1, 1.0} and results.failed == ()
    assert len(results.verdicts()) == 2


def test_results_show_themselves_in_a_terminal_and_a_notebook(
    results: mb.Results, out: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delattr("mednet_bench.reports.pages.overview.build_page")  # it draws every figure
    answer = "Generated images: imagenet "
    assert answer in repr(results) and answer in results._repr_html_()
    assert str(out) in repr(results) and len(repr(results)) <= 500
    shown = results._repr_html_()
    board = results.leaderboard().query("metric == 'auc' and fraction == 1.0 and init == 'scratch'")
    mean = board["mean"].item()
    assert "<table" in shown and f"{mean:.3f}" in shown and "scratch" in shown


def test_the_same_call_resumes_and_a_changed_margin_is_that_of_the_report(
    results: mb.Results, out: Path, tmp_path: Path
):
    seen: list[Record] = []
    again = mb.run(config=mb.RunConfig(out=out, **OPTIONS), margin=0.2, on_record=seen.append)
    assert (seen, again.margin) == ([], 0.2)
    page = again.report(tmp_path / "page")
    assert page == tmp_path / "page" / "report.html" and "0.2 AUC" in page.read_text()


@pytest.mark.slow
def test_new_records_reach_the_callback(tmp_path: Path):
    seen: list[Record] = []
    mb.run(out=tmp_path / "run", on_record=seen.append, report=False, **{**OPTIONS, "fractions": 0.1})
    assert [(r.cell.init, r.cell.seed, r.status) for r in seen] == [
        (init, seed, "ok") for init in ("imagenet", "scratch") for seed in (0, 1)
    ]
    assert not (tmp_path / "run" / "report").exists()


def test_a_plan_lists_the_cells_and_which_are_done(results: mb.Results, out: Path):
    plan = mb.plan(out=out, **{**OPTIONS, "seeds": range(3)})
    assert plan.cells.groupby("seed").state.unique().map(list).to_dict() == {
        0: ["done"],
        1: ["done"],
        2: ["to do"],
    }
    assert "4 of 12 cells" in repr(plan) and "; 1 task; " in repr(plan) and len(repr(plan)) <= 500
    low, high = plan.seconds()
    assert 0 < low <= high


def test_wrong_options_are_the_users_errors():
    with pytest.raises(mb.UserError, match="no option 'tsks'; did you mean 'tasks'"):
        mb.run(tsks="phantom")
    with pytest.raises(mb.UserError, match="no protocol 'lineer'; did you mean 'linear'"):
        mb.plan(tasks="phantom-organ", protocols="lineer")
    with pytest.raises(mb.UserError, match="names no run directory"):
        mb.load_results()
    with pytest.raises(mb.UserError, match="There is no run directory nowhere"):
        mb.load_results("nowhere")
    with pytest.raises(mb.UserError, match="--margin 0"):
        mb.load_results("nowhere", margin=0)
    with pytest.raises(mb.UserError, match="--size 0"):
        mb.list_tasks(size=0)


def test_an_error_that_announces_an_example_shows_it():
    with pytest.raises(mb.UserError, match="write one there, for example:") as caught:
        mb.plan(tasks="phantom-organ", inits="mine=nowhere.toml")
    assert 'name = "my-mednet"' in "\n".join(caught.value.__notes__)


def test_arguments_of_a_wrong_kind_are_the_users_errors(out: Path):
    for function in (mb.run, mb.plan):
        with pytest.raises(mb.UserError, match="'phantom-organ' is no RunConfig: pass options by name"):
            function("phantom-organ")  # type: ignore[arg-type]
    with pytest.raises(mb.UserError, match="on_record=None cannot be called"):
        mb.run(out=out, on_record=None, **OPTIONS)  # type: ignore[arg-type]
    with pytest.raises(mb.UserError, match=r"\['a', 'b'\] is no run directory: pass paths one by one"):
        mb.load_results(["a", "b"])  # type: ignore[arg-type]
    with pytest.raises(mb.UserError, match="The task 'rings' gives no Task"):
        mb.register_task("rings")  # type: ignore[arg-type]


@pytest.mark.usefixtures("results")
def test_several_runs_name_the_cure_for_a_report_without_a_path(out: Path, tmp_path: Path):
    other = tmp_path / "copy"
    shutil.copytree(out, other)
    with pytest.raises(mb.UserError, match=r"--to, or in Python report\(path\)"):
        mb.load_results(out, other).report()


def test_lists_name_tasks_and_inits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MEDNET_BENCH_DATA", raising=False)
    assert {"breastmnist", "phantom-organ"} <= set(mb.list_tasks())
    assert mb.list_tasks(available=True, data_root=tmp_path) == []
    assert {"imagenet", "mednet", "scratch"} <= set(mb.list_inits())


@pytest.fixture
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after the test what it has registered."""
    for registry in (METRICS, PROTOCOLS, SECTIONS):
        monkeypatch.setattr(registry, "_things", dict(registry.items()))
        monkeypatch.setattr(registry, "added_here", set())


@pytest.mark.slow
@pytest.mark.usefixtures("own_registries")
def test_what_is_registered_here_is_used_here_and_not_by_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(logging.getLogger("mednet_bench"), "propagate", True)  # other tests run commands
    mb.register_metric("largest_score", lambda predictions: float(np.max(predictions.scores)))
    mb.register_protocol("my-knn", PROTOCOLS["knn"])
    mb.register_protocol("my-knn", PROTOCOLS["knn"])  # as a notebook's cell that is run again
    results = mb.run(out=tmp_path / "run", **{**OPTIONS, "protocols": "my-knn", "fractions": 1})
    assert "belong to this process" not in caplog.text
    mb.run(out=tmp_path / "run", **{**OPTIONS, "protocols": "my-knn", "fractions": 1})
    assert "largest_score, my-knn belong to this process" in caplog.text
    board = results.leaderboard()
    assert {"largest_score", "auc"} <= set(board.metric) and set(board.protocol) == {"my-knn"}
    with pytest.raises(mb.UserError, match=r"was registered in this one \(largest_score, my-knn\)"):
        mb.run(out=tmp_path / "run", jobs=2, **OPTIONS)
    with pytest.raises(mb.UserError, match="Two protocols are called 'knn'"):
        mb.register_protocol("knn", PROTOCOLS["knn"])
    with pytest.raises(mb.UserError, match="'nothing' gives a protocol without"):
        mb.register_protocol("nothing", object())  # type: ignore[arg-type]


@pytest.mark.usefixtures("own_registries")
def test_a_registered_metric_or_section_that_fails_stops_no_run(tmp_path: Path):
    def fail(given: object) -> float:
        raise RuntimeError("my mistake")

    mb.register_metric("failing", fail)
    mb.register_section("failing", fail)  # type: ignore[arg-type]
    results = mb.run(out=tmp_path / "run", **{**OPTIONS, "inits": "scratch", "fractions": 1, "seeds": 0})
    (record,) = results.input.counted
    assert record.metrics["failing"] is None and "RuntimeError: my mistake" in record.undefined["failing"]
    page = (tmp_path / "run" / "report" / "report.html").read_text()
    assert "The plug-in that makes this section failed (RuntimeError: my mistake)." in page


@pytest.mark.usefixtures("own_registries")
def test_results_show_that_cells_failed(tmp_path: Path):
    class FailingProtocol(type(PROTOCOLS["knn"])):
        def score(self, job: EvalContext) -> ProtocolResult:
            raise ValueError("my mistake")

    mb.register_protocol("failing", FailingProtocol())
    options = {"protocols": ["knn", "failing"], "inits": "scratch", "fractions": 1, "seeds": 0}
    results = mb.run(out=tmp_path / "run", **{**OPTIONS, **options})
    assert len(results.failed) == 1
    for shown in (repr(results), results._repr_html_()):
        assert "Failed: 1 cell, see `failed`." in shown
