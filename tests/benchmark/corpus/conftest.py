"""Fixtures of the corpus tests: a cache of their own, without this machine's salt."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for `corpora`


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("MEDNET_BENCH_DATA", raising=False)
