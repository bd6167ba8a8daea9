"""`--init-file`: inits of a card or Python file, with the code's hash in every key."""

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from mednet_bench.baselines.init import INITS
from mednet_bench.baselines.init_file import read_init_files
from mednet_bench.benchmark.audits.contamination.audit import ContaminationRequest, audit_contamination
from mednet_bench.benchmark.run.resolve import resolve_request
from mednet_bench.benchmark.schema.plan import read_plan
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.core.errors import UserError

PAGE = (Path(__file__).parents[2] / "docs" / "plug-ins.md").read_text(encoding="utf-8")
CODE = PAGE.split("```python\n")[1].split("```")[0]
CARD = 'name = "lab"\npath = "w.safetensors"\nsha256 = "0"\narch = "resnet18"\ncorpora = []\n[input]\n'


def keys(code: Path, words: str) -> list[str]:
    request = RunConfig(
        tasks="phantom-organ",
        inits=words,
        protocols="knn",
        seeds="0",
        fractions="1.0",
        init_file=(str(code),),
    )
    grid = resolve_request(request)
    grid.plan.write(code.parent)
    return [planned.key for planned in grid.plan.cells]


def test_code_adds_inits_and_its_hash_is_in_their_keys_alone(tmp_path: Path) -> None:
    code = tmp_path / "inits.py"
    code.write_text(CODE)
    first = keys(code, "unscaled,scratch")
    assert keys(code, "unscaled,scratch") == first and len(first) == 2
    code.write_text(CODE + "# changed\n")
    changed = keys(code, "unscaled,scratch")
    assert [a == b for a, b in zip(first, changed, strict=True)] == [False, True]
    plan = read_plan(tmp_path)
    assert plan is not None and plan.request["init_file"] == [str(code)]
    assert "unscaled" not in INITS  # outside of the request it is unknown


def test_a_card_is_known_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(CARD)
    assert read_init_files([str(tmp_path / "lab.toml")]).paths == {"lab": tmp_path / "lab.toml"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.py", "import no_such_library", "cannot be run (ModuleNotFoundError: No module named"),
        ("a.py", "raise SystemExit('bye')", "cannot be run (SystemExit: bye)"),
        ("a.py", "def f(:", "cannot be run (SyntaxError:"),
        ("a.py", "x = 1", "registers no init"),
        ("a.py", "\0", "cannot be run"),
        ("a.py", CODE.replace('"unscaled"', '"scratch"'), "both have an init 'scratch'"),
        ("a.toml", CARD.replace('"lab"', '"mednet"'), "both have an init 'mednet'"),
        ("a.txt", "", "name a card that ends in .toml, or code that ends in .py"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as caught:
        read_init_files([str(tmp_path / name)])
    assert words in str(caught.value) and str(tmp_path / name) in str(caught.value)
    assert "scratch" in INITS  # what the file did to the registry is undone


@pytest.mark.parametrize(
    ("body", "words"), [("return 3", "returns no InitCard"), ("return 1 / 0", "failed (ZeroDivisionError")]
)
def test_an_init_that_fails_names_its_file(tmp_path: Path, body: str, words: str) -> None:
    code = tmp_path / "inits.py"
    code.write_text(
        "from mednet_bench.baselines.init import INITS\n\n"
        f"@INITS.register('odd')\ndef odd(need):\n    {body}\n"
    )
    with pytest.raises(UserError, match=r"inits\.py: the init 'odd'") as caught:
        keys(code, "odd")
    assert words in str(caught.value)


def test_an_audit_knows_the_inits_of_files_too(tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(CARD)
    (tmp_path / "inits.py").write_text(CODE)
    files = (str(tmp_path / "lab.toml"), str(tmp_path / "inits.py"))
    request = RunConfig(tasks="phantom-organ", inits="unscaled", init_file=files)
    [audit] = audit_contamination(ContaminationRequest(request, None, None))
    assert audit.init == "unscaled" and "code:" in audit.identity
    lab = ContaminationRequest(msgspec.structs.replace(request, inits="lab"), None, None)
    assert lab.card("gray") == tmp_path / "lab.toml"


ONE_MODULE = '''"""A new init."""

from mednet_bench.baselines.init import INITS, InitCard, InputSpec


@INITS.register("sparse")
def resolve_sparse(request):
    """Random weights that see unscaled images."""
    raw = InputSpec(mean=(0, 0, 0), std=(1, 1, 1))
    return InitCard("sparse", "random weights, raw input", "sparse:1", contract=raw, seeded=True)
'''
START = """import sys
import mednet_bench.baselines.sources as sources
sources.__path__.append(sys.argv.pop(1))
from mednet_bench.cli.main import main
main()
"""


@pytest.mark.slow
def test_an_init_is_one_module_in_the_folder_of_inits(tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "sparse.py").write_text(ONE_MODULE)

    def program(*words: str) -> str:
        command = [sys.executable, "-c", START, str(tmp_path / "sources"), *words]
        own = {"MEDNET_BENCH_CACHE": str(tmp_path / "cache"), "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert re.search(r"^ +sparse +Random weights that see unscaled images\.$", program("ls"), re.MULTILINE)
    words = ["--tasks", "phantom-organ", "--inits", "sparse,scratch", "--archs", "test_resnet", "--protocols"]
    words += ["knn", "--input-size", "28", "--fractions", "0.1", "--seeds", "0", "--out", "run"]
    assert "sparse" in program("plan", *words)
    program("run", *words)
    facts = {record.cell.init: record.init for record in RecordStore(tmp_path / "run").read_all()}
    assert facts["sparse"] and facts["sparse"].random and facts["sparse"].contract["mean"] == [0, 0, 0]
    page = (tmp_path / "run" / "report" / "report.md").read_text()
    assert "random weights, raw input" in page
    assert "Not tested: this run has no medical weights" in page
