"""The process that `run --jobs N` starts N times: `python -m mednet_bench.benchmark.worker FOLDER ...`."""

import sys
from pathlib import Path

from .errors import UserError
from .executor import serve
from .files import DiskFullError
from .runner import Rules


def main(arguments: list[str]) -> int:
    """Work until no cell is left; the last line on standard error says what went wrong."""
    folder, device, overwrite, since, limit = arguments
    try:
        serve(Path(folder), device, Rules(overwrite, float(since), int(limit)))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except DiskFullError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
