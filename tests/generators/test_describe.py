"""What a world says of itself, against brute force and against the independent formulas of `theory`."""

from __future__ import annotations

import math
import pprint

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim.generators import (
    Bernoulli,
    EqualRates,
    ExactlyK,
    FeatureSpec,
    Forest,
    ForestOver,
    Gaussian,
    GivenAtoms,
    GivenRates,
    HalfNormal,
    Orthonormal,
    Persistent,
    RandomSphere,
    Relabelled,
    SignalToNoise,
)
from sparsesim.generators.describe import _deciding, _rivals, cumulative_coherence, effective_rank
from tests.generators.strategies import seeds, specs
from theory import frames


def world(rows, support, noise=0.0):
    rows = np.asarray(rows)
    geometry = GivenAtoms(tuple(map(tuple, rows.tolist())))
    return FeatureSpec(rows.shape[1], support, geometry, HalfNormal(), Gaussian(noise)).build(np.random.default_rng(0))


@given(seed=seeds, m=st.integers(2, 14), d=st.integers(2, 10), k=st.integers(1, 4))
@settings(max_examples=40)
def test_coherence_and_recovery_conditions_agree_with_theory(seed, m, d, k):
    k = min(k, m)
    model = FeatureSpec(d, ExactlyK(m, k), RandomSphere(), HalfNormal()).build(np.random.default_rng(seed))
    facts = model.describe()
    babel = frames.babel(model.atoms)
    assert facts["coherence"] == pytest.approx(babel[0], abs=1e-14)
    assert facts["babel"] == pytest.approx(babel[min(k, m - 1) - 1], abs=1e-13)
    conditions = facts["recovery"]
    assert conditions["omp_and_bp_by_coherence"]["holds"] == (k <= frames.coherence_limit(babel[0]))
    assert conditions["omp_and_bp_by_coherence"]["limit"] == pytest.approx((1 + 1 / babel[0]) / 2, rel=1e-12)
    limit = frames.babel_limit(model.atoms)
    if limit == m - 1 and 2 * babel[-1] < 1:
        limit = m  # all atoms together are independent, which theory.frames leaves out
    assert conditions["omp_and_bp_by_babel"] == {"holds": k <= limit, "limit": limit}
    assert conditions["uniqueness_by_coherence"] == conditions["omp_and_bp_by_coherence"]


def test_the_simplex_attains_the_welch_bound_and_its_limit_is_a_strict_inequality():
    # d = 3: mu = 1/3, (1 + 1/mu) / 2 = 2 exactly, so k = 1 is recovered and k = 2 is not guaranteed.
    for k, holds in ((1, True), (2, False)):
        facts = world(frames.simplex(3), ExactlyK(4, k)).describe()
        assert facts["coherence"] == pytest.approx(facts["welch_bound"], abs=1e-12)
        assert facts["welch_bound"] == pytest.approx(1 / 3, abs=1e-15)
        for condition in facts["recovery"].values():
            assert condition["holds"] is holds


def test_orthonormal_directions_allow_everything():
    facts = FeatureSpec(6, ExactlyK(6, 6), Orthonormal(), HalfNormal()).build(np.random.default_rng(0)).describe()
    assert facts["welch_bound"] == 0.0 and facts["coherence"] < 1e-14
    assert all(condition["holds"] for condition in facts["recovery"].values())
    assert facts["recovery"]["omp_and_bp_by_babel"]["limit"] == 6
    assert facts["effective_rank"] == pytest.approx(6.0, rel=1e-12)
    assert facts["snr_db"] == math.inf and facts["noise_std"] == 0.0


def test_one_feature_is_a_world_too():
    facts = FeatureSpec(3, ExactlyK(1, 1), RandomSphere(), HalfNormal()).build(np.random.default_rng(0)).describe()
    assert facts["coherence"] == facts["babel"] == 0.0
    assert facts["recovery"]["omp_and_bp_by_babel"] == {"holds": True, "limit": 1.0}


def test_two_equal_directions_are_recovered_by_nothing():
    facts = world([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], ExactlyK(3, 1)).describe()
    assert facts["coherence"] == 1.0
    assert not any(condition["holds"] for condition in facts["recovery"].values())


def test_effective_rank_is_one_for_a_thousand_equal_directions():
    row = np.random.default_rng(0).standard_normal((1, 500))
    atoms = np.repeat(row / np.linalg.norm(row), 1000, axis=0)
    # the one singular value that counts is exact to 1e-13; 499 others of rounding size would add some 1e-5
    assert abs(effective_rank(atoms) - 1.0) < 1e-12


def test_effective_rank_counts_equal_singular_values():
    assert effective_rank(np.eye(5)[:3]) == pytest.approx(3.0, rel=1e-12)
    # Four copies of one direction: singular values 2, 0, ..., up to the square root of rounding.
    assert effective_rank(np.ones((4, 1)) * np.eye(3)[0]) == pytest.approx(1.0, abs=1e-6)
    rows = np.random.default_rng(0).standard_normal((7, 4))
    share = np.linalg.svd(rows, compute_uv=False)
    share /= share.sum()
    assert effective_rank(rows) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-12)


def test_cumulative_coherence_agrees_with_brute_force_across_blocks():
    rows = RandomSphere().atoms(1_500, 4, np.random.default_rng(0))
    gram = np.abs(rows @ rows.T) - np.eye(1_500)
    expected = np.cumsum(-np.sort(-gram, axis=1), axis=1)[:, :9].max(axis=0)
    assert cumulative_coherence(rows, 9) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", ["random", "equal", "orthogonal", "clustered"])
def test_cumulative_coherence_of_many_atoms_is_that_of_double_precision(kind):
    rng, m, d = np.random.default_rng(0), 2_100, 24
    rows = RandomSphere().atoms(m, d, rng)
    if kind == "equal":
        rows = np.repeat(rows[:7], 300, axis=0)
    elif kind == "orthogonal":
        rows = np.repeat(np.eye(d), 100, axis=0)[:m]
    elif kind == "clustered":  # cosines differ by less than float32 can tell
        rows = rows[:1] + 1e-5 * rng.standard_normal((m, d))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gram = np.minimum(np.abs(rows @ rows.T), 1.0)
    np.fill_diagonal(gram, 0.0)
    expected = np.cumsum(-np.sort(-gram, axis=1)[:, :30], axis=1).max(axis=0)
    assert cumulative_coherence(rows, 30) == pytest.approx(expected, rel=1e-13)  # 30 roundings of 2^-53


def test_few_rows_rival_for_the_largest_sum_of_many_random_atoms():
    rows = RandomSphere().atoms(4_000, 64, np.random.default_rng(0))
    rivals = _rivals(rows, 20)
    assert len(rivals) < 200  # the point of the screening
    assert np.array_equal(np.unique(rivals), rivals)


def test_the_babel_limit_of_many_atoms_needs_only_the_neighbours_that_decide():
    rows = RandomSphere().atoms(3_000, 48, np.random.default_rng(0))
    every = cumulative_coherence(rows, 48)
    deciding = _deciding(rows)
    assert deciding < 10 and every[deciding - 1] + every[deciding - 2] >= 1.0
    facts = world(rows, ExactlyK(3_000, 2)).describe()
    limit = float(np.count_nonzero(every + np.append(0.0, every[:-1]) < 1.0))
    assert facts["recovery"]["omp_and_bp_by_babel"]["limit"] == limit
    assert facts["babel"] == pytest.approx(every[1], rel=1e-13)


def test_rates_are_the_true_ones_after_the_hierarchy():
    law = Forest((-1, 0, 0, 1), (0.5, 0.4, 0.6, 0.5))
    facts = FeatureSpec(4, law, RandomSphere(), HalfNormal()).build(np.random.default_rng(0)).describe()
    assert facts["mean_l0"] == pytest.approx(0.5 + 0.2 + 0.3 + 0.1, rel=1e-14)
    assert (facts["rate_min"], facts["rate_max"]) == pytest.approx((0.1, 0.5), rel=1e-14)
    assert facts["rate_median"] == pytest.approx(0.25, rel=1e-14)
    # 10,000 samples of an L0 with standard deviation below 2: standard error 0.02.
    assert facts["realised_mean_l0"] == pytest.approx(facts["mean_l0"], abs=0.1)


def test_the_number_of_active_features_is_rounded_up_but_not_by_rounding_errors():
    # Fifteen rates of 0.2 sum to 3.000000000000001 in floating point, and k is 3; mu_1(k) = k / 14 here.
    facts = world(frames.simplex(14), Bernoulli(GivenRates((0.2,) * 15))).describe()
    assert facts["mean_l0"] > 3.0
    assert facts["babel"] == pytest.approx(3 / 14, abs=1e-12)
    tight = frames.simplex(5)  # mu_1(k) = k / 5
    assert world(tight, Bernoulli(GivenRates((0.5,) * 6))).describe()["babel"] == pytest.approx(3 / 5, abs=1e-12)
    assert world(tight, Bernoulli(GivenRates((0.51,) * 6))).describe()["babel"] == pytest.approx(4 / 5, abs=1e-12)


class Shifted:
    """A law that fires at twice the rate it claims."""

    n_features = 20

    def marginals(self):
        return np.full(20, 0.05)

    def draw(self, n, rng):
        return Bernoulli(EqualRates(20, 0.1)).draw(n, rng)


def test_the_probe_finds_a_law_whose_rates_are_not_what_it_claims():
    honest = FeatureSpec(8, Bernoulli(EqualRates(20, 0.05)), RandomSphere(), HalfNormal()).build(
        np.random.default_rng(0)
    )
    wrong = FeatureSpec(8, Shifted(), RandomSphere(), HalfNormal()).build(np.random.default_rng(0))
    assert honest.describe()["realised_rate_max_abs_z"] < 5.0  # of 20 normals, with probability 1 - 1e-5
    assert wrong.describe()["realised_rate_max_abs_z"] > 10.0  # 500 more firings than 500 +- 22


def test_a_lasting_feature_is_no_deviation():
    law = Persistent(EqualRates(12, 0.1), 0.98)  # about 100 dependent rows say as much as one
    facts = FeatureSpec(4, law, RandomSphere(), HalfNormal()).build(np.random.default_rng(0)).describe()
    assert facts["realised_rate_max_abs_z"] < 5.0 and facts["realised_rate_tail"] > 1e-5
    loose = FeatureSpec(4, Bernoulli(EqualRates(12, 0.1)), RandomSphere(), HalfNormal()).build(np.random.default_rng(0))
    assert facts["estimated"]["realised_mean_l0"] > 3 * loose.describe()["estimated"]["realised_mean_l0"]
    assert abs(facts["realised_mean_l0"] - 1.2) < 6 * facts["estimated"]["realised_mean_l0"]


@pytest.mark.parametrize("kind", ["forest", "relabelled"])
def test_a_law_built_on_a_lasting_one_is_no_deviation(kind):
    base = Persistent(EqualRates(6, 0.2), 0.98)
    law = ForestOver(base, (0, 1), (0.9, 0.9)) if kind == "forest" else Relabelled(base, (5, 4, 3, 2, 1, 0))
    facts = FeatureSpec(4, law, RandomSphere(), HalfNormal()).build(np.random.default_rng(0)).describe()
    assert facts["realised_rate_max_abs_z"] < 5.0 and facts["realised_rate_tail"] > 1e-5
    error = facts["estimated"]["realised_mean_l0"]
    assert abs(facts["realised_mean_l0"] - facts["mean_l0"]) < 6 * error < 0.4  # 0.06, as of independent rows


class Secret:
    """A law that does not say how often its features fire together."""

    n_features = 20

    def marginals(self):
        return np.full(20, 0.1)

    def draw(self, n, rng):
        return Bernoulli(EqualRates(20, 0.1)).draw(n, rng)


@pytest.mark.parametrize(
    ("noise", "name", "change"), [(SignalToNoise(7.0), "noise_std", 0.5), (Gaussian(0.3), "snr_db", 10 / math.log(10))]
)
def test_estimates_are_named_with_their_standard_errors(noise, name, change):
    known, hidden = (
        FeatureSpec(8, law, RandomSphere(), HalfNormal(), noise).build(np.random.default_rng(0))
        for law in (Bernoulli(EqualRates(20, 0.1)), Secret())
    )
    exact, facts = known.describe(), hidden.describe()
    assert set(exact["estimated"]) == {"realised_mean_l0"} and set(facts["estimated"]) == {"realised_mean_l0", name}
    error = facts["estimated"][name]
    assert abs(facts[name] - exact[name]) < 6 * error  # t with 39 degrees of freedom: 5e-7
    scale = hidden.noise_std if name == "noise_std" else 1.0
    assert error == pytest.approx(change * scale * hidden.energy.error / hidden.energy.value, rel=1e-12)
    assert hidden.energy.error / hidden.energy.value < 0.02  # 20,000 samples


def test_deterministic_rates_deviate_by_nothing():
    facts = world(np.eye(3), Bernoulli(GivenRates((0.0, 1.0, 1.0)))).describe()
    assert facts["realised_rate_max_abs_z"] == 0.0


def test_noise_is_described_as_asked_for():
    model = world(np.eye(4), ExactlyK(4, 2), noise=0.5)
    facts = model.describe()
    # Orthonormal atoms, two active of unit second moment: E||signal||^2 = 2, E||noise||^2 = 4 * 0.25.
    assert facts["snr_db"] == pytest.approx(10 * math.log10(2.0), abs=1e-12)
    assert facts["noise_std"] == 0.5


@given(spec=specs())
@settings(max_examples=40)
def test_every_world_describes_itself_in_plain_printable_values(spec):
    model = spec.build(np.random.default_rng(0))
    facts = model.describe()
    assert facts == model.describe()
    assert facts["welch_bound"] <= facts["coherence"] + 1e-12
    assert 1.0 - 1e-9 <= facts["effective_rank"] <= min(spec.dim, spec.n_features) + 1e-9
    assert set(facts["estimated"]) <= set(facts)
    limits = facts["recovery"]
    if limits["omp_and_bp_by_coherence"]["holds"]:
        assert limits["omp_and_bp_by_babel"]["holds"]  # Babel's condition is the weaker one
    assert "np." not in pprint.pformat(facts)
