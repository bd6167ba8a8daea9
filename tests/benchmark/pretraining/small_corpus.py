"""A tiny corpus on disk in the format of `corpus build`, written without reading any source."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mednet_bench.benchmark.corpus.build_part import INDEX_COLUMNS, index_schema
from mednet_bench.benchmark.corpus.corpus import DUPLICATES, INDEX, SHARDS, Corpus, SourceFacts, write_corpus
from mednet_bench.benchmark.corpus.images import encode_png, pixel_hash
from mednet_bench.benchmark.corpus.shard import ShardWriter, facts_json
from mednet_bench.benchmark.corpus.source import NO_LABEL
from mednet_bench.tasks.images.perceptual_hash import perceptual_hash

SIDES = {"cells": 28, "findings": 28, "scans": 40}
UNLABELED = "scans"
"""The source that `make_corpus` leaves without labels on request."""
KINDS = {"cells": "multiclass", "findings": "multilabel", "scans": "binary"}
LICENSES = {"cells": "CC0", "findings": "CC BY 4.0", "scans": "CC BY-NC-SA 4.0"}


def make_corpus(
    folder: Path, variant: str = "gray", images: int = 40, unlabeled: bool = False
) -> dict[str, list[NDArray[np.uint8]]]:
    """Write three sources of two shards each; returns their pixels in the order of the index.

    A bright spot in one quarter, which differs between the classes, lets a network learn something. The
    images of `scans` are no squares.
    """
    from pyarrow import parquet, table

    rng = np.random.default_rng(4)
    (folder / SHARDS).mkdir(parents=True)
    columns: dict[str, list] = {name: [] for name in INDEX_COLUMNS}
    shown: dict[str, list[NDArray[np.uint8]]] = {}
    for source, side in SIDES.items():
        shape = (side, side - 8 if source == "scans" else side, *(() if variant == "gray" else (3,)))
        shown[source] = []
        for part in range(2):
            name = f"{source}-{part:05d}.tar"
            with (folder / SHARDS / name).open("wb") as file:
                shard = ShardWriter(file)
                for row in range(images // 2):
                    kind = row % 2
                    pixels = rng.integers(0, 120, shape, dtype=np.uint8)
                    pixels[4 + 12 * kind : 10 + 12 * kind, 4:10] = 250
                    label = (kind, 1 - kind, 1) if KINDS[source] == "multilabel" else (kind,)
                    label = NO_LABEL if unlabeled and source == UNLABELED else label
                    digest, key = pixel_hash(pixels), f"{source}-{part:05d}{row:06d}"
                    content = encode_png(pixels)
                    offset = shard.add(key, content, facts_json(source, label, digest))
                    group = row // 4 if source == "cells" else -1
                    height, width = pixels.shape[:2]
                    where = (key, source, name, offset, len(content), label, group)
                    values = (*where, digest, perceptual_hash(pixels), height, width)
                    for column, value in zip(INDEX_COLUMNS, values, strict=True):
                        columns[column].append(value)
                    shown[source].append(pixels)
                shard.close()
    parquet.write_table(table(columns, index_schema()), folder / INDEX)
    (folder / DUPLICATES).write_text("key,source,of key,of source,labels\n")
    sources = tuple(_facts(name, variant, images, unlabeled and name == UNLABELED) for name in SIDES)
    write_corpus(
        folder, Corpus(variant=variant, side=40, sources=sources, identity="id", request="", made="")
    )
    return shown


def _facts(name: str, variant: str, images: int, unlabeled: bool) -> SourceFacts:
    classes = ("one", "other", "third") if KINDS[name] == "multilabel" else ("one", "other")
    classes = () if unlabeled else classes
    return SourceFacts(
        name=name,
        license=LICENSES[name],
        source_group=name,
        parents=("ham10000",) if name == "cells" else (),
        kind=KINDS[name],  # type: ignore[arg-type]
        classes=classes,
        modality="microscopy" if name == "cells" else "ct",
        variant=variant,  # type: ignore[arg-type]
        images=images,
    )
