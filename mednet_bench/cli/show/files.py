"""What `validate` tells: how a task's splits came out, how its files were read, and contact sheets."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...benchmark.overlap.groups import in_several, known_groups, patients_known
from ...core.errors import UserError, one_line
from ...core.files import write_atomic
from ...core.text_tables import tabulate
from ...tasks.catalog import catalog
from ...tasks.data_paths import data_locations
from ...tasks.from_files.prepared import PreparedManifest, prepare_task
from ...tasks.from_files.source import FilesSource
from ...tasks.from_files.split import missing_classes
from ...tasks.images.bit_depth import to_uint8
from ...tasks.local_cards import local_task
from ...tasks.patients import few_have_several
from ...tasks.subgroups import check_subgroups
from ...tasks.task import SPLITS, Split, Task

COLUMNS, ROWS, TILE, GAP = 12, 5, 96, 4
"""Of a contact sheet: images, and pixels."""


def validate_card(card: Path, size: int, jobs: int, out: Path | None) -> str:
    """Prepare the task of a card, write its contact sheets, and describe it.

    Args:
        card: of an npz or of files.
        size: side in pixels; an npz has its own.
        jobs: processes that decode; 0 takes all cores.
        out: folder of the sheets; ``NAME-check`` if None, beside the images' folder if it would lie in it.

    Raises:
        UserError: whatever is wrong with the card, the table, the files or the splits, or the sheets would
            lie among the images.
    """
    task, places = local_task(card), data_locations()
    catalog(places, [card])  # a name that is taken is refused here, not when it is run
    source = task.source
    folder = out or Path(f"{task.name}-check")
    if isinstance(source, FilesSource) and source.holds(folder):
        root = source.spec.root.resolve()
        if out:
            raise UserError(
                f"--out {out} lies in {root}, whose images are read: name a folder outside of it."
            )
        folder = root.parent / folder
    made = prepare_task(source.spec, size, jobs) if isinstance(source, FilesSource) else None
    splits = source.load(size, places)
    check_subgroups(str(card), splits)
    parts = [
        one_line(f"{task.name}: {task.kind}, {task.modality}, {task.variant}"),
        _told(made.manifest) if made else _stored(card, task, splits),
        _classes(task, splits),
        *(_subgroup(name, splits) for name in task.subgroups),
    ]
    written = sheets(task, splits, folder)
    parts.append(f"{written} contact sheets in {folder}: look at them, also for names burnt into the pixels")
    return "\n\n".join(parts)


def _stored(card: Path, task: Task, splits: Mapping[str, Split]) -> str:
    """Describe an npz, whose splits are what they are; `UserError` where nothing can be learnt from it."""
    labels = np.concatenate([split.labels for split in splits.values()])
    places = np.repeat([SPLITS.index(name) for name in splits], [len(split) for split in splits.values()])
    absent = missing_classes(labels, places, task.classes)
    if task.role == "task" and 0 in absent:
        raise UserError(f"{card}: the split train has no image of the class '{absent[0]}': add some.")
    side = next(iter(splits.values())).images.shape[1]
    lines = [("images", f"{len(labels):,} at {side} px, as the npz has them: --size is for tasks from files")]
    lines += [("warning", f"the split {SPLITS[at]} has no image of '{name}'") for at, name in absent.items()]
    if shared := in_several(splits):
        lines.append(("warning", f"{shared:,} groups stand in more than one split"))
    if any(len(known_groups(split)) for split in splits.values()) and not any(
        patients_known(splits).values()
    ):
        lines.append(
            ("warning", "hardly a group has two images: if many patients have, groups name no patients")
        )
    return tabulate(lines, tablefmt="plain")


def _told(manifest: PreparedManifest) -> str:
    """Describe where the arrays come from."""
    images = sum(manifest.images.values())
    lines = [
        ("files", f"{manifest.files:,}"),
        ("images", f"{images:,} at {manifest.side} px of {manifest.bits} bits, in proportion on black"),
        ("patients", _patients(manifest)),
        *([("equal images", _copies(manifest.copies))] if manifest.copies else []),
        ("splits", manifest.rule),
        ("split hash", manifest.split_hash[:16]),
        *((key, _counts(held)) for key, held in manifest.facts.items()),
        *(("warning", each) for each in manifest.warnings),
    ]
    return tabulate(lines, tablefmt="plain")


def _patients(manifest: PreparedManifest) -> str:
    """Count what is known of patients; a study is none, and names that hardly return show nothing."""
    told = f"{manifest.patients:,} known, {manifest.several:,} with several files"
    if few_have_several(manifest.several, manifest.patients):
        each = f"only {manifest.several:,} with several files" if manifest.several else "each with one file"
        told = f"{manifest.patients:,} named, {each}"
    if not manifest.patients:
        told = "none known"
    return f"{told}; {manifest.studies:,} studies of patients not known" if manifest.studies else told


def _copies(count: int) -> str:
    return f"{count:,} equal another in every pixel; splits that are made keep them together"


def _counts(held: Mapping[str, int]) -> str:
    if len(held) == 1:
        return next(iter(held))
    return "; ".join(f"{value} ({count:,})" for value, count in held.items())


def _classes(task: Task, splits: Mapping[str, Split]) -> str:
    rows: list[list[object]] = []
    for number, name in enumerate(task.classes):
        counts = [_mine(split, number).sum() for split in splits.values()]
        rows.append([name, *(f"{count:,}" for count in counts)])
    rows.append(["images", *(f"{len(split):,}" for split in splits.values())])
    groups = ["-" if s.groups is None else f"{len(np.unique(s.groups)):,}" for s in splits.values()]
    rows.append(["groups (patients, else files)", *groups])
    return tabulate(rows, ["class", *splits], colalign=_right(splits))


def _right(splits: Mapping[str, Split]) -> tuple[str, ...]:
    return ("left", *("right" for _ in splits))


def _mine(split: Split, number: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    """Tell which images of a split are of a class, [n]."""
    return split.labels[:, number] == 1 if split.labels.ndim == 2 else split.labels == number


def _subgroup(name: str, splits: Mapping[str, Split]) -> str:
    values = sorted({str(value) for split in splits.values() for value in split.columns[name]})
    rows = [
        [value or "(not known)", *(f"{(split.columns[name] == value).sum():,}" for split in splits.values())]
        for value in values
    ]
    return tabulate(rows, [name, *splits], colalign=_right(splits))


def sheets(task: Task, splits: Mapping[str, Split], folder: Path) -> int:
    """Write a PNG per class with some of its images, drawn at random and the same every time."""
    from PIL import Image

    for number, name in enumerate(task.classes):
        places = [(split, row) for split in splits.values() for row in np.flatnonzero(_mine(split, number))]
        drawn = np.random.default_rng(0).permutation(len(places))[: COLUMNS * ROWS]
        rows = max(1, -(-len(drawn) // COLUMNS))
        sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, rows * (TILE + GAP) + GAP), "white")
        for at, chosen in enumerate(drawn):
            split, row = places[chosen]
            tile = Image.fromarray(to_uint8(split.images[row])).resize((TILE, TILE))
            down, right = divmod(at, COLUMNS)
            sheet.paste(tile, (GAP + right * (TILE + GAP), GAP + down * (TILE + GAP)))
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        write_atomic(folder / f"{number}-{slug}.png", lambda file, sheet=sheet: sheet.save(file, "png"))
    return len(task.classes)
