"""`pretrain` makes a MedNet from a corpus, on one machine or many; `export` is for other programs."""

import click

from ... import tasks
from ...baselines.weights.archs import DEFAULT_ARCH
from ...benchmark import pretraining, run
from ...core.errors import one_line, unknown_name_error
from .. import options
from ..options import NOT_NEGATIVE, PATH, POSITIVE, OptionGroups, option
from .command import BenchCommand, ParsedValues, echo

_SETTINGS = ("variant", "arch", "steps", "batch_size", "accumulate", "input_size", "lr", "weight_decay")
_SETTINGS += ("warmup", "ema", "projection", "zoom", "seed", "objective", "layer_decay", "anchor")
_SETTINGS += ("freeze_norm",)
_REQUEST = ("corpus", "out", "workers", "checkpoint_every", "evaluate_every", "minutes")


def pretrain_command(values: ParsedValues) -> int:
    """Pretrain a MedNet on a corpus, or resume a pretraining.

    Under torchrun, the processes share every batch: torchrun --nproc-per-node 8 --no-python mednet-bench
    pretrain ... gives the weights that one process would.
    """
    places = tasks.data_paths.data_locations(values["data_root"])
    known = tasks.catalog.catalog(places)
    targets = dict.fromkeys(name for text in values["leave_out"] for name in text.split(",") if name)
    if unknown := next((name for name in targets if name not in known), None):
        raise unknown_name_error("task", unknown, known)
    objective = pretraining.objective.OBJECTIVES[values["objective"]]
    settings = pretraining.pretrain_result.PretrainSettings(
        augmentation=values["augmentation"] or objective.augmentation,
        start=values["from"],
        smoothing=values["label_smoothing"],
        **{name: values[name] for name in _SETTINGS},
    )
    request = pretraining.run_pretraining.PretrainRequest(
        settings=settings,
        leave_out=tuple(known[name] for name in targets),
        places=places,
        device=run.preflight.resolve_device(values["device"]),
        **{name: values[name] for name in _REQUEST},
    )
    if values["estimate_only"]:
        echo(pretraining.projection.measure_and_project(request))
        return 0
    echo(one_line(str(pretraining.run_pretraining.run_pretraining(request))))
    return 0


def export_command(values: ParsedValues) -> int:
    """Export a MedNet for timm or as an ONNX file.

    FOLDER is the --out folder of a finished `pretrain`. The export is a folder that timm.create_model reads
    as local-dir:..., or an ONNX file (pip install 'mednet-bench[onnx]'), with a README.md on loading,
    sources, licenses and training. It is written only if it computes the MedNet's features (to 1e-5).
    """
    written = pretraining.export.export_mednet(values["folder"], values["to"], values["out"])
    echo(one_line(str(written)))
    return 0


def _start_options() -> list[click.Option]:
    """Return the options that keep what the initial weights are."""
    decay = "Factor of the learning rate from each layer to the one before it; needs --from."
    anchor = "Strength of L2-SP, the pull towards the weights of --from; 0 has none."
    frozen = "Keep the initial batch-norm statistics, and normalize by them in training too."
    return [
        option("--layer-decay", decay, default=1.0, type=click.FloatRange(0, 1, min_open=True)),
        option("--anchor", anchor, default=0.0, type=click.FloatRange(0)),
        option("--freeze-norm", frozen, is_flag=True),
    ]


def _pretrain_options() -> OptionGroups:
    share, rate = click.FloatRange(0, 1, max_open=True), click.FloatRange(0, min_open=True)
    parts = "Parts of a batch, each with its own batch-norm statistics; 0 is one per process."
    projection = "Width of the layer between backbone and heads; 0 has none."
    minutes = "Stop with a checkpoint after so many minutes; 0 is never."
    evaluate = "Steps between validations; 0 validates ten times."
    held_out = "Target tasks to hold out: sources that may contain their images are excluded."
    objective = "Objective: supervised, simclr (needs no labels), or mixed, the sum of both."
    augmentation = "Augmentation; default: standard for supervised, strong for the others."
    return {
        "What to train": [
            option("--variant", "Color of the corpus.", type=click.Choice(["gray", "color"]), required=True),
            option("--corpus", "Folder that `corpus build` wrote.", type=PATH, required=True),
            option("--leave-out", held_out, multiple=True),
            option("--arch", "Network architecture as timm names it.", default=DEFAULT_ARCH),
            option("--from", "First weights: scratch, imagenet[=FILE] or NAME=CARD.toml.", default="scratch"),
        ],
        "Training": [
            option("--objective", objective, default="supervised"),
            option("--augmentation", augmentation, type=click.Choice(["standard", "strong"])),
            option("--steps", "Optimizer steps.", type=POSITIVE, required=True),
            option("--batch-size", "Images per step, over all processes.", default=64, type=POSITIVE),
            option("--accumulate", parts, default=0, type=NOT_NEGATIVE),
            option("--input-size", "Size of the network's input in pixels.", default=64, type=POSITIVE),
            option("--lr", "Highest AdamW learning rate.", default=1e-3, type=rate),
            *_start_options(),
            option("--weight-decay", "AdamW weight decay.", default=0.01, type=click.FloatRange(0)),
            option("--warmup", "Share of the steps with a rising learning rate.", default=0.1, type=share),
            option(
                "--ema", "Decay of the average of the weights; 0 averages nothing.", default=0.0, type=share
            ),
            option("--projection", projection, default=0, type=NOT_NEGATIVE),
            option("--label-smoothing", "Label smoothing of single-label heads.", default=0.0, type=share),
            option("--zoom", "Largest change of scale by the augmentation.", default=0.1, type=share),
            option("--seed", "Seed of weights, order and augmentation.", default=0, type=NOT_NEGATIVE),
        ],
        "Machine": [
            options.field_option("device"),
            option(
                "--workers",
                "Processes that decode images, per training process.",
                default=1,
                type=NOT_NEGATIVE,
            ),
            option("--minutes", minutes, default=0.0, type=click.FloatRange(0)),
            options.data_root_option(),
        ],
        "Output": [
            option("--out", "Folder of the result; the same one resumes.", type=PATH, required=True),
            option("--checkpoint-every", "Steps between checkpoints.", default=1000, type=POSITIVE),
            option("--evaluate-every", evaluate, default=0, type=NOT_NEGATIVE),
            options.flag_option("--estimate-only", "Measure a few steps and print how long all would take."),
        ],
    }


PRETRAIN_COMMANDS = (
    BenchCommand(
        pretrain_command,
        _pretrain_options(),
        "mednet-bench pretrain --variant gray --corpus gray --arch resnet50 --steps 10000 --out gray-mednet",
    ),
    BenchCommand(
        export_command,
        [
            click.Argument(["folder"], type=PATH),
            option("--to", "Format of the export.", type=click.Choice(["timm", "onnx"]), required=True),
            option("--out", "New folder of the export.", type=PATH, required=True),
        ],
        "mednet-bench export gray-mednet --to timm --out gray-timm",
    ),
)
