"""Geometries: unit rows, exact cosines, frames against the bounds, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from sparsesim.generators import Cones, GivenAtoms, LowCoherence, Orthonormal, RandomSphere
from sparsesim.generators.geometry import _crowding, coherence
from tests.generators.chance import assert_mean
from tests.generators.strategies import parent_tuples, seeds
from theory.frames import coherence_bound, simplex, welch_bound


def as_tuple(rows):
    return tuple(map(tuple, np.asarray(rows).tolist()))


@given(seed=seeds, d=st.integers(1, 9), m=st.integers(1, 14))
@settings(max_examples=40)
def test_all_geometries_return_unit_rows_and_the_same_bits_for_the_same_stream(seed, d, m):
    kinds = [RandomSphere(), LowCoherence(steps=2, order=16)]
    kinds += [Orthonormal()] if m <= d else []
    kinds += [Cones((-1, *range(m - 1)), 0.7)] if d > 1 else []
    for geometry in kinds:
        rows = geometry.atoms(m, d, np.random.default_rng(seed))
        assert rows.shape == (m, d) and rows.flags.c_contiguous
        assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(m), abs=1e-14)  # d roundings of 2^-53
        assert np.array_equal(rows, geometry.atoms(m, d, np.random.default_rng(seed)))


def test_random_directions_are_uniform_on_the_sphere():
    d = 6
    rows = RandomSphere().atoms(20_000, d, np.random.default_rng(0))
    for column in range(d):
        assert_mean(rows[:, column], 0.0, tests=3 * d)
        assert_mean(rows[:, column] ** 2, 1 / d, tests=3 * d)
        assert_mean(rows[:, column] ** 4, 3 / (d * (d + 2)), tests=3 * d)


def test_orthonormal_directions_are_orthonormal_and_uniform():
    rows = Orthonormal().atoms(40, 50, np.random.default_rng(0))
    assert rows @ rows.T == pytest.approx(np.eye(40), abs=1e-13)  # 50 roundings of 2^-53
    rng = np.random.default_rng(1)
    frames = np.stack([Orthonormal().atoms(3, 3, rng) for _ in range(4_000)])
    for i in range(3):
        for j in range(3):
            # Without the sign correction of the factorisation the diagonal would not have mean zero.
            assert_mean(frames[:, i, j], 0.0, tests=18)
            assert_mean(frames[:, i, j] ** 2, 1 / 3, tests=18)


@pytest.mark.parametrize(("m", "d"), [(3, 2), (4, 3), (6, 3), (28, 7)])
@pytest.mark.parametrize("seed", range(3))
def test_low_coherence_finds_equiangular_tight_frames(m, d, seed):
    rows = LowCoherence().atoms(m, d, np.random.default_rng(seed))
    # All p-norms have their minimum at the same frame, so p = 1024 finds it to the tolerance of the optimiser (1e-10).
    assert coherence(rows) == pytest.approx(welch_bound(m, d), abs=1e-8)
    assert coherence(rows) >= welch_bound(m, d) - 1e-12


@pytest.mark.parametrize(("m", "d", "factor"), [(64, 32, 1.10), (24, 8, 1.15), (128, 32, 1.20), (96, 16, 1.35)])
def test_low_coherence_comes_near_the_best_known_bound(m, d, factor):
    """The factors are those measured (1.08, 1.13, 1.19, 1.30), rounded up; a random start is above 2."""
    rows, start = (kind.atoms(m, d, np.random.default_rng(0)) for kind in (LowCoherence(), RandomSphere()))
    assert coherence_bound(m, d) - 1e-12 <= coherence(rows) < factor * welch_bound(m, d)
    assert coherence(start) > 2 * welch_bound(m, d)


@given(seed=seeds, d=st.integers(1, 8), extra=st.integers(1, 12), order=st.sampled_from([2, 4, 64, 256]))
@settings(max_examples=40)
def test_low_coherence_is_never_worse_than_its_random_start(seed, d, extra, order):
    m = d + extra
    start = RandomSphere().atoms(m, d, np.random.default_rng(seed))
    rows = LowCoherence(steps=3, order=order).atoms(m, d, np.random.default_rng(seed))
    if order == 2:  # asked for the least mean square, not for the least maximum
        assert np.square(rows @ rows.T).sum() <= np.square(start @ start.T).sum() * (1 + 1e-14)  # summation order
    else:
        assert coherence(rows) <= coherence(start)


def test_order_two_gives_a_tight_frame_whose_mean_squared_inner_product_is_the_least():
    m, d = 300, 20
    rows = LowCoherence(order=2, steps=100).atoms(m, d, np.random.default_rng(0))
    assert rows.T @ rows == pytest.approx(np.eye(d) * m / d, abs=1e-7 * m / d)  # stopped at 1e-10, or after 100 steps
    gram = rows @ rows.T
    mean_square = (np.square(gram).sum() - m) / (m * (m - 1))
    assert mean_square == pytest.approx(welch_bound(m, d) ** 2, rel=1e-9)  # second order in the distance from tightness


def test_the_directions_do_not_depend_on_the_number_of_threads():
    rows = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            rows.append(LowCoherence(steps=5).atoms(150, 64, np.random.default_rng(0)))
    assert np.array_equal(*rows)


@pytest.mark.parametrize("p", [4, 16, 256])
def test_the_gradient_of_the_crowding_is_its_derivative(p):
    rng = np.random.default_rng(0)
    flat, direction, step = rng.standard_normal(60), rng.standard_normal(60), 1e-6
    _, gradient = _crowding(flat, 12, 5, p)
    ahead, behind = (_crowding(flat + sign * step * direction, 12, 5, p)[0] for sign in (1, -1))
    # Central differences: error of order step^2 times the third derivative (about p^2), and 2^-53 / step.
    assert gradient @ direction == pytest.approx((ahead - behind) / (2 * step), abs=1e-6)


@given(parents=parent_tuples(), cosine=st.floats(-1.0, 1.0), d=st.integers(2, 6), seed=seeds)
@settings(max_examples=60)
def test_children_lie_at_the_given_cosine_to_their_parent(parents, cosine, d, seed):
    rows = Cones(parents, cosine).atoms(len(parents), d, np.random.default_rng(seed))
    for node, parent in enumerate(parents):
        if parent >= 0:
            assert rows[node] @ rows[parent] == pytest.approx(cosine, abs=1e-14)  # a few roundings of 2^-53


def test_siblings_lie_around_their_parent_in_random_directions():
    children = 3_000
    rows = Cones((-1, *((0,) * children)), 0.6).atoms(children + 1, 8, np.random.default_rng(0))
    across = rows[1::2] @ rows[2::2].T
    assert_mean(np.diag(across), 0.36)  # cosine^2, since the parts orthogonal to the parent are independent


def test_given_simplex_attains_the_welch_bound():
    for d in (2, 3, 7, 20):
        rows = GivenAtoms(as_tuple(simplex(d))).atoms(d + 1, d, np.random.default_rng(0))
        assert coherence(rows) == pytest.approx(welch_bound(d + 1, d), abs=1e-12)


def test_coherence_agrees_with_brute_force_across_its_blocks():
    rows = RandomSphere().atoms(2_500, 3, np.random.default_rng(0))  # three blocks
    gram = np.abs(rows @ rows.T) - np.eye(2_500)
    assert coherence(rows) == pytest.approx(gram.max(), abs=1e-14)
    twins = np.concatenate([rows[:2_000], -rows[:1]])
    assert coherence(twins) == pytest.approx(1.0, abs=1e-15)
    assert coherence(rows[:1]) == 0.0


@pytest.mark.slow
def test_low_coherence_works_for_sixteen_thousand_features():
    rows = LowCoherence(steps=10, order=2).atoms(16_384, 768, np.random.default_rng(0))
    frame = rows.T @ rows
    # Alternating projection gains a factor of 10 and more a step here; a random start is more than 0.01 away.
    assert np.abs(frame * 768 / 16_384 - np.eye(768)).max() < 1e-4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rng: Orthonormal().atoms(5, 4, rng), "at most d=4 directions can be orthonormal; got m=5"),
        (lambda rng: Cones((-1,), 1.5), r"cosine must be finite and lie in \[-1, 1\]; got 1.5"),
        (lambda rng: Cones((0,), 0.5), "cycle 0 -> 0"),
        (lambda rng: Cones((-1, 0), 0.5).atoms(3, 4, rng), "Cones has 2 parents, but the world has m=3"),
        (lambda rng: Cones((-1, 0), 0.5).atoms(2, 1, rng), "dim >= 2"),
        (lambda rng: LowCoherence(steps=0), r"steps must lie in \[1"),
        (lambda rng: LowCoherence(order=6), "order must be a power of two; got 6. Pass e.g. 8"),
        (lambda rng: LowCoherence().atoms(9_000, 10, rng), r"Use LowCoherence\(order=2\)"),
        (lambda rng: GivenAtoms(((1.0, 1.0),)), "row 0 has norm 1.41421. Divide each row by its norm"),
        (lambda rng: GivenAtoms(((1.0, 0.0), (1.0,))), r"same positive length; got lengths \[1, 2\]"),
        (lambda rng: GivenAtoms(()), "rows must be at least one"),
        (lambda rng: GivenAtoms(((float("nan"), 1.0),)), r"rows\[0\]\[0\] must be finite"),
        (lambda rng: GivenAtoms(((1.0, 0.0),)).atoms(2, 2, rng), r"rows of shape \(1, 2\), but the world has"),
    ],
)
def test_impossible_geometries_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make(np.random.default_rng(0))


def test_given_atoms_must_be_tuples():
    with pytest.raises(TypeError, match="tuple of tuples"):
        GivenAtoms([[1.0, 0.0]])
