"""Exact frames meet their bounds, given coherences are kept, and what cannot be is refused with the bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from sparsesim.generators import (
    EquiangularTightFrame,
    GivenCoherence,
    LowCoherence,
    MutuallyUnbiased,
    RandomSphere,
    RootLines,
    equiangular,
    equiangular_sizes,
    frames,
)
from sparsesim.generators.equiangular import _family
from sparsesim.generators.frames import certify, least_coherence
from sparsesim.generators.geometry import coherence
from sparsesim.generators.given_coherence import _excess
from tests.generators.chance import assert_mean
from tests.generators.strategies import seeds
from theory.frames import coherence_bound, levenshtein_bound, orthoplex_bound, welch_bound

ROUNDING = 1e-12  # a few hundred roundings of 2^-53, for m up to 300
SIZES = [(m, d) for m, d, name in equiangular_sizes(180) if name != "simplex" or m < 12] + [(276, 23), (276, 253)]


def cosines(rows):
    return np.abs(rows @ rows.T)[np.triu_indices(len(rows), 1)]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(("m", "d"), SIZES)
def test_equiangular_tight_frames_are_equiangular_tight_and_unit(m, d):
    rows = EquiangularTightFrame().atoms(m, d, rng(m))
    assert rows.shape == (m, d) and rows.flags.c_contiguous
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(m), abs=1e-14)
    assert cosines(rows) == pytest.approx(np.full(m * (m - 1) // 2, welch_bound(m, d)), abs=ROUNDING)
    assert rows.T @ rows == pytest.approx(np.eye(d) * m / d, abs=ROUNDING * m / d)


def test_the_sizes_of_the_tables_of_real_frames_are_made():
    """Real frames of Fickus and Mixon (arXiv:1504.00253): all that they list with m <= 64 but (46, 23), some beyond."""
    known = {(6, 3), (10, 5), (14, 7), (16, 6), (16, 10), (18, 9), (26, 13), (28, 7), (28, 21), (30, 15), (36, 15)}
    known |= {(36, 21), (38, 19), (42, 21), (50, 25), (54, 27), (62, 31), (64, 28), (64, 36), (276, 23), (176, 22)}
    known |= {(120, 35), (120, 85), (144, 66), (144, 78), (256, 120), (256, 136)}
    made = {(m, d) for m, d, _ in equiangular_sizes(300)}
    assert known <= made
    assert {(m, d) for m, d in made if m <= 64 and d > 1 and m > d + 1} == {size for size in known if size[0] <= 64}


def test_the_list_of_sizes_is_that_of_brute_force():
    found = {(m, d) for m in range(3, 140) for d in range(2, m) if _family(m, d) or _family(m, m - d)}
    assert {(m, d) for m, d, _ in equiangular_sizes(139)} == found
    assert all(2 * m <= d * (d + 1) or d + 1 == m for m, d in found)  # Gerzon's bound


@pytest.mark.slow
@pytest.mark.parametrize(("m", "d"), [(496, 155), (780, 247), (1540, 495), (400, 190), (784, 378), (1024, 496)])
def test_large_equiangular_tight_frames_pass_their_own_check(m, d):
    rows = EquiangularTightFrame().atoms(m, d, rng())
    assert coherence(rows) == pytest.approx(welch_bound(m, d), abs=1e-12)


@pytest.mark.parametrize("d", [4, 16, 64])
def test_maximal_unbiased_bases_attain_the_orthoplex_and_levenshtein_bounds(d):
    m = d * (d + 2) // 2
    rows = MutuallyUnbiased().atoms(m, d, rng())
    assert orthoplex_bound(m, d) == pytest.approx(levenshtein_bound(m, d)) == pytest.approx(1 / np.sqrt(d))
    for b in range(0, m, d):
        inner = np.abs(rows[b : b + d] @ rows.T)
        expected = np.full((d, m), d**-0.5)
        expected[:, b : b + d] = np.eye(d)
        assert np.abs(inner - expected).max() < ROUNDING


@pytest.mark.parametrize(("m", "d"), [(1, 1), (2, 2), (4, 2), (24, 12), (13, 12), (30, 20), (40, 16), (7, 16), (16, 8)])
def test_two_unbiased_bases_exist_in_every_hadamard_order_and_the_last_may_be_incomplete(m, d):
    rows = MutuallyUnbiased().atoms(m, d, rng())
    assert coherence(rows) == pytest.approx(d**-0.5 if m > d else 0.0, abs=ROUNDING)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(m), abs=1e-14)


@pytest.mark.parametrize(
    ("m", "d"), [(3, 2), (6, 3), (10, 4), (12, 4), (20, 5), (15, 5), (36, 6), (30, 6), (63, 7), (120, 8), (28, 7)]
)
def test_root_lines_are_orthogonal_or_at_sixty_degrees(m, d):
    rows = RootLines().atoms(m, d, rng())
    found = cosines(rows)
    assert np.minimum(found, np.abs(found - 0.5)).max() < ROUNDING
    assert np.linalg.matrix_rank(rows) == d
    if (m, d) in [(3, 2), (12, 4), (36, 6), (63, 7), (120, 8)]:
        expected = 0.5
        assert (found > 0.25).any() and coherence(rows) == pytest.approx(expected, abs=ROUNDING)
        assert levenshtein_bound(m, d) == pytest.approx(expected)


@given(m=st.integers(1, 200), d=st.integers(1, 20))
def test_the_least_coherence_is_the_bound_of_theory_at_first_order(m, d):
    # Theory has the Welch bounds of higher order, too, which are never below here by more than rounding.
    assert least_coherence(m, d) <= coherence_bound(m, d) + 1e-12
    if m > d:
        assert least_coherence(m, d) >= welch_bound(m, d) - 1e-12


@given(seed=seeds, m=st.integers(1, 24), d=st.integers(1, 8), part=st.floats(0.0, 1.0))
@settings(max_examples=40)
def test_no_two_directions_are_closer_than_the_given_coherence(seed, m, d, part):
    reachable = coherence(LowCoherence().atoms(m, d, rng(seed)))
    most = min(1.0, reachable + part * (1.0 - reachable) + 1e-9)
    rows = GivenCoherence(most).atoms(m, d, rng(seed))
    assert rows.shape == (m, d) and coherence(rows) <= most + 1e-12
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(m), abs=1e-14)


def test_the_closest_pairs_lie_at_the_given_coherence():
    for factor in (1.2, 1.5, 2.0):
        most = factor * welch_bound(64, 32)
        rows = GivenCoherence(most).atoms(64, 32, rng())
        # The search aims at 1e-4 of the distance to the bound below it.
        assert most * (1 - 2e-4) <= coherence(rows) <= most


@pytest.mark.parametrize(("m", "d", "factor"), [(12, 6, 1.05), (20, 10, 1.1), (24, 8, 1.15), (64, 32, 1.1)])
def test_coherences_near_the_welch_bound_are_reached(m, d, factor):
    """The factors are those measured (1.049, 1.078, 1.131, 1.084), rounded up."""
    assert coherence(GivenCoherence(factor * welch_bound(m, d)).atoms(m, d, rng())) <= factor * welch_bound(m, d)


def test_a_coherence_at_the_bound_is_met_by_the_exact_frames():
    for m, d in [(28, 7), (120, 8), (144, 16), (16, 6)]:
        most = least_coherence(m, d)
        assert coherence(GivenCoherence(most).atoms(m, d, rng())) == pytest.approx(most, abs=1e-12)


def test_random_directions_that_are_far_enough_apart_are_left_as_they_are():
    assert np.array_equal(GivenCoherence(1.0).atoms(9, 4, rng(3)), RandomSphere().atoms(9, 4, rng(3)))


def test_the_gradient_of_the_excess_is_its_derivative():
    flat, direction, step = rng().standard_normal(60), rng(1).standard_normal(60), 1e-6
    _, gradient = _excess(flat, 12, 5, 0.3)
    ahead, behind = (_excess(flat + sign * step * direction, 12, 5, 0.3)[0] for sign in (1, -1))
    # Central differences: step^2 times the third derivative where it exists, and 2^-53 / step.
    assert gradient @ direction == pytest.approx((ahead - behind) / (2 * step), abs=1e-6)


@pytest.mark.parametrize(
    ("geometry", "m", "d"),
    [(EquiangularTightFrame(), 6, 3), (MutuallyUnbiased(), 12, 4), (RootLines(), 6, 3), (GivenCoherence(0.5), 5, 3)],
)
def test_orientation_order_and_sign_are_random(geometry, m, d):
    generator = rng(7)
    first = np.stack([geometry.atoms(m, d, generator)[0] for _ in range(150)])
    for column in range(d):  # moments of the uniform law on the sphere
        assert_mean(first[:, column], 0.0, tests=3 * d)
        assert_mean(first[:, column] ** 2, 1 / d, tests=3 * d)
        assert_mean(first[:, column] ** 4, 3 / (d * (d + 2)), tests=3 * d)


def test_signs_of_an_equiangular_frame_are_random():
    generator = rng(5)
    signs = np.sign([np.prod(EquiangularTightFrame().atoms(6, 3, generator)[:2], axis=0).sum() for _ in range(150)])
    assert_mean(signs, 0.0)


@pytest.mark.parametrize(
    ("geometry", "m", "d"),
    [
        (EquiangularTightFrame(), 144, 66),
        (EquiangularTightFrame(), 126, 63),
        (EquiangularTightFrame(), 144, 78),
        (EquiangularTightFrame(), 100, 99),
        (MutuallyUnbiased(), 144, 16),
        (RootLines(), 120 * 121 // 2, 120),
        (GivenCoherence(0.3), 150, 64),
    ],
)
def test_the_directions_do_not_depend_on_the_number_of_threads(geometry, m, d):
    rows = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            rows.append(geometry.atoms(m, d, rng()))
    assert np.array_equal(*rows)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EquiangularTightFrame().atoms(5, 5, rng()), "needs m > d; got m=5 <= d=5"),
        (lambda: EquiangularTightFrame().atoms(64, 32, rng()), r"nearest \(m, d\) are .*\(62, 31\)"),
        (lambda: EquiangularTightFrame().atoms(30, 7, rng()), r"none can exist, since m > min\(d\(d\+1\)/2"),
        (lambda: EquiangularTightFrame().atoms(7, 1, rng()), "needs d >= 2; in d=1 all directions lie on one line"),
        (lambda: MutuallyUnbiased().atoms(12, 6, rng()), "Hadamard matrix of order d; none is known here for d=6"),
        (lambda: MutuallyUnbiased().atoms(25, 12, rng()), r"2 mutually unbiased bases of R\^12 here, so m <= 24"),
        (lambda: MutuallyUnbiased().atoms(13, 4, rng()), "3 mutually unbiased bases .* m <= 12; got m=13"),
        (lambda: RootLines().atoms(13, 4, rng()), r"rank d=4 have m in \[10, 12\] lines; got m=13"),
        (lambda: RootLines().atoms(0, 5, rng()), "got m=0"),
        (lambda: RootLines().atoms(1, 1, rng()), "got m=1"),
        (lambda: GivenCoherence(1.1), r"most must be finite and lie in \[0, 1\]; got 1.1"),
        (lambda: GivenCoherence(0.4).atoms(6, 3, rng()), "coherence at least 0.447214 .*got most=0.4"),
        (lambda: GivenCoherence(0.49).atoms(120, 8, rng()), "coherence at least 0.5 "),
        (lambda: GivenCoherence(1.01 * welch_bound(20, 10)).atoms(20, 10, rng()), "was not reached for m=20, d=10"),
        (lambda: GivenCoherence(0.9).atoms(9_000, 10, rng()), "m=9000 features are too many"),
    ],
)
def test_impossible_frames_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_remedy_of_a_coherence_that_was_not_reached_works():
    with pytest.raises(ValueError, match="Raise most to") as caught:
        GivenCoherence(0.31).atoms(24, 8, rng())
    remedy = float(str(caught.value).split("Raise most to ")[1].rstrip("."))
    assert coherence(GivenCoherence(remedy).atoms(24, 8, rng())) <= remedy


def test_the_remedy_is_no_worse_than_the_start_of_the_search():
    # A search for what cannot be gives up pairs that it brings together, here to cosine 1.
    with pytest.raises(ValueError, match="Raise most to") as caught:
        GivenCoherence(0.733).atoms(20, 3, rng())
    generator = rng()
    RandomSphere().atoms(20, 3, generator)
    assert float(str(caught.value).split("Raise most to ")[1].rstrip(".")) <= 1e-6 + coherence(
        LowCoherence().atoms(20, 3, generator)
    )


def test_every_exact_frame_is_certified_before_it_is_returned(monkeypatch):
    wrong = np.random.default_rng(0).standard_normal
    monkeypatch.setitem(equiangular._MAKERS, "conference", lambda m, d: wrong((m, d)))
    monkeypatch.setattr(frames, "_roots", lambda family, d: wrong((6, d)))
    monkeypatch.setattr(frames.designs, "hadamard", lambda d: wrong((d, d)))
    for geometry, m, d in ((EquiangularTightFrame(), 6, 3), (RootLines(), 6, 3), (MutuallyUnbiased(), 12, 4)):
        with pytest.raises(ArithmeticError, match="has coherence"):
            geometry.atoms(m, d, rng())


def test_a_frame_that_is_not_what_it_says_is_not_certified():
    rows = EquiangularTightFrame().atoms(6, 3, rng())
    certify(rows, welch_bound(6, 3), "the frame")
    with pytest.raises(ArithmeticError, match=r"has coherence 0\.447"):
        certify(rows, welch_bound(6, 3) + 1e-9, "the frame")
    with pytest.raises(ArithmeticError, match="has coherence nan"):
        certify(np.full((6, 3), np.nan), welch_bound(6, 3), "the frame")
