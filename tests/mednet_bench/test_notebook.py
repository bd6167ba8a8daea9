"""The progress of a run in a notebook: one output that is updated, without another package."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mednet_bench as mb


class Display:
    """Stands in for a notebook's display; keeps what it shows."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, thing: Any, display_id: bool) -> "Display":
        assert display_id
        self.update(thing)
        return self

    def update(self, thing: Any) -> None:
        self.shown.append(thing._repr_html_())


@pytest.mark.slow
def test_a_run_in_a_notebook_updates_one_progress_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    display = Display()
    shell = SimpleNamespace(kernel=object())
    library = SimpleNamespace(get_ipython=lambda: shell, display=SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython", library)
    mb.run(
        tasks="phantom-organ", inits="scratch", protocols="knn", fractions=1, seeds=range(2), size=28,
        input_size=32, out=tmp_path / "run", device="cpu", report=False,
    )  # fmt: skip
    values = [float(shown.split("value='")[1].split("'")[0]) for shown in display.shown]
    assert values == sorted(values) and {0.0, 0.5, 1.0} <= set(values)
    assert "phantom-organ scratch knn" in display.shown[-1]
    assert capfd.readouterr().out == ""
