"""`make demo` on incomplete machines: real processes in a copy of the checkout."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that installing reads, so that the real build/ and .venv stay untouched."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / ".ci", copy / ".ci")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, copy / name)
    return copy


def make(checkout: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    # Without the settings of the make that runs these tests, and of pip's configuration on this machine.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MFLAGS", "PIP_", "PYTHON", "PYTEST_ARGS"))
        and name not in ("VENV", "NEED_MB")
    }
    settings = {"PYTHON": sys.executable, **settings}
    return subprocess.run(
        ["make", "--no-print-directory", *(arguments or ("demo",))],
        cwd=checkout,
        env=inherited | settings,
        text=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )


def sentence(result: subprocess.CompletedProcess[str]) -> str:
    """Return the single sentence of a failing make, which only make's own closing line follows."""
    assert result.returncode != 0
    assert "Traceback" not in result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


OLD = 'case "$2" in *platform*) echo "Python 3.8.10";; *) exit 1;; esac'


def test_a_python_that_is_too_old_is_named(checkout: Path, tmp_path: Path) -> None:
    old = program(tmp_path / "old-python", OLD)
    error = sentence(make(checkout, PYTHON=str(old)))
    assert "3.10 or newer" in error and "Python 3.8.10" in error and str(old) in error


def test_no_python_on_the_path_is_new_enough(checkout: Path, tmp_path: Path) -> None:
    for name in ("python", "python3", *(f"python3.{minor}" for minor in range(10, 16))):
        program(tmp_path / "bin" / name, OLD)
    error = sentence(make(checkout, PYTHON="", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"))
    assert "3.10 or newer" in error and "none is on the PATH" in error


def test_a_python_without_venv_says_what_to_install(checkout: Path, tmp_path: Path) -> None:
    bare = program(tmp_path / "bare", f'[ "$1" = -m ] && exit 1\nexec "{sys.executable}" "$@"')
    error = sentence(make(checkout, NEED_MB="0", PYTHON=str(bare)))
    assert "python3-venv" in error and "build/install.log" in error


def test_a_disk_that_is_too_small_stops_before_the_install(checkout: Path) -> None:
    error = sentence(make(checkout, NEED_MB="999999999"))
    assert "999999999 MB" in error and "MB free" in error
    assert not (checkout / ".venv").exists()


@pytest.mark.slow
def test_an_index_out_of_reach_is_one_sentence(checkout: Path) -> None:
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    error = sentence(make(checkout, NEED_MB="0", **pip))
    assert "package index is out of reach" in error and "build/install.log" in error


# A build backend that needs no index: its wheel has an echoing mednet-bench and an importable PyTorch.
BACKEND = """
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "mednet_bench-0.1.0-py3-none-any.whl"
    info = "mednet_bench-0.1.0.dist-info"
    metadata = ["Metadata-Version: 2.1", "Name: mednet-bench", "Version: 0.1.0", "Provides-Extra: dev", ""]
    kind = ["Wheel-Version: 1.0", "Generator: test", "Root-Is-Purelib: true", "Tag: py3-none-any", ""]
    files = {
        "echo.py": "import sys\\ndef main():\\n    print('ran', *sys.argv[1:])\\n",
        "torch.py": "",
        "torchvision.py": "",
        f"{info}/METADATA": "\\n".join(metadata),
        f"{info}/WHEEL": "\\n".join(kind),
        f"{info}/entry_points.txt": "[console_scripts]\\nmednet-bench = echo:main\\n",
    }
    record = "".join(f"{file},,\\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(file, text)
    return name
"""


@pytest.mark.slow
def test_installs_again_after_a_change_and_repairs_an_interrupted_install(checkout: Path) -> None:
    (checkout / "backend.py").write_text(BACKEND)
    (checkout / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )

    def demo() -> tuple[bool, str]:
        result = make(checkout, NEED_MB="0", PIP_NO_INDEX="1", DEMO="run --out 'runs/demo'")
        assert result.returncode == 0, result.stdout + result.stderr
        return "installing mednet-bench" in result.stdout, result.stdout.splitlines()[-1]

    assert demo() == (True, "ran run --out runs/demo")
    assert demo() == (False, "ran run --out runs/demo")

    with (checkout / "pyproject.toml").open("a") as file:
        file.write("# a change\n")
    assert demo()[0]
    assert not demo()[0]

    # State after a kill: no stamp, the package's metadata copied, its last files missing.
    venv = checkout / ".venv"
    (venv / ".mednet-bench").unlink()
    next(venv.glob("lib/python3*/site-packages/mednet_bench-*.dist-info/INSTALLER")).unlink()
    (venv / "bin/mednet-bench").unlink()
    assert demo() == (True, "ran run --out runs/demo")


def test_the_workflow_and_ci_run_call_only_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    run = (ROOT / ".ci/run").read_text()
    called = set(" ".join(re.findall(r"(?:\.ci/run|\bmake) ([a-z -]+)$", workflow, re.MULTILINE)).split())
    by_default = set(re.findall(r"set -- ([a-z -]+)$", run, re.MULTILINE)[0].split())
    # GitHub runs every part of .ci/run.
    assert called == by_default
    assert called <= targets


def test_make_test_leaves_out_what_is_slow_and_test_all_runs_both(checkout: Path) -> None:
    runs = {
        target: re.findall(r"-m pytest (-m .*) -n 2", make(checkout, "--dry-run", target).stdout)
        for target in ("test", "test-all")
    }
    assert runs == {"test": ['-m "not slow"'], "test-all": ['-m "not slow"', "-m slow"]}


def test_help_lists_every_target(checkout: Path) -> None:
    result = make(checkout, "help")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert all(f"make {target} " in result.stdout for target in targets)
