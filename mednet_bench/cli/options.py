"""Options of the command line, made from the fields of `RunConfig`, and configuration files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec
from click.shell_completion import CompletionItem

from ..benchmark.schema.request import FILES, OPTION_GROUPS, RunConfig
from ..core.config_fields import ConfigField, config_fields
from ..core.errors import UserError, one_line, unknown_name_error
from ..core.toml_files import read_toml

OptionGroups = Mapping[str, Sequence[click.Parameter]]
"""Heading in the help -> its options."""
POSITIVE, NOT_NEGATIVE = click.IntRange(1), click.IntRange(0)
PATH = click.Path(path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


def option(flag: str, text: str, **settings: Any) -> click.Option:
    """Return an option whose default is shown in the help."""
    return click.Option([flag], help=text, show_default=settings.pop("show_default", True), **settings)


def flag_option(flag: str, text: str) -> click.Option:
    """Return an option without a value; it is off by default."""
    return click.Option([flag], is_flag=True, help=text)


class FieldOption(click.Option):
    """Option of a field of a configuration struct, which converts and checks the value.

    Args:
        field: the field, with its default and help.
        settings: of click, which override those that follow from the field.
    """

    def __init__(self, field: ConfigField, **settings: Any) -> None:
        self.field = field
        flag = f"{field.flag}/--no-{field.key}" if field.is_flag and field.default else field.flag
        default = field.default if field.is_flag else field.text(field.default)
        kind: dict[str, Any] = {"type": str, "metavar": _metavar(field)}
        if field.is_flag:
            kind = {"is_flag": True}
        elif field.repeats:
            kind, default = {**kind, "multiple": True}, field.texts(field.default)
        elif "flag_value" in field.extra:
            kind |= {"is_flag": False, "flag_value": field.extra["flag_value"]}
            default = field.default
        shown = {"show_default": bool(default) or field.is_flag, "default": default}
        if field.default is None and "flag_value" not in field.extra:
            shown = {"show_default": field.extra.get("shown", "by --budget"), "default": None}
        super().__init__([flag], **{"help": field.help, **kind, **shown, **settings})

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Convert as `ConfigField.convert` does, so that errors read alike everywhere."""
        found = super().process_value(ctx, value)
        return found if self.type is PATH or found is None else self.field.convert(found)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete one of a few allowed words."""
        return [CompletionItem(word) for word in self.field.choices if word.startswith(incomplete)]


def _metavar(field: ConfigField) -> str | None:
    """Return the placeholder of the value in the help."""
    kind = type(field.kind).__name__.removesuffix("Type")
    words = {"Int": "INTEGER", "Float": "FLOAT", "VarTuple": "LIST"}
    choices = f"[{'|'.join(field.choices)}]" if field.choices else ""
    return choices or field.extra.get("metavar") or words.get(kind, "TEXT")


def field_option(name: str, option: str = "", **settings: Any) -> FieldOption:
    """Return the option of the field `name` of `RunConfig`.

    Args:
        name: of the field.
        option: another name for the option.
        settings: of click, which override those of the field.
    """
    return FieldOption(replace(config_fields(RunConfig)[name], name=option or name), **settings)


def data_root_option(**settings: Any) -> click.Option:
    """Return the option for the data folder: a path, unless `settings` of click say otherwise."""
    return field_option("data_root", **{"type": PATH, "default": None, **settings})


def init_file_option() -> click.Option:
    """Return the option for cards of weights, or code that registers inits."""
    return field_option("init_file", callback=_announce_code)


def judged_metric_option() -> click.Option:
    """Return the option for the metric of verdicts."""
    return option("--metric", "auc, balanced_accuracy, average_precision or brier.", default="auc")


def jobs_option(text: str = "Number of processes.", least: int = 1) -> click.Option:
    """Return the option for the number of processes."""
    return option("--jobs", text, default=least, type=click.IntRange(least), show_default=least > 0)


def _announce_code(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    if context.get_parameter_source(str(parameter.name)) is click.core.ParameterSource.DEFAULT_MAP:
        announce_code(context.params["config"], value)
    return value


def announce_code(config: Path, init_files: Iterable[str]) -> None:
    """Announce the code that a configuration file runs: the user may not know of it."""
    for path in init_files:
        if path.endswith(".py"):
            click.echo(one_line(f"{config} names the init file {path}: its code runs now."), err=True)


def _read_config(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Make the file's values the defaults of the command; the command line overrides them."""
    if value is not None:
        options = {option.field.name: option.field for option in _field_options(context.command)}
        context.default_map = read_config_file(value, options)
    return value


def _field_options(command: click.Command) -> list[FieldOption]:
    return [option for option in command.params if isinstance(option, FieldOption)]


def read_config_file(path: Path, fields: Mapping[str, ConfigField]) -> dict[str, Any]:
    """Read a TOML file with option values; return them as they are typed on the command line.

    Raises:
        UserError: the file names an unknown option, or a value that it does not take.
    """
    found: dict[str, Any] = {}
    for key, content in read_toml(path).items():
        name = key.replace("-", "_")
        if name not in fields:
            raise UserError(f"{path}: {unknown_name_error('key', key, [f.key for f in fields.values()])}")
        field = fields[name]
        try:
            value = field.convert(content)
        except UserError as error:
            raise UserError(f"{path}: key '{key}': {str(error).removeprefix(field.flag).strip()}") from error
        found[name] = value if field.is_flag else field.texts(value) if field.repeats else field.text(value)
    return found


def run_options(config: type[msgspec.Struct] = RunConfig) -> OptionGroups:
    """Return the options of `run` and `plan`: one for every field of `RunConfig`."""
    groups: dict[str, list[click.Parameter]] = {group: [] for group in OPTION_GROUPS}
    for field in config_fields(config).values():
        made = init_file_option() if field.name == "init_file" else FieldOption(field)
        groups.setdefault(field.extra.get("group", OPTION_GROUPS[-1]), []).append(made)
    text = "TOML file with option values; the command line overrides it. `config init` writes one."
    file = click.Path(exists=True, dir_okay=False, path_type=Path)
    groups[FILES].insert(
        0, click.Option(["--config"], type=file, is_eager=True, callback=_read_config, help=text)
    )
    return groups


def config_of(values: Mapping[str, Any]) -> RunConfig:
    """Return the configuration that parsed options describe."""
    return RunConfig(**{name: values[name] for name in RunConfig.__struct_fields__})
