"""Base classes and printing of the commands."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import msgspec

from ...core.errors import UserError, clean, unknown_name_error
from ...core.plugins import broken
from ..messages import send_messages
from ..options import FILE, OptionGroups, option

_LOG = logging.getLogger(__name__)
ParsedValues = dict[str, Any]
"""The parsed options and arguments of a command, by name."""
MESSAGE_LEVELS = {
    **dict.fromkeys(("warning", "Interrupted", "Terminated"), logging.WARNING),
    **dict.fromkeys(("failed", "mednet-bench"), logging.ERROR),
}
"""How a message begins, before its colon -> its level; others are informative."""
MESSAGE_OPTIONS: tuple[click.Parameter, ...] = (
    click.Option(["-q", "--quiet"], is_flag=True, help="Print only results, warnings and errors."),
    click.Option(
        ["-v", "--verbose"], is_flag=True, help="Print details too: files read, cached features, tracebacks."
    ),
    click.Option(
        ["--log"], type=FILE, help="File to append every message and detail to, with its time in UTC."
    ),
)
"""Options of every command, beside --help."""


class BenchCommand(click.Command):
    """A command whose function takes its options as one mapping, with an example in its help.

    It has `MESSAGE_OPTIONS` too.

    Args:
        action: the function, whose docstring is the help; it returns the exit code.
        params: options and arguments, or a mapping from headings of the help to them.
        example: a whole command line.
        name: of the command; by default that of `action` without `_command`, with dashes.
    """

    def __init__(
        self,
        action: Callable[[ParsedValues], int],
        params: Sequence[click.Parameter] | OptionGroups,
        example: str,
        name: str = "",
    ) -> None:
        self.groups = params if isinstance(params, Mapping) else {"Options": [*params]}
        super().__init__(
            name or action.__name__.removesuffix("_command").replace("_", "-"),
            params=[each for group in self.groups.values() for each in group],
            help=action.__doc__,
            epilog=f"\b\nExample:\n  {example}",
            callback=lambda: None,
        )
        self.action = action

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does; `UserError` for an empty path, which would be the current folder."""
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        for parameter in self.get_params(ctx):
            value = given.get(str(parameter.name))
            values = value if isinstance(value, (list, tuple)) else [value]
            if isinstance(parameter.type, click.Path) and "" in values:
                raise UserError(f"{parameter.get_error_hint(ctx)} is empty: name a folder or file.")
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """List its own parameters, then those of every command."""
        own = len(self.params)
        every = super().get_params(ctx)
        return [*every[:own], *MESSAGE_OPTIONS, *every[own:]]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings, and those of every command below them."""
        rest = [each for each in self.get_params(ctx) if each not in self.params]  # also --help
        groups = {**self.groups, "Other": rest}
        records = {
            heading: [each.get_help_record(ctx) for each in group if isinstance(each, click.Option)]
            for heading, group in groups.items()
        }
        names = [record[0] for group in records.values() for record in group if record]
        width = min(30, max(map(len, names)))  # click's widest column of names
        for heading, group in records.items():
            shown = [(name.ljust(width), text) for name, text in filter(None, group)]
            if shown:
                with formatter.section(heading):
                    formatter.write_dl(shown)

    def invoke(self, ctx: click.Context) -> int:
        """Run the command and return its exit code; warn of plug-ins that it found broken."""
        quiet, verbose = ctx.params["quiet"], ctx.params["verbose"]
        if quiet and verbose:
            raise UserError("--quiet and --verbose exclude each other: pass one of them.")
        send_messages(quiet, verbose, ctx.params["log"])
        known = set(broken)  # by another command of this process
        try:
            return self.action(ctx.params)
        finally:  # also where it fails: the broken plug-in may be the reason
            for point in sorted(broken.keys() - known):
                say(f"warning: {broken[point]}")


class CommandGroup(click.Group):
    """Commands in their own order; a name that is nearly right is suggested.

    Args:
        name: of the group.
        headings: heading in the help -> names of its commands; by default one for all.
        settings: as `click.Group` takes them.
    """

    def __init__(
        self, name: str, headings: Mapping[str, Sequence[str]] | None = None, **settings: Any
    ) -> None:
        super().__init__(name, **settings)
        self.headings = headings or {"Commands": [*self.commands]}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands in the order of the help."""
        return [name for names in self.headings.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line per command under its heading."""
        longest = max(map(len, self.commands))
        for heading, names in self.headings.items():
            helps = [self.commands[name].get_short_help_str(formatter.width - longest - 4) for name in names]
            with formatter.section(heading):
                formatter.write_dl(
                    [(name.ljust(longest), text) for name, text in zip(names, helps, strict=True)]
                )

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command; `UserError` for an unknown name."""
        unknown = args and args[0] not in self.commands and not args[0].startswith("-")
        if unknown and not ctx.resilient_parsing:  # not while a shell completes a line
            raise unknown_name_error("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


def format_option(*formats: str, text: str = "Format of the output.") -> click.Option:
    """Return the option for the format of a command's output, "table" by default."""
    return option("--format", text, default="table", type=click.Choice(["table", *formats]))


def json_flag() -> click.Option:
    """Return --json, the name of `--format json` in version 0.1; it goes before `format_option`."""
    return click.Option(["--json", "format"], flag_value="json", hidden=True, help="Same as --format json.")


def echo_json(content: object) -> None:
    """Print plain data or structs as one JSON document in UTF-8: every text clean, NaN as null."""
    plain = _clean_texts(msgspec.to_builtins(content))
    click.echo(msgspec.json.format(msgspec.json.encode(plain), indent=2))


def _clean_texts(content: Any) -> Any:
    if isinstance(content, str):
        return clean(content)
    if isinstance(content, dict):
        return {_clean_texts(key): _clean_texts(value) for key, value in content.items()}
    return [*map(_clean_texts, content)] if isinstance(content, (list, tuple)) else content


def echo(text: str, nl: bool = True) -> None:
    """Print the result of a command; `nl` ends it with a newline."""
    click.echo(clean(text), nl=nl)


def say(sentence: str) -> None:
    """Log a message, which the command line prints on one line of standard error."""
    _LOG.log(MESSAGE_LEVELS.get(sentence.partition(":")[0], logging.INFO), sentence)
