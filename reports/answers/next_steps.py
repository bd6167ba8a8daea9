"""Next steps: options of `run`, computed from gaps, verdicts and flags."""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...benchmark.schema.plan import TrainingConfig, steps_text
from ...benchmark.schema.request import seed_list
from ..analysis.report_input import ReportInput
from ..analysis.verdicts import UNDECIDED, Verdict
from ..elements.format import DASH, GENERATED, NBSP, count_noun, join_words
from ..elements.section import ReportAnswer, Table, TableColumn
from ..elements.verdict_format import range_with_noun

NAMED_TASKS = 5
"""Tasks that are named; the others are counted."""
MOST_ADVISED_SEEDS = 20
"""More seeds are not advised."""
GRIDS = {"lr": "--lr-grid", "l2": "--l2-grid", "k": "--k-grid"}
"""Name of a hyper-parameter -> option with its grid."""
IN_ANSWER = 2
LEAST_SEEDS = 3


@dataclass(frozen=True)
class NextStep:
    """One thing to run.

    Attributes:
        gain: expected gain, a sentence without its full stop.
        options: options of `mednet-bench run` to change; "" for the same command.
        more: expectations and cautions, without the last full stop.
    """

    gain: str
    options: str = ""
    more: str = ""


def next_steps(results: ReportInput, verdicts: Sequence[Verdict]) -> tuple[NextStep, ...]:
    """Return what to run, the surest gain first."""
    found = (
        _gaps(results), _leaks(verdicts), _without_evidence(verdicts), _inits(results, verdicts),
        _real_tasks(results), _single_seeds(results, verdicts), _refused_pairs(verdicts),
        _seeds(results, verdicts), _images(verdicts), _grids(results, verdicts), _steps(results, verdicts),
    )  # fmt: skip
    return tuple(step for steps in found for step in steps)


def next_answer(steps: Sequence[NextStep], verdicts: Sequence[Verdict]) -> ReportAnswer:
    """Answer with the first steps, or that every comparison has a verdict."""
    parts = [
        f"{step.gain}{f': {step.options}' if step.options else ''}.{f' {step.more}.' * bool(step.more)}"
        for step in steps[:IN_ANSWER]
    ]
    left = len(steps) - IN_ANSWER
    more = f" {count_noun(left, 'more step')} in the table." if left > 0 else ""
    open_ = sum(verdict.verdict == UNDECIDED for verdict in verdicts)
    nothing = "Nothing: every comparison has its verdict. Other tasks would show whether the results hold."
    if open_:
        nothing = f"No option of run would settle the {count_noun(open_, 'undecided comparison')}."
    sentence = f"{' '.join(parts)}{more}" if steps else nothing
    return ReportAnswer("What should I run next to know more?", sentence, "next-steps")


def next_sentence(results: ReportInput, verdicts: Sequence[Verdict]) -> tuple[str, str]:
    """Return the surest next step and its options of `mednet-bench run`; each may be ""."""
    step = next(iter(next_steps(results, verdicts)), None)
    return (f"{step.gain}.", step.options) if step else ("", "")


def next_table(steps: Sequence[NextStep]) -> Table:
    """List every step with its options."""
    rows = tuple((step.options or DASH, ". ".join(filter(None, (step.gain, step.more)))) for step in steps)
    columns = (TableColumn("Options", "", "options of mednet-bench run"), TableColumn("Expected gain"))
    return Table("Next steps, the surest gain first", columns, rows)


def _gaps(results: ReportInput) -> Iterator[NextStep]:
    waiting = sum(item.reason != "failed" for item in results.missing)
    lost = [f"{count_noun(len(results.failed), 'cell')} failed"] * bool(results.failed)
    have = "has" if waiting == 1 else "have"
    lost += [f"{count_noun(waiting, 'planned cell')} {have} no result"] * bool(waiting)
    if lost:
        yield NextStep(f"{join_words(lost)}: run the same command again")


def _leaks(verdicts: Sequence[Verdict]) -> Iterator[NextStep]:
    """Advise to drop copies; a leak that needs other splits gets no option."""
    copies = {v.a.task for v in verdicts if v.has("test-in-train")}
    if copies:
        many = f"Test images of {_some(copies)} are also in train or val"
        yield NextStep(f"{many}; dropping them leaves only new images in the scores", "--dedupe")
    shared = {v.a.task for v in verdicts if v.has("groups-in-train", "near-copies-in-train")}
    if shared:
        yield NextStep(
            f"Test images of {_some(shared)} are near copies of images in train or val, or of the same "
            "patients: only splits that keep these together measure the score on new patients"
        )


def _without_evidence(verdicts: Sequence[Verdict]) -> Iterator[NextStep]:
    """Give the reason for comparisons without evidence: no option of `run` helps."""
    why = Counter(v.barred.reason for v in verdicts if v.barred and v.barred.name == "no-evidence")
    for reason, n in why.items():
        yield NextStep(f"{count_noun(n, 'comparison')} can have no verdict, since {reason}: fix that first")


def _some(tasks: Iterable[str]) -> str:
    """List the first tasks by name and count the others."""
    names = sorted(tasks)
    more = len(names) - NAMED_TASKS
    return join_words([*names[:NAMED_TASKS], *[count_noun(more, "more task")] * (more > 0)])


def _inits(results: ReportInput, verdicts: Sequence[Verdict]) -> Iterator[NextStep]:
    if results.rows and not verdicts:
        yield NextStep("There is nothing to compare yet", "--inits mednet,imagenet,scratch")


def _real_tasks(results: ReportInput) -> Iterator[NextStep]:
    if results.rows and all(results.generated(row.task) for row in results.rows):
        yield NextStep(f"Every task here is {GENERATED}; use real ones", "--tasks available")


def _single_seeds(results: ReportInput, verdicts: Sequence[Verdict]) -> Iterator[NextStep]:
    alone = [verdict for verdict in verdicts if verdict.barred and verdict.barred.name == "single-seed"]
    if alone:
        used = {seed for verdict in alone for seed in verdict.seeds}
        rest = "rests" if len(alone) == 1 else "rest"
        seeds = more_seeds(used, LEAST_SEEDS)
        gain = f"{count_noun(len(alone), 'comparison')} {rest} on a single seed and can have no verdict"
        yield NextStep(gain, _seed_options(results, seeds))


def _seed_options(results: ReportInput, seeds: Sequence[int]) -> str:
    """Return the options that run these seeds, all of them as repeats where `--repeats` was given."""
    repeats = results.plan.request.get("repeats") if results.plan else 0
    return f"--seeds {seed_list(seeds)}{f' --repeats {len(seeds)}' if repeats else ''}"


def _refused_pairs(verdicts: Sequence[Verdict]) -> Iterator[NextStep]:
    refused = sum(verdict.has("not-comparable") for verdict in verdicts)
    if refused:
        why = "the inits differ in data, options, protocol version or kind of device; run them in one command"
        yield NextStep(f"{count_noun(refused, 'comparison')} refused: {why}", "--out runs/anew")


def _seeds(results: ReportInput, verdicts: Sequence[Verdict]) -> Iterator[NextStep]:
    """Advise one number of seeds for all: adding seeds to single pairs inflates the error rate."""
    open_ = [v for v in verdicts if _wants_seeds(v)]
    open_ = [v for v in open_ if not results.generated(v.a.task)] or open_
    if not open_:
        return
    asked = sorted(int(verdict.seeds_needed) for verdict in open_)
    settled = [n for n in asked if n <= MOST_ADVISED_SEEDS]
    rest = asked[len(settled) :]
    others, beyond = count_noun(len(rest), "other" if settled else "comparison"), ""
    if rest:
        beyond = f"{others} would need {range_with_noun(rest, 'seed')}"
    if not settled:
        yield NextStep(f"More seeds would hardly help: {beyond}")
        return
    used = {seed for row in results.rows for seed in row.seeds}
    seeds = more_seeds(used, settled[-1])
    made = f" ({GENERATED})" if results.generated(open_[0].a.task) else ""
    same = len(seeds) == len(used)  # undecided pairs lack seeds that others have
    change = f"{len(seeds)} seeds instead of {len(used)}"
    if same:
        change = f"the same {count_noun(len(seeds), 'seed')}"
    yield NextStep(
        f"Run all inits and tasks with {change}",
        _seed_options(results, seeds),
        f"{count_noun(len(settled), 'undecided comparison')}{made} would then be settled, "
        f"{'each ' * (len(settled) > 1)}with about 80{NBSP}% probability if the true difference is as large "
        f"as estimated{f'; {beyond}' if beyond else ''}. The larger run is one new look: looking again after "
        f"each added seed inflates the 5{NBSP}% error rate",
    )


def _wants_seeds(verdict: Verdict) -> bool:
    """Whether more seeds would settle the comparison; never for two models that no seed changes."""
    more = len(verdict.seeds) < verdict.seeds_needed < math.inf
    return verdict.verdict == UNDECIDED and more and not verdict.has("fixed-models")


def _images(verdicts: Sequence[Verdict]) -> Iterator[NextStep]:
    hopeless = [v for v in verdicts if v.verdict == UNDECIDED and math.isinf(v.seeds_needed)]
    tasks = Counter((verdict.a.task, verdict.n_test, verdict.generated) for verdict in hopeless)
    if not tasks:
        return
    parts = [
        f"{task}{f' ({GENERATED})' if made else ''} ({n} of them, {images:,} test images)"
        for (task, images, made), n in tasks.most_common(NAMED_TASKS)
    ]
    parts += [count_noun(len(tasks) - NAMED_TASKS, "more task")] * (len(tasks) > NAMED_TASKS)
    yield NextStep(
        f"No number of seeds would settle {count_noun(len(hopeless), 'comparison')}, only more test images: "
        f"find test sets of the same kind that are larger than {join_words(parts)}"
    )


def _concludes(verdict: Verdict) -> bool:
    """Whether there are enough test images to advise a longer or wider search."""
    return not verdict.barred and not verdict.has("few-test", "few-groups")


def _grids(results: ReportInput, verdicts: Sequence[Verdict]) -> Iterator[NextStep]:
    """Widen every grid with a choice at its edge, for comparisons with enough test images."""
    useful = {key for v in verdicts if _concludes(v) for key in (*v.a.keys, *v.b.keys)}
    edges: dict[tuple[str, tuple[float, ...]], list[float]] = defaultdict(list)
    for record in results.counted:
        for choice in record.choices:
            if record.key in useful and choice.at_edge and choice.name in GRIDS:
                edges[choice.name, choice.grid].append(choice.value)
    for (name, grid), chosen in edges.items():
        wide = widen_grid(grid, min(chosen) == min(grid), max(chosen) == max(grid), whole=name == "k")
        if len(wide) > len(grid):
            gain = (
                f"{count_noun(len(chosen), 'cell')} chose {name} at the edge of the grid and might do "
                "better beyond it; a wider grid recomputes all cells that use it"
            )
            yield NextStep(gain, f"{GRIDS[name]} {','.join(f'{value:g}' for value in wide)}")


def _steps(results: ReportInput, verdicts: Sequence[Verdict]) -> Iterator[NextStep]:
    late = [v for v in verdicts if _concludes(v) and v.has("still-improving")]
    if late:
        recipe = results.plan.recipe if results.plan else TrainingConfig()
        least, most = recipe.steps
        more = f"--steps {steps_text((2 * least, 2 * most))}"
        more = more if least == most else f"--passes {2 * recipe.passes:g} {more}"
        where = count_noun(len(late), "comparison")
        yield NextStep(f"In {where} an init was still improving at its last step", more)


def more_seeds(used: Iterable[int], wanted: int) -> list[int]:
    """Return `used` and the smallest others, `wanted` in all, so that no seed is run again."""
    kept = set(used)
    new = (seed for seed in range(wanted + len(kept)) if seed not in kept)
    return sorted(kept | set(itertools.islice(new, max(0, wanted - len(kept)))))


def widen_grid(grid: Sequence[float], below: bool, above: bool, whole: bool = False) -> list[float]:
    """Return `grid` with one more value, at the same ratio, on the sides `below` and `above`.

    With `whole`, only integers of at least 1 are added below, since k-NN has no half neighbor.
    """
    values = sorted(grid)
    low, high = values[0] ** 2 / values[1], values[-1] ** 2 / values[-2]
    ends = [float(f"{value:.1g}") for value in (low, high)]
    if below and (not whole or (ends[0].is_integer() and ends[0] >= 1)):
        values = [ends[0], *values]
    return [*values, ends[1]] if above else values
