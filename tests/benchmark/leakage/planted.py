"""Splits of generated images in which tests plant what an audit must find."""

import numpy as np
from numpy.typing import NDArray

from mednet_bench.benchmark.audits.leakage.audit import leakage_of
from mednet_bench.benchmark.audits.leakage.outcome import LeakageAudit
from mednet_bench.tasks.task import Split

Splits = dict[str, Split]


def changed(splits: Splits, split: str, rows: list[int], images: NDArray[np.uint8]) -> Splits:
    pixels = splits[split].images.copy()
    pixels[rows] = images
    return {**splits, split: Split(pixels, splits[split].labels)}


def audited(splits: Splits, pairs: int = 0) -> LeakageAudit:
    return leakage_of("planted", 64, "test:1", splits, pairs)
