"""Measure the speed of a training with bounded OpenMP spinning, alone and beside busy processes.

    python tests/speed/spinning.py           # 28 px, one minute on two cores
    python tests/speed/spinning.py 64

Two processes take turns, one with OpenMP's default; the median of the turns' ratios counts.
"""

import os
import statistics
import subprocess
import sys
import time

CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
DEFAULT = {"KMP_BLOCKTIME": "200"}
"""Default of LLVM's and Intel's OpenMP, ignored by GNU's; the program does not override it."""
LIMITS = {False: 0.95, True: 1.5}
"""Promised ratios without and with a busy loop on every core."""
TURNS, STEPS, BATCH = 12, 4, 32


def serve(side: int) -> None:
    """Train the number of steps of each input line, and print images per second."""
    import mednet_bench.benchmark  # noqa: F401, I001 - first: it bounds the spinning
    import torch

    from mednet_bench.baselines.weights.archs import build_backbone
    from mednet_bench.benchmark.training.model import ImageClassifier, place_model
    from mednet_bench.benchmark.training.loop import BatchSource, OptimizerConfig, ValidationResult, fit

    model = place_model(ImageClassifier(build_backbone("tf_efficientnet_lite0", side), 2, 0), "cpu")
    images = torch.randn(BATCH, 3, side, side).contiguous(memory_format=torch.channels_last)
    batch = images, torch.zeros(BATCH, dtype=torch.long)
    for line in sys.stdin:
        feed = BatchSource(lambda step: batch, torch.nn.functional.cross_entropy, int(line))
        started = time.perf_counter()
        fit(model, feed, OptimizerConfig(1e-4, 0.0, int(line), 1), lambda: ValidationResult(0.0, None))
        print(BATCH * int(line) / (time.perf_counter() - started), flush=True)


def start(side: str, choice: dict[str, str]) -> subprocess.Popen[str]:
    """Start a process that trains on request, and warm it up."""
    unset = {name: value for name, value in os.environ.items() if name not in CHOICES}
    process = subprocess.Popen(
        [sys.executable, __file__, side, "serve"],
        env={**unset, **choice},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    rate(process, 2)
    return process


def rate(process: subprocess.Popen[str], steps: int = STEPS) -> float:
    """Return the images per second of one turn."""
    assert process.stdin and process.stdout
    print(steps, file=process.stdin, flush=True)
    return float(process.stdout.readline())


def main() -> int:
    """Measure with and without busy loops; exit 3 where a limit is broken."""
    side = sys.argv[1] if len(sys.argv) > 1 else "28"
    ours, theirs = processes = [start(side, {}), start(side, DEFAULT)]
    broken = False
    for busy, limit in LIMITS.items():
        loop = [sys.executable, "-c", "while True: pass"]
        loops = [subprocess.Popen(loop) for _ in range((os.cpu_count() or 1) * busy)]
        try:
            pairs = [(rate(ours), rate(theirs)) for _ in range(TURNS)]
        finally:
            for process in loops:
                process.kill()
        ratio = statistics.median(mine / other for mine, other in pairs)
        medians = " against ".join(f"{statistics.median(rates):.0f}" for rates in zip(*pairs, strict=True))
        broken |= ratio < limit
        verdict = "ok" if ratio >= limit else f"BROKEN, limit {limit}"
        where = "beside busy loops" if busy else "alone"
        print(f"spinning: {side} px {where}: {medians} images/s, ratio {ratio:.2f} {verdict}", flush=True)
    for process in processes:
        process.kill()
    return 3 if broken else 0


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1])) if sys.argv[2:] == ["serve"] else main())
