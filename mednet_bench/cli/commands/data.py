"""`ls`, `info`, `download` and `doctor`: the commands that show or fetch data."""

import click

from ... import cli, tasks
from ...core.progress import show_downloads
from .. import show
from ..options import data_root_option, field_option
from .command import BenchCommand, ParsedValues, echo, echo_json, format_option


def ls_command(values: ParsedValues) -> int:
    """List tasks, inits, protocols, metrics and available data."""
    where = values["data_root"], values["task_file"]
    if values["format"] == "json":
        echo_json(show.tasks.listing_facts(*where))
    else:
        echo(show.tasks.task_listing(*where))
    return 0


def info_command(values: ParsedValues) -> int:
    """Show a task's classes, splits, license, citation and files."""
    wanted = values["task"], values["data_root"], values["task_file"]
    if values["format"] == "json":
        echo_json(show.tasks.task_card_facts(*wanted))
    else:
        echo(show.tasks.task_card(*wanted))
    return 0


def download_command(values: ParsedValues) -> int:
    """Download the data of tasks, verified by MD5.

    Run it again to resume an interrupted download.
    """
    size, places = values["size"], tasks.data_paths.data_locations(values["data_root"])
    known = tasks.catalog.catalog(places)
    chosen = tasks.catalog.select_tasks(",".join(values["tasks"]), known, places, size)
    with show_downloads() as progress:
        tasks.catalog.fetch_tasks(chosen, size, places, progress)
    tasks.catalog.require_tasks(chosen, size, places)
    echo(f"available at {size} px: {', '.join(task.name for task in chosen)}")
    return 0


def doctor_command(values: ParsedValues) -> int:
    """Print versions, devices, and which data and weights exist."""
    facts = cli.doctor.machine_facts(values["data_root"])
    if values["format"] == "json":
        echo_json(facts)
    else:
        echo(cli.doctor.diagnosis(facts))
    return 0


def _complete_task(context: click.Context, argument: click.Parameter, start: str) -> list[str]:
    return [name for name in tasks.task.TASKS if name.startswith(start)]


_DATA = [data_root_option(), field_option("task_file"), format_option("json")]
_TASK = click.Argument(["task"], shell_complete=_complete_task)
_TASKS = click.Argument(["tasks"], nargs=-1, required=True, shell_complete=_complete_task)
DATA_COMMANDS = (
    BenchCommand(ls_command, _DATA, "mednet-bench ls"),
    BenchCommand(info_command, [_TASK, *_DATA], "mednet-bench info dermamnist"),
    BenchCommand(
        download_command,
        [_TASKS, field_option("size"), data_root_option()],
        "mednet-bench download breastmnist retinamnist --size 64 --data-root data",
    ),
    BenchCommand(doctor_command, [data_root_option(), format_option("json")], "mednet-bench doctor"),
)
