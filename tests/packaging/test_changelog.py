"""The tables of CHANGELOG.md: every new module and name exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
MODULES = re.findall(r"^\| `[\w.*]+` \| `([\w.*]+)` \|$", TEXT, re.MULTILINE)
ROWS = re.findall(r"^\| `([\w.]+)` \| (.*→.*) \|$", TEXT, re.MULTILINE)
NAMES = [(module, name) for module, cells in ROWS for name in re.findall(r"→ `(\w+)`", cells)]


def file_of(module: str) -> Path:
    """Return the file or folder of a module, whose path begins below `mednet_bench.`."""
    path = ROOT.joinpath(*module.removesuffix(".*").replace("cli", "mednet_bench.cli", 1).split("."))
    return path if path.is_dir() else path.with_suffix(".py")


def names_in(file: Path) -> set[str]:
    """List the functions, classes and constants that a module defines."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def test_the_new_modules_and_names_exist() -> None:
    assert len(MODULES) > 150 and len(NAMES) > 100
    assert [module for module in MODULES if not file_of(module).exists()] == []
    defined = {module: names_in(file_of(module)) for module, _ in NAMES}
    assert [f"{module}.{name}" for module, name in NAMES if name not in defined[module]] == []
