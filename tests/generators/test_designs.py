"""Finite designs: their defining equations, in integers, so without tolerance."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from sparsesim.generators import designs


def is_prime(n):
    return n > 1 and all(n % k for k in range(2, n))


def test_prime_powers_are_those_of_brute_force():
    known = {p**e: (p, e) for p in range(2, 1000) if is_prime(p) for e in range(1, 10) if p**e < 1000}
    for q in range(-3, 1000):
        assert designs.prime_power(q) == known.get(q)


@pytest.mark.parametrize(("p", "e"), [(2, 1), (2, 5), (3, 1), (3, 4), (5, 2), (7, 2), (13, 1), (101, 1)])
def test_the_powers_of_a_generator_are_all_non_zero_elements(p, e):
    powers = designs.field_powers(p, e)
    assert len({tuple(row) for row in powers}) == p**e - 1
    assert powers.min() >= 0 and powers.max() < p and powers.any(axis=1).all()
    assert tuple(powers[0]) == (1,) + (0,) * (e - 1)


@pytest.mark.parametrize("q", [3, 5, 7, 9, 25, 27, 49, 81, 101])
def test_jacobsthal_matrices_multiply_to_q_minus_the_ones(q):
    found = designs.quadratic_residues(q)
    assert np.array_equal(found @ found.T, q * np.eye(q, dtype=int) - 1)
    assert not found.sum(axis=1).any()
    assert np.array_equal(found.T, found if q % 4 == 1 else -found)


def test_residues_of_a_prime_field_are_the_squares():
    squares = {x * x % 23 for x in range(1, 23)}
    assert {a for a in range(23) if designs.quadratic_residues(23)[a, 0] == 1} == squares


@pytest.mark.parametrize("order", [6, 10, 14, 26, 50, 82, 126])
def test_conference_matrices_are_symmetric_with_orthogonal_rows(order):
    found = designs.conference(order)
    assert np.array_equal(found, found.T) and not np.diag(found).any()
    assert np.array_equal(found @ found, (order - 1) * np.eye(order, dtype=int))


def test_hadamard_matrices_of_all_orders_but_the_first_open_to_the_constructions():
    reached = [order for order in range(1, 201) if designs.has_hadamard(order)]
    # Paley's constructions and doubling leave these multiples of 4 open below 200; all of them are known to exist.
    assert set(range(4, 201, 4)) - set(reached) == {92, 116, 156, 172, 184, 188}
    assert [order for order in reached if order % 4] == [1, 2]
    for order in reached:
        found = designs.hadamard(order)
        assert np.array_equal(found @ found.T, order * np.eye(order, dtype=int)) and (np.abs(found) == 1).all()


@pytest.mark.parametrize("points", [3, 7, 9, 13, 15, 19, 21, 31, 33, 37, 39])
def test_every_pair_of_points_is_in_one_triple(points):
    found = [pair for triple in designs.triples(points) for pair in combinations(sorted(triple), 2)]
    assert sorted(found) == list(combinations(range(points), 2))


def test_the_graph_of_a_latin_square_of_order_six_is_a_hadamard_matrix():
    found = designs.latin_square_graph(6)
    assert np.array_equal(found, found.T) and (np.diag(found) == 1).all()
    assert np.array_equal(found @ found, 36 * np.eye(36, dtype=int))


def test_every_five_points_are_in_one_octad():
    found = designs.octads()
    assert found.shape == (759, 24) and (found.sum(axis=1) == 8).all()
    # Two octads never share five points, so the 759 * 56 sets of five are different, and they are all there are.
    shared = found @ found.T
    assert set(np.unique(shared[~np.eye(759, dtype=bool)])) == {0, 2, 4}
    assert 759 * 56 == 24 * 23 * 22 * 21 * 20 // 120


@pytest.mark.parametrize("dim", [4, 16, 64])
def test_kerdock_forms_are_quadratic_and_differ_by_bent_functions(dim):
    signs = designs.kerdock_signs(dim, dim // 2)
    assert (signs[0] == 1).all()
    walsh = designs.hadamard(dim)
    for a, b in combinations(range(min(dim // 2, 12)), 2):
        # Bent: the Walsh transform of the product is +-sqrt(dim) everywhere.
        assert (np.abs(walsh @ (signs[a] * signs[b])) == round(dim**0.5)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: designs.quadratic_residues(8), "power of an odd prime; got 8"),
        (lambda: designs.quadratic_residues(15), "got 15"),
        (lambda: designs.conference(22), r"prime power = 1 \(mod 4\); got order=22"),
        (lambda: designs.hadamard(92), "no Hadamard matrix of order 92"),
        (lambda: designs.hadamard(6), "order 6"),
        (lambda: designs.triples(8), r"points = 1 or 3 \(mod 6\); got 8"),
        (lambda: designs.kerdock_signs(8, 2), "dim must be a power of 4; got 8"),
        (lambda: designs.kerdock_signs(16, 9), r"count must lie in \[1, dim/2=8\]; got 9"),
    ],
)
def test_designs_that_do_not_exist_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
