"""Measure how long a training waits for the images of a corpus, and the decoding rate of a core.

    python tests/speed/feeding.py            # everything, about ten minutes on two quiet cores
    python tests/speed/feeding.py decode     # images per second and core at 28, 64 and 224 px
    python tests/speed/feeding.py wait       # share of a training's time spent waiting

The corpora are built from generated images by `corpus build`. The waiting time is that of `curve.csv`; only a
pretraining with one worker process, the default, is measured.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from mednet_bench.benchmark.corpus.build import build_corpus
from mednet_bench.benchmark.corpus.build_part import CorpusSettings as Stored
from mednet_bench.benchmark.corpus.corpus import CORPUS
from mednet_bench.benchmark.corpus.source_args import open_sources
from mednet_bench.benchmark.pretraining.config import PretrainCallbacks, PretrainConfig
from mednet_bench.benchmark.pretraining.distributed import RankGroup
from mednet_bench.benchmark.pretraining.loader import corpus_pools
from mednet_bench.benchmark.pretraining.pretrain_result import PretrainSettings
from mednet_bench.benchmark.pretraining.projection import decode_rate, step_rate
from mednet_bench.benchmark.pretraining.sources import LoaderConfig
from mednet_bench.benchmark.pretraining.train_loop import run_training
from mednet_bench.tasks.pseudonymize import own_salt
from mednet_bench.tasks.task import DataLocations, Variant

LIMIT = 0.05
"""Largest promised share of waiting time."""
SOURCES: dict[Variant, str] = {"gray": "phantom-organ", "color": "phantom-tissue"}
TRAININGS: tuple[tuple[Variant, str, int, int, int], ...] = (
    ("gray", "tf_efficientnet_lite0", 28, 64, 24),
    ("color", "tf_efficientnet_lite0", 224, 16, 12),
    ("color", "resnet50", 224, 8, 8),
)
"""Variant, arch, input size, batch size, steps."""


def corpus_of(folder: Path, variant: Variant, side: int) -> Path:
    """Return a corpus of generated images of one size; build it if it is missing."""
    out = folder / f"{variant}-{side}"
    if not (out / CORPUS).is_file():
        sources = open_sources((SOURCES[variant],), DataLocations(), {}, side)
        build_corpus(out, sources, Stored(variant, side, own_salt()))
    return out


def measure_decode(folder: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Decode batches in this process, in random order."""
    for variant in SOURCES:
        for side in (28, 64, 224):
            _, images = corpus_pools(corpus_of(folder, variant, side), LoaderConfig(side=side, workers=0))
            size = float(images.decoder.places.size.mean())
            rate = decode_rate(images.decoder)
            images.close()
            yield f"{variant} {side} px", {"images_per_core_second": rate, "png_bytes": size}


def measure_wait(folder: Path, device: str) -> Iterator[tuple[str, dict[str, float]]]:
    """Pretrain a few steps and sum the waiting times of the training loop."""
    for variant, arch, side, batch, steps in TRAININGS:
        pools, images = corpus_pools(corpus_of(folder, variant, side), LoaderConfig(side=side, device=device))
        settings = PretrainSettings(
            variant=variant, arch=arch, steps=steps, batch_size=batch, input_size=side, lr=1e-3,
            weight_decay=0.01,
        )  # fmt: skip
        result = run_training(PretrainConfig(settings, pools, images, RankGroup(device)), PretrainCallbacks())
        images.close()
        rate, wait = step_rate(result.curve, batch)
        yield f"{variant} {arch} {side} px, batch {batch}", {"images_per_second": rate, "data_wait": wait}


def main() -> int:
    """Measure the requested parts; exit 3 where the limit is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", choices=["wait", "decode", "all"], default="all")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--corpora", type=Path, help="folder that keeps the corpora for the next run")
    chosen = parser.parse_args()
    broken = False
    print(
        f"{chosen.device}, {torch.get_num_threads()} threads of {os.cpu_count()}, torch {torch.__version__}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.corpora or Path(temporary)
        for name, figures in measure_wait(folder, chosen.device) if chosen.what != "decode" else ():
            kept = figures["data_wait"] < LIMIT
            broken |= not kept
            print(
                f"wait: {name}: {_rounded(figures)} {'ok' if kept else f'BROKEN, limit {LIMIT}'}", flush=True
            )
        for name, figures in measure_decode(folder) if chosen.what != "wait" else ():
            print(f"decode: {name}: {_rounded(figures)}", flush=True)
    return 3 if broken else 0


def _rounded(figures: dict[str, float]) -> str:
    return json.dumps({name: float(f"{value:.3g}") for name, value in figures.items()})


if __name__ == "__main__":
    sys.exit(main())
