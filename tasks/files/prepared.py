"""Arrays of a task, made once and kept in the user's cache: splits, manifest, nothing that names anybody."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...benchmark.errors import UserError
from ...benchmark.files import cache_folder, claim, write_json
from ..salt import group_number, own_salt
from ..task import SPLITS, Split
from .decode import Images, decode_all
from .find import listed
from .listing import Listing
from .spec import Spec
from .split import lacking, made, split_hash

VERSION = 1
"""Of what is done to an image; arrays of another version are made anew."""
MOST_FACTS = 8
"""Values of one fact that are told; the others are summed."""
AT_A_TIME = 256
"""Images that are copied in one go."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside the arrays; no path, no patient, of headers only plain facts."""

    task: str
    side: int
    images: dict[str, int]
    files: int
    patients: int
    """Known ones; images without one stand for themselves."""
    shared_patients: int
    """That stand in more than one split: only where the table gives the splits."""
    rule: str
    split_hash: str
    """Over (file, frame, split): equal where two machines split alike."""
    content: str
    """Over everything that the engine sees."""
    facts: dict[str, dict[str, int]]
    """How the files were read, and how often."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A folder of the cache, and its manifest."""

    folder: Path
    manifest: Manifest

    def split(self, name: str, subgroups: tuple[str, ...]) -> Split:
        """Open a split; its images are mapped into memory as they are needed."""
        columns = {column: self._array(f"{name}_column_{number}") for number, column in enumerate(subgroups)}
        groups = self._array(f"{name}_groups") if (self.folder / f"{name}_groups.npy").is_file() else None
        images = np.load(self.folder / f"{name}_images.npy", mmap_mode="r", allow_pickle=False)
        return Split(images, self._array(f"{name}_labels"), groups, columns)

    def _array(self, name: str) -> NDArray[Any]:
        return np.load(self.folder / f"{name}.npy", allow_pickle=False)


def prepared(spec: Spec, side: int, jobs: int = 0) -> Prepared:
    """Return the arrays of a task at a side, made now if nothing that they come from was ready.

    Raises:
        UserError: whatever is wrong with the card, the table, the files or the splits.
    """
    listing = listed(spec)
    salt = own_salt()
    what = repr((VERSION, side, spec.name, spec.kind, spec.classes, spec.variant, spec.subgroups))
    rules = repr((msgspec.json.encode(spec.rule), spec.reading))
    key = hashlib.sha256(salt + f"{what}{rules}{listing.state()}".encode()).hexdigest()[:32]
    folder = cache_folder() / "files" / key
    with claim(folder.with_suffix(".lock"), wait=True):
        if not (folder / "manifest.json").is_file():
            _prepare(folder, spec, listing, side, jobs)
    try:
        return Prepared(folder, msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest))
    except (OSError, msgspec.MsgspecError) as error:
        raise UserError(f"{folder} is damaged: delete it and run the same command again.") from error


def _prepare(folder: Path, spec: Spec, listing: Listing, side: int, jobs: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".preparing-") as scratch:
        squares = Path(scratch) / "squares"
        with squares.open("wb") as out:
            images = decode_all(listing, spec, side, jobs, out)
        parts = _parts(spec, listing, images)
        shape = (side, side, 3) if spec.variant == "color" else (side, side)
        every = np.memmap(squares, np.uint8, "r", shape=(len(images.rows), *shape))
        place = Path(scratch) / "arrays"
        place.mkdir()
        content = _write(place, spec, images, every, parts)
        del every
        write_json(place / "manifest.json", _manifest(spec, listing, images, parts, side, content))
        place.replace(folder)


@dataclass(frozen=True, eq=False)
class Parts:
    """Per image: split (0, 1, 2), labels, subgroups, and to whom it belongs.

    Attributes:
        groups: raw patient, "" where not known.
        owners: the same, or the file where no patient is known.
    """

    splits: NDArray[np.int64]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    owners: tuple[str, ...]
    columns: Mapping[str, NDArray[np.str_]]
    warnings: tuple[str, ...]


def _parts(spec: Spec, listing: Listing, images: Images) -> Parts:
    labels = listing.labels[images.files]
    pairs = zip((listing.patients[file] for file in images.files), images.patients, strict=True)
    groups = tuple(given or found for given, found in pairs)
    files = tuple(f"\0{listing.paths[file]}" for file in images.files)
    owners = tuple(group or file for group, file in zip(groups, files, strict=True))
    if listing.splits:
        splits = np.array([SPLITS.index(listing.splits[file]) for file in images.files])
    else:
        splits = made(labels, _numbers(owners if spec.rule.by == "patient" else files), spec.rule, spec.name)
    columns = {name: np.array(values, np.str_)[images.files] for name, values in listing.columns.items()}
    return Parts(splits, labels, groups, owners, columns, _warnings(spec, labels, splits, groups))


def _numbers(names: tuple[str, ...]) -> NDArray[np.int64]:
    return np.unique(np.array(names, object), return_inverse=True)[1].astype(np.int64)


def _warnings(
    spec: Spec, labels: NDArray[np.int64], splits: NDArray[np.int64], groups: tuple[str, ...]
) -> tuple[str, ...]:
    """Say what weakens the splits; `UserError` where they cannot be trained on or tested at all."""
    empty = [name for number, name in enumerate(SPLITS) if number not in splits]
    if empty:
        raise UserError(
            f"{spec.name}: the split {empty[0]} came out empty: change 'split.shares' or the seed."
        )
    absent = lacking(labels, splits, spec.classes)
    if 0 in absent:
        raise UserError(
            f"{spec.name}: the split train has no image of the class '{absent[0]}': add patients of it, "
            "leave the class out, or change the splits."
        )
    found = [f"the split {SPLITS[split]} has no image of '{name}'" for split, name in absent.items()]
    if shared := _shared(groups, splits):
        found.append(f"{shared:,} patients stand in more than one split: a test on them proves little")
    if unknown := sum(not group for group in groups):
        found.append(f"of {unknown:,} images no patient is known: each file stands for itself")
    return tuple(found)


def _shared(groups: tuple[str, ...], splits: NDArray[np.int64]) -> int:
    seen: dict[str, set[int]] = {}
    for group, split in zip(groups, splits.tolist(), strict=True):
        if group:
            seen.setdefault(group, set()).add(split)
    return sum(len(each) > 1 for each in seen.values())


def _write(place: Path, spec: Spec, images: Images, every: NDArray[np.uint8], parts: Parts) -> str:
    """Write the arrays of every split, a few images at a time; returns the hash of what the engine sees."""
    digest = hashlib.sha256()
    salt = own_salt()
    salted = np.array([group_number(salt, spec.name, owner) for owner in parts.owners], np.int64)
    plain = _numbers(parts.owners)  # equal on every machine, as the salt is not
    for number, name in enumerate(SPLITS):
        mine = np.flatnonzero(parts.splits == number)
        out = np.lib.format.open_memmap(
            place / f"{name}_images.npy", "w+", np.uint8, (len(mine), *every.shape[1:])
        )
        for start in range(0, len(mine), AT_A_TIME):
            chunk = every[images.rows[mine[start : start + AT_A_TIME]]]
            out[start : start + len(chunk)] = chunk
            digest.update(chunk.tobytes())
        out.flush()
        del out
        np.save(place / f"{name}_labels.npy", parts.labels[mine])
        if any(parts.groups):
            np.save(place / f"{name}_groups.npy", salted[mine])
        for at, column in enumerate(parts.columns.values()):
            np.save(place / f"{name}_column_{at}.npy", column[mine])
            digest.update("\0".join(column[mine]).encode())
        digest.update(parts.labels[mine].tobytes() + plain[mine].tobytes() + name.encode())
    return digest.hexdigest()


def _manifest(
    spec: Spec, listing: Listing, images: Images, parts: Parts, side: int, content: str
) -> Manifest:
    facts: dict[str, dict[str, int]] = {}
    for (key, value), count in images.facts.most_common():
        held = facts.setdefault(key, {})
        shown = value if len(held) < MOST_FACTS else "others"
        held[shown] = held.get(shown, 0) + count
    names = [
        f"{listing.paths[file]}\0{frame}" for file, frame in zip(images.files, images.frames, strict=True)
    ]
    shares = ", ".join(f"{share:g}" for share in spec.rule.shares)
    rule = f"made by {spec.rule.by}, stratified, shares {shares}, seed {spec.rule.seed}"
    return Manifest(
        task=spec.name,
        side=side,
        images={name: int((parts.splits == number).sum()) for number, name in enumerate(SPLITS)},
        files=len(listing.paths),
        patients=len(set(parts.groups) - {""}),
        shared_patients=_shared(parts.groups, parts.splits),
        rule=f"as the column '{spec.files.split_column}' says" if listing.splits else rule,
        split_hash=split_hash(names, parts.splits),
        content=content,
        facts=facts,
        warnings=parts.warnings,
    )
