"""The options of the command line, and how a configuration file and a command line become a request."""

import math
from pathlib import Path
from typing import Any

import click
import msgspec

from ..benchmark.schema.plan import TrainingConfig
from ..benchmark.schema.request import MIN_INPUT_SIZE, RunConfig
from ..core.errors import UserError, one_line, unknown_name_error


def _floats(context: click.Context, parameter: click.Parameter, value: Any) -> tuple[float, ...] | None:
    """Read `1e-4,1e-3`, or the list of a configuration file."""
    if value is None:
        return None
    parts = value if isinstance(value, (list, tuple)) else str(value).split(",")
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise click.BadParameter(f"'{value}' is not a list of numbers like 0.001,0.01") from None


def _margin(context: click.Context, parameter: click.Parameter, value: float) -> float:
    if not 0 < value < 0.5:  # NaN is neither
        raise click.BadParameter(f"{value:g} is no margin: pass a difference of AUC above 0 and below 0.5.")
    return value


def margin() -> click.Option:
    """Return the option of what verdicts count as no difference."""
    text = "Differences of AUC that are smaller count as none in verdicts."
    return option("--margin", text, default=0.01, type=float, callback=_margin)


def _read_config(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Make the file's values the defaults of the command, so that the command line goes over the file."""
    if value is None:
        return None
    from ..core.toml_files import read_toml

    known = {str(option.name): option for option in context.command.params if option.name != "config"}
    defaults: dict[str, Any] = {}
    for key, found in read_toml(value).items():
        name = key.replace("-", "_")
        if name not in known:
            raise UserError(f"{value}: {unknown_name_error('key', key, known)}")
        try:
            defaults[name] = _as_typed(found, known[name])
            known[name].type_cast_value(context, defaults[name])
        except (click.BadParameter, UserError) as error:
            raise UserError(f"{value}: key '{key}': {str(error).rstrip('.')}.") from error
    context.default_map = defaults
    return value


def _as_typed(found: Any, parameter: click.Parameter) -> str | list[str] | None:
    """Return a value of a configuration file as a person would have typed it."""
    if (
        isinstance(found, bool)
        and isinstance(parameter, click.Option)
        and isinstance(parameter.flag_value, str)
    ):
        return parameter.flag_value if found else None  # an option that may stand without its value
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    if flag or isinstance(found, bool):
        if not (flag and isinstance(found, bool)):
            raise UserError("it takes true or false" if flag else "it does not take true or false")
        return str(found)
    parts = found if isinstance(found, list) else [found]
    if not all(isinstance(part, (str, int, float)) and not isinstance(part, bool) for part in parts):
        raise UserError("it takes a text, a number, or a list of them")
    return [str(part) for part in parts] if parameter.multiple else ",".join(map(str, parts))


def option(flag: str, text: str, **settings: Any) -> click.Option:
    """Make one option; its default is that of `RunConfig` or `TrainingConfig`, shown in the help."""
    return click.Option([flag], help=text, show_default=settings.pop("show_default", True), **settings)


def data_root(**settings: Any) -> click.Option:
    """Return the option that says where data lie: a path, unless `settings` of click say otherwise."""
    settings = {"type": click.Path(path_type=Path), "show_default": False, **settings}
    return option("--data-root", "Folder with data; before MEDNET_BENCH_DATA.", **settings)


def task_files() -> click.Option:
    """Return the option that names cards."""
    return option("--task-file", "Card of a local data set; may be repeated.", multiple=True, type=str)


def init_files() -> click.Option:
    """Return the option that names cards of weights, or code that registers inits."""
    text = "Card of weights (.toml), or code that registers inits (.py); may be repeated."
    return option("--init-file", text, multiple=True, type=str, callback=_tell_code)


def _tell_code(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Say which code runs because a configuration file names it: whoever typed no name of it may not know."""
    if context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.DEFAULT_MAP:
        for path in value:
            if path.endswith(".py"):
                where = context.params["config"]
                click.echo(one_line(f"{where} names the init file {path}: its code runs now."), err=True)
    return value


_DEFAULTS = RunConfig()
_RECIPE = _DEFAULTS.recipe
_GRID = "grid of {}, comma-separated, the same for every init"


def selection() -> list[click.Option]:
    """Return the options that say what is compared; `run` and `plan` share them."""
    d = _DEFAULTS
    return [
        click.Option(
            ["--config"],
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            is_eager=True,
            callback=_read_config,
            help="TOML file with any of these options; the command line goes over it.",
        ),
        option(
            "--tasks",
            "Names, globs or groups: all, available, medmnist, phantom, gray, color.",
            default=d.tasks,
        ),
        option(
            "--inits",
            "Pretraining sources; NAME=PATH brings weights of your own, `ls` lists more.",
            default=d.inits,
        ),
        option("--archs", "timm architectures.", default=d.archs),
        option("--protocols", "finetune, linear, knn.", default=d.protocols),
        option("--fractions", "Shares of the training and validation labels.", default=d.fractions),
        option("--seeds", "As 0..4 or 0,1,2.", default=d.seeds),
        option(
            "--size", "Side of the stored images in pixels: 28, 64, 128 or 224.", default=d.size, type=int
        ),
        option(
            "--input-size",
            f"Side of what the network sees; 0 is the larger of --size and {MIN_INPUT_SIZE}.",
            default=0,
            type=click.IntRange(0),
        ),
        option("--out", "Run directory; run again to resume.", default=d.out),
        data_root(type=str, default=""),
        task_files(),
        init_files(),
        option("--download/--no-download", "Fetch data and weights that are missing.", default=True),
        option("--device", "auto, cpu, cuda, cuda:1, mps.", default=d.device),
        option(
            "--dedupe",
            "Drop test images that stand in train or val; `train` drops their copies there instead.",
            default=d.dedupe,
            is_flag=False,
            flag_value="test",
            type=click.Choice(["test", "train"]),
        ),
    ]


def recipe() -> list[click.Option]:
    """Return the options that say how a cell is trained, equal for every init."""
    r = _RECIPE
    positive = click.IntRange(1)
    grids = {
        "--lr-grid": ("AdamW learning rates", r.lr_grid),
        "--l2-grid": ("the linear probe's penalties", r.l2_grid),
        "--k-grid": ("numbers of neighbors", r.k_grid),
    }
    return [
        option("--steps", "Optimizer steps of a fine-tuning at most.", default=r.steps, type=positive),
        option("--batch-size", "Images per step.", default=r.batch_size, type=positive),
        option("--weight-decay", "Of AdamW.", default=r.weight_decay, type=click.FloatRange(0)),
        option("--evaluations", "Validations per fine-tuning.", default=r.evaluations, type=positive),
        option(
            "--patience",
            "Validations without improvement before it stops.",
            default=r.patience,
            type=positive,
        ),
        option("--augment/--no-augment", "Augmentation that respects the modality.", default=r.augment),
        *(
            option(
                flag, f"The {_GRID.format(what)}.", default=",".join(f"{v:g}" for v in grid), callback=_floats
            )
            for flag, (what, grid) in grids.items()
        ),
        option(
            "--pretrain-images",
            "Images that a MedNet made here sees.",
            default=r.pretrain_images,
            type=positive,
        ),
        option(
            "--pretrain-lr",
            "Its learning rate.",
            default=r.pretrain_lr,
            type=click.FloatRange(0, min_open=True),
        ),
        option("--pretrain-batch", "Its batch.", default=r.pretrain_batch, type=positive),
    ]


def execution() -> list[click.Option]:
    """Return the options that say how a plan is carried out; they change no result."""
    return [
        option("--jobs", "Processes that share the cells, and the GPUs.", default=1, type=click.IntRange(1)),
        option("--limit", "Most evaluations to compute now; 0 is all.", default=0, type=click.IntRange(0)),
        option(
            "--overwrite",
            "only-missing also retries failed cells; never leaves them; always computes anew (caches stay).",
            default="only-missing",
            type=click.Choice(["only-missing", "always", "never"]),
        ),
        option("--report/--no-report", "Write the report at the end.", default=True),
        margin(),
    ]


def request_of(values: dict[str, Any]) -> RunConfig:
    """Build the request from parsed options; `UserError` names what does not make sense."""
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
    chosen = {name: values[name] for name in RunConfig.__struct_fields__ if name != "recipe"}
    if not chosen["out"].strip():
        raise UserError("--out is empty: name a folder for the run.")
    if chosen["size"] < 1:
        raise UserError(f"--size {chosen['size']} is no side of an image: pass 28, 64, 128 or 224.")
    return msgspec.convert({**chosen, "recipe": trained}, RunConfig)
