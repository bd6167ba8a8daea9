"""`inspect-weights`: the content of a checkpoint, and a draft of its card."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import click

from ...baselines import weights
from ...core.errors import UserError, one_line
from ..options import PATH, flag_option
from .command import BenchCommand, ParsedValues, echo, say

REMARKS = (
    "A draft, written from what the tensors show. Before use, complete what they do not:",
    "corpora (ids of every data set that the weights have seen), variant (gray or color), license, citation,",
    "and the input contract: several may fit, and the maker of the weights knows which is right.",
)


def inspect_weights_command(values: ParsedValues) -> int:
    """Show which network and input a checkpoint FILE fits.

    No code from the file is run. Every tensor is accounted for; else the command lists the tensors that are
    missing or left over, and exits with 2.
    """
    card: Path | None = values["write_card"]
    if card and card.exists() and not values["force"]:
        raise UserError(f"{card} exists: choose another name, or pass --force to replace it.")
    if card and card.resolve().parent != values["file"].resolve().parent:
        raise UserError(
            f"{card} must lie beside {values['file']}: a card names its weights by a relative path."
        )
    excused = tuple(values["excused"])
    checkpoint = weights.inspect.inspect_checkpoint(
        values["file"], values["arch"], values["layout"], excused, values["state_dict"]
    )
    echo("\n".join(map(one_line, _list_facts(checkpoint))))
    if values["map"]:
        echo("\n".join(map(one_line, _list_tensors(checkpoint))))
    if card:
        weights.checkpoint.write_card(checkpoint.draft(), card, REMARKS)
        say(f"A draft of the card is in {card}: complete it, then pass --inits NAME={card}.")
    return 0


def _list_facts(checkpoint: "weights.inspect.InspectedCheckpoint") -> list[str]:
    names, format_input_spec = checkpoint.names, weights.input_spec.format_input_spec
    left = f"{len(names.left)} left over by name{_count_kinds(names.left)}"
    twins = f", {len(names.twins)} twice in the file" if names.twins else ""
    others = f" (fits as well: {', '.join(checkpoint.others)})" if checkpoint.others else ""
    channels = " with one input channel" if checkpoint.one_channel else ""
    size = checkpoint.image_size
    table = f", position table of {size} px (img_size of the card's arch_args)" if size else ""
    pairs = [f"{old} -> {slot.name}" for old, slot in names.slots.items()]
    contracts = [
        f"  {format_input_spec(contract)}: contrast {contrast:.2g}"
        for contract, contrast in checkpoint.possible
    ]
    ignored = f" (not read: {', '.join(checkpoint.ignored)})" if checkpoint.ignored else ""
    return [
        f"file:        {checkpoint.file}, sha256 {checkpoint.sha256}",
        *([f"state dict:  {checkpoint.state_dict}{ignored}"] if checkpoint.state_dict else []),
        f"arch:        {checkpoint.arch}{channels}{others}{table}",
        f"parameters:  {checkpoint.parameters:,} without classifier",
        f"layout:      {names.description}",
        f"tensors:     {len(names.slots)} of {len(checkpoint.shapes)} mapped, none missing, {left}{twins}",
        f"first, last: {pairs[0]}, {pairs[-1]}",
        f"contract:    {format_input_spec(checkpoint.contract)}"
        + ("" if contracts else " (ImageNet's: there is no evidence)"),
        f"evidence:    {checkpoint.evidence.summary}",
        *(["also possible:", *contracts[1:]] if contracts[1:] else []),
    ]


def _count_kinds(left: Mapping[str, str]) -> str:
    """Return the kinds of left-over tensors with their numbers, and names where no rule gives a kind."""
    kinds = Counter(kind for kind in left.values() if kind)
    named = [name for name, kind in left.items() if not kind]
    clauses = [f"{kind}: {number}" for kind, number in kinds.items()]
    clauses += [weights.load_state_dict.some_of(named)] if named else []
    return f" ({'; '.join(clauses)})" if clauses else ""


def _list_tensors(checkpoint: "weights.inspect.InspectedCheckpoint") -> list[str]:
    """List every tensor of the file with its name in the network."""
    names = checkpoint.names
    targets = {old: slot.name for old, slot in names.slots.items()}
    targets |= {old: f"{names.slots[old].name} and {slot.name}" for old, slot in names.second.items()}
    targets |= {old: f"(left over by name{kind and f': {kind}'})" for old, kind in names.left.items()}
    targets |= dict.fromkeys(names.twins, "(the same tensor once more)")
    return [
        f"{name} [{', '.join(map(str, shape))}] -> {targets.get(name, '(a counter that the network lacks)')}"
        for name, shape in checkpoint.shapes.items()
    ]


WEIGHTS_COMMANDS = (
    BenchCommand(
        inspect_weights_command,
        [
            click.Argument(["file"], type=PATH),
            click.Option(["--arch"], default="", help="Architecture as timm names it; detected by default."),
            click.Option(
                ["--state-dict"], default="", help="Key of the state dict, where FILE holds several."
            ),
            click.Option(["--layout"], default="", help="Layout of the tensor names; detected by default."),
            click.Option(
                ["--excused"], multiple=True, help="Prefix of tensors that may be left over; may be repeated."
            ),
            flag_option("--map", "List every tensor with its name in the network."),
            click.Option(["--write-card"], type=PATH, help="File for a draft of the card, beside FILE."),
            flag_option("--force", "Overwrite an existing card."),
        ],
        "mednet-bench inspect-weights weights.safetensors --write-card weights.toml",
    ),
)
