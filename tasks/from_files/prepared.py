"""Preparation of a task's arrays, once, in the user's cache; nothing there names a patient."""

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...core.errors import UserError
from ...core.files import cache_folder, explain_write_errors, write_json
from ...core.leases import claim_lock
from ..pseudonymize import own_salt, salt_trace
from ..task import SPLITS
from .arrays import ArrayFolder
from .class_traits import (
    MOST_VALUES,
    TraitCounts,
    association_warnings,
    class_of_images,
    count_by_class,
    shown_traits,
)
from .decode import DecodedImages, decode_all
from .decoded_again import load_decoded, save_decoded
from .find import list_task_files
from .listing import FileListing
from .schema import FilesSpec
from .split import split_hash
from .splits_and_labels import SplitsAndLabels, split_images
from .warnings import split_differences

PREPARED_VERSION = 8
"""Version of image processing; arrays of another version are rebuilt."""
LARGEST_SIDE = 4096
"""In pixels; larger images exceed what networks take and memory allows."""


MOST_NAMED = 5
"""Files with empty images that `validate` points out."""


class EmptyImages(msgspec.Struct, frozen=True, kw_only=True):
    """Images that show nothing for one reason.

    Attributes:
        count: number of images.
        files: places in the listing of the first few files.
        others: number of further files.
    """

    reason: str
    count: int
    files: tuple[int, ...]
    others: int


class PreparedManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Manifest of prepared arrays, without paths or patients."""

    task: str
    side: int
    bits: int
    """16 if a file has more than 8, unless the card wants 8."""
    images: dict[str, int]
    files: int
    patients: int
    """Number of known patients."""
    several: int = 0
    """Number of patients with several files."""
    doubtful: bool = False
    """Whether so few have several files that the ids may number images."""
    studies: int = 0
    """Number of studies of images without a known patient."""
    shared_patients: int
    """Number of patients in more than one split; 0 unless table or folders give the splits."""
    copies: int = 0
    """Images equal to an earlier one in every pixel; in one split with it if splits were made."""
    rule: str
    split_hash: str
    """Hash over (file, frame, split), to compare splits between machines."""
    content: str
    """Hash over all that training sees."""
    facts: dict[str, dict[str, int]]
    """Count of each value of each reading fact."""
    by_class: tuple[TraitCounts, ...] = ()
    """Images of each class by storage, maker, size and window, where these differ."""
    empty: tuple[EmptyImages, ...] = ()
    """Constant images, images without a number, and those that their window empties."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedTask:
    """Folder in the cache and its manifest."""

    folder: ArrayFolder
    manifest: PreparedManifest


def prepare_task(spec: FilesSpec, side: int, jobs: int = 0) -> PreparedTask:
    """Return the arrays of a task at an image side, preparing them on first use.

    The folder's name is the hash of its content; a note maps the state of card and files to it. Files that
    were touched without a change are decoded again but stored once.

    Raises:
        UserError: card, table, files or splits are wrong.
    """
    if not 1 <= side <= LARGEST_SIDE:
        raise UserError(
            f"{spec.name}: its files are prepared at 1 to {LARGEST_SIDE:,} pixels a side, not {side}."
        )
    listing = list_task_files(spec)
    salt = own_salt()
    what = repr((PREPARED_VERSION, side, spec.name, spec.kind, spec.classes, spec.variant, spec.subgroups))
    rules = repr((msgspec.json.encode(spec.rule), spec.reading))
    note = _note_path(salt, what, rules, listing.state_hash())
    read = repr((PREPARED_VERSION, side, spec.name, spec.variant, spec.reading, "decoded"))
    decoded = _note_path(salt, read, listing.files_hash())  # the same for other labels and splits
    with claim_lock(note.with_suffix(".lock"), wait=True):
        found = _read_note(note)
        if found is None:
            _remove_leftovers(note.parent)
            known = _read_note(decoded)
            scratch = note.with_suffix(".preparing")
            shutil.rmtree(scratch, ignore_errors=True)
            try:
                again = known and load_decoded(known.folder, listing, spec, side)
                found = _prepare(scratch, spec, listing, side, jobs, salt, again)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
            write_json(note, found.folder.path.name)
            write_json(decoded, found.folder.path.name)
    with suppress(OSError):
        os.utime(found.folder.path / "manifest.json")  # for `newest_prepared_side`
    return found


def last_prepared(task: str) -> tuple[PreparedManifest, ...]:
    """Return the newest cached manifest of a task per side, smallest first, maybe outdated."""
    found: dict[int, PreparedManifest] = {}
    paths = [(path.stat().st_mtime, path) for path in (cache_folder() / "files").glob("*/manifest.json")]
    for _, path in sorted(paths):
        with suppress(OSError, msgspec.MsgspecError):  # of another version, or damaged: not used either
            manifest = msgspec.json.decode(path.read_bytes(), type=PreparedManifest)
            if manifest.task == task:
                found[manifest.side] = manifest
    return tuple(found[side] for side in sorted(found))


def _remove_leftovers(folder: Path) -> None:
    """Remove scratch folders of killed processes of any task; a held lock means one is running."""
    for scratch in folder.glob("*.preparing"):
        with claim_lock(scratch.with_suffix(".lock")) as free:
            if free:
                shutil.rmtree(scratch, ignore_errors=True)


def _read_note(note: Path) -> PreparedTask | None:
    """Return the arrays that a note names; None if there is no note, or it is damaged."""
    try:
        folder = note.parent / msgspec.json.decode(note.read_bytes(), type=str)
        manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=PreparedManifest)
    except (OSError, ValueError):
        return None
    return PreparedTask(ArrayFolder(folder), manifest)


def _note_path(salt: bytes, *texts: str) -> Path:
    """Return the path of the note on what these texts describe."""
    key = hashlib.sha256(salt + "".join(texts).encode()).hexdigest()[:32]
    return cache_folder() / "files" / f"{key}.json"


def _prepare(
    scratch: Path,
    spec: FilesSpec,
    listing: FileListing,
    side: int,
    jobs: int,
    salt: bytes,
    again: DecodedImages | None,
) -> PreparedTask:
    place = scratch / "arrays"
    with explain_write_errors(place):
        place.mkdir(parents=True)
    images = again or decode_all(listing, spec, side, jobs, scratch)
    parts = split_images(spec, listing, images)
    with explain_write_errors(place):
        content = ArrayFolder(place).write(images, parts, salt, spec.name)
        save_decoded(place, images, parts.splits)
    manifest = _build_manifest(spec, listing, images, parts, side, content)
    write_json(place / "manifest.json", manifest)
    what = salt_trace(salt).encode() + msgspec.json.encode(manifest)
    folder = scratch.parent / hashlib.sha256(what).hexdigest()[:32]
    with claim_lock(folder.with_suffix(".lock"), wait=True):
        if not (folder / "manifest.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)  # incomplete
            place.replace(folder)
    return PreparedTask(ArrayFolder(folder), manifest)


def _build_manifest(
    spec: FilesSpec,
    listing: FileListing,
    images: DecodedImages,
    parts: SplitsAndLabels,
    side: int,
    content: str,
) -> PreparedManifest:
    facts: dict[str, dict[str, int]] = {}
    for (key, value), count in images.facts.most_common():
        counts = facts.setdefault(key, {})
        shown = value if len(counts) < MOST_VALUES else "others"
        counts[shown] = counts.get(shown, 0) + count
    traits, truth = shown_traits(images.traits), class_of_images(parts.labels, len(spec.classes))
    return PreparedManifest(
        task=spec.name,
        side=side,
        bits=16 if images.deep else 8,
        images={name: int((parts.splits == number).sum()) for number, name in enumerate(SPLITS)},
        files=len(listing.paths),
        patients=len(parts.patients),
        several=parts.several,
        doubtful=parts.doubtful,
        studies=len(set(parts.groups) - parts.patients - {""}),
        shared_patients=parts.shared,
        copies=parts.copies,
        rule=_describe_rule(spec, listing, parts),
        split_hash=split_hash(parts.names, parts.splits),
        content=content,
        facts=facts,
        by_class=count_by_class(traits, truth),
        empty=_count_empty(images),
        warnings=(
            *parts.warnings,
            *split_differences(images.facts, spec.variant, side),
            *association_warnings(traits, images.traits, truth, parts.owners),
        ),
    )


def _count_empty(images: DecodedImages) -> tuple[EmptyImages, ...]:
    found: dict[str, list[int]] = {}
    for file, reason in images.empty:
        found.setdefault(reason, []).append(file)
    result = []
    for reason, files in sorted(found.items()):
        several = tuple(dict.fromkeys(files))
        named, others = several[:MOST_NAMED], len(several[MOST_NAMED:])
        result.append(EmptyImages(reason=reason, count=len(files), files=named, others=others))
    return tuple(result)


def _describe_rule(spec: FilesSpec, listing: FileListing, parts: SplitsAndLabels) -> str:
    """Describe the origin of the splits and the unit they keep whole."""
    known = "patient" if parts.patients else "study" if any(parts.groups) else "file"
    unit = known if spec.rule.by == "patient" else spec.rule.by
    by, seed = f"by {unit} and equal images, stratified", f"seed {spec.rule.seed}"
    if not listing.splits:
        return f"made {by}, shares {', '.join(f'{share:g}' for share in spec.rule.shares)}, {seed}"
    if "val" in listing.splits:
        return listing.rule
    share = f"{spec.rule.without_test[1]:.0%} of it"
    return f"{listing.rule}, without a val, which is cut from train {by}, {share}, {seed}"
