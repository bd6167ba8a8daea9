"""The cards of public checkpoints: one contract for all, their names, groups and files."""

import argparse
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import timm
import torch
import toys
from click.testing import CliRunner
from safetensors.torch import save_file

import mednet_bench
from mednet_bench.baselines.init import InitCard, InitRequest
from mednet_bench.baselines.naming import pair_with_archs, read_inits
from mednet_bench.baselines.timm_tags import declare_tag
from mednet_bench.baselines.weights import layout
from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.weights.load_state_dict import read_tensors
from mednet_bench.baselines.zoo.card import ZooCard, find_zoo_card, zoo_cards, zoo_groups
from mednet_bench.baselines.zoo.files import missing_clause, page_of, remote_file
from mednet_bench.benchmark.run.new_record import init_facts
from mednet_bench.benchmark.run.planner import check_zoo_layouts, requested_pairs
from mednet_bench.benchmark.run.preflight import weights_warnings
from mednet_bench.benchmark.run.resolve import resolve_request
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.databases.tables import databases, sets_without_row
from mednet_bench.tasks.task import TASKS, UNDECLARED

ZOO_PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"
CATALOG = {*databases(), *sets_without_row(), UNDECLARED}
ADDRESS = r"https?://[\w.-]+/\S*"


@pytest.mark.parametrize("card", zoo_cards().values(), ids=lambda card: card.name)
def test_every_card_keeps_the_contract(card: ZooCard) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", card.name) and card.name not in zoo_groups()
    assert card.title and len(card.title) <= 110 and not card.title.endswith(".")
    assert timm.is_model(card.arch) and "." not in card.arch
    assert card.layout in {"", *layout.LAYOUTS}
    assert card.corpora and set(card.corpora) <= CATALOG, (
        "add it to tasks/databases/outside.csv, with what it is"
    )
    assert card.objective and card.images_of
    assert re.fullmatch(r"[A-Za-z0-9.+-]*", card.license), "an SPDX id, or LicenseRef-NAME"
    assert re.fullmatch(r"([0-9a-f]{64})?", card.sha256)
    assert len(set(card.recalled)) == len(card.recalled)
    assert card.hub or card.url or card.page, "say where a person finds it"
    assert not card.hub or re.fullmatch(r"[\w.-]+/[\w.-]+", card.hub)
    assert all(re.fullmatch(ADDRESS, each) for each in (card.url, card.page) if each)
    assert not (card.hub and card.url), "one source"
    assert not card.started_from.startswith("zoo/") or card.started_from.removeprefix("zoo/") in zoo_cards()
    assert page_of(card) and card.init in missing_clause(card)
    remote = remote_file(card)
    assert remote is None or remote.url.endswith(f"/{card.path}")
    assert remote is not None or "by hand" in missing_clause(card)
    assert card.input_size and all(std > 0 for std in card.input.std)
    with torch.device("meta"):
        build_backbone(card.arch, card.input_size, args=card.arch_args)


def test_cards_of_timms_weights_say_what_timm_says() -> None:
    checked = 0
    for card in zoo_cards().values():
        if not card.hub.startswith("timm/"):
            continue
        cfg = timm.get_pretrained_cfg(card.hub.removeprefix("timm/"))
        assert cfg is not None
        declared = declare_tag(cfg)
        assert (card.corpora, card.objective, card.license) == (
            declared.corpora, declared.objective, declared.license,
        ), card.name  # fmt: skip
        assert (card.input.mean, card.input.std, card.input_size) == (cfg.mean, cfg.std, cfg.input_size[-1])
        checked += 1
    assert checked > 15


def test_enough_checkpoints_have_cards() -> None:
    medical = [card for card in zoo_cards().values() if card.images_of != "natural"]
    assert len(medical) >= 40
    rows = page_rows()
    new = {name for _, loaded, names, _ in rows if loaded == "no" for name in names}
    assert len(new & {card.name for card in medical}) >= 20


def page_rows() -> list[tuple[str, str, list[str], str]]:
    """Return checkpoint, whether version 0.1 loads it, its cards and the rest of the cell, row by row."""
    found = re.findall(
        r"^\| (.+?) \| .+? \| (yes|no|untested) \| (.*) \|$", ZOO_PAGE.read_text(encoding="utf-8"), re.M
    )
    return [
        (name, loaded, re.findall(r"`([\w-]+)`", cell), re.sub(r"`[\w-]+`[,;]? ?", "", cell).strip())
        for name, loaded, cell in found
    ]


def test_every_checkpoint_of_the_list_has_a_card_or_a_reason() -> None:
    rows = page_rows()
    assert len(rows) == len({name for name, *_ in rows}) == 83
    without = [name for name, _, cards, reason in rows if not cards and len(reason) < 20]
    assert without == []
    named = [card for _, _, cards, _ in rows for card in cards]
    assert sorted(named) == sorted(zoo_cards())


@pytest.fixture
def need(tmp_path: Path) -> InitRequest:
    return toys.need_of(toys.task_of(toys.Toy()), tmp_path / "cache", arch="resnet50")


def write_weights(path: Path, card: ZooCard) -> Path:
    """Write random weights of a card's network under timm's names."""
    torch.manual_seed(0)
    state = build_backbone(card.arch, card.input_size, args=card.arch_args).state_dict()
    torch.save(state, path)
    return path


def resolved(words: str, need: InitRequest) -> dict[str, InitCard]:
    return {named.name: named(need) for named in read_inits(words.split(","))}


def test_a_file_behind_a_firewall_gets_all_facts_of_its_card(need: InitRequest, tmp_path: Path) -> None:
    card = find_zoo_card("lunit-bt")
    file = write_weights(tmp_path / "own.torch", card)
    found = resolved(f"zoo/lunit-bt={file},meanvar:zoo/lunit-bt", need)
    init = found["zoo/lunit-bt"]
    assert init.file == file and init.contract == card.input and init.label == card.title
    assert (init.corpora, init.pretraining_images, init.license) == (card.corpora, 19_000_000, card.license)
    assert found["meanvar:zoo/lunit-bt"].source == init
    facts = init_facts(init, need.task)
    assert (facts.origin, facts.objective) == ("", "self-supervised Barlow Twins")
    loaded = load_backbone(init, card.arch, 64, 0).module.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in read_tensors(file).items())


def test_arguments_of_the_arch_build_the_network_of_the_card(need: InitRequest, tmp_path: Path) -> None:
    card = find_zoo_card("dinobloom-s14")  # position table for 224 px in a network of 518 px
    file = write_weights(tmp_path / "own.pth", card)
    init = resolved(f"zoo/dinobloom-s14={file}", replace(need, arch=card.arch))["zoo/dinobloom-s14"]
    model = load_backbone(init, card.arch, 56, 0).module.eval()
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 56, 56)).shape == (1, 384)
    other = load_backbone(replace(init, arch_args=()), card.arch, 56, 0)  # found from the table, and said
    assert other.notes == ("its position table is of 16x16 tokens (224 px) and is resampled to 4x4 (56 px)",)
    with torch.inference_mode():
        images = torch.rand(1, 3, 56, 56)
        assert torch.equal(other.module.eval()(images), model(images))
    with pytest.raises(UserError, match="correct arch_args in the card"):
        load_backbone(replace(init, arch_args=(("no_such", 1),)), card.arch, 56, 0)
    assert replace(init, arch_args=()).decisive != init.decisive


def test_one_of_several_state_dicts_is_chosen_behind_the_file(need: InitRequest, tmp_path: Path) -> None:
    card = find_zoo_card("lunit-bt")
    state = torch.load(write_weights(tmp_path / "own.torch", card))
    ema = {name: tensor + 1 for name, tensor in state.items()}
    content = {"state_dict": state, "model_ema": ema, "hyper_parameters": argparse.Namespace(lr=0.1)}
    torch.save(content, tmp_path / "both.ckpt")
    words = [f"zoo/lunit-bt={tmp_path}/both.ckpt{name}" for name in ("", "#model_ema")]
    inits = [resolved(word, need)["zoo/lunit-bt"] for word in words]
    with pytest.raises(UserError, match=r"state_dict \(.*model_ema \(.*--state-dict NAME.*zoo/...=FILE#NAME"):
        load_backbone(inits[0], card.arch, 64, 0)
    loaded = load_backbone(inits[1], card.arch, 64, 0).module.state_dict()
    assert torch.equal(loaded["conv1.weight"], state["conv1.weight"] + 1)
    assert inits[0].identity != inits[1].identity


WRONG = {
    "zoo/lunit-btt": "did you mean 'lunit-bt'?",
    "zoo/vit_small_patch16_224=x.pth": "is a group: name one of its checkpoints",
    "meanvar:zoo/gray": "is a group: name one of its checkpoints",
    "zoo/lunit-bt": "zoo/lunit-bt is not on this machine: run `mednet-bench download zoo/lunit-bt`",
    "zoo/uni": "pass --archs vit_large_patch16_224",
    "zoo/lunit-bt=/nowhere/x.pth": "correct the path of zoo/lunit-bt=FILE",
    "imagenet/no_such": "There is no tag of timm's weights for resnet50 called 'no_such'",
    "imagenet/tv_in1k=/nowhere/x.pth": "correct the path of imagenet/tv_in1k=PATH",
    "mednet/small": "There is no init 'mednet/small'",
}


@pytest.mark.parametrize("words", WRONG)
def test_what_cannot_be_had_is_said_in_one_sentence(
    words: str, need: InitRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path))
    with pytest.raises(UserError) as refusal:
        resolved(words, need)
    assert WRONG[words] in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_changed_file_is_refused(
    need: InitRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path))
    folder = tmp_path / "zoo" / "lunit-bt"
    folder.mkdir(parents=True)
    (folder / "bt_rn50_ep200.torch").write_bytes(b"changed")
    assert resolved("zoo/lunit-bt", need)["zoo/lunit-bt"].file == folder / "bt_rn50_ep200.torch"
    (folder / "bt_rn50_ep200.torch.sha256").write_text("0" * 64)
    with pytest.raises(UserError, match=r"is not the file of zoo/lunit-bt .*delete it and run"):
        resolved("zoo/lunit-bt", need)


def test_groups_hold_the_cards_of_a_color_and_of_an_arch() -> None:
    groups, cards = zoo_groups(), zoo_cards()
    assert {cards[name].arch for name in groups["resnet50"]} == {"resnet50"}
    assert set(groups["gray"]) & set(groups["color"]) == {n for n in cards if cards[n].images_of == "mixed"}
    assert not any(cards[name].images_of == "natural" for name in (*groups["gray"], *groups["color"]))
    named = read_inits(["zoo/lunit-bt", "zoo/color", "zoo/resnet50", "scratch"])
    names = [init.name for init in named]
    assert len(names) == len(set(names)) == len({*groups["color"], *groups["resnet50"]}) + 1
    assert named[0].group == "" and named[-1].name == "scratch"


def pairs(inits: str, archs: str) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    paired = pair_with_archs(read_inits(inits.split(",")), archs.split(","))
    return [(arch, init.name) for arch, init in paired.pairs], paired.left_out


def test_a_checkpoint_is_used_with_its_own_arch_only() -> None:
    found, left_out = pairs("zoo/lunit-bt,zoo/lunit-dino,scratch", "resnet50,vit_small_patch16_224")
    assert found == [
        ("resnet50", "zoo/lunit-bt"), ("resnet50", "scratch"),
        ("vit_small_patch16_224", "zoo/lunit-dino"), ("vit_small_patch16_224", "scratch"),
    ]  # fmt: skip
    assert left_out == ("on one arch only: zoo/lunit-bt (resnet50), zoo/lunit-dino (vit_small_patch16_224).",)
    found, left_out = pairs("zoo/color", "resnet50")
    assert {arch for arch, _ in found} == {"resnet50"} and ("resnet50", "zoo/lunit-swav") in found
    assert "left out, being of other archs" in left_out[0] and " more." in left_out[0]
    with pytest.raises(UserError, match=r"is that of zoo/lunit-dino \(vit_small_patch16_224\): pass --archs"):
        pairs("zoo/lunit-dino,scratch", "resnet50,resnet18")
    with pytest.raises(UserError, match="zoo/gray"):
        pairs("zoo/gray", "swin_tiny_patch4_window7_224")


def test_tags_of_one_arch_pair_whichever_way_they_are_named() -> None:
    arch = "vit_base_patch16_224"
    names = ["imagenet/dino", "imagenet/mae", "scratch"]
    assert pairs(",".join(names), arch)[0] == [(arch, name) for name in names]
    found, _ = pairs("imagenet,continued@64,partial:imagenet:2,scratch", f"{arch}.dino,{arch}.mae")
    assert found == [
        (arch, name) for name in (
            "imagenet/dino", "continued/dino@64", "partial:imagenet/dino:2", "scratch",
            "imagenet/mae", "continued/mae@64", "partial:imagenet/mae:2",
        )
    ]  # fmt: skip
    with pytest.raises(UserError, match="did you mean 'dino'"):
        pairs("scratch", f"{arch}.dinoo")


def test_a_tag_decides_name_label_corpora_and_license(need: InitRequest, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.safetensors" for name in ("a", "b", "c")}
    for file in files.values():
        file.write_bytes(b"weights")
    need = replace(need, arch="vit_base_patch16_224")
    a, b, c = files.values()
    cards = resolved(f"imagenet/mae={a},imagenet/augreg_in21k={b},imagenet={c}", need)
    mae, in21k, default = cards.values()
    assert (mae.name, mae.objective, mae.license) == ("imagenet/mae", "self-supervised MAE", "cc-by-nc-4.0")
    assert (in21k.corpora, in21k.contract.mean) == (("imagenet-21k",), (0.5, 0.5, 0.5))
    assert "tag augreg2_in21k_ft_in1k" in default.label and default.name == "imagenet"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    return RunConfig(
        tasks=("phantom-organ",), archs=("resnet50",), protocols=("linear",), seeds=(0,), fractions=(1.0,),
        download=False, out=str(tmp_path / "run"),
    )  # fmt: skip


def test_missing_weights_and_unknown_layouts_are_named_before_the_first_cell(config: RunConfig) -> None:
    with pytest.raises(UserError) as error:
        resolve_request(config.with_options({"inits": "zoo/lunit-bt,zoo/lunit-swav,zoo/gastronet-5m-dino"}))
    assert "3 of 3 checkpoints are missing" in str(error.value)
    assert "zoo/gastronet-5m-dino must be fetched by hand" in str(error.value)
    with pytest.raises(UserError, match=r"zoo/odd \(no-such\) cannot be read by this version"):
        odd = zoo_cards() | {"odd": zoo_cards()["lunit-bt"]}
        with pytest.MonkeyPatch.context() as patch:
            import msgspec

            card = msgspec.structs.replace(odd["odd"], name="odd", layout="no-such")
            patch.setattr("mednet_bench.baselines.zoo.card.zoo_cards", lambda: odd | {"odd": card})
            check_zoo_layouts(requested_pairs(config.with_options({"inits": "zoo/odd"})))


def test_members_of_a_group_whose_files_cannot_be_had_are_left_out_by_name(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    config = config.with_options({"inits": "zoo/resnet50,scratch", "data_root": str(tmp_path)})
    with pytest.raises(UserError, match="No checkpoint of zoo/resnet50 can be had"):
        requested_pairs(config)  # downloads are off, and no file is here
    card = find_zoo_card("lunit-bt")
    (tmp_path / "zoo" / card.name).mkdir(parents=True)
    (tmp_path / "zoo" / card.name / card.path).write_bytes(b"weights")
    here = requested_pairs(config)
    assert [init.name for _, init in here.pairs] == ["zoo/lunit-bt", "scratch"]
    online = requested_pairs(config.with_options({"download": True}))
    names = {init.name for _, init in online.pairs}
    assert {"zoo/lunit-bt", "zoo/lunit-swav", "zoo/resnet50-tv"} <= names and "zoo/benchx-gloria" not in names
    assert "left out of their groups" in online.left_out[0] and "zoo/benchx-gloria" in online.left_out[0]


def test_restricted_and_recalled_weights_are_named_before_the_first_cell(
    config: RunConfig, tmp_path: Path
) -> None:
    file = write_weights(tmp_path / "own.torch", find_zoo_card("lunit-bt"))
    inits = f"zoo/lunit-bt={file},zoo/dino-resnet50={file},scratch"
    said = weights_warnings(
        resolve_request(config.with_options({"inits": inits, "archs": "resnet50,resnet18"}))
    )
    assert said == [
        "on one arch only: zoo/lunit-bt (resnet50), zoo/dino-resnet50 (resnet50).",
        "zoo/lunit-bt: no commercial use, or no derivatives (LicenseRef-Lunit-non-commercial).",
        "zoo/dino-resnet50: from memory, not read at the source: input, license, images.",
    ]


def test_recalled_corpora_make_contamination_possible_and_not_established(tmp_path: Path) -> None:
    chest = TASKS["chestmnist"]
    seen = InitCard(name="a", label="", identity="", file=tmp_path, corpora=("nih-chestxray14", "chexpert"))
    recalled = replace(seen, recalled=("corpora",))
    assert init_facts(seen, chest).overlap == ("nih-chestxray14",) and not init_facts(seen, chest).possible
    facts = init_facts(recalled, chest)
    assert facts.overlap == () and facts.recalled == ("corpora",)
    assert len(facts.possible) == 1 and "is recalled, not read" in facts.possible[0]
    assert init_facts(replace(seen, recalled=("license",)), chest).overlap  # another field is no matter


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["ls", "inits"], ["zoo/rad-dino", "zoo/gray (", "imagenet/TAG"]),
        (["info", "zoo/rad-dino"], ["chexpert", "(from memory)", "download zoo/rad-dino"]),
        (["info", "zoo/torchxrayvision-all"], ["in_chans=1", "mean 0.5, std", ", gray, "]),
        (["info", "imagenet/mae"], ["cc-by-nc-4.0", "vit_base_patch16_224", "self-supervised MAE"]),
        (["info", "zoo/rad-dino", "--format", "json"], ['"recalled"', '"home"']),
        (["ls", "inits", "--format", "json"], ['"checkpoints"', '"available"']),
    ],
)
def test_commands_show_inits(words: list[str], parts: list[str]) -> None:
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert all(each in result.output for each in parts)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("zoo/rad-dini", "did you mean 'rad-dino'"),
        ("zoo/gray", ": name one of zoo/"),
        ("imagenet/dinoo", "did you mean 'dino'"),
    ],
)
def test_info_suggests_the_nearest_name(name: str, sentence: str) -> None:
    result = CliRunner().invoke(cli, ["info", name])
    assert isinstance(result.exception, UserError) and sentence in str(result.exception)


@pytest.mark.slow
def test_inits_of_one_arch_pair_in_a_run_and_leave_their_facts_in_the_records(
    config: RunConfig, tmp_path: Path
) -> None:
    first, second = (tmp_path / f"{name}.safetensors" for name in "ab")
    for seed, file in enumerate((first, second)):
        torch.manual_seed(seed)
        save_file(build_backbone("resnet18", 64).state_dict(), file)
    inits = f"imagenet={first},zoo/resnet18-tv={second},scratch"
    ran = config.with_options(
        {"inits": inits, "archs": "resnet18.tv_in1k", "seeds": (0, 1), "report": False, "input_size": 32}
    )
    results = mednet_bench.run(ran)
    assert not results.failed
    pairs = {frozenset(pair) for pair in results.verdicts()[["init_a", "init_b"]].to_numpy().tolist()}
    assert pairs == {
        frozenset(pair) for pair in combinations(("imagenet/tv_in1k", "zoo/resnet18-tv", "scratch"), 2)
    }
    facts = {record.cell.init: record.init for record in RecordStore(ran.folder).read_all()}
    zoo = facts["zoo/resnet18-tv"]
    assert zoo and (zoo.pretraining_images, zoo.license) == (1_281_167, "bsd-3-clause")
    assert zoo.recalled == ("images",)
    assert facts["imagenet/tv_in1k"] and "tag tv_in1k" in facts["imagenet/tv_in1k"].label
