"""Published worlds: the recipe is the published one, the released law has its L0, the corrected rates are true."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsesim import key
from sparsesim.generators import (
    CorrelatedBernoulli,
    GivenRates,
    ReleasedCorrelation,
    ReleasedScales,
    declared_rates,
    published,
)
from sparsesim.generators import files as disk
from sparsesim.generators.benchmarks import FULL
from tests.generators.chance import assert_mean, assert_rates

LARGE, SMALL = "synthsaebench-16k", "synthsaebench-1k"


def parents_of(name):
    return np.array(published(name).support.parents)


@pytest.mark.parametrize(
    ("name", "levels", "m"), [(LARGE, (128, 512, 2048, 8192), 16_384), (SMALL, (8, 32, 128, 512), 1_024)]
)
def test_trees_take_the_features_breadth_first(name, levels, m):
    parents = parents_of(name)
    assert len(parents) == m and sum(levels) == {16_384: 10_880, 1_024: 680}[m]
    assert np.all(parents[: levels[0]] == -1) and np.all(parents[sum(levels) :] == -1)
    first = levels[0]
    for above, level in pairwise(levels):
        # Four children each, consecutive, parents in the order of the level above.
        assert np.array_equal(parents[first : first + level], first - above + np.arange(level) // 4)
        first += level


@pytest.mark.parametrize("name", [LARGE, SMALL])
def test_declared_rates_are_the_affine_power_law(name):
    rates = declared_rates(name)
    power = np.arange(1.0, len(rates) + 1.0) ** -0.5
    mapped = 5e-4 + (0.4 - 5e-4) * (power - power[-1]) / (power[0] - power[-1])
    assert rates == pytest.approx(mapped, rel=1e-12)
    assert rates[0] == 0.4 and rates[-1] == 5e-4


def test_the_released_law_has_the_published_number_of_active_features():
    law = published(LARGE).support
    support = law.draw(20_000, np.random.default_rng(0))
    active = np.diff(support.indptr).astype(float)
    assert_mean(active, 34.44, tests=2)  # measured for the release on 10^5 samples: 34.4, deviation 11.65
    # The deviation of a deviation of 11.65 is about 11.65 / sqrt(2 n) = 0.06; the published one is rounded at 0.005.
    assert abs(active.std() - 11.65) < 5 * 0.06 + 0.005
    assert law.drawn_rates().sum() == pytest.approx(
        7_165, abs=60
    )  # drawn before the trees, as measured for the release


def test_factors_and_deviations_are_those_of_the_seed():
    spec = published(SMALL)
    own = torch.Generator().manual_seed(46)
    factor = 0.1 * torch.randn(1_024, 25, generator=own).double().numpy()
    assert np.abs(spec.support.correlation.factor(1_024) - factor).max() < 1e-6  # single precision
    own = torch.Generator().manual_seed(43)
    std = (0.5 + 0.5 * torch.randn(1_024, generator=own)).abs().double().numpy()
    assert np.abs(spec.magnitude.base.stds.values(1_024) - std).max() < 5e-6
    mean = spec.magnitude.base.means.values(1_024)
    assert mean == pytest.approx(np.linspace(5.0, 4.0, 1_024), rel=1e-12)


def test_rates_of_the_small_released_world_are_true():
    law = published(SMALL).support
    n = 100_000
    counts = np.bincount(law.draw(n, np.random.default_rng(3)).indices, minlength=1_024)
    p = law.marginals()
    z = (counts / n - p) / np.sqrt(p * (1 - p) / n + law.marginal_errors() ** 2)
    assert np.abs(z).max() < 6.2  # 1,024 comparisons that together fail by chance once in 10^6
    assert np.all(p[680:] == pytest.approx(declared_rates(SMALL)[680:] * np.array(law.positive)[680:], rel=1e-12))


def slow_true_rates(declared, parents):
    """Declared rates, siblings scaled down to their share of the parent; features are numbered parents first."""
    true = declared.copy()
    for parent in range(len(parents)):
        family = [child for child in range(parent + 1, len(parents)) if parents[child] == parent]
        total = sum(true[child] for child in family)
        if total > FULL * true[parent]:
            for child in family:
                true[child] *= FULL * true[parent] / total
    return true


def test_corrected_rates_are_declared_ones_where_these_can_be():
    law, declared, parents = published(SMALL, "corrected").support, declared_rates(SMALL), parents_of(SMALL)
    true = law.marginals()
    assert true == pytest.approx(slow_true_rates(declared, parents), rel=1e-12)
    free = parents < 0
    assert true[free] == pytest.approx(declared[free], rel=1e-15)
    counts = np.bincount(law.draw(100_000, np.random.default_rng(0)).indices, minlength=len(true))
    assert_rates(counts, 100_000, true)


def test_the_large_corrected_world_keeps_what_its_description_says():
    law, declared, parents = published(LARGE, "corrected").support, declared_rates(LARGE), parents_of(LARGE)
    true = law.marginals()
    assert true.sum() == pytest.approx(34.4, abs=0.05) and declared.sum() == pytest.approx(59.1, abs=0.05)
    free = parents < 0
    assert np.count_nonzero(free) == 5_632 and true[free] == pytest.approx(declared[free], rel=1e-15)
    kept = true / declared
    assert kept.min() > 0.30 and kept.max() <= 1.0 + 1e-12
    family = np.bincount(parents[~free], weights=true[~free], minlength=len(true))[parents[~free]]
    share = family / true[parents[~free]]
    full = share > FULL - 1e-9
    assert np.all(share < FULL + 1e-9) and np.count_nonzero(full) == 4 * 2_676


@pytest.mark.parametrize("form", ["as_released", "corrected"])
def test_no_child_fires_without_its_parent_or_with_a_sibling(form):
    parents = parents_of(SMALL)
    support = published(SMALL, form).support.draw(20_000, np.random.default_rng(1))
    fires = support.codes(np.ones(len(support.indices), np.int8)).toarray() > 0
    children = np.flatnonzero(parents >= 0)
    assert not np.any(fires[:, children] & ~fires[:, parents[children]])
    for family in np.split(children, len(children) // 4):
        assert fires[:, family].sum(axis=1).max() <= 1


@pytest.mark.parametrize("form", ["as_released", "corrected"])
def test_a_small_world_is_built_sampled_and_saved(form, tmp_path):
    spec = published(SMALL, form)
    assert spec == published(SMALL, form) and key(spec) == key(published(SMALL, form))
    model = spec.build(np.random.default_rng(0))
    batch = model.sample(2_000, np.random.default_rng(1))
    assert np.all(batch.codes.data > 0)
    # At most some 50 terms of up to 100, rounded at 2^-53 each.
    assert batch.x == pytest.approx(batch.codes @ model.atoms + model.bias, abs=1e-11)
    assert np.linalg.norm(model.bias) == pytest.approx(0.5)
    disk.save(model, tmp_path / "world")
    again = disk.load(tmp_path / "world").sample(2_000, np.random.default_rng(1))
    assert again.x.tobytes() == batch.x.tobytes()


def test_children_are_scaled_by_their_parents():
    model = published(SMALL).build(np.random.default_rng(0))
    codes = model.sample(100_000, np.random.default_rng(2)).codes.tocsc()
    law = model.spec.magnitude
    for feature in (0, 8, 40):  # a root, its first child, and the first child of that
        values = codes[:, [feature]].tocoo().data
        assert_mean(values, law.mean(1_024)[feature], tests=6)
        assert_mean(values**2, law.second_moment(1_024)[feature], tests=6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("synthsaebench",), "name must be one of synthsaebench-16k, synthsaebench-1k; got 'synthsaebench'"),
        ((None,), "name must be one of"),
        ((SMALL, "fixed"), "form must be one of as_released, corrected; got 'fixed'"),
    ],
)
def test_other_names_and_forms_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        published(*arguments)


@given(m=st.integers(1, 12), rank=st.integers(1, 4), scale=st.floats(0.0, 2.0), seed=st.integers(0, 2**40))
@settings(max_examples=30)
def test_a_released_correlation_is_one(m, rank, scale, seed):
    law = ReleasedCorrelation(rank, scale, seed)
    factor = law.factor(m)
    assert factor.shape == (m, rank) and np.square(factor).sum(axis=1).max() <= 0.99
    assert not factor.flags.writeable
    every = np.arange(m)
    one, two = (grid.ravel() for grid in np.meshgrid(every, every))
    full = factor @ factor.T
    np.fill_diagonal(full, 1.0)
    assert law.at(m, one, two) == pytest.approx(full.ravel(), abs=1e-15)
    assert np.array_equal(law.blocks(m), [0, m])


def test_a_released_correlation_serves_other_laws():
    law = CorrelatedBernoulli(GivenRates((0.3, 0.5, 0.2)), ReleasedCorrelation(2, 0.6, 1))
    n = 100_000
    support = law.draw(n, np.random.default_rng(0))
    fires = support.codes(np.ones(len(support.indices))).toarray()
    assert_rates(fires.sum(axis=0), n, law.marginals())
    upper = np.triu_indices(3, 1)
    assert_rates((fires.T @ fires)[upper], n, law.pairwise()[upper])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ReleasedCorrelation(0, 0.1, 0), ValueError, r"rank must lie in \[1"),
        (lambda: ReleasedCorrelation(2, -0.1, 0), ValueError, "scale must be finite"),
        (lambda: ReleasedCorrelation(2, 0.1, -1), ValueError, r"seed must lie in \[0"),
        (lambda: ReleasedScales(0.5, 0.0, 1), ValueError, "std must be finite"),
        (lambda: ReleasedScales(float("nan"), 0.5, 1), ValueError, "mean must be finite"),
        (lambda: ReleasedScales(0.5, 0.5, 1.5), TypeError, "seed must be an integer"),
    ],
)
def test_impossible_parts_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.slow
def test_rates_of_the_large_released_world_are_true():
    law, n = published(LARGE).support, 400_000
    p = law.marginals()
    assert p.sum() == pytest.approx(34.47, abs=0.05)  # each rate has some tenths of a percent of error
    counts = np.bincount(law.draw(n, np.random.default_rng(3)).indices, minlength=len(p))
    z = (counts / n - p) / np.sqrt(p * (1 - p) / n + law.marginal_errors() ** 2)
    assert np.abs(z).max() < 7.0  # 16,384 comparisons, Poisson tails, that together fail by chance once in 10^6


@pytest.mark.slow
def test_the_large_released_world_is_built_and_its_overlap_falls():
    model = published(LARGE).build(np.random.default_rng(0))
    rows = model.atoms.astype(np.float32)
    largest = np.zeros(len(rows))
    for low in range(0, len(rows), 1024):
        block = np.abs(rows[low : low + 1024] @ rows.T)
        block[np.arange(1024), low + np.arange(1024)] = 0.0
        largest[low : low + 1024] = block.max(axis=1)
    assert largest.mean() == pytest.approx(0.1453, abs=0.0005)  # of the release; 0.1486 at a random start
    assert model.sample(1_000, np.random.default_rng(0)).x.shape == (1_000, 768)
