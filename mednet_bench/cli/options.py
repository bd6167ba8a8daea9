"""Options of the command line, configuration files, and the `RunConfig` made of them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from ..benchmark.schema.plan import TrainingConfig
from ..benchmark.schema.request import MIN_INPUT_SIZE, RunConfig
from ..core.errors import UserError, one_line, unknown_name_error
from ..core.toml_files import read_toml

OptionGroups = Mapping[str, Sequence[click.Parameter]]
"""Heading in the help -> its options."""
_DEFAULTS = RunConfig()
_RECIPE = _DEFAULTS.recipe
POSITIVE, NOT_NEGATIVE = click.IntRange(1), click.IntRange(0)
PATH = click.Path(path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


def option(flag: str, text: str, **settings: Any) -> click.Option:
    """Return an option whose default is shown in the help."""
    return click.Option([flag], help=text, show_default=settings.pop("show_default", True), **settings)


def flag_option(flag: str, text: str) -> click.Option:
    """Return an option without a value; it is off by default."""
    return click.Option([flag], is_flag=True, help=text)


def _parse_floats(context: click.Context, parameter: click.Parameter, value: Any) -> tuple[float, ...] | None:
    """Read `1e-4,1e-3`, or the list of a configuration file."""
    if value is None:
        return None
    parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise click.BadParameter(f"'{value}' is not a list of numbers like 0.001,0.01") from None


def _check_margin(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if not 0 < value < 0.5:  # NaN is neither
        raise click.BadParameter(f"{value:g} is no margin: pass a difference of AUC above 0 and below 0.5.")
    return value


def margin_option() -> click.Option:
    """Return the option for the equivalence margin of verdicts."""
    text = "Differences of AUC below this count as equivalent in verdicts."
    return option("--margin", text, default=0.01, type=float, callback=_check_margin)


def data_root_option(**settings: Any) -> click.Option:
    """Return the option for the data folder: a path, unless `settings` of click say otherwise."""
    text = "Folder with data files; overrides MEDNET_BENCH_DATA."
    return option("--data-root", text, **{"type": PATH, "show_default": False, **settings})


def task_file_option() -> click.Option:
    """Return the option for cards of tasks."""
    text = "Card of your own data set (.toml); may be repeated."
    return option("--task-file", text, multiple=True, type=str)


def init_file_option() -> click.Option:
    """Return the option for cards of weights, or code that registers inits."""
    text = "Card of weights (.toml) or code that registers inits (.py); may be repeated."
    return option("--init-file", text, multiple=True, type=str, callback=_announce_code)


def device_option() -> click.Option:
    """Return the option for the device."""
    return option("--device", "Where to compute: auto, cpu, cuda, cuda:1 or mps.", default=_DEFAULTS.device)


def jobs_option(text: str = "Number of processes.", least: int = 1) -> click.Option:
    """Return the option for the number of processes."""
    return option("--jobs", text, default=least, type=click.IntRange(least), show_default=least > 0)


def size_option() -> click.Option:
    """Return the option for the image size."""
    text = "Stored image size in pixels: 28, 64, 128 or 224 for MedMNIST, any for your own files."
    return option("--size", text, default=_DEFAULTS.size, type=int)


def download_option(text: str = "Download missing data and weights.") -> click.Option:
    """Return the option that allows or forbids downloads."""
    return option("--download/--no-download", text, default=True)


def _announce_code(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """Announce the code that a configuration file runs: the user may not know of it."""
    if context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.DEFAULT_MAP:
        for path in value:
            if path.endswith(".py"):
                where = context.params["config"]
                click.echo(one_line(f"{where} names the init file {path}: its code runs now."), err=True)
    return value


def _read_config(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Make the file's values the defaults of the command; the command line overrides them."""
    if value is None:
        return None
    known = {str(option.name): option for option in context.command.params if option.name != "config"}
    defaults: dict[str, Any] = {}
    for key, content in read_toml(value).items():
        name = key.replace("-", "_")
        if name not in known:
            raise UserError(f"{value}: {unknown_name_error('key', key, known)}")
        try:
            defaults[name] = _as_command_line_value(content, known[name])
            known[name].type_cast_value(context, defaults[name])
        except (click.BadParameter, UserError) as error:
            raise UserError(f"{value}: key '{key}': {str(error).rstrip('.')}.") from error
    context.default_map = defaults
    return value


def _as_command_line_value(content: Any, parameter: click.Parameter) -> str | list[str] | None:
    """Return a value of a configuration file as it would be typed on the command line."""
    is_option = isinstance(parameter, click.Option)
    if isinstance(content, bool) and is_option and isinstance(parameter.flag_value, str):
        return parameter.flag_value if content else None  # an option whose value may be left out
    flag = is_option and parameter.is_flag
    if flag or isinstance(content, bool):
        if not (flag and isinstance(content, bool)):
            raise UserError("it takes true or false" if flag else "it does not take true or false")
        return str(content)
    parts = content if isinstance(content, list) else [content]
    if not all(isinstance(part, (str, int, float)) and not isinstance(part, bool) for part in parts):
        raise UserError("it takes a text, a number, or a list of them")
    return [str(part) for part in parts] if parameter.multiple else ",".join(map(str, parts))


def run_options() -> OptionGroups:
    """Return the options of `run` and `plan`; the defaults are those of `RunConfig`."""
    return {
        "What to compare": _comparison_options(),
        "Files": _file_options(),
        "Training": _training_options(),
        "Machine": [
            device_option(),
            jobs_option("Processes that share the cells and the GPUs."),
            option(
                "--limit",
                "Maximum number of evaluations to compute now; 0 is all.",
                default=0,
                type=NOT_NEGATIVE,
            ),
        ],
        "Output": _output_options(),
    }


def _comparison_options() -> list[click.Parameter]:
    d = _DEFAULTS
    groups = "names, globs, or the groups all, available, medmnist, phantom, gray, color"
    inits = "Pretrained weights to compare, comma-separated; NAME=PATH adds your own, `ls` lists all."
    protocols = "Ways to train, comma-separated: finetune, linear, knn; `ls` lists all."
    input_size = f"Size of the network's input in pixels; 0 is the larger of --size and {MIN_INPUT_SIZE}."
    splits = click.Choice(["test", "train"])
    fractions = "Fractions of the training and validation labels in (0, 1], comma-separated."
    dedupe = "Drop test images that also occur in train or val; `train` drops the copies there instead."
    return [
        option("--tasks", f"Tasks, comma-separated: {groups}.", default=d.tasks),
        option("--inits", inits, default=d.inits),
        option("--archs", "Network architectures as timm names them, comma-separated.", default=d.archs),
        option("--protocols", protocols, default=d.protocols),
        option("--fractions", fractions, default=d.fractions),
        option("--seeds", "Random seeds, like 0..4 or 0,1,2.", default=d.seeds),
        size_option(),
        option("--input-size", input_size, default=0, type=NOT_NEGATIVE),
        option("--dedupe", dedupe, default=d.dedupe, is_flag=False, flag_value="test", type=splits),
    ]


def _file_options() -> list[click.Parameter]:
    text = "TOML file with option values; the command line overrides it."
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    return [
        click.Option(["--config"], type=file, is_eager=True, callback=_read_config, help=text),
        data_root_option(type=str, default=""),
        task_file_option(),
        init_file_option(),
        download_option(),
    ]


def _training_options() -> list[click.Parameter]:
    """Return the options for the training of a cell, equal for every init."""
    r = _RECIPE
    images = "Images seen in total by a `mednet` init that is pretrained here."
    rate = click.FloatRange(0, min_open=True)
    return [
        option("--steps", "Maximum optimizer steps of a fine-tuning.", default=r.steps, type=POSITIVE),
        option("--batch-size", "Images per optimizer step.", default=r.batch_size, type=POSITIVE),
        option("--weight-decay", "AdamW weight decay.", default=r.weight_decay, type=click.FloatRange(0)),
        option("--evaluations", "Validations per fine-tuning.", default=r.evaluations, type=POSITIVE),
        option("--patience", "Validations without improvement to stop.", default=r.patience, type=POSITIVE),
        option("--augment/--no-augment", "Augment training images, by modality.", default=r.augment),
        _grid_option("--lr-grid", "AdamW learning rates to try, comma-separated.", r.lr_grid),
        _grid_option("--l2-grid", "L2 penalties of `linear` to try, comma-separated.", r.l2_grid),
        _grid_option("--k-grid", "Numbers of neighbors of `knn` to try, comma-separated.", r.k_grid),
        option("--pretrain-images", images, default=r.pretrain_images, type=POSITIVE),
        option("--pretrain-lr", "Learning rate of a `mednet` pretraining.", default=r.pretrain_lr, type=rate),
        option(
            "--pretrain-batch",
            "Batch size of a `mednet` pretraining.",
            default=r.pretrain_batch,
            type=POSITIVE,
        ),
    ]


def _grid_option(flag: str, text: str, grid: tuple[float, ...]) -> click.Option:
    return option(flag, text, default=",".join(f"{value:g}" for value in grid), callback=_parse_floats)


def _output_options() -> list[click.Parameter]:
    choices = click.Choice(["only-missing", "always", "never"])
    overwrite = "only-missing: compute missing and failed cells; never: only missing ones; always: all."
    return [
        option("--out", "Run directory; the same one resumes a run.", default=_DEFAULTS.out),
        option("--overwrite", overwrite, default="only-missing", type=choices),
        option("--report/--no-report", "Write the report at the end.", default=True),
        margin_option(),
    ]


def request_of(values: dict[str, Any]) -> RunConfig:
    """Build the request from parsed options; `UserError` names the wrong option."""
    trained = {name: values[name] for name in TrainingConfig.__struct_fields__}
    for name in ("lr_grid", "l2_grid", "k_grid"):
        if not all(math.isfinite(value) and value > 0 for value in trained[name]):
            raise UserError(f"--{name.replace('_', '-')} must hold positive numbers.")
        trained[name] = tuple(dict.fromkeys(trained[name]))
    for name in ("weight_decay", "pretrain_lr"):
        if not math.isfinite(trained[name]):
            raise UserError(f"--{name.replace('_', '-')} {trained[name]} is no finite number.")
    if not all(k.is_integer() for k in trained["k_grid"]):
        raise UserError("--k-grid must hold whole numbers: it counts neighbors.")
    trained["k_grid"] = tuple(int(k) for k in trained["k_grid"])
    chosen = {name: values[name] for name in RunConfig.__struct_fields__ if name in values}
    if not chosen["out"].strip():
        raise UserError("--out is empty: name a folder for the run.")
    if chosen["size"] < 1:
        raise UserError(f"--size {chosen['size']} is no image size in pixels: pass 28, 64, 128 or 224.")
    return msgspec.convert({**chosen, "recipe": trained}, RunConfig)
