"""A card's path stands for its task, and the size that `validate` prepared is the default."""

from pathlib import Path

import pytest

from mednet_bench.benchmark.schema.request import STORED_SIZE, RunConfig
from mednet_bench.cli.show.files import validate_card
from mednet_bench.core.errors import UserError


def test_a_card_is_a_name_of_its_task_at_the_prepared_size(ward: Path) -> None:
    card = ward / "ward.toml"
    assert RunConfig(tasks=(str(card),)).size == STORED_SIZE, "nothing is prepared"
    for size in (40, 24, 40):
        validate_card(card, size, 1, ward.parent / "check")
        config = RunConfig(tasks=(str(card),))
        assert (config.tasks, config.task_file, config.size) == (("ward",), (str(card),), size)
    assert RunConfig(tasks=("ward",), task_file=(str(card),)).size == 40
    assert RunConfig(tasks=(str(card),), size=32).size == 32
    assert RunConfig(tasks=(str(card), "breastmnist")).size == STORED_SIZE
    assert config.with_options({"seeds": "0"}).size == 40


def test_tasks_prepared_at_several_sizes_need_a_size(ward: Path) -> None:
    card, other = ward / "ward.toml", ward / "other.toml"
    other.write_text(card.read_text().replace('"ward"', '"other"'))
    validate_card(card, 24, 1, ward.parent / "check")
    validate_card(other, 32, 1, ward.parent / "check")
    with pytest.raises(UserError, match="prepared at 24 and 32 pixels: say by --size"):
        RunConfig(tasks=(str(card), str(other)))


def test_a_file_that_is_no_card_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("seeds = [1]\n")
    with pytest.raises(UserError, match=r"x\.toml lacks the key 'name': it is no card"):
        RunConfig(tasks=(str(tmp_path / "x.toml"),))
    with pytest.raises(UserError, match=r"Cannot read .*gone\.toml"):
        RunConfig(tasks=(str(tmp_path / "gone.toml"),))
