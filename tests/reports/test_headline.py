"""The headline: at most 20 words, and no claim without the verdicts that it counts."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Grid, write_run

from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.report_input import ReportInput
from mednet_bench.reports.analysis.verdicts import Verdict, compute_verdicts
from mednet_bench.reports.answers import headline as module
from mednet_bench.reports.answers.headline import (
    MOST_WORDS,
    doubts,
    headline,
    pair_headlines,
    recommendation,
    sureness,
)
from mednet_bench.reports.elements.verdict_format import verdicts_between
from mednet_bench.reports.pages.overview import notices
from mednet_bench.reports.statistics.verdict_terms import DoubtFlag

PAIR = ("mednet", "imagenet")
MINUS = "\N{MINUS SIGN}"


def loaded(folder: Path, **grid: object) -> ReportInput:
    write_run(folder, Grid(**grid))  # type: ignore[arg-type]
    return load_report_input([folder])


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ReportInput:
    return loaded(tmp_path_factory.mktemp("run"))


def text_of(results: ReportInput, names: Sequence[str], **changes: object) -> str:
    """Headline of mednet against imagenet if its comparisons had these verdicts."""
    found = verdicts_between(compute_verdicts(results), *PAIR)
    chosen = [replace(v, verdict=name, **changes) for v, name in zip(found, names, strict=False)]
    return module._pair_headline(results, PAIR, chosen).text


@pytest.mark.parametrize(
    ("names", "claim"),
    [
        (["worse"] * 8 + ["undecided"], "mednet is worse than imagenet in 8 of 9 comparisons: "),
        (["better"] * 9, "mednet is better than imagenet in 9 of 9 comparisons: "),
        (
            ["equivalent"] * 2 + ["undecided"] * 7,
            "Mostly undecided: mednet is equivalent to imagenet in 2 of 9 comparisons; mean ",
        ),
        (["undecided"] * 9, "Undecided: mednet against imagenet, 0 of 9 comparisons decided: "),
        (
            ["better", "worse", "worse"] + ["undecided"] * 6,
            "Mostly undecided: mednet against imagenet: better in 1, worse in 2 of 9 comparisons; mean ",
        ),
        (
            ["better", "equivalent", "worse"] * 3,
            "mednet against imagenet: better in 3, equivalent in 3, worse in 3 of 9 comparisons; mean ",
        ),
    ],
)
def test_every_mix_of_verdicts_has_its_sentence(results: ReportInput, names: list[str], claim: str):
    text = text_of(results, names)
    assert text.startswith(claim) and len(text.split()) <= MOST_WORDS
    assert re.search(r"[+\u2212]0\.\d{3} AUC", text)


def test_the_mean_is_over_tasks_with_its_interval(results: ReportInput):
    found = verdicts_between(compute_verdicts(results), *PAIR)
    by_task: dict[str, list[float]] = {}
    for verdict in found:
        by_task.setdefault(verdict.a.task, []).append(verdict.difference)
    means = [sum(of) / len(of) for of in by_task.values()]
    text = text_of(results, ["worse"] * 9)
    assert f"{sum(means) / 3:+.3f} AUC on average over 3 tasks (".replace("-", MINUS) in text
    low, high = (float(end.replace(MINUS, "-")) for end in re.findall(r"[+\u2212]\d\.\d{3}", text)[1:])
    assert low < sum(means) / 3 < high


def test_one_comparison_gives_its_own_interval_and_task(tmp_path: Path):
    one = loaded(tmp_path, tasks=("breastmnist",), fractions=(1.0,))
    verdict = verdicts_between(compute_verdicts(one), *PAIR)[0]
    text = headline(one).text
    assert "of 1 comparison" in text and text.endswith("on breastmnist, 100\N{NO-BREAK SPACE}%.")
    assert f"{verdict.interval[0]:+.3f} to {verdict.interval[1]:+.3f}".replace("-", MINUS) in text
    assert len(text.split()) <= MOST_WORDS


def test_one_task_with_several_numbers_of_labels_has_no_interval(tmp_path: Path):
    text = headline(loaded(tmp_path, tasks=("breastmnist",))).text
    assert text.endswith("AUC on average on breastmnist.") and "(" not in text


def test_generated_images_are_named_first_and_real_ones_counted_alone(tmp_path: Path):
    made = loaded(tmp_path / "a", tasks=("phantom-thorax", "phantom-cells"))
    assert headline(made).text.startswith("Generated images")
    assert "generated images" in recommendation(made) or "No init" in recommendation(made)
    mixed = loaded(tmp_path / "b", tasks=("phantom-thorax", "breastmnist"))
    assert "of 3 comparisons" in headline(mixed).text and "Generated" not in headline(mixed).text


def test_without_medical_weights_the_answer_is_about_imagenet(tmp_path: Path):
    results = loaded(tmp_path, inits=("imagenet", "scratch"))
    found = headline(results)
    assert found.pair == ("imagenet", "scratch")
    assert "no medical weights" in sureness(results, found)


def test_contaminated_comparisons_give_no_verdict(results: ReportInput):
    flags = (DoubtFlag("contaminated", "seen"),)
    text = text_of(results, ["undecided"] * 9, flags=flags)
    assert text == "No verdict: mednet against imagenet is contaminated everywhere."


def test_nothing_finished_nothing_to_compare_and_failed_cells(tmp_path: Path):
    failed = loaded(tmp_path / "a", fail=lambda cell: True)
    assert headline(failed).text.startswith("No answer: ") and "failed" in headline(failed).text
    alone = loaded(tmp_path / "b", inits=("scratch",))
    assert headline(alone).text == "Nothing to compare: there are results of scratch only."
    some = loaded(tmp_path / "c", fail=lambda cell: cell.seed == 1 and cell.init == "mednet")
    assert "failed" in doubts(some, notices(some))[0]


COUNT = re.compile(r"(better|equivalent|worse)(?: than \S+| to \S+)? in (\d+)")


def claims(text: str) -> dict[str, int]:
    return {name: int(n) for name, n in COUNT.findall(text)}


@pytest.mark.parametrize("seeds", [(0, 1, 2), (3, 4, 5, 6, 7)])
@pytest.mark.parametrize("protocols", [("linear",), ("finetune", "knn")])
def test_no_headline_claims_more_than_its_verdicts(
    tmp_path: Path, seeds: tuple[int, ...], protocols: tuple[str, ...]
):
    results = loaded(tmp_path, seeds=seeds, protocols=protocols)
    for found in pair_headlines(results):
        members: list[Verdict] = verdicts_between(compute_verdicts(results), *found.pair)
        counts = Counter(verdict.verdict for verdict in members)
        assert claims(found.text) == {n: counts[n] for n in ("better", "equivalent", "worse") if counts[n]}
        assert f"of {len(members)} comparisons" in found.text
        assert len(found.text.split()) <= MOST_WORDS


def test_the_recommended_init_has_the_best_balance(results: ReportInput):
    balance: Counter[str] = Counter()
    for verdict in compute_verdicts(results):
        sign = {"better": 1, "worse": -1}.get(verdict.verdict, 0)
        balance[verdict.a.init] += sign
        balance[verdict.b.init] -= sign
    best, ahead = balance.most_common(1)[0]
    text = recommendation(results)
    assert text.startswith(f"{best} is best supported") if ahead > 0 else text.startswith("No init is shown")
