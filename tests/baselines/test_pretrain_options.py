"""Options of the pretrainings of a run: errors say the cure, and the usual ones change no identity."""

from typing import Any

import pytest
from msgspec.structs import replace

from mednet_bench.baselines.pretrain_options import (
    RECIPES,
    USUAL_OPTIONS,
    PretrainOptions,
    resolve_pretrain_options,
)
from mednet_bench.benchmark.pretraining.objective import OBJECTIVES
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.core.errors import UserError


def resolve(*texts: str, families: tuple[str, ...] = ("mednet", "continued")) -> dict[str, PretrainOptions]:
    return resolve_pretrain_options(RunConfig(pretrain_option=texts).pretrain_option, families, OBJECTIVES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mednot.objective=mixed", "There is no pretrained init 'mednot'; did you mean 'mednet'"),
        (
            "mednet.objektive=mixed",
            "mednet.objektive=mixed: there is no pretrain option 'objektive'; did you",
        ),
        ("mednet.objective=mix", "mednet.objective=mix: there is no objective 'mix'; did you mean 'mixed'"),
        (
            "mednet.augmentation=weak",
            "augmentation=weak: there is no augmentation 'weak'; known: standard, strong",
        ),
        ("mednet.ema=1", "mednet.ema=1: expected `float` < 1.0"),
        ("mednet.lr=fast", "mednet.lr=fast: expected `float`, got `str`"),
        ("mednet.anchor=0.1", "mednet.anchor=0.1: mednet starts from random weights: set it for continued"),
        ("continued.layer_decay=0", "continued.layer_decay=0: expected `float` > 0.0"),
        ("continued.lr=nan", "continued.lr=nan: expected `float` >= 0.0"),
        ("continued.lr=inf", "continued.lr=inf: the value is no finite number"),
    ],
)
def test_a_wrong_option_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(text)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_an_option_of_an_init_that_is_not_pretrained_is_an_error() -> None:
    with pytest.raises(UserError, match="this run pretrains no continued: add it to --inits, without a path"):
        resolve("continued.lr=1e-4", families=("mednet",))


def test_texts_become_values_and_only_changes_are_decisive() -> None:
    found = resolve("mednet.objective=simclr", "mednet.ema=0.99", "continued.anchor=0.1")
    assert found["mednet"] == PretrainOptions(objective="simclr", ema=0.99, freeze_norm=True)
    assert found["continued"] == replace(RECIPES["continued"], anchor=0.1)
    assert found["mednet"].decisive == '{"ema":0.99,"freeze_norm":true,"objective":"simclr"}'
    assert resolve() == RECIPES


def test_the_recipe_of_version_0_1_keeps_the_names_of_its_mednets() -> None:
    assert USUAL_OPTIONS.decisive == ""
    old: Any = resolve("mednet.freeze_norm=false", "mednet.objective=supervised", "mednet.lr=0")["mednet"]
    assert old.decisive == ""
