"""How many bits the codes of a sample cost, and the dictionary that says most in the fewest.

Magnitudes are quantised to equal bins, each latent's from 0 to its largest in the batch; a sign is part of the symbol.
Latents are coded one by one, whether each fires and, if so, its bin: what they say of one another saves nothing.

References
----------
Ayonrinde, Pearce and Sharkey (2024), "Interpretability as compression", arXiv:2410.11179.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, xlogy

from sparsesim._arrays import Codes, FloatArray, IntArray, check_int, check_real
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.metrics.reconstruction import fvu_of

BINS = 16  # of the columns `description_bits` and `quantised_fvu`
_SCALE_BITS = 33.0  # a latent's largest magnitude in single precision, and whether it has both signs


@final
@dataclass(frozen=True)
class CodeLength:
    """Bits per sample: which latents fire, how strongly, and what sender and receiver must share beforehand.

    Attributes
    ----------
    support, values : bits per sample.
    shared : bits of scales and atoms, divided by the number of samples.
    """

    support: float
    values: float
    shared: float

    @property
    def total(self) -> float:
        """Return the bits per sample of all three together."""
        return self.support + self.values + self.shared


@final
@dataclass(frozen=True, eq=False)
class _Symbols:
    """The bin of each non-zero code, its sign, and the width of its latent's bins."""

    bins: IntArray  # (nnz,) 0 ... count - 1
    negative: npt.NDArray[np.bool_]  # (nnz,)
    largest: FloatArray  # (p,) magnitudes
    codes: Codes

    def counts(self, count: int) -> IntArray:
        """Return how often each latent shows each signed bin, ``(alive, 2 count)``, latents in ascending order."""
        latent, symbol = self.codes.indices.astype(np.int64), self.bins + count * self.negative
        alive, place = np.unique(latent, return_inverse=True)
        shown = np.bincount(place * 2 * count + symbol, minlength=len(alive) * 2 * count)
        return np.asarray(shown.reshape(len(alive), 2 * count))


def _symbols(codes: Codes, count: int) -> _Symbols:
    clean = codes.copy()
    clean.sum_duplicates()
    clean.eliminate_zeros()
    if not np.isfinite(clean.data).all():
        raise ValueError("codes must be finite; got NaN or infinite values. Leave the diverged fit out.")
    magnitude = np.abs(clean.data.astype(np.float64))
    largest = np.zeros(clean.shape[1])
    np.maximum.at(largest, clean.indices, magnitude)
    share = magnitude / largest[clean.indices]
    bins = np.minimum((share * count).astype(np.int64), count - 1)
    return _Symbols(bins, clean.data < 0, largest, clean)


def _entropy_bits(counts: npt.ArrayLike) -> FloatArray:
    """Return sum over each row of -c log2(c / row total): the bits of its symbols at their own frequencies."""
    c = np.asarray(counts, dtype=np.float64)
    total = c.sum(axis=-1)
    return np.asarray((xlogy(total, total) - xlogy(c, c).sum(axis=-1)) / np.log(2.0))


def _adaptive_bits(counts: npt.ArrayLike, letters: npt.ArrayLike) -> FloatArray:
    """Return the bits of each row's symbols where each costs -log2 (c + 1/2) / (seen + letters / 2) in its turn.

    They do not depend on the order: ``log2 [G(N + a/2) G(1/2)^a / (G(a/2) prod G(c + 1/2))]``.
    """
    c, a = np.asarray(counts, dtype=np.float64), np.asarray(letters, dtype=np.float64)
    each = (gammaln(c + 0.5) - gammaln(0.5)).sum(axis=-1)  # 0 for a letter that is never shown
    return np.asarray((gammaln(c.sum(axis=-1) + a / 2.0) - gammaln(a / 2.0) - each) / np.log(2.0))


def description_length(codes: Codes, bins: int, *, adaptive: bool = False, atom_bits: float = 0.0) -> CodeLength:
    """Return the bits per sample that the quantised ``codes (n, p)`` cost.

    By default at the frequencies of the batch, as if they were known: ``sum_i H2(p_i) + p_i H(bin_i | fires)``, p_i
    firing rates, H2 and H entropies in bits. That is the least that independent latents cost, and what a code comes to
    as n grows; a latent that never fires costs nothing.

    With ``adaptive`` it is a code that can be sent: each symbol is coded by what was seen before it, with half a count
    for each letter (Krichevsky and Trofimov), so that frequencies are paid for as they are learned, at about half of
    log2 n bits each; a latent that fires adds 33 bits for its scale. A dead latent costs about half of log2(pi n) bits
    in all. Probabilities of all batches of one size sum to 1.

    Parameters
    ----------
    codes : (n, p), of any sign.
    bins : equal bins from 0 to the largest magnitude of each latent.
    adaptive : see above.
    atom_bits : what one atom costs, such as d times the bits of a weight; paid for every latent that fires and shared
        by the n samples.

    Raises
    ------
    ValueError
        Unless there is a sample, ``bins`` is at least 1, ``atom_bits`` not negative, and the codes are finite.
    """
    count, price = check_int("bins", bins, 1), check_real("atom_bits", atom_bits, 0.0)
    n, p = codes.shape
    if n == 0:
        raise ValueError(f"codes must hold at least one sample; got shape {codes.shape}.")
    symbols = _symbols(codes, count)
    shown = symbols.counts(count)
    often = np.bincount(symbols.codes.indices, minlength=p)
    fires = np.stack([often, n - often], axis=-1)
    if not adaptive:
        support, values = _entropy_bits(fires), _entropy_bits(shown)
        scales = 0.0
    else:
        signed = shown[:, :count].any(axis=1) & shown[:, count:].any(axis=1)
        support, values = _adaptive_bits(fires, 2), _adaptive_bits(shown, count * (1 + signed))
        scales = _SCALE_BITS
    return CodeLength(float(support.sum() / n), float(values.sum() / n), float(len(shown) * (price + scales) / n))


def quantised(codes: Codes, bins: int) -> Codes:
    """Return ``codes (n, p)`` with each magnitude replaced by the middle of its bin; the support stays.

    Raises
    ------
    ValueError
        Unless ``bins`` is at least 1 and the codes are finite.
    """
    count = check_int("bins", bins, 1)
    symbols = _symbols(codes, count)
    middle = (symbols.bins + 0.5) / count * symbols.largest[symbols.codes.indices]
    data = np.where(symbols.negative, -middle, middle).astype(codes.dtype, copy=False)
    return Codes((data, symbols.codes.indices, symbols.codes.indptr), shape=codes.shape)


def description_bits(evaluation: Evaluation) -> float:
    """Return the bits per sample of the codes in 16 bins at the frequencies of the batch, by `description_length`.

    Silence costs 0: compare it at equal `quantised_fvu` only. The truth costs the entropy of its own codes where
    features are independent, and more than that where they are not. It is at most
    ``L0 (log2(e p / L0) + 4)``, and one more a non-zero where codes have both signs.
    """
    return description_length(evaluation.codes, BINS).total


def quantised_fvu(evaluation: Evaluation) -> float:
    """Return the `fvu` after the codes were rounded to 16 bins, as `description_bits` sends them.

    The truth has what rounding costs; 1 is what predicting the mean reaches. NaN where `fvu` is.
    """
    return fvu_of(evaluation.batch.x, evaluation.fitted.decode(quantised(evaluation.codes, BINS)))


@final
@dataclass(frozen=True)
class Selection:
    """The candidate and the number of bins that cost the fewest bits, with those bits and the FVU they leave."""

    candidate: int
    bins: int
    bits: float
    fvu: float


def select_by_description_length(
    candidates: Sequence[Evaluation],
    bins: Sequence[int] = (4, 6, 8, 12, 16, 32),
    *,
    max_fvu: float,
    adaptive: bool = False,
    atom_bits: float = 0.0,
) -> Selection:
    """Return the fit and the number of bins that describe the samples in the fewest bits, among those good enough.

    Good enough is a fraction of variance unexplained of at most ``max_fvu`` after rounding. Candidates are fits of
    different width and `l0`, judged on the same held-out samples. Of equal ones the first is taken. Without a price of
    atoms, one latent for every sample that occurs may be cheapest: where features depend on one another and few samples
    exist, naming the sample is shorter than naming its features one by one.

    Parameters
    ----------
    candidates, bins : every pair is tried.
    max_fvu : the error that is tolerated.
    adaptive, atom_bits : as of `description_length`.

    Raises
    ------
    ValueError
        If there is no candidate, they were judged on different samples, or none is good enough: the message says how
        good the best is.

    References
    ----------
    Ayonrinde, Pearce and Sharkey (2024), arXiv:2410.11179, for the rule.
    """
    check_real("max_fvu", max_fvu, 0.0)
    if not candidates or not bins:
        raise ValueError(f"needs at least one candidate and one number of bins; got {len(candidates)}, {len(bins)}.")
    if any(not np.array_equal(other.batch.x, candidates[0].batch.x) for other in candidates[1:]):
        raise ValueError("candidates must be judged on the same samples. Evaluate all fits on one held-out batch.")
    tried = [
        Selection(
            index,
            count,
            description_length(each.codes, count, adaptive=adaptive, atom_bits=atom_bits).total,
            fvu_of(each.batch.x, each.fitted.decode(quantised(each.codes, count))),
        )
        for index, each in enumerate(candidates)
        for count in bins
    ]
    admissible = [item for item in tried if item.fvu <= max_fvu]
    if not admissible:
        best = min(tried, key=lambda item: item.fvu)
        raise ValueError(
            f"no candidate reaches max_fvu={max_fvu:g}; the best leaves {best.fvu:.4g} (candidate {best.candidate}, "
            f"{best.bins} bins). Tolerate more, allow more active latents, or try more bins."
        )
    return min(admissible, key=lambda item: item.bits)
