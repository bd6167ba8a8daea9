"""Every option is declared once, in `RunConfig`; command line, TOML files and Python follow from it."""

from pathlib import Path
from typing import Annotated

import click
import numpy as np
import pytest

from mednet_bench.benchmark.schema.plan import Cell
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.benchmark.training.protocol_options import resolve_protocol_options
from mednet_bench.cli.commands.command import BenchCommand
from mednet_bench.cli.commands.compute import RUN
from mednet_bench.cli.commands.config import config_template
from mednet_bench.cli.options import config_of, read_config_file, run_options
from mednet_bench.core.config_fields import changed_arguments, config_fields, field_meta
from mednet_bench.core.errors import UserError

FIELDS = config_fields(RunConfig)
WRONG = {
    "steps": ["0", "many", "1.5", "20..10", "1..2..3"],
    "passes": ["0", "nan"],
    "budget": ["slow"],
    "fractions": ["0", "10", "nan", ""],
    "seeds": ["4..0", "0..x", "-1", "0..4000000000"],
    "size": ["0"],
    "lr_grid": ["0.1,inf", "x"],
    "k_grid": ["1.5"],
    "weight_decay": ["-1", "nan"],
    "dedupe": ["val"],
    "overwrite": ["sometimes"],
    "margin": ["0", "0.5", "nan"],
    "tasks": [",", ""],
    "out": [""],
    "jobs": ["0"],
    "per_gpu": ["-1", "two"],
    "protocol_option": ["partial", "partial.stages", "=2"],
}


class WiderConfig(RunConfig, frozen=True, kw_only=True):
    """One more option than a run has."""

    warmth: Annotated[int, field_meta("Training", "How warm.", ge=2)] = 7


def test_an_option_that_is_added_to_the_struct_is_one_of_command_line_toml_and_python(tmp_path: Path):
    (option,) = [each for each in run_options(WiderConfig)["Training"] if each.name == "warmth"]
    assert isinstance(option, click.Option)
    assert (option.opts, option.help, option.default) == (["--warmth"], "How warm.", "7")
    command = BenchCommand(lambda values: 0, run_options(WiderConfig), "run", "run")
    assert command.make_context("run", ["--warmth", "9"]).params["warmth"] == 9
    (tmp_path / "run.toml").write_text("warmth = 8\n")
    assert command.make_context("run", ["--config", str(tmp_path / "run.toml")]).params["warmth"] == 8
    assert WiderConfig(warmth="3").warmth == 3  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^--warmth 1: pass a whole number of at least 2\.$"):
        WiderConfig(warmth=1)
    with pytest.raises(UserError, match=r"^--warmth 1: pass a whole number of at least 2\.$"):
        command.make_context("run", ["--warmth", "1"])


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_wrong_value_raises_the_same_sentence_everywhere(name: str, text: str, tmp_path: Path):
    with pytest.raises(UserError) as by_python:
        RunConfig(**{name: text})
    with pytest.raises(UserError) as by_command_line:
        RUN.make_context("run", [f"{FIELDS[name].flag}={text}"])
    assert str(by_python.value) == str(by_command_line.value)
    assert str(by_python.value).startswith(FIELDS[name].flag)
    (tmp_path / "run.toml").write_text(f'{FIELDS[name].key} = "{text}"\n')
    with pytest.raises(UserError, match=f"key '{FIELDS[name].key}': ") as by_file:
        read_config_file(tmp_path / "run.toml", FIELDS)
    assert str(by_python.value).removeprefix(FIELDS[name].flag).strip() in str(by_file.value)


@pytest.mark.parametrize("name", FIELDS)
def test_every_option_has_one_line_of_help_and_a_default_that_it_accepts(name: str):
    field = FIELDS[name]
    assert field.help.endswith(".") and "\n" not in field.help
    assert field.convert(field.default) == field.default
    usual = getattr(RunConfig(), name)  # of --budget where there is no default
    typed = field.texts(usual) if field.repeats else field.text(usual)
    assert usual is None or field.convert(usual if field.is_flag else typed) == usual


def test_python_values_become_those_of_the_command_line():
    given = RunConfig(
        tasks=["breastmnist", " retinamnist "],  # type: ignore[arg-type]
        fractions=np.array([1, 0.1]),  # type: ignore[arg-type]
        seeds=range(3),  # type: ignore[arg-type]
        out=Path("run"),  # type: ignore[arg-type]
        dedupe=True,  # type: ignore[arg-type]
        protocol_option={"partial": {"stages": 2}},
    )
    words = "--tasks breastmnist,retinamnist --fractions 0.1,1 --seeds 0..2 --out run --dedupe"
    typed = config_of(
        RUN.make_context("run", [*words.split(), "--protocol-option", "partial.stages=2"]).params
    )
    assert typed.protocol_option == {"partial": {"stages": "2"}}, "typed by the protocol, not here"
    assert given.options | {"protocol_option": {}} == typed.options | {"protocol_option": {}}
    again = RUN.make_context("run", changed_arguments(given, given.preset)).params
    assert config_of(again).options | {"protocol_option": {}} == given.options | {"protocol_option": {}}


def test_scalars_of_numpy_are_numbers_and_flags():
    given = RunConfig(
        size=np.int64(28),  # type: ignore[arg-type]
        margin=np.array(0.02),  # type: ignore[arg-type]
        augment=np.bool_(False),  # type: ignore[arg-type]
        fractions=np.array(0.5),  # type: ignore[arg-type]
        protocol_option={"partial": {"stages": np.int64(2)}},
    )
    assert (given.size, given.margin, given.augment, given.fractions) == (28, 0.02, False, (0.5,))
    assert type(given.protocol_option["partial"]["stages"]) is int
    with pytest.raises(UserError, match=r"^--fractions"):
        RunConfig(fractions=np.full((2, 2), 0.5))  # type: ignore[arg-type]


def test_a_number_of_many_digits_is_the_same_in_python_a_file_and_arguments(tmp_path: Path):
    given = RunConfig(fractions=(0.123456789, 1.0), lr_grid=(1e-3, 0.00123456789), margin=0.0123456789)
    path = tmp_path / "run.toml"
    path.write_text(
        "fractions = [0.123456789, 1.0]\nlr-grid = [1e-3, 0.00123456789]\nmargin = 0.0123456789\n"
    )
    assert RunConfig(**read_config_file(path, FIELDS)) == given
    assert config_of(RUN.make_context("run", changed_arguments(given, given.preset)).params) == given
    assert FIELDS["lr_grid"].text((0.001, 1e-05, 3.0)) == "0.001,1e-05,3"


def test_an_option_of_a_protocol_that_is_none_can_be_typed():
    words = FIELDS["protocol_option"].arguments({"finetune": {"layer_decay": None}})
    typed = config_of(RUN.make_context("run", words).params).protocol_option
    assert resolve_protocol_options(typed, ["finetune"]) == resolve_protocol_options({}, ["finetune"])
    assert FIELDS["protocol_option"].texts({"a": {"b": True, "c": 0.5}}) == ["a.b=true", "a.c=0.5"]


def test_the_template_of_a_configuration_file_holds_every_option_with_its_default(tmp_path: Path):
    path = tmp_path / "run.toml"
    path.write_text(config_template())
    assert read_config_file(path, FIELDS) == {}, "as written it changes nothing"
    lines = config_template().splitlines()
    keys = {field.key for field in FIELDS.values()}
    settings = [line.removeprefix("# ") for line in lines if line.removeprefix("# ").split(" = ")[0] in keys]
    path.write_text("\n".join(settings))
    found = read_config_file(path, FIELDS)
    assert set(found) == set(FIELDS)
    assert RunConfig(**found) == RunConfig()


def test_a_budget_sets_what_is_not_given_and_everything_holds_numbers():
    standard, quick = RunConfig(), RunConfig(budget="quick", steps="300", seeds="7")
    assert (standard.passes, standard.steps, standard.seeds) == (10.0, (1000, 20000), (0, 1, 2, 3, 4))
    assert standard.fractions == (0.1, 0.25, 0.5, 1.0) and standard.pretrain_images == 3_000_000
    assert (quick.passes, quick.steps, quick.seeds, quick.fractions) == (5.0, (300, 300), (7,), (0.1, 1.0))
    assert quick.recipe.steps_for(10**9) == 300 and standard.recipe.steps_for(6400) == 2000
    assert RunConfig(budget="thorough").recipe.lr_grid == (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def test_a_given_value_outlives_another_budget_and_the_others_follow_it():
    config = RunConfig(seeds="0..1", steps="1000..5000", pretrain_images=640)
    quick = config.with_options({"budget": "quick", "pretrain_images": 64})
    assert (quick.seeds, quick.steps, quick.pretrain_images) == ((0, 1), (1000, 5000), 64)
    assert (quick.passes, quick.lr_grid) == (5.0, (3e-4, 1e-3, 3e-3))
    words = ["--budget", "quick", "--seeds", "0..1", "--steps", "1000..5000", "--pretrain-images", "64"]
    assert sorted(changed_arguments(quick, quick.preset)) == sorted(words)


def test_vision_transformers_have_lower_rates_by_default_and_those_that_are_given():
    vit, cnn = (
        Cell(task="t", size=28, input_size=64, arch=arch, init="scratch")
        for arch in ("vit_tiny_patch16_224", "resnet18")
    )
    config = RunConfig(budget="quick")
    assert config.recipe_for(vit).lr_grid == (3e-5, 1e-4, 3e-4)
    assert config.recipe_for(cnn).lr_grid == config.lr_grid == (3e-4, 1e-3, 3e-3)
    assert RunConfig(lr_grid="1e-3").recipe_for(vit).lr_grid == (1e-3,)
