"""What `task new` and `validate` say of gray in color, of empty images, and of properties by class."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from dicoms import SECRET, holds, write
from PIL import Image

from mednet_bench.cli.main import cli
from mednet_bench.tasks.from_files.class_traits import count_by_class, shown_traits

CLASSES = ("healthy", "ill")


def said(*words: object) -> str:
    result = CliRunner().invoke(cli, [*map(str, words)], standalone_mode=False)
    assert not result.exception, result.exception
    return " ".join(result.output.split())


def validate(folder: Path, card: str) -> str:
    found = said("validate", folder / card, "--size", 16, "--out", folder.parent / "check")
    assert SECRET not in found
    return found


def textures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 24, 20), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_gray_stored_in_color_is_drafted_as_gray_and_said(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "films"
    for number, gray in enumerate(textures(20)):
        (folder / CLASSES[number % 2]).mkdir(parents=True, exist_ok=True)
        path = folder / CLASSES[number % 2] / f"{number}.{suffix}"
        Image.fromarray(gray).convert("RGB").save(path, quality=70)
    words = said("task", "new", folder)
    assert 'stored in color and hold gray alone, therefore variant = "gray"' in words
    assert "2 classes, gray" in words
    assert (
        "color gray stored as RGB" in (found := validate(folder, "films.toml"))
        and "in color and" not in found
    )
    card = folder / "films.toml"
    card.write_text(card.read_text().replace('variant = "gray"', 'variant = "color"'))
    assert "20 of 20 images are gray in a task of color, where variant" in validate(folder, "films.toml")
    tinted = np.stack([textures(1)[0]] * 2 + [np.zeros((24, 20), np.uint8)], axis=-1)
    Image.fromarray(tinted).save(folder / "ill" / f"1.{suffix}")
    assert "2 classes, color" in said("task", "new", folder, "--force")


def empty_ward(folder: Path, count: int = 24) -> list[str]:
    """Write files of which three show nothing or not all: the paths by label, in order."""
    paths = []
    for number, gray in enumerate(textures(count)):
        label = CLASSES[number % 2]
        (folder / label).mkdir(parents=True, exist_ok=True)
        values, path = gray.astype(np.float32), folder / label / f"{SECRET}-{number:02}.npy"
        if number == 0:
            values[:] = np.nan
        elif number == 1:
            values[:] = 7
        elif number == 3:
            values[3, 3] = np.inf
        np.save(path, values)
        paths.append(f"{label}/{path.name}")
    return paths


EMPTY = (
    "1 of 24 images hold no finite number ({})",
    "1 of 24 images hold one value only ({})",
    "1 of 24 images hold values that are no finite numbers, which become black ({})",
)


def test_empty_images_are_counted_and_named_without_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "stills"
    paths = empty_ward(folder)
    said("task", "new", folder)
    found = validate(folder, "stills.toml")
    places = ("file 1 of 12 in healthy by path", "file 1 of 12 in ill by path", "file 2 of 12 in ill by path")
    for clause, place in zip(EMPTY, places, strict=True):
        assert clause.format(place) in found
    (folder / "stills.toml").unlink()
    rows = [f"{path},{path.partition('/')[0]}" for path in paths]
    (folder / "labels.csv").write_text("\n".join(["path,label", *rows]))
    said("task", "new", folder)
    found = validate(folder, "stills.toml")
    for clause, line in zip(EMPTY, (2, 3, 5), strict=True):
        assert clause.format(f"line {line}") in found


def test_images_that_their_window_empties_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    for number, gray in enumerate(textures(20)):
        (folder / CLASSES[number % 2]).mkdir(parents=True, exist_ok=True)
        window = (0, 1) if number < 7 else (128, 256)  # white from 0.5 on, and its margins are black
        elements = {"PatientID": f"P{number}", "WindowCenter": window[0], "WindowWidth": window[1]}
        write(
            folder / CLASSES[number % 2] / f"{number:02}.dcm",
            np.maximum(gray, 1).astype(np.int16),
            **elements,
        )
    said("task", "new", folder)
    found = validate(folder, "scans.toml")
    assert "7 of 20 images hold several values, of which their window and size leave one level (" in found
    assert "file 4 of 10 in healthy by path, file 1 of 10 in ill by path and 2 more)" in found


def test_rare_values_are_summed_and_makers_numbered() -> None:
    sizes = np.array([f"{number} x 9" for number in range(20)] + ["8 x 9"] * 5)
    truth = np.arange(25)[:, None] % 2 == [0, 1]
    (counted,) = count_by_class({"size": sizes}, truth)
    assert next(iter(counted.values)) == "8 x 9" and counted.values["8 x 9"] == (4, 2)
    assert len(counted.values) == 9 and np.sum([*counted.values.values()], axis=0).tolist() == [13, 12]
    makers = shown_traits({"Manufacturer": np.array([SECRET, "", "B", SECRET])})
    assert makers["maker"].tolist() == ["number 1", "", "number 2", "number 1"]


def test_storage_and_maker_are_shown_by_class_and_tested_without_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "heads"
    for number, gray in enumerate(textures(16)):
        signed = number % 2
        (folder / CLASSES[signed]).mkdir(parents=True, exist_ok=True)
        values = gray.astype(np.int16 if signed else np.uint16)
        elements = {"PatientID": f"P{number}", "Manufacturer": f"{SECRET} {signed}", "WindowCenter": 128}
        write(folder / CLASSES[signed] / f"{number:02}.dcm", values, WindowWidth=256, **elements)
    said("task", "new", folder)
    found = validate(folder, "heads.toml")
    assert "the class goes with stored, maker (exact test, p = 0.0002, 16 images)" in found
    assert "stored: 16-bit signed 0 8" in found and "maker: number 1 8 0 maker: number 2 0 8" in found
    audit = said("audit", "leakage", folder / "heads.toml", "--size", 16, "--out", tmp_path / "found")
    assert "label with Manufacturer p = 0.00016, limit" in audit and SECRET not in audit
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and folder not in path.parents]
    assert kept and not [path for path in kept if holds(path, [SECRET])]
