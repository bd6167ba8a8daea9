"""Messages of a command: records of the logger `mednet_bench` on standard error and in the file of --log."""

import logging
import time
from pathlib import Path

import click

from ..core.errors import clean, one_line
from ..core.files import explain_write_errors
from ..core.progress import print_above_live_line, set_live_displays

LOGGER = logging.getLogger("mednet_bench")


class StderrHandler(logging.Handler):
    """Prints just the message, above the live line if there is one; a closed pipe is an error here."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        text = self.format(record)
        if not print_above_live_line(text):
            click.echo(text, err=True)  # on the present `sys.stderr`, which tests replace


class LogFileHandler(logging.FileHandler):
    """Appends to a file; once that fails, it says so and stops."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Take the handler off, so that a full disk stops the log and not the command."""
        LOGGER.removeHandler(self)
        LOGGER.warning(f"warning: {self.baseFilename} cannot be written any more: the log ends here.")


class MessageFormatter(logging.Formatter):
    """Formats a record as one line without control characters, with its traceback below it."""

    converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Return the line of a record."""
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record and its traceback, the latter not kept for other handlers."""
        text = clean(super().format(record)).strip("\n")
        record.exc_text = None
        return text


def send_messages(quiet: bool = False, verbose: bool = False, log: Path | None = None) -> None:
    """Send messages to standard error and to `log`, instead of where the last call sent them.

    Args:
        quiet: only warnings and errors, without live displays.
        verbose: details too.
        log: file to append every message to, details included.

    Raises:
        UserError: `log` cannot be written to.
    """
    screen = StderrHandler(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
    screen.setFormatter(MessageFormatter("%(message)s"))
    handlers: list[logging.Handler] = [screen]
    if log:
        with explain_write_errors(log):
            log.parent.mkdir(parents=True, exist_ok=True)
            file = LogFileHandler(log, encoding="utf-8", errors="replace")
        file.setFormatter(
            MessageFormatter("%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ")
        )
        handlers.append(file)
    for handler in [*LOGGER.handlers]:  # those of the last call
        if isinstance(handler, (StderrHandler, LogFileHandler)):
            LOGGER.removeHandler(handler)
            handler.close()
    for handler in handlers:
        LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG if log else screen.level)
    set_live_displays(not quiet)
