"""The process that `run --jobs N` starts N times; it is told its share on standard input."""

import sys

import msgspec

from ...core.errors import StoppedError, UserError, one_line
from ...core.interrupts import TerminatedError, heed_sigterm
from .executor import WorkerArgs, serve_worker


def worker_main() -> int:
    """Work until no cell is left; the last line on standard error says what went wrong."""
    heed_sigterm()
    try:
        serve_worker(msgspec.json.decode(sys.stdin.buffer.read(), type=WorkerArgs))
    except UserError as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    except StoppedError as error:
        print(one_line(str(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        return TerminatedError.exit_code if isinstance(error, TerminatedError) else 130
    return 0


if __name__ == "__main__":
    sys.exit(worker_main())
