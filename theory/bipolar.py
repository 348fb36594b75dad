"""Features of either sign: what codes of one sign leave of them, by the number of latents.

A feature is +1 with probability r q, -1 with r (1 - q), and else 0; m of them stand on orthonormal directions. Latents
lie along features, each speaks on one side of zero, and a decoder bias is free. Latents of one sign that lie so are
active for half of the signs: an autoencoder that lets as many latents speak as features are active has slots to spare,
and by atoms between features may leave somewhat less; below 1 - width / m none can be (`hedging.narrow_bound`).

References
----------
Zhu, Khalili, Zhu (2025), "AbsTopK: rethinking sparse autoencoders for bidirectional features", arXiv 2510.00404, for
the question. The errors are derived here.
"""

from __future__ import annotations

from theory._premises import count


def one_sided_error(rate: float, positive: float, latents: int) -> float:
    """Return the least squared error of a feature that has 0, 1 or 2 latents of one sign.

    None: the variance ``r - r^2 (2q - 1)^2``. One, on the side that is more frequent, with the best bias for the rest:
    ``r (1-q) (1-r) / (1 - r q)`` for q >= 1/2. Two: 0.

    Raises
    ------
    ValueError
        Unless 0 < rate < 1, 0 <= positive <= 1 and latents is 0, 1 or 2.
    """
    if not (0.0 < rate < 1.0 and 0.0 <= positive <= 1.0):
        raise ValueError(f"needs 0 < rate < 1 and 0 <= positive <= 1; got {rate} and {positive}.")
    count("latents", latents, 0)
    if latents > 2:
        raise ValueError(f"latents must be 0, 1 or 2; got {latents}.")
    q = max(positive, 1.0 - positive)
    if latents == 0:
        return rate - rate**2 * (2.0 * q - 1.0) ** 2
    return rate * (1.0 - q) * (1.0 - rate) / (1.0 - rate * q) if latents == 1 else 0.0


def one_sided_fvu(width: int, m: int, rate: float, positive: float = 0.5) -> float:
    """Return the share of the variance of ``m`` features that ``width`` latents of one sign leave.

    The first latent of a feature gains more than the second, so that every feature has one before any has two: with
    signs of equal probability ``(1 - r) / (2 - r)``, nearly half, is left at width = m, and nothing from 2m on.

    Raises
    ------
    ValueError
        As `one_sided_error`, and unless width is at least 0 and m at least 1.
    """
    count("width", width, 0)
    count("m", m)
    none, one = (one_sided_error(rate, positive, latents) for latents in (0, 1))
    gained = min(width, m) * (none - one) + min(max(width - m, 0), m) * one
    return 1.0 - gained / (m * none)


def signed_fvu(width: int, m: int) -> float:
    """Return the share of the variance that ``width`` latents of either sign leave, ``max(0, 1 - width / m)``.

    Raises
    ------
    ValueError
        Unless width is at least 0 and m at least 1.
    """
    count("width", width, 0)
    count("m", m)
    return max(0.0, 1.0 - width / m)
