"""Every command of docs/your-own-data.md runs, and no output names a patient."""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner
from dicoms import BUNDLED, SECRET, bundled, holds

from mednet_bench.cli.main import cli
from mednet_bench.tasks.images.reader import UnreadableError, read_images, silence_libraries
from mednet_bench.tasks.local_cards import local_task

PAGE = (Path(__file__).parents[3] / "docs" / "your-own-data.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SMALL = {"run": "--input-size 32 --fractions 1.0 --seeds 0", "validate": "--out check"}


def invoke(line: str) -> str:
    result = CliRunner().invoke(cli, shlex.split(line)[1:], standalone_mode=False)
    assert not result.exception, (line, result.exception)
    assert not result.return_value, (line, result.output)
    return result.output


def walked(desk: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run every command of the page on desk/scans, as its reader would; returns what was said."""
    monkeypatch.chdir(desk)
    said = "".join(invoke(f"{line} {SMALL.get(line.split()[1], '')}") for line in LINES)
    commands = ["task", "validate", "audit", "run", "report"]
    assert [line.split()[1] for line in LINES] == commands
    assert (desk / "runs/scans/report/report.html").is_file() and len(list(desk.glob("check/*.png"))) == 2
    return said


def check_nobody_is_named(desk: Path, secrets: Iterable[str], said: str) -> None:
    """Look into everything that was written beside desk/scans, and at its paths."""
    scans = desk / "scans"
    kept = [path for path in desk.rglob("*") if path.is_file() and scans not in path.parents]
    assert {path.suffix for path in kept} >= {".npy", ".npz", ".html", ".png", ".json"}
    for path in kept:
        assert not holds(path, secrets), path
        assert not any(each in str(path.relative_to(desk)) for each in secrets), path
    assert not any(each in said for each in secrets)


@pytest.mark.slow
def test_the_commands_of_the_page_work_and_show_no_name(ward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (ward.rename(ward.parent / "scans") / "ward.toml").unlink()
    said = walked(ward.parent, monkeypatch)
    assert re.search(r"ill +12 +4 +4\n", said) and "patients     20 known" in said
    check_nobody_is_named(ward.parent, [SECRET], said)


def bundle(scans: Path) -> tuple[dict[str, int], set[str]]:
    """Lay every file that pydicom brings along and that can be read, with a table, under planted names.

    Returns how many files each class has, and every name and number of a patient.
    """
    counts, secrets, lines = {"color": 0, "gray": 0}, {SECRET}, ["path,label,patient"]
    for number, path in enumerate(sorted((BUNDLED / "test_files").rglob("*.dcm"))):
        try:
            label = "color" if next(read_images(path)).values.ndim == 3 else "gray"
        except UnreadableError:
            continue
        counts[label] += 1
        place = scans / f"{SECRET}-{number}" / f"{SECRET}.dcm"
        place.parent.mkdir(parents=True)
        place.write_bytes(path.read_bytes())
        lines.append(f"{place.relative_to(scans)},{label},{SECRET}-{number // 2}")
        with silence_libraries():
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        names = [str(header.get(key, "")) for key in ("PatientName", "PatientID", "StudyInstanceUID")]
        secrets |= {name for name in names if len(name) > 5}
    (scans / "list.csv").write_text("\n".join(lines))
    return counts, secrets


@pytest.mark.slow
def test_the_commands_work_on_what_pydicom_brings_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, secrets = bundle(tmp_path / "scans")
    said = walked(tmp_path, monkeypatch)
    assert min(counts.values()) > 9 and len(secrets) > 9
    for label, count in counts.items():
        (shown,) = re.findall(rf"^{label} +([\d ]+)$", said, re.MULTILINE)
        assert sum(map(int, shown.split())) >= count, "a file of several frames is several images"
    check_nobody_is_named(tmp_path, secrets, said)


def test_the_card_of_the_page_is_one(ward: Path) -> None:
    (card,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (ward / "ward.toml").write_text(card)
    task = local_task(ward / "ward.toml")
    assert (task.name, task.subgroups) == ("scans", ("sex",))


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
    words = {"empty": "Cannot read the folder", "text": "none of the images", "again": "pass --force"}
    assert words[lie] in str(result.exception)
