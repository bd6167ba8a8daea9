"""Targets of the fuzzing: small real folders, and the public loader of each."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from synthetic import Grid, write_run

from mednet_bench.baselines.init import InputSpec
from mednet_bench.baselines.weights.checkpoint import CheckpointCard, read_checkpoint_card, write_card
from mednet_bench.baselines.weights.load_state_dict import read_tensors
from mednet_bench.benchmark.audits.contamination.near_duplicate_search import seen_in_corpus
from mednet_bench.benchmark.corpus.build import build_corpus
from mednet_bench.benchmark.corpus.build_part import CorpusSettings
from mednet_bench.benchmark.corpus.source import CorpusSource, SourceItem
from mednet_bench.benchmark.corpus.source_args import open_sources
from mednet_bench.benchmark.schema.plan import read_plan
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.verdicts import compute_verdicts
from mednet_bench.tasks.from_files.card_draft import DraftAnswers, draft_card
from mednet_bench.tasks.from_files.find import list_task_files
from mednet_bench.tasks.from_files.prepared import prepare_task
from mednet_bench.tasks.from_files.source import FilesSource
from mednet_bench.tasks.local_cards import local_task
from mednet_bench.tasks.task import DataLocations

FACTS = """name = "cells"
title = "Cells"
kind = "multiclass"
classes = ["a", "b"]
modality = "microscopy"
variant = "gray"
source_group = "cells"
parents = []
license = "CC0-1.0"
citation = "none"
"""
SOURCE = """name = "cells"
kind = "{kind}"
path = "{path}"
variant = "gray"
modality = "microscopy"
license = "CC0-1.0"
source_group = "cells"
labels = "multiclass"
classes = ["a", "b"]
"""
FILES = """
[files]
path = "."
table = "table.csv"
path_column = "path"
label_column = "label"
patient_column = "patient"
[split]
seed = 3
[reader]
frames = 1
"""
TABLES = """
[files]
table = ["ids.csv", "people.csv"]
path_column = "film"
path_pattern = "images/*/{id}.png"
label_column = "finding"
label_separator = ";"
label_map = {"b, maybe" = "b", "*" = "a"}
split_column = "set"
patient_column = "case"
"""
SIDE, COUNT = 16, 24
SECRET = "MUSTERMANN"
"""Planted in cells; no error may quote it."""


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        make: fills an empty folder.
        files: globs of the mutated files.
        load: reads the folder; any exception but a `UserError` that names a file ends the fuzzing.
    """

    make: Callable[[Path], object]
    files: tuple[str, ...]
    load: Callable[[Path], object]


def make_images(folder: Path) -> None:
    """Write two folders of PNGs, one per class, and the table that lists them."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(COUNT):
        path = Path("images", "ab"[number % 2], f"{number}.png")
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(folder / path)
        rows.append((str(path), "ab"[number % 2], f"p{number // 2}"))
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "label", "patient"), *rows])


def make_npz(folder: Path) -> None:
    rng = np.random.default_rng(0)
    content = {}
    for split, n in (("train", 12), ("val", 6), ("test", 6)):
        content[f"{split}_images"] = rng.integers(0, 256, (n, 8, 8), np.uint8)
        content[f"{split}_labels"] = (np.arange(n, dtype=np.uint8) % 2)[:, None]
        content[f"{split}_groups"] = np.arange(n) + 100 * n
    np.savez_compressed(folder / "cells.npz", **content)
    (folder / "card.toml").write_text(f'{FACTS}path = "cells.npz"\n')


def load_npz(folder: Path) -> None:
    task = local_task(folder / "card.toml")
    if not task.source.missing(8, DataLocations()):
        task.source.sizes(DataLocations())
        task.source.load(8, DataLocations())


def make_files(folder: Path) -> None:
    make_images(folder)
    (folder / "card.toml").write_text(FACTS + FILES)


def load_files(folder: Path) -> None:
    task = local_task(folder / "card.toml")
    if isinstance(task.source, FilesSource) and not task.source.missing(SIDE, DataLocations()):
        prepare_task(task.source.spec, SIDE, jobs=1)


def make_tables(folder: Path) -> None:
    """Write ids without suffix, a table of patients, an Excel file and a card that joins two tables."""
    from openpyxl import Workbook

    make_images(folder)
    (folder / "table.csv").unlink()
    words = ("a", "B", "b, maybe", "c")
    rows = [
        (str(n), f"{SECRET}{n // 2}", words[n % 4], f"{SECRET} fell", ("train", "test")[n > 15])
        for n in range(COUNT)
    ]
    people = [(f"{SECRET}{n}", "FM"[n % 2]) for n in range(COUNT // 2)]
    head = ("film", "case", "finding", "report", "set")
    for name, lines in (("ids.csv", [head, *rows]), ("people.csv", [("case", "sex"), *people])):
        with (folder / name).open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
    book = Workbook()
    for row in (head, *rows):
        book.worksheets[0].append(row)
    book.save(folder / "book.xlsx")
    (folder / "card.toml").write_text(FACTS + TABLES)


def load_tables(folder: Path) -> None:
    task = local_task(folder / "card.toml")
    if isinstance(task.source, FilesSource) and not task.source.missing(SIDE, DataLocations()):
        list_task_files(task.source.spec)
    for tables in (("ids.csv", "people.csv"), ("book.xlsx",)):
        draft_card(folder, DraftAnswers(tables=tables))


def make_sources(folder: Path) -> None:
    make_images(folder)
    (folder / "table.toml").write_text(SOURCE.format(kind="table", path="table.csv"))
    (folder / "folder.toml").write_text(SOURCE.format(kind="folder", path="images"))


def open_card(card: Path) -> Iterable[CorpusSource]:
    return open_sources((str(card),), DataLocations(), {}, SIDE)


def load_sources(folder: Path) -> None:
    for card in ("table.toml", "folder.toml"):
        for source in open_card(folder / card):
            for unit in source.units():
                for found in source.read(unit):
                    assert not isinstance(found, SourceItem) or found.pixels.dtype == np.uint8


def make_corpus(folder: Path) -> None:
    make_sources(folder)
    build_corpus(
        folder / "corpus", list(open_card(folder / "table.toml")), CorpusSettings("gray", SIDE, b"salt")
    )


def load_corpus(folder: Path) -> None:
    seen = seen_in_corpus(folder / "corpus")
    if seen.thumbnails is not None:
        seen.thumbnails(np.arange(min(3, len(seen.hashes))))


def make_weights(folder: Path) -> None:
    save_file({"a.weight": torch.ones(4, 3), "a.bias": torch.ones(4)}, folder / "w.safetensors")
    torch.save({"state_dict": {"a.weight": torch.ones(4, 3)}, "epoch": 3}, folder / "w.pth")
    card = CheckpointCard(
        name="lab", path="w.safetensors", sha256="0" * 64, arch="resnet18", input=InputSpec(), corpora=("a",),
        variant="gray", fingerprint=(0.1, 0.2), input_size=32, label_spaces={"a": ["b"]},
    )  # fmt: skip
    write_card(card, folder / "card.toml")


def load_weights(folder: Path) -> None:
    read_checkpoint_card(folder / "card.toml")
    for name in ("w.safetensors", "w.pth"):
        read_tensors(folder / name)


def make_run(folder: Path) -> None:
    write_run(folder, Grid(tasks=("breastmnist",), inits=("imagenet", "scratch"), fractions=(1.0,)))


def load_run(folder: Path) -> None:
    read_plan(folder)
    compute_verdicts(load_report_input([folder]))


TARGETS = {
    "npz": Target(make_npz, ("cells.npz", "card.toml"), load_npz),
    "files": Target(make_files, ("table.csv", "card.toml", "images/a/0.png"), load_files),
    "tables": Target(make_tables, ("ids.csv", "people.csv", "book.xlsx", "card.toml"), load_tables),
    "sources": Target(
        make_sources, ("table.csv", "table.toml", "folder.toml", "images/b/1.png"), load_sources
    ),
    "corpus": Target(
        make_corpus, ("corpus/corpus.json", "corpus/index.parquet", "corpus/shards/*"), load_corpus
    ),
    "weights": Target(make_weights, ("card.toml", "w.safetensors", "w.pth"), load_weights),
    "run": Target(make_run, ("plan.json", "records/*.json", "predictions/*.npz"), load_run),
}
