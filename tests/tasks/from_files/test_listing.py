"""`ls` and `info` report prepared sizes of a task from files without preparing anything."""

import re
from pathlib import Path

import pytest

from mednet_bench.cli.show.files import validate_card
from mednet_bench.cli.show.tasks import task_card, task_listing


def test_what_is_prepared_is_listed_and_nothing_is_prepared_for_it(ward: Path, cache: Path) -> None:
    cards = [str(ward / "ward.toml")]

    def shown() -> str:
        [line] = re.findall(r"^ward .*$", task_listing(None, cards), re.MULTILINE)
        return line.rstrip()

    assert shown().endswith("any, not prepared")
    assert "any px: prepared from the files when it is needed" in task_card("ward", None, cards)
    assert not cache.exists()
    for size in (32, 16):
        validate_card(ward / "ward.toml", size, 1, ward.parent / "check")
    assert shown().endswith("any; prepared: 16, 32")
    assert "16 px: 40 images when last prepared (train 24, val 8, test 8)" in task_card("ward", None, cards)
    for manifest in (cache / "files").glob("*/manifest.json"):
        manifest.write_text("{}")
    assert shown().endswith("any, not prepared")


LOST = {"table": ("table = ", 'table = "gone.csv"\n#'), "folder": ("[files]", '[files]\npath = "gone"')}


@pytest.mark.parametrize("what", LOST)
def test_what_is_missing_is_named(ward: Path, what: str) -> None:
    path = ward / "ward.toml"
    path.write_text(path.read_text().replace(*LOST[what]))
    assert re.search(r"^ward .* - *$", task_listing(None, [str(path)]), re.MULTILINE)
    assert re.search(r"missing .*gone", task_card("ward", None, [str(path)]))
