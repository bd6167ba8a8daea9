"""The estimate counts what a cell computes."""

from types import SimpleNamespace

from mednet_bench.benchmark.run.estimate import _cell_cost
from mednet_bench.benchmark.schema.plan import Cell
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.benchmark.training.protocol import CostEstimate


def test_a_cell_costs_a_training_per_rate_and_one_pass_over_the_test_split() -> None:
    config = RunConfig(steps=100, lr_grid="1e-4,1e-3,1e-2", batch_size=10, evaluations=10)
    task = SimpleNamespace(split_sizes=(1000, 100, 500))
    resolved = SimpleNamespace(request=config, tasks={"t": task})
    cell = Cell(task="t", size=28, input_size=64, arch="a", init="scratch", protocol="finetune", labels=0.5)
    cost, early = _cell_cost(resolved, cell, set())  # type: ignore[arg-type]
    assert early and cost == CostEstimate(trained=3 * 100 * 10, seen=3 * (10 + 1) * 50 + 500)
