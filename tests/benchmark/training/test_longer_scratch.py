"""Random weights have a control with more passes, which no other cell and no average notices."""

from pathlib import Path

import msgspec
import toys

from mednet_bench.benchmark.run.cell_runner import CellRunner
from mednet_bench.benchmark.run.planner import ResolvedPlan, build_plan
from mednet_bench.benchmark.run.scheduler import CellWatcher, ResumeRules, compute_cells, pending_cells
from mednet_bench.benchmark.schema.plan import Cell
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.reports.analysis.load_report_input import load_report_input


def plan_of(folder: Path, **options: object) -> ResolvedPlan:
    weights = toys.write_weights(folder / "w.safetensors")
    task = toys.task_of(toys.Toy())
    settings = {"inits": f"imagenet={weights},scratch", "fractions": "0.3,0.5,1", "seeds": "1..4"}
    return build_plan(toys.run_config(folder / "run", **(settings | options)), [task], [task], toys.NOWHERE)


def place(cell: Cell) -> tuple[str, float, int]:
    return cell.init, cell.fraction, cell.seed


def test_random_weights_have_controls_at_both_ends_of_the_fractions_that_need_the_ordinary_cell(
    tmp_path: Path,
) -> None:
    cells = plan_of(tmp_path, protocols="finetune,linear").plan.cells
    longer = [planned for planned in cells if planned.cell.longer]
    assert [place(each.cell) for each in longer] == [
        ("scratch", fraction, seed) for fraction in (0.3, 1.0) for seed in (1, 2, 3)
    ]
    keys = {place(each.cell): each.key for each in cells if each.cell.protocol == "finetune"}
    ordinary = {
        place(each.cell): each.key
        for each in cells
        if each.cell.protocol == "finetune" and not each.cell.longer
    }
    assert all(each.needs == (ordinary[place(each.cell)],) for each in longer)
    assert len({each.key for each in cells}) == len(cells) == 2 * 2 * 3 * 4 + 6 and len(keys) == 24
    assert b"longer" not in msgspec.json.encode(cells[0].cell), "the keys of other cells stay"
    alone = plan_of(tmp_path, inits="scratch").plan.cells
    assert not any(planned.cell.longer for planned in alone), "nothing is compared with it"


def test_a_control_trains_longer_at_the_chosen_rate_and_is_in_no_average(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    small = {"passes": 1, "steps": "2..100", "batch_size": 10, "lr_grid": "1e-3,1e-2", "evaluations": 2}
    resolved = plan_of(tmp_path, seeds="0", fractions="1", patience=9, **small)
    store, rules = RecordStore(resolved.request.folder), ResumeRules()
    resolved.plan.write(store.folder)
    compute_cells(CellRunner(resolved, "cpu"), pending_cells(resolved, store, rules), rules, CellWatcher())
    records = {(record.cell.init, bool(record.cell.longer)): record for record in store.read_all()}
    usual, longer = records["scratch", False], records["scratch", True]
    assert [record.status for record in records.values()] == ["ok"] * 3
    assert (usual.curve[-1].step, longer.curve[-1].step) == (6, 24) and (usual.passes, longer.passes) == (
        1,
        4,
    )
    assert longer.choices[0].grid == (usual.choices[0].value,)
    assert pending_cells(resolved, store, rules) == []
    results = load_report_input([store.folder])
    assert {key for row in results.rows for key in row.keys} == {
        record.key for (_, is_longer), record in records.items() if not is_longer
    }
