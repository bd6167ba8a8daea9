"""The pretraining half of docs/build-a-mednet.md: commands work, the projection adds up."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from small_corpus import make_corpus

from mednet_bench.baselines.pretrain_options import resolve_pretrain_options
from mednet_bench.benchmark.pretraining import projection
from mednet_bench.benchmark.pretraining.objective import OBJECTIVES
from mednet_bench.benchmark.pretraining.projection import EFFICIENCY, MeasuredRates, project_cost
from mednet_bench.benchmark.schema.request import RunConfig
from mednet_bench.cli.main import cli
from mednet_bench.core.progress import duration

PAGE = (Path(__file__).parents[3] / "docs" / "build-a-mednet.md").read_text(encoding="utf-8")
HALF = PAGE[PAGE.index("## The pretraining") :]
LINES = [line for block in re.findall(r"```sh\n(.*?)```", HALF, re.DOTALL) for line in block.splitlines()]
SMALL = "--arch test_resnet --steps 3 --batch-size 8 --input-size 32"


def words(line: str) -> list[str]:
    return shlex.split(line[line.index("mednet-bench") :])[1:]


@pytest.mark.slow
def test_the_commands_of_the_page_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpora").mkdir()
    make_corpus(tmp_path / "corpora" / "gray")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(projection, "CPU_SECONDS", 0.05)
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    made, used, mixed, _, _, to_timm, _, _, projected = LINES
    for line in (made, mixed, projected):
        result = CliRunner().invoke(cli, [*words(line), *SMALL.split()], standalone_mode=False)
        assert not result.exception, (line, result.exception)
    assert re.search(r"measured: .* images/s decoded by one core", result.output)
    assert (tmp_path / "gray-mednet" / "MODEL_CARD.md").is_file()
    result = CliRunner().invoke(cli, words(to_timm), standalone_mode=False)
    assert (result.exception, result.stdout.strip()) == (None, "gray-timm/README.md")
    phantom = (
        "--tasks phantom-organ --archs test_resnet --limit 1 --input-size 32 --fractions 0.1 --no-report"
    )
    result = CliRunner().invoke(cli, [*words(used), *phantom.split()], standalone_mode=False)
    assert (result.exception, result.return_value) == (None, 0), result.output


def test_the_command_of_a_run_has_options_of_pretrainings_that_exist() -> None:
    with cli.commands["run"].make_context("run", words(LINES[3])[1:]) as context:
        given = RunConfig(pretrain_option=context.params["pretrain_option"]).pretrain_option
    options = resolve_pretrain_options(given, {"mednet", "continued"}, OBJECTIVES)
    assert (options["mednet"].objective, options["mednet"].ema) == ("mixed", 0.999)
    assert (options["continued"].lr, options["continued"].anchor) == (1e-4, 0.01)


@pytest.mark.parametrize("text", [LINES[7], re.findall(r"```bash\n(.*?)```", HALF, re.DOTALL)[0]])
def test_the_commands_for_clusters_have_options_that_exist(text: str) -> None:
    name, *options = words(text.replace("\\\n", " "))
    command = cli.commands[name]
    with command.make_context(name, options) as context:
        assert isinstance(context, click.Context)
        assert context.params["arch"] == "resnet50"
    assert "torchrun" in text
    assert "--no-python" in text


def test_the_command_for_numbers_of_images_has_options_that_exist() -> None:
    name, *options = words(LINES[4])
    with cli.commands[name].make_context(name, options) as context:
        assert "mednet@1000" in context.params["inits"]


def row(start: str) -> list[str]:
    (line,) = [line for line in HALF.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def numbers(start: str) -> list[float]:
    return [
        float(found.replace(",", "")) for cell in row(start)[:2] for found in re.findall(r"^[\d.,]+", cell)
    ]


def test_the_projection_is_what_its_parts_give() -> None:
    decode, size, gpu = numbers("decoded by one core"), numbers("size of a PNG"), numbers("one GPU")
    assert row("eight GPUs of one node")[0] == f"{EFFICIENCY:g} of 8 times one"
    rates = [MeasuredRates(decode[at], gpu[at], 1000 * size[at]) for at in range(2)]
    cases = [(each, count) for count in (1, 8) for each in rates]

    def of(shown: int) -> list[tuple[float, float, float]]:
        wholes = [(project_cost(shown, each, n, EFFICIENCY if n > 1 else 1), n) for each, n in cases]
        return [(whole.seconds, whole.cores * n, whole.megabytes_per_second) for whole, n in wholes]

    once, many = of(3_000_000), of(90 * 3_000_000)
    assert row("3 million images once") == [duration(seconds) for seconds, _, _ in once]
    assert row("90 times") == [duration(seconds) for seconds, _, _ in many]
    assert row("cores that decode, in all") == [f"{cores:.2g}" for _, cores, _ in once]
    assert row("read from the disk") == [f"{rate:,.0f} MB/s" for _, _, rate in once]
    assert f"{3 * size[0]:.0f} GB in gray and {3 * size[1]:.0f} GB in color" in " ".join(HALF.split())


def test_decoding_that_cannot_keep_up_shows_in_the_cores() -> None:
    slow = project_cost(
        1000, MeasuredRates(decode=100, step=400, bytes_per_image=1e6), devices=2, efficiency=0.5
    )
    assert (slow.seconds, slow.cores, slow.megabytes_per_second) == (2.5, 2.0, 400.0)
