"""The list of tasks and the card of a task, as plain data and as text for a terminal."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...baselines.weights.archs import CIFAR_STEMS, DEFAULT_ARCH
from ...benchmark.training.metrics import METRICS
from ...benchmark.training.protocol import PROTOCOLS
from ...core.errors import one_line, unknown_name_error
from ...core.plugins import installed_plugins
from ...core.text_tables import tabulate
from ...tasks.catalog import TASK_GROUPS, catalog, format_megabytes
from ...tasks.data_paths import data_locations
from ...tasks.from_files.prepared import last_prepared
from ...tasks.from_files.source import FilesSource
from ...tasks.task import SPLITS, DataLocations, Task
from .inits import init_name_facts, init_name_lines


def listing_facts(data_root: Path | None, task_files: Iterable[str]) -> dict[str, Any]:
    """Return the tasks with available sizes, and all names that options of `run` take."""
    places = data_locations(data_root)
    plugins = installed_plugins()
    return {
        "tasks": [
            {
                "task": task.name,
                "kind": task.kind,
                "modality": task.modality,
                "variant": task.variant,
                "classes": len(task.classes),
                "role": "pretraining only" if task.role == "source" else "target",
                "generated": task.generated,
                **_ready_sizes(task, places),
            }
            for task in catalog(places, [Path(path) for path in task_files]).values()
        ],
        "groups": [*TASK_GROUPS],
        **init_name_facts(),
        "protocols": [*PROTOCOLS],
        "metrics": [*METRICS],
        "archs": [DEFAULT_ARCH, *CIFAR_STEMS],
        "plugins": {
            package: [{"kind": kind, "name": name} for kind, name in each]
            for package, each in plugins.items()
        },
    }


def task_listing(data_root: Path | None, task_files: Iterable[str]) -> str:
    """Return `listing_facts` as a table of tasks and lines of names."""
    facts = listing_facts(data_root, task_files)
    names = ("task", "kind", "modality", "variant", "classes")
    body = [
        [
            *(task[name] for name in names),
            "generated" if task["generated"] else task["role"],
            _format_sizes(task),
        ]
        for task in facts["tasks"]
    ]
    headers = ["task", "kind", "modality", "color", "classes", "role", "available (px)"]
    default, *others = facts["archs"]
    return "\n".join(
        [
            tabulate(body, headers=headers, tablefmt="simple"),
            "",
            f"groups:    {', '.join(facts['groups'])}",
            f"inits:     {', '.join(facts['inits'])}",
            *(f"{'':11}{line}" for line in init_name_lines(facts)),
            f"protocols: {', '.join(facts['protocols'])}",
            f"metrics:   {', '.join(facts['metrics'])}",
            f"archs:     {default} by default, {', '.join(others)}, and any that timm knows",
            *_plugin_lines(facts["plugins"]),
        ]
    )


def _plugin_lines(plugins: dict[str, list[dict[str, str]]]) -> list[str]:
    """Return a line per installed plug-in package, broken or not."""
    named = {
        package: [f"{each['kind']} {each['name']}" for each in each_of]
        for package, each_of in plugins.items()
    }
    return [one_line(f"plug-in:   {package} with {', '.join(names)}") for package, names in named.items()]


def _ready_sizes(task: Task, places: DataLocations) -> dict[str, Any]:
    """Return the sizes in pixels that can be read now, and whether files are prepared at any other."""
    if isinstance(task.source, FilesSource) and not task.source.missing(0, places):
        return {"available": [manifest.side for manifest in last_prepared(task.name)], "any_size": True}
    return {"available": [*(task.sizes if task.generated else task.source.sizes(places))], "any_size": False}


def _format_sizes(task: dict[str, Any]) -> str:
    sizes = ", ".join(map(str, task["available"]))
    if task["generated"]:
        return f"any of {sizes}"
    if task["any_size"]:
        return f"any; prepared: {sizes}" if sizes else "any, not prepared"
    return sizes or "-"


def task_card_facts(name: str, data_root: Path | None, task_files: Iterable[str]) -> dict[str, Any]:
    """Return the facts of a task; `UserError` for an unknown one."""
    places = data_locations(data_root)
    tasks = catalog(places, [Path(path) for path in task_files])
    if name not in tasks:
        raise unknown_name_error("task", name, tasks)
    task = tasks[name]
    card = {key: value for key, value in task.card_facts().items() if key not in ("name", "role")}
    return {
        "task": name,
        **card,
        "role": "pretraining only" if task.role == "source" else "target",
        "generated": task.generated,
        "split_sizes": dict(zip(SPLITS, task.split_sizes, strict=True)) if task.split_sizes else None,
        "files": _file_facts(task, places),
        "prepared": [
            {"size": manifest.side, "images": manifest.images}
            for manifest in (last_prepared(name) if isinstance(task.source, FilesSource) else ())
        ],
    }


def _file_facts(task: Task, places: DataLocations) -> list[dict[str, Any]]:
    """Return a stored size each and its missing files; files that are prepared have size None."""
    sizes = task.sizes or task.source.sizes(places)
    if isinstance(task.source, FilesSource):
        sizes = (None,)
    missing = {size: task.source.missing(size or 0, places) for size in sizes}
    return [
        {
            "size": size,
            "available": not files,
            "missing": [
                {
                    "name": file.name,
                    "bytes_at_most": file.bytes_at_most,
                    "place": file.place and str(file.place),
                }
                for file in files
            ],
        }
        for size, files in missing.items()
    ]


def task_card(name: str, data_root: Path | None, task_files: Iterable[str]) -> str:
    """Return `task_card_facts`, one per line."""
    task = task_card_facts(name, data_root, task_files)
    splits = task["split_sizes"] or {}
    target = "target, and pretraining source for others"
    facts = {
        "title": task["title"],
        "kind": task["kind"],
        "classes": ", ".join(f"{place} {label}" for place, label in enumerate(task["classes"])),
        "modality": f"{task['modality']}, {task['variant']}",
        "role": task["role"] if task["role"] == "pretraining only" else target,
        "images": ", ".join(f"{split} {count:,}" for split, count in splits.items()) or "as the files say",
        "origin": f"group {task['source_group']}; parents {', '.join(task['parents']) or 'none'}",
        "license": task["license"],
        "citation": task["citation"],
        "generated": "yes: not evidence about real images" if task["generated"] else "no",
    }
    lines = [name, *(f"  {key:10} {one_line(value)}" for key, value in facts.items())]
    lines += [f"  caveat     {one_line(caveat)}" for caveat in task["caveats"]]
    return "\n".join([*lines, *(f"  {one_line(line)}" for line in _file_lines(task))])


def _file_lines(task: dict[str, Any]) -> list[str]:
    """Return a line per stored or prepared size: available, or the missing file."""
    lines = [
        f"{each['size']} px: {sum(each['images'].values()):,} images when last prepared "
        f"({', '.join(f'{split} {count:,}' for split, count in each['images'].items())})"
        for each in task["prepared"]
    ]
    for each in task["files"]:
        if each["size"] is None:
            absent = ", ".join(file["place"] for file in each["missing"])
            lines.append(
                f"missing {absent}" if absent else "any px: prepared from the files when it is needed"
            )
        elif each["available"]:
            lines.append(f"{each['size']} px: available")
        else:
            names = (
                f"{file['name']} (at most {format_megabytes(file['bytes_at_most'])})"
                for file in each["missing"]
            )
            lines.append(f"{each['size']} px: missing {', '.join(names)}")
    return lines
