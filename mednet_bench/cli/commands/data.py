"""`ls`, `info`, `download` and `doctor`: the commands that say what is at hand, or fetch it."""

import click

from ..options import data_root, task_files
from .command import BenchCommand, ParsedValues, download_display, echo


def ls_command(values: ParsedValues) -> int:
    """List tasks, inits, protocols and groups, and which data are at hand."""
    from ..show.tasks import task_listing

    echo(task_listing(values["data_root"], values["task_file"]))
    return 0


def info_command(values: ParsedValues) -> int:
    """Show the card of a task: classes, splits, license, citation, caveats, files."""
    from ..show.tasks import task_card

    echo(task_card(values["task"], values["data_root"], values["task_file"]))
    return 0


def download_command(values: ParsedValues) -> int:
    """Download the data of tasks, verified by MD5; an interrupted download is resumed."""
    from ...tasks.catalog import catalog, fetch_tasks, require_tasks, select_tasks
    from ...tasks.data_paths import data_locations

    places = data_locations(values["data_root"])
    tasks = catalog(places)
    chosen = select_tasks(",".join(values["tasks"]), tasks, places, values["size"])
    with download_display() as progress:
        fetch_tasks(chosen, values["size"], places, progress)
    require_tasks(chosen, values["size"], places)
    echo(f"at hand at {values['size']} px: {', '.join(task.name for task in chosen)}")
    return 0


def doctor_command(values: ParsedValues) -> int:
    """Print versions, devices, data and weights that are found, and what would work."""
    from ..doctor import diagnosis

    echo(diagnosis(values["data_root"]))
    return 0


_DATA_ROOT = data_root()
_CARDS = task_files()
_TASK = click.Argument(["task"])
_TASKS = click.Argument(["tasks"], nargs=-1, required=True)
_SIZE = click.Option(["--size"], type=int, default=28, show_default=True, help="Side in pixels.")
DATA_COMMANDS = (
    BenchCommand(ls_command, [_DATA_ROOT, _CARDS], "mednet-bench ls"),
    BenchCommand(info_command, [_TASK, _DATA_ROOT, _CARDS], "mednet-bench info dermamnist"),
    BenchCommand(
        download_command,
        [_TASKS, _SIZE, _DATA_ROOT],
        "mednet-bench download breastmnist retinamnist --size 64 --data-root data",
    ),
    BenchCommand(doctor_command, [_DATA_ROOT], "mednet-bench doctor"),
)
