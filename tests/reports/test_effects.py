"""Effects of one fact of pretraining: which pairs, in which words, and how often a verdict is wrong."""

import csv
import itertools
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import stats
from synthetic import Grid, write_run

from mednet_bench.baselines.naming import pair_with_archs, read_inits
from mednet_bench.baselines.weights.checkpoint import init_from_card
from mednet_bench.baselines.zoo.card import find_zoo_card
from mednet_bench.benchmark.run.new_record import init_facts
from mednet_bench.benchmark.schema.records import InitFacts, RecordStore
from mednet_bench.reports.analysis.aggregate import (
    ComparableSetting,
    SettingScores,
    difference_over_tasks,
    overall_differences,
)
from mednet_bench.reports.analysis.effects import fact_effects
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.analysis.pretraining_facts import (
    CORPUS,
    IMAGES,
    INPUT,
    OBJECTIVE,
    START,
    NamedFacts,
    find_single_difference,
)
from mednet_bench.reports.pages.build import build_report
from mednet_bench.reports.pages.effects_csv import effects_csv
from mednet_bench.reports.sections.effects import effects_section
from mednet_bench.reports.statistics.multiplicity import adjust_by_bh
from mednet_bench.reports.statistics.over_tasks import MeanOverTasks, decide_means, mean_over
from mednet_bench.reports.statistics.paired import DIFFERENT, NEITHER, WITHIN

ZOO_PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"
VIT, RESNET = "vit_small_patch16_224", "resnet50"
TASKS = ("breastmnist", "bloodmnist", "dermamnist", "octmnist", "pneumoniamnist", "retinamnist")
DINOS = ("zoo/dino-vit-s16", "zoo/lunit-dino", "zoo/radio-dino-s16")


def facts_of(init: str, **changes: object) -> NamedFacts:
    """Return the facts of a public checkpoint, as a record has them; `changes` replace some."""
    card = find_zoo_card(init.partition("/")[2])
    file = "ResNet50.pt" if card.path == "ResNet50.pt" else card.name  # two cards of one file
    facts = init_facts(init_from_card(card, init, Path(file), file), None)
    stored = msgspec.json.decode(msgspec.json.encode(facts), type=InitFacts)
    return NamedFacts(init, card.arch, msgspec.structs.replace(stored, **changes))


PAIRS = {
    ("zoo/lunit-dino", "zoo/dino-vit-s16"): (
        CORPUS, "medical images (tcga-wsi) instead of ImageNet (imagenet-1k)",
    ),
    ("zoo/lunit-dino", "zoo/radio-dino-s16"): (CORPUS, "medical images of tcga-wsi instead of radimagenet"),
    ("zoo/augreg-in1k-vit-b16", "zoo/augreg-in21k-vit-b16"): (CORPUS, "imagenet-1k instead of imagenet-21k"),
    ("zoo/ultrafedfm", "zoo/mae-vit-b16"): (
        CORPUS, "medical images (private:ultrafedfm) instead of ImageNet (imagenet-1k)",
    ),
    ("zoo/dino-resnet50", "zoo/resnet50-tv"): (OBJECTIVE, "self-supervised DINO instead of supervised"),
    ("zoo/gastronet-5m-dino", "zoo/gastronet-200k-dino"): (
        IMAGES, "5,000,000 images instead of 200,000 (private:gastronet-5m)",
    ),
    ("zoo/gastronet-5m-dino-continued", "zoo/gastronet-5m-dino"): (
        START, "continued from billion-scale weights instead of from a start that is not stated",
    ),
    ("zoo/dinobloom-s14", "zoo/dinov2-vit-s14"): (
        START, "continued on bone-marrow-mll, pbc, undeclared images instead of zoo/dinov2-vit-s14 as it is",
    ),
    ("zoo/radimagenet-resnet50-rgb", "zoo/radimagenet-resnet50"): (
        INPUT, "input channels rgb instead of bgr; mean (0.485, 0.456, 0.406) instead of (0.5, 0.5, 0.5); "
        "std (0.229, 0.224, 0.225) instead of (0.5, 0.5, 0.5)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
def test_two_checkpoints_that_differ_in_one_fact_are_a_pair_whichever_comes_first(pair: tuple[str, str]):
    first, second = map(facts_of, pair)
    found, again = find_single_difference(first, second), find_single_difference(second, first)
    assert found and again and (found.fact, found.words) == PAIRS[pair]
    assert (found.a, found.b) == pair
    symmetric = pair[0] == "zoo/lunit-dino" and pair[1] == "zoo/radio-dino-s16"
    if found.fact != INPUT and not symmetric and "augreg" not in pair[0]:
        assert again == found, "the order of the run decides only where no fact says which comes first"


TWO_FACTS = {
    "corpus and objective": ("zoo/dino-resnet50", "zoo/radimagenet-resnet50"),
    "objective and number of images": ("zoo/gastronet-5m-moco", "zoo/gastronet-1m-dino"),
    "start and number of images": ("zoo/gastronet-5m-dino-continued", "zoo/gastronet-1m-dino"),
    "another network": ("zoo/lunit-dino", "zoo/lunit-dino-s8"),
    "another network by its arguments": ("zoo/h0-mini", "zoo/reddino-b14"),
    "no stated fact": ("zoo/resnet50-tv", "zoo/resnet50-a1"),
    "a number of images that one does not state": ("zoo/lunit-dino", "zoo/kaiko-s16"),
}


@pytest.mark.parametrize("pair", TWO_FACTS.values(), ids=TWO_FACTS)
def test_no_effect_is_given_where_none_or_several_facts_differ(pair: tuple[str, str]):
    assert find_single_difference(*map(facts_of, pair)) is None


def test_undeclared_images_are_not_the_same_data_sets():
    first = facts_of("zoo/dinobloom-s14", identity="another file", objective="self-supervised iBOT")
    assert find_single_difference(first, facts_of("zoo/dinobloom-s14")) is None
    declared = facts_of("zoo/dinobloom-s14", identity="another file", corpora=("bone-marrow-mll", "pbc"))
    assert find_single_difference(declared, facts_of("zoo/dinobloom-s14")) is None
    known = facts_of("zoo/dinobloom-s14", corpora=("pbc",))
    other = facts_of("zoo/dinobloom-s14", identity="another file", corpora=("pbc",), objective="iBOT")
    found = find_single_difference(other, known)
    assert found and found.fact == OBJECTIVE and "same data sets (pbc)" in found.same


UNUSABLE: Mapping[str, Mapping[str, object]] = {
    "older record": {"objective": "", "corpora": (), "pretraining_images": 0, "arch_args": {}},
    "unknown objective": {"objective": "unknown"},
    "undeclared images": {"corpora": ("unknown",)},
    "derived": {"derived_from": "zoo/lunit-dino"},
    "random": {"random": True},
    "the same weights under another name": {"identity": facts_of("zoo/dino-vit-s16").facts.identity,
                                            "contract": facts_of("zoo/dino-vit-s16").facts.contract},
}  # fmt: skip


@pytest.mark.parametrize("changes", UNUSABLE.values(), ids=UNUSABLE)
def test_facts_that_are_not_known_or_contradict_the_weights_give_no_effect(changes: Mapping[str, object]):
    other = facts_of("zoo/dino-vit-s16")
    assert find_single_difference(facts_of("zoo/lunit-dino"), other)
    assert find_single_difference(facts_of("zoo/lunit-dino", **changes), other) is None


def test_all_that_differs_with_a_fact_and_all_that_is_not_certain_is_named():
    found = find_single_difference(facts_of("zoo/ultrafedfm"), facts_of("zoo/mae-vit-b16"))
    assert found
    assert found.besides == (
        "number of images: 1,000,000 instead of 1,281,167",
        "objective in full: self-supervised MAE, federated instead of self-supervised MAE",
        "input interpolation bilinear instead of bicubic",
    )
    assert found.unsure == (
        "starting weights not stated (zoo/ultrafedfm, zoo/mae-vit-b16)",
        "number of images from memory (zoo/mae-vit-b16)",
        "input from memory (zoo/ultrafedfm)",
        "network from memory (zoo/ultrafedfm)",
    )
    assert found.licenses == ("zoo/mae-vit-b16: no commercial use, or no derivatives (cc-by-nc-4.0)",)
    bloom = find_single_difference(facts_of("zoo/dinobloom-s14"), facts_of("zoo/dinov2-vit-s14"))
    assert bloom and bloom.besides[0] == "number of further images: 380,000"
    assert "input side of the positions as stored: 224 instead of the arch's own" in bloom.besides
    assert "data sets not fully declared (zoo/dinobloom-s14)" in bloom.unsure
    radiology = find_single_difference(facts_of("zoo/radio-dino-s16"), facts_of("zoo/lunit-dino"))
    assert radiology and "color of the images: gray instead of color" in radiology.besides


DESIGNS = (ZOO_PAGE.read_text().partition("## Designs")[2].partition("## The card")[0]).split("\n**")[1:]


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.partition("**")[0])
def test_a_design_of_the_documentation_pairs_under_one_arch_and_has_these_effects(design: str):
    words = re.search(r"^mednet-bench run (.*)$", design, re.M)
    assert words
    command = words[1].split()
    options = dict(zip(command[::2], command[1::2], strict=True))
    paired = pair_with_archs(read_inits(options["--inits"].split(",")), options["--archs"].split(","))
    inits = [facts_of(init.name) for arch, init in paired.pairs if arch == options["--archs"]]
    assert len(inits) == len(paired.pairs) == options["--inits"].count(",") + 1 and not paired.left_out
    found = [find_single_difference(*pair) for pair in itertools.combinations(inits, 2)]
    expected = {(effect.a, effect.b, effect.question) for effect in found if effect}
    lists = " ".join(design.split("```")[2].partition("\n\nFive ")[0].split())
    assert expected == set(re.findall(r"\* `(\S+)` minus `(\S+)`: (.*?)\.(?= \*|$)", lists))


def write_zoo_run(
    folder: Path, inits: tuple[str, ...] = DINOS, arch: str = VIT, by_task: Mapping[str, object] | None = None
) -> None:
    """Write an invented run of public checkpoints; `by_task` changes facts on the first task."""
    write_run(folder, Grid(TASKS, (*inits, "scratch"), (arch,), ("linear",), fractions=(0.1, 1.0)))
    store, known = RecordStore(folder), {init: facts_of(init).facts for init in inits}
    for record in list(store.read_all()):
        if record.cell.init in known:
            changes = by_task if by_task and record.cell.task == TASKS[0] else {}
            facts = msgspec.structs.replace(known[record.cell.init], **changes)
            record = msgspec.structs.replace(record, init=facts)
            store.path(record.key).write_bytes(msgspec.json.encode(record))


def test_a_report_shows_every_pair_with_its_interval_verdict_and_all_that_differs(tmp_path: Path):
    write_zoo_run(tmp_path)
    built = build_report([tmp_path])
    effects = fact_effects(built.results)
    assert len(effects) == 2 * 3 and {effect.difference.fact for effect in effects} == {CORPUS}
    text = built.markdown.read_text().replace("\u00a0", " ").replace("\\", "")
    assert "## Effects of one fact" in text and "Effects of one fact" in built.html.read_text()
    assert (
        "medical images (tcga-wsi) instead of ImageNet (imagenet-1k), same objective (self-supervised DINO), "
        "same network (vit_small_patch16_224): "
    ) in text
    assert "6 tasks, linear: " in text and "no commercial use" in text and "of 6 effects" in text
    assert "number of images from memory (zoo/dino-vit-s16)" in text
    lines = list(csv.DictReader((built.html.parent / "effects.csv").open()))
    assert len(lines) == 6 and {line["n_tasks"] for line in lines} == {"6"}
    first = next(line for line in lines if (line["init_a"], line["fraction"]) == ("zoo/lunit-dino", "1.0"))
    assert first["init_b"] == "zoo/dino-vit-s16" and first["besides"].startswith(
        "number of images: 19,000,000"
    )


def test_an_effect_is_the_mean_difference_of_the_section_over_tasks_and_its_p_value_is_students(
    tmp_path: Path,
):
    write_zoo_run(tmp_path)
    results = load_report_input([tmp_path])
    effects = fact_effects(results)
    means = {(each.setting, each.a, each.b): each.mean for each in overall_differences(results)}
    for effect in effects:
        pair, mean = (effect.difference.a, effect.difference.b), effect.over.mean
        other = means.get((effect.setting, *pair)) or means[effect.setting, pair[1], pair[0]]
        assert abs(mean.difference) == pytest.approx(abs(other.difference))
        assert effect.tests.p[0] == pytest.approx(
            stats.t.sf(abs(mean.difference) / mean.spread * mean.units**0.5, mean.units - 1) * 2
        )
    by_hand = adjust_by_bh([effect.tests.p[0] for effect in effects])
    assert [effect.tests.p[1] for effect in effects] == pytest.approx(by_hand), "one family"


def test_a_run_without_a_pair_has_no_section_and_no_file(tmp_path: Path):
    write_run(tmp_path, Grid(fractions=(1.0,)))
    built = build_report([tmp_path])
    assert effects_section(built.results) is None and effects_csv(built.results) == ""
    assert not (built.html.parent / "effects.csv").exists()


def test_fewer_than_three_tasks_have_a_difference_and_no_verdict(tmp_path: Path):
    write_zoo_run(tmp_path, by_task={"overlap": ("breast",)})
    for record in list((store := RecordStore(tmp_path)).read_all()):
        if record.cell.task in TASKS[3:]:
            store.path(record.key).unlink()
    effects = fact_effects(load_report_input([tmp_path]))
    assert {effect.over.tasks for effect in effects} == {TASKS[1:3]}
    assert {effect.verdict for effect in effects} == {"undecided"}
    assert all(effect.left_out == {TASKS[0]: "contaminated"} for effect in effects)
    section = effects_section(load_report_input([tmp_path]))
    assert section and "no interval below 3 tasks" in section.parts[1].points[0]
    assert "p-values" not in " ".join(section.parts[0].lead), "there are none to correct"
    assert f"Left out: {TASKS[0]} (contaminated)" in section.parts[1].points[0]


def test_possible_contamination_is_counted_and_left_in(tmp_path: Path):
    write_zoo_run(tmp_path, by_task={"possible": ("busi: said to be the source",)})
    results = load_report_input([tmp_path])
    effects = fact_effects(results)
    assert all(effect.flags["possibly-contaminated"] == 1 for effect in effects)
    assert all(TASKS[0] in effect.over.tasks for effect in effects)
    section = effects_section(results)
    assert section and "Possible contamination on 1 task" in section.parts[1].points[0]


def test_weights_that_are_not_the_same_on_all_tasks_have_no_effect(tmp_path: Path):
    write_zoo_run(tmp_path, by_task={"identity": "sha256:other"})
    assert fact_effects(load_report_input([tmp_path])) == ()


def test_lower_is_better_turns_the_verdict_and_neither_gives_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_zoo_run(tmp_path)
    results = load_report_input([tmp_path], margin=1e-4)
    found = {}
    for sign in (1, -1, 0):
        fact_effects.cache_clear()
        monkeypatch.setattr(type(results), "sign", sign)
        found[sign] = [effect.verdict for effect in fact_effects(results)]
    turned = {"better": "worse", "worse": "better"}
    assert found[-1] == [turned.get(verdict, verdict) for verdict in found[1]]
    assert set(found[0]) == {"undecided"}


def means_of(*of: tuple[float, float], units: int = 8) -> list[MeanOverTasks]:
    """Return means with these differences and spreads over tasks."""
    deviates = np.linspace(-1, 1, units)
    deviates /= deviates.std(ddof=1)
    return [mean_over(difference + spread * deviates) for difference, spread in of]


def test_the_interval_ends_where_the_p_value_is_a_twentieth():
    (mean,) = means_of((0.02, 0.03))
    assert mean.p_value(mean.low) == pytest.approx(0.05) == mean.p_value(mean.high)
    assert mean.p_value(mean.difference) == 1
    assert mean.p_value(0.01) == pytest.approx(2 * stats.t.sf(0.01 / 0.03 * 8**0.5, 7))


def test_a_family_of_effects_is_decided_together_and_without_those_that_nothing_tests():
    clear, small, weak, still = means_of((0.05, 0.01), (0.001, 0.004), (0.02, 0.022), (0.05, 0.0))
    assert decide_means([weak], 0.01)[0].result == DIFFERENT
    tested = decide_means([clear, small, weak, still, mean_over(np.array([0.1, 0.2]))], 0.01)
    assert [each.result for each in tested] == [DIFFERENT, WITHIN, NEITHER, NEITHER, NEITHER]
    assert tested[2].p[1] == pytest.approx(1.5 * weak.p_value()), "the second smallest of three"
    assert np.isnan([each.p[1] for each in tested[3:]]).all(), "no spread, and too few tasks"


class Population:
    """Tasks whose gains by each init are skewed, in AUCs that are bounded and measured with uneven noise.

    Nothing here is normal or of equal variance, as Student's interval assumes: class distances have gamma
    gains, the AUC bends them, test sets differ in size, and two tasks of one origin share half of their gain.
    """

    def __init__(self, gains: tuple[float, ...], seed: int) -> None:
        self.gains, self.rng = np.array(gains), np.random.default_rng(seed)
        self.names = tuple(f"init {number}" for number in range(len(gains)))

    def draw_aucs(self, tasks: int, seeds: int = 3) -> np.ndarray:
        """Draw AUCs [inits, tasks, seeds] without the noise of the test images."""
        shape = (len(self.gains), tasks)
        own = 0.12 * (self.rng.gamma(1.5, size=shape) - 1.5)
        own[:, 1::4] = (own[:, 1::4] + own[:, 0::4][:, : own[:, 1::4].shape[1]]) / np.sqrt(2)
        apart = self.rng.uniform(0.4, 2.2, tasks) + self.gains[:, None] + own
        return stats.norm.cdf((apart[..., None] + self.rng.normal(0, 0.05, (*shape, seeds))) / np.sqrt(2))

    def truth(self) -> np.ndarray:
        """Return the mean AUC [inits] over the population."""
        return self.draw_aucs(200_000, 1).mean(axis=(1, 2))

    def draw_scores(self, tasks: int = 10) -> SettingScores:
        """Draw the scores of one run; tasks 0 and 1, 4 and 5 ... have one origin."""
        aucs = self.draw_aucs(tasks)
        aucs = aucs + self.rng.normal(0, 1, aucs.shape) * self.rng.uniform(0.003, 0.03, (1, tasks, 1))
        units: dict[str, dict[str, dict[str, dict[int, float]]]] = {}
        for task in range(tasks):
            unit = f"origin {task - (task % 4 == 1)}"
            by_init = {name: dict(enumerate(aucs[at, task])) for at, name in enumerate(self.names)}
            units.setdefault(unit, {})[f"task {task}"] = by_init
        keys = {(task, name): () for of in units.values() for task in of for name in self.names}
        return SettingScores(ComparableSetting("linear", RESNET, 28, 28, 1.0, False), units, keys, ())


def mean_of(scores: SettingScores, a: str, b: str) -> MeanOverTasks:
    found = difference_over_tasks(scores, a, b)
    assert found
    return found.mean


def test_the_interval_of_an_effect_covers_the_truth_over_the_population_of_tasks():
    population = Population((0.1, 0.0), seed=5)
    better, other = population.truth()
    assert 0.01 < better - other < 0.05
    means = [mean_of(population.draw_scores(), *population.names) for _ in range(600)]
    assert {mean.units for mean in means} == {7}
    covered = np.mean([mean.low <= better - other <= mean.high for mean in means])
    assert 0.93 <= covered <= 0.975, covered


def test_effects_of_inits_that_do_not_differ_are_seldom_called_and_true_ones_are_found():
    equal, apart = Population((0.0,) * 4, seed=6), Population((0.0,) * 3 + (0.5,), seed=7)
    called = []
    for population in (equal, apart):
        pairs = list(itertools.combinations(population.names, 2))
        runs = [population.draw_scores() for _ in range(200)]
        results = [decide_means([mean_of(run, *pair) for pair in pairs], 0.01) for run in runs]
        called.append(np.array([[each.result == DIFFERENT for each in tested] for tested in results]))
    assert called[0].any(axis=1).mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    true = np.array([population.names[-1] in pair for pair in pairs])
    assert called[1][:, true].mean() > 0.8
    false = called[1][:, ~true].sum(axis=1) / np.maximum(called[1].sum(axis=1), 1)
    assert false.mean() <= 0.05


def test_a_difference_as_large_as_the_margin_is_seldom_called_equivalent():
    population = Population((0.1, 0.0), seed=8)
    margin = float(-np.diff(population.truth())[0])
    means = [mean_of(population.draw_scores(), *population.names) for _ in range(500)]
    assert np.mean([decide_means([mean], margin)[0].result == WITHIN for mean in means]) <= 0.07
