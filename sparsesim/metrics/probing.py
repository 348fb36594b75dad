"""What is reported of autoencoders where only labels are known: probes on few latents, and probes after ablations.

A feature's presence is a label here, as a concept's is in a benchmark of language models; the true atoms are not read.
Probes are logistic regressions with balanced classes, fitted and read on the same samples: take many more of these than
weights, and the score of a random dictionary beside. Features that are on, or off, in fewer than `LEAST` samples are no
label.

References
----------
Gurnee et al. (2023), "Finding neurons in a haystack", arXiv:2305.01610, for probes on k latents; Karvonen et al.
(2024), "Evaluating sparse autoencoders on targeted concept erasure tasks", arXiv:2411.18895, for both ablations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import rankdata

from sparsesim._arrays import Codes, FloatArray, IntArray, check_int
from sparsesim.metrics.evaluation import Evaluation, Samples

LEAST = 20  # samples with and without a label
CONCEPTS = 4  # the most frequent labels, of which ordered pairs are taken
_RIDGE = 1e-3  # of the mean variance of a column: weights are finite where classes are apart
_GRADIENT = 1e-8  # of the mean loss, which is of order one

Labels = npt.NDArray[np.bool_]


@final
@dataclass(frozen=True, eq=False)
class Probes:
    """Linear scores of samples, one for each label; positive where the label is found.

    Attributes
    ----------
    weights, offsets : (d, c) and (c,).
    """

    weights: FloatArray
    offsets: FloatArray

    def scores(self, x: FloatArray) -> FloatArray:
        """Return the scores ``(n, c)`` of ``x (n, d)``."""
        return np.asarray(x @ self.weights + self.offsets)


def _logistic(x: FloatArray, on: Labels, share: FloatArray) -> tuple[FloatArray, float]:
    """Return weights ``(d,)`` and offset of least ``sum_i share_i log(1 + exp(-t_i s_i)) + r |w|^2 / 2``, t = +-1.

    ``share (n,)`` sums to one; r is a share of the mean variance of the columns of ``x (n, d)``.
    """
    centre = share @ x
    rows = np.column_stack([x - centre, np.ones(len(x))])
    unit = float(np.sqrt(share @ np.square(rows[:, :-1]).mean(axis=1))) or 1.0
    rows[:, :-1] /= unit
    sign = np.where(on, 1.0, -1.0)
    price = np.append(np.full(x.shape[1], _RIDGE), 0.0)

    def loss(weights: FloatArray) -> tuple[float, FloatArray]:
        margin = sign * (rows @ weights)
        value = share @ np.logaddexp(0.0, -margin) + 0.5 * price @ np.square(weights)
        return float(value), price * weights - rows.T @ (share * sign * expit(-margin))

    def curvature(weights: FloatArray) -> FloatArray:
        chance = expit(rows @ weights)
        return np.asarray(rows.T @ (rows * (share * chance * (1.0 - chance))[:, None]) + np.diag(price))

    start = np.zeros(rows.shape[1])
    found = minimize(loss, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": _GRADIENT})
    weights = found.x[:-1] / unit
    return weights, float(found.x[-1] - centre @ weights)


def _balanced(on: Labels) -> FloatArray:
    """Return the weight of each sample, ``(n,)``, that gives either class a half."""
    return np.asarray(np.where(on, 0.5 / on.sum(), 0.5 / (~on).sum()))


def _accuracy(scores: FloatArray, on: Labels) -> FloatArray:
    """Return the accuracy ``(c,)`` of ``scores (n, c)`` about labels ``on (n, c)``, the mean of either class's."""
    right = (scores > 0) == on
    return np.asarray(0.5 * ((right & on).sum(axis=0) / on.sum(axis=0) + (right & ~on).sum(axis=0) / (~on).sum(axis=0)))


def _differences(codes: Codes, on: Labels) -> FloatArray:
    """Return how much larger the mean code is where a label is on than where it is off, ``(c, p)``."""
    total = np.asarray(codes.sum(axis=0)).ravel()
    count = on.sum(axis=0)[:, None]
    inside = np.asarray(codes.T @ on.astype(np.float64)).T
    return np.asarray(inside / count - (total - inside) / (len(on) - count))


def _probes(x: FloatArray, on: Labels, share: FloatArray) -> Probes:
    """Return one probe for each column of ``on (n, c)``, with the weights of samples ``share (n, c)``."""
    found = [_logistic(x, label, weight) for label, weight in zip(on.T, share.T, strict=True)]
    return Probes(np.array([weights for weights, _ in found]).T, np.array([offset for _, offset in found]))


@final
@dataclass(frozen=True, eq=False)
class Pair:
    """What tells a label from another that came with it.

    Attributes
    ----------
    label, spurious : (n,) of the samples.
    four : (n,) weights that make the four combinations equal.
    biased, clean : (n,) scores for the label, of a probe fitted where both agree, and of one fitted on all four.
    weights, cause : (d,) of the biased probe, and of a probe of the spurious label.
    """

    label: Labels
    spurious: Labels
    four: FloatArray
    biased: FloatArray
    clean: FloatArray
    weights: FloatArray
    cause: FloatArray

    @classmethod
    def of(cls, x: FloatArray, label: Labels, spurious: Labels) -> Pair:
        """Return the probes of samples ``x (n, d)``."""
        kind, same = 2 * label + spurious, label == spurious
        four = (0.25 / np.bincount(kind, minlength=4))[kind]
        agree = np.where(same, np.where(label, 0.5 / (label & same).sum(), 0.5 / (~label & same).sum()), 0.0)
        weights = np.column_stack([agree, four, _balanced(spurious)])
        probes = _probes(x, np.column_stack([label, label, spurious]), weights)
        scores = probes.scores(x)
        return cls(label, spurious, four, scores[:, 0], scores[:, 1], probes.weights[:, 0], probes.weights[:, 2])

    def accuracy(self, scores: FloatArray) -> float:
        """Return the accuracy of ``scores (n,)`` for the label, all four combinations of equal weight."""
        return float(self.four @ ((scores > 0) == self.label))


@final
@dataclass(frozen=True, eq=False)
class Concepts:
    """Samples with labels: which features are present. Probes are fitted when first asked for, and serve every solver.

    Parameters
    ----------
    batch : samples ``x (n, d)`` with their true codes ``(n, m)``.
    """

    batch: Samples

    @cached_property
    def x(self) -> FloatArray:
        """The samples ``(n, d)``."""
        return np.asarray(self.batch.x, dtype=np.float64)

    @cached_property
    def on(self) -> Labels:
        """Which samples have which label, ``(n, c)``: features that are on and off in `LEAST` samples."""
        present = (self.batch.codes != 0).tocsc()
        often = present.sum(axis=0)
        kept = np.flatnonzero((often >= LEAST) & (len(self.x) - often >= LEAST))
        return np.asarray(present[:, kept].toarray(), dtype=bool)

    @cached_property
    def probes(self) -> Probes:
        """One balanced probe on x for each label."""
        return _probes(self.x, self.on, np.column_stack([_balanced(label) for label in self.on.T]))

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """Ordered pairs of the `CONCEPTS` most frequent labels of which each combination is in `LEAST` samples."""
        often = self.on[:, np.argsort(-self.on.sum(axis=0), kind="stable")[:CONCEPTS]].T
        told = [
            (label, other)
            for label, other in permutations(often, 2)
            if min(np.bincount(2 * label + other, minlength=4)) >= LEAST
        ]
        return tuple(Pair.of(self.x, label, other) for label, other in told)

    def check(self, evaluation: Evaluation, name: str, count: int) -> None:
        """Raise ValueError unless ``evaluation`` is of these samples and has ``count`` latents to choose."""
        if evaluation.batch is not self.batch and not np.array_equal(evaluation.batch.x, self.batch.x):
            raise ValueError(
                "evaluation must be of the samples that have these labels: take Concepts(evaluation.batch)."
            )
        check_int(name, count, 1, len(evaluation.fitted.atoms), high_name="width")


def _part(evaluation: Evaluation, latents: IntArray, weights: FloatArray) -> FloatArray:
    """Return what ``latents`` add to the scores ``(n, ...)`` of ``weights (d, ...)``."""
    return np.asarray(evaluation.codes.tocsc()[:, latents] @ (_atoms(evaluation)[latents] @ weights))


def _atoms(evaluation: Evaluation) -> FloatArray:
    return np.asarray(evaluation.fitted.atoms, dtype=np.float64)


def _area(scores: FloatArray, on: Labels) -> float:
    """Return the probability that a sample with the label scores higher than one without; half of a tie counts."""
    ranks, count = rankdata(scores), int(on.sum())
    return float((ranks[on].sum() - 0.5 * count * (count + 1)) / (count * (len(on) - count)))


def _strongest(effects: FloatArray, n: int) -> IntArray:
    """Return the ``n`` indices of largest ``effects (p,)``, fewer where others have none."""
    order = np.argsort(-effects, kind="stable")[:n]
    return np.asarray(order[effects[order] != 0])


def sparse_probe_auc(evaluation: Evaluation, concepts: Concepts, k: int) -> float:
    """Return the area under the ROC curve of a probe on the ``k`` latents that differ most, a mean over labels.

    Latents are chosen by |mean code with the label - mean code without|. True atoms with true codes have 1, constant
    codes 1/2; a random dictionary has more than that by as much as its latents tell of x. NaN without a label.

    Raises
    ------
    ValueError
        Unless 1 <= k <= width, and the evaluation is of the samples of ``concepts``.
    """
    concepts.check(evaluation, "k", k)
    codes, areas = evaluation.codes.tocsc(), []
    for label, difference in zip(concepts.on.T, _differences(evaluation.codes, concepts.on), strict=True):
        chosen = np.argsort(-np.abs(difference), kind="stable")[:k]
        own = np.asarray(codes[:, chosen].toarray(), dtype=np.float64)
        own /= np.where(own.std(axis=0) > 0, own.std(axis=0), 1.0)
        weights, _ = _logistic(own, label, _balanced(label))
        areas.append(_area(own @ weights, label))
    return float(np.mean(areas)) if areas else float("nan")


def probe_perturbation(evaluation: Evaluation, concepts: Concepts, n: int) -> float:
    """Return TPP: how much accuracy probes lose when ``n`` latents of their label are ablated, less what others lose.

    ``mean_i (A_i - A_ii) - mean_{i != j} (A_j - A_ij)``, A_j the accuracy of the probe of label j on x and A_ij that on
    ``x - sum_{l in L_i} z_l d_l``. L_i are the n latents of largest effect ``max(0, mean code with label i - without)``
    times ``w_i . d_l``: codes are taken to be non-negative. Classes have equal weights: orthonormal true atoms with
    their codes have about 1/2 at n = 1; silence has 0. NaN for fewer than two labels.

    Raises
    ------
    ValueError
        Unless 1 <= n <= width, and the evaluation is of the samples of ``concepts``.
    """
    concepts.check(evaluation, "n", n)
    on = concepts.on
    if on.shape[1] < 2:
        return float("nan")
    weights, scores = concepts.probes.weights, concepts.probes.scores(concepts.x)
    effects = np.maximum(_differences(evaluation.codes, on), 0.0) * (_atoms(evaluation) @ weights).T
    kept = np.array([_accuracy(scores - _part(evaluation, _strongest(effect, n), weights), on) for effect in effects])
    loss = _accuracy(scores, on) - kept
    own = np.diag(loss)
    return float(own.mean() - (loss.sum() - own.sum()) / (loss.size - len(own)))


def spurious_removal(evaluation: Evaluation, concepts: Concepts, n: int) -> float:
    """Return SCR: which share of a probe's bias is gone when ``n`` latents of the spurious label are ablated.

    For each of `Concepts.pairs`: A is the accuracy of a probe of the label that was fitted where both labels agree, all
    four combinations weighted equally; A' that after the ablation of the n latents of largest
    ``|(mean code with the spurious label - without) w . d_l|``, w the probe of that label; B that of a probe which was
    fitted on the four. The score is ``sum (A' - A) / sum (B - A)`` over the pairs. (The released benchmark averages
    ratios; a ratio of sums has no pole at a pair without bias.) 1 if all of the bias is gone, 0 for silence, below 0
    where the ablation takes away more than the bias. The truth itself need not have 1: the biased probe keeps an
    offset that was fitted with both features on, and where coefficients hardly vary the ablation of one leaves the
    other on its boundary, so that orthonormal true atoms with their codes have about 0 too. NaN without a pair.

    Raises
    ------
    ValueError
        Unless 1 <= n <= width, and the evaluation is of the samples of ``concepts``.
    """
    concepts.check(evaluation, "n", n)
    gained = possible = 0.0
    for pair in concepts.pairs:
        (difference,) = _differences(evaluation.codes, pair.spurious[:, None])
        chosen = _strongest(np.abs(difference * (_atoms(evaluation) @ pair.cause)), n)
        before = pair.accuracy(pair.biased)
        gained += pair.accuracy(pair.biased - _part(evaluation, chosen, pair.weights)) - before
        possible += pair.accuracy(pair.clean) - before
    return gained / possible if possible > 0 else float("nan")
