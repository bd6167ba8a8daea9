"""Parity: tolerance and verdicts, the run of a study, and exit codes after a training."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from processes import CommandLine

from mednet_bench.benchmark.parity import study as studies
from mednet_bench.benchmark.parity.facts import PARITY_METRICS, PublishedMean
from mednet_bench.benchmark.parity.judge import CAP, PARITY_FLOOR, check_tolerance, tolerance
from mednet_bench.benchmark.parity.run_config import run_config_of
from mednet_bench.benchmark.parity.study import STUDIES, ParityStudy
from mednet_bench.benchmark.protocols.published import LAST_EPOCH, MEDMNIST_V2, PublishedProtocol
from mednet_bench.benchmark.run.cell_runner import CellRunner
from mednet_bench.benchmark.training.device_data import DeviceSplits
from mednet_bench.benchmark.training.protocol import PROTOCOLS, EvalContext, ProtocolResult
from mednet_bench.cli.main import cli
from mednet_bench.core.config_fields import changed_arguments
from mednet_bench.tasks.task import TASKS

PLACE = ("breastmnist", "resnet18_cifar", 28)
AUC = PublishedMean("auc", 0.901, None, 3)


def test_the_tolerance_is_a_t_interval_of_the_difference_of_two_means():
    # 4.302653 is t(.975) with 2 degrees of freedom
    assert tolerance(0.005, 3, AUC) == pytest.approx(4.302653 * 0.005 * math.sqrt(1 / 3 + 1 / 3), rel=1e-6)
    assert tolerance(0.005, 5, AUC) == pytest.approx(2.776445 * 0.005 * math.sqrt(1 / 5 + 1 / 3), rel=1e-6)
    assert tolerance(0.004, 5, AUC) == PARITY_FLOOR


def test_a_published_sd_enters_with_welch_s_degrees_of_freedom():
    published = PublishedMean("auc", 0.9, 0.004, 3)
    equal = tolerance(0.004, 3, published)  # equal variances and sizes: 2 + 2 degrees of freedom
    assert equal == PARITY_FLOOR
    assert tolerance(0.008, 3, PublishedMean("auc", 0.9, 0.008, 3)) == pytest.approx(
        2.776445 * 0.008 * math.sqrt(2 / 3), rel=1e-6
    )


@pytest.mark.parametrize(
    ("sd", "seeds", "allowed"), [(None, 1, PARITY_FLOOR), (0.0, 3, PARITY_FLOOR), (0.2, 3, CAP)]
)
def test_the_tolerance_has_a_floor_and_a_cap(sd: float | None, seeds: int, allowed: float):
    assert tolerance(sd, seeds, AUC) == allowed
    assert tolerance(sd, seeds, replace(AUC, sd=0.0)) == allowed


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.911], "IN"),  # on the limit of a single seed
        ([0.9111], "OUT"),
        ([0.89, 0.90, 0.91], "IN"),
        ([0.93, 0.935, 0.94], "OUT"),  # their scatter allows .018
        ([0.80, 0.86, 0.92], "OUT"),  # erratic: .041 off, and the t interval alone would allow .21
        ([0.87, 0.88, 0.98], "IN"),
        ([0.9, None, 0.9], "FAILED"),
        ([], "FAILED"),
    ],
)
def test_a_value_is_in_or_out(values: list[float | None], verdict: str):
    row = check_tolerance(PLACE, AUC, values)
    assert row.verdict == verdict
    if verdict != "FAILED":
        found = np.array(values, dtype=float)
        assert row.ours == pytest.approx(found.mean())
        assert row.difference == pytest.approx(found.mean() - 0.901)
        assert row.sd is None if len(found) == 1 else row.sd == pytest.approx(found.std(ddof=1))
    else:
        assert row.ours is row.tolerance is None and "seeds have no value" in row.reason


@pytest.mark.parametrize("name", STUDIES)
def test_the_facts_are_shares_of_real_tasks_for_the_default_arch(name: str):
    study = STUDIES[name]
    facts = study.facts
    medmnist = {task.name for task in dict(TASKS.items()).values() if task.family == "medmnist"}
    assert study.arch in facts.archs(28)
    for size, archs in facts.rows.items():
        for arch, tasks in archs.items():
            assert set(tasks) == medmnist
            for task in tasks:
                found = list(facts.published(task, arch, int(size)))
                assert tuple(value.metric for value in found) == PARITY_METRICS
                assert all(0.4 < value.value < 1 and value.runs == 3 for value in found)
                assert all(value.sd is None or 0 <= value.sd < 0.15 for value in found)


def test_the_facts_are_what_was_published():
    v2 = STUDIES["medmnist-v2"].facts.published("breastmnist", "resnet18_cifar", 28)
    assert [(value.value, value.sd) for value in v2] == [(0.901, None), (0.863, None)]
    plus = STUDIES["medmnist-plus"].facts.published("retinamnist", "densenet121", 64)
    assert [(round(p.value, 4), round(p.sd or 0, 4)) for p in plus] == [(0.7701, 0.0022), (0.5483, 0.0059)]


WRONG = {
    "study": (["medmnist-v3"], "There is no study 'medmnist-v3'; did you mean 'medmnist-v2'?"),
    "arch": (["medmnist-v2", "--archs", "resnet18"], "pass --archs resnet18_cifar or resnet50_cifar"),
    "size": (["medmnist-v2", "--size", "64"], "nothing published at --size 64: pass one of 28"),
    "unknown task": (["medmnist-v2", "--tasks", "breastmnits"], "did you mean 'breastmnist'?"),
    "task": (["medmnist-v2", "--tasks", "phantom-organ"], "nothing published for phantom-organ: pass one of"),
    "no data": (["medmnist-v2", "--no-download"], "Missing: breastmnist.npz"),
    "no available task": (["medmnist-v2", "--tasks", "available"], "--data-root"),
    "seeds": (["medmnist-v2", "--seeds", "2..0"], "must rise"),
    "epochs": (["medmnist-v2", "--epochs", "1"], "'--epochs'"),
    "weights": (
        ["medmnist-plus", "--no-download"],
        "pass timm's file as --imagenet FILE with --archs resnet18",
    ),
    "no use for weights": (["medmnist-v2", "--imagenet", "x"], "medmnist-v2 with --archs resnet18_cifar"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_is_answered_with_its_cure(name: str, mednet_bench: CommandLine, tmp_path: Path):
    arguments, cure = WRONG[name]
    ended = mednet_bench("parity", *arguments, "--device", "cpu", HF_HUB_OFFLINE="1")
    assert ended.returncode == 2, ended.stderr
    lines = ended.stderr.splitlines()
    assert cure in lines[-1] and lines[-1].startswith("mednet-bench: "), ended.stderr
    assert [line for line in lines[:-1] if not line.startswith("Parity is this run: ")] == []
    assert not list(tmp_path.rglob("*.json"))


def test_a_study_is_a_run_of_its_protocol_at_its_side_on_all_labels():
    values = {"tasks": ("organ?mnist", "breastmnist"), "archs": ("densenet121",), "size": 64, "seeds": "3"}
    values |= {"imagenet": Path("w"), "data_root": None, "download": False, "device": "cpu", "jobs": 2}
    values["out"] = ""
    config = run_config_of(STUDIES["medmnist-plus"], values)
    given = changed_arguments(config, config.preset)
    assert " ".join(given) == (
        "--tasks organamnist,organcmnist,organsmnist,breastmnist --inits imagenet=w --archs densenet121 "
        "--protocols medmnist-plus --fractions 1 --seeds 3 --size 64 --input-size 224 --no-download "
        "--device cpu --jobs 2 --out runs/parity-medmnist-plus"
    )


def toy_study(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Set up `parity toy`: a training of seconds on generated images, with facts in `folder`."""
    script = replace(MEDMNIST_V2, epochs=4, batch=64, lr=3e-3, rate=lambda epoch: 1.0)
    monkeypatch.setitem(PROTOCOLS._things, "toy", PublishedProtocol(script))
    monkeypatch.setitem(
        STUDIES, "toy", ParityStudy("toy", "scratch", "test_efficientnet", 28, ("phantom-organ",))
    )
    monkeypatch.setattr(studies, "HERE", folder)
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(folder / "cache"))
    monkeypatch.delenv("MEDNET_BENCH_DATA", raising=False)
    monkeypatch.chdir(folder)


def publish(folder: Path, auc: float, accuracy: float) -> None:
    """Write the facts of the toy study."""
    (folder / "toy.toml").write_text(
        'source = "none"\nunit = 1.0\nruns = 3\nnote = "none"\n[rows.28.test_efficientnet]\n'
        f"phantom-organ = {{ auc = {auc:.3f}, accuracy = {accuracy:.3f} }}\n"
    )


def parity(out: str) -> tuple[int, dict[str, dict[str, object]]]:
    """Run `parity toy`; return its exit code and the kept epoch's rows by metric."""
    code = cli.main(
        ["parity", "toy", "--seeds", "0,1", "--out", out, "--device", "cpu"], standalone_mode=False
    )
    rows = json.loads((Path(out) / "parity.json").read_text())["rows"]
    return code, {row["metric"]: row for row in rows if row["epoch"] == "kept"}


@pytest.mark.slow
def test_a_run_is_in_beside_its_own_values_and_a_broken_one_is_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    toy_study(monkeypatch, tmp_path)
    publish(tmp_path, 0.5, 0.5)
    code, rows = parity("run")
    assert code == 3 and {row["verdict"] for row in rows.values()} == {"OUT"}
    assert float(str(rows["auc"]["ours"])) > 0.7, "four epochs teach it something"

    publish(tmp_path, *(float(str(rows[metric]["ours"])) for metric in PARITY_METRICS))
    capsys.readouterr()
    code, rows = parity("run")
    assert code == 0 and {row["verdict"] for row in rows.values()} == {"IN"}
    output = capsys.readouterr()
    assert "nothing to compute" in output.err, "finished cells are not computed again"
    assert "mednet-bench run --tasks phantom-organ --inits scratch" in output.err
    assert "kept epoch: 2 of 2 published values IN, 0 OUT; last epoch: " in output.out
    assert "2 of 2 published values IN" in (tmp_path / "run" / "parity.md").read_text()

    load = CellRunner._load_task

    def shuffled(self: CellRunner, task: str, size: int) -> DeviceSplits:
        data = load(self, task, size)
        train = data.splits["train"]
        labels = np.random.default_rng(0).permutation(train.labels)
        data.splits = {**data.splits, "train": replace(train, labels=labels)}
        return data

    monkeypatch.setattr(CellRunner, "_load_task", shuffled)
    code, rows = parity("broken")
    assert code == 3 and {row["verdict"] for row in rows.values()} == {"OUT"}


def test_what_the_last_epoch_gives_is_shown_beside_and_decides_only_where_the_facts_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def score(self: PublishedProtocol, job: EvalContext) -> ProtocolResult:
        truth = np.eye(len(job.task.classes))[job.labels("test")]
        val = np.eye(len(job.task.classes))[job.labels("val")]
        return ProtocolResult(1 - truth, val, "random:0", beside={LAST_EPOCH: truth})

    toy_study(monkeypatch, tmp_path)
    publish(tmp_path, 1.0, 1.0)
    monkeypatch.setattr(PublishedProtocol, "score", score)
    code, rows = parity("run")
    assert code == 3 and {row["verdict"] for row in rows.values()} == {"OUT"}
    facts = (tmp_path / "toy.toml").read_text()
    (tmp_path / "toy.toml").write_text(f'epoch = "{LAST_EPOCH}"\n{facts}')
    code, rows = parity("run")
    assert code == 0 and {row["verdict"] for row in rows.values()} == {"OUT"}
    found = json.loads((tmp_path / "run" / "parity.json").read_text())["rows"]
    assert {(row["epoch"], row["verdict"], row["counts"]) for row in found} == {
        ("kept", "OUT", False),
        (LAST_EPOCH, "IN", True),
    }


def test_a_cell_that_fails_is_a_value_without_a_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def score(self: PublishedProtocol, job: EvalContext) -> ProtocolResult:
        if job.cell.seed == 1:
            raise ArithmeticError("the test wants it")
        truth = np.eye(len(job.task.classes))
        return ProtocolResult(truth[job.labels("test")], truth[job.labels("val")], "random:0")

    toy_study(monkeypatch, tmp_path)
    publish(tmp_path, 1.0, 1.0)
    monkeypatch.setattr(PublishedProtocol, "score", score)
    code, rows = parity("run")
    assert code == 1
    assert {row["verdict"] for row in rows.values()} == {"FAILED"}
    assert rows["auc"]["reason"] == "1 of 2 seeds have no value" and rows["auc"]["ours"] is None
