"""Arrays of a task, made once and kept in the user's cache: splits, manifest, nothing that names anybody."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...core.errors import UserError
from ...core.files import cache_folder, claim_lock, explain_write_errors, write_json
from ..pseudonymize import own_salt, salt_trace
from ..task import SPLITS
from .arrays import ArrayFolder
from .decode import DecodedImages, decode_all
from .find import list_task_files
from .listing import FileListing
from .schema import FilesSpec
from .split import split_hash
from .splits_and_labels import SplitsAndLabels, split_images
from .warnings import split_differences

PREPARED_VERSION = 5
"""Of what is done to an image; arrays of another version are made anew."""
LARGEST_SIDE = 4096
"""In pixels, of the squares; larger ones hold more than a network is fed, and more than memory may."""
MOST_FACTS = 8
"""Values of one fact that are told; the others are summed."""


class PreparedManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside the arrays; no path, no patient, of headers only plain facts."""

    task: str
    side: int
    bits: int
    """16 where a file has more than 8, unless the card wants 8."""
    images: dict[str, int]
    files: int
    patients: int
    """Known ones; images without one stand for themselves."""
    several: int = 0
    """Of the patients, those with several files."""
    studies: int = 0
    """Of images whose patient is not known."""
    shared_patients: int
    """That stand in more than one split: only where the table gives the splits."""
    copies: int = 0
    """Images equal to an earlier one in every pixel; in one split with it where that was made."""
    rule: str
    split_hash: str
    """Over (file, frame, split): equal where two machines split alike."""
    content: str
    """Over everything that the engine sees."""
    facts: dict[str, dict[str, int]]
    """How the files were read, and how often."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedTask:
    """A folder of the cache, and its manifest."""

    folder: ArrayFolder
    manifest: PreparedManifest


def prepare_task(spec: FilesSpec, side: int, jobs: int = 0) -> PreparedTask:
    """Return the arrays of a task at a side, made now if nothing that they come from was ready.

    What is in the arrays names their folder, and a note says which it is for a state of card and files: what
    was touched or moved without a change is decoded again and kept once.

    Raises:
        UserError: whatever is wrong with the card, the table, the files or the splits.
    """
    if not 1 <= side <= LARGEST_SIDE:
        raise UserError(
            f"{spec.name}: its files are prepared at 1 to {LARGEST_SIDE:,} pixels a side, not {side}."
        )
    listing = list_task_files(spec)
    salt = own_salt()
    what = repr((PREPARED_VERSION, side, spec.name, spec.kind, spec.classes, spec.variant, spec.subgroups))
    rules = repr((msgspec.json.encode(spec.rule), spec.reading))
    key = hashlib.sha256(salt + f"{what}{rules}{listing.state_hash()}".encode()).hexdigest()[:32]
    note = cache_folder() / "files" / f"{key}.json"
    with claim_lock(note.with_suffix(".lock"), wait=True):
        found = _read_note(note)
        if found is None:
            _remove_leftovers(note.parent)
            scratch = note.with_suffix(".preparing")
            shutil.rmtree(scratch, ignore_errors=True)
            try:
                found = _prepare(scratch, spec, listing, side, jobs, salt)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
            write_json(note, found.folder.path.name)
    return found


def _remove_leftovers(folder: Path) -> None:
    """Remove what processes that were killed have left, of any task; where a lock is held one is at work."""
    for scratch in folder.glob("*.preparing"):
        with claim_lock(scratch.with_suffix(".lock")) as free:
            if free:
                shutil.rmtree(scratch, ignore_errors=True)


def _read_note(note: Path) -> PreparedTask | None:
    """Return what a note leads to; None where there is none, or it is damaged."""
    try:
        folder = note.parent / msgspec.json.decode(note.read_bytes(), type=str)
        manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=PreparedManifest)
    except (OSError, ValueError):
        return None
    return PreparedTask(ArrayFolder(folder), manifest)


def _prepare(
    scratch: Path, spec: FilesSpec, listing: FileListing, side: int, jobs: int, salt: bytes
) -> PreparedTask:
    place = scratch / "arrays"
    with explain_write_errors(place):
        place.mkdir(parents=True)
    images = decode_all(listing, spec, side, jobs, scratch)
    parts = split_images(spec, listing, images)
    with explain_write_errors(place):
        content = ArrayFolder(place).write(images, parts, salt, spec.name)
    manifest = _build_manifest(spec, listing, images, parts, side, content)
    write_json(place / "manifest.json", manifest)
    what = salt_trace(salt).encode() + msgspec.json.encode(manifest)
    folder = scratch.parent / hashlib.sha256(what).hexdigest()[:32]
    with claim_lock(folder.with_suffix(".lock"), wait=True):
        if not (folder / "manifest.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)  # somebody deleted a part of it
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
        held = facts.setdefault(key, {})
        shown = value if len(held) < MOST_FACTS else "others"
        held[shown] = held.get(shown, 0) + count
    return PreparedManifest(
        task=spec.name,
        side=side,
        bits=16 if images.deep else 8,
        images={name: int((parts.splits == number).sum()) for number, name in enumerate(SPLITS)},
        files=len(listing.paths),
        patients=len(parts.patients),
        several=parts.several,
        studies=len(set(parts.groups) - parts.patients - {""}),
        shared_patients=parts.shared,
        copies=parts.copies,
        rule=_describe_rule(spec, listing, parts),
        split_hash=split_hash(parts.names, parts.splits),
        content=content,
        facts=facts,
        warnings=(*parts.warnings, *split_differences(images.facts, spec.variant, side)),
    )


def _describe_rule(spec: FilesSpec, listing: FileListing, parts: SplitsAndLabels) -> str:
    """Say where the splits come from, and by what is known they are cut."""
    known = "patient" if parts.patients else "study" if any(parts.groups) else "file"
    unit = known if spec.rule.by == "patient" else spec.rule.by
    by, seed = f"by {unit} and equal images, stratified", f"seed {spec.rule.seed}"
    if not listing.splits:
        return f"made {by}, shares {', '.join(f'{share:g}' for share in spec.rule.shares)}, {seed}"
    if "val" in listing.splits:
        return listing.rule
    share = f"{spec.rule.without_test[1]:.0%} of it"
    return f"{listing.rule}, without a val, which is cut from train {by}, {share}, {seed}"
