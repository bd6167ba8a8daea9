"""Intervals and p-values of paired differences, against scipy and statsmodels."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from mednet_bench.reports.analysis.verdicts import detectable_difference, seeds_needed
from mednet_bench.reports.statistics.families import (
    MOST_PRIOR_FREEDOM,
    estimate_prior,
    moderate_differences,
)
from mednet_bench.reports.statistics.multiplicity import adjust_by_bh, adjust_by_holm
from mednet_bench.reports.statistics.paired import (
    TRUST,
    PairedDifference,
    paired_difference,
    satterthwaite_dof,
)

FEW = list(map(np.array, ([0.01, 0.04, 0.03], [0.02, 0.021, 0.018, 0.03, 0.0], [-0.004, 0.001, 0.002, 0.0])))


def of_seeds(differences):
    """Return a difference whose only error is that of the seeds."""
    return paired_difference(differences, np.zeros((len(differences), 10)))


@pytest.mark.parametrize("differences", FEW)
def test_with_endless_test_images_it_is_the_paired_t_test(differences):
    found, (_, p_value) = of_seeds(differences), stats.ttest_1samp(differences, 0)
    low, high = stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))
    assert found.interval() == pytest.approx((low, high), rel=1e-9)
    assert found.p_value() == pytest.approx(p_value, rel=1e-6)


@pytest.mark.parametrize("differences", FEW)
@pytest.mark.parametrize("margin", [0.005, 0.01, 0.05])
def test_equivalence_is_two_one_sided_t_tests(differences, margin):
    expected = ttost_paired(differences, np.zeros(len(differences)), -margin, margin)[0]
    assert min(of_seeds(differences).p_equivalent(margin), 0.5) == pytest.approx(min(expected, 0.5), rel=1e-6)


def test_with_seeds_that_agree_it_is_delongs_interval_with_a_t_quantile():
    influence = np.random.default_rng(0).normal(0, 0.01, 400)
    found = paired_difference(np.full(3, 0.02), np.tile(influence, (3, 1)))
    reach = stats.t.ppf(0.975, found.test_freedom) * np.sqrt((influence**2).sum())
    assert found.half_width() == pytest.approx(reach, rel=1e-9)
    assert found.test_freedom == pytest.approx(399 * TRUST, rel=0.2)
    assert found.seed_variance == 0


def test_the_interval_at_confidence_one_minus_p_just_touches_zero():
    found = PairedDifference(0.03, 3, 1e-4, 20.0, 5e-5, 1e-4)
    low, _ = found.interval(found.p_value())
    assert low == pytest.approx(0, abs=1e-9)


def test_few_deciding_images_leave_few_degrees_of_freedom():
    influence = np.zeros(500)
    influence[:3] = 0.01
    assert satterthwaite_dof(influence) < 7
    assert satterthwaite_dof(np.zeros(10)) == pytest.approx(9 * TRUST)


def test_one_seed_gives_no_interval():
    found = paired_difference(np.array([0.05]), np.full((1, 10), 0.001))
    assert math.isnan(found.half_width())


def test_what_seeds_share_on_the_test_images_stays_when_seeds_are_added():
    rng = np.random.default_rng(0)
    common, own = rng.normal(0, 0.01, 2000), rng.normal(0, 0.02, (4, 2000))
    found = paired_difference(rng.normal(0.02, 0.01, 4), common + own)
    assert found.shared_variance == pytest.approx((common**2).sum(), rel=0.25)
    assert found.with_seeds(10**6).test_variance == pytest.approx(found.shared_variance, rel=1e-3)
    assert found.with_seeds(4) == found


def test_the_seeds_needed_are_the_fewest_that_suffice():
    found = PairedDifference(0.03, 3, 5e-5, 200.0, 1e-4, 4e-5)
    seeds = seeds_needed(found, 0.03)
    assert 3 < seeds < 30
    few, enough = (detectable_difference(found.with_seeds(int(n))) for n in (seeds - 1, seeds))
    assert enough <= 0.03 < few


def test_an_undecided_pair_never_needs_fewer_seeds_than_it_has():
    # A difference of the margin would show with two seeds; the observed one, .001, does not show with five.
    assert seeds_needed(PairedDifference(0.001, 5, 1e-6, 200.0, 1e-6, 1e-6), 0.01) == 5


def test_more_seeds_are_not_called_hopeless_where_a_difference_within_the_interval_would_show():
    found = PairedDifference(0.03, 3, 1.5e-4, 200.0, 4e-4, 1.5e-4)
    assert found.interval()[1] > 0.05 and math.isnan(seeds_needed(found, 0.03))
    assert seeds_needed(found, 0.05) < 1000


def test_no_number_of_seeds_makes_up_for_too_few_test_images():
    assert seeds_needed(PairedDifference(0.01, 3, 4e-4, 100.0, 1e-5, 4e-4), 0.01) == math.inf


def test_a_difference_at_the_detectable_size_is_found_four_times_in_five():
    rng = np.random.default_rng(0)
    truth = PairedDifference(0.0, 5, 0.0, 100.0, 0.01**2 / 5, 0.0)
    size = detectable_difference(truth)
    drawn = rng.normal(size, 0.01, (4000, 5))
    _, p_values = stats.ttest_1samp(drawn, 0, axis=1)
    assert (np.asarray(p_values) < 0.05).mean() == pytest.approx(0.8, abs=0.08), (
        "a rule of thumb with the sd known only from five seeds"
    )


@pytest.mark.parametrize("margin", [0.005, 0.02])
@pytest.mark.parametrize("differences", FEW)
def test_the_chances_are_those_of_the_t_distribution_around_the_difference(differences, margin):
    found = of_seeds(differences)
    truth = stats.t(len(differences) - 1, differences.mean(), stats.sem(differences))
    above, within, below = found.chances(margin)
    assert above == pytest.approx(truth.sf(margin), abs=1e-3)  # p-values above .999 count as 1
    assert below == pytest.approx(truth.cdf(-margin), abs=1e-3)
    assert above + within + below == pytest.approx(1)


P_VALUES = [[0.01, 0.04, 0.03, 0.005], [0.5], [0.02, 0.02, 0.9], [0.6, 0.7]]


@pytest.mark.parametrize("p_values", P_VALUES)
def test_benjamini_hochberg_is_that_of_statsmodels(p_values):
    assert adjust_by_bh(p_values) == pytest.approx(multipletests(p_values, method="fdr_bh")[1], rel=1e-12)


@pytest.mark.parametrize("p_values", P_VALUES)
def test_holm_is_that_of_statsmodels(p_values):
    assert adjust_by_holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], rel=1e-12)


@pytest.mark.parametrize("prior", [1.5, 3.0])
def test_the_prior_of_many_variances_is_the_one_they_were_drawn_from(prior):
    rng = np.random.default_rng(0)
    true = 0.02**2 * prior / rng.chisquare(prior, 20_000)
    found, center = estimate_prior(true * rng.chisquare(2, 20_000) / 2, np.full(20_000, 2.0))
    assert found == pytest.approx(prior, rel=0.1)
    assert center == pytest.approx(0.02**2, rel=0.1)


def test_equal_variances_add_the_most_degrees_of_freedom_that_are_trusted():
    freedom, center = estimate_prior(np.full(12, 0.02**2), np.full(12, 2.0))
    assert freedom == MOST_PRIOR_FREEDOM
    assert center > 0.02**2  # a chi-squared variate of two degrees of freedom has its median below its mean


def test_a_family_lends_its_spread_to_a_task_whose_seeds_agree_by_chance():
    rng = np.random.default_rng(1)
    family = [paired_difference(rng.normal(0.03, 0.02, 3), rng.normal(0, 1e-3, (3, 200))) for _ in range(11)]
    lucky = paired_difference(np.array([0.0299, 0.03, 0.0301]), rng.normal(0, 1e-3, (3, 200)))
    moderated = moderate_differences([*family, lucky])
    assert lucky.p_value() < 1e-3 < moderated[-1].p_value()
    assert np.mean([m.half_width() for m in moderated]) < np.mean([m.half_width() for m in family])
    assert {m.seed_freedom for m in moderated} == {2 + moderated[0].prior_freedom}


def test_one_task_alone_and_two_fixed_models_stay_as_they_are():
    alone, fixed = of_seeds(FEW[0]), of_seeds(np.full(3, 0.02))
    assert moderate_differences([alone]) == [alone]
    assert moderate_differences([alone, fixed]) == [alone, fixed]
    assert moderate_differences([alone, of_seeds(FEW[1]), fixed])[2] == fixed
