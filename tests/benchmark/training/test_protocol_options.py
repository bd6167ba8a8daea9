"""Options of protocols: checked before a run, resolved in the cell, and part of its key."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, cast

import msgspec
import pytest
import toys

from mednet_bench.benchmark.run.planner import build_plan, check_option_values
from mednet_bench.benchmark.schema.plan import Cell, OptionValue, PlannedCell, key_of, read_plan
from mednet_bench.benchmark.training import protocol
from mednet_bench.benchmark.training.protocol import (
    PROTOCOLS,
    BenchProtocol,
    EvalContext,
    NoProtocolOptions,
    version_of,
)
from mednet_bench.benchmark.training.protocol_options import cell_options, resolve_protocol_options
from mednet_bench.core.errors import UserError

FLAG = "--protocol-option"


@pytest.mark.parametrize(
    ("protocols", "given", "sentence"),
    [
        ("partial", {"partial": {"stages": "0"}}, f"{FLAG} partial.stages=0: expected `int` >= 1 ("),
        ("partial", {"partial": {"stages": "two"}}, "partial.stages=two: expected `int`, got `str` ("),
        ("partial", {"partial": {"stages": 1.5}}, "partial.stages=1.5: expected `int`, got `float` ("),
        ("partial", {"partial": {"stage": 1}}, "partial.stage=1: There is no protocol option 'stage'; did"),
        ("partial", {"partal": {"stages": 1}}, "There is no protocol 'partal'; did you mean 'partial'?"),
        ("lora", {"partial": {"stages": 1}}, "this run has no protocol partial; add it to --protocols"),
        ("lora", {"lora": {"rank": True}}, f"{FLAG} lora.rank=true: expected `int`, got `bool` ("),
        ("lora", {"lora": {"rank": "9" * 30}}, "expected `int` <= 1024"),
        ("lora", {"lora": {"alpha": "inf"}}, f"{FLAG} lora.alpha=inf: the value is no finite number ("),
        ("finetune", {"finetune": {"layer_decay": "1.1"}}, "expected `float` <= 1.0 (factor of the learning"),
        ("finetune", {"finetune": {"layer_decay": "x"}}, "expected `float`, got `str` ("),
        ("linear", {"linear": {"l2": 1}}, "There is no protocol option 'l2'; known: none."),
    ],
)  # fmt: skip
def test_a_wrong_option_is_refused_in_one_sentence_as_typed(
    protocols: str, given: dict[str, dict[str, object]], sentence: str, tmp_path: Path
) -> None:
    request = toys.run_config(tmp_path, protocols=protocols, protocol_option=given)
    with pytest.raises(UserError) as error:
        check_option_values(request)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def cells_of(tmp_path: Path, archs: str = toys.ARCH, **options: object) -> tuple[PlannedCell, ...]:
    task = toys.task_of(toys.Toy())
    request = msgspec.structs.replace(
        toys.run_config(tmp_path, inits="scratch", fractions="1.0", seeds="0", **options), archs=archs
    )
    resolved = build_plan(request, [task], [task], toys.NOWHERE)
    resolved.plan.write(tmp_path)
    read = read_plan(tmp_path)
    assert read and read.cells == resolved.plan.cells
    return read.cells


def test_cells_and_keys_contain_the_options_with_defaults(tmp_path: Path) -> None:
    usual = cells_of(tmp_path, protocols="partial,lora")
    assert [(planned.cell.step, planned.cell.protocol_label) for planned in usual] == [
        ("score", "partial (stages=1)"),
        ("score", "lora (rank=8 alpha=16)"),
    ]
    said = {"partial": {"stages": "1"}, "lora": {"alpha": "16", "rank": "8"}}
    assert cells_of(tmp_path, protocols="partial,lora", protocol_option=said) == usual
    other = cells_of(tmp_path, protocols="partial,lora", protocol_option={"partial": {"stages": 2}})
    changed = [new.key != old.key for new, old in zip(other, usual, strict=True)]
    assert changed == [True, False]
    assert len({planned.cell for planned in (*usual, *other)}) == 3  # cells are hashable


def test_a_protocol_without_options_keeps_its_cells_and_keys(tmp_path: Path) -> None:
    for planned in cells_of(tmp_path, protocols="finetune,linear,knn"):
        assert planned.cell.protocol_options is msgspec.UNSET
        assert b"options" not in msgspec.json.encode(planned.cell)
    # the keys of version 0.1: see tests/benchmark/schema
    cell = Cell(task="a", size=28, input_size=28, arch="b", init="c", protocol="finetune")
    assert key_of(cell) != key_of(msgspec.structs.replace(cell, protocol_options={"layer_decay": 0.75}))


def test_a_new_version_changes_the_keys_of_one_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cells_of(tmp_path, protocols="finetune,linear")
    monkeypatch.setattr(PROTOCOLS["linear"], "version", version_of(PROTOCOLS["linear"]) + 1)
    after = cells_of(tmp_path, protocols="finetune,linear")
    changed = {new.cell.protocol: new.key != old.key for new, old in zip(after, before, strict=True)}
    assert changed == {"finetune": False, "linear": True}
    plug_in = cast("BenchProtocol", SimpleNamespace(recipe_fields=(), frozen=True))  # it names no version
    cell = before[0].cell
    assert key_of(cell, protocol_version=version_of(plug_in)) == key_of(cell)


def test_layer_decay_is_for_vision_transformers_unless_an_option_says_otherwise(tmp_path: Path) -> None:
    def found(**values: object) -> list[object]:
        given = {"finetune": values} if values else {}
        cells = cells_of(tmp_path, archs=f"{toys.ARCH},test_vit", protocol_option=given)
        return [planned.cell.protocol_options for planned in cells]

    assert found() == [msgspec.UNSET, {"layer_decay": 0.75}]
    assert found(layer_decay="1") == [msgspec.UNSET, msgspec.UNSET]
    assert found(layer_decay=0.5) == [{"layer_decay": 0.5}] * 2


def test_the_prefixes_are_those_of_timms_plain_vision_transformers() -> None:
    import timm
    from timm.models import model_entrypoint

    from mednet_bench.benchmark.schema.budget import VIT_PREFIXES

    modules = {"beit", "eva", "naflexvit", "vision_transformer", "vision_transformer_sam"}
    plain = [
        name for name in timm.list_models() if model_entrypoint(name).__module__.split(".")[-1] in modules
    ]
    assert [name for name in plain if not name.startswith(VIT_PREFIXES)] == []
    others = [
        name for name in timm.list_models() if name.startswith(("swin", "resnet", "mobilevit", "vitamin"))
    ]
    assert others and not any(name.startswith(VIT_PREFIXES) for name in others)


class Foreign:
    """A protocol of another package, written before protocols had options."""

    recipe_fields = ()
    tunes = frozen = False
    score = work = None


class ForeignOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    trees: Annotated[int, msgspec.Meta(ge=1)]
    share: float = 1
    name: str = "x"


def test_a_foreign_protocol_has_options_or_none(tmp_path: Path) -> None:
    with PROTOCOLS.aside() as things:
        things["old"] = PROTOCOLS.add("old", Foreign())  # type: ignore[arg-type]
        PROTOCOLS.add("new", type("New", (Foreign,), {"options": ForeignOptions})())
        found = resolve_protocol_options({"new": {"trees": "3", "share": 2}}, ["old", "new"])
        assert found == {"old": NoProtocolOptions(), "new": ForeignOptions(trees=3, share=2.0)}
        assert cell_options("old", found["old"], "resnet18") is msgspec.UNSET
        options = cell_options("new", found["new"], "resnet18")
        assert options == {"trees": 3, "share": 2.0, "name": "x"}
        job = toys.Bench(toys.task_of(toys.Toy()), tmp_path).job("new")
        cell = msgspec.structs.replace(job.cell, protocol_options=options)
        assert cell.protocol_label == "new (trees=3 share=2 name=x)"
        assert replace(job, cell=cell).options == found["new"]
        assert isinstance(job, EvalContext)
        with pytest.raises(UserError, match="--protocol-option new: object missing required field `trees`"):
            resolve_protocol_options({}, ["new"])
        PROTOCOLS.add("lists", type("Lists", (Foreign,), {"options": ListOptions})())
        with pytest.raises(UserError, match="an option of protocol lists is no number, text or flag"):
            cell_options("lists", ListOptions(), "resnet18")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"decay": 0.75}, {"decay": 0.75000001}),  # `:g` writes both as 0.75
        ({"a": "x b=y", "b": "z"}, {"a": "x", "b": "y b=z"}),
        ({"a": None}, {"a": "None"}),
        ({"a": 1}, {"a": "1"}),
        ({"a": True}, {"a": "True"}),
    ],
)
def test_other_options_have_another_label(one: dict[str, OptionValue], other: dict[str, OptionValue]) -> None:
    cells = [
        Cell(task="a", size=28, input_size=28, arch="b", init="c", protocol="new", protocol_options=options)
        for options in (one, other)
    ]
    assert key_of(cells[0]) != key_of(cells[1])
    assert cells[0].protocol_label != cells[1].protocol_label


class TerseOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    trees: int = 3


def test_a_default_is_in_the_key_even_if_json_would_leave_it_out() -> None:
    with PROTOCOLS.aside() as things:
        things["terse"] = PROTOCOLS.add("terse", type("New", (Foreign,), {"options": TerseOptions})())
        assert cell_options("terse", TerseOptions(), "resnet18") == {"trees": 3}


def test_a_decay_is_refused_before_the_run_where_timm_lists_no_layers() -> None:
    check, kind = PROTOCOLS["finetune"].check_arch, PROTOCOLS["finetune"].options
    with pytest.raises(
        UserError, match=r"^pit_ti_224: --protocol-option finetune.layer_decay=0.5: timm lists"
    ):
        check("pit_ti_224", 224, kind(layer_decay=0.5))
    check("pit_ti_224", 224, kind())
    check("test_vit", 64, kind(layer_decay=0.5))


class ListOptions(msgspec.Struct, frozen=True):
    widths: tuple[int, ...] = (1, 2)


def test_the_protocol_of_the_documentation_trains_what_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "protocols.md").read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": __name__}
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], names)
    with PROTOCOLS.aside() as things:
        things.update(bias=PROTOCOLS.add("bias", names["bias"]))  # type: ignore[arg-type]
        job = toys.Bench(toys.task_of(toys.Toy()), tmp_path).job("bias")
        counts = []
        for scales in (False, True):
            cell = msgspec.structs.replace(job.cell, protocol_options={"scales": scales})
            counts.append(PROTOCOLS["bias"].score(replace(job, cell=cell)).parameters)
    assert 0 < counts[0] < counts[1] < 10_000
    for name in ("partial", "lora", "finetune"):
        for field in msgspec.structs.fields(PROTOCOLS[name].options):
            assert f"| `{name}.{field.name}` |" in page, "every option is documented"


def test_options_that_are_no_struct_make_a_plug_in_faulty() -> None:
    assert protocol._fault("old", Foreign()) == ""
    wrong = type("Wrong", (Foreign,), {"options": {"stages": 1}})()
    assert protocol._fault("wrong", wrong) == "gives a protocol whose options are no msgspec.Struct class"


def test_a_protocol_of_version_0_1_that_tunes_is_refused_with_the_change_to_make() -> None:
    tuning = type("Tuning", (Foreign,), {"tunes": True})()
    assert "`tunes`, which is gone: choose in `score`" in protocol._fault("old", tuning)
