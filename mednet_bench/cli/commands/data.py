"""`ls`, `info`, `download` and `doctor`: the commands that say what is at hand, or fetch it."""

import click

from ..options import data_root, task_files
from .command import Command, Values, echo, fetching


def ls(values: Values) -> int:
    """List tasks, inits, protocols and groups, and which data are at hand."""
    from ..show.tasks import listing

    echo(listing(values["data_root"], values["task_file"]))
    return 0


def info(values: Values) -> int:
    """Show the card of a task: classes, splits, licence, citation, caveats, files."""
    from ..show.tasks import card

    echo(card(values["task"], values["data_root"], values["task_file"]))
    return 0


def download(values: Values) -> int:
    """Download the data of tasks, verified by MD5; an interrupted download is resumed."""
    from ...tasks.catalog import catalog, fetch, require, select
    from ...tasks.data_paths import places_from

    places = places_from(values["data_root"])
    tasks = catalog(places)
    chosen = select(",".join(values["tasks"]), tasks, places, values["size"])
    with fetching() as progress:
        fetch(chosen, values["size"], places, progress)
    require(chosen, values["size"], places)
    echo(f"at hand at {values['size']} px: {', '.join(task.name for task in chosen)}")
    return 0


def doctor(values: Values) -> int:
    """Print versions, devices, data and weights that are found, and what would work."""
    from ..doctor import diagnosis

    echo(diagnosis(values["data_root"]))
    return 0


_DATA_ROOT = data_root()
_CARDS = task_files()
_TASK = click.Argument(["task"])
_TASKS = click.Argument(["tasks"], nargs=-1, required=True)
_SIZE = click.Option(["--size"], type=int, default=28, show_default=True, help="Side in pixels.")
COMMANDS = (
    Command(ls, [_DATA_ROOT, _CARDS], "mednet-bench ls"),
    Command(info, [_TASK, _DATA_ROOT, _CARDS], "mednet-bench info dermamnist"),
    Command(
        download,
        [_TASKS, _SIZE, _DATA_ROOT],
        "mednet-bench download breastmnist retinamnist --size 64 --data-root data",
    ),
    Command(doctor, [_DATA_ROOT], "mednet-bench doctor"),
)
