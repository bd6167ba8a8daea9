"""`--executor slurm`: the script, its workers on a stand-in for Slurm, `status` and `cancel`."""

import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from processes import QUICK, CommandLine, planned_records, records_in, sentence, tally, wait_until
from stub_worker import stub_cells

from mednet_bench.benchmark.run import executor, worker
from mednet_bench.benchmark.run.executor import (
    LEAST_SECONDS,
    TimeLimit,
    check_executor,
)
from mednet_bench.benchmark.run.executors import slurm
from mednet_bench.benchmark.run.scheduler import ResumeRules
from mednet_bench.benchmark.run.submitted_jobs import read_jobs
from mednet_bench.benchmark.run.waiting_run import WaitingRun, WorkerArgs
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.core.errors import UserError

Settings = dict[str, str]
CELLS = ["--fractions", "1", "--executor", "slurm", "--out", "run"]


@pytest.fixture
def cluster(tmp_path: Path) -> Settings:
    """Environment in which Slurm's commands are the stand-in's."""
    state, programs = tmp_path / "slurm", tmp_path / "programs"
    for folder in (state, programs):
        folder.mkdir()
    for name in ("sbatch", "squeue", "scancel"):
        (programs / name).write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            f"import fake_slurm\nfake_slurm.main({name!r}, *sys.argv[1:])\n"
        )
        (programs / name).chmod(0o755)
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(state)}


def test_the_script_is_readable_and_options_override_those_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_DATA", "/data/of us")
    options = ["partition=gpu", "gres=gpu:1", "--time=02:00:00", "exclusive", "cpus-per-task=8"]
    lines = slurm.write_script(tmp_path, options, 32, tmp_path / "worker.json").splitlines()
    assert lines[0] == "#!/bin/bash"
    for line in ("array=0-31", "partition=gpu", "gres=gpu:1", "exclusive", "cpus-per-task=8", "requeue"):
        assert f"#SBATCH --{line}" in lines
    assert "export MEDNET_BENCH_DATA='/data/of us'" in lines and f"cd {Path.cwd()} || exit 2" in lines
    assert lines[-1].startswith("exec ") and lines[-1].endswith("worker.json 02:00:00")
    assert sum(line.startswith("#SBATCH --cpus-per-task") for line in lines) == 1


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("array=0-9", "array is set by the program"),
        ("a b=1", "pass options of sbatch"),
        ("x=\n#", "pass options"),
    ],
)
def test_wrong_options_of_sbatch_are_one_sentence(option: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        slurm.write_script(tmp_path, [option], 1, tmp_path / "worker.json")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 2}, "--workers is for --executor ray or slurm: pass that, or for local --jobs"),
        ({"slurm": "partition=gpu"}, "--slurm is for --executor slurm"),
        ({"executor": "slurm", "jobs": 2}, "for slurm --workers and --slurm"),
        ({"executor": "slrum"}, "did you mean 'slurm'"),
    ],
)
def test_options_of_another_executor_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_executor(RunConfig(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("01:30", 90),
        ("02:00:00", 7200),
        ("1-12", 129600),
        ("1-00:30", 88200),
        ("", float("inf")),
    ],
)
def test_time_limits_are_read_as_slurm_writes_them(
    text: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert worker.seconds_left(text) == seconds
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(time.time() + 60))
    assert 0 < worker.seconds_left(text) <= 60


def test_a_worker_takes_no_cell_that_would_not_end_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limit = TimeLimit(1000)
    assert limit.may_start()
    limit.note_start()
    now[0] = 300.0
    assert limit.may_start() and limit.longest == 300
    now[0] = 401.0
    assert not limit.may_start() and limit.over and limit.was_used
    assert not TimeLimit(LEAST_SECONDS - 1).may_start()


@pytest.mark.parametrize(("used", "code"), [(True, 0), (False, 2)])
def test_a_job_whose_time_is_over_is_queued_again_if_it_had_time_for_a_cell(
    used: bool, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(args: WorkerArgs, limit: TimeLimit) -> None:
        limit.over, limit.was_used = True, used

    calls: list[list[str]] = []
    monkeypatch.setattr(executor, "serve_worker", serve)
    monkeypatch.setattr(worker, "heed_sigterm", lambda: None)
    monkeypatch.setattr(worker.subprocess, "run", calls.append)
    # one task of an array has the array's number as its own, which names all tasks
    for name, value in (("JOB_ID", "12"), ("ARRAY_JOB_ID", "12"), ("ARRAY_TASK_ID", "3")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    args = WorkerArgs(request=RunConfig(), device="cpu", rules=ResumeRules(), keys=())
    (tmp_path / "args").write_bytes(msgspec.json.encode(args))
    assert worker.worker_main([str(tmp_path / "args")]) == code
    assert calls == [["scontrol", "requeue", "12_3"]] * used
    assert ("leaves no time for a cell" in capsys.readouterr().err) != used


def test_a_second_submission_warns_and_cancel_knows_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers, queued = iter(["76;here\n", "77\n"]), list[str]()
    monkeypatch.setattr(slurm, "call_scheduler", lambda *command, cure: next(answers))
    monkeypatch.setattr(slurm, "queued_jobs", lambda folder: queued)
    resolved = SimpleNamespace(request=RunConfig(out=str(tmp_path), executor="slurm", workers=4))
    waiting = WaitingRun(resolved, stub_cells(2), ResumeRules(run="r"), 4, "")  # type: ignore[arg-type]
    assert slurm.submit_job(waiting).id == "76" and not caplog.text
    queued.append("76")
    assert slurm.submit_job(waiting).workers == 2
    assert "other workers of this run wait or run already (jobs 76)" in caplog.text
    assert [job.id for job in read_jobs(tmp_path)] == ["76", "77"]


def test_values_with_commas_are_not_options_of_their_own() -> None:
    options = ["exclude=n1", "n2", "nodelist=n[1", "3]", "exclusive", "gres=gpu:1"]
    assert slurm._join_lists(options) == ["exclude=n1,n2", "nodelist=n[1,3]", "exclusive", "gres=gpu:1"]


@pytest.mark.slow
def test_print_shows_the_script_and_starts_nothing(
    mednet_bench: CommandLine, cluster: Settings, tmp_path: Path
):
    ended = mednet_bench.succeed(*QUICK, "--seeds", "0..3", *CELLS, "--workers", "32", "--print", **cluster)
    assert ended.stdout.startswith("#!/bin/bash\n") and "--array=0-3\n" in ended.stdout
    assert not (tmp_path / "slurm" / "calls").exists() and not records_in(tmp_path / "run")


def test_a_refusal_and_a_machine_without_slurm_are_one_sentence(
    mednet_bench: CommandLine, cluster: Settings
) -> None:
    command = [*QUICK, "--seeds", "0", *CELLS]
    ended = mednet_bench(*command, "--slurm", "partition=none", **cluster)
    assert ended.returncode == 2 and "invalid partition specified: none): change --slurm" in sentence(ended)
    ended = mednet_bench(*command, PATH="nowhere")
    assert ended.returncode == 2 and "There is no sbatch on this machine" in sentence(ended)
    ended = mednet_bench("cancel", "run", **cluster)
    assert ended.returncode == 2 and "has no jobs on a cluster" in sentence(ended)
    ended = mednet_bench("status", "nowhere")
    assert ended.returncode == 2 and "holds no plan" in sentence(ended)


@pytest.mark.slow
def test_workers_compute_what_one_process_computes_and_the_run_waits_for_them(
    mednet_bench: CommandLine, cluster: Settings, tmp_path: Path
):
    command = [*QUICK, "--seeds", "0..5", *CELLS, "--workers", "2"]
    ended = mednet_bench.succeed(*command, "--wait", **cluster)
    assert "Submitted job 4711 with 2 workers for 6 cells" in ended.stderr
    assert (
        len({line.split()[0] for line in tally(tmp_path / "tally")}) <= 2
        and len(tally(tmp_path / "tally")) == 6
    )
    alone = [*command[: command.index("--executor")], "--out", "alone"]
    mednet_bench.succeed(*alone)
    of = {record.key: record for record in planned_records(tmp_path / "alone")}
    for record in planned_records(tmp_path / "run"):
        assert (record.metrics, record.hashes) == (of[record.key].metrics, of[record.key].hashes)
        assert record.provenance.threads == of[record.key].provenance.threads
    assert "nothing to compute" in mednet_bench.succeed(*command, **cluster).stderr


@pytest.mark.slow
def test_a_canceled_run_releases_its_cells_and_the_same_command_resumes(
    mednet_bench: CommandLine, cluster: Settings, tmp_path: Path
):
    command = [*QUICK, "--seeds", "0..3", *CELLS, "--workers", "2"]
    mednet_bench.succeed(*command, **cluster, QUICK_SECONDS="60")
    wait_until(lambda: len(tally(tmp_path / "tally")) == 2)
    status = json.loads(mednet_bench.succeed("status", "run", "--format", "json").stdout)
    assert (status["cells"], status["ok"], len(status["running"])) == (4, 0, 2)
    assert all(re.search(r" in job 4711_[01]$", cell["owner"]) for cell in status["running"])
    assert "4711, 2 workers" in mednet_bench.succeed("status", "run").stdout
    mednet_bench.succeed("cancel", "run", **cluster)
    wait_until(lambda: not list((tmp_path / "run" / "locks").iterdir()))
    mednet_bench.succeed(*command, "--wait", **cluster)
    assert len(planned_records(tmp_path / "run")) == 4


@pytest.mark.slow
def test_a_run_that_waits_notices_that_all_workers_have_ended(
    mednet_bench: CommandLine, cluster: Settings, tmp_path: Path
):
    prepare: Callable[[], object] = look_often
    command = [*QUICK, "--seeds", "0..3", *CELLS, "--wait"]
    with mednet_bench.start(*command, prepare=prepare, **cluster, QUICK_SECONDS="600") as process:
        wait_until(lambda: tally(tmp_path / "tally"), process)
        os.kill(int(tally(tmp_path / "tally")[0].split()[0]), 9)
        _, stderr = process.communicate()
    assert process.returncode == 1
    assert "All workers of job 4711 ended before all was done" in stderr


def look_often() -> None:
    """Let a process ask the scheduler every second."""
    slurm.QUEUE_SECONDS = 1.0
