"""Imports: packages and sub-packages have one order, and the command line starts without torch."""

import ast
import graphlib
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ORDERS = [line.strip().split(" < ") for line in re.findall(r"^    \w+ < .*$", GUIDE, re.MULTILINE)]
"""Orders of the packages, and of the sub-packages of `benchmark` and `reports`, lowest first."""
PACKAGES, SUB_PACKAGES = ORDERS[0], dict(zip(("benchmark", "reports"), ORDERS[1:], strict=True))
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def module_name(file: Path) -> str:
    """Name a module without `mednet_bench.`, except for those of that folder."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


def imported_names(file: Path) -> set[str]:
    """List every dotted name that a file imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [node.module] if node.module else []
            if node.level:
                folder = file.parents[node.level - 1].relative_to(ROOT).parts
                base = [*folder, *base]
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return {name.removeprefix("mednet_bench.") if _is_linked(name) else name for name in found}


def _is_linked(name: str) -> bool:
    """Whether a name goes through `mednet_bench`'s links to the other packages."""
    top, _, rest = name.partition(".")
    return top == "mednet_bench" and rest.split(".")[0] in PACKAGES


def own_imports(file: Path) -> set[str]:
    """List the modules of this project among a file's imports."""
    found = set()
    for name in imported_names(file):
        # `from .plan import Cell` gives schema.plan.Cell, `from . import plan` gives schema.plan
        found |= {next((part for part in (name, name.rpartition(".")[0]) if part in MODULES), "")}
    return found - {"", module_name(file)}


GRAPH = {name: own_imports(file) for name, file in MODULES.items()}


def rank(name: str) -> tuple[int, int]:
    """Return the place of a module's package and sub-package in their orders; -1 for a package itself."""
    package, _, rest = name.partition(".")
    order = SUB_PACKAGES.get(package, [])
    return PACKAGES.index(package), order.index(rest.split(".")[0]) if rest and order else -1


def test_a_module_imports_from_its_own_package_or_a_lower_one() -> None:
    upward = [f"{name} imports {used}" for name in GRAPH for used in GRAPH[name] if rank(used) > rank(name)]
    assert upward == []
    assert sum(len(used) for used in GRAPH.values()) > 1000, "imports are not recognized"


def test_benchmark_and_reports_contain_only_the_documented_sub_packages() -> None:
    for package, order in SUB_PACKAGES.items():
        contained = {
            path.stem for path in (ROOT / package).iterdir() if path.suffix == ".py" or path.is_dir()
        }
        assert contained - {"__init__", "__pycache__"} == set(order)


def test_the_top_level_contains_only_packages() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    folders = {line.partition("/")[0] for line in listed.stdout.splitlines() if "/" in line}
    allowed = {*PACKAGES, "tests", "docs", "examples"}
    assert {folder for folder in folders if not folder.startswith(".")} <= allowed


def test_mednet_bench_links_to_every_package() -> None:
    links = {path.name: path for path in (ROOT / "mednet_bench").iterdir() if path.is_symlink()}
    assert set(links) == set(PACKAGES) - {"mednet_bench"}
    assert all(path.resolve() == ROOT / name for name, path in links.items())


@pytest.mark.parametrize(
    ("folder", "call"),
    [
        ("tasks/sources", r"TASKS\.(add|register)\("),
        ("tasks/readers", r"READERS\.(add|register)\("),
        ("baselines/sources", r"INITS\.(add|register)\("),
        ("baselines/layouts", r"LAYOUTS\.(add|register)\("),
        ("benchmark/protocols", r"PROTOCOLS\.(add|register)\("),
        ("benchmark/corpus/sources", r"SOURCES\.(add|register)\("),
        ("benchmark/pretraining/objectives", r"OBJECTIVES\.(add|register)\("),
        ("reports/sections", r"SECTIONS\.(add|register)\("),
    ],
)
def test_a_plug_in_folder_contains_only_plug_ins(folder: str, call: str) -> None:
    modules = [file for file in (ROOT / folder).glob("*.py") if file.stem != "__init__"]
    assert modules
    assert [file.name for file in modules if not re.search(call, file.read_text(encoding="utf-8"))] == []


def test_no_import_is_circular() -> None:
    graphlib.TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the modules


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_every_module_has_a_docstring(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))


def canonical_name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_every_library_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [
        line for name, lines in project["optional-dependencies"].items() if name != "dev" for line in lines
    ]
    declared = {canonical_name(re.split(r"[^\w.-]", line)[0]) for line in project["dependencies"] + extras}
    provided = packages_distributions()
    foreign = {name.split(".")[0] for file in FILES for name in imported_names(file)} - set(PACKAGES)
    undeclared = {
        name
        for name in foreign - set(sys.stdlib_module_names)
        if not declared & set(map(canonical_name, provided.get(name, [name])))
    }
    assert undeclared == set()


@pytest.mark.parametrize("package", ["mednet_bench.cli.main", "reports"])
def test_torch_is_imported_only_when_something_is_computed(package: str) -> None:
    reports = [f"mednet_bench.{name}" for name in GRAPH if name.startswith("reports")]
    light = reports if package == "reports" else [package]
    code = "".join(f"import {name}\n" for name in light)
    code += "import sys\nassert 'torch' not in sys.modules, 'torch was imported'\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
