"""Configuration of the run that repeats a study, from the options of `parity`."""

from collections.abc import Mapping
from typing import Any

from ...baselines.init import INITS, InitRequest
from ...core.errors import UserError
from ...core.files import cache_folder
from ...tasks.catalog import TASK_GROUPS, catalog, select_tasks
from ...tasks.data_paths import data_locations
from ..run.preflight import resolve_device
from ..schema.request import RunConfig
from .facts import StudyFacts
from .study import ParityStudy


def run_config_of(study: ParityStudy, values: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of the run that repeats a study, from `parity`'s options by name.

    `UserError` if nothing was published for them, or weights or data are unavailable.
    """
    facts, size = study.facts, values["size"]
    archs = _archs(study, facts, values)
    known = [task for task in facts.tasks(size, archs[0]) if all(task in facts.tasks(size, a) for a in archs)]
    tasks = _tasks(study, known, values)
    init = study.init
    if values["imagenet"]:
        if study.init != "imagenet" or len(archs) > 1:
            raise UserError(
                f"--imagenet brings weights of one arch to a study of ImageNet: {study.name} with "
                f"--archs {','.join(archs)} cannot use it."
            )
        init = f"imagenet={values['imagenet']}"
    elif study.init == "imagenet":
        _require_weights(archs, tasks[0], values)
    given = {name: values[name] for name in ("seeds", "size", "device", "jobs", "download")}
    return RunConfig(
        tasks=tuple(tasks),
        inits=(init,),
        archs=tuple(archs),
        protocols=(study.name,),
        fractions=(1.0,),
        input_size=study.input_size,
        out=values["out"] or f"runs/parity-{study.name}",
        data_root=str(values["data_root"] or ""),
        **given,
    )


def _archs(study: ParityStudy, facts: StudyFacts, values: Mapping[str, Any]) -> list[str]:
    known, sides = facts.archs(values["size"]), ", ".join(facts.rows)
    if not known:
        raise UserError(
            f"{study.name} has nothing published at --size {values['size']}: pass one of {sides}."
        )
    wanted = list(values["archs"] or (study.arch,))
    for arch in wanted:
        if arch not in known:
            raise UserError(
                f"{study.name} has nothing published for {arch}: pass --archs {' or '.join(known)}."
            )
    return wanted


def _tasks(study: ParityStudy, known: list[str], values: Mapping[str, Any]) -> list[str]:
    """Return the requested tasks; groups and globs select their published members."""
    places = data_locations(values["data_root"], values["download"])
    if not values["tasks"]:
        return [*study.light, *(() if resolve_device(values["device"]) == "cpu" else study.more)]
    tasks, found = catalog(places), []
    for word in map(str.lower, values["tasks"]):
        chosen = [task.name for task in select_tasks(word, tasks, places, values["size"])]
        several = word in TASK_GROUPS or any(sign in word for sign in "*?[")
        if not several and chosen[0] not in known:
            raise UserError(f"{study.name} has nothing published for {word}: pass one of {', '.join(known)}.")
        found += [name for name in chosen if name in known]
    if not found:
        raise UserError(
            f"--tasks {','.join(values['tasks'])} holds no task of {study.name} at {values['size']} px: "
            f"name one of {', '.join(known)}, and where its data are with --data-root."
        )
    return list(dict.fromkeys(found))


def _require_weights(archs: list[str], task: str, values: Mapping[str, Any]) -> None:
    """Check that ImageNet weights are available; the init's own message proposes other networks."""
    places = data_locations(values["data_root"], values["download"])
    target = catalog(places)[task]
    for arch in archs:
        need = InitRequest(target, arch, 224, values["size"], (), places, None, "", cache_folder())
        try:
            INITS["imagenet"](need)
        except UserError as error:
            raise UserError(
                f"The ImageNet weights of {arch} are neither in the model hub's local cache nor to be had "
                f"from the hub: pass timm's file as --imagenet FILE with --archs {arch}."
            ) from error
