"""Promises as pytest parameters, and the promises of models that somebody else's factory makes."""

from __future__ import annotations

import random
import types
from dataclasses import dataclass

import numpy as np
import pytest

import sparsesim.testing
from sparsesim.solvers import OrthogonalMatchingPursuit, RandomDictionary, TopK
from sparsesim.testing import CHECKS, OUTSIDE_CHECKS, check_solver, parametrize_with_checks, solver_of
from sparsesim.testing.conformance import reconstruction_beats_the_mean

FLOOR = RandomDictionary(12, OrthogonalMatchingPursuit(2))


class Tight:
    """A trained numpy model: codes are the positive parts of correlations with +-e_i, so that 2d atoms are exact."""

    def __init__(self, width, dim):
        self.atoms = np.concatenate([np.eye(dim), -np.eye(dim)])[:width]

    def fit(self, x):
        return self

    def transform(self, x):
        return np.maximum(x @ self.atoms.T, 0.0)

    def inverse_transform(self, codes):
        return codes @ self.atoms


def tight(seed, width, dim):
    return Tight(width, dim)


class OverTheBatch(Tight):
    def transform(self, x):
        return np.maximum(x @ self.atoms.T - np.abs(x).mean(), 0.0)


class Noisy(Tight):
    def transform(self, x):
        return super().transform(x) + np.random.rand(len(x), 1)  # noqa: NPY002 - planted


class ReadsTheGlobalState(Tight):
    def __init__(self, width, dim):
        super().__init__(width, dim)
        self.unused = random.random()

    def transform(self, x):
        np.random.rand()  # noqa: NPY002 - planted
        return super().transform(x)


class DrawsItsOwn(Tight):
    def __init__(self, width, dim):
        super().__init__(width, dim)
        self.atoms = np.random.default_rng().standard_normal((width, dim))


class Upside(Tight):
    def inverse_transform(self, codes):
        return -codes @ self.atoms


class Narrow(Tight):
    def __init__(self, width, dim):
        super().__init__(width - 1, dim)


def local(seed, width, dim):
    class Local(Tight):
        pass

    return Local(width, dim)


@parametrize_with_checks([tight, solver_of(tight, 16), FLOOR])
def test_promises(solver, check):
    check(solver)


def test_a_factory_as_a_whole():
    check_solver(tight)


@pytest.mark.parametrize(
    ("factory", "broken"),
    [
        (lambda seed, width, dim: OverTheBatch(width, dim), "the other rows of the batch"),
        (lambda seed, width, dim: Noisy(width, dim), "encode is random"),
        (lambda seed, width, dim: ReadsTheGlobalState(width, dim), "global_random_state_is_untouched"),
        (lambda seed, width, dim: DrawsItsOwn(width, dim), "the_same_stream_gives_the_same_bits"),
        (lambda seed, width, dim: Upside(width, dim), "reconstruct"),
        (lambda seed, width, dim: Narrow(width, dim), "asked for width 12, the model has 11"),
        (local, "the_fit_can_be_pickled"),
    ],
)
def test_a_planted_defect_of_a_model_is_named(factory, broken):
    with pytest.raises(AssertionError, match=broken):
        check_solver(factory)


@dataclass(frozen=True)
class FailsInFit:
    width: int = 12

    def fit(self, x, *, rng):
        return TopK(12, 13)


def test_a_solver_that_raises_is_named_with_the_promise():
    with pytest.raises(
        AssertionError, match=r"FailsInFit, atoms_are_unit_rows_of_the_declared_width: fit .* ValueError: k must lie in"
    ):
        check_solver(FailsInFit())


def parameters(decorator):
    return decorator.args[1]


def test_a_star_import_brings_the_public_names():
    found: dict[str, object] = {}
    exec("from sparsesim.testing import *", found)
    names = dir(sparsesim.testing)
    modules = {name for name in names if isinstance(getattr(sparsesim.testing, name), types.ModuleType)}
    assert found.keys() - {"__builtins__"} == set(names) - modules


def test_one_test_id_for_each_solver_and_promise():
    ids = [each.id for each in parameters(parametrize_with_checks([FLOOR, tight, RandomDictionary(3, FLOOR.encoder)]))]
    assert len(ids) == len(set(ids)) == 2 * len(CHECKS) + len(OUTSIDE_CHECKS)
    assert "RandomDictionary-bad_input_is_refused" in ids
    assert "RandomDictionary#2-bad_input_is_refused" in ids
    assert "tight-the_fit_can_be_pickled" in ids
    assert parametrize_with_checks([FLOOR]).args[0] == ("solver", "check")


def test_an_expected_failure_has_a_reason_and_must_fail():
    name = reconstruction_beats_the_mean.__name__
    expected = parameters(parametrize_with_checks([FLOOR], expected_failures=lambda solver: {name: "it is chance"}))
    marked = [each for each in expected if each.marks]
    assert [each.values[1] for each in marked] == [reconstruction_beats_the_mean]
    assert marked[0].marks[0].kwargs == {"reason": "it is chance", "strict": True}
    with pytest.raises(ValueError, match="'speed' is no promise"):
        parametrize_with_checks([FLOOR], expected_failures=lambda solver: {"speed": "slow"})
    with pytest.raises(ValueError, match="has no reason"):
        parametrize_with_checks([FLOOR], expected_failures=lambda solver: {name: ""})


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (RandomDictionary, "not a class"),
        (3, "a factory is called with"),
        (lambda dim: None, "seed, width, dim"),
    ],
)
def test_what_is_neither_a_solver_nor_a_factory_is_refused(candidate, message):
    with pytest.raises(TypeError, match=message):
        check_solver(candidate)
