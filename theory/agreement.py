"""What agreement between two dictionaries says about the truth, and what recovery of the truth says about agreement.

Directions count up to sign: two dictionaries agree by the mean |cos| of their atoms under the best matching, and each
recovers a truth of as many directions by its mean |cos| with them.

References
----------
Song et al. (2025), "Position: mechanistic interpretability should prioritize feature consistency in SAEs",
arXiv 2505.20254, for the two scores. The bounds are derived here.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.floating[Any]]


def _scores(name: str, values: npt.ArrayLike) -> Array:
    scores = np.asarray(values, dtype=np.float64)
    if not scores.size or not np.isfinite(scores).all() or scores.min() < 0.0 or scores.max() > 1.0 + 1e-12:
        raise ValueError(f"{name} must be |cosines| in [0, 1]; got {values!r}.")
    return scores


def agreement_floor(first: float, second: float) -> float:
    """Return ``max(0, 2 g^2 - 1)``, g the mean of both recoveries: two dictionaries agree at least so much.

    For dictionaries as wide as the truth. The angle between lines is a metric, so a feature that they meet at angles a
    and b leaves them at most a + b apart; cos(a + b) >= 2 c^2 - 1 with c the mean of cos a and cos b, which is convex
    in c, and the matching through the truth is one of those over which agreement is the largest. Attained where both
    lean by one angle to opposite sides. Of the other direction there is no bound: all may agree on what is wrong.

    Raises
    ------
    ValueError
        Unless both scores lie in [0, 1].
    """
    mean = float(_scores("first", first).mean() + _scores("second", second).mean()) / 2
    return max(0.0, 2.0 * mean**2 - 1.0)


def independent_agreement(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Return the mean of ``first * second``, the expected cosine of atoms whose errors are independent.

    ``first`` and ``second (m,)`` are the cosines of the matched atoms with their features; each error is uniform among
    the directions orthogonal to the feature, so that its product with the other's has mean zero. A matching that may
    choose does at least as well, and where little is recovered visibly better.

    Raises
    ------
    ValueError
        Unless both hold as many cosines, in [0, 1].
    """
    a, b = _scores("first", first), _scores("second", second)
    if a.shape != b.shape:
        raise ValueError(f"first and second must be cosines of the same features; got shapes {a.shape} and {b.shape}.")
    return float((a * b).mean())
