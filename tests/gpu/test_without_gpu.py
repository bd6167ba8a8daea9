"""Training steps on a GPU, without one: `no_gpu.c` takes the place of the CUDA runtime below torch.

Torch's FakeTensorMode alone is not enough: on a machine without a GPU, the backward pass of torch 2.14 asks
the runtime for a device ("hasPrimaryContext expects a valid device index"). With `no_gpu.c` it finds one,
tensors need not be fake, and graphs are really recorded.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
ARCHS = (
    "tf_efficientnet_lite0",
    "resnet18",
    "resnet50",
    "convnext_atto",
    "vit_tiny_patch16_224",
    "densenet121",
)


def missing() -> str:
    """Say what is missing for these tests; "" if nothing."""
    if sys.platform != "linux":
        return "the CUDA runtime is replaced by LD_PRELOAD, on Linux only"
    if not (torch.version.cuda or "").startswith("13."):
        return f"no_gpu.c has the layouts of CUDA 13, and torch is built for {torch.version.cuda or 'none'}"
    return "" if shutil.which("cc") else "no C compiler (Debian: apt install gcc)"


@pytest.fixture(scope="session")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Facts of `steps_without_gpu.py`, by case."""
    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("no_gpu")
    library = folder / "libcuda.so.1"  # torch loads the driver by this name
    subprocess.run(["cc", "-shared", "-fPIC", "-w", "-O1", "-o", library, HERE / "no_gpu.c"], check=True)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "LD_LIBRARY_PATH": str(folder),
        "NO_GPU_COUNT": "2",
    }
    command = [sys.executable, HERE / "steps_without_gpu.py", *ARCHS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", [*ARCHS, "pretraining", "streamed"])
def test_nothing_in_a_step_lets_the_host_wait(case: str, facts: Mapping[str, Any]) -> None:
    step = facts[case]
    assert step["launches"] > 100 and step["backward"] and step["adamw"]
    assert (step["waits"], step["unpinned"], step["to_host"]) == (0, 0, 0)


@pytest.mark.parametrize("case", [*ARCHS, "pretraining"])
def test_convolutions_are_bfloat16_in_channels_last_and_losses_float32(
    case: str, facts: Mapping[str, Any]
) -> None:
    assert facts[case]["convolutions"] == [["bfloat16", True]]
    assert facts[case]["losses"] == ["float32"]


@pytest.mark.parametrize("case", ["graph", "pretraining graph"])
def test_a_step_by_a_graph_is_one_launch_and_copies_of_its_inputs(
    case: str, facts: Mapping[str, Any]
) -> None:
    step = facts[case]
    assert step["used"] and step["kernels"] > 500
    assert step["replays"] == 1 and step["launches"] <= 10
    assert (step["waits"], step["unpinned"], step["to_host"]) == (0, 0, 0)


def test_a_step_that_cannot_be_recorded_is_taken_without_a_graph_from_the_same_weights(
    facts: Mapping[str, Any],
) -> None:
    refused = facts["refused"]
    assert refused["same"] and not refused["used"]
    (note,) = refused["notes"]
    assert note.startswith("training step computed without a CUDA graph: it cannot be recorded (CUDA error: ")
    assert "not permitted when stream is capturing" in note


def test_a_cell_with_graphs_records_its_evaluations_too(facts: Mapping[str, Any]) -> None:
    assert facts["training"] == {"shape": [45, 3], "notes": [], "forwards": [""]}


def test_images_that_do_not_fit_on_the_card_come_from_pinned_memory(facts: Mapping[str, Any]) -> None:
    streamed = facts["streamed"]
    assert streamed["where"] == "cpu"
    assert streamed["evaluation"]["unpinned"] == streamed["evaluation"]["waits"] == 0


def test_every_visible_card_is_seen(facts: Mapping[str, Any]) -> None:
    assert facts["gpus"] == 2
    assert facts["devices"] == ["cuda:0", "cuda:1"] * 3
    assert facts["record"]["device"] == "cuda:1 (no GPU 1)"
