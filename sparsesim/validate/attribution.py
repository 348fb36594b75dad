"""Why features are missed: the error of each true feature held against what is known about it.

The error of a feature is 1 - |cos| with its one-to-one partner, 1 where it has none. It is regressed on the properties
of the feature, all of them together and each alone, within one fit; over seeds the coefficients have intervals.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.metrics.evaluation import Evaluation, Metric, cosines
from sparsesim.metrics.hierarchy import levels, parent_edges

PROPERTIES = ("log rate", "log variance", "coherence", "depth", "correlation")
_ALONE = 0.05  # share of a property's variance that the others must leave, or its own slope is not determined
_FLAT = 1e-9  # spread relative to the size below which all features have the same of a property


def feature_errors(evaluation: Evaluation) -> FloatArray:
    """Return 1 - |cos| of each true feature with its matched atom, ``(m,)``; 1 for an unmatched one."""
    errors = np.ones(evaluation.truth.atoms.shape[0])
    errors[evaluation.match.features] = 1.0 - evaluation.match.similarity
    return errors


def feature_rates(evaluation: Evaluation) -> FloatArray:
    """Return the firing rates ``(m,)``: the true ones where the world states them, else those of the batch."""
    law = getattr(getattr(evaluation.truth, "spec", None), "support", None)
    if law is not None:
        return np.asarray(law.marginals(), dtype=np.float64)
    codes = evaluation.true_codes
    return np.asarray(np.bincount(codes.indices, minlength=codes.shape[1]) / codes.shape[0])


def feature_properties(evaluation: Evaluation) -> dict[str, FloatArray]:
    """Return the properties of each true feature, ``(m,)`` each.

    ``log rate`` of firing; ``log variance``, of its coefficient in the batch, zeros included; ``coherence``, the
    largest |cos| with another feature; ``depth`` in the hierarchy, 0 for a root; ``correlation``, the largest |firing
    correlation| with another feature in the batch.
    """
    codes = evaluation.true_codes
    n, m = codes.shape
    tiny = 0.5 / n  # what fires never in the batch is rarer than 1 / n
    rates = np.maximum(feature_rates(evaluation), tiny)
    mean = np.asarray(codes.sum(axis=0)).ravel() / n
    variance = np.asarray(codes.multiply(codes).sum(axis=0)).ravel() / n - mean**2
    gram = np.abs(cosines(evaluation.truth.atoms, evaluation.truth.atoms))
    np.fill_diagonal(gram, 0.0)
    return {
        "log rate": np.log(rates),
        "log variance": np.log(np.maximum(variance, tiny * np.finfo(np.float32).eps)),
        "coherence": gram.max(axis=1),
        "depth": levels(parent_edges(evaluation.truth), m).astype(np.float64),
        "correlation": _firing_correlation(evaluation),
    }


def _firing_correlation(evaluation: Evaluation) -> FloatArray:
    fires = (evaluation.true_codes != 0).astype(np.float64)
    n = fires.shape[0]
    rate = np.asarray(fires.sum(axis=0)).ravel() / n
    joint = np.asarray((fires.T @ fires).toarray()) / n
    spread = np.sqrt(rate * (1 - rate))
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    correlation = np.abs(joint - np.outer(rate, rate)) * np.outer(inverse, inverse)
    np.fill_diagonal(correlation, 0.0)
    return np.asarray(correlation.max(axis=1))


def _standardised(values: FloatArray) -> FloatArray | None:
    """Return ``values (m,)`` with mean 0 and deviation 1, None where all are the same."""
    centred = values - values.mean()
    spread = float(centred.std())
    return None if spread <= _FLAT * (1.0 + float(np.abs(values).max())) else centred / spread


def _ranks(values: FloatArray) -> FloatArray:
    """Return the ranks ``(m,)`` of ``values``, equal ones sharing their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def slopes(error: FloatArray, properties: dict[str, FloatArray]) -> dict[str, float]:
    """Return the standardised regression coefficient of ``error (m,)`` on each property, all of them together.

    NaN for a property that all features share, for one that the others before it determine to 95 % of its variance
    (its own share in the error cannot be told from theirs), and for all where no feature differs in its error.
    """
    found = dict.fromkeys(properties, float("nan"))
    response = _standardised(error)
    names: list[str] = []
    columns: list[FloatArray] = []
    for name, values in properties.items():
        column = _standardised(values)
        if column is not None and (not columns or _left(column, np.stack(columns, axis=1)) > _ALONE):
            names.append(name)
            columns.append(column)
    if response is None or len(error) <= len(columns) + 1 or not columns:
        return found
    solution = np.linalg.lstsq(np.stack(columns, axis=1), response, rcond=None)[0]
    return found | dict(zip(names, map(float, solution), strict=True))


def _left(column: FloatArray, others: FloatArray) -> float:
    """Return the share of the variance of a standardised ``column (m,)`` that ``others (m, q)`` do not explain."""
    solution = np.linalg.lstsq(others, column, rcond=None)[0]
    return float(np.square(column - others @ solution).mean())


def rank_correlations(error: FloatArray, properties: dict[str, FloatArray]) -> dict[str, float]:
    """Return Spearman's rank correlation of ``error (m,)`` with each property; NaN where either does not vary."""
    response = _standardised(np.round(error, 12))
    ranked = None if response is None else _standardised(_ranks(response))
    found = {}
    for name, values in properties.items():
        column = _standardised(values)
        own = None if column is None else _standardised(_ranks(np.round(column, 9)))
        found[name] = float("nan") if own is None or ranked is None else float(own @ ranked / len(own))
    return found


@lru_cache(maxsize=1)  # the columns of one row are read one after the other
def _attribution(evaluation: Evaluation) -> tuple[dict[str, float], dict[str, float]]:
    error, properties = feature_errors(evaluation), feature_properties(evaluation)
    return slopes(error, properties), rank_correlations(error, properties)


def _column(kind: str, place: int, name: str) -> Metric:
    def measure(evaluation: Evaluation) -> float:
        return _attribution(evaluation)[place][name]

    measure.__name__ = column_name(kind, name)
    measure.__qualname__ = measure.__name__
    measure.__doc__ = f"Return the {kind} of the error of a feature on its {name}."
    return measure


def column_name(kind: str, name: str) -> str:
    """Return the column of a row in which the ``slope`` or ``alone`` of the property ``name`` stands."""
    return f"{kind}_{name.replace(' ', '_')}"


CAUSES: tuple[Metric, ...] = tuple(
    _column(kind, place, name) for place, kind in enumerate(("slope", "alone")) for name in PROPERTIES
)
