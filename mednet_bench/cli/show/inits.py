"""The list of inits, and the card of one, as plain data and as text for a terminal."""

from pathlib import Path
from typing import Any

import msgspec

from ...baselines.init import INITS, init_help
from ...baselines.naming import INIT_NAME_FORMS
from ...baselines.timm_tags import describe_tag
from ...baselines.zoo.card import ZooCard, encode_arch, find_zoo_card, zoo_cards, zoo_groups
from ...baselines.zoo.files import find_weights, missing_clause, page_of
from ...core.errors import UserError, one_line
from ...core.text_tables import tabulate
from ...tasks.data_paths import data_locations
from ...tasks.databases.licenses import restriction_of
from ...tasks.task import DataLocations

COLUMNS = ("init", "images_of", "arch", "access", "license", "available", "title")


def is_init_card(name: str) -> bool:
    """Whether `info` shows an init of this name: zoo/NAME or imagenet/TAG."""
    return name.partition("/")[0] in ("zoo", "imagenet") and "/" in name


def init_name_facts() -> dict[str, dict[str, str]]:
    """Return the registered inits with their help, "" for none, and the other forms of names."""
    return {"inits": {name: init_help(name) for name in INITS}, "init_forms": INIT_NAME_FORMS}


def init_name_lines(facts: dict[str, Any]) -> list[str]:
    """Return `init_name_facts` as text, a line each."""
    named = {name: phrase for name, phrase in facts["inits"].items() if phrase} | facts["init_forms"]
    return [f"{form:15}  {phrase}" for form, phrase in named.items()]


def init_listing_facts(data_root: Path | None) -> dict[str, Any]:
    """Return the registered inits, the forms of names, and the public checkpoints with their groups."""
    places = data_locations(data_root)
    return {
        **init_name_facts(),
        "groups": {f"zoo/{group}": len(names) for group, names in zoo_groups().items()},
        "checkpoints": [_listed_facts(card, places) for card in zoo_cards().values()],
    }


def _listed_facts(card: ZooCard, places: DataLocations) -> dict[str, Any]:
    return {
        "init": card.init,
        "title": card.title,
        "images_of": card.images_of,
        "arch": card.arch,
        "access": card.access if card.path else "by hand",
        "license": card.license,
        "available": find_weights(card, places) is not None,
        "recalled": card.recalled,
    }


def init_listing(data_root: Path | None) -> str:
    """Return `init_listing_facts` as text."""
    facts = init_listing_facts(data_root)
    rows = [
        [{True: "yes", False: "no", "": "not stated"}.get(each[name], each[name]) for name in COLUMNS]
        for each in facts["checkpoints"]
    ]
    large = sorted(facts["groups"].items(), key=lambda group: -group[1])
    return "\n".join(
        [
            *init_name_lines(facts),
            "",
            tabulate(rows, headers=["init", "images", *COLUMNS[2:]], tablefmt="simple"),
            "",
            one_line("groups: " + ", ".join(f"{name} ({count})" for name, count in large)),
        ]
    )


def init_card_facts(name: str, data_root: Path | None) -> dict[str, Any]:
    """Return the facts of zoo/NAME or imagenet/TAG; `UserError` for an unknown one."""
    family, _, variant = name.partition("/")
    if family == "imagenet":
        return {"init": name, **describe_tag(variant)}
    if variant in zoo_groups():
        members = ", ".join(f"zoo/{member}" for member in zoo_groups()[variant])
        raise UserError(f"{name} is a group of {len(zoo_groups()[variant])}: name one of {members}.")
    card = find_zoo_card(variant)
    file = find_weights(card, data_locations(data_root))
    return {
        "init": name,
        **msgspec.to_builtins(card),
        "input": msgspec.to_builtins(card.contract),
        "restriction": restriction_of(card.license),
        "home": page_of(card),
        "file": str(file) if file else None,
        "missing": None if file else missing_clause(card),
    }


def init_card(name: str, data_root: Path | None) -> str:
    """Return `init_card_facts`, one per line, with a mark at recalled facts."""
    facts = init_card_facts(name, data_root)
    lines = _tag_lines(facts) if name.startswith("imagenet/") else _zoo_lines(facts, name.partition("/")[2])
    return "\n".join([name, *(f"  {key:12} {one_line(value)}" for key, value in lines.items() if value)])


def _tag_lines(facts: dict[str, Any]) -> dict[str, str]:
    archs = facts["archs"]
    return {
        "corpora": "; or ".join(", ".join(each) for each in facts["corpora"]),
        "objective": "; or ".join(facts["objectives"]),
        "license": "; or ".join(facts["licenses"]),
        "archs": f"{len(archs)}: {', '.join(archs)}",
    }


def _zoo_lines(facts: dict[str, Any], name: str) -> dict[str, str]:
    spec = facts["input"]
    mean, std = (_numbers(spec[key][: 1 if spec["channels"] == "gray" else 3]) for key in ("mean", "std"))
    texts = {
        "title": facts["title"],
        "arch": encode_arch(find_zoo_card(name)),
        "corpora": ", ".join(facts["corpora"]),
        "objective": facts["objective"],
        "images": f"{facts['images']:,}" if facts["images"] else "",
        "started_from": facts["started_from"],
        "input": f"mean {mean}, std {std}, {spec['channels']}, {spec['interpolation']}",
        "input_size": f"{facts['input_size']} px" if facts["input_size"] else "",
        "layout": facts["layout"],
        "state_dict": facts["state_dict"],
        "path": facts["path"],
        "license": facts["restriction"] or facts["license"],
        "access": facts["access"],
        "citation": facts["citation"],
    }
    marked = {
        key: f"{text} (from memory)" if key in facts["recalled"] else text for key, text in texts.items()
    }
    home = {"home": facts["home"], "weights": facts["file"] or facts["missing"], "note": facts["note"]}
    return {**{key: text for key, text in marked.items() if texts[key]}, **home}


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)
