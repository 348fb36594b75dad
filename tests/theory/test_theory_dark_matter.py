"""The linear part of an autoencoder's error: closed form against regression, and its limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.dark_matter import ErrorMoments, linear_share, missing_norm_share, shrinkage_moments, unexplained_share


def half_normal(count, n, density, rng):
    return np.abs(rng.normal(size=(count, n))) * (rng.random((count, n)) < density)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1.0), st.floats(0.0, 4.0))
def test_the_moments_of_shrinkage_agree_with_simulation(seed, density, penalty):
    s = half_normal(20_000, 1, density, np.random.default_rng(seed))[:, 0]
    g = np.minimum(s, penalty / 2)
    found = shrinkage_moments(density, penalty, [False, True])
    for values, expected in (
        ((s - s.mean()) ** 2, found.variance[0]),
        ((s - s.mean()) * (g - g.mean()), found.covariance[0]),
        ((g - g.mean()) ** 2, found.error_variance[0]),
    ):
        # 100 draws of three at six standard errors; 1e-9 where both are 0.
        assert abs(values.mean() - expected) < 6 * values.std() / math.sqrt(len(s)) + 1e-4 * expected + 1e-9
    assert found.covariance[1] == found.error_variance[1] == found.variance[1]


def test_the_share_of_orthonormal_atoms_has_the_reference_value():
    moments = shrinkage_moments(0.05, 0.3, np.arange(128) < 32)
    assert linear_share(np.eye(128), moments) == pytest.approx(0.9814, abs=5e-5)  # the digits given


@pytest.mark.parametrize(("missing", "share"), [(0, 0.6758), (32, 0.6653), (128, 0.8072), (256, 1.0)])
def test_the_share_in_superposition_is_close_to_the_reference_of_another_dictionary(missing, share):
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(256, 128))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    found = linear_share(atoms, shrinkage_moments(0.05, 0.3, np.arange(256) < missing))
    # The reference is for some random dictionary; ten of them spread by 0.004 (and by nothing with none missing).
    assert found == pytest.approx(share, abs=0.012)


@pytest.mark.parametrize(("n", "d", "missing"), [(12, 16, 3), (16, 8, 0), (16, 8, 6)])
def test_regression_on_simulated_errors_finds_the_share(n, d, missing):
    rng = np.random.default_rng(n + missing)
    atoms = rng.normal(size=(n, d))
    s = half_normal(60_000, n, 0.2, rng)
    lost = np.arange(n) < missing
    g = np.where(lost, s, np.minimum(s, 0.4))
    x, e = s @ atoms, g @ atoms
    design = np.column_stack([x, np.ones(len(x))])
    fitted = design @ np.linalg.lstsq(design, e, rcond=None)[0]
    residual, total = np.square(e - fitted).sum(1), np.square(e - e.mean(0)).sum(1)
    share = 1 - residual.mean() / total.mean()
    spread = (residual - (1 - share) * total).std() / math.sqrt(len(x)) / total.mean()
    moments = shrinkage_moments(0.2, 0.8, lost)
    assert abs(linear_share(atoms, moments) - share) < 5 * spread + 2 * d / len(x)  # the second: overfitting
    floor = residual.mean() / np.square(x - x.mean(0)).sum(1).mean()
    assert unexplained_share(atoms, moments) == pytest.approx(floor, rel=0.05)


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 8), st.floats(0.05, 1.0), st.floats(0.01, 3.0))
def test_superposition_only_lowers_the_share(seed, n, d, density, penalty):
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(n, d))
    moments = shrinkage_moments(density, penalty, rng.random(n) < 0.3)
    energy = np.square(atoms).sum(1)
    by_code = (energy * moments.covariance**2 / moments.variance).sum() / (energy * moments.error_variance).sum()
    found = linear_share(atoms, moments)
    assert 0.0 <= found <= by_code + 1e-9
    if n <= d and np.linalg.cond(atoms) < 1e3:
        assert found == pytest.approx(by_code, abs=1e-7)  # x tells s
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    assert linear_share(3.0 * atoms @ rotation, moments) == pytest.approx(found, abs=1e-7)
    assert linear_share(atoms, shrinkage_moments(density, penalty, np.ones(n))) == pytest.approx(1.0, abs=1e-7)


def test_what_is_missing_is_linear_and_what_is_shrunk_is_not_quite():
    assert linear_share(np.eye(4), shrinkage_moments(0.1, 0.3, [True] * 4)) == pytest.approx(1.0)
    assert linear_share(np.eye(4), shrinkage_moments(0.1, 0.3, [False] * 4)) < 0.9  # the control
    # A penalty beyond all codes removes them: then everything is missing.
    assert linear_share(np.eye(4), shrinkage_moments(0.1, 100.0, [False] * 4)) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("orthonormal", [True, False])
def test_the_norm_of_missing_features_is_predicted_as_well_as_regression_does(orthonormal):
    rng, n, density = np.random.default_rng(1), 200_000, 0.2
    atoms = np.linalg.qr(rng.standard_normal((8, 8)))[0] if orthonormal else rng.standard_normal((12, 8))
    missing = rng.permutation(len(atoms)) < len(atoms) // 2
    codes = np.abs(rng.standard_normal((n, len(atoms)))) * (rng.random((n, len(atoms))) < density)
    norm = np.square(codes[:, missing] @ atoms[missing]).sum(axis=1)
    inputs = np.c_[codes @ atoms, np.ones(n)]
    left = norm - inputs @ np.linalg.lstsq(inputs, norm, rcond=None)[0]
    # fourth moments of 200,000 samples: a standard error of about 0.003
    found = missing_norm_share(atoms, density, missing)
    assert found == pytest.approx(1.0 - left.var() / norm.var(), abs=0.012)
    first, third = density * np.sqrt(2 / np.pi), 2 * density * np.sqrt(2 / np.pi)
    alone = (third - first * density) ** 2 / ((density - first**2) * (3 * density - density**2))
    assert (found == pytest.approx(alone, abs=1e-12)) if orthonormal else found < alone - 0.1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: shrinkage_moments(0.0, 0.3, [True]), "density"),
        (lambda: shrinkage_moments(0.1, -1.0, [True]), "penalty"),
        (lambda: shrinkage_moments(0.1, 0.3, [[True]]), "vector"),
        (lambda: missing_norm_share(np.eye(3), 0.0, [True] * 3), "density"),
        (lambda: missing_norm_share(np.eye(3), 0.5, [False] * 3), "some true"),
        (lambda: linear_share(np.eye(3), shrinkage_moments(0.1, 0.3, [True])), "atoms"),
        (lambda: linear_share(np.eye(1), shrinkage_moments(0.1, 0.0, [False])), "some variance"),
        (lambda: ErrorMoments(np.ones(2), np.ones(2), np.ones(3)), "same n"),
        (lambda: ErrorMoments(np.ones(2), 2 * np.ones(2), np.ones(2)), "Cauchy"),
        (lambda: ErrorMoments(-np.ones(2), np.ones(2), np.ones(2)), "negative"),
    ],
)
def test_what_is_outside_the_model_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
