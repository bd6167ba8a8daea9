"""Worker process of `run --jobs N`; reads its arguments from standard input."""

import sys

import msgspec

from ...core.errors import StoppedError, UserError, one_line
from ...core.interrupts import TerminatedError, heed_sigterm


def worker_main() -> int:
    """Work until no cell is left; the last line on standard error states the error."""
    heed_sigterm()
    try:
        args = sys.stdin.buffer.read()  # before torch is imported: the parent waits until it is read
        from .executor import WorkerArgs, serve_worker

        serve_worker(msgspec.json.decode(args, type=WorkerArgs))
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
