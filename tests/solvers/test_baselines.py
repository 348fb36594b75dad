"""Chance, principal components and independent components against what they are by definition."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from sparsesim._identity import Role, stream
from sparsesim.metrics.evaluation import cosines, match_rows
from sparsesim.solvers.base import Status
from sparsesim.solvers.baselines import IndependentComponents, LinearProjection, PrincipalComponents, RandomDictionary
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit


def rng():
    return stream(0, Role.SOLVER)


def test_a_random_dictionary_does_not_look_at_the_samples():
    solver = RandomDictionary(2000, OrthogonalMatchingPursuit(2))
    first = solver.fit(np.random.default_rng(0).standard_normal((5, 6)), rng=rng())
    second = solver.fit(np.ones((3, 6)), rng=rng())
    assert np.array_equal(first.atoms, second.atoms) and not first.bias.any()
    # uniform on the sphere: mean 0 and second moments I/d; 6 standard errors of 2000 draws
    assert np.abs(first.atoms.mean(axis=0)).max() < 6 / np.sqrt(6 * 2000)
    assert np.abs(first.atoms.T @ first.atoms / 2000 - np.eye(6) / 6).max() < 6 * np.sqrt(2 / 36 / 2000)


def test_principal_components_are_the_singular_vectors_of_the_centred_samples():
    x = np.random.default_rng(1).standard_normal((200, 7)) @ np.diag([5, 4, 3, 2, 1.5, 1, 0.5]) + 4.0
    fitted = PrincipalComponents(4).fit(x, rng=rng())
    centred = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    np.testing.assert_allclose(np.abs(np.sum(fitted.atoms * vectors[:, ::-1].T[:4], axis=1)), 1, atol=1e-12)
    np.testing.assert_allclose(fitted.atoms @ fitted.atoms.T, np.eye(4), atol=1e-13)
    error = np.square(x - fitted.decode(fitted.encode(x))).sum()
    assert error == pytest.approx(values[:3].sum(), rel=1e-10)  # Eckart and Young
    codes = fitted.encode(x)
    assert codes.nnz == codes.shape[0] * codes.shape[1]
    np.testing.assert_allclose(codes.toarray(), centred @ fitted.atoms.T, atol=1e-12)
    assert np.all(np.take_along_axis(fitted.atoms, np.abs(fitted.atoms).argmax(axis=1)[:, None], 1) > 0)


def test_more_principal_components_than_directions_are_refused_with_the_remedy():
    x = np.random.default_rng(2).standard_normal((5, 7))
    with pytest.raises(ValueError, match=r"min\(n, d\)=5.*got 6.*KSVD"):
        PrincipalComponents(6).fit(x, rng=rng())
    with pytest.raises(ValueError, match=r"d=7.*got 8"):
        IndependentComponents(8).fit(x, rng=rng())


@pytest.mark.parametrize("law", ["laplace", "uniform", "sparse"])
def test_independent_components_recover_independent_sources(law):
    generator = np.random.default_rng(3)
    n, d = 20_000, 6
    draw = {
        "laplace": lambda: generator.laplace(size=(n, d)),
        "uniform": lambda: generator.uniform(-1, 1, size=(n, d)),
        "sparse": lambda: generator.standard_normal((n, d)) * (generator.random((n, d)) < 0.2),
    }[law]
    mixing = generator.standard_normal((d, d))
    x = draw() @ mixing + 2.0
    fitted = IndependentComponents(d).fit(x, rng=rng())
    assert fitted.status is Status.CONVERGED
    # FastICA's error in an angle is about 1/sqrt(n) = 0.007 times a factor near 1: cosines above 0.999
    assert match_rows(np.abs(cosines(mixing, fitted.atoms))).similarity.min() > 0.999
    assert match_rows(np.abs(cosines(mixing, PrincipalComponents(d).fit(x, rng=rng()).atoms))).similarity.min() < 0.99
    np.testing.assert_allclose(fitted.decode(fitted.encode(x)), x, atol=1e-9)  # complete: nothing is lost


def test_independent_components_of_fewer_directions_leave_the_rest_zero():
    x = np.random.default_rng(4).laplace(size=(300, 2)) @ np.random.default_rng(5).standard_normal((2, 5))
    fitted = IndependentComponents(4).fit(x, rng=rng())
    assert np.array_equal(np.linalg.norm(fitted.atoms, axis=1) > 0, [True, True, False, False])
    np.testing.assert_allclose(fitted.decode(fitted.encode(x)), x, atol=1e-9)
    assert IndependentComponents(4, iterations=1).fit(x, rng=rng()).status is Status.BUDGET_SPENT


@pytest.mark.parametrize("solver", [PrincipalComponents(1), IndependentComponents(1), IndependentComponents(3)])
@pytest.mark.parametrize(
    "x", [np.zeros((4, 3)), np.full((4, 3), 7.0), np.ones((1, 3)), 1e150 * np.eye(3), 1e-150 * np.eye(3)]
)
def test_degenerate_samples_give_a_dictionary(solver, x):
    fitted = solver.fit(x, rng=rng())
    assert np.isfinite(fitted.atoms).all()
    if np.ptp(x, axis=0).max() == 0:
        np.testing.assert_allclose(fitted.decode(fitted.encode(x)), x, rtol=1e-14)  # the mean is all there is


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "sparsesim\[sklearn\]"'):
        IndependentComponents(2).fit(np.random.default_rng(0).standard_normal((20, 3)), rng=rng())


def test_projection_codes_are_least_squares_in_any_atoms():
    generator = np.random.default_rng(6)
    x, atoms = generator.standard_normal((30, 8)), generator.standard_normal((5, 8))
    atoms = np.concatenate([atoms / np.linalg.norm(atoms, axis=1, keepdims=True), np.zeros((1, 8))])
    codes = LinearProjection().encode(x, atoms)
    expected = np.linalg.lstsq(atoms.T, x.T, rcond=None)[0].T
    np.testing.assert_allclose(codes.toarray(), expected, atol=1e-12)
    assert LinearProjection().encode(x.astype(np.float32), atoms.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize(
    "kind",
    [PrincipalComponents, IndependentComponents, lambda width: RandomDictionary(width, OrthogonalMatchingPursuit(1))],
)
def test_a_width_of_zero_is_refused(kind):
    with pytest.raises(ValueError, match="width must lie"):
        kind(0)
