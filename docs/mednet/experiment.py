"""The experiment of docs/mednet.md: which recipe makes a MedNet, and does it help?

    python docs/mednet/experiment.py DATA OUT --folds gray-a,color-a --recipes today,simclr

`DATA` holds the sets of `FOLDS` with their cards. Pretrains every recipe on each fold's sources, without its
targets, and runs linear probes on these. What is finished is kept: the same command resumes, others add.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mednet_bench.benchmark.schema.records import RecordStore

SUPERVISED, GENTLE = ("--objective", "supervised"), ("--from", "imagenet", "--lr", "1e-4", "--anchor", "0.01")
RECIPES: dict[str, tuple[str, ...]] = {
    "today": SUPERVISED,
    "strong": (*SUPERVISED, "--augmentation", "strong", "--projection", "128", "--ema", "0.98"),
    "frozen": (*SUPERVISED, "--freeze-norm"),
    "frozen-fast": (*SUPERVISED, "--freeze-norm", "--lr", "3e-3"),
    "frozen-strong": (*SUPERVISED, "--freeze-norm", "--augmentation", "strong"),
    "frozen-mixed": ("--objective", "mixed", "--freeze-norm"),
    "simclr": ("--objective", "simclr", "--ema", "0.98"),
    "mixed": ("--objective", "mixed", "--ema", "0.98"),
    "continued": (*SUPERVISED, "--from", "imagenet"),
    "continued-gentle": (*SUPERVISED, *GENTLE, "--layer-decay", "0.75"),
    "continued-frozen": (*SUPERVISED, *GENTLE, "--layer-decay", "0.75", "--freeze-norm"),
    "continued-frozen-fast": (*SUPERVISED, *GENTLE, "--lr", "5e-4", "--layer-decay", "0.75", "--freeze-norm"),
    "continued-mixed": ("--objective", "mixed", *GENTLE),
}
"""Options of `mednet-bench pretrain`; "today" is the default of version 0.1."""

STEPS = 250


@dataclass(frozen=True)
class Fold:
    """Targets by the size of their images in pixels, which no source may overlap."""

    variant: str
    targets: dict[int, str]

    @property
    def held_out(self) -> str:
        """All targets, separated by commas."""
        return ",".join(self.targets.values())


FOLDS = {
    "gray-a": Fold("gray", {64: "mednist-sample,lung-ct-iqoth-64,nih-cxr-pneumonia-64"}),
    "gray-b": Fold("gray", {28: "breastmnist", 64: "busi3-64,malaria-gray-64"}),
    "gray-c": Fold("gray", {28: "pneumoniamnist", 64: "kermany-cxr3-64,brain-tumor-mri-64"}),
    "color-a": Fold("color", {28: "bccd-cells", 64: "pbc-64"}),
    "color-b": Fold("color", {28: "retinamnist", 64: "isic2017-64,malaria-color-64"}),
}
SOURCES = {
    "gray": ("mednist-more-64",),
    "color": ("oral-histology-64", "lbc-cytology-64", "pathmnist-subset"),
}
"""Sets that are no targets. `mednist-sample` is one here: let its card say role = "task"."""

DEVELOPMENT = ("mednist-sample", "lung-ct-iqoth-64", "bccd-cells")
"""Targets whose validation labels choose the recipe."""


class Experiment:
    """The commands, whose output goes to a log beside what they make."""

    def __init__(self, data: Path, out: Path, steps: int, seed: int) -> None:
        self.out, self.steps, self.seed = out.resolve(), steps, seed
        self.environment = {**os.environ, "MEDNET_BENCH_DATA": str(data.resolve()), "OMP_NUM_THREADS": "1"}

    def call(self, name: str, *arguments: str) -> None:
        """Run `mednet-bench` unless it has finished; its output goes to OUT/logs/NAME.log."""
        log = self.out / "logs" / f"{name}.log"
        done = log.with_suffix(".done")
        if not done.exists():
            log.parent.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "mednet_bench", *arguments]
            with log.open("a") as out:
                subprocess.run(command, env=self.environment, stdout=out, stderr=out, check=True)
            done.touch()
            print(name, "done", flush=True)

    def build(self, variant: str) -> None:
        """Gather all sets of a color."""
        targets = [fold.held_out.split(",") for fold in FOLDS.values() if fold.variant == variant]
        sources = [*SOURCES[variant], *(name for names in targets for name in names)]
        self.call(
            f"corpus-{variant}", "corpus", "build", self.corpus(variant), "--variant", variant, *sources
        )

    def corpus(self, variant: str) -> str:
        """Folder of a corpus."""
        return str(self.out / "corpora" / variant)

    def label(self, recipe: str) -> str:
        """Name of a recipe's MedNet as an init: with steps and seed where they are not the usual ones."""
        changed = (("-steps", self.steps, STEPS), ("-seed", self.seed, 0))
        return recipe + "".join(f"{name}{value}" for name, value, usual in changed if value != usual)

    def pretrain(self, fold: str, recipe: str) -> None:
        """Make one MedNet."""
        variant, name = FOLDS[fold].variant, f"{fold}-{self.label(recipe)}"
        self.call(
            name, "pretrain", "--variant", variant, "--corpus", self.corpus(variant),
            "--leave-out", FOLDS[fold].held_out, "--steps", str(self.steps), "--input-size", "64",
            "--seed", str(self.seed), "--out", str(self.out / "mednets" / name), *RECIPES[recipe],
        )  # fmt: skip

    def evaluate(self, fold: str, recipes: list[str], protocol: tuple[str, ...]) -> None:
        """Probe the targets of a fold with its MedNets, ImageNet's weights and random ones."""
        labels = list(map(self.label, recipes))
        made = [f"{label}={self.out / 'mednets' / f'{fold}-{label}' / 'card.toml'}" for label in labels]
        inits = ",".join(["scratch", "imagenet", *made])
        for size, targets in FOLDS[fold].targets.items():
            name = f"{fold}-{size}"
            self.call(
                f"run-{name}-{'-'.join(labels)}", "run", "--tasks", targets, "--inits", inits,
                "--size", str(size), "--input-size", "64", *protocol, "--no-report",
                "--out", str(self.out / "runs" / name),
            )  # fmt: skip

    def validation_scores(self) -> pd.DataFrame:
        """Return the mean validation AUC of every init and development source, over seeds and fractions."""
        stores = [RecordStore(folder) for folder in sorted((self.out / "runs").iterdir())]
        rows = [
            (record.cell.init, record.cell.task, record.val_metrics["auc"])
            for store in stores
            for record in store.read_all()
            if record.cell.step == "score" and record.status == "ok" and record.cell.task in DEVELOPMENT
        ]
        scores = pd.DataFrame(rows, columns=["init", "task", "auc"])
        table = scores.pivot_table(index="init", columns="task", values="auc")
        return table.assign(mean=table.mean(axis=1)).sort_values("mean")


def main() -> None:
    """Run the folds and recipes that are named, two processes at once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", default=",".join(FOLDS))
    parser.add_argument("--recipes", default=",".join(RECIPES))
    parser.add_argument("--steps", type=int, default=STEPS, help="of 64 images")
    parser.add_argument("--seed", type=int, default=0, help="of the pretrainings")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    folds, recipes = args.folds.split(","), args.recipes.split(",")
    run = Experiment(args.data, args.out, args.steps, args.seed)
    linear = ("--protocols", "linear", "--seeds", "0..4", "--fractions", "0.1,1")
    with ThreadPoolExecutor(args.processes) as pool:
        list(pool.map(run.build, sorted({FOLDS[fold].variant for fold in folds})))
        places = [(fold, recipe) for recipe in recipes for fold in folds]
        list(pool.map(lambda place: run.pretrain(*place), places))
        list(pool.map(lambda fold: run.evaluate(fold, recipes, linear), folds))
    print(run.validation_scores().to_markdown(floatfmt=".3f"))


if __name__ == "__main__":
    main()
