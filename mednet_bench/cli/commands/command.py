"""Base classes and printing of the commands."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
import msgspec

from ...core.errors import UserError, clean, one_line, unknown_name_error
from ...core.plugins import broken
from ..options import OptionGroups

ParsedValues = dict[str, Any]
"""The parsed options and arguments of a command, by name."""


class BenchCommand(click.Command):
    """A command whose function takes its options as one mapping, with an example in its help.

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
        for parameter in self.params:
            value = given.get(str(parameter.name))
            values = value if isinstance(value, (list, tuple)) else [value]
            if isinstance(parameter.type, click.Path) and "" in values:
                raise UserError(f"{parameter.get_error_hint(ctx)} is empty: name a folder or file.")
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings, and --help below them."""
        every = self.get_params(ctx)  # also --help
        rest = [each for each in every if each not in self.params]
        groups = {**self.groups, "Other": rest} if len(self.groups) > 1 else {"Options": every}
        records = {
            heading: [each.get_help_record(ctx) for each in group if isinstance(each, click.Option)]
            for heading, group in groups.items()
        }
        names = [record[0] for group in records.values() for record in group if record]
        width = max(len(name) for name in names if len(name) <= 30)  # click's widest column of names
        for heading, group in records.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), text) for name, text in filter(None, group)])

    def invoke(self, ctx: click.Context) -> int:
        """Run the command and return its exit code; warn of plug-ins that it found broken."""
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
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise unknown_name_error("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


def as_json(content: object) -> str:
    """Return plain data or structs as JSON, for programs that read the output of a command."""
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode()


def echo(text: str, nl: bool = True) -> None:
    """Print the result of a command; `nl` ends it with a newline."""
    click.echo(clean(text), nl=nl)


def say(sentence: str) -> None:
    """Print a message on one line of standard error; standard output stays parseable."""
    click.echo(one_line(sentence), err=True)
