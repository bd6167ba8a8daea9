"""`pretrain`: the making of a MedNet from a corpus, on one machine or on many."""

from pathlib import Path

import click

from ...core.errors import one_line
from ..options import data_root, option
from .command import BenchCommand, ParsedValues, echo


def pretrain_command(values: ParsedValues) -> int:
    """Pretrain a MedNet on a corpus; run the same command again to go on after an interruption.

    Under torchrun, the processes share every batch: torchrun --nproc-per-node 8 --no-python mednet-bench
    pretrain ... gives the weights that one process would.
    """
    from ...benchmark.pretraining.pretrain_result import PretrainSettings
    from ...benchmark.pretraining.run_pretraining import PretrainRequest, run_pretraining
    from ...benchmark.run.preflight import resolve_device
    from ...core.errors import unknown_name_error
    from ...tasks.catalog import catalog
    from ...tasks.data_paths import data_locations

    places = data_locations(values["data_root"])
    known = catalog(places)
    left = dict.fromkeys(name for text in values["leave_out"] for name in text.split(",") if name)
    if strange := next((name for name in left if name not in known), None):
        raise unknown_name_error("task", strange, known)
    settings = PretrainSettings(
        start=values["from"],
        smoothing=values["label_smoothing"],
        **{name: values[name] for name in _SETTINGS},
    )
    request = PretrainRequest(
        settings=settings,
        leave_out=tuple(known[name] for name in left),
        places=places,
        device=resolve_device(values["device"]),
        **{name: values[name] for name in _REST},
    )
    if values["estimate_only"]:
        from ...benchmark.pretraining.projection import measure_and_project

        echo(measure_and_project(request))
        return 0
    echo(one_line(str(run_pretraining(request))))
    return 0


_SETTINGS = ("variant", "arch", "steps", "batch_size", "accumulate", "input_size", "lr", "weight_decay")
_SETTINGS += ("warmup", "ema", "projection", "zoom", "seed")
_REST = ("corpus", "out", "workers", "checkpoint_every", "evaluate_every", "minutes")


def _options() -> list[click.Parameter]:
    path, count, many = click.Path(path_type=Path), click.IntRange(1), click.IntRange(0)
    share = click.FloatRange(0, 1, max_open=True)
    return [
        option("--variant", "Color of the corpus.", type=click.Choice(["gray", "color"]), required=True),
        option("--corpus", "Folder that `corpus build` made.", type=path, required=True),
        option("--out", "Folder of the result; run again to go on.", type=path, required=True),
        option("--arch", "As timm calls it.", default="tf_efficientnet_lite0"),
        option("--from", "scratch, imagenet, imagenet=FILE or NAME=CARD.toml.", default="scratch"),
        option("--steps", "Optimizer steps.", type=count, required=True),
        option("--batch-size", "Images of a step, over all processes.", default=64, type=count),
        option(
            "--accumulate",
            "Parts that a batch is cut into, of which batch norm sees one at a time; processes share them. "
            "0 is one for each process.",
            default=0,
            type=many,
        ),
        option("--input-size", "Side of what the network sees, in pixels.", default=64, type=count),
        option(
            "--lr", "Peak of AdamW's learning rate.", default=1e-3, type=click.FloatRange(0, min_open=True)
        ),
        option("--weight-decay", "Of AdamW.", default=0.01, type=click.FloatRange(0)),
        option("--warmup", "Share of the steps in which the rate rises.", default=0.1, type=share),
        option(
            "--ema",
            "Decay of the moving average that is kept; 0 keeps the last weights.",
            default=0.0,
            type=share,
        ),
        option(
            "--projection", "Width of the layer between backbone and heads; 0 has none.", default=0, type=many
        ),
        option("--label-smoothing", "Of the single-label heads.", default=0.0, type=share),
        option("--zoom", "Largest change of scale of the augmentation.", default=0.1, type=share),
        option("--seed", "Draws first weights, order and augmentation.", default=0, type=many),
        option(
            "--leave-out",
            "Tasks that the weights shall know nothing of: sources that may hold their images are not read.",
            multiple=True,
        ),
        option("--checkpoint-every", "Steps.", default=1000, type=count),
        option("--evaluate-every", "Steps; 0 validates ten times.", default=0, type=many),
        option(
            "--minutes",
            "Stop after so long, with a checkpoint; 0 is never.",
            default=0.0,
            type=click.FloatRange(0),
        ),
        option("--workers", "Processes that decode images, for each that trains.", default=1, type=many),
        option("--estimate-only", "Only measure a few steps, and say how long all would take.", is_flag=True),
        option("--device", "auto, cpu, cuda, mps.", default="auto"),
        data_root(),
    ]


PRETRAIN_COMMANDS = (
    BenchCommand(
        pretrain_command,
        _options(),
        "mednet-bench pretrain --variant gray --corpus gray --arch resnet50 --steps 10000 --out gray-mednet",
    ),
)
