"""Cells of the study: a trained encoder of the true atoms, and a learned dictionary with another encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import final

import numpy as np
from scipy.optimize import linear_sum_assignment

from sparsesim._arrays import FloatArray
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureModel, FeatureSpec
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import Encoder, FittedDictionary, Status
from sparsesim.solvers.neural.amortised import AmortisedEncoder, Amortiser
from sparsesim.solvers.proximal_gradient import FISTA
from sparsesim.study import FitCell
from studies.amortisation.encoders import LinearEstimate, ScalarReadout, WarmStarted

KEPT = 64  # trained models, which several cells refine in different ways


@final
@dataclass(frozen=True)
class Supervised:
    """The encoder is shown the true codes of its training samples."""

    learner: Amortiser | LinearEstimate
    bins: int = 100


@final
@dataclass(frozen=True)
class KnownCell:
    """The true atoms with an encoder that is trained, on samples alone or `Supervised`, and refined where asked for."""

    world: FeatureSpec
    seed: int
    n_test: int
    learner: Amortiser | Supervised
    n_train: int
    refine: FISTA | None = None

    def evaluate(self) -> Evaluation:
        """Return the true atoms with the trained encoder, against held-out samples."""
        model, encoder = _trained(replace(self, refine=None))
        status = encoder.status if isinstance(encoder, AmortisedEncoder) else Status.CONVERGED
        full = encoder if self.refine is None else WarmStarted(encoder, self.refine)
        fitted = FittedDictionary(model.atoms, model.bias, full, status)
        return Evaluation(model, fitted, model.sample(self.n_test, stream(self.seed, Role.TEST)))


@lru_cache(maxsize=KEPT)
def _trained(cell: KnownCell) -> tuple[FeatureModel, AmortisedEncoder | ScalarReadout]:
    model = cell.world.build(stream(cell.seed, Role.TRUTH))
    train = model.sample(cell.n_train, stream(cell.seed, Role.TRAIN))
    x, atoms, rng = train.x - model.bias, model.atoms, stream(cell.seed, Role.SOLVER)
    if isinstance(cell.learner, Amortiser):
        return model, cell.learner.train(x, atoms, rng=rng)
    learner = cell.learner.learner
    if isinstance(learner, Amortiser):
        return model, learner.train_on(x, train.codes, atoms, rng=rng)
    return model, ScalarReadout.fitted(learner, x, train.codes, atoms, cell.learner.bins)


@final
@dataclass(frozen=True)
class RefinedCell:
    """The dictionary that ``cell`` learns, with ``encoder`` in place of its own, or its own codes refined."""

    cell: FitCell
    encoder: Encoder | None = None
    refine: FISTA | None = None

    def evaluate(self) -> Evaluation:
        """Return the learned atoms with the other encoder, against the held-out samples of the cell."""
        model, fitted = _fitted(self.cell)
        encoder = fitted.encoder if self.encoder is None else self.encoder
        full = encoder if self.refine is None else WarmStarted(encoder, self.refine)
        return Evaluation(model, replace(fitted, encoder=full), self.cell.held_out(model))


@lru_cache(maxsize=KEPT)
def _fitted(cell: FitCell) -> tuple[FeatureModel, FittedDictionary]:
    return cell.fit()


def code_mcc(evaluation: Evaluation) -> float:
    """Return the mean |Pearson correlation| of true and learned codes, matched one to one on it, over true features.

    The score of the paper: it matches codes to codes, without a look at the atoms, so that chance is above zero.
    A latent that does not vary has correlation 0.
    """
    true, learned = (_standardised(codes.toarray()) for codes in (evaluation.true_codes, evaluation.codes))
    likeness = np.abs(true.T @ learned)
    rows, columns = linear_sum_assignment(likeness, maximize=True)
    return float(likeness[rows, columns].sum() / len(likeness))


def _standardised(codes: FloatArray) -> FloatArray:
    centred = codes.astype(np.float64) - codes.mean(axis=0)
    norm = np.linalg.norm(centred, axis=0)
    return np.asarray(centred / np.where(norm > 1e-9 * np.abs(codes).max(initial=1e-300), norm, np.inf))


def entry_error(evaluation: Evaluation) -> float:
    """Return the mean squared error of a code entry, matched by the atoms: sum (a - s)^2 / (n m)."""
    wrong = evaluation.aligned - evaluation.true_codes
    n, m = evaluation.true_codes.shape
    return float(wrong.power(2).sum() / (n * m))


def atom_cosine(evaluation: Evaluation) -> float:
    """Return the root mean square cosine of the matched atoms; an unmatched feature counts zero."""
    return float(np.sqrt(np.square(evaluation.match.similarity).sum() / evaluation.truth.n_features))
