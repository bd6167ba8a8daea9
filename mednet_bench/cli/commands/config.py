"""`config`: configuration files of `run`."""

from collections.abc import Iterator
from pathlib import Path

import click
import tomli_w

from ...benchmark.schema.request import OPTION_GROUPS, RunConfig
from ...core.config_fields import config_fields
from ...core.errors import UserError
from ...core.files import write_bytes
from ..options import FILE, flag_option
from .command import BenchCommand, CommandGroup, ParsedValues, say


def init_command(values: ParsedValues) -> int:
    """Write a configuration file with every option of `run`, its default and its help.

    All options are commented out: remove the # of those to change.
    """
    path: Path = values["path"]
    if path.exists() and not values["force"]:
        raise UserError(f"{path} exists: name another file, or pass --force to replace it.")
    write_bytes(path, config_template().encode())
    say(f"wrote {path}; use it with: mednet-bench run --config {path}")
    return 0


def config_template() -> str:
    """Return a TOML file in which every option of `RunConfig` is explained and commented out."""
    return "\n".join(_template_lines()) + "\n"


def _template_lines() -> Iterator[str]:
    yield "# Options of `mednet-bench run --config FILE` and their defaults; the command line overrides them."
    fields, usual = config_fields(RunConfig).values(), RunConfig()
    for group in OPTION_GROUPS:
        yield from ("", f"# --- {group} ---")
        for field in fields:
            if field.extra["group"] == group:
                value = getattr(usual, field.name)
                value = value if value or not field.repeats else []
                line = tomli_w.dumps({field.key: "" if value is None else value}, multiline_strings=False)
                setting = " ".join(line.split()).replace("[ ", "[").replace(", ]", "]")
                yield from ("", f"# {field.help}", f"# {setting}")


CONFIG_COMMANDS = (
    CommandGroup(
        "config",
        commands={
            "init": BenchCommand(
                init_command,
                [
                    click.Argument(["path"], type=FILE, default="run.toml"),
                    flag_option("--force", "Replace an existing file."),
                ],
                "mednet-bench config init run.toml",
                "init",
            )
        },
        help="Write configuration files of `run`.",
    ),
)
