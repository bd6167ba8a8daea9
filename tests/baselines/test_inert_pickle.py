"""Files with objects beside tensors are read without running their code, or refused."""

import argparse
import collections
import datetime
import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from mednet_bench.baselines.weights.inert_pickle import LIBRARIES, InertObject, InertUnpickler
from mednet_bench.baselines.weights.load_state_dict import read_state_dicts, read_tensors
from mednet_bench.core.errors import UserError

FORMATS = {"zip": True, "of 2019": False}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    made = resnet18(weights=None, num_classes=3)
    made.register_buffer("absent", None)  # as TorchXRayVision's op_threshs
    return made


def write(content: object, path: Path, form: str = "zip") -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=FORMATS[form])
    return path


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.filterwarnings("ignore:.*source code.*")
def test_the_state_dict_of_a_whole_module_is_read(form: str, network: nn.Module, tmp_path: Path) -> None:
    found = read_tensors(write(network, tmp_path / "a.pt", form))
    state = network.state_dict()
    assert list(found) == list(state)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    inside = write({"model": network, "epoch": 3}, tmp_path / "b.pt", form)
    assert read_state_dicts(inside).keys() == {"model"}


@pytest.mark.parametrize("form", FORMATS)
def test_objects_beside_a_state_dict_are_inert(form: str, network: nn.Module, tmp_path: Path) -> None:
    settings = argparse.Namespace(
        lr=np.float64(0.1), out=Path("out"), made=datetime.datetime(2020, 1, 1),
        stages=collections.defaultdict(list, {"a": [1]}), names={"x"}, act=nn.functional.gelu,
    )  # fmt: skip
    content = {
        "state_dict": network.state_dict(), "model_ema": network.state_dict(), "hyper_parameters": settings,
        "callbacks": {datetime.datetime: 1}, "optimizer": torch.optim.SGD(network.parameters(), 0.1),
    }  # fmt: skip
    found = read_state_dicts(write(content, tmp_path / "a.ckpt", form))
    assert found.keys() == {"state_dict", "model_ema"}
    assert found["state_dict"].keys() == network.state_dict().keys()


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable, *given: object) -> None:
        self.reduced = function, given

    def __reduce__(self) -> tuple:
        return self.reduced


ATTACKS: dict[str, Callable[[str], object]] = {
    "posix.system": lambda proof: Calls(os.system, f"touch {proof}"),
    "builtins.exec": lambda proof: Calls(exec, f"open({proof!r}, 'w')"),
    "builtins.getattr": lambda proof: Calls(getattr, nn.Linear, "forward"),
    "builtins.eval": lambda proof: {"a": nn.Linear(1, 1), "x": Calls(eval, f"open({proof!r}, 'w')")},
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.filterwarnings("ignore:.*source code.*")
def test_code_is_refused_by_name_and_not_run(name: str, form: str, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    with pytest.raises(UserError) as refusal:
        read_tensors(write(ATTACKS[name](str(proof)), tmp_path / "a.pt", form))
    message = str(refusal.value)
    assert f"it needs {name}" in message and "torch.load('FILE', weights_only=False)" in message
    assert "\n" not in message and not proof.exists()


def test_a_function_of_a_known_library_is_not_called_either(tmp_path: Path) -> None:
    proof = tmp_path / "proof.npy"
    content = {"a": torch.zeros(1), "weight": Calls(np.save, str(proof), np.zeros(3))}
    with pytest.raises(UserError, match="no plain mapping"):
        read_tensors(write(content, tmp_path / "a.pt"))
    assert not proof.exists()


@pytest.mark.parametrize("module", [*LIBRARIES, "torch.hub", "numpy.testing"])
def test_no_name_of_a_library_reaches_the_library(module: str) -> None:
    reader = InertUnpickler(io.BytesIO())
    found = reader.find_class(module, "load")
    assert issubclass(found, InertObject) and type(found("x", y=1)) is found
    assert found is not reader.find_class(module, "load")  # a file cannot change what another one gets


def test_a_torchscript_program_is_named_and_not_run(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl"):
            archive.writestr(f"a/{name}", pickle.dumps({}, protocol=2))
    with pytest.raises(UserError, match=r"is a TorchScript program, which is not run: .*torch\.jit\.load"):
        read_tensors(tmp_path / "a.pt")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_one_sentence(form: str, tmp_path: Path) -> None:
    """Mutants of a whole module end in tensors or in one `UserError`, never in another error."""
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    whole = bytearray(write(module, tmp_path / "a.pt", form).read_bytes())
    rng = random.Random(0)
    refused = 0
    for _ in range(60):
        mutant = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            mutant[rng.randrange(min(len(mutant), 3000))] = rng.randrange(256)
        (tmp_path / "b.pt").write_bytes(mutant)
        try:
            found = read_state_dicts(tmp_path / "b.pt")
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
        else:
            assert all(torch.is_tensor(each) for tensors in found.values() for each in tensors.values())
    assert refused > 10
