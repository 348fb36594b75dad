"""The published planted dictionary, n = 50,000, d = 64, m = p = 128, k = 4, 20 dB: which learners reach MCC 0.95."""

from __future__ import annotations

import numpy as np
import pytest

from sparsesim._arrays import unit_rows
from sparsesim._identity import Role, stream
from sparsesim.metrics.evaluation import cosines, match_rows
from sparsesim.solvers.convex import Lasso
from sparsesim.solvers.learn import KSVD, MethodOfOptimalDirections
from sparsesim.solvers.online import OnlineDictionaryLearning
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.solvers.recursive import RecursiveLeastSquares

OMP, LASSO = OrthogonalMatchingPursuit(4), Lasso(0.2)


def published(seed):
    """Unit Gaussian atoms, four at a time with standard normal coefficients, noise 20 dB below the signal."""
    rng = np.random.default_rng(seed)
    atoms = unit_rows(rng.standard_normal((128, 64)))[0]
    chosen = np.argsort(rng.random((50_000, 128)), axis=1)[:, :4]
    clean = np.einsum("nk,nkd->nd", rng.standard_normal(chosen.shape), atoms[chosen])
    noise = rng.standard_normal(clean.shape)
    return atoms, clean + 0.1 * noise * np.sqrt(np.square(clean).sum() / np.square(noise).sum())


@pytest.mark.slow
@pytest.mark.parametrize(
    "learner",
    [
        OnlineDictionaryLearning(128, OMP, passes=3),
        OnlineDictionaryLearning(128, LASSO, passes=3),
        RecursiveLeastSquares(128, OMP, passes=3),
        KSVD(128, OMP, exact=False, iterations=40),
        MethodOfOptimalDirections(128, OMP, iterations=60),
        MethodOfOptimalDirections(128, LASSO, iterations=60),
    ],
    ids=["online_omp", "online_lasso", "recursive_omp", "approximate_ksvd_omp", "mod_omp", "mod_lasso"],
)
def test_the_learner_reaches_the_published_score(learner):
    atoms, x = published(0)
    fitted = learner.fit(x, rng=stream(0, Role.SOLVER))
    score = match_rows(np.abs(cosines(atoms, fitted.atoms))).similarity.mean()
    assert score >= 0.95, score  # chance is 0.33
