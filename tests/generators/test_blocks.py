"""Clusters, pairs, polytopes, subspaces and direct sums: exact cosines, independent orientations, what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from sparsesim.generators import (
    Block,
    Blocks,
    Clusters,
    Cones,
    EquiangularTightFrame,
    Levels,
    Orthonormal,
    Pairs,
    Polygons,
    Polytopes,
    RandomSphere,
    Subspaces,
)
from sparsesim.generators.blocks import equicorrelated
from tests.generators.chance import assert_mean, assert_uniform_rows
from tests.generators.strategies import block_geometries, exact_geometries, seeds

ROUNDING = 1e-13  # some tens of roundings of 2^-53
NAMES = {"digon": 1 / 2, "triangle": 2 / 3, "pentagon": 2 / 5, "tetrahedron": 3 / 4}
NAMES |= {"square antiprism": 3 / 8, "octahedron": 1 / 2, "icosahedron": 1 / 4}


def rng(seed=0):
    return np.random.default_rng(seed)


def blocks_of(sizes):
    return np.repeat(np.arange(len(sizes)), sizes)


@given(data=st.data(), seed=seeds, m=st.integers(1, 12), d=st.integers(1, 8))
@settings(max_examples=80)
def test_all_structured_geometries_return_unit_rows_and_the_same_bits_for_the_same_stream(data, seed, m, d):
    geometry = data.draw(st.one_of(block_geometries(m, d), *exact_geometries(m, d)))
    rows = geometry.atoms(m, d, rng(seed))
    assert rows.shape == (m, d) and rows.flags.c_contiguous and rows.dtype == np.float64
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(m), abs=1e-14)  # d roundings of 2^-53
    assert np.array_equal(rows, geometry.atoms(m, d, rng(seed)))
    assert hash(geometry) == hash(geometry)


@given(size=st.integers(2, 12), part=st.floats(0.0, 0.999))
def test_equicorrelated_rows_have_equal_cosines_over_the_whole_feasible_range(size, part):
    least = -1 / (size - 1)
    cosine = least + part * (1 - least)
    rows = equicorrelated(size, cosine)
    expected = np.where(np.eye(size, dtype=bool), 1.0, cosine)
    # Near the least cosine the root of 1 + (size - 1) cosine loses half the digits; its square does not.
    assert rows @ rows.T == pytest.approx(expected, abs=2e-12)


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5).map(tuple), cosine=st.floats(-0.25, 0.99), seed=seeds)
@settings(max_examples=40)
def test_features_of_one_cluster_have_exactly_the_given_cosine(sizes, cosine, seed):
    rows = Clusters(sizes, cosine).atoms(sum(sizes), 6, rng(seed))
    mine = blocks_of(sizes)
    gram = rows @ rows.T
    inside = (mine[:, None] == mine) & ~np.eye(len(mine), dtype=bool)
    assert gram[inside] == pytest.approx(np.full(inside.sum(), cosine), abs=2e-12)


def test_clusters_lie_independently_of_one_another():
    generator, d = rng(), 4
    draws = np.stack([Clusters((2, 3), 0.5).atoms(5, d, generator) for _ in range(200)])
    for i in range(2):
        across = np.einsum("nd,nd->n", draws[:, i], draws[:, 3])
        assert_mean(across, 0.0, tests=4)
        assert_mean(across**2, 1 / d, tests=4)


def test_the_least_cosine_takes_one_dimension_less():
    rows = Clusters((4, 4), -1 / 3).atoms(8, 3, rng())
    assert rows[:4].sum(axis=0) == pytest.approx(np.zeros(3), abs=ROUNDING)
    assert Clusters((5,), -0.25).atoms(5, 4, rng()).shape == (5, 4)


@pytest.mark.parametrize("cosine", [-1.0, -0.5, 0.0, 0.3, 0.999])
@pytest.mark.parametrize("orthogonal", [True, False])
def test_pairs_have_exactly_the_given_cosine(cosine, orthogonal):
    rows = Pairs(cosine, orthogonal).atoms(8, 9, rng())
    gram = rows @ rows.T
    assert np.diag(gram, 1)[::2] == pytest.approx(np.full(4, cosine), abs=ROUNDING)
    others = gram[np.arange(8)[:, None] // 2 != np.arange(8) // 2]
    assert (np.abs(others).max() < ROUNDING) == orthogonal


def test_antipodal_pairs_fill_every_dimension_with_both_ends_of_an_axis():
    rows = Pairs(-1.0).atoms(12, 6, rng())
    assert rows[::2] == pytest.approx(-rows[1::2], abs=1e-15)
    assert rows.T @ rows == pytest.approx(2 * np.eye(6), abs=ROUNDING)


@pytest.mark.parametrize("sides", [2, 3, 4, 5, 6, 11])
def test_polygons_have_the_cosines_of_their_corners_and_orthogonal_planes(sides):
    m, d = 3 * sides, 7
    rows = Polygons(sides).atoms(m, d, rng())
    turn = np.cos(2 * np.pi * (np.arange(sides)[:, None] - np.arange(sides)) / sides)
    assert rows @ rows.T == pytest.approx(np.kron(np.eye(3), turn), abs=ROUNDING)
    apart = Polygons(sides, orthogonal=False).atoms(m, d, rng())
    assert (apart @ apart.T)[:sides, :sides] == pytest.approx(turn, abs=ROUNDING)
    assert np.abs((apart @ apart.T)[:sides, sides:]).max() > 0.01


@pytest.mark.parametrize(("kind", "dimensionality"), NAMES.items())
def test_polytopes_are_tight_frames_with_the_dimensionalities_of_toy_models(kind, dimensionality):
    from sparsesim.generators.polytopes import _solid

    corners = {"digon": 2, "triangle": 3, "pentagon": 5}.get(kind) or len(_solid(kind))
    rows = Polytopes(kind).atoms(2 * corners, 8, rng())
    # D_i = |W_i|^2 / sum_j (W_i/|W_i| . W_j)^2, Elhage et al. (2022).
    assert 1 / np.square(rows @ rows.T).sum(axis=1) == pytest.approx(np.full(2 * corners, dimensionality), abs=1e-12)
    assert rows[:corners].sum(axis=0) == pytest.approx(np.zeros(8), abs=ROUNDING)
    gram = (rows @ rows.T)[:corners, :corners]
    assert np.sort(gram, axis=1) == pytest.approx(np.tile(np.sort(gram[0]), (corners, 1)), abs=ROUNDING)  # all alike


def test_the_icosahedron_and_the_antiprism_have_their_angles():
    ico = Polytopes("icosahedron").atoms(12, 3, rng())
    assert np.unique(np.round(ico @ ico.T, 9)) == pytest.approx([-1, -(5**-0.5), 5**-0.5, 1], abs=1e-9)
    prism = Polytopes("square antiprism").atoms(8, 3, rng())
    # On the sphere of squared radius 2/3 + 1/3: opposite -1/3, next in the square 1/3, across -1/3 +- sqrt(2)/3.
    expected = [-1 / 3 - 2**0.5 / 3, -1 / 3, -1 / 3 + 2**0.5 / 3, 1 / 3, 1]
    assert np.unique(np.round(prism @ prism.T, 9)) == pytest.approx(expected, abs=1e-9)


@given(dims=st.lists(st.integers(1, 4), min_size=1, max_size=6).map(tuple), seed=seeds, orthogonal=st.booleans())
@settings(max_examples=40)
def test_subspaces_have_orthonormal_bases(dims, seed, orthogonal):
    d = sum(dims) if orthogonal else max(dims)
    rows = Subspaces(dims, orthogonal).atoms(sum(dims), d, rng(seed))
    mine = blocks_of(dims)
    gram = rows @ rows.T
    known = (mine[:, None] == mine) | orthogonal
    assert np.abs(gram - np.eye(len(mine)))[known].max() < ROUNDING


def test_subspaces_are_uniform_so_that_two_share_the_expected_part():
    generator, d = rng(), 7
    draws = [Subspaces((2, 3)).atoms(5, d, generator) for _ in range(200)]
    shared = np.array([np.square(rows[:2] @ rows[2:].T).sum() for rows in draws])
    assert_mean(shared, 2 * 3 / d)  # trace of the product of two random projections of rank 2 and 3


def test_blocks_hold_what_their_geometries_say_in_orthogonal_subspaces():
    parts = (Block(EquiangularTightFrame(), 6, 3), Block(Cones((-1, 0, 0), 0.8), 3, 2), Block(RandomSphere(), 2, 4))
    rows = Blocks(parts).atoms(11, 9, rng())
    gram = rows @ rows.T
    mine = blocks_of((6, 3, 2))
    assert np.abs(gram[mine[:, None] != mine]).max() < ROUNDING
    assert np.abs(gram[:6, :6][~np.eye(6, dtype=bool)]) == pytest.approx(np.full(30, 5**-0.5), abs=ROUNDING)
    assert gram[6, 7:9] == pytest.approx([0.8, 0.8], abs=ROUNDING)
    assert np.linalg.matrix_rank(rows) == 3 + 2 + 2
    free = Blocks(parts, orthogonal=False).atoms(11, 5, rng())
    assert (free @ free.T)[6, 7:9] == pytest.approx([0.8, 0.8], abs=ROUNDING)


@pytest.mark.parametrize(
    ("geometry", "m", "d"),
    [
        (Clusters((2, 3), 0.4), 5, 3),
        (Pairs(0.5), 4, 5),
        (Polygons(5, orthogonal=False), 10, 3),
        (Polytopes("square antiprism"), 8, 3),
        (Subspaces((2, 2), orthogonal=True), 4, 5),
        (Blocks((Block(Orthonormal(), 2, 2), Block(RandomSphere(), 3, 2))), 5, 4),
    ],
)
def test_orientation_is_uniform(geometry, m, d):
    generator = rng(11)
    assert_uniform_rows(np.stack([geometry.atoms(m, d, generator)[[0, -1]] for _ in range(200)]))


def test_the_directions_do_not_depend_on_the_number_of_threads():
    simplex = Levels((0,) * 300, (-1 / 299,))
    cases = ((Clusters((100, 100), 0.3), 200), (Subspaces((90, 110), orthogonal=True), 200), (simplex, 300))
    for geometry, m in cases:
        rows = []
        for threads in (1, 2):
            with threadpool_limits(limits=threads):
                rows.append(geometry.atoms(m, 320, rng()))
        assert np.array_equal(*rows)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clusters((3, 4), -0.34), r"4 directions can have equal cosines in \[-1/3, 1\); got -0.34 < -0.333333"),
        (lambda: Clusters((3,), 1.0), "cosine must be below 1"),
        (lambda: Clusters((), 0.5), "sizes must hold at least one size"),
        (lambda: Clusters((2, 0), 0.5), r"sizes\[1\] must lie in \[1"),
        (lambda: Clusters((2, 2), 0.5).atoms(5, 9, rng()), "Clusters has 4 features, but the world has m=5"),
        (lambda: Clusters((2, 5), 0.5).atoms(7, 4, rng()), "needs d >= 5, the largest of the dimensions"),
        (lambda: Pairs(0.5).atoms(5, 9, rng()), "even number of features; got m=5"),
        (lambda: Pairs(0.5).atoms(8, 6, rng()), "needs d >= 8, the sum .* or pass orthogonal=False"),
        (lambda: Pairs(-1.0).atoms(8, 3, rng()), "needs d >= 4"),
        (lambda: Pairs(1.0), "cosine must be below 1"),
        (lambda: Pairs(float("nan")), "cosine must be finite"),
        (lambda: Polygons(1), r"sides must lie in \[2"),
        (lambda: Polygons(5).atoms(7, 9, rng()), r"Polygons\(5\) needs a multiple of 5 features; got m=7"),
        (lambda: Polygons(5).atoms(15, 5, rng()), "needs d >= 6"),
        (lambda: Polygons(5, orthogonal=False).atoms(15, 1, rng()), r"needs d >= 2, .* Raise dim\."),
        (lambda: Polytopes("cube"), "kind must be one of digon, .*; got 'cube'"),
        (lambda: Polytopes("tetrahedron").atoms(6, 9, rng()), "multiple of 4 features"),
        (lambda: Subspaces((2, 3), orthogonal=True).atoms(5, 4, rng()), "Subspaces needs d >= 5"),
        (lambda: Subspaces((2, 3)).atoms(6, 9, rng()), "has 5 features, but the world has m=6"),
        (lambda: Blocks(()), "at least one Block"),
        (lambda: Blocks((Block(Orthonormal(), 3, 2),)).atoms(3, 5, rng()), "at most d=2 directions"),
        (lambda: Blocks((Block(Orthonormal(), 2, 2),) * 2).atoms(4, 3, rng()), "Blocks needs d >= 4"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Clusters([2, 2], 0.5), r"sizes must be a tuple of integers; got \[2, 2\]"),
        (lambda: Clusters((2.0,), 0.5), r"sizes\[0\] must be an integer"),
        (lambda: Pairs(0.5, orthogonal=1), "orthogonal must be True or False"),
        (lambda: Block(Orthonormal, 2, 2), "geometry must be an object"),
        (lambda: Blocks((Orthonormal(),)), "blocks must be a tuple of Block"),
    ],
)
def test_wrong_types_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
