"""Without the packages of the extras: every module imports, a run works, other commands name their extra."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from mednet_bench.core.errors import UserError
from mednet_bench.core.optional import OptionalModule, import_extra

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "tasks", "baselines", "benchmark", "reports", "mednet_bench/cli")
OPTIONAL = (
    "idc_index",
    "idc_index_data",
    "nibabel",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "openpyxl",
    "pyarrow",
    "pylibjpeg",
    "ray",
    "scikit_posthocs",
    "statsmodels",
    "tensorboard",
)
BLOCK = f"""
import sys
from importlib.machinery import PathFinder

find_spec = PathFinder.find_spec

def find_installed(name, path=None, target=None):
    return None if name.partition(".")[0] in {OPTIONAL} else find_spec(name, path, target)

PathFinder.find_spec = find_installed
"""
TASK = "phantom-nodule"


def run_python(code: str, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a Python that has none of the optional packages."""
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "MEDNET_BENCH_CACHE": str(cwd / "cache")},
        capture_output=True,
        text=True,
    )


def run_command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = "from mednet_bench.cli.main import main\nsys.argv[0] = 'mednet-bench'\nmain()"
    return run_python(code, *words, cwd=cwd)


def sentence(ended: subprocess.CompletedProcess[str]) -> str:
    assert ended.returncode == 2, ended.stdout + ended.stderr
    return ended.stderr.strip().removeprefix("mednet-bench: ")


@pytest.mark.slow
def test_every_module_imports(tmp_path: Path) -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    files += [file for file in (ROOT / "mednet_bench").glob("*.py") if file.stem != "__main__"]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    full = ["mednet_bench." + name.removeprefix("mednet_bench.").removesuffix(".__init__") for name in names]
    code = "import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)"
    ended = run_python(code, *sorted(full), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert len(full) > 200


@pytest.mark.slow
def test_a_run_with_a_report_works(tmp_path: Path) -> None:
    words = "--protocols linear --fractions 1.0 --seeds 0 --size 28 --input-size 32 --pretrain-images 64"
    inits = "mednet,imagenet,scratch"
    command = ("run", "--tasks", TASK, "--inits", inits, *words.split(), "--steps", 2, "--out", "out")
    ended = run_command(*command, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "out/report/report.html").stat().st_size > 10_000


def test_nifti_names_its_extra(tmp_path: Path) -> None:
    for name in ("healthy", "ill"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        volume = nibabel.Nifti1Image(np.zeros((8, 9, 10), np.int16), np.eye(4))
        nibabel.save(volume, tmp_path / "scans" / name / "scan.nii")
    said = sentence(run_command("task", "new", "scans", cwd=tmp_path))
    assert said == "Reading NIfTI needs nibabel: pip install 'mednet-bench[nifti]'."


def write_source(place: Path) -> str:
    """Write six images in a folder per class, and their card."""
    for number in range(6):
        file = place / "scans" / ("healthy", "ill")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32), 40 * number, np.uint8)).save(file)
    facts = {"name": "scans", "kind": "folder", "path": "scans", "variant": "gray", "modality": "x-ray"}
    facts |= {"license": "CC0", "source_group": "scans"}
    lines = [f'{key} = "{value}"' for key, value in facts.items()]
    (place / "scans.toml").write_text("\n".join([*lines, "parents = []"]))
    return "scans.toml"


@pytest.mark.slow
def test_a_corpus_names_its_extra(tmp_path: Path) -> None:
    cure = "A corpus needs pyarrow: pip install 'mednet-bench[corpus]'."
    build = ("corpus", "build", "corpus", write_source(tmp_path), "--variant", "gray")
    assert sentence(run_command(*build, cwd=tmp_path)) == cure
    assert not (tmp_path / "corpus").exists()
    built = subprocess.run([sys.executable, "-m", "mednet_bench", *build], cwd=tmp_path, capture_output=True)
    assert built.returncode == 0, built.stderr
    pretrain = ("pretrain", "--corpus", "corpus", "--variant", "gray", "--steps", 2, "--out", "gray")
    assert sentence(run_command(*pretrain, cwd=tmp_path)) == cure


@pytest.mark.slow
def test_an_export_to_onnx_names_its_extra(tmp_path: Path) -> None:
    said = sentence(run_command("export", "gray-mednet", "--to", "onnx", "--out", "out", cwd=tmp_path))
    assert said == "Exporting to ONNX needs onnx: pip install 'mednet-bench[onnx]'."
    assert not list(tmp_path.iterdir())


def test_a_parquet_table_names_its_extra(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/rows.parquet").write_bytes(b"PAR1")
    said = sentence(run_command("task", "new", "scans", cwd=tmp_path))
    assert said.endswith(
        "is a Parquet table, whose reading needs pyarrow: pip install 'mednet-bench[corpus]'."
    )


def test_a_missing_part_of_an_installed_package_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError):
        import_extra("json.absent", "corpus", "A corpus")
    with pytest.raises(
        UserError, match=r"^A test needs absent_package: pip install 'mednet-bench\[some\]'\.$"
    ):
        import_extra("absent_package.part", "some", "A test")


def test_an_optional_module_is_imported_when_it_is_used() -> None:
    assert OptionalModule("json", "some", "A test").dumps([1]) == "[1]"
    absent = OptionalModule("absent_package", "some", "A test")
    with pytest.raises(UserError, match="A test needs absent_package"):
        absent.dumps([1])
