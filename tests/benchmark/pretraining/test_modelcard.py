"""The results of a pretraining can be read, checked and used on their own."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from small_corpus import LICENSES, make_corpus
from small_result import ARCH, SIDE, finished_on

from mednet_bench.baselines.init import InitCard, InitRequest
from mednet_bench.baselines.weights.checkpoint import from_checkpoint, read_checkpoint_card
from mednet_bench.baselines.weights.load import load_backbone
from mednet_bench.benchmark.pretraining.modelcard import write_results
from mednet_bench.benchmark.pretraining.pretrain_result import PretrainSettings
from mednet_bench.core.errors import UserError
from mednet_bench.core.files import sha256_file
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.databases.licenses import LicenseTerms, implied_terms, terms_of
from mednet_bench.tasks.task import DataLocations


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora") / "gray"
    make_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def out(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    write_results(finished_on(corpus), folder)
    return folder


def need(task: str = "breastmnist") -> InitRequest:
    target = catalog(DataLocations())[task]
    return InitRequest(target, ARCH, SIDE, 28, (target,), DataLocations(), None, "", Path("cache"))


def test_a_run_takes_the_card_and_every_tensor_finds_its_place(out: Path) -> None:
    card = from_checkpoint("mednet", out / "card.toml", need())
    loaded = load_backbone(card, ARCH, SIDE, 0)  # checks the hash, every name and the fingerprint
    wanted = finished_on(out).state
    assert all(torch.equal(value, wanted[name]) for name, value in loaded.module.state_dict().items())
    assert set(card.corpora) == {"cells", "findings", "ham10000"}
    with pytest.raises(UserError, match="gray network"):
        from_checkpoint("mednet", out / "card.toml", need("retinamnist"))


def test_the_card_says_what_made_the_weights(out: Path) -> None:
    card = read_checkpoint_card(out / "card.toml")
    assert card.sha256 == sha256_file(out / "weights.safetensors")
    assert [(seen.id, seen.images, seen.license) for seen in card.corpus] == [
        ("cells", 38, LICENSES["cells"]),
        ("findings", 38, LICENSES["findings"]),
    ]
    assert card.license.startswith("attribution")  # `scans`, which is non-commercial, was left out
    assert card.leave_out == ("organamnist",)
    assert card.label_spaces["findings"] == ["one", "other", "third"]
    assert (card.training["steps"], card.training["commit"], card.training["corpus"]) == (8, "abc", "id")
    assert card.training["held_out_auc"] == {"cells": 0.875}
    assert len(card.fingerprint) == 32


def test_other_weights_under_the_same_card_are_found_out(corpus: Path, tmp_path: Path) -> None:
    write_results(finished_on(corpus), tmp_path)
    text = (tmp_path / "card.toml").read_text()
    (tmp_path / "card.toml").write_text(re.sub(r"mean = \[[^]]*\]", "mean = [0.1, 0.5, 0.9]", text))
    with pytest.raises(UserError, match="fingerprint"):
        load_backbone(from_checkpoint("mednet", tmp_path / "card.toml", need()), ARCH, SIDE, 0)


def test_cards_of_a_continued_pretraining_say_how_far_it_moved(corpus: Path, tmp_path: Path) -> None:
    start = InitCard(name="imagenet", label="ImageNet", identity="1", corpora=("imagenet-1k",))
    finished = replace(finished_on(corpus), start=start, distance_from_start=0.0321)
    settings = msgspec.structs.replace(finished.settings, anchor=0.5, layer_decay=0.75)
    write_results(replace(finished, settings=settings), tmp_path)
    card = read_checkpoint_card(tmp_path / "card.toml")
    assert (card.objective, card.started_from, card.images) == ("supervised", "imagenet", 76)
    assert (card.training["distance_from_start"], card.training["anchor"]) == (0.0321, 0.5)
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert re.search(r"\| initial weights +\| layer-wise decay of the rate 0.75, L2-SP 0.5 +\|", text)
    assert re.search(r"\| distance from them +\| 3.21% of their L2 norm +\|", text)


def test_the_same_pretraining_gives_the_same_bytes(out: Path, corpus: Path, tmp_path: Path) -> None:
    write_results(finished_on(corpus), tmp_path)
    for name in sorted(path.name for path in out.iterdir()):
        assert (out / name).read_bytes() == (tmp_path / name).read_bytes(), name
    assert {path.name for path in tmp_path.iterdir()} == {
        "weights.safetensors", "card.toml", "MODEL_CARD.md", "curve.png", "curve.csv", "hashes.npy",
    }  # fmt: skip


def test_the_hashes_are_sorted_and_those_of_what_was_shown(out: Path) -> None:
    hashes = np.load(out / "hashes.npy")
    assert (hashes.dtype, len(hashes)) == (np.uint64, 80)
    assert (np.diff(hashes.astype(object)) >= 0).all()


def test_the_curve_has_a_line_per_row_and_leaves_empty_what_was_not_measured(out: Path) -> None:
    rows = list(csv.DictReader((out / "curve.csv").open()))
    assert [row["step"] for row in rows] == [str(step) for step in range(1, 9)]
    assert (rows[0]["loss of scans"], rows[0]["score of cells"], rows[0]["val_loss"]) == ("", "", "")
    assert rows[1]["score of cells"] == "0.6"
    assert (out / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_the_model_card_names_data_licenses_scores_and_limits(out: Path) -> None:
    text = (out / "MODEL_CARD.md").read_text()
    for wanted in (
        r"\| cells +\| microscopy +\| 38 of 38 +\| 2 \(multiclass\) +\| CC0 +\| ham10000 +\|",
        r"\| cells +\| 2 +\| 0\.875 +\|",
        r"\| findings +\| 2 +\| undefined +\|",
        r"Not for diagnosis",
        r"Kept out for a fair test on organamnist: scans\.",
        r"strictest of the sources' terms is \*\*attribution\*\*",
        r"\]\(curve\.png\)",
    ):
        assert re.search(wanted, text), wanted
    assert "None" not in text.replace("None that is known", "")


def test_overlap_with_the_catalogs_tasks_is_in_the_model_card(corpus: Path, tmp_path: Path) -> None:
    finished = finished_on(corpus)
    color = replace(finished, settings=PretrainSettings(**{**_fields(finished.settings), "variant": "color"}))
    write_results(color, tmp_path)
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert re.search(r"\| dermamnist +\| declared +\|", text)  # made from HAM10000, as `cells` says it is
    (command,) = re.findall(r"--tasks (\S+)", text)
    assert "dermamnist" not in command.split(",")


def _fields(settings: PretrainSettings) -> dict:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


@pytest.mark.parametrize(
    ("license", "terms"),
    [
        ("CC0", {LicenseTerms.PERMISSIVE}),
        ("CC BY 4.0", {LicenseTerms.ATTRIBUTION}),
        ("unrestricted use with attribution", {LicenseTerms.ATTRIBUTION}),
        ("CC-BY-SA 4.0", {LicenseTerms.ATTRIBUTION, LicenseTerms.SHARE_ALIKE}),
        (
            "CC BY-NC-SA 4.0",
            {LicenseTerms.ATTRIBUTION, LicenseTerms.SHARE_ALIKE, LicenseTerms.NON_COMMERCIAL},
        ),
        (
            "CC BY-NC-ND 4.0",
            {LicenseTerms.ATTRIBUTION, LicenseTerms.NON_COMMERCIAL, LicenseTerms.NO_DERIVATIVES},
        ),
        ("research (recalled)", {LicenseTerms.NON_COMMERCIAL}),
        ("PhysioNet Credentialed", {LicenseTerms.UNKNOWN}),
        (
            "CC BY 4.0 (A) vs CC0 (B)",
            {LicenseTerms.ATTRIBUTION, LicenseTerms.PERMISSIVE, LicenseTerms.UNKNOWN},
        ),
        ("", {LicenseTerms.UNKNOWN}),
        ("see website", {LicenseTerms.UNKNOWN}),
    ],
)
def test_a_license_in_words_has_its_classes(license: str, terms: set[LicenseTerms]) -> None:
    assert terms_of(license) == terms


def test_the_strictest_source_decides_and_every_condition_is_named() -> None:
    found = implied_terms(["CC0", "CC BY-SA 4.0", "CC BY-NC 4.0"])
    assert found.strictest is LicenseTerms.NON_COMMERCIAL
    assert str(found) == "non-commercial + share-alike + attribution: no commercial use"
    assert str(implied_terms(["CC0", "public domain"])).startswith("permissive")
    assert implied_terms(["CC0", ""]).strictest is LicenseTerms.UNKNOWN
    assert implied_terms([]).strictest is LicenseTerms.UNKNOWN
