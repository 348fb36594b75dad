"""No encoder is below the floor of its crosstalk, the programme's is the least, and unrolling converges as promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from theory.encoders import crosstalk, least_crosstalk, sufficient_depth, unrolled_bounds, unrolled_rate
from theory.frames import coherence, identity_hadamard, paley_etf, simplex, welch_bound

seeds = st.integers(0, 2**32 - 1)

FRAMES = {
    "identity and Hadamard 64": identity_hadamard(64),
    "identity and Hadamard 256": identity_hadamard(256),
    "Paley 38": paley_etf(38),
    "simplex 20": simplex(20),
}


def random_unit(rng, n, d):
    rows = rng.standard_normal((n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def unroll(x, atoms, encoder, thresholds, *, one_sided):
    """Return the codes after every step, slow and obvious."""
    z, path = np.zeros(len(atoms)), []
    for theta in thresholds:
        u = z + encoder @ (x - z @ atoms)
        z = np.maximum(u - theta, 0.0) if one_sided else np.sign(u) * np.maximum(np.abs(u) - theta, 0.0)
        path.append(z)
    return path


@settings(max_examples=30)
@given(seeds, st.integers(2, 10), st.integers(1, 6))
def test_no_encoder_is_below_the_welch_floor_nor_below_the_least(seed, n, d):
    rng = np.random.default_rng(seed)
    atoms = random_unit(rng, n, d)
    values, encoder = least_crosstalk(atoms)
    np.testing.assert_allclose(crosstalk(atoms, encoder), values, atol=1e-12)
    other = atoms + 0.5 * rng.standard_normal((n, d))
    other /= (other * atoms).sum(axis=1, keepdims=True)
    assert np.all(crosstalk(atoms, other) >= values - 1e-8)  # tolerance of the programme
    assert np.all(values <= crosstalk(atoms, atoms) + 1e-8)
    if n > d:
        assert crosstalk(atoms, other).max() >= values.max() - 1e-8 >= welch_bound(n, d) - 2e-8
        response = other @ atoms.T  # the mean-square form, which is stronger
        assert (np.square(response).sum() - n) / (n * (n - 1)) >= welch_bound(n, d) ** 2 - 1e-9


def test_the_least_crosstalk_is_the_inverse_of_the_shortest_way_to_write_an_atom_by_the_others():
    atoms = random_unit(np.random.default_rng(3), 9, 5)
    values, _ = least_crosstalk(atoms)
    for i, atom in enumerate(atoms):
        others = np.delete(atoms, i, axis=0)
        shortest = linprog(np.ones(16), A_eq=np.concatenate([others, -others]).T, b_eq=atom, method="highs").fun
        assert values[i] == pytest.approx(1 / shortest, rel=1e-7)


@pytest.mark.parametrize("atoms", [paley_etf(14), paley_etf(18), simplex(7)])
def test_on_equiangular_tight_frames_no_encoder_beats_the_tied_one(atoms):
    values, _ = least_crosstalk(atoms)
    np.testing.assert_allclose(values, coherence(atoms), atol=1e-8)
    assert coherence(atoms) == pytest.approx(welch_bound(*atoms.shape), abs=1e-12)


def test_independent_atoms_are_read_without_crosstalk():
    values, encoder = least_crosstalk(random_unit(np.random.default_rng(0), 5, 7))
    np.testing.assert_allclose(values, 0, atol=1e-8)
    assert encoder.shape == (5, 7)


def test_on_random_atoms_the_programme_halves_the_crosstalk_of_the_tied_encoder():
    # Reference for one random dictionary (d, n) = (32, 64): tied .552, least .235, floor .126. Dictionaries differ.
    rows = []
    for seed in range(2):
        atoms = random_unit(np.random.default_rng(seed), 64, 32)
        inverse = np.linalg.pinv(atoms).T
        inverse /= (inverse * atoms).sum(axis=1, keepdims=True)
        rows.append([c.max() for c in (least_crosstalk(atoms)[0], crosstalk(atoms, inverse), crosstalk(atoms, atoms))])
        assert rows[-1] == sorted(rows[-1])
    assert welch_bound(64, 32) == pytest.approx(0.126, abs=5e-4)
    assert np.min(rows, axis=0)[[0, 2]] == pytest.approx([0.235, 0.552], abs=0.015)


def test_unrolled_thresholding_stays_within_its_bound_and_never_fires_falsely():
    held, worst = [], []

    @settings(max_examples=60)
    @given(seeds, st.sampled_from(sorted(FRAMES)), st.integers(1, 5), st.floats(0, 0.01), st.booleans(), st.booleans())
    def check(seed, name, k, wobble, noisy, one_sided):
        rng = np.random.default_rng(seed)
        atoms = FRAMES[name] + wobble * rng.standard_normal(FRAMES[name].shape) / math.sqrt(len(FRAMES[name]))
        atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
        mu = coherence(atoms)
        held.append((2 * k - 1) * mu < 1)
        event(f"premise: {held[-1]}")
        if not held[-1]:
            return
        code = np.zeros(len(atoms))
        code[rng.choice(len(atoms), k, replace=False)] = rng.exponential(size=k)
        code *= 1.0 if one_sided else rng.choice([-1.0, 1.0], len(atoms))
        noise = 0.05 * noisy * rng.standard_normal(atoms.shape[1])
        leak = float(np.abs(atoms @ noise).max())
        start = float(np.abs(code).sum())
        thresholds, bounds = unrolled_bounds(mu, k, start, 15, leak)
        path = unroll(code @ atoms + noise, atoms, atoms, thresholds, one_sided=one_sided)
        for z, bound in zip(path, bounds[1:], strict=True):
            assert np.abs(z[code == 0]).max() < 1e-14 * start  # scores that equal the threshold round past it
            error = np.abs(z - code).sum()
            worst.append(error / bound)
            assert error <= bound * (1 + 1e-9) + 1e-12  # rounding

    check()
    assert np.mean(held) >= 0.2
    assert max(worst) > 0.5  # the bound is of the size of the error


def test_an_encoder_of_less_crosstalk_has_a_bound_where_the_tied_one_has_none():
    rng = np.random.default_rng(2)
    atoms = random_unit(rng, 24, 18)
    values, encoder = least_crosstalk(atoms)
    assert 3 * values.max() < 1 < 3 * coherence(atoms)
    code = np.zeros(24)
    code[[3, 17]] = 1.0, -2.0
    thresholds, bounds = unrolled_bounds(values.max(), 2, 3.0, 200)
    path = unroll(code @ atoms, atoms, encoder, thresholds, one_sided=False)
    assert all(np.abs(z - code).sum() <= b * (1 + 1e-9) + 1e-12 for z, b in zip(path, bounds[1:], strict=True))
    with pytest.raises(ValueError):
        unrolled_rate(coherence(atoms), 2)


def test_lower_thresholds_fire_falsely():
    # The sharpness control: one atom of value 1, threshold below its crosstalk.
    atoms = simplex(5)
    thresholds, _ = unrolled_bounds(0.2, 1, 1.0, 1)
    assert thresholds[0] == pytest.approx(0.2)
    for scale, fires in ((1.0 + 1e-9, False), (0.99, True)):
        z = unroll(atoms[0], atoms, atoms, scale * thresholds, one_sided=False)[0]
        assert z[1:].any() == fires


def test_the_rate_and_the_depth_have_their_reference_values():
    assert unrolled_rate(0.125, 3) == 0.625
    thresholds, bounds = unrolled_bounds(0.125, 3, 3.0, 10)
    np.testing.assert_allclose(bounds, 3 * 0.625 ** np.arange(11), rtol=1e-12)
    np.testing.assert_allclose(thresholds, bounds[:-1] / 8, rtol=1e-12)
    assert sufficient_depth(0.125, 3, 3.0, 1e-3) == math.ceil(math.log(3e3) / math.log(1.6))
    assert sufficient_depth(0.125, 3, 0.5, 1.0) == 0
    assert sufficient_depth(0.0, 3, 5.0, 1e-9) == 1


@given(st.floats(0, 0.19), st.integers(1, 3), st.floats(0.1, 10), st.floats(0, 0.1), st.floats(1.01, 3))
def test_the_depth_is_the_first_that_suffices(mu, k, start, noise, above):
    floor = 2 * k * noise / (1 - (2 * k - 1) * mu)
    error = above * floor + 1e-6
    depth = sufficient_depth(mu, k, start, error, noise)
    _, bounds = unrolled_bounds(mu, k, start, depth, noise)
    assert bounds[-1] <= error * (1 + 1e-9)
    assert depth == 0 or bounds[-2] > error * (1 - 1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: crosstalk(np.eye(3), np.eye(3)[:2]),
        lambda: crosstalk(np.eye(3), 2 * np.eye(3)),
        lambda: least_crosstalk(2 * np.eye(3)),
        lambda: unrolled_rate(0.2, 3),
        lambda: unrolled_rate(-0.1, 1),
        lambda: unrolled_bounds(0.1, 1, -1.0, 3),
        lambda: unrolled_bounds(0.1, 1, 1.0, -1),
        lambda: unrolled_bounds(0.1, 1, 1.0, 3, math.inf),
        lambda: sufficient_depth(0.1, 1, 1.0, 0.1, 0.2),
        lambda: sufficient_depth(0.1, 1, 1.0, 0.0),
    ],
)
def test_outside_its_assumptions_a_result_raises(call):
    with pytest.raises(ValueError):
        call()
