"""The files that GitHub and citation tools read: they parse, and agree with the package."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
YAML_FILES = [
    *sorted((ROOT / ".github").rglob("*.yml")), ROOT / "CITATION.cff", ROOT / ".pre-commit-config.yaml"
]  # fmt: skip


def read_yaml(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", YAML_FILES, ids=lambda file: file.name)
def test_a_yaml_file_parses_to_a_mapping(file: Path) -> None:
    assert isinstance(read_yaml(file), dict)


def test_the_citation_agrees_with_the_package() -> None:
    citation = read_yaml(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert (citation["title"], citation["license"]) == (PROJECT["name"], PROJECT["license"])
    assert citation["version"] == PROJECT["version"]
    for reference in citation["references"]:  # what the format requires of each
        assert reference["title"] and reference["authors"] and reference["type"]


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## ([\d.]+) \(", changelog, re.MULTILINE)[0] == PROJECT["version"]


@pytest.mark.parametrize("file", FORMS, ids=lambda file: file.name)
def test_an_issue_form_has_what_github_requires(file: Path) -> None:
    form = read_yaml(file)
    assert form["name"] and form["description"]
    for field in form["body"]:
        assert field["type"] in ("markdown", "textarea", "input")
        assert "value" in field["attributes"] if field["type"] == "markdown" else field["attributes"]["label"]
    ids = [field["id"] for field in form["body"] if "id" in field]
    assert ids and len(ids) == len(set(ids))


def test_the_hooks_need_no_network() -> None:
    repositories = read_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    assert all(each["repo"] == "local" for each in repositories)
    assert all(hook["language"] == "system" for each in repositories for hook in each["hooks"])
