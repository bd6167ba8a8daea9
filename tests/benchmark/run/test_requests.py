"""A wrong request: one sentence, exit 2, no traceback, and nothing computed."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from processes import QUICK, SMALL, CommandLine, Ended, only_sentence, planned_records, sentence, wait_until
from safetensors.torch import save_file

from mednet_bench.benchmark.schema.plan import Plan, read_plan
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.core.files import sha256_file


def refused(ended: Ended, folder: Path) -> str:
    """The sentence of a request that was refused before it left anything but an empty folder."""
    assert ended.returncode == 2, ended.stderr
    assert not [path for path in folder.rglob("*") if path.suffix in {".json", ".npz", ".html"}]
    return only_sentence(ended)


WRONG = {
    "task": (["run", "--tasks", "phantom-organs"], "did you mean 'phantom-organ'?"),
    "glob": (["run", "--tasks", "organ?"], "No task matches 'organ?'"),
    "no task": (["run", "--tasks", ","], "--tasks is empty: name at least one"),
    "init": (["run", *SMALL, "--inits", "imagnet"], "There is no init 'imagnet'; did you mean 'imagenet'?"),
    "init twice": (["run", *SMALL, "--inits", "mednet,mednet=x"], "one init is named twice"),
    "no images": (["run", *SMALL, "--inits", "mednet@0"], "must end in a number of images, as mednet@4000"),
    "images": (["plan", *SMALL, "--inits", "mednet@9999"], "images to pretrain on: take at most that many"),
    "no path": (["run", *SMALL, "--inits", "mednet="], "there is no path after 'mednet='"),
    "scratch": (["run", *SMALL, "--inits", "scratch=x.toml"], "drop the path"),
    "protocol": (["run", *SMALL, "--protocols", "lineer"], "did you mean 'linear'?"),
    "command": (["rnu"], "There is no command 'rnu'; did you mean 'run'?"),
    "option": (["run", "--intis", "scratch"], "'--inits'"),
    "argument": (["run", "phantom-organ"], "unexpected extra argument"),
    "choice": (
        ["run", "--overwrite", "sometimes"],
        "--overwrite sometimes: pass one of always, never",
    ),
    "seeds": (["run", *SMALL, "--seeds", "0..x"], "'0..x' is neither a number nor a range like 0..4"),
    "falling seeds": (["run", *SMALL, "--seeds", "4..0"], "must rise"),
    "negative seeds": (["run", *SMALL, "--seeds", "-1"], "between 0 and 4294967295"),
    "large seed": (["run", *SMALL, "--seeds", "4294967296"], "between 0 and 4294967295"),
    "many seeds": (["run", *SMALL, "--seeds", "0..4000000000"], "more than 100,000 seeds"),
    "fraction": (
        ["run", *SMALL, "--fractions", "10"],
        "at most 1, separated by commas (0.1 means 10 %",
    ),
    "fraction of nothing": (["run", *SMALL, "--fractions", "0,0.5"], "pass numbers above 0"),
    "no number": (["run", *SMALL, "--fractions", "nan"], "pass numbers above 0"),
    "learning rate": (["run", *SMALL, "--lr-grid", "0.1,inf"], "pass numbers above 0"),
    "neighbors": (["run", *SMALL, "--k-grid", "1.5"], "whole numbers"),
    "size": (["run", *SMALL, "--size", "30"], "choose one of 28, 64, 128, 224"),
    "jobs": (["run", *SMALL, "--jobs", "0"], "--jobs"),
    "per gpu": (["run", *SMALL, "--device", "cpu", "--per-gpu", "2"], "pass --jobs 2"),
    "card": (["run", "--task-file", "nowhere.toml"], "nowhere.toml"),
    "data root": (["run", "--data-root", "nowhere"], "The data folder nowhere (--data-root) does not exist"),
    "configuration": (["run", "--config", "nowhere.toml"], "nowhere.toml"),
    "report": (["report", "nowhere"], "There is no run directory nowhere"),
    "info": (["info", "breastmnits"], "did you mean 'breastmnist'?"),
    "download": (["download", "breastmnist", "--size", "30"], "30"),
    "empty folder": (["plan", *SMALL, "--out", ""], "--out is empty: name a folder"),
    "empty path of a pretraining": (["pretrain", "--variant", "gray", "--out="], "'--out' is empty"),
    "empty path of a report": (["report", "run", "--to", ""], "'--to' is empty"),
    "empty path of a corpus": (["corpus", "build", "", "--variant", "gray"], "'OUT' is empty"),
    "name of an init": (["run", *SMALL, "--inits", f"{'x' * 300}=w.toml"], "at most 100"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_is_one_sentence_with_its_cure(name: str, mednet_bench: CommandLine, tmp_path: Path):
    arguments, cure = WRONG[name]
    out = ["--out", tmp_path / "run"] if arguments[0] == "run" else []
    assert cure in refused(mednet_bench(*arguments, *out), tmp_path)


@pytest.mark.parametrize("out", ["file/run", "file"], ids=["below a file", "a file"])
def test_an_output_folder_that_cannot_be_written_is_refused_before_any_work(
    out: str, mednet_bench: CommandLine, tmp_path: Path
):
    (tmp_path / "file").write_text("in the way")
    error = refused(mednet_bench(*QUICK, "--out", out), tmp_path)
    assert error.startswith("Cannot write file")
    assert "choose another folder" in error


def test_all_tasks_without_network_name_every_missing_file_before_any_work(
    mednet_bench: CommandLine, tmp_path: Path
):
    command = ["run", "--tasks", "all", "--out", "run"]
    offline = refused(mednet_bench(*command, "--no-download"), tmp_path)
    # nothing listens on the discard port of loopback
    unreachable = refused(mednet_bench(*command, MEDNET_BENCH_MIRROR="http://127.0.0.1:9"), tmp_path)
    assert "Cannot reach 127.0.0.1" in unreachable
    tasks = "blood breast chest derma oct organa organc organs path pneumonia retina tissue"
    for error in (offline, unreachable):
        assert [task for task in tasks.split() if f"{task}mnist.npz (at most " not in error] == []
        assert "--data-root or MEDNET_BENCH_DATA" in error
        assert "--tasks phantom" in error, "what can be run now"


def test_a_mirror_that_is_no_address_is_refused(mednet_bench: CommandLine, tmp_path: Path):
    ended = mednet_bench("run", "--tasks", "all", "--out", "run", MEDNET_BENCH_MIRROR="example.org")
    assert "must start with http://" in refused(ended, tmp_path)


def test_an_empty_choice_of_available_tasks_says_what_can_be_done(mednet_bench: CommandLine, tmp_path: Path):
    error = refused(mednet_bench("run", "--out", "run"), tmp_path)  # `available` is the default
    assert "--data-root" in error
    assert "'phantom', which needs no data" in error


CARD = """name = "cells"
title = "Cells that a test invented"
kind = "binary"
classes = ["a", "b"]
modality = "microscopy"
variant = "gray"
source_group = "cells"
parents = ["cells"]
license = "none"
citation = "none"
path = "cells.npz"
"""


def local_set(folder: Path, compressed: bool = True) -> Path:
    """A data root with one small task of its own."""
    folder.mkdir()
    (folder / "cells.toml").write_text(CARD)
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 40), ("val", 12), ("test", 20)):
        arrays[f"{split}_images"] = rng.integers(0, 255, (n, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(n)[:, None] % 2
    (np.savez_compressed if compressed else np.savez)(folder / "cells.npz", **arrays)
    return folder


@pytest.mark.slow
def test_data_that_are_replaced_after_planning_stop_the_run_and_leave_no_record_under_their_key(
    mednet_bench: CommandLine, tmp_path: Path
):
    root, tally = local_set(tmp_path / "data"), tmp_path / "tally"
    file = root / "cells.npz"
    old = file.read_bytes()
    with np.load(file) as arrays:
        other = {name: arrays[name][::-1] for name in arrays.files}
    command = [*QUICK, "--tasks", "phantom-organ,cells", "--data-root", root, "--fractions", "1", "--seeds"]
    command += ["0..1", "--out", "run"]
    with mednet_bench.start(*command, QUICK_CROWD="2") as process:
        wait_until(lambda: tally.exists() and tally.read_text(), process)  # the phantom's first cell waits
        np.savez_compressed(file, **other)
        with tally.open("a") as waited:
            waited.write("another is there\n")
        _, error = process.communicate()
    assert process.returncode == 1
    assert "The data of cells at 28 px changed after this run was planned: run the same command" in error
    records = list(RecordStore(tmp_path / "run").read_all())
    assert {record.cell.task for record in records} == {"phantom-organ"}

    assert mednet_bench(*command).returncode == 0
    new = {record.key: record.hashes.data for record in planned_records(tmp_path / "run") if record.task}
    file.write_bytes(old)
    ended = mednet_bench(*command)
    assert "2 of 4 cells on cpu" in ended.stderr
    both = {record.key: record.hashes.data for record in RecordStore(tmp_path / "run").read_all()}
    assert len(both) == 6
    assert len({both[key] for key in both.keys() - new.keys()} | set(new.values())) == 3


@pytest.mark.parametrize("digits", [101, 300])
def test_a_task_whose_name_makes_no_file_name_is_refused_before_any_work(
    digits: int, mednet_bench: CommandLine, tmp_path: Path
):
    root = local_set(tmp_path / "data")
    (root / "cells.toml").write_text(CARD.replace('"cells"', f'"{"c" * digits}"', 1))
    ended = mednet_bench(*QUICK, "--task-file", root / "cells.toml", "--tasks", "c*", "--out", "run")
    assert "key 'name'" in refused_of_files(ended, tmp_path / "run")
    assert "at most 100" in ended.stderr


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    """Change one pixel's byte; only the checksum shows it."""
    with zipfile.ZipFile(file) as archive:
        start = archive.getinfo("train_images.npy").header_offset
    content = bytearray(file.read_bytes())
    content[start + 5000] ^= 0xFF
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut, flip], ids=["cut short", "one byte wrong"])
def test_a_damaged_local_set_is_refused_before_any_work(damage, mednet_bench: CommandLine, tmp_path: Path):
    root = local_set(tmp_path / "data", compressed=False)
    damage(root / "cells.npz")
    ended = mednet_bench(*QUICK, "--tasks", "cells", "--data-root", root, "--out", "run")
    error = refused_of_files(ended, tmp_path / "run")
    assert "cells.npz is cut short or damaged" in error


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_of_one_class_is_refused_before_any_work(
    split: str, mednet_bench: CommandLine, tmp_path: Path
):
    root = local_set(tmp_path / "data")
    with np.load(root / "cells.npz") as arrays:
        changed = {**arrays, f"{split}_labels": np.ones_like(arrays[f"{split}_labels"])}
    np.savez_compressed(root / "cells.npz", **changed)
    ended = mednet_bench(*QUICK, "--tasks", "cells", "--data-root", root, "--out", "run")
    error = refused_of_files(ended, tmp_path / "run")
    assert f"Task 'cells': the split {split} holds no class but 'b'" in error


@pytest.mark.slow
def test_fractions_that_are_the_same_images_are_named_by_plan_run_and_report(
    mednet_bench: CommandLine, tmp_path: Path
):
    root = local_set(tmp_path / "data")
    command = [*QUICK, "--tasks", "cells", "--data-root", root, "--seeds", "0", "--report", "--out", "run"]
    words = "cells: fractions 0.05 and 0.1 are the same 4 training images"
    for fractions, count in (("0.05,0.1,1", 1), ("0.1,1", 0)):
        planned = mednet_bench("plan", *command[1:-3], "--out", "run", "--fractions", fractions)
        assert planned.stderr.count(words) == count, planned.stderr
    ran = mednet_bench(*command, "--fractions", "0.05,0.1,1")
    assert ran.returncode == 0 and ran.stderr.count(words) == 1, ran.stderr
    page = (tmp_path / "run" / "report" / "report.md").read_text().replace("\u00a0", " ")
    assert "cells: 5 % of the labels and 10 % of the labels are the same 4 training images" in page


def test_a_truncated_medmnist_file_is_refused_before_any_work(mednet_bench: CommandLine, tmp_path: Path):
    root = local_set(tmp_path / "data")
    (root / "breastmnist.npz").write_bytes((root / "cells.npz").read_bytes()[:5000])
    ended = mednet_bench(*QUICK, "--tasks", "cells,breastmnist", "--data-root", root, "--out", "run")
    error = refused_of_files(ended, tmp_path / "run")
    assert "breastmnist.npz is damaged or not the published file (MD5 " in error


def refused_of_files(ended: Ended, run: Path) -> str:
    """The sentence of a refusal, where data lie in the same folder."""
    assert ended.returncode == 2, ended.stderr
    assert not [path for path in run.rglob("*") if path.is_file()]
    return only_sentence(ended)


@pytest.mark.slow
def test_a_checkpoint_with_one_tensor_renamed_is_refused_and_leaves_the_last_plan_alone(
    mednet_bench: CommandLine, tmp_path: Path
):
    weights = timm.create_model("resnet10t", num_classes=0).state_dict()
    name = next(iter(weights))
    own = write_checkpoint(tmp_path / "own.safetensors", weights)
    bad = write_checkpoint(
        tmp_path / "bad.safetensors", {("x" if key == name else key): value for key, value in weights.items()}
    )
    command = [*QUICK, "--archs", "resnet10t", "--fractions", "1", "--seeds", "0", "--out", "run"]
    ended = mednet_bench(*command, "--inits", f"mednet={own}")
    assert ended.returncode == 0, ended.stderr
    (record,) = planned_records(tmp_path / "run")
    assert record.init is not None
    assert record.init.corpora == ("somewhere",)
    plan = read_plan(tmp_path / "run")

    ended = mednet_bench(*command, "--inits", f"mednet={bad}")
    assert ended.returncode == 2
    error = only_sentence(ended)
    assert f"1 missing ({name})" in error
    assert "1 left over (x)" in error
    assert isinstance(plan, Plan)
    assert read_plan(tmp_path / "run") == plan, "a refused request replaced the plan"


def write_checkpoint(file: Path, weights: dict[str, torch.Tensor]) -> Path:
    """Save weights with the card that a user would write for them."""
    save_file(weights, file)
    file.with_suffix(".toml").write_text(
        f'name = "own"\npath = "{file.name}"\nsha256 = "{sha256_file(file)}"\narch = "resnet10t"\n'
        'corpora = ["somewhere"]\n[input]\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n'
    )
    return file


@pytest.mark.parametrize(
    ("option", "value", "cure"),
    [
        ("--archs", "resnet19", "There is no architecture 'resnet19'; did you mean 'resnet"),
        ("--device", "cuda:77", "pass --device cpu or auto"),
        ("--archs", "mixer_s32_224", "mixer_s32_224 takes only 224 px inputs: pass --input-size 224"),
    ],
)
def test_what_only_torch_can_know_is_refused_before_any_work_too(
    option: str, value: str, cure: str, mednet_bench: CommandLine, tmp_path: Path
):
    ended = mednet_bench(*QUICK, option, value, "--out", "run")
    assert cure in refused(ended, tmp_path)


def test_the_command_line_overrides_the_configuration_and_that_the_defaults(
    mednet_bench: CommandLine, tmp_path: Path
):
    (tmp_path / "run.toml").write_text(
        'tasks = "phantom-organ"\ninits = ["scratch", "imagenet"]\nprotocols = "quick"\n'
        "fractions = [0.5, 1]\nseeds = [3, 4]\ninput-size = 32\nsteps = 7\nlr_grid = [0.1, 0.2]\n"
        'augment = false\nout = "there"\nreport = false\nlimit = 1\n'
    )
    ended = mednet_bench("run", "--config", "run.toml", "--seeds", "5", "--steps", "9")
    assert ended.returncode == 0, ended.stderr
    plan = read_plan(tmp_path / "there")
    assert plan is not None
    assert {planned.cell.seed for planned in plan.cells} == {5}
    assert {planned.cell.init for planned in plan.cells} == {"scratch", "imagenet"}
    assert {planned.cell.fraction for planned in plan.cells} == {0.5, 1}
    assert (plan.recipe.steps, plan.recipe.lr_grid, plan.recipe.augment) == ((9, 9), (0.1, 0.2), False)
    assert plan.recipe.batch_size == 32, "a default that neither names"
    assert not (tmp_path / "there" / "report").exists()
    assert len(list((tmp_path / "there" / "records").iterdir())) == 1


ILL = {
    "unknown key": ("fraction = [0.1]", "There is no key 'fraction'; did you mean 'fractions'?"),
    "a table": ('[run]\ntasks = "all"', "There is no key 'run'"),
    "no TOML": ('tasks = "all', "is not valid TOML"),
    "text for a number": ('steps = "many"', "key 'steps': many: pass a whole number of at least 1"),
    "a broken number": ("steps = 3.5", "key 'steps': 3.5: pass a whole number"),
    "truth for a number": ("steps = true", "key 'steps': True: pass a whole number"),
    "a number for truth": ("augment = 3", "key 'augment': 3: pass true or false"),
    "a date": ("seeds = 2028-01-01", "key 'seeds': 2028-01-01: pass whole numbers"),
    "a list of lists": ("seeds = [[1], [2]]", "key 'seeds': [1],[2]: pass whole numbers"),
    "no such choice": ('overwrite = "maybe"', "key 'overwrite': maybe: pass one of"),
    "out of range": ("jobs = 0", "key 'jobs'"),
}


@pytest.mark.parametrize("name", ILL)
def test_a_configuration_that_is_wrong_names_file_and_key(
    name: str, mednet_bench: CommandLine, tmp_path: Path
):
    content, cure = ILL[name]
    (tmp_path / "run.toml").write_text(content)
    error = refused(mednet_bench("run", "--config", "run.toml", "--out", "run"), tmp_path)
    assert error.startswith("run.toml")
    assert cure in error


@pytest.mark.parametrize("command", [["run"], ["plan"], ["regress", "--against", "baseline.json"]])
def test_code_named_by_a_configuration_is_announced_and_code_typed_by_a_person_is_not(
    command: list[str], mednet_bench: CommandLine, tmp_path: Path
):
    (tmp_path / "own.py").write_text("raise SystemExit('it ran')\n")
    (tmp_path / "run.toml").write_text('init-file = ["own.py"]\n')
    ended = mednet_bench(*command, "--config", "run.toml")
    assert ended.stderr.splitlines() == [
        "run.toml names the init file own.py: its code runs now.",
        "mednet-bench: own.py cannot be run (SystemExit: it ran): mend it.",
    ]
    ended = mednet_bench("run", "--config", "run.toml", "--init-file", "own.py", *SMALL, "--out", "run")
    assert ended.stderr == "mednet-bench: own.py cannot be run (SystemExit: it ran): mend it.\n"


def test_the_exit_codes_of_the_help_are_those_of_the_readme(mednet_bench: CommandLine):
    text = " ".join(mednet_bench("--help").stdout.split())
    codes = text[text.index("Exit codes: ") :]
    assert all(f" {code} " in codes for code in (0, 1, 2, 3, 130, 143))
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    assert codes in " ".join(readme.split())


def test_a_configuration_may_name_one_task_file_or_several(mednet_bench: CommandLine, tmp_path: Path):
    local_set(tmp_path / "data")
    (tmp_path / "run.toml").write_text('task_file = "data/cells.toml"\n')
    ended = mednet_bench("run", "--config", "run.toml", *SMALL, "--tasks", "sells", "--out", "run")
    assert "did you mean 'cells'?" in sentence(ended)
