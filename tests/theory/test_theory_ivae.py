"""Labels that identify sources: the rank condition, what linear mixtures need, what rotations hide without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, ortho_group

from sparsesim.generators.segments import Segments
from theory.ivae import gaussian_natural, label_rank, labels_suffice, linear_mixture_identified, unmixing


def cosines(found, truth):
    """Return |correlation| of rows of found with their best source, one to one by largest entry."""
    found, truth = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (found, truth))
    return np.abs(found @ truth.T)


@given(st.integers(1, 5), st.integers(1, 12), st.booleans(), st.integers(0, 2**32 - 1))
def test_generic_segments_suffice_from_one_more_than_parameters_on(m, segments, moving, seed):
    rng = np.random.default_rng(seed)
    variances = rng.uniform(0.25, 9.0, (segments, m))
    natural = gaussian_natural(variances, rng.standard_normal((segments, m)) if moving else None)
    parameters = m * (2 if moving else 1)
    event(f"enough segments: {segments > parameters}")
    assert label_rank(natural) == min(segments - 1, parameters)
    assert labels_suffice(natural) == (segments > parameters)


@given(st.integers(1, 4), st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_the_rank_ignores_the_order_of_segments_the_units_and_repetitions(m, segments, seed):
    rng = np.random.default_rng(seed)
    variances = rng.uniform(0.25, 9.0, (segments, m))
    rank = label_rank(gaussian_natural(variances))
    assert label_rank(gaussian_natural(variances[rng.permutation(segments)])) == rank
    assert label_rank(gaussian_natural(variances * 10.0 ** rng.integers(-6, 6, m))) == rank
    assert label_rank(gaussian_natural(np.vstack([variances, variances]))) == rank


def test_the_segments_of_a_world_meet_the_condition_and_equal_scales_do_not():
    rng = np.random.default_rng(0)
    table = Segments(6).realise(5, rng)
    assert labels_suffice(gaussian_natural(table.scale**2))
    assert not labels_suffice(gaussian_natural(Segments(5).realise(5, rng).scale ** 2))
    assert label_rank(gaussian_natural(Segments(6, scale=(1.0, 1.0)).realise(5, rng).scale ** 2)) == 0


def test_rounding_is_not_a_change_of_law():
    assert label_rank(gaussian_natural([[0.1 + 0.2, 1.0], [0.3, 1.0], [0.3, 2.0]])) == 1


def test_proportional_sources_lose_rank_however_many_the_segments():
    variances = np.random.default_rng(1).uniform(0.25, 9.0, (20, 3))
    variances[:, 2] = 4.0 * variances[:, 0]
    assert label_rank(gaussian_natural(variances)) == 2
    assert not labels_suffice(gaussian_natural(variances))
    assert not linear_mixture_identified(variances)


@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_two_segments_unmix_any_number_of_linear_sources_of_different_ratios(m, seed):
    # The condition of nonlinear mixtures is sufficient, not necessary: here it fails for every m > 1.
    rng = np.random.default_rng(seed)
    ratios = rng.permutation(np.geomspace(0.2, 5.0, m))
    first = rng.uniform(0.5, 2.0, m)
    variances = np.array([first, first * ratios])
    mixing = (
        ortho_group.rvs(m, random_state=rng) @ np.diag(rng.uniform(0.5, 2.0, m)) @ ortho_group.rvs(m, random_state=rng)
    )
    assert linear_mixture_identified(variances)
    assert not labels_suffice(gaussian_natural(variances))
    rows = unmixing(*(mixing @ np.diag(v) @ mixing.T for v in variances))
    order = np.argsort(ratios)
    assert np.abs(rows @ mixing * np.sqrt(first)) == pytest.approx(np.eye(m)[order], abs=1e-7)  # conditioning below 1e3


def test_samples_of_two_segments_recover_the_sources():
    rng = np.random.default_rng(0)
    n, variances = 20_000, np.array([[1.0, 1.0, 1.0], [0.3, 1.0, 3.0]])
    mixing = rng.standard_normal((3, 3))
    x = [np.sqrt(v) * rng.standard_normal((n, 3)) @ mixing.T for v in variances]
    rows = unmixing(*(part.T @ part / n for part in x))
    assert np.diag(cosines(rows, np.linalg.inv(mixing))).min() > 0.99  # errors of order sqrt(6 / n) on ratios 3 apart


def test_proportional_variances_leave_the_density_of_every_segment_unchanged_by_a_rotation():
    rng = np.random.default_rng(0)
    turn = ortho_group.rvs(2, random_state=rng)
    mixing, x = rng.standard_normal((2, 2)), rng.standard_normal((100, 2))
    scale = np.diag([1.0, 2.0])
    other = mixing @ scale @ turn @ np.linalg.inv(scale)
    assert np.abs(other - mixing).max() > 0.1
    for level in (0.5, 1.0, 3.0):  # sources of variances (level, 4 level) in each segment
        one, two = (
            multivariate_normal(np.zeros(2), level * basis @ scale @ scale @ basis.T).logpdf(x)
            for basis in (mixing, other)
        )
        assert one == pytest.approx(two, rel=1e-9)
    assert not linear_mixture_identified([[0.5, 2.0], [1.0, 4.0], [3.0, 12.0]])
    changed = np.diag([1.0, 2.0])  # the control: break the proportion in one segment and the densities part
    one, two = (multivariate_normal(np.zeros(2), basis @ changed @ basis.T).logpdf(x) for basis in (mixing, other))
    assert np.abs(one - two).max() > 1e-3


@pytest.mark.parametrize("call", [
    lambda: gaussian_natural([[1.0, 0.0]]), lambda: gaussian_natural([[1.0]], [[1.0, 2.0]]),
    lambda: label_rank(np.ones((2, 3))), lambda: label_rank(np.full((2, 2, 1), np.nan)),
    lambda: linear_mixture_identified([[-1.0, 1.0]]), lambda: unmixing(np.eye(2), 2 * np.eye(2)),
    lambda: unmixing(np.eye(2), np.eye(3)), lambda: unmixing(np.diag([1.0, 0.0]), np.eye(2)),
])  # fmt: skip
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()


def test_one_segment_or_one_source():
    assert label_rank(gaussian_natural([[1.0, 2.0]])) == 0
    assert linear_mixture_identified([[3.0]])
    assert unmixing([[4.0]], [[1.0]]) == pytest.approx(np.array([[0.5]]))
