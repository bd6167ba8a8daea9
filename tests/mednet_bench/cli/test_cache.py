"""`cache ls` and `cache clear`: every kind is listed, and nothing costly goes without a word."""

import json
from pathlib import Path

import pytest

from mednet_bench.core.errors import UserError

SMALL = ["--tasks", "phantom-organ", "--inits", "scratch", "--protocols", "knn", "--seeds", "0"]
SMALL += ["--size", "28", "--input-size", "32", "--fractions", "1", "--device", "cpu", "--out", "run"]


def kinds(command) -> dict[str, dict[str, object]]:
    listed = json.loads(command("cache", "ls", "--format", "json").stdout)
    return {kind["kind"]: kind for kind in listed["kinds"]}


@pytest.fixture
def filled(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cache folder with one entry of each kind, and the salt."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    cache = tmp_path / "cache"
    files = {
        "features/0.npz": 5,
        "mednet/a.safetensors": 7,
        "mednet/a.json": 2,
        "files/abc/manifest.json": 1,
        "files/abc/train.npy": 10,
        "hashes/h": 3,
        "corpus-salt": 32,
        "../home/.medmnist/breastmnist.npz": 20,
        "../home/.medmnist/own.npz": 1,
        "zoo/lunit-dino/dino.pth": 4,
    }
    for name, size in files.items():
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(bytes(size))
    (cache / "files" / "note.json").write_text('"abc"')
    return cache


def test_ls_lists_every_kind_with_its_size(command, filled: Path) -> None:
    found = kinds(command)
    assert {name: (kind["entries"], kind["bytes"]) for name, kind in found.items()} == {
        "features": (1, 5),
        "mednets": (1, 9),
        "prepared": (1, 16),
        "hashes": (1, 3),
        "downloads": (1, 20),
        "checkpoints": (1, 4),
    }
    text = command("cache", "ls").stdout
    assert all(str(kind["folder"]) in text and kind["last_used"] in text for kind in found.values())


def test_costly_kinds_are_removed_only_with_yes(command, filled: Path) -> None:
    with pytest.raises(UserError, match=r"mednets: 1 in .*, prepared: 1 in .*: pass --yes"):
        raise_error(command("cache", "clear", "--features", "--mednets", "--prepared"))
    assert all(kind["entries"] == 1 for kind in kinds(command).values())
    assert command("cache", "clear", "--features").return_value == 0
    assert [name for name, kind in kinds(command).items() if not kind["entries"]] == ["features"]
    words = ("--mednets", "--prepared", "--hashes", "--downloads", "--checkpoints", "--yes")
    assert command("cache", "clear", *words).return_value == 0
    assert not any(kind["entries"] for kind in kinds(command).values())
    left = sorted(path.name for path in filled.parent.rglob("*") if path.is_file())
    assert left == ["corpus-salt", "own.npz"]


def test_clear_without_a_kind_names_them(command) -> None:
    kinds = "--features, --mednets, --prepared, --hashes, --downloads, --checkpoints"
    with pytest.raises(UserError, match=kinds):
        raise_error(command("cache", "clear"))


def raise_error(result) -> None:
    raise result.exception


@pytest.mark.slow
def test_features_have_a_folder_of_their_own(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_SCRATCH", str(tmp_path / "fast"))
    assert command("run", *SMALL, "--no-report").return_value == 0
    assert list((tmp_path / "fast" / "features").glob("*.npz"))
    assert not (tmp_path / "cache" / "features").exists()
    found = kinds(command)["features"]
    assert (found["entries"], found["folder"]) == (1, str(tmp_path / "fast" / "features"))


def test_a_wrong_limit_ends_a_run_before_its_first_cell(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE_GB", "lots")
    with pytest.raises(UserError, match="MEDNET_BENCH_CACHE_GB is 'lots'"):
        raise_error(command("run", *SMALL, "--no-report"))
    assert not (tmp_path / "run" / "records").exists()
