"""Eight inits of one arch in one run: they pair, and their effects, licenses and contamination are reported.

The files have random weights under timm's names, as those that the makers of these five publish.
"""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import mednet_bench
from mednet_bench.baselines.weights.archs import build_backbone
from mednet_bench.baselines.zoo.card import zoo_cards, zoo_groups
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.core.files import sha256_file
from mednet_bench.reports.analysis.effects import FactEffect, fact_effects
from mednet_bench.reports.pages.effects_csv import effects_csv
from mednet_bench.reports.sections.effects import effects_section
from mednet_bench.tasks.task import SPLITS

ARCH, TINY = "vit_small_patch16_224", "test_vit"
"""The arch of five cards, and timm's own network for tests, of which a fast run says they are."""
DINO, LUNIT, KAIKO, RADIO, GASTRO = ZOO = tuple(
    f"zoo/{name}"
    for name in ("dino-vit-s16", "lunit-dino", "kaiko-s16", "radio-dino-s16", "gastronet-5m-vit-s16")
)
PARENTS = {"chest": "nih-chestxray14", "slides": "tcga-wsi", "organs": "organs", "cells": "cells"}
LAB = """
name = "lab"
path = "{file}"
sha256 = "{sha256}"
arch = "{arch}"
corpora = ["nih-chestxray14"]
images_of = "gray"
objective = "supervised"
images = 112_120
recalled = ["corpora"]
[input]
"""


def write_task(folder: Path, name: str, parent: str) -> str:
    """Write a task of noise in which one class is brighter; return the path of its card."""
    rng, content = np.random.default_rng(len(name)), {}
    for split in SPLITS:
        labels = np.arange(20) % 2
        images = rng.normal(90, 40, (20, 28, 28)) + 25 * labels[:, None, None]
        content |= {
            f"{split}_images": images.clip(0, 255).astype(np.uint8),
            f"{split}_labels": labels[:, None],
        }
    np.savez(folder / f"{name}.npz", **content)
    card = folder / f"{name}.toml"
    card.write_text(
        f'name = "{name}"\ntitle = "{name}"\nkind = "binary"\nclasses = ["dark", "bright"]\n'
        f'modality = "x-ray"\nvariant = "gray"\nsource_group = "{name}"\nparents = ["{parent}"]\n'
        f'license = "CC0-1.0"\ncitation = "none"\npath = "{name}.npz"\n'
    )
    return str(card)


def write_weights(file: Path, arch: str, seed: int) -> Path:
    torch.manual_seed(seed)
    save_file(build_backbone(arch, 160 if arch == TINY else 224).state_dict(), file)
    return file


@pytest.mark.parametrize("arch", [TINY, pytest.param(ARCH, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_eight_inits_of_one_arch_pair_and_report_effects_licenses_and_contamination(
    arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    if arch == TINY:
        zoo_groups()  # cached: made of the real cards, as later tests need it
        cards = {name: msgspec.structs.replace(card, arch=TINY) for name, card in zoo_cards().items()}
        monkeypatch.setattr("mednet_bench.baselines.zoo.card.zoo_cards", lambda: cards)
    names = (*ZOO, "imagenet")
    inits = [
        f"{name}={write_weights(tmp_path / f'{at}.safetensors', arch, at)}" for at, name in enumerate(names)
    ]
    own = write_weights(tmp_path / "own.safetensors", arch, 99)
    (tmp_path / "lab.toml").write_text(LAB.format(arch=arch, file=own.name, sha256=sha256_file(own)))
    config = RunConfig(
        tasks=tuple(PARENTS), archs=(arch,), protocols=("knn",), seeds=(0,), fractions=(1.0,), report=False,
        task_file=tuple(write_task(tmp_path, *of) for of in PARENTS.items()), size=28, input_size=32,
        inits=(*inits, f"lab={tmp_path / 'lab.toml'}", "scratch"), download=False, out=str(tmp_path / "run"),
    )  # fmt: skip
    results = mednet_bench.run(config)
    assert not results.failed
    judged = results.verdicts()
    pairs = {frozenset(pair) for pair in judged[["init_a", "init_b"]].to_numpy().tolist()}
    assert len(pairs) == 8 * 7 / 2, "every two inits are compared"

    effects = {(e.difference.a, e.difference.b): e for e in fact_effects(results.input)}
    expected = {
        (LUNIT, DINO), (KAIKO, DINO), (RADIO, DINO), (GASTRO, DINO), (LUNIT, RADIO), (KAIKO, RADIO),
        (GASTRO, RADIO), (LUNIT, GASTRO), (KAIKO, GASTRO), ("lab", "imagenet"),
    }  # fmt: skip
    if arch == TINY:  # of which timm has weights from ImageNet-1k alone
        expected.add((DINO, "imagenet"))
    assert {frozenset(pair) for pair in effects} == {frozenset(pair) for pair in expected}
    check_medical_against_imagenet(effects[LUNIT, DINO], arch)
    supervised = effects["lab", "imagenet"]
    assert supervised.over.mean.units == 4 and supervised.flags["possibly-contaminated"] == 1
    assert "data sets from memory (lab)" in supervised.difference.unsure

    section = effects_section(results.input)
    assert section and section.parts[1].title == "Other images"
    text = " ".join(section.parts[1].points)
    assert "Possible contamination on 1 task" in text and "zoo/lunit-dino: no commercial use" in text
    assert effects_csv(results.input).count("\n") == 1 + len(expected)


def check_medical_against_imagenet(effect: FactEffect, arch: str) -> None:
    found = effect.difference
    assert found.question == (
        "medical images (tcga-wsi) instead of ImageNet (imagenet-1k), same objective (self-supervised DINO), "
        f"same network ({arch})"
    )
    assert found.besides[0] == "number of images: 19,000,000 instead of 1,281,167"
    assert found.licenses[0].startswith("zoo/lunit-dino: no commercial use")
    assert effect.left_out == {"slides": "contaminated"}
    assert effect.over.tasks == ("chest", "organs", "cells")
    assert effect.over.mean.low <= effect.over.mean.difference <= effect.over.mean.high  # all may be perfect
