"""How many active features an encoder can take when the dictionary is known: the phase plane of sparse coding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.magnitude import HalfNormal, SignedGaussian
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.active_set import NonNegativeLeastSquares
from sparsesim.solvers.base import Encoder
from sparsesim.solvers.homotopy import BasisPursuit
from sparsesim.solvers.message_passing import ApproximateMessagePassing
from sparsesim.solvers.priors import BernoulliGaussian, BernoulliHalfNormal
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.solvers.subspace import SubspacePursuit
from sparsesim.solvers.thresholding import CorrelationTopK
from sparsesim.study import Cell, Labels, OracleCell, Study, labels
from studies.bakeoff import n_features
from studies.tiers import Tier

EXACT = 0.01  # of the norm of a code: what counts as recovered, far above the tolerance of every encoder


def exact_recovery(evaluation: Evaluation) -> float:
    """Return the fraction of samples whose code is the true one to 1% of its norm; atoms are the true ones, in order.

    Raises
    ------
    ValueError
        If there are not as many atoms as features: the codes could not be compared.
    """
    if evaluation.codes.shape != evaluation.true_codes.shape:
        raise ValueError(
            f"exact_recovery compares codes feature by feature; got {evaluation.codes.shape} learned "
            f"and {evaluation.true_codes.shape} true ones. Use it with the true atoms."
        )
    wrong, true = evaluation.codes - evaluation.true_codes, evaluation.true_codes
    distance, size = (np.sqrt(np.asarray(part.power(2).sum(axis=1)).ravel()) for part in (wrong, true))
    return float((distance <= EXACT * size).mean())


METRICS = (n_features, exact_recovery)


@dataclass(frozen=True)
class Size:
    """What a tier spends: m features, samples a dictionary, dictionaries (seeds), the grid of delta and of rho."""

    m: int
    samples: int
    seeds: int
    deltas: tuple[float, ...]
    step: float


SIZES = {
    Tier.SMOKE: Size(64, 20, 5, (0.25, 0.5, 0.75), 0.15),
    Tier.LAPTOP: Size(128, 40, 5, (0.1, 0.25, 0.5, 0.75, 0.9), 0.05),
    Tier.PAPER: Size(1024, 100, 10, tuple(round(0.1 * i, 1) for i in range(1, 10)), 0.025),
}


def encoders(k: int, m: int, positive: bool) -> dict[str, Encoder]:
    """Return the encoders by name; pursuits are told k, message passing the whole law of the codes."""
    prior = BernoulliHalfNormal(k / m) if positive else BernoulliGaussian(k / m)
    found: dict[str, Encoder] = {
        "one_step": CorrelationTopK(k, refit=True, non_negative=positive),
        "omp": OrthogonalMatchingPursuit(k, non_negative=positive),
        "l1": BasisPursuit(non_negative=positive),
        "bayes": ApproximateMessagePassing(prior, tolerance=1e-7, max_iter=1000),
        "subspace": SubspacePursuit(k, non_negative=positive),
    }
    return {**found, "nnls": NonNegativeLeastSquares()} if positive else found


def study(tier: Tier) -> Study:
    """Return the phase plane at ``tier``: delta = d/m, rho = k/d, sign, encoder, paired seeds."""
    size = SIZES[tier]
    cells: dict[Labels, Cell] = {}
    for delta in size.deltas:
        d = round(delta * size.m)
        for rho in np.arange(size.step, 1.0, size.step).round(6).tolist():
            k = max(1, round(rho * d))
            for sign, magnitude in (("signed", SignedGaussian(1.0)), ("positive", HalfNormal(1.0))):
                world = FeatureSpec(d, ExactlyK(size.m, k), RandomSphere(), magnitude)
                for name, encoder in encoders(k, size.m, sign == "positive").items():
                    for seed in range(size.seeds):
                        cell = OracleCell(world, seed, size.samples, encoder)
                        cells[labels(sign=sign, encoder=name, delta=delta, rho=rho, seed=seed)] = cell
    question = "With the true dictionary given, how many active features can each encoder tell apart?"
    return Study("transitions", question, cells, METRICS)
