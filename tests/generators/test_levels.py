"""Levels, bundles, crystals and spectra: what they say of their cosines holds exactly."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from sparsesim.generators import Bundles, Crystal, Levels, PowerSpectrum
from sparsesim.generators.spectrum import equalise_rows_
from tests.generators.chance import assert_mean, assert_uniform_rows
from tests.generators.strategies import seeds

ROUNDING = 1e-13  # some tens of roundings of 2^-53


def rng(seed=0):
    return np.random.default_rng(seed)


def mixed_twin(q, members, eps):
    """The construction of the toy model, row by row: (1 - eps) q_i + eps times the mean of the others in the level."""
    rows = []
    for i in members:
        others = [q[j] for j in members if j != i]
        row = (1 - eps) * q[i] + eps * (np.mean(others, axis=0) if others else 0.0)
        rows.append(row / np.linalg.norm(row))
    return np.array(rows)


@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=9), cosine=st.floats(-0.12, 0.98), seed=seeds)
@settings(max_examples=50)
def test_levels_are_orthogonal_and_equicorrelated_within(labels, cosine, seed):
    order = sorted(set(labels))
    levels = tuple(order.index(label) for label in labels)
    cosines = tuple(cosine / (1 + level) for level in range(len(order)))
    rows = Levels(levels, cosines).atoms(len(levels), 10, rng(seed))
    mine = np.array(levels)
    expected = np.where(mine[:, None] == mine, np.array(cosines)[mine], 0.0)
    np.fill_diagonal(expected, 1.0)
    assert rows @ rows.T == pytest.approx(expected, abs=2e-12)


@given(size=st.integers(1, 11), part=st.floats(0.0, 0.99))
def test_mixing_has_the_cosine_of_the_construction(size, part):
    eps = part * (size - 1) / size
    rows = Levels.mixed((0,) * size, (eps,)).atoms(size, size, rng())
    twin = mixed_twin(np.eye(size), range(size), eps)
    assert rows @ rows.T == pytest.approx(twin @ twin.T, abs=2e-12)


@pytest.mark.parametrize(
    ("parents", "children", "cosine"),
    # The mixing that the published toy model uses for these correlations, given to 3 or 4 digits: 11 parents, and each
    # family of 3 children a level of its own. Were the 9 children one level, the first would be 0.026.
    [(0.3, 0.0895, 0.1), (0.44, 0.163, 0.2), (0.529, 0.226, 0.3), (0.6467, 0.3335, 0.5), (0.7739, 0.482, 0.8)],
)
def test_the_mixing_of_the_published_toy_model_has_the_correlations_it_names(parents, children, cosine):
    levels = Levels.mixed((0,) * 11 + (1,) * 3 + (2,) * 3 + (3,) * 3, (parents, *(children,) * 3))
    assert levels.cosines == pytest.approx((cosine,) * 4, abs=5e-3)
    assert levels.atoms(20, 20, rng()).shape == (20, 20)


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple), cosine=st.floats(-0.99, 0.99), seed=seeds)
@settings(max_examples=40)
def test_a_bundle_lies_on_a_cone_around_its_centre(sizes, cosine, seed):
    d = 4
    rows = Bundles(sizes, cosine).atoms(sum(sizes), d, rng(seed))
    for bundle in np.split(rows, np.cumsum(sizes)[:-1]):
        if len(bundle) > d and abs(cosine) > 0.05:
            # The centre c solves bundle @ c = cosine for all, and is a unit vector.
            centre, _, rank, _ = np.linalg.lstsq(bundle, np.full(len(bundle), cosine))
            assert rank == d
            assert bundle @ centre == pytest.approx(np.full(len(bundle), cosine), abs=1e-10)
            assert np.linalg.norm(centre) == pytest.approx(1.0, abs=1e-8)  # conditioning of few random rows


def test_two_features_of_a_bundle_have_the_squared_cosine_on_average():
    rows = Bundles((2,) * 2_000, 0.7).atoms(4_000, 6, rng())
    inside, across = np.einsum("nd,nd->n", rows[::2], rows[1::2]), np.einsum("nd,nd->n", rows[::4], rows[2::4])
    assert_mean(inside, 0.49, tests=3)
    assert_mean(across, 0.0, tests=3)
    assert_mean(across**2, 1 / 6, tests=3)


@pytest.mark.parametrize(
    ("shape", "weights", "dims"),
    [((3, 4), (), ()), ((3, 4), (2.0, 0.5), ()), ((5, 2), (), (3, 1)), ((2, 3, 2), (1.0, 2.0, 3.0), (2, 2, 1))],
)
def test_analogies_of_a_crystal_are_parallelograms_after_normalisation(shape, weights, dims):
    m = int(np.prod(shape))
    rows = Crystal(shape, weights, dims).atoms(m, 8, rng())
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(m), abs=1e-14)
    grid = rows.reshape(*shape, 8)
    first, rest = grid.reshape(shape[0], -1, 8)[:, None], grid.reshape(shape[0], -1, 8)[None]
    steps = first - rest  # (i, l, others, d): atom(i, ...) - atom(l, ...)
    assert np.abs(steps - steps[:, :, :1]).max() < ROUNDING
    if not dims:
        w = np.square(weights or np.ones(len(shape)))
        places = np.array(list(product(*map(range, shape))))
        expected = ((places[:, None] == places) * w).sum(axis=2) / w.sum()
        assert rows @ rows.T == pytest.approx(expected, abs=ROUNDING)


def test_a_crystal_is_linearly_dependent():
    assert np.linalg.matrix_rank(Crystal((2, 2)).atoms(4, 6, rng())) == 3
    assert np.linalg.matrix_rank(Crystal((5, 7)).atoms(35, 20, rng())) == 11
    pair = Crystal((4, 2), dims=(4, 1)).atoms(8, 5, rng())
    assert np.abs((pair[::2] - pair[1::2]) - (pair[0] - pair[1])).max() < ROUNDING  # +u and -u


def test_weights_of_any_scale_are_the_same_crystal():
    rows = [Crystal((2, 3), (scale, 2 * scale)).atoms(6, 5, rng()) for scale in (1.0, 1e-300, 5e307)]
    assert rows[0] == pytest.approx(rows[1], abs=1e-15) and rows[0] == pytest.approx(rows[2], abs=1e-15)


@given(m=st.integers(1, 40), d=st.integers(1, 12), exponent=st.floats(0.0, 6.0), seed=seeds)
@settings(max_examples=60)
def test_the_spectrum_follows_the_power_law_and_rows_are_unit(m, d, exponent, seed):
    rows = PowerSpectrum(exponent).atoms(m, d, rng(seed))
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(m), abs=1e-14)
    expected = np.arange(1.0, min(m, d) + 1) ** -exponent
    expected *= m / expected.sum()
    found = np.linalg.svd(rows, compute_uv=False) ** 2
    assert found == pytest.approx(expected, abs=1e-12 * expected[0])  # m rotations, each of some roundings


def test_exponent_zero_is_a_tight_frame_and_orthonormal_where_it_fits():
    rows = PowerSpectrum(0.0).atoms(50, 7, rng())
    assert rows.T @ rows == pytest.approx(np.eye(7) * 50 / 7, abs=1e-12)
    rows = PowerSpectrum(0.0).atoms(5, 7, rng())
    assert rows @ rows.T == pytest.approx(np.eye(5), abs=1e-12)


@pytest.mark.parametrize(("m", "d"), [(2_000, 64), (64, 200)])
def test_the_spectrum_holds_for_many_features(m, d):
    rows = PowerSpectrum(1.5).atoms(m, d, rng())
    expected = np.arange(1.0, min(m, d) + 1) ** -1.5
    found = np.linalg.svd(rows, compute_uv=False) ** 2
    assert found == pytest.approx(m * expected / expected.sum(), abs=1e-11 * m)


@given(seed=seeds, m=st.integers(1, 12), d=st.integers(1, 6), power=st.integers(0, 8))
@settings(max_examples=60)
def test_rotations_of_rows_make_their_norms_equal_and_keep_the_frame_operator(seed, m, d, power):
    rows = rng(seed).standard_normal((m, d)) * 10.0 ** rng(seed).integers(-power, power + 1, size=(m, 1))
    rows *= np.sqrt(m / np.square(rows).sum())
    before = rows.T @ rows
    equalise_rows_(rows)
    # Rounding is relative to the sum m of all squared norms.
    assert rows.T @ rows == pytest.approx(before, abs=1e-13 * m)
    assert np.square(rows).sum(axis=1) == pytest.approx(np.ones(m), abs=1e-13 * m)


@pytest.mark.parametrize(
    ("geometry", "m", "d"),
    [
        (PowerSpectrum(1.0), 6, 3),
        (PowerSpectrum(2.0), 3, 4),
        (Levels((0, 1, 0, 1), (0.5, -0.5)), 4, 5),
        (Crystal((2, 2)), 4, 4),
        (Bundles((2, 3), 0.5), 5, 3),
    ],
)
def test_orientation_is_uniform(geometry, m, d):
    generator = rng(3)
    assert_uniform_rows(np.stack([geometry.atoms(m, d, generator)[[0, -1]] for _ in range(120)]))


def test_the_directions_do_not_depend_on_the_number_of_threads():
    rows = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            rows.append(PowerSpectrum(1.0).atoms(300, 128, rng()))
    assert np.array_equal(*rows)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Levels((), ()), "levels must be numbered 0, 1"),
        (lambda: Levels((0, 2), (0.1, 0.1)), "without gaps"),
        (lambda: Levels((0, 1), (0.1,)), "2 different levels up to 1, and 1 cosines"),
        (lambda: Levels((0, -1), (0.1, 0.1)), r"levels\[1\] must lie in \[0"),
        (lambda: Levels((0, 0, 0), (-0.6,)), r"3 directions can have equal cosines in \[-1/2, 1\)"),
        (lambda: Levels((0, 0, 1), (0.2, 0.0)).atoms(3, 2, rng()), "Levels needs d >= 3, the sum"),
        (lambda: Levels((0, 0), (0.2,)).atoms(3, 4, rng()), "Levels has 2 features, but the world has m=3"),
        (lambda: Levels.mixed((0, 0), (0.6,)), r"mixing\[0\] must be finite and lie in \[0, 0.5\]"),
        (lambda: Levels.mixed((0, 0), (0.5,)), r"mixing\[0\] must be below 1/2, where all directions are one"),
        (lambda: Levels.mixed((0,) * 9, (8 / 9,)), "must be below 8/9"),  # the cosine comes out below 1 in rounding
        (lambda: Bundles((2,), 1.0), r"cosine must lie in \(-1, 1\)"),
        (lambda: Bundles((2, 2), 0.5).atoms(5, 4, rng()), "Bundles has 4 features"),
        (lambda: Bundles((2, 2), 0.5).atoms(4, 1, rng()), "dim >= 2"),
        (lambda: Crystal(()), "shape must hold at least one size"),
        (lambda: Crystal((2, 2), (1.0,)), "weights must be as many as the 2 factors; got 1"),
        (lambda: Crystal((2, 2), (1.0, 0.0)), r"weights\[1\] must be finite and lie in \(0"),
        (lambda: Crystal((2, 3), dims=(1, 1)), r"dims\[1\] must be at least 2 for 3 values"),
        (lambda: Crystal((2, 3), dims=(1,)), "dims must be as many"),
        (lambda: Crystal((2, 3)).atoms(5, 9, rng()), "Crystal has 6 features, but the world has m=5"),
        (lambda: Crystal((2, 3)).atoms(6, 4, rng()), "Crystal needs d >= 5"),
        (lambda: PowerSpectrum(-0.1), "exponent must be finite and lie in"),
        (lambda: PowerSpectrum(40.0).atoms(9, 9, rng()), r"Pass at most 13\.65"),
    ],
)
def test_impossible_geometries_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Levels([0], (0.1,)), "levels and cosines must be tuples"),
        (lambda: Levels.mixed((0, 0), [0.1]), "levels and cosines must be tuples"),
        (lambda: Crystal((2, 2), [1.0, 1.0]), "weights must be a tuple"),
        (lambda: Crystal([2, 2]), "shape must be a tuple"),
        (lambda: PowerSpectrum("1"), "exponent must be a real number"),
    ],
)
def test_wrong_types_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
