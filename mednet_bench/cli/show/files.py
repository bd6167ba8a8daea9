"""The output of `validate`: splits, preprocessing and contact sheets of a task."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ...benchmark.overlap.groups import in_several, known_groups, patients_known
from ...core.errors import UserError, one_line
from ...core.files import write_atomic
from ...core.text_tables import tabulate
from ...tasks.catalog import catalog
from ...tasks.data_paths import data_locations
from ...tasks.from_files.find import list_task_files
from ...tasks.from_files.listing import place_of_file
from ...tasks.from_files.prepared import PreparedManifest, prepare_task
from ...tasks.from_files.schema import FilesSpec
from ...tasks.from_files.source import FilesSource
from ...tasks.from_files.split import missing_classes
from ...tasks.images.bit_depth import to_uint8
from ...tasks.local_cards import local_task
from ...tasks.subgroups import check_subgroups
from ...tasks.task import SPLITS, Split, Task

COLUMNS, ROWS, TILE, GAP = 12, 5, 96, 4
"""Of a contact sheet: columns and rows of images, pixels of an image and of the gap."""


def validate_card(card: Path, size: int, jobs: int, out: Path | None) -> str:
    """Prepare the task of a card, write its contact sheets, and describe it.

    Args:
        card: of an npz or of files.
        size: of the prepared images in pixels; an npz has its own.
        jobs: processes that decode; 0 takes all cores.
        out: folder of the sheets; ``NAME-check`` if None, beside the images' folder if it would lie in it.

    Raises:
        UserError: card, table, files or splits are wrong, or `out` lies in the folder of the images.
    """
    task, places = local_task(card), data_locations()
    catalog(places, [card])  # refuses a name that is taken already
    source = task.source
    folder = out or Path(f"{task.name}-check")
    if isinstance(source, FilesSource) and source.holds(folder):
        root = source.spec.root.resolve()
        if out:
            raise UserError(f"--out {out} lies in {root}, whose images are read: name a folder outside.")
        folder = root.parent / folder
    prepared = prepare_task(source.spec, size, jobs) if isinstance(source, FilesSource) else None
    splits = source.load(size, places)
    check_subgroups(str(card), splits)
    parts = [
        one_line(f"{task.name}: {task.kind}, {task.modality}, {task.variant}"),
        _preparation_facts(prepared.manifest, _empty_warnings(source.spec, prepared.manifest))
        if prepared and isinstance(source, FilesSource)
        else _npz_facts(card, task, splits),
        _class_table(task, splits),
        *(_property_tables(task, prepared.manifest) if prepared else ()),
        *(_subgroup_table(name, splits) for name in task.subgroups),
    ]
    count = write_contact_sheets(task, splits, folder)
    parts.append(f"{count} contact sheets in {folder}: look at them, also for names burnt into the pixels")
    return "\n\n".join(parts)


def _npz_facts(card: Path, task: Task, splits: Mapping[str, Split]) -> str:
    """Describe an npz; `UserError` where its splits allow no training."""
    labels = np.concatenate([split.labels for split in splits.values()])
    places = np.repeat([SPLITS.index(name) for name in splits], [len(split) for split in splits.values()])
    absent = missing_classes(labels, places, task.classes)
    if task.role == "task" and 0 in absent:
        raise UserError(f"{card}: the split train has no image of the class '{absent[0]}': add some.")
    side = next(iter(splits.values())).images.shape[1]
    lines = [("images", f"{len(labels):,} at {side} px, as the npz has them: --size is for tasks from files")]
    lines += [("warning", f"the split {SPLITS[at]} has no image of '{name}'") for at, name in absent.items()]
    if shared := in_several(splits):
        lines.append(("warning", f"{shared:,} groups are in more than one split"))
    if any(len(known_groups(split)) for split in splits.values()) and not any(
        patients_known(splits).values()
    ):
        lines.append(
            ("warning", "hardly a group has two images: if many patients have, groups name no patients")
        )
    return tabulate(lines, tablefmt="plain")


def _empty_warnings(spec: FilesSpec, manifest: PreparedManifest) -> list[str]:
    """Return a clause on the images that show nothing, by reason.

    They are named by the table's line, or by their number in the class, because file names may identify.
    """
    listing = list_task_files(spec) if manifest.empty else None
    images, found = sum(manifest.images.values()), []
    for each in manifest.empty:
        assert listing is not None
        places = ", ".join(place_of_file(listing, spec, file) for file in each.files)
        more = f" and {each.others:,} more" if each.others else ""
        found.append(f"{each.count:,} of {images:,} images {each.reason} ({places}{more})")
    return found


def _preparation_facts(manifest: PreparedManifest, empty: list[str]) -> str:
    """Describe how the arrays were made from files."""
    images = sum(manifest.images.values())
    lines = [
        ("files", f"{manifest.files:,}"),
        ("images", f"{images:,} at {manifest.side} px of {manifest.bits} bits, in proportion on black"),
        ("patients", _format_patients(manifest)),
        *([("equal images", _format_copies(manifest.copies))] if manifest.copies else []),
        ("splits", manifest.rule),
        ("split hash", manifest.split_hash[:16]),
        *((key, _format_counts(counts)) for key, counts in manifest.facts.items()),
        *(("warning", each) for each in (*empty, *manifest.warnings)),
    ]
    return tabulate(lines, tablefmt="plain")


def _format_patients(manifest: PreparedManifest) -> str:
    """Count the known patients; studies are not patients, and ids used once show nothing."""
    text = f"{manifest.patients:,} known, {manifest.several:,} with several files"
    if manifest.doubtful:
        each = f"only {manifest.several:,} with several files" if manifest.several else "each with one file"
        text = f"{manifest.patients:,} named, {each}"
    if not manifest.patients:
        text = "none known"
    return f"{text}; {manifest.studies:,} studies of patients not known" if manifest.studies else text


def _format_copies(count: int) -> str:
    return f"{count:,} equal another in every pixel; splits that are made keep them together"


def _format_counts(counts: Mapping[str, int]) -> str:
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({count:,})" for value, count in counts.items())


def _class_table(task: Task, splits: Mapping[str, Split]) -> str:
    rows: list[list[object]] = []
    for number, name in enumerate(task.classes):
        counts = [_is_class(split, number).sum() for split in splits.values()]
        rows.append([name, *(f"{count:,}" for count in counts)])
    rows.append(["images", *(f"{len(split):,}" for split in splits.values())])
    groups = ["-" if s.groups is None else f"{len(np.unique(s.groups)):,}" for s in splits.values()]
    rows.append(["groups (patients, else files)", *groups])
    return tabulate(rows, ["class", *splits], colalign=_alignment(splits))


def _property_tables(task: Task, manifest: PreparedManifest) -> tuple[str, ...]:
    """Return the table of storage, maker, size and window by class; () where these are the same."""
    rows = [
        [f"{each.trait}: {value}", *(f"{count:,}" for count in counts)]
        for each in manifest.by_class
        for value, counts in each.values.items()
    ]
    align = ("left", *("right" for _ in task.classes))
    return (tabulate(rows, ["file property", *task.classes], colalign=align),) if rows else ()


def _alignment(splits: Mapping[str, Split]) -> tuple[str, ...]:
    return ("left", *("right" for _ in splits))


def _is_class(split: Split, number: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]":
    """Return which images of a split are of a class, bool [n]."""
    return split.labels[:, number] == 1 if split.labels.ndim == 2 else split.labels == number


def _subgroup_table(name: str, splits: Mapping[str, Split]) -> str:
    values = sorted({str(value) for split in splits.values() for value in split.columns[name]})
    rows = [
        [value or "(not known)", *(f"{(split.columns[name] == value).sum():,}" for split in splits.values())]
        for value in values
    ]
    return tabulate(rows, [name, *splits], colalign=_alignment(splits))


def write_contact_sheets(task: Task, splits: Mapping[str, Split], folder: Path) -> int:
    """Write a PNG per class with random images, always the same; return the number of files."""
    for number, name in enumerate(task.classes):
        places = [
            (split, row) for split in splits.values() for row in np.flatnonzero(_is_class(split, number))
        ]
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
