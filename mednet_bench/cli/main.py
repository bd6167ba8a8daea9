"""`mednet-bench`: the program, its commands by heading, and its exit codes."""

import sys

import click

from ..core.errors import StoppedError, UserError
from ..core.files import FULL
from ..core.hardware import fix_threads
from ..core.interrupts import TerminatedError, heed_sigterm
from .commands import (
    audit,
    cache,
    compute,
    config,
    corpus,
    data,
    judge,
    pretrain,
    report,
    sources,
    task,
    weights,
)
from .commands.command import CommandGroup, say
from .messages import LOGGER, send_messages

ALL_COMMANDS = (
    *compute.COMPUTE_COMMANDS,
    *config.CONFIG_COMMANDS,
    *report.REPORT_COMMANDS,
    *judge.JUDGE_COMMANDS,
    *data.DATA_COMMANDS,
    *task.TASK_COMMANDS,
    *cache.CACHE_COMMANDS,
    *corpus.CORPUS_COMMANDS,
    *pretrain.PRETRAIN_COMMANDS,
    *sources.SOURCES_COMMANDS,
    *audit.AUDIT_COMMANDS,
    *weights.WEIGHTS_COMMANDS,
)
COMMAND_HEADINGS = {
    "Everyday": ("run", "plan", "status", "cancel", "report", "ls", "config"),
    "Results": ("leaderboard", "verdicts", "predictions", "publish", "compare", "judge"),
    "Data": ("info", "download", "task", "validate", "sources", "cache"),
    "Weights": ("corpus", "pretrain", "export", "inspect-weights"),
    "Checks": ("doctor", "audit", "parity", "regress", "calibrate"),
}
"""Heading in the help -> its commands."""

cli = CommandGroup(
    "mednet-bench",
    commands={str(command.name): command for command in ALL_COMMANDS},
    headings=COMMAND_HEADINGS,
    help="Does pretraining on medical images beat ImageNet transfer, or training from scratch, on your task "
    "with your number of labels?",
    epilog="Exit codes: 0 all well, 1 some cell failed or the run was stopped, 2 the request was wrong, 3 a "
    "threshold was broken, 130 interrupted (Ctrl-C), 143 terminated (SIGTERM).",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
click.version_option(None, "-V", "--version", package_name="mednet-bench")(cli)


def main() -> None:
    """Run the command line and exit with its code."""
    sys.excepthook = lambda *error: LOGGER.critical("", exc_info=error)
    send_messages()
    LOGGER.propagate = False  # a root handler, of a library, would print every message again
    fix_threads()  # before numpy and torch are imported
    heed_sigterm()
    try:
        code = cli.main(prog_name="mednet-bench", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        say(f"mednet-bench: {error.format_message()}")
        sys.exit(2)
    except UserError as error:
        say(f"mednet-bench: {error}")
        for line in error.example.splitlines():
            LOGGER.error(line)
        sys.exit(2)
    except StoppedError as error:
        say(f"mednet-bench: {error}")
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # click mistakes a truncated file for a closed terminal
            raise error.__cause__ from None
        # click turns it into an Abort, at a prompt `from None`
        chain = (error, error.__cause__, error.__context__)
        terminated = any(isinstance(each, TerminatedError) for each in chain)
        event = "Terminated" if terminated else "Interrupted"
        say(f"{event}: what is finished is kept; run the same command again to resume.")
        sys.exit(TerminatedError.exit_code if terminated else 130)
    except BrokenPipeError:  # `mednet-bench ls | head`
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno not in FULL:
            raise
        say("mednet-bench: Disk full: free some space and retry.")
        sys.exit(1)
    finally:
        LOGGER.propagate = True
