"""Compares wheels with the tree they come from: `wheel_content.py SOURCE WHEEL...`, exit 1 if they differ."""

import sys
import zipfile
from pathlib import Path

ROOMS = ("benchmark", "tasks", "baselines", "reports")


def expected(source: Path) -> set[str]:
    """Name every file of the four rooms as the wheel must hold it; notes in Markdown stay at home."""
    files = (file for room in ROOMS for file in (source / room).rglob("*") if file.is_file())
    return {
        f"mednet_bench/{file.relative_to(source).as_posix()}"
        for file in files
        if file.suffix not in (".md", ".pyc")
    }


def differences(source: Path, wheel: Path) -> list[str]:
    """Say, one line each, how the wheel differs from the tree."""
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = expected(source)
    return [f"{wheel.name} lacks {name}" for name in sorted(wanted - held)] + [
        f"{wheel.name} holds {name}, which no room has" for name in sorted(held - wanted)
    ]


if __name__ == "__main__":
    source, *wheels = map(Path, sys.argv[1:])
    found = [line for wheel in wheels for line in differences(source, wheel)]
    print(
        "\n".join(found)
        or f"{len(expected(source))} files, the same in the tree, the sdist's wheel and the wheel"
    )
    sys.exit(bool(found))
