"""The notebook of the README: stored without outputs, and every cell runs without a warning."""

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "quickstart.ipynb"
CELLS: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_the_notebook_is_short_and_stored_without_outputs() -> None:
    assert 6 <= len(CELLS) <= 10
    assert [cell for cell in CELLS if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.slow
def test_every_cell_of_the_notebook_runs_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient, nbformat, _ = (
        pytest.importorskip(name, reason=f"{name} is not installed: pip install mednet-bench[dev]")
        for name in ("nbclient", "nbformat", "ipykernel")
    )
    for variable, folder in (
        ("MEDNET_BENCH_CACHE", "cache"),
        ("IPYTHONDIR", "ipython"),
        ("JUPYTER_CONFIG_DIR", "config"),
        ("JUPYTER_RUNTIME_DIR", "runtime"),
    ):
        monkeypatch.setenv(variable, str(tmp_path / folder))  # a user's own start-up files could print
    monkeypatch.setenv("MEDNET_BENCH_MIRROR", "http://127.0.0.1:9")  # no test may depend on a network
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        assert cell.outputs, cell.source
        printed = [out for out in cell.outputs if out.output_type == "stream"]
        assert [out.text for out in printed if out.name == "stderr" or "warning" in out.text.lower()] == []
    assert sum("image/png" in out.get("data", {}) for cell in code for out in cell.outputs) == 1
    assert (tmp_path / code[-1].outputs[-1].text.strip()).is_file()
