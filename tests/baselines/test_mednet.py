"""`mednet` is pretrained on medical images independent of the target, or not at all.

Pretraining on the target's own images, on its sister sets or on a set that shares a parent with it is
the leak that would make MedNet win for the wrong reason.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import toys

from mednet_bench.baselines.init import InitRequest, PretrainPlan
from mednet_bench.baselines.sources import mednet as module
from mednet_bench.baselines.sources.mednet import is_independent, plan_pretraining, resolve_mednet
from mednet_bench.benchmark.run.new_record import init_facts
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.task import TASKS, DataLocations, Task


def available(task: Task, sides: tuple[int, ...] = (28,)) -> Task:
    """The card of a real set as if its file were here."""

    class Here(toys.InMemory):
        def sizes(self, places: DataLocations) -> tuple[int, ...]:
            return sides

    return replace(task, source=Here({}, f"md5:{task.name}"))


def local(name: str, variant: str, parents: tuple[str, ...], group: str, **facts: object) -> Task:
    toy = toys.Toy(variant=variant)
    return toys.task_of(toy, name, source_group=group, parents=parents, generated=False, **facts)


def everything() -> dict[str, Task]:
    """The twelve sets of MedMNIST, the phantoms, and local sets like those of the data folder."""
    known = {name: available(task) for name, task in TASKS.items()}
    allows_test: dict[str, object] = {"role": "source", "pretrain_splits": ("test",)}
    locals_ = (
        local("mednist-sample", "gray", ("nih-chestxray14",), "mednist", role="source"),
        local("bccd-cells", "color", ("bccd",), "bccd"),
        local("pathmnist-subset", "color", ("nct-crc-he-100k",), "nct-crc", **allows_test),
    )
    return {**known, **{task.name: task for task in locals_}}


def need(target: str, known: dict[str, Task], **facts: object) -> InitRequest:
    return toys.need_of(
        known[target], Path("/cache"), tasks=tuple(known.values()), size=28, input_size=28, **facts
    )


def sources(target: str, known: dict[str, Task]) -> set[str]:
    return {task.name for task in plan_pretraining(need(target, known)).sources}


ORGANS = {"organamnist", "organcmnist", "organsmnist"}
GRAY = {"breastmnist", "chestmnist", "octmnist", "pneumoniamnist", "tissuemnist", "mednist-sample", *ORGANS}
COLOR = {"bloodmnist", "dermamnist", "pathmnist", "retinamnist", "bccd-cells", "pathmnist-subset"}
EXPECTED = {
    "breastmnist": GRAY - {"breastmnist"},
    "pneumoniamnist": GRAY - {"pneumoniamnist"},
    "octmnist": GRAY - {"octmnist"},
    "tissuemnist": GRAY - {"tissuemnist"},
    "chestmnist": GRAY - {"chestmnist", "mednist-sample"},  # MedNIST's chest X-rays are NIH's too
    "organamnist": GRAY - ORGANS,
    "organcmnist": GRAY - ORGANS,
    "organsmnist": GRAY - ORGANS,
    "retinamnist": COLOR - {"retinamnist"},
    "bloodmnist": COLOR - {"bloodmnist"},
    "dermamnist": COLOR - {"dermamnist"},
    "pathmnist": COLOR - {"pathmnist", "pathmnist-subset"},
    "bccd-cells": COLOR - {"bccd-cells"},
    "phantom-nodule": {"phantom-organ", "phantom-findings"},
    "phantom-organ": {"phantom-nodule", "phantom-findings"},
    "phantom-findings": {"phantom-nodule", "phantom-organ"},
    "phantom-tissue": {"phantom-fundus"},
    "phantom-fundus": {"phantom-tissue"},
}


def test_every_target_has_its_expected_sources() -> None:
    known = everything()
    targets = {name for name, task in known.items() if task.role == "task"}
    assert {target: sources(target, known) for target in targets} == EXPECTED


def test_no_source_shares_color_realness_or_origin_wrongly_with_its_target() -> None:
    known = everything()
    for target in EXPECTED:
        pretraining = plan_pretraining(need(target, known))
        for source in pretraining.sources:
            assert source.variant == known[target].variant == pretraining.variant
            assert source.generated == known[target].generated
            assert not source.origin & known[target].origin
            assert source.name != target


def test_one_common_parent_is_enough_to_keep_two_sets_apart() -> None:
    one = toys.task_of(toys.Toy(), "one", parents=("a", "b"))
    assert not is_independent(toys.task_of(toys.Toy(), "two", parents=("b", "c")), one)
    assert not is_independent(toys.task_of(toys.Toy(), "two", source_group="one"), one)
    # a group, or a name, that is the other's parent is the same origin too, in any spelling
    assert not is_independent(toys.task_of(toys.Toy(), "A"), one)
    assert not is_independent(toys.task_of(toys.Toy(), "two", source_group="a"), one)
    assert is_independent(toys.task_of(toys.Toy(), "two", parents=("c",)), one)


def test_a_set_that_is_not_available_is_no_source() -> None:
    known = everything()
    known["tissuemnist"] = available(known["tissuemnist"], ())
    assert sources("breastmnist", known) == EXPECTED["breastmnist"] - {"tissuemnist"}


def test_a_source_is_read_at_the_size_of_the_run_or_the_largest_there_is() -> None:
    known = everything()
    known["tissuemnist"] = available(known["tissuemnist"], (28, 64))
    known["octmnist"] = available(known["octmnist"], (64, 128))
    pretraining = plan_pretraining(need("breastmnist", known))
    sizes = {task.name: size for task, size in zip(pretraining.sources, pretraining.sizes, strict=True)}
    assert (sizes["tissuemnist"], sizes["octmnist"], sizes["mednist-sample"]) == (28, 128, 16)


def test_without_a_source_the_cure_is_named() -> None:
    known = {"breastmnist": everything()["breastmnist"]}
    with pytest.raises(UserError, match="no other gray data set"):
        plan_pretraining(need("breastmnist", known))


def identity(target: str, known: dict[str, Task], **facts: object) -> str:
    return plan_pretraining(need(target, known, **facts)).identity


def changed(name: str, **facts: object) -> dict[str, Task]:
    known = everything()
    return {**known, name: replace(known[name], **facts)}


CHANGES = {
    "budget": lambda: identity("breastmnist", everything(), budget="images=257"),
    "arch": lambda: identity("breastmnist", everything(), arch="test_resnet"),
    "input size": lambda: (
        plan_pretraining(replace(need("breastmnist", everything()), input_size=64)).identity
    ),
    "data of a source": lambda: identity(
        "breastmnist", changed("octmnist", source=available(replace(TASKS["octmnist"], name="other")).source)
    ),
    "splits of a source": lambda: identity(
        "breastmnist", changed("octmnist", pretrain_splits=("train", "val"))
    ),
    "kind of a source": lambda: identity("breastmnist", changed("octmnist", kind="multilabel")),
    "classes of a source": lambda: identity("breastmnist", changed("octmnist", classes=tuple("abcde"))),
    "flips of a source": lambda: identity("breastmnist", changed("octmnist", modality="microscopy")),
    "one source more": lambda: identity(
        "breastmnist", {**everything(), "more": local("more", "gray", ("more",), "more")}
    ),
    "other sources": lambda: identity("octmnist", everything()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_each_fact_that_decides_the_weights_changes_their_name(what: str) -> None:
    # The name is that of the file in the cache: equal names for unequal weights would be served silently.
    assert CHANGES[what]() != identity("breastmnist", everything())


def test_a_change_of_the_code_changes_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity("breastmnist", everything())
    monkeypatch.setattr(module, "RECIPE", module.RECIPE + 1)
    assert identity("breastmnist", everything()) != before


def test_tasks_with_the_same_sources_share_one_pretraining() -> None:
    known = everything()
    organs = {identity(target, known) for target in ORGANS}
    assert len(organs) == 1
    # nothing of the target itself is in the name, nor the order in which the sets were found
    backwards = dict(reversed(list(known.items())))
    assert identity("organamnist", backwards) in organs
    assert len({identity(target, known) for target in EXPECTED}) == len(EXPECTED) - 2


def test_the_card_says_what_was_seen_and_names_the_file() -> None:
    known = everything()
    card = resolve_mednet(need("retinamnist", known))
    assert isinstance(card.pretraining, PretrainPlan)
    assert card.label.startswith("Color-MedNet pretrained here on bccd-cells, bloodmnist")
    assert card.file == Path("/cache") / f"{card.pretraining.identity}.safetensors"
    parents = {"bccd", "ham10000", "nct-crc", "nct-crc-he-100k", "pbc"}
    assert set(card.corpora) == parents | EXPECTED["retinamnist"]
    assert init_facts(card, known["retinamnist"]).overlap == ()


def test_a_checkpoint_that_saw_the_targets_parent_is_marked(tmp_path: Path) -> None:
    known = everything()
    path = toys.write_card(tmp_path, corpora=["radimagenet", "nih-chestxray14", "busi"])

    def facts(target: str) -> tuple[str, ...]:
        asked = toys.need_of(known[target], tmp_path, path=path)
        return init_facts(resolve_mednet(asked), known[target]).overlap

    assert facts("chestmnist") == ("nih-chestxray14",)
    assert facts("breastmnist") == ("busi",)
    assert facts("octmnist") == ()
    # the set by its own name, its collection, and any spelling
    for corpora in (["OctMNIST"], ["MedMNIST"], ["medmnist-v2"], ["Kermany-OCT"]):
        path = toys.write_card(tmp_path, corpora=corpora)
        assert facts("octmnist") == tuple(corpora)
    path = toys.write_card(tmp_path, corpora=["radimagenet", "nih-chestxray14", "busi"])
    # MedNIST's sister shares the parent, not the name
    child = replace(known["octmnist"], parents=("kermany-oct", "nih-chestxray14"))
    asked = toys.need_of(child, tmp_path, path=path)
    assert init_facts(resolve_mednet(asked), child).overlap == ("nih-chestxray14",)


def test_the_record_says_that_a_gray_image_was_repeated(tmp_path: Path) -> None:
    known = everything()
    assert init_facts(toys.RANDOM, known["chestmnist"]).adapted == ("1 channel repeated to 3",)
    assert init_facts(toys.RANDOM, known["retinamnist"]).adapted == ()


def test_the_real_sets_beside_the_repository_serve_the_expected_targets(data_root: Path) -> None:
    places = DataLocations(roots=(data_root,), medmnist_cache=Path("/nonexistent"), download=False)
    known = catalog(places)

    def planned(target: str) -> dict[str, tuple[str, ...]]:
        asked = toys.need_of(
            known[target], Path("/cache"), tasks=tuple(known.values()), places=places, size=28
        )
        return {task.name: task.pretrain_splits for task in plan_pretraining(asked).sources}

    # The subset is of PathMNIST's test images, and its card allows them; all others give train.
    assert planned("retinamnist") == {"bccd-cells": ("train",), "pathmnist-subset": ("test",)}
    assert planned("breastmnist") == {"mednist-sample": ("train",), "pneumoniamnist": ("train",)}
    assert planned("pneumoniamnist") == {"breastmnist": ("train",), "mednist-sample": ("train",)}
    assert set(planned("chestmnist")) == {"breastmnist", "pneumoniamnist"}
    assert planned("bccd-cells") == {"pathmnist-subset": ("test",), "retinamnist": ("train",)}
    assert set(planned("pathmnist")) == {"bccd-cells", "retinamnist"}
