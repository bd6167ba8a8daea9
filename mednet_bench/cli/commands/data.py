"""`ls`, `info`, `download` and `doctor`: the commands that show or fetch data."""

from pathlib import Path

import click

from ... import baselines, cli, tasks
from ...baselines import zoo
from ...core.errors import one_line
from ...core.progress import show_downloads
from ...core.shared_folder import probe_folder
from .. import show
from ..options import PATH, data_root_option, field_option
from .command import BenchCommand, ParsedValues, echo, echo_json, format_option


def ls_command(values: ParsedValues) -> int:
    """List tasks, inits, protocols, metrics and available data.

    `ls inits` lists the inits alone, with every public checkpoint and its groups.
    """
    root, files, as_json = values["data_root"], values["task_file"], values["format"] == "json"
    if values["what"] == "inits":
        if as_json:
            echo_json(show.inits.init_listing_facts(root))
        else:
            echo(show.inits.init_listing(root))
    elif as_json:
        echo_json(show.tasks.listing_facts(root, files))
    else:
        echo(show.tasks.task_listing(root, files))
    return 0


def info_command(values: ParsedValues) -> int:
    """Show a task's card and files, or an init's card.

    NAME is a task or its card (.toml), a public checkpoint (zoo/NAME), or a tag of timm's weights
    (imagenet/TAG).
    """
    name, root = values["name"], values["data_root"]
    if show.inits.is_init_card(name):
        if values["format"] == "json":
            echo_json(show.inits.init_card_facts(name, root))
        else:
            echo(show.inits.init_card(name, root))
        return 0
    wanted = name, root, values["task_file"]
    if tasks.card_path.is_card_path(name):
        wanted = tasks.card_path.read_card_name(Path(name)), root, (*values["task_file"], name)
    if values["format"] == "json":
        echo_json(show.tasks.task_card_facts(*wanted))
    else:
        echo(show.tasks.task_card(*wanted))
    return 0


def download_command(values: ParsedValues) -> int:
    """Download and verify data of tasks and public checkpoints.

    NAMES are tasks, and checkpoints or groups of them: zoo/NAME, zoo/GROUP. Run it again to resume an
    interrupted download.
    """
    places = tasks.data_paths.data_locations(values["data_root"])
    names = [name for word in values["names"] for name in word.split(",") if name]
    weights = [name for name in names if name.startswith("zoo/")]
    wanted = [name for name in names if name not in weights]
    if weights:
        _download_weights(weights, places)
    if wanted:
        _download_tasks(",".join(wanted), values["size"], places)
    return 0


def _download_weights(names: list[str], places: "tasks.task.DataLocations") -> None:
    cards = [named.zoo_name for named in baselines.naming.read_inits(names)]
    with show_downloads() as progress:
        zoo.files.fetch_weights(cards, places, progress)
    for name in dict.fromkeys(cards):
        file = zoo.files.find_weights(zoo.card.find_zoo_card(name), places)
        echo(one_line(f"available: zoo/{name} in {file}"))


def _download_tasks(words: str, size: int, places: "tasks.task.DataLocations") -> None:
    known = tasks.catalog.catalog(places)
    chosen = tasks.catalog.select_tasks(words, known, places, size)
    with show_downloads() as progress:
        tasks.catalog.fetch_tasks(chosen, size, places, progress)
    tasks.catalog.require_tasks(chosen, size, places)
    echo(f"available at {size} px: {', '.join(task.name for task in chosen)}")


def doctor_command(values: ParsedValues) -> int:
    """Print versions, devices, data and weights; test a folder."""
    if values["run"]:
        found = probe_folder(values["run"])
        echo_json(found) if values["format"] == "json" else echo(cli.doctor.folder_diagnosis(found))
        return 3 if found.faults else 0
    facts = cli.doctor.machine_facts(values["data_root"])
    if values["format"] == "json":
        echo_json(facts)
    else:
        echo(cli.doctor.diagnosis(facts))
    return 0


def _complete_name(context: click.Context, argument: click.Parameter, start: str) -> list[str]:
    checkpoints = (f"zoo/{name}" for name in zoo.card.zoo_cards())
    return [name for name in (*tasks.task.TASKS, *checkpoints) if name.startswith(start)]


_DATA = [data_root_option(), field_option("task_file"), format_option("json")]
_RUN_FOLDER = click.Option(
    ["--run"], type=PATH, help="Run directory: test whether many nodes may share it; exit code 3 if not."
)
_WHAT = click.Argument(["what"], type=click.Choice(["inits"]), required=False)
_NAME = click.Argument(["name"], shell_complete=_complete_name)
_NAMES = click.Argument(["names"], nargs=-1, required=True, shell_complete=_complete_name)
DATA_COMMANDS = (
    BenchCommand(ls_command, [_WHAT, *_DATA], "mednet-bench ls"),
    BenchCommand(info_command, [_NAME, *_DATA], "mednet-bench info dermamnist"),
    BenchCommand(
        download_command,
        [_NAMES, field_option("size", default="28", show_default=True), data_root_option()],
        "mednet-bench download breastmnist retinamnist --size 64 --data-root data",
    ),
    BenchCommand(
        doctor_command, [data_root_option(), _RUN_FOLDER, format_option("json")], "mednet-bench doctor"
    ),
)
