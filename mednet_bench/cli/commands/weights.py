"""`inspect-weights`: what a checkpoint holds, and a draft of the card with which it enters a comparison."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...core.errors import UserError, one_line
from .command import BenchCommand, ParsedValues, echo, say

if TYPE_CHECKING:
    from ...baselines.weights.inspect import InspectedCheckpoint

REMARKS = (
    "A draft, written from what the tensors show. Before use, complete what they do not:",
    "corpora (ids of every data set that the weights have seen), variant (gray or color), license, citation,",
    "and the input contract: several may fit, and the maker of the weights knows which is right.",
)


def inspect_weights_command(values: ParsedValues) -> int:
    """Say how the tensors of a checkpoint FILE are named, which network they fit and how it wants its images.

    No code from the file is run. Every tensor is accounted for, or the command says what is missing and
    what is left over, and ends with exit code 2.
    """
    from ...baselines.weights.checkpoint import write_card
    from ...baselines.weights.inspect import inspect_checkpoint

    card: Path | None = values["write_card"]
    if card and card.exists() and not values["force"]:
        raise UserError(f"{card} is there already: choose another name, or pass --force to replace it.")
    if card and card.resolve().parent != values["file"].resolve().parent:
        raise UserError(
            f"{card} must stand beside {values['file']}: a card names its weights by a relative path."
        )
    excused = tuple(values["excused"])
    found = inspect_checkpoint(
        values["file"], values["arch"], values["layout"], excused, values["state_dict"]
    )
    echo("\n".join(map(one_line, _lines(found))))
    if values["map"]:
        echo("\n".join(map(one_line, _map(found))))
    if card:
        write_card(found.draft(), card, REMARKS)
        say(f"A draft of the card is in {card}: complete it, then pass --inits NAME={card}.")
    return 0


def _lines(found: "InspectedCheckpoint") -> list[str]:
    """Tell the facts, one a line."""
    from ...baselines.weights.input_spec import format_input_spec
    from ...baselines.weights.load_state_dict import some_of

    names = found.names
    left = f"{len(names.left)} left over by name" + (f" ({some_of(names.left)})" if names.left else "")
    twins = f", {len(names.twins)} twice in the file" if names.twins else ""
    others = f" (fits as well: {', '.join(found.others)})" if found.others else ""
    pairs = [f"{old} -> {new}" for old, new in names.pairs.items()]
    contracts = [
        f"  {format_input_spec(contract)}: contrast {contrast:.2g}" for contract, contrast in found.possible
    ]
    ignored = f" (not read: {', '.join(found.ignored)})" if found.ignored else ""
    return [
        f"file:        {found.file}, sha256 {found.sha256}",
        *([f"state dict:  {found.state_dict}{ignored}"] if found.state_dict else []),
        f"arch:        {found.arch}{others}",
        f"parameters:  {found.parameters:,} without classifier",
        f"layout:      {names.description}",
        f"tensors:     {len(names.pairs)} of {len(found.shapes)} mapped, none missing, {left}{twins}",
        f"first, last: {pairs[0]}, {pairs[-1]}",
        f"contract:    {format_input_spec(found.contract)}"
        + ("" if contracts else " (ImageNet's, for want of evidence)"),
        f"evidence:    {found.evidence.summary}",
        *(["also possible:", *contracts[1:]] if contracts[1:] else []),
    ]


def _map(found: "InspectedCheckpoint") -> list[str]:
    """Tell where every tensor of the file goes."""
    kept = {**found.names.pairs, **dict.fromkeys(found.names.left, "(left over by name)")}
    kept |= dict.fromkeys(found.names.twins, "(the same tensor once more)")
    return [
        f"{name} [{', '.join(map(str, shape))}] -> {kept.get(name, '(a counter that the network lacks)')}"
        for name, shape in found.shapes.items()
    ]


_PATH = click.Path(path_type=Path)
WEIGHTS_COMMANDS = (
    BenchCommand(
        inspect_weights_command,
        [
            click.Argument(["file"], type=_PATH),
            click.Option(["--arch"], default="", help="timm's name of the network; found out by default."),
            click.Option(["--state-dict"], default="", help="Name of one of several state dicts in FILE."),
            click.Option(["--layout"], default="", help="How the tensors are named; found out by default."),
            click.Option(["--excused"], multiple=True, help="Prefix of tensors that may be left over."),
            click.Option(["--map"], is_flag=True, help="Print where every tensor goes."),
            click.Option(["--write-card"], type=_PATH, help="Write a draft of the card, beside the file."),
            click.Option(["--force"], is_flag=True, help="Replace a card that is there."),
        ],
        "mednet-bench inspect-weights weights.safetensors --write-card weights.toml",
    ),
)
