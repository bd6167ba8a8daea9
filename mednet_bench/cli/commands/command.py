"""What every command of the command line is made of."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import click

from ...core.errors import UserError, clean, one_line, unknown_name_error
from ...core.plugins import broken

ParsedValues = dict[str, Any]
"""The parsed options and arguments of a command, by name."""


class BenchCommand(click.Command):
    """A command whose function takes its options as one mapping, and that shows an example.

    Args:
        action: the function, whose docstring is the help; it returns the exit code.
        params: options and arguments.
        example: a whole command line.
        name: of the command; by default that of `action` without `_command`, with dashes.
    """

    def __init__(
        self,
        action: Callable[[ParsedValues], int],
        params: Sequence[click.Parameter],
        example: str,
        name: str = "",
    ) -> None:
        super().__init__(
            name or action.__name__.removesuffix("_command").replace("_", "-"),
            params=list(params),
            help=action.__doc__,
            epilog=f"\b\nExample:\n  {example}",
            callback=lambda: None,
        )
        self.action = action

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does, but for an empty path, which would be the current folder; `UserError`."""
        given, _, _ = self.make_parser(ctx).parse_args(list(args))
        for parameter in self.params:
            value = given.get(str(parameter.name))
            values = value if isinstance(value, (list, tuple)) else [value]
            if isinstance(parameter.type, click.Path) and "" in values:
                raise UserError(f"{parameter.get_error_hint(ctx)} is empty: name a folder or file.")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> int:
        """Carry out the command; returns the exit code. Plug-ins that proved to be broken are named last."""
        told = set(broken)  # by another command of this process
        try:
            return self.action(ctx.params)
        finally:  # also where it fails: what it did not find may be what is broken
            for point in sorted(broken.keys() - told):
                say(f"warning: {broken[point]}")


class CommandGroup(click.Group):
    """Commands in their own order; a name that is nearly right is suggested."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order in which they were given."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command; `UserError` for a name that is none."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise unknown_name_error("command", args[0], self.commands)
        return super().resolve_command(ctx, args)


def as_json(content: object) -> str:
    """Return plain data or structs as JSON, for a program that reads what a command prints."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode()


def echo(text: str, nl: bool = True) -> None:
    """Print the result of a command; `nl` ends it with a newline."""
    click.echo(clean(text), nl=nl)


def say(sentence: str) -> None:
    """Tell a person something on a line of standard error; standard output stays parseable."""
    click.echo(one_line(sentence), err=True)


def download_display() -> AbstractContextManager[Callable[[str, int, int], None]]:
    """Show downloads while the block lasts."""
    from ...core.progress import show_downloads

    return show_downloads()
