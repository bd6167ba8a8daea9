"""Every command and the Python example of the README are run; options at the end make commands small."""

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
(EXAMPLE_OUTPUT,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
MOST_WORDS = 1000
COMMANDS = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]

# A later option overrides an earlier one.
SMALL_TRAINING = (
    "--steps 2 --evaluations 1 --lr-grid 0.001 --pretrain-images 64 --pretrain-batch 32 --l2-grid 1"
)
SMALL = f"{SMALL_TRAINING} --seeds 0 --fractions 0.1 --limit 1 --input-size 32"


def data_folder() -> Path | None:
    """Return the folder with real MedMNIST files, or None where there is none."""
    folder = Path(os.environ.get("MEDNET_BENCH_DATA") or ROOT.parent / "shared" / "data")
    return folder.resolve() if (folder / "medmnist" / "breastmnist.npz").is_file() else None


def data() -> Path:
    """Return the folder with real MedMNIST files; skip where there is none."""
    folder = data_folder()
    if not folder:
        pytest.skip("no MedMNIST files: MEDNET_BENCH_DATA names no folder with medmnist/breastmnist.npz")
    return folder


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of a reader of the README: data, weights, a local set with a card."""
    desk = tmp_path_factory.mktemp("desk")
    (desk / "data").symlink_to(data())
    _weights(desk)
    _cells(desk)
    _scans(desk)
    return desk


def _weights(desk: Path) -> None:
    """Write a network's state dict as PyTorch saves it."""
    import torch

    from mednet_bench.baselines.weights.archs import build_backbone

    torch.save(build_backbone("resnet18", 32, classes=1000).state_dict(), desk / "weights.pth")


def _cells(desk: Path) -> None:
    """Write a local set and the card of docs/tasks.md."""
    import numpy as np

    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 60), ("val", 30), ("test", 30)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % 3).astype(np.uint8)[:, None]
    np.savez(desk / "cells.npz", **arrays)
    text = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    (desk / "cells.toml").write_text(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0], encoding="utf-8")


def _scans(desk: Path) -> None:
    """Write a folder of images per class."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(40):
        place = desk / "scans" / ("healthy", "ill")[number % 2] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50), np.uint8)).save(place)


def run(command: str, desk: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the README on the desk, with the program installed in this environment."""
    words = shlex.split(command)
    words[0] = str(Path(sys.executable).parent / words[0])
    return run_offline(words, desk, Path("data"))


def run_offline(words: list[str], desk: Path, data: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "MEDNET_BENCH_DATA": str(data),
        "MEDNET_BENCH_CACHE": str(desk / "cache"),
        "MEDNET_BENCH_MIRROR": "http://127.0.0.1:9",  # no test may depend on a network
    }
    return subprocess.run(words, cwd=desk, env=environment, capture_output=True, text=True)


RUN_TWICE = re.compile(r"runs/(before|after)\b")  # the reader's names of two runs of the same comparison
OURS = [RUN_TWICE.sub("runs/first", command) for command in COMMANDS if command.startswith("mednet-bench")]
SMALLER = {"run": SMALL, "plan": SMALL, "pretrain": "--steps 2 --batch-size 8 --input-size 32 --workers 0"}


def output_paths(command: str) -> set[str]:
    """Return the files and folders that a command of the README writes."""
    cards = re.findall(r"task new (\S+)", command)
    made = re.findall(r"(?:--out|--write-card|corpus build) (\S+)", command)
    return {*made, *(f"{folder}/{folder}.toml" for folder in cards)}


def prepare(command: str, desk: Path) -> None:
    """Run the earlier commands of the README whose outputs a command needs, once."""
    for before in OURS[: OURS.index(command)]:
        made = output_paths(before) - output_paths(command)
        needed = {path for path in made if re.search(rf"[ =]{re.escape(path.split('/gray')[0])}\b", command)}
        if needed and not all((desk / path).exists() for path in needed):
            prepare(before, desk)
            ended = run(f"{before} {SMALLER.get(before.split()[1], '')}", desk)
            assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in OURS if "--tasks all" not in c])
def test_command_of_the_readme_works(command: str, desk: Path) -> None:
    verb = command.split()[1]
    prepare(command, desk)
    again = " --force" if "--write-card" in command else ""
    ended = run(f"{command} {SMALLER.get(verb, '')}{again}", desk)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert verb != "compare" or "| breastmnist" in ended.stdout, "the two runs have no row in common"
    if verb in ("run", "report"):
        page = Path(ended.stdout.rpartition("report: ")[2].strip())
        assert page.name == "report.html"
        assert page.stat().st_size > 10_000


def test_all_tasks_without_network_is_one_error_before_any_work(desk: Path) -> None:
    (command,) = [c for c in OURS if "--tasks all" in c]
    before = sorted(desk.glob("runs/*/records/*"))  # of the README's other commands
    ended = run(command, desk)
    assert ended.returncode == 2
    assert "chestmnist.npz" in ended.stderr
    assert "--tasks available" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sorted(desk.glob("runs/*/records/*")) == before


def test_ci_runs_every_other_command() -> None:
    checks = "".join(
        path.read_text() for path in [ROOT / ".ci" / "run", *sorted((ROOT / ".ci").glob("*.sh"))]
    )
    for command in COMMANDS:
        if not command.startswith(("mednet-bench", "export")):
            wanted = command.removeprefix("python -m ").removesuffix(" .")
            assert wanted in checks, f"nothing runs `{command}`"


def test_every_link_of_the_readme_exists() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target.partition("#")[0]).exists(), target


@pytest.mark.slow
def test_the_python_example_runs_as_written(tmp_path: Path) -> None:
    """Without MedMNIST files a generated task takes the place of BreastMNIST."""
    real = data_folder()
    code = EXAMPLE if real else EXAMPLE.replace("breastmnist", "phantom-nodule")
    ended = run_offline([sys.executable, "-c", code], tmp_path, real or tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / ended.stdout.split()[-1]).name == "report.html"
    assert (tmp_path / ended.stdout.split()[-1]).is_file()
    verdicts = pd.read_csv(tmp_path / "run" / "report" / "verdicts.csv")
    if real:
        shown = pd.read_csv(io.StringIO(EXAMPLE_OUTPUT), sep=r"\s+")
        pd.testing.assert_frame_equal(verdicts[shown.columns], shown, check_exact=False, rtol=0, atol=0.01)


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= MOST_WORDS, "move details to a page in docs/"


def test_the_bibtex_entries_agree_with_the_citation_file() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (bibtex,) = re.findall(r"```bibtex\n(.*?)```", README, re.DOTALL)
    titles = re.findall(r"title = {(.*?)},", bibtex)
    assert titles == [citation["title"], *(each["title"] for each in citation["references"])]
    assert f"version = {{{citation['version']}}}" in bibtex
    for each in citation["references"]:
        assert f"year = {{{each['year']}}}" in bibtex and each["authors"][0]["family-names"] in bibtex
