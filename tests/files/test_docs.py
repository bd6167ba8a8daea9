"""Every command of docs/your-own-data.md is run on files written here, and no output names a patient."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from dicoms import SECRET, bundled

from mednet_bench.benchmark.cli import cli
from mednet_bench.tasks.local import local_task

PAGE = (Path(__file__).parents[2] / "docs" / "your-own-data.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SMALL = {"run": "--input-size 32 --fractions 1.0 --seeds 0", "validate": "--out check"}


def invoke(line: str) -> str:
    result = CliRunner().invoke(cli, shlex.split(line)[1:], standalone_mode=False)
    assert not result.exception, (line, result.exception)
    assert not result.return_value, (line, result.output)
    return result.output


def test_the_commands_of_the_page_work_and_tell_nobody_s_name(
    ward: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans, desk = ward.rename(ward.parent / "scans"), ward.parent
    (scans / "ward.toml").unlink()
    monkeypatch.chdir(desk)
    said = "".join(invoke(f"{line} {SMALL.get(line.split()[1], '')}") for line in LINES)
    assert [line.split()[1] for line in LINES if "audit" not in line] == ["task", "validate", "run", "report"]
    assert re.search(r"ill +12 +4 +4\n", said) and "patients     20 known" in said
    assert (desk / "runs/scans/report/report.html").is_file() and len(list(desk.glob("check/*.png"))) == 2
    kept = [path for path in desk.rglob("*") if path.is_file() and scans not in path.parents]
    assert {path.suffix for path in kept} >= {".npy", ".npz", ".html", ".png", ".json"}
    for path in kept:
        assert SECRET not in str(path.relative_to(desk)), path
        assert SECRET.encode() not in path.read_bytes(), path
        assert SECRET.encode("utf-32-le") not in path.read_bytes(), path  # how numpy writes text
        if path.suffix == ".npz":
            import numpy as np

            with np.load(path) as arrays:  # compressed, so that grep sees nothing
                held = "".join(
                    str(arrays[name].tolist()) for name in arrays.files if arrays[name].size < 10**6
                )
            assert SECRET not in held, path
    assert SECRET not in said


def test_the_card_of_the_page_is_one(ward: Path) -> None:
    (card,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (ward / "ward.toml").write_text(card)
    task = local_task(ward / "ward.toml")
    assert (task.name, task.subgroups) == ("scans", ("sex",))


def test_a_folder_of_pydicom_s_own_files_is_drafted_and_validated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        name = ("CT_small.dcm", "MR_small.dcm")[number % 2]
        place = tmp_path / "mixed" / name[:2] / f"{number}.dcm"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(bundled(name).read_bytes())
    monkeypatch.chdir(tmp_path)
    invoke("mednet-bench task new mixed")
    card = tmp_path / "mixed" / "mixed.toml"
    card.write_text(card.read_text() + '[split]\nby = "image"\n')  # there are two patients in all
    said = invoke(f"mednet-bench validate {card}")
    assert re.search(r"CT +4 +1 +1\n", said) and "patients     2 known" in said
    assert "2 patients stand in more than one split" in said


@pytest.mark.parametrize("lie", ["empty", "text", "again"])
def test_a_folder_that_is_no_task_is_one_sentence(tmp_path: Path, lie: str) -> None:
    folder = tmp_path / "folder"
    if lie != "empty":
        for name in ("a", "b"):
            (folder / name).mkdir(parents=True)
            (folder / name / "x.png").write_text("no picture")
    if lie == "again":
        for name in ("a", "b"):
            (folder / name / "x.png").write_bytes(bundled("CT_small.dcm").read_bytes())
        assert not CliRunner().invoke(cli, ["task", "new", str(folder)], standalone_mode=False).exception
    result = CliRunner().invoke(cli, ["task", "new", str(folder)], standalone_mode=False)
    words = {"empty": "Cannot read the folder", "text": "none of the images", "again": "say --force"}
    assert words[lie] in str(result.exception)
