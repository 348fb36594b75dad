"""Two numbers of a decoder alone, by which the right number of active latents is sought without the truth.

Where an autoencoder is allowed too few active latents, or too many, its atoms mix correlated features: they grow like
one another, and they project on samples that their own feature has no part in. Both numbers are then larger than at the
right number, where there is hope of a minimum. Neither has a right value in itself.

References
----------
Chanin and Garriga-Alonso (2025), "Sparse but wrong: incorrect L0 leads to incorrect features in sparse autoencoders",
arXiv:2508.16560, for both.
"""

from __future__ import annotations

import numpy as np

from sparsesim._arrays import check_int, unit_rows
from sparsesim.metrics.evaluation import Evaluation

_BLOCK = 2**22  # cosines held at once


def decoder_coherence(evaluation: Evaluation) -> float:
    """Return c_dec, the mean |cos| of two learned atoms over all pairs; atoms that are zero are not counted.

    Orthonormal atoms have 0, copies of one 1, random directions about ``sqrt(2 / (pi d))``. 0 for fewer than two
    atoms. `coherence` is the largest instead of the mean.
    """
    rows, norms = unit_rows(np.asarray(evaluation.fitted.atoms, dtype=np.float64))
    rows = rows[norms > 0]
    if len(rows) < 2:
        return 0.0
    total, step = 0.0, max(1, _BLOCK // len(rows))
    for start in range(0, len(rows), step):
        cosine = np.abs(rows[start : start + step] @ rows.T)
        cosine[np.arange(len(cosine)), np.arange(start, start + len(cosine))] = 0.0
        total += float(cosine.sum())
    return total / (len(rows) * (len(rows) - 1))


def nth_decoder_projection(evaluation: Evaluation, n: int) -> float:
    """Return s_n, the projection of samples on unit atoms that ``n`` others a sample exceed on average.

    The entry of rank ``n`` times the number of samples among all ``(x - b) . a_i``, b the decoder bias, from above;
    signed, in the unit of the data. For n above the true number of active features it is the mixing that is left: the
    orthonormal truth has about 0 there. Random directions have what the spread of the data gives.

    Parameters
    ----------
    n : below the number of atoms, and above the number of active features where that can be guessed.

    Raises
    ------
    ValueError
        Unless 0 <= n < width.
    """
    rows, _ = unit_rows(np.asarray(evaluation.fitted.atoms, dtype=np.float64))
    check_int("n", n, 0, len(rows) - 1, high_name="width-1")
    x = np.asarray(evaluation.batch.x, dtype=np.float64) - np.asarray(evaluation.fitted.bias, dtype=np.float64)
    scores = (x @ rows.T).ravel()
    rank = len(scores) - 1 - n * len(x)
    return float(np.partition(scores, rank)[rank])
