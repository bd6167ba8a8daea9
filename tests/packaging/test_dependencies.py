"""docs/dependencies.md has a row for every required dependency and every extra, and no other."""

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED_TEXT, EXTRAS_TEXT = (
    (ROOT / "docs" / "dependencies.md")
    .read_text(encoding="utf-8")
    .partition("## Required")[2]
    .split("## Extras")
)
FOR_CONTRIBUTORS = {"dev", "docs", "zoo"}


def package_names(requirements: list[str]) -> list[str]:
    return [re.split(r"[^\w.-]", requirement)[0] for requirement in requirements]


def table_rows(text: str) -> list[list[str]]:
    """Split the cells of the rows that begin with a name."""
    lines = re.findall(r"^\| (`.*) \|$", text, re.MULTILINE)
    return [line.split(" | ") for line in lines]


def test_every_required_dependency_has_a_row_and_no_other() -> None:
    rows = table_rows(REQUIRED_TEXT)
    assert [row[0].strip("`") for row in rows] == sorted(package_names(PROJECT["dependencies"]))
    assert all(len(row) == 4 and all(row) and float(row[3]) > 0 for row in rows)


def test_every_extra_has_a_row_with_its_packages() -> None:
    extras = {
        name: package_names(lines)
        for name, lines in PROJECT["optional-dependencies"].items()
        if name not in FOR_CONTRIBUTORS
    }
    rows = table_rows(EXTRAS_TEXT)
    assert {row[0].strip("`"): re.findall(r"`(.*?)`", row[1]) for row in rows} == extras


def test_every_extra_named_in_a_message_exists() -> None:
    sources = [
        file for name in ("tasks", "benchmark", "mednet_bench") for file in (ROOT / name).rglob("*.py")
    ]
    named = {
        extra
        for file in sources
        for extra in re.findall(
            r"mednet-bench\[(\w+)\]|(?:OptionalModule|import_extra)\(\"[\w.]+\", \"(\w+)\"", file.read_text()
        )
    }
    assert {"".join(found) for found in named} <= set(PROJECT["optional-dependencies"])
    assert {"".join(found) for found in named} >= {"corpus", "nifti", "tensorboard"}
