"""What should I run next to know more? Options of `run`, computed from gaps, verdicts and flags."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from .results import Results
from .section import Answer
from .verdict_words import barred, pair_name, pair_of, spans
from .verdicts import CANNOT_TELL, Verdict
from .wording import GENERATED, count, listed, percent

CHEAPEST = 5
"""Comparisons that are named one by one; of the others the number is told."""
GRIDS = {"lr": "--lr-grid", "l2": "--l2-grid", "k": "--k-grid"}
"""Name of a choice -> the option that holds its grid."""
IN_ANSWER = 3


def next_steps(results: Results, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Return what to run, the surest gain first; each with the options of `mednet-bench run`."""
    found = (
        _gaps(results),
        _inits(results, verdicts),
        _single(verdicts),
        _refused(verdicts),
        _seeds(results, verdicts),
        _images(verdicts),
        _grids(results),
        _steps(results, verdicts),
        _real(results),
    )
    return tuple(step for steps in found for step in steps)


def next_answer(steps: Sequence[str]) -> Answer:
    """Answer with the first steps."""
    told = " ".join(f"({place}) {step}" for place, step in enumerate(steps[:IN_ANSWER], 1))
    more = f" And {count(len(steps) - IN_ANSWER, 'more step')} below." if len(steps) > IN_ANSWER else ""
    nothing = "Nothing here: every comparison has its verdict. Other tasks would tell how far it reaches."
    return Answer("What should I run next to know more?", f"{told}{more}" if steps else nothing, 80)


def _gaps(results: Results) -> Iterator[str]:
    waiting = sum(item.reason != "failed" for item in results.missing)
    lost = [f"{count(len(results.failed), 'cell')} failed"] * bool(results.failed)
    lost += [f"{count(waiting, 'planned cell')} {'has' if waiting == 1 else 'have'} no result"] * bool(
        waiting
    )
    if lost:
        yield f"Run the same command again: {listed(lost)}."


def _inits(results: Results, verdicts: Sequence[Verdict]) -> Iterator[str]:
    if results.rows and not verdicts:
        yield "There is nothing to compare yet: add --inits mednet,imagenet,scratch."


def _single(verdicts: Sequence[Verdict]) -> Iterator[str]:
    alone = [verdict for verdict in verdicts if barred(verdict) == "single-seed"]
    if alone:
        held = {seed for verdict in alone for seed in verdict.seeds}
        told = "rests" if len(alone) == 1 else "rest"
        yield (
            f"{count(len(alone), 'comparison')} {told} on a single seed and can have no verdict: "
            f"--seeds {written(more_seeds(held, 3))}."
        )


def _refused(verdicts: Sequence[Verdict]) -> Iterator[str]:
    refused = sum(barred(verdict) == "not-comparable" for verdict in verdicts)
    if refused:
        yield (
            f"{count(refused, 'comparison')} refused, since the two inits did not meet the same data, "
            "options or kind of device: run both in one command and a new --out."
        )


def _seeds(results: Results, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Name the comparisons that the fewest more seeds would settle."""
    open_ = [v for v in verdicts if v.verdict == CANNOT_TELL and math.isfinite(v.seeds_needed)]
    open_.sort(key=lambda verdict: (results.generated(verdict.a.task), verdict.seeds_needed))
    for verdict in open_[:CHEAPEST]:
        a, b = verdict.a, verdict.b
        seeds = written(more_seeds(verdict.seeds, int(verdict.seeds_needed)))
        made = f" ({GENERATED})" if results.generated(a.task) else ""
        yield (
            f"{verdict.seeds_needed:,.0f} seeds instead of {len(verdict.seeds)} would tell {a.init} from "
            f"{b.init} on {a.task}{made} at {percent(a.fraction)} of the labels ({a.protocol}), if the "
            f"difference is as large as it looks: --tasks {a.task} --inits {a.init},{b.init} "
            f"--protocols {a.protocol} --fractions {a.fraction:g} --seeds {seeds}."
        )
    if len(open_) > CHEAPEST:
        needed = sorted(int(verdict.seeds_needed) for verdict in open_[CHEAPEST:])
        yield (
            f"{count(len(needed), 'further comparison')} would need {spans(needed, 'seed')}: the column Seeds "
            "needed says which."
        )


def _images(verdicts: Sequence[Verdict]) -> Iterator[str]:
    hopeless = [v for v in verdicts if v.verdict == CANNOT_TELL and math.isinf(v.seeds_needed)]
    tasks = Counter((verdict.a.task, verdict.n_test, verdict.generated) for verdict in hopeless)
    if tasks:
        told = listed(
            [
                f"{task}{f' ({GENERATED})' if made else ''} ({n} of them, {images:,} test images)"
                for (task, images, made), n in tasks.most_common(CHEAPEST)
            ]
        )
        more = f" and {len(tasks) - CHEAPEST} more tasks" if len(tasks) > CHEAPEST else ""
        yield (
            f"No number of seeds would settle {count(len(hopeless), 'comparison')}; more test images would, "
            f"so look for a larger set of the same kind: {told}{more}."
        )


def _grids(results: Results) -> Iterator[str]:
    """Widen every grid from whose edge something was chosen."""
    edges: dict[tuple[str, tuple[float, ...]], list[float]] = defaultdict(list)
    for record in results.counted:
        for choice in record.choices:
            if choice.at_edge and choice.name in GRIDS:
                edges[choice.name, choice.grid].append(choice.value)
    for (name, grid), chosen in edges.items():
        wide = wider(grid, min(chosen) == min(grid), max(chosen) == max(grid), whole=name == "k")
        if len(wide) > len(grid):
            values = ",".join(f"{value:g}" for value in wide)
            yield (
                f"{count(len(chosen), 'cell')} chose {name} from the edge of the grid, and might do better "
                f"beyond it: {GRIDS[name]} {values}. What uses this grid is then computed anew."
            )


def _steps(results: Results, verdicts: Sequence[Verdict]) -> Iterator[str]:
    late = [v for v in verdicts if any(flag.name == "still-improving" for flag in v.flags)]
    if late:
        steps = results.plan.recipe.steps if results.plan else 0
        option = f"--steps {2 * steps}" if steps else "more --steps"
        pairs = listed([*dict.fromkeys(pair_name(pair_of(verdict)) for verdict in late)][:CHEAPEST])
        where = count(len(late), "comparison")
        yield f"In {where} an init was still improving at the end ({pairs}): {option}."


def _real(results: Results) -> Iterator[str]:
    if results.rows and all(results.generated(row.task) for row in results.rows):
        yield f"Every task here is {GENERATED}: take real ones with --tasks available."


def more_seeds(held: Iterable[int], wanted: int) -> list[int]:
    """Return `held` and the smallest others, `wanted` in all: what has been run is not run again."""
    kept = set(held)
    new = (seed for seed in range(wanted + len(kept)) if seed not in kept)
    return sorted(kept | {seed for seed, _ in zip(new, range(wanted - len(kept)), strict=False)})


def written(seeds: Sequence[int]) -> str:
    """Write ascending seeds as `--seeds` reads them, e.g. "0..4,7"."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ",".join(f"{run[0]}..{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def wider(grid: Sequence[float], below: bool, above: bool, whole: bool = False) -> list[float]:
    """Return `grid` with one value more on the sides that are asked for, as far off as its neighbours are.

    A whole number below 1 is left out: nobody has half a neighbour.
    """
    values = sorted(grid)
    low, high = values[0] ** 2 / values[1], values[-1] ** 2 / values[-2]
    ends = [float(f"{value:.1g}") for value in (low, high)]
    if below and (not whole or (ends[0].is_integer() and ends[0] >= 1)):
        values = [ends[0], *values]
    return [*values, ends[1]] if above else values
