"""Compare wheels with their source tree: `wheel_content.py SOURCE WHEEL...`, exit 1 if they differ."""

import sys
import zipfile
from pathlib import Path

PACKAGES = ("core", "tasks", "baselines", "benchmark", "reports", "mednet_bench")


def expected_names(source: Path) -> set[str]:
    """List every file of the packages, except Markdown, under its name in the wheel."""
    files = (file for package in PACKAGES for file in (source / package).rglob("*") if file.is_file())
    return {
        f"mednet_bench/{file.relative_to(source).as_posix()}".replace(
            "mednet_bench/mednet_bench/", "mednet_bench/"
        )
        for file in files
        if file.suffix not in (".md", ".pyc")
    }


def differences(source: Path, wheel: Path) -> list[str]:
    """Return one line for each difference between the wheel and the tree."""
    content = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = expected_names(source)
    return [f"{wheel.name} lacks {name}" for name in sorted(wanted - content)] + [
        f"{wheel.name} has {name}, which no package has" for name in sorted(content - wanted)
    ]


if __name__ == "__main__":
    source, *wheels = map(Path, sys.argv[1:])
    found = [line for wheel in wheels for line in differences(source, wheel)]
    print(
        "\n".join(found)
        or f"{len(expected_names(source))} files, the same in the tree, the sdist's wheel and the wheel"
    )
    sys.exit(bool(found))
