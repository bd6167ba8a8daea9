"""Small sources of generated images, and a look into what was built of them."""

import csv
import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pyarrow import parquet

from mednet_bench.benchmark.corpus.build import build_corpus
from mednet_bench.benchmark.corpus.build_part import CorpusSettings
from mednet_bench.benchmark.corpus.corpus import Corpus
from mednet_bench.benchmark.corpus.source_args import open_sources
from mednet_bench.tasks.task import DataLocations

SALT = bytes(range(32))
GRAY = CorpusSettings("gray", 64, SALT)


def picture(number: int, side: int = 32, channels: int = 1) -> np.ndarray:
    """Draw an image that no other number gives."""
    shape = (side, side) if channels == 1 else (side, side, channels)
    coarse = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def card(file: Path, /, **changes: Any) -> Path:
    """Write a source card; returns its path."""
    facts = {
        "name": file.stem, "kind": "folder", "path": file.stem, "variant": "gray", "modality": "x-ray",
        "license": "CC BY 4.0", "source_group": file.stem, "parents": [f"{file.stem}-parent"], **changes,
    }  # fmt: skip
    file.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in facts.items()))
    return file


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return json.dumps(value)


def folder(root: Path, name: str, numbers: range, **changes: Any) -> Path:
    """Write a source of one folder per class, even numbers benign, ten images to a patient."""
    for number in numbers:
        place = root / name / ("benign", "malignant")[number % 2] / f"PATIENT{number // 10}-{number:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number)).save(place)
    return card(root / f"{name}.toml", group_pattern=r"/(PATIENT\d+)-", **changes)


def table(place: Path, name: str, rows: list[tuple[str, ...]], /, **changes: Any) -> Path:
    """Write a source of a CSV."""
    with (place / f"{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return card(place / f"{name}.toml", kind="table", path=f"{name}.csv", **changes)


def npz(root: Path, name: str, numbers: range, **changes: Any) -> Path:
    """Write a set in MedMNIST's layout with its card; val is no source by default."""
    channels = 3 if changes.get("variant") == "color" else 1
    images = np.stack([picture(number, channels=channels) for number in numbers])
    labels = np.array([[number % 2] for number in numbers], np.uint8)
    np.savez_compressed(
        root / f"{name}.npz", train_images=images, train_labels=labels, train_groups=np.array(numbers) // 10,
        val_images=255 - images, val_labels=labels,
    )  # fmt: skip
    facts = {"role": "source", "title": name, "classes": ["benign", "malignant"], "citation": "none"}
    return card(root / f"{name}.toml", kind="binary", path=f"{name}.npz", **facts, **changes)


def opened(*cards: Path, per_unit: int = 7, side: int = 64) -> list[Any]:
    """Open sources in units of a few images."""
    sources = open_sources(tuple(map(str, cards)), DataLocations(), {}, side)
    return [replace(source, per_unit=per_unit) for source in sources]  # type: ignore[type-var]


@dataclass(frozen=True)
class Built:
    """A corpus and what its index says, as columns."""

    folder: Path
    corpus: Corpus

    @property
    def rows(self) -> list[dict[str, Any]]:
        return parquet.read_table(self.folder / "index.parquet").to_pylist()

    @property
    def files(self) -> dict[str, str]:
        """Every file but the one with the date, by the hash of its content."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file())
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in found
            if path.name != "corpus.json"
        }

    def pixels(self, row: dict[str, Any]) -> np.ndarray:
        """Read an image as the loader does: from the shard, by offset and size alone."""
        content = (self.folder / "shards" / row["shard"]).read_bytes()
        return np.asarray(Image.open(io.BytesIO(content[row["offset"] :][: row["size"]])))

    def lines(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(newline="") as file:
            return list(csv.DictReader(file))


def made(
    folder: Path, *cards: Path, settings: CorpusSettings = GRAY, per_unit: int = 7, jobs: int = 1
) -> Built:
    """Build a corpus of cards."""
    return Built(
        folder, build_corpus(folder, opened(*cards, per_unit=per_unit, side=settings.side), settings, jobs)
    )
