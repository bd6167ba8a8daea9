"""`partial` and `lora` in a real run, from the options to the report."""

from pathlib import Path

import msgspec
import pytest

from mednet_bench.benchmark.run.cell_runner import CellRunner
from mednet_bench.benchmark.run.planner import ResolvedPlan
from mednet_bench.benchmark.run.preflight import check_before_run
from mednet_bench.benchmark.run.resolve import resolve_request
from mednet_bench.benchmark.run.scheduler import CellWatcher, ResumeRules, compute_cells, pending_cells
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.core.errors import UserError
from mednet_bench.reports.pages.build import build_report


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))


def resolve(out: Path, archs: str, protocols: str, **options: dict[str, object]) -> ResolvedPlan:
    request = RunConfig(
        tasks="phantom-organ",
        inits="scratch",
        archs=archs,
        protocols=protocols,
        protocol_option=options,
        fractions="0.1",
        seeds="0",
        input_size=32,
        out=str(out),
        download=False,
        steps=2,
        batch_size=4,
        lr_grid=(1e-3,),
        evaluations=1,
    )
    return resolve_request(request)


def compute(plan: ResolvedPlan) -> RecordStore:
    store, rules = RecordStore(plan.request.folder), ResumeRules()
    plan.plan.write(store.folder)
    compute_cells(CellRunner(plan, "cpu"), pending_cells(plan, store, rules), rules, CellWatcher())
    assert pending_cells(plan, store, rules) == [] or any(r.status != "ok" for r in store.read_all())
    return store


@pytest.mark.slow
def test_both_run_on_every_arch_with_their_options_in_key_record_and_report(tmp_path: Path) -> None:
    archs = ("tf_efficientnet_lite0", "resnet18", "vit_tiny_patch16_224")
    plan = resolve(
        tmp_path / "run", ",".join(archs), "partial,lora", partial={"stages": "2"}, lora={"rank": "4"}
    )
    check_before_run(plan, list(plan.plan.cells))
    records = list(compute(plan).read_all())
    assert {record.status for record in records} == {"ok"}
    assert {record.key for record in records} == {planned.key for planned in plan.plan.cells}
    found = {(record.cell.arch, record.cell.protocol_label) for record in records}
    labels = ("partial (stages=2)", "lora (rank=4 alpha=16)")
    assert found == {(arch, label) for arch in archs for label in labels}
    assert all(record.parameters > 0 and record.curve for record in records)
    built = build_report([tmp_path / "run"])
    assert {(row.arch, row.protocol) for row in built.results.rows} == found
    for label in labels:
        assert label in built.html.read_text() and label in built.csv.read_text()


def test_too_many_stages_are_refused_before_the_run_and_fail_with_their_number(tmp_path: Path) -> None:
    plan = resolve(tmp_path / "run", "test_efficientnet", "partial,finetune", partial={"stages": 9})
    sentence = "--protocol-option partial.stages=9: the network has 5 stages; pass at most 5."
    with pytest.raises(UserError) as error:
        check_before_run(plan, list(plan.plan.cells))
    assert str(error.value) == f"test_efficientnet: {sentence}"
    records = list(compute(plan).read_all())
    by_protocol = {
        name: [record for record in records if record.cell.protocol == name]
        for name in ("partial", "finetune")
    }
    assert [record.status for record in by_protocol["finetune"]] == ["ok"]
    assert [record.status for record in by_protocol["partial"]] == ["failed"]
    assert all(sentence in record.error for record in by_protocol["partial"])
    assert all(record.cell.protocol_options is msgspec.UNSET for record in by_protocol["finetune"])
