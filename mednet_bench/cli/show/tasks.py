"""The list of tasks and the card of a task as text for a terminal."""

from collections.abc import Iterable
from pathlib import Path

from ...baselines.init import INITS, init_help
from ...baselines.naming import INIT_NAME_FORMS
from ...baselines.weights.archs import CIFAR_STEMS, DEFAULT_ARCH
from ...benchmark.training.metrics import METRICS
from ...benchmark.training.protocol import PROTOCOLS
from ...core.errors import one_line, unknown_name_error
from ...core.plugins import installed_plugins
from ...core.text_tables import tabulate
from ...tasks.catalog import TASK_GROUPS, catalog, format_megabytes, is_available
from ...tasks.data_paths import data_locations
from ...tasks.from_files.prepared import PreparedManifest, last_prepared
from ...tasks.from_files.source import FilesSource
from ...tasks.task import SPLITS, DataLocations, Task


def task_listing(data_root: Path | None, task_files: Iterable[str]) -> str:
    """Return a table of tasks with available sizes, and all names that options of `run` take."""
    places = data_locations(data_root)
    tasks = catalog(places, [Path(path) for path in task_files])
    body = [
        [
            task.name,
            task.kind,
            task.modality,
            task.variant,
            len(task.classes),
            "generated" if task.generated else ("pretraining only" if task.role == "source" else "target"),
            _format_sizes(task, places),
        ]
        for task in tasks.values()
    ]
    inits = {name: phrase for name in INITS if (phrase := init_help(name))} | INIT_NAME_FORMS
    headers = ["task", "kind", "modality", "color", "classes", "role", "available (px)"]
    return "\n".join(
        [
            tabulate(body, headers=headers, tablefmt="simple"),
            "",
            f"groups:    {', '.join(TASK_GROUPS)}",
            f"inits:     {', '.join(INITS)}",
            *(f"{'':11}{form:15}  {phrase}" for form, phrase in inits.items()),
            f"protocols: {', '.join(PROTOCOLS)}",
            f"metrics:   {', '.join(METRICS)}",
            f"archs:     {DEFAULT_ARCH} by default, {', '.join(CIFAR_STEMS)}, and any that timm knows",
            *_plugin_lines(),
        ]
    )


def _plugin_lines() -> list[str]:
    """Return a line per installed plug-in package, broken or not."""
    return [
        one_line(f"plug-in:   {package} with {', '.join(f'{kind} {name}' for kind, name in things)}")
        for package, things in installed_plugins().items()
    ]


def _format_sizes(task: Task, places: DataLocations) -> str:
    if task.generated:
        return "any of " + ", ".join(map(str, task.sizes))
    if isinstance(task.source, FilesSource) and not task.source.missing(0, places):
        ready = ", ".join(str(manifest.side) for manifest in last_prepared(task.name))
        return f"any; prepared: {ready}" if ready else "any, not prepared"
    return ", ".join(map(str, task.source.sizes(places))) or "-"


def task_card(name: str, data_root: Path | None, task_files: Iterable[str]) -> str:
    """Return the facts of a task, one per line."""
    places = data_locations(data_root)
    tasks = catalog(places, [Path(path) for path in task_files])
    if name not in tasks:
        raise unknown_name_error("task", name, tasks)
    task = tasks[name]
    splits = dict(zip(SPLITS, task.split_sizes, strict=True)) if task.split_sizes else {}
    facts = {
        "title": task.title,
        "kind": task.kind,
        "classes": ", ".join(f"{place} {label}" for place, label in enumerate(task.classes)),
        "modality": f"{task.modality}, {task.variant}",
        "role": "pretraining only" if task.role == "source" else "target, and pretraining source for others",
        "images": ", ".join(f"{split} {count:,}" for split, count in splits.items()) or "as the files say",
        "origin": f"group {task.source_group}; parents {', '.join(task.parents) or 'none'}",
        "license": task.license,
        "citation": task.citation,
        "generated": "yes: not evidence about real images" if task.generated else "no",
    }
    lines = [f"{task.name}", *(f"  {key:10} {one_line(value)}" for key, value in facts.items())]
    lines += [f"  caveat     {one_line(caveat)}" for caveat in task.caveats]
    return "\n".join([*lines, *(f"  {one_line(line)}" for line in _file_lines(task, places))])


def _format_prepared(manifest: PreparedManifest) -> str:
    parts = ", ".join(f"{split} {count:,}" for split, count in manifest.images.items())
    return f"{manifest.side} px: {sum(manifest.images.values()):,} images when last prepared ({parts})"


def _file_lines(task: Task, places: DataLocations) -> list[str]:
    """Return a line per stored or prepared size: available, or the missing file."""
    if isinstance(task.source, FilesSource):
        absent = ", ".join(str(file.place) for file in task.source.missing(0, places))
        rest = f"missing {absent}" if absent else "any px: prepared from the files when it is needed"
        return [*(_format_prepared(manifest) for manifest in last_prepared(task.name)), rest]
    sides = task.sizes or task.source.sizes(places)
    lines = []
    for side in sides:
        if is_available(task, side, places):
            lines.append(f"{side} px: available")
            continue
        names = ", ".join(
            f"{file.name} (at most {format_megabytes(file.bytes_at_most)})"
            for file in task.source.missing(side, places)
        )
        lines.append(f"{side} px: missing {names}")
    return lines
