"""No test image reaches a MedNet indirectly, and cards name all that the weights have seen."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pyarrow import parquet
from small_corpus import make_corpus
from test_modelcard import finished_on

from mednet_bench.baselines.init import InitCard
from mednet_bench.baselines.weights.checkpoint import read_checkpoint_card
from mednet_bench.benchmark.audits.contamination.audit import ContaminationRequest, audit_contamination
from mednet_bench.benchmark.corpus.corpus import read_corpus, write_corpus
from mednet_bench.benchmark.pretraining.leave_out import check_start
from mednet_bench.benchmark.pretraining.loader import corpus_pools
from mednet_bench.benchmark.pretraining.modelcard import write_results
from mednet_bench.benchmark.pretraining.sources import LoaderConfig
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.task import DataLocations

TWIN = "cells-00000000003"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Of `scans` an image was removed that equals one of `cells`, and of `breastmnist` all were."""
    folder = tmp_path / "gray"
    make_corpus(folder)
    found = read_corpus(folder)
    copied = msgspec.structs.replace(found.sources[2], name="breastmnist", source_group="busi", images=0)
    write_corpus(folder, msgspec.structs.replace(found, sources=(*found.sources, copied)))
    with (folder / "duplicates.csv").open("a") as file:
        file.write(f"scans-00001000999,scans,{TWIN},cells,not comparable\n")
        file.write("breastmnist-00000000000,breastmnist,findings-00000000000,findings,not comparable\n")
    return folder


def test_a_copy_of_what_is_left_out_is_left_out_too_in_any_source(corpus: Path, tmp_path: Path) -> None:
    pools, _ = corpus_pools(corpus, LoaderConfig(side=28, leave_out=frozenset({"scans"})))
    assert [(pool.name, len(pool.labels)) for pool in pools] == [("cells", 39), ("findings", 40)]
    write_results(finished_on(corpus), tmp_path)
    index = parquet.read_table(corpus / "index.parquet").to_pylist()
    seen = [row["phash"] for row in index if row["source"] != "scans" and row["key"] != TWIN]
    assert np.load(tmp_path / "hashes.npy").tolist() == sorted(seen)
    (corpus / "duplicates.csv").unlink()
    with pytest.raises(UserError, match=r"duplicates.csv cannot be read .* build the corpus anew"):
        corpus_pools(corpus, LoaderConfig(side=28, leave_out=frozenset({"scans"})))


def test_a_source_whose_images_all_stay_under_another_name_is_declared(corpus: Path, tmp_path: Path) -> None:
    write_results(finished_on(corpus), tmp_path)
    breast = catalog(DataLocations(medmnist_cache=Path("/nonexistent"), download=False))["breastmnist"]
    assert breast.contamination(read_checkpoint_card(tmp_path / "card.toml").corpora).level == "declared"


def test_weights_that_saw_a_task_begin_no_pretraining_that_leaves_it_out(corpus: Path) -> None:
    known = catalog(DataLocations(medmnist_cache=Path("/nonexistent"), download=False))
    start = InitCard(name="lab", label="checkpoint lab", identity="1", corpora=("BUSI",))
    check_start(start, [known["retinamnist"]])
    check_start(None, [known["breastmnist"]])
    with pytest.raises(UserError, match=r"checkpoint lab may have seen breastmnist .* start from other"):
        check_start(start, [known["retinamnist"], known["breastmnist"]])


def test_the_card_names_strangers_and_the_terms_of_its_beginning(corpus: Path, tmp_path: Path) -> None:
    start = InitCard(name="lab", label="checkpoint lab", identity="1", corpora=("radimagenet",))
    write_results(replace(finished_on(corpus), start=start), tmp_path)
    text = (tmp_path / "MODEL_CARD.md").read_text()
    assert "The catalog does not list findings: their overlap is not known." in text
    assert "The initial weights may have been trained on them." in text
    assert "but of none that the initial weights have seen." in text
    assert read_checkpoint_card(tmp_path / "card.toml").license.endswith(
        "the initial weights, checkpoint lab"
    )


def test_an_audit_searches_what_the_card_says_was_seen_and_no_other_corpus(
    corpus: Path, tmp_path: Path
) -> None:
    write_results(finished_on(corpus), tmp_path)  # which left out `scans`
    asked = RunConfig(tasks="phantom-nodule", inits=f"lab={tmp_path}", download=False)
    (by_hash,) = audit_contamination(ContaminationRequest(asked, None, None))
    (by_pixels,) = audit_contamination(ContaminationRequest(asked, None, corpus))
    for audit in (by_hash, by_pixels):
        assert audit.measured and audit.measured.images == 79, "40 cells and 40 findings, less a copy"
    assert (
        by_hash.identity
        == by_pixels.identity
        == f"sha256:{read_checkpoint_card(tmp_path / 'card.toml').sha256}"
    )
    write_corpus(corpus, msgspec.structs.replace(read_corpus(corpus), identity="another"))
    with pytest.raises(UserError, match=r"have seen another corpus than .* name that one"):
        list(audit_contamination(ContaminationRequest(asked, None, corpus)))
