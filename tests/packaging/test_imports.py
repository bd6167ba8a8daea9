"""The house rule: a module imports only from rows above its own, and the command line stays light."""

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
ROOMS = ("benchmark", "tasks", "baselines", "reports")
FILES = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))


def name_of(file: Path) -> str:
    """`benchmark/plan.py` is `benchmark.plan`, a folder's `__init__.py` has the folder's name."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def absolute(node: ast.Import | ast.ImportFrom, file: Path) -> list[str]:
    """Every dotted name that an import statement could load, with our own as `room.module`."""
    if isinstance(node, ast.Import):
        return [alias.name.removeprefix("mednet_bench.") for alias in node.names]
    base = (node.module or "").removeprefix("mednet_bench").removeprefix(".") if not node.level else ""
    if node.level:
        folder = file.parents[node.level - 1].relative_to(ROOT).parts
        base = ".".join([*folder, *((node.module or "").split(".") if node.module else [])])
    return [f"{base}.{alias.name}".strip(".") for alias in node.names]


def imports(file: Path) -> set[str]:
    """Name what a file imports anywhere, late imports too: a rule that a function may break is no rule."""
    nodes = ast.walk(ast.parse(file.read_text()))
    statements = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name for node in statements for name in absolute(node, file)}


def own(file: Path) -> set[str]:
    """The modules of the house among a file's imports."""
    found = set()
    for name in imports(file):
        # `from .plan import Cell` names benchmark.plan.Cell, `from . import plan` benchmark.plan.
        for candidate in (name, name.rpartition(".")[0]):
            if candidate in MODULES:
                found.add(candidate)
                break
    return found - {name_of(file)}


GRAPH = {name: own(file) for name, file in MODULES.items()}
ROOF = {name for name in MODULES if re.match(r"benchmark\.(cli|commands)\b", name)}


def strangers(room: str, allowed: str) -> list[str]:
    """List what the modules of a room import beyond what it may."""
    return [
        f"{name} imports {used}"
        for name in sorted(GRAPH)
        if name.split(".")[0] == room
        for used in sorted(GRAPH[name])
        if not re.fullmatch(allowed, used)
    ]


def test_tasks_is_a_leaf() -> None:
    assert strangers("tasks", r"tasks(\..*)?|benchmark\.(registry|errors|files|tomls)") == []


def test_baselines_is_a_leaf_that_knows_what_a_task_is() -> None:
    allowed = r"baselines(\..*)?|tasks\.task|benchmark\.(registry|errors|files|tomls)"
    assert strangers("baselines", allowed) == []


def test_reports_read_only_records() -> None:
    # what an audit found is plain data in the run directory, like a record
    allowed = (
        r"reports(\..*)?|benchmark\.(records|plan|registry|errors|files|(contamination|leakage)\.outcome)"
    )
    assert strangers("reports", allowed) == []


REPORTS = ("statistics", "findings", "", "sections", "pages", "regression")
"""The rooms of the reports from the ground up; "" is what lies between them, and `build` is the roof."""


def floor_of(name: str) -> int:
    """Return on which floor of the reports a module stands."""
    if name in ("reports", "reports.build"):
        return len(REPORTS)
    room, _, module = name.removeprefix("reports.").partition(".")
    return REPORTS.index(room if module or room in REPORTS else "")


def test_a_room_of_the_reports_sees_only_those_below_it() -> None:
    ours = [name for name in GRAPH if name.startswith("reports")]
    pairs = [(name, used) for name in ours for used in GRAPH[name] if used.startswith("reports")]
    assert [pair for pair in pairs if floor_of(pair[0]) < floor_of(pair[1])] == []
    assert len({floor_of(name) for name in ours}) == len(REPORTS) + 1, "the rule has lost a room"


def test_only_the_command_line_sees_the_reports_and_nobody_sees_the_command_line() -> None:
    below = {name: used for name, used in GRAPH.items() if name not in ROOF}
    assert {name for name, used in below.items() if used & ROOF} == set()
    seen = {name for name, used in below.items() if any(other.startswith("reports") for other in used)}
    assert {name for name in seen if not name.startswith("reports")} == set()


def test_the_readme_names_what_is_imported_from_a_folder_below() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [row for row in re.findall(r"^(\w+)/ ", text, re.MULTILINE) if row in ROOMS]
    assert sorted(rows) == sorted(ROOMS)
    rank = {name: rows.index(name.split(".")[0]) for name in GRAPH}
    upwards = {(name, used) for name in GRAPH for used in GRAPH[name] if rank[used] > rank[name]}
    (said,) = re.findall(r"A module imports from .*?`reports/`\.", text, re.DOTALL)
    lent = {used for name, used in upwards if name not in ROOF}
    assert lent == {f"benchmark.{module}" for module in re.findall(r"`(\w+)\.py`", said)}
    assert {used.split(".")[0] for name, used in upwards if name in ROOF} == {"reports"}


def test_no_module_imports_itself_by_a_detour() -> None:
    graphlib.TopologicalSorter(GRAPH).prepare()  # raises CycleError, which names the modules


def table_of(package: Path) -> list[list[str]]:
    """Return the modules of a folder as its docstring lists them, line by line; none where it lists none."""
    said = ast.get_docstring(ast.parse(package.read_text()), clean=True) or ""
    lines = re.findall(r"^    (\w+(?:, \w+)*)  ", said, re.MULTILINE)
    return [line.split(", ") for line in lines]


TABLES = {name_of(file): table for file in FILES if file.stem == "__init__" and (table := table_of(file))}


@pytest.mark.parametrize("folder", TABLES)
def test_the_modules_of_a_folder_build_on_each_other_as_it_says(folder: str) -> None:
    line_of = {f"{folder}.{name}": at for at, names in enumerate(TABLES[folder]) for name in names}
    inside = {name for name in GRAPH if name.startswith(f"{folder}.")}
    assert set(line_of) == inside
    pairs = [(name, used) for name in inside for used in GRAPH[name] & inside]
    assert [pair for pair in pairs if line_of[pair[0]] < line_of[pair[1]]] == []


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_every_module_opens_with_a_sentence(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text())), f"{file} says nothing about itself"


def canonical(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_every_library_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonical(re.split(r"[^\w.-]", line)[0]) for line in project["dependencies"]}
    provided = packages_distributions()
    foreign = {name.split(".")[0] for file in FILES for name in imports(file)} - set(ROOMS) - {"mednet_bench"}
    undeclared = {
        name
        for name in foreign - set(sys.stdlib_module_names)
        if not declared & set(map(canonical, provided.get(name, [name])))
    }
    assert undeclared == set()


@pytest.mark.parametrize("module", ["benchmark.cli", "reports"])
def test_torch_is_imported_only_when_something_is_computed(module: str) -> None:
    if module not in MODULES:
        pytest.skip(f"there is no {module} yet")
    heavy = [name for name in GRAPH if name.startswith("reports")] if module == "reports" else [module]
    code = "".join(f"import mednet_bench.{name}\n" for name in heavy)
    code += "import sys\nassert 'torch' not in sys.modules, 'torch was imported'\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
