"""Check that every image of a corpus reads back with the hash in the index."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ...core.progress import show_count
from .corpus import SHARDS, read_corpus
from .images import pixel_hash
from .index import open_index, read_image

_COLUMNS = ["key", "shard", "offset", "size", "sha256"]


def check_corpus(folder: Path, jobs: int = 1) -> list[str]:
    """Read every image and compare its hash.

    Returns:
        One sentence for each shard that is missing or differs from the index, and one if the index and
        corpus.json disagree on the number of images.

    Raises:
        UserError: there is no finished corpus, or its index cannot be read.
    """
    corpus = read_corpus(folder)
    faults: list[str] = []
    seen, count = 0, open_index(folder).num_row_groups
    with ThreadPoolExecutor(jobs) as pool, show_count("shards", count) as step:  # decoding frees the others
        for rows, fault in pool.map(partial(_check_shard, folder), range(count)):
            seen += rows
            faults += [fault] if fault else []
            step(f"{seen:,} images, {len(faults)} damaged shards")
    if seen != corpus.images:
        faults.append(f"The index holds {seen:,} images and corpus.json says {corpus.images:,}.")
    return faults


def _check_shard(folder: Path, number: int) -> tuple[int, str]:
    rows = open_index(folder).read_row_group(number, columns=_COLUMNS).to_pylist()
    path = folder / SHARDS / rows[0]["shard"]
    try:
        with path.open("rb") as shard:
            wrong = [row["key"] for row in rows if not _matches_hash(shard, row)]
    except OSError as error:
        return len(rows), f"{path} cannot be read ({error.strerror})."
    if not wrong:
        return len(rows), ""
    return len(rows), f"{path} holds other images than the index says: {len(wrong)}, the first is {wrong[0]}."


def _matches_hash(shard: Any, row: dict[str, Any]) -> bool:
    try:
        return pixel_hash(read_image(shard, row)) == row["sha256"]
    except Exception:  # a decoder raises anything at broken bytes
        return False
