"""Three worked examples of `sparsesim.testing`, as they would stand in the tests of your own project.

1. A property test of an encoder: what a theorem promises for every dictionary and every code is tried on hard ones.
2. The promises of a sparse autoencoder that knows nothing of this package, one test for each.
3. What a learner recovers, as a claim on all seeds that is decided at a stated confidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import nn

from sparsesim import worlds
from sparsesim.solvers import KSVD, MethodOfOptimalDirections, OrthogonalMatchingPursuit
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.testing import Refuted, assert_no_worse_than, assert_recovers, parametrize_with_checks, strategies

# --- 1. Property: an encoder is exact where theory says so ------------------------------------------------------------
#
# Matching pursuit that refits finds every code with k active features if the coherence is below 1 / (2k - 1) (Tropp,
# 2004): below 1/3 for k = 2. The strategies draw dictionaries that keep the bound, and codes with two entries in each
# row. A counterexample would be shown as small as it can be: few rows, ones, axes.


def my_pursuit(x, atoms, k):
    """Return dense codes ``(n, m)``: k times the atom that fits best, all coefficients refitted each time."""
    codes = np.zeros((len(x), len(atoms)))
    for sample, code in zip(x, codes, strict=True):
        chosen, rest = [], sample
        for _ in range(k):
            chosen.append(int(np.abs(atoms @ rest).argmax()))
            values = np.linalg.lstsq(atoms[chosen].T, sample, rcond=None)[0]
            rest = sample - values @ atoms[chosen]
        code[chosen] = values
    return codes


@settings(max_examples=30)
@given(
    strategies.dictionaries(m=10, d=8, coherence_at_most=0.33),
    strategies.codes(m=10, k=2),
)
def test_my_pursuit_is_exact_below_the_coherence_limit(atoms, codes):
    found = my_pursuit(codes @ atoms, atoms, k=2)
    # Least squares with two atoms of |cosine| <= 0.33 has condition number 2: rounding of 1e-14 on values up to 10.
    np.testing.assert_allclose(found, codes.toarray(), atol=1e-12)


# --- 2. Promises: a sparse autoencoder of your own --------------------------------------------------------------------
#
# Nothing to inherit: a factory (seed, width, dim) is enough. It is trained here by the loop of the package, on its
# reconstruction error plus its `penalty`; solver_of(factory, width, fit=my_trainer) takes a trainer of your own. Each
# promise is a test with a name, e.g. `my_sae-a_row_is_encoded_alone_as_in_a_batch`.


class MySAE(nn.Module):
    def __init__(self, dim, width):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(dim, width), nn.Linear(width, dim)

    def encode(self, x):
        return torch.relu(self.encoder(x))

    def decode(self, codes):
        return self.decoder(codes)

    def penalty(self, codes):
        return 0.05 * codes.sum(-1)


def my_sae(seed, width, dim):
    return MySAE(dim, width)


@parametrize_with_checks([my_sae])
def test_my_sae_keeps_its_promises(solver, check):
    check(solver)


# A solver of the package's own kind is put through all promises. One that is broken on purpose is named, with the
# reason; the day it is kept, the test fails and the line can go.


@dataclass(frozen=True)
class Axes:
    """The coordinate axes, whatever the samples: they rebuild everything, but always in this one width."""

    width: int = 8

    def fit(self, x, *, rng):
        atoms = np.eye(self.width, np.atleast_2d(x).shape[1])
        return FittedDictionary(atoms, np.zeros(atoms.shape[1]), OrthogonalMatchingPursuit(2), Status.CONVERGED)


@parametrize_with_checks(
    [Axes()], expected_failures=lambda solver: {"bad_input_is_refused": "fit does not look at the samples"}
)
def test_my_solver_keeps_its_promises(solver, check):
    check(solver)


# --- 3. Recovery: a claim on all seeds --------------------------------------------------------------------------------
#
# Not "it worked with seed 0", nor "the mean over five seeds was fine": in at least 80% of all seeds this learner finds
# the dictionary, and if that is false, the probability that the test passes is at most 5%. As many seeds are tried as
# the decision takes: 16 if none fails. (The default, 1 - 1e-6, is for a test that runs every night for years.)

LEARNER = MethodOfOptimalDirections(8, OrthogonalMatchingPursuit(2), iterations=30)
WORLD = worlds.flat(dim=8, rate=0.15)


def test_my_learner_recovers_the_flat_world():
    finding = assert_recovers(LEARNER, WORLD, at_least=0.9, in_fraction=0.8, confidence=0.95, n_train=1000)
    print(finding)  # SUPPORTED: mcc is at least 0.9 in at least 0.8 of seeds. ...


def test_my_learner_is_no_worse_than_the_one_it_replaces():
    """In at least half of all seeds it is at most 0.02 below, on the same worlds and samples."""
    other = KSVD(8, OrthogonalMatchingPursuit(2), iterations=30)
    assert_no_worse_than(LEARNER, other, WORLD, margin=0.02, confidence=0.95, n_train=1000)


def test_what_a_false_claim_looks_like():
    """The failure lists the worst seeds between floor and ceiling, and ends with a line of shell to see one again."""
    with pytest.raises(Refuted) as failure:
        assert_recovers(LEARNER, WORLD, at_least=0.9, confidence=0.95, n_train=12)  # 12 samples do not suffice
    message = str(failure.value)
    assert "REFUTED: mcc is at least 0.9 in at least 0.9 of seeds" in message
    assert "ceiling" in message
    assert "python -c '" in message
