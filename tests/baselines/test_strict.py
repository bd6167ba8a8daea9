"""Weights load totally or fail: a planted fault gives one sentence that names both sides.

The papers that this benchmark wants to correct were often wrong here: half-loaded networks, a missing
checkpoint replaced by random weights, and a table that called the result "medical pretraining".
"""

import hashlib
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from safetensors.torch import load_file, save_file
from torch import Tensor

from mednet_bench.baselines.init import InitCard
from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.baselines.weights.checkpoint import from_checkpoint
from mednet_bench.baselines.weights.inspect import inspect_checkpoint
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.baselines.weights.load_state_dict import load_total, read_tensors, rename_by_order
from mednet_bench.core.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")

State = dict[str, Tensor]
STEM = "conv_stem.weight"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.write_weights(tmp_path_factory.mktemp("weights") / "whole.safetensors")


def resolve(card: Path, task: toys.Toy | None = None, **need: object) -> InitCard:
    target = toys.task_of(task or toys.Toy())
    return from_checkpoint("mednet", card, toys.need_of(target, card.parent, **need))


def load(card: Path) -> torch.nn.Module:
    """The whole way from `--inits mednet=CARD` to a network."""
    return load_backbone(resolve(card), toys.ARCH, 16, seed=0).module


def planted(tmp_path: Path, weights: Path, change: Callable[[State], State]) -> Path:
    """The card of a changed copy of the weights, with the hash of the copy."""
    file = tmp_path / "weights.safetensors"
    save_file(change(load_file(weights)), file)
    return toys.write_card(tmp_path, file)


def refusal(action: Callable[[], object]) -> str:
    """The message, of one sentence, of the error that an action ends with."""
    with pytest.raises(UserError) as error:
        action()
    message = str(error.value)
    assert "\n" not in message and message.endswith((".", "?"))
    return message


def test_every_tensor_that_is_loaded_is_the_tensor_of_the_file(tmp_path: Path, weights: Path) -> None:
    module = load(planted(tmp_path, weights, lambda state: state))
    loaded, file = module.state_dict(), load_file(weights)
    assert loaded.keys() == file.keys()
    assert all(torch.equal(loaded[name], file[name]) for name in file)
    # and not by chance: another seed's random weights differ
    assert not torch.equal(build_backbone(toys.ARCH, 16).state_dict()[STEM], file[STEM])


def renamed(state: State) -> State:
    return {("conv_stern.weight" if name == STEM else name): value for name, value in state.items()}


def cut(state: State) -> State:
    return {**state, STEM: state[STEM][:, :1].contiguous()}


FAULTS: dict[str, tuple[Callable[[State], State], tuple[str, ...]]] = {
    "one tensor renamed": (renamed, (f"1 missing ({STEM})", "1 left over (conv_stern.weight)")),
    "one tensor missing": (
        lambda state: {name: value for name, value in state.items() if name != STEM},
        (f"1 missing ({STEM})",),
    ),
    "one tensor too many": (
        lambda state: {**state, "conv_extra.weight": torch.zeros(3)},
        ("1 left over (conv_extra.weight)",),
    ),
    "one tensor of another shape": (
        cut,
        ("1 of another shape", STEM, " (24, 1, 3, 3) instead of (24, 3, 3, 3)"),
    ),
    "a prefix that is not known before every name": (
        lambda state: {f"mine.{name}": value for name, value in state.items()},
        ("missing (conv_stem.weight", "left over (mine.", ", ...)"),
    ),
    "statistics of batch norm left away": (
        lambda state: {name: value for name, value in state.items() if "running_mean" not in name},
        ("missing", "running_mean"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_weights_that_do_not_fit_name_what_is_wrong_on_either_side(
    fault: str, tmp_path: Path, weights: Path
) -> None:
    change, wanted = FAULTS[fault]
    card = planted(tmp_path, weights, change)
    message = refusal(lambda: load(card))
    assert all(part in message for part in (*wanted, "weights.safetensors"))


def test_a_fault_leaves_the_network_as_it_was(weights: Path) -> None:
    # load_state_dict copies tensor by tensor: an error in the middle must not leave half of a network
    model = build_backbone(toys.ARCH, 16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError):
        load_total(model, renamed(load_file(weights)), (), "test")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_classifier_alone_is_excused(tmp_path: Path, weights: Path) -> None:
    with_classifier = planted(
        tmp_path,
        weights,
        lambda state: {**state, "classifier.weight": torch.zeros(9, 256), "classifier.bias": torch.zeros(9)},
    )
    assert load(with_classifier)
    almost = planted(tmp_path, weights, lambda state: {**state, "classifier2.weight": torch.zeros(9)})
    with pytest.raises(UserError, match=r"1 left over \(classifier2\.weight\)"):
        load(almost)


def test_a_card_may_name_its_own_classifier(tmp_path: Path, weights: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file({**load_file(weights), "my_head.weight": torch.zeros(9, 256)}, file)
    assert load(toys.write_card(tmp_path, file, excused=["my_head."]))
    with pytest.raises(UserError, match=r"left over \(my_head\.weight\)"):
        load(toys.write_card(tmp_path, file))


@pytest.mark.parametrize("excused", [[""], ["conv"], [STEM]])
def test_no_card_can_excuse_a_tensor_that_the_network_needs(
    excused: list[str], tmp_path: Path, weights: Path
) -> None:
    # or a slip in `excused` would leave random weights in the backbone, the very thing that must not happen
    file = tmp_path / "weights.safetensors"
    save_file({name: value for name, value in load_file(weights).items() if name != STEM}, file)
    with pytest.raises(UserError, match=r"1 missing \(conv_stem\.weight\)"):
        load(toys.write_card(tmp_path, file, excused=excused))


def test_weights_of_another_arch_are_refused_before_they_are_loaded(tmp_path: Path) -> None:
    card = toys.write_card(tmp_path, arch="resnet50")
    message = refusal(lambda: load(card))
    assert "resnet50" in message and toys.ARCH in message and "--archs resnet50" in message


def test_a_card_that_lies_about_its_arch_is_found_out_by_the_tensors(tmp_path: Path) -> None:
    file = toys.write_weights(tmp_path / "weights.safetensors", arch="test_resnet")
    message = refusal(lambda: load(toys.write_card(tmp_path, file)))
    assert "missing (conv_stem.weight" in message and "left over" in message


def test_a_network_of_the_other_color_is_refused(tmp_path: Path) -> None:
    card = toys.write_card(tmp_path, variant="color")
    assert resolve(card, toys.Toy(variant="color"))
    message = refusal(lambda: resolve(card, toys.Toy(variant="gray")))
    assert "color" in message and "toy is gray" in message


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("kept", [0, 10, 1000, 0.5, 0.999])
def test_a_file_that_was_cut_short_is_called_damaged(suffix: str, kept: float, tmp_path: Path) -> None:
    whole = toys.write_weights(tmp_path / "whole.safetensors")
    file = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        file.write_bytes(whole.read_bytes())
    else:
        torch.save(load_file(whole), file)
    os.truncate(file, int(kept if kept >= 1 or kept == 0 else kept * file.stat().st_size))
    message = refusal(lambda: load(toys.write_card(tmp_path, file)))
    assert str(file) in message and "damaged" in message


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_flipped_bytes_are_called_damage_or_need_of_code_and_never_a_traceback(
    zipped: bool, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"a": torch.zeros(3), "b": torch.ones(4)}, file, _use_new_zipfile_serialization=zipped)
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.integers(len(content), size=3):
            content[place] = rng.integers(256)
        file.write_bytes(content)
        try:
            read_tensors(file)  # a flipped pixel of a weight is the hash's affair
        except UserError as error:
            refused += 1
            assert str(file) in str(error)
    assert refused > 20


class _Code:
    """What an attacker puts into a pickle: a call that runs while it is read."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.mkdir, (str(self.proof),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(how: str, tmp_path: Path) -> None:
    file, proof = tmp_path / "weights.pth", tmp_path / "proof"
    if how == "torch":
        torch.save({"a": torch.zeros(1), "b": _Code(proof)}, file)
    else:
        file.write_bytes(pickle.dumps(_Code(proof)))
    message = refusal(lambda: load(toys.write_card(tmp_path, file)))
    assert str(file) in message and "code" in message
    assert not proof.exists()
    torch.load(file, weights_only=False) if how == "torch" else pickle.loads(file.read_bytes())
    assert proof.exists()  # the attack is a real one


def test_a_file_without_tensors_is_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"weights": [1, 2, 3]}, file)
    with pytest.raises(UserError, match="state_dict"):
        load(toys.write_card(tmp_path, file))


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_the_usual_wrappings_are_unpacked(wrapper: str | None, tmp_path: Path, weights: Path) -> None:
    state, file = load_file(weights), tmp_path / "weights.pth"
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, file)
    assert read_tensors(file).keys() == state.keys()


def test_another_file_than_the_card_describes_is_refused(tmp_path: Path, weights: Path) -> None:
    card = planted(tmp_path, weights, lambda state: state)
    wrong = toys.write_card(tmp_path, tmp_path / "weights.safetensors", sha256="0" * 64)
    with pytest.raises(UserError, match="does not hash to the sha256"):
        load(wrong)
    # changed between the start of a run and the cell that loads it
    card = toys.write_card(tmp_path, tmp_path / "weights.safetensors")
    resolved = resolve(card)
    toys.write_weights(tmp_path / "weights.safetensors", seed=8)
    message = refusal(lambda: load_backbone(resolved, toys.ARCH, 16, seed=0))
    digest = hashlib.sha256((tmp_path / "weights.safetensors").read_bytes()).hexdigest()
    assert digest[:12] in message and resolved.sha256[:12] in message


def test_weights_that_are_gone_are_not_replaced_by_random_ones(tmp_path: Path) -> None:
    card = resolve(toys.write_card(tmp_path))
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(UserError, match="are not at"):
        load_backbone(card, toys.ARCH, 16, seed=0)


def test_the_proof_of_what_was_loaded_is_its_hash_or_the_seed(tmp_path: Path) -> None:
    card = resolve(toys.write_card(tmp_path))
    digest = hashlib.sha256((tmp_path / "weights.safetensors").read_bytes()).hexdigest()
    assert load_backbone(card, toys.ARCH, 16, seed=0).weights == f"sha256:{digest}"
    assert load_backbone(toys.RANDOM, toys.ARCH, 16, seed=3).weights == "random:3"


def test_random_weights_depend_on_the_seed_alone() -> None:
    first, again, other = (
        load_backbone(toys.RANDOM, toys.ARCH, 16, seed).module.state_dict() for seed in (3, 3, 4)
    )
    torch.rand(5)  # whatever else draws
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first[STEM], other[STEM])


def test_renaming_by_order_needs_equal_numbers_and_shapes() -> None:
    file = {"a": torch.zeros(2), "b": torch.ones(3)}
    names = {"x": torch.empty(2), "y": torch.empty(3)}
    assert rename_by_order(file, names, "test").keys() == names.keys()
    assert rename_by_order(file, names, "test")["y"] is file["b"]
    with pytest.raises(UserError, match="2 tensors for 1"):
        rename_by_order(file, {"x": torch.empty(2)}, "test")
    with pytest.raises(UserError, match="b / y"):
        rename_by_order(file, {**names, "y": torch.empty(4)}, "test")


CARD_FAULTS: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "unknown key": ({"sha265": "0"}, ("sha265", "did you mean 'sha256'?")),
    "missing key": ({"corpora": None}, ("corpora",)),
    "wrong type": ({"corpora": "radimagenet"}, ("corpora",)),
}


@pytest.mark.parametrize("fault", CARD_FAULTS)
def test_a_wrong_card_is_named_with_its_file_and_key(fault: str, tmp_path: Path) -> None:
    facts, wanted = CARD_FAULTS[fault]
    card = toys.write_card(tmp_path, **facts)
    message = refusal(lambda: resolve(card))
    assert all(part in message for part in (str(card), *wanted))


def test_a_wrong_key_of_the_input_contract_is_named_too(tmp_path: Path) -> None:
    card = toys.write_card(tmp_path)
    card.write_text(card.read_text() + '\ninterpolation = "lanczos"')
    with pytest.raises(UserError, match="interpolation"):
        resolve(card)
    card.write_text(card.read_text().replace("interpolation", "resize"))
    with pytest.raises(UserError, match="resize"):
        resolve(card)


def test_a_missing_card_is_shown_how_it_should_look(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        resolve(tmp_path / "nothing.toml")
    assert str(tmp_path / "nothing.toml") in str(error.value) and "sha256 = " in error.value.example
    weights = toys.write_weights(tmp_path / "alone.safetensors")  # weights without a card
    with pytest.raises(UserError, match=r"no card at .*alone\.toml"):
        resolve(weights)


def test_a_card_whose_weights_are_elsewhere_names_where_it_looked(tmp_path: Path) -> None:
    card = toys.write_card(tmp_path)
    card.write_text(card.read_text().replace("weights.safetensors", "moved.safetensors"))
    with pytest.raises(UserError, match=r"moved\.safetensors"):
        resolve(card)


def test_the_weights_may_be_named_in_place_of_their_card(tmp_path: Path) -> None:
    card = toys.write_card(tmp_path)
    assert resolve(tmp_path / "weights.safetensors") == resolve(card)


def test_a_folder_means_the_card_in_it_or_that_of_the_task_s_color(tmp_path: Path) -> None:
    (tmp_path / "gray").mkdir()
    card = toys.write_card(tmp_path / "gray").rename(tmp_path / "gray" / "card.toml")
    assert resolve(tmp_path / "gray") == resolve(card)
    assert resolve(tmp_path) == resolve(card)
    with pytest.raises(UserError, match=r"color.card\.toml"):
        resolve(tmp_path, toys.Toy(variant="color"))


PAGE = b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
S3 = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 46830571\n"
KINDS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "Git LFS pointer": (POINTER, ("Git LFS pointer", "git lfs pull")),
    "git-annex pointer": (b"/annex/objects/SHA256E-s9--ab.pth\n", ("git-annex", "git annex get")),
    "web page": (PAGE, ("web page", "download the file itself")),
    "long web page, cut inside a letter": (b"<html>" + "\u00e9".encode() * 4000, ("web page",)),
    "XML error": (S3, ("XML text", "download the file itself")),
    "JSON error": (b'{"error": "Repository not found"}', ("JSON text", "download the weights")),
    "plain text": (b"404: Not Found", ("is a text", "download the file itself")),
    "empty": (b"", ("empty", "fetch it again")),
    "zeros": (b"\0" * 5000, ("nothing but zeros", "fetch it again")),
    "gzip": (b"\x1f\x8b\x08" + b"\7" * 99, ("gzip archive", "unpack it")),
    "foreign zip": (b"", ("ZIP archive", "unpack it")),
    "cut zip": (b"PK\x03\x04" + b"\7" * 99, ("damaged", "fetch it again")),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + b"\7" * 99, ("HDF5", "Keras")),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".bin", ".ckpt"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_no_checkpoint_is_named_for_what_it_is(
    kind: str, suffix: str, tmp_path: Path, weights: Path
) -> None:
    content, wanted = KINDS[kind]
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(content)
    if kind == "foreign zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("README.txt", "hello")
    # the card is of the sound file, in whose place the other came
    card = toys.write_card(tmp_path, file, sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    for message in (refusal(lambda: read_tensors(file)), refusal(lambda: resolve(card))):
        assert all(part in message for part in (str(file), *wanted))
        assert "trust" not in message and "Sign in" not in message and "AccessDenied" not in message


def test_a_checkpoint_under_the_other_kind_s_suffix_is_named(tmp_path: Path, weights: Path) -> None:
    misnamed = tmp_path / "weights.pth"
    misnamed.write_bytes(weights.read_bytes())
    with pytest.raises(UserError, match=r"end in \.safetensors"):
        read_tensors(misnamed)
    torch.save(load_file(weights), tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=r"end in \.pth"):
        read_tensors(tmp_path / "weights.safetensors")


def several(folder: Path, weights: Path, first: str, second: str) -> Path:
    """A file with two state dicts beside the state of an optimizer and of a loss."""
    state = load_file(weights)
    optimizer = {"state": {0: {"step": torch.ones(1)}}, "param_groups": []}
    content: dict[str, Any] = {"epoch": 3, "optimizer": optimizer, "loss": {"center": torch.zeros(1, 8)}}
    for at, name in enumerate((first, second)):
        inner = {key: value + at if value.is_floating_point() else value for key, value in state.items()}
        *outer, last = name.split(".")
        place = content
        for word in outer:
            place = place.setdefault(word, {})
        place[last] = inner
    torch.save(content, folder / "weights.pth")
    return folder / "weights.pth"


@pytest.mark.parametrize(
    "names",
    [
        ("state_dict", "state_dict_ema"),
        ("student", "teacher"),
        ("model", "ema"),
        ("nets.online", "nets.target"),
    ],
)
def test_of_two_state_dicts_none_is_dropped_in_silence(
    names: tuple[str, str], tmp_path: Path, weights: Path
) -> None:
    file, state = several(tmp_path, weights, *names), load_file(weights)
    message = refusal(lambda: load(toys.write_card(tmp_path, file)))
    assert all(f"{name} ({len(state)} tensors)" in message for name in names) and "--state-dict" in message
    assert "loss" not in message.partition("holds")[2] and "optimizer" not in message
    identities = set()
    for at, name in enumerate(names):
        card = resolve(toys.write_card(tmp_path, file, state_dict=name))
        loaded = load_backbone(card, toys.ARCH, 16, seed=0).module.state_dict()
        assert torch.equal(loaded[STEM], state[STEM] + at)
        identities.add(card.identity)
    assert len(identities) == 2  # or one's records and cached features would be taken for the other's
    with pytest.raises(UserError, match=f"did you mean '{names[0]}'"):
        load(toys.write_card(tmp_path, file, state_dict=f"{names[0]}s"))


def test_one_state_dict_needs_no_choice_wherever_it_lies(tmp_path: Path, weights: Path) -> None:
    state = load_file(weights)
    nested = {"a": {"b": state}, "loss": {"center": torch.zeros(2)}}
    for content in ({"net": state}, nested, {"teacher": state}):
        torch.save(content, tmp_path / "weights.pth")
        assert read_tensors(tmp_path / "weights.pth").keys() == state.keys()
    torch.save({**state, "more": state}, tmp_path / "weights.pth")  # bare, and another one inside
    with pytest.raises(UserError, match="no plain mapping"):
        read_tensors(tmp_path / "weights.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_no_numbers_are_refused_with_their_name(
    value: float, dtype: torch.dtype, tmp_path: Path, weights: Path
) -> None:
    def spoiled(state: State) -> State:
        changed = {f"module.{name}": tensor.clone() for name, tensor in state.items()}
        changed["module.bn1.running_var"][-1] = value
        changed[f"module.{STEM}"] = changed[f"module.{STEM}"].to(dtype)
        changed[f"module.{STEM}"][0, 0, 0, 0] = value
        return changed

    message = refusal(lambda: load(planted(tmp_path, weights, spoiled)))
    parts = ("2 of ", f"module.{STEM}", "module.bn1.running_var", "weights.safetensors")
    assert all(part in message for part in parts)
    with pytest.raises(UserError, match="NaN or infinite"):
        inspect_checkpoint(tmp_path / "weights.safetensors", toys.ARCH)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constant_weights_are_refused(value: float, tmp_path: Path, weights: Path) -> None:
    def emptied(state: State) -> State:
        return {name: torch.full_like(tensor, value) for name, tensor in state.items()}

    message = refusal(lambda: load(planted(tmp_path, weights, emptied)))
    assert "hold one value each" in message and "weights.safetensors" in message
    with pytest.raises(UserError, match="hold one value each"):
        inspect_checkpoint(tmp_path / "weights.safetensors", toys.ARCH)


def test_a_classifier_that_is_left_over_may_hold_anything(tmp_path: Path, weights: Path) -> None:
    with_classifier = planted(
        tmp_path, weights, lambda state: {**state, "classifier.weight": torch.full((9, 256), torch.nan)}
    )
    assert load(with_classifier)
