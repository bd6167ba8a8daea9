"""Files of version 0.1 are readable: run directory, task card and weights card."""

import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from mednet_bench.baselines.weights.checkpoint import read_checkpoint_card
from mednet_bench.benchmark.schema.plan import (
    Cell,
    Fold,
    HeldOutSite,
    LabelsPerClass,
    PlantedConfounder,
    key_of,
    read_plan,
)
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.benchmark.training.protocol import PROTOCOLS
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.tasks.local_cards import local_task

OLD_RUN = Path(__file__).parent / "run-0.1"
"""Written by version 0.1: phantom-organ with mednet, imagenet, meanvar:imagenet and scratch, two seeds."""
TASK = """name = "cells"
title = "Cells"
kind = "binary"
classes = ["no", "yes"]
modality = "microscopy"
variant = "color"
source_group = "cells"
parents = []
licence = "CC BY 4.0"
citation = "none"
path = "cells.npz"
"""
WEIGHTS = """name = "lab"
path = "lab.safetensors"
sha256 = "00"
arch = "resnet18"
corpora = ["chestmnist"]
licence = "internal"

[[corpus]]
id = "chestmnist"
licence = "CC BY 4.0"

[input]
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
"""


def test_records_and_plan_are_read_with_their_present_names() -> None:
    records = list(RecordStore(OLD_RUN).read_all())
    assert len(records) == 9 and RecordStore(OLD_RUN).unreadable_files() == []
    assert {record.task.license for record in records if record.task} == {"Apache-2.0"}
    (made,) = (record.cell for record in records if record.cell.step == "pretrain")
    assert made.task == "gray" and len(str(made.pretraining)) == 16
    plan = read_plan(OLD_RUN)
    assert plan and {planned.cell for planned in plan.cells} == {record.cell for record in records}
    inits = {record.cell.init: record.init for record in records if record.init}
    derived = {name: init.derived_from for name, init in inits.items()}
    assert derived == {"mednet": "", "imagenet": "", "meanvar:imagenet": "imagenet", "scratch": ""}
    assert inits["meanvar:imagenet"].source_identity == inits["imagenet"].identity
    assert {name for name, init in inits.items() if init.origin} == {"mednet"}
    assert plan.generated == ("phantom-organ",)
    results = load_report_input([OLD_RUN])
    assert len(results.rows) == 4 and not results.damaged and results.derived_inits == {"meanvar:imagenet"}


def test_the_keys_of_version_0_1_stay() -> None:
    """A key hashes the cell with its identities; what 0.1 encoded must be encoded byte for byte."""
    for record in RecordStore(OLD_RUN).read_all():
        new = msgspec.json.encode(record.cell)
        if record.cell.step == "score":
            old = msgspec.json.decode((OLD_RUN / "records" / f"{record.key}.json").read_bytes())["cell"]
            assert new == msgspec.json.encode(old)
        else:
            assert record.init and key_of(record.cell, record.init.identity) == record.key


def test_other_views_and_label_budgets_have_other_keys_and_are_read_back() -> None:
    usual = Cell(task="a", size=28, input_size=28, arch="b", init="c", protocol="linear")
    others = [
        *(
            msgspec.structs.replace(usual, view=view)
            for view in (Fold(index=0, folds=5), HeldOutSite(site="x"), PlantedConfounder(share=0.9))
        ),
        msgspec.structs.replace(usual, labels=LabelsPerClass(count=5)),
        msgspec.structs.replace(usual, labels=0.5),
    ]
    assert len({key_of(cell) for cell in (usual, *others)}) == 6
    assert [msgspec.json.decode(msgspec.json.encode(cell), type=Cell) for cell in others] == others
    assert (others[-1].fraction, others[-2].fraction) == (0.5, -0.2)


def test_a_run_of_version_0_1_is_reported_and_compared_but_not_continued(tmp_path: Path) -> None:
    old = shutil.copytree(OLD_RUN, tmp_path / "old")
    before = {path: path.read_bytes() for path in sorted(old.rglob("*")) if path.is_file()}
    words = "run --tasks phantom-organ --inits scratch --protocols linear --size 28 --input-size 32 --out"
    refused = CliRunner().invoke(cli, [*words.split(), str(old)])
    assert isinstance(refused.exception, UserError)
    assert "holds a run of version 0.1" in str(refused.exception) and "--out" in str(refused.exception)
    (old / "plan.json").rename(tmp_path / "plan.json")
    with pytest.raises(UserError, match=r"version 0\.1"):
        RecordStore(old).refuse_old_format()
    (tmp_path / "plan.json").rename(old / "plan.json")
    assert {path: path.read_bytes() for path in sorted(old.rglob("*")) if path.is_file()} == before
    compared = CliRunner().invoke(cli, ["compare", str(old), str(OLD_RUN)])
    assert compared.exit_code == 0 and "meanvar:imagenet" in compared.output
    reported = CliRunner().invoke(cli, ["report", str(old), "--to", str(tmp_path / "report")])
    assert reported.exit_code == 0 and (tmp_path / "report" / "report.html").is_file()
    RecordStore(tmp_path / "new").refuse_old_format()  # an empty folder is no old run


def test_one_record_of_version_0_1_among_new_ones_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PROTOCOLS["linear"], "version", 1)  # the keys of that version
    words = (
        "--tasks phantom-organ --inits scratch --protocols linear --fractions 1.0 --seeds 0..1 --size 28 "
        f"--input-size 32 --pretrain-images 64 --no-download --out {tmp_path / 'run'}"
    ).split()
    shutil.copytree(OLD_RUN / "records", tmp_path / "run" / "records")
    for command in ("plan", "run"):
        refused = CliRunner().invoke(cli, [command, *words])
        assert isinstance(refused.exception, UserError) and "version 0.1" in str(refused.exception)
    plan = read_plan(OLD_RUN)
    assert plan
    msgspec.structs.replace(plan, format=2).write(tmp_path / "run")
    refused = CliRunner().invoke(cli, ["run", *words])
    assert isinstance(refused.exception, UserError) and "version 0.1" in str(refused.exception)


def test_what_this_version_cannot_report_is_refused(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    for record in RecordStore(OLD_RUN).read_all():
        cell = msgspec.structs.replace(record.cell, view=HeldOutSite(site="x"))
        store.write(msgspec.structs.replace(record, cell=cell, format=2))
    with pytest.raises(UserError, match="newer version"):
        load_report_input([tmp_path])


@pytest.mark.parametrize("key", ["licence", "license"])
def test_cards_say_licence_or_license(tmp_path: Path, key: str) -> None:
    (tmp_path / "cells.toml").write_text(TASK.replace("licence", key))
    assert local_task(tmp_path / "cells.toml").license == "CC BY 4.0"
    (tmp_path / "lab.toml").write_text(WEIGHTS.replace("licence", key))
    card = read_checkpoint_card(tmp_path / "lab.toml")
    assert (card.license, card.corpus[0].license) == ("internal", "CC BY 4.0")
