"""What can be found out about an outside model by calling it; each defect is named, with the keyword that helps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim._identity import Role, stream
from sparsesim.validate.bridge import Bridge, block_rows

# Two evaluations of one float32 network agree to about 1e-6 relative; a batch-dependent encoder or a sampled code
# differs by percents. The threshold lies between, two orders from either.
AGREEMENT = 1e-4
STEP = 2.0**-7  # of the largest code, in central differences: error and float32 rounding are both near 1e-4
EVIDENCE = 0.5  # share of the variance that transposed weights must explain before decode is called transposed


@final
@dataclass(frozen=True, eq=False)
class Linear:
    """``decode(z)`` is ``z @ atoms + bias`` up to the relative ``error`` seen on codes and on random z.

    Attributes
    ----------
    atoms, bias : (p, d) of any norm, and (d,).
    error : relative to the largest value that decode gave.
    """

    atoms: FloatArray
    bias: FloatArray
    error: float


def relative(difference: FloatArray, reference: FloatArray) -> float:
    """Return the largest |difference| over the largest |reference|."""
    scale = float(np.abs(reference).max())
    return float(np.abs(difference).max()) / scale if scale else float(np.abs(difference).max() > 0)


def check_deterministic(bridge: Bridge, probe: FloatArray, codes: FloatArray) -> None:
    """Raise ValueError if encoding the probe again gives other codes."""
    error = relative(bridge.encode(probe, codes.shape[1]) - codes, codes)
    if error > AGREEMENT:
        raise ValueError(
            f"encode is random: two calls on the same samples differ by {error:.1e} of the largest code. "
            "Pass encode=lambda model, x: ... that returns the mean (or fixes the noise)."
        )


def check_row_wise(bridge: Bridge, probe: FloatArray, codes: FloatArray) -> None:
    """Raise ValueError if a sample has other codes alone, or in as large a batch as is encoded, than in the probe."""
    size = block_rows(codes.shape[1])
    cycle = np.resize(np.arange(len(probe)), size)
    crowded = bridge.encode(probe[cycle], codes.shape[1])  # first, since what encode notes is noted of the last call
    rows = range(0, len(probe), max(1, len(probe) // 8))
    alone = np.concatenate([bridge.encode(probe[i : i + 1], codes.shape[1]) for i in rows])
    error = relative(alone - codes[list(rows)], codes)
    if error > AGREEMENT:
        raise ValueError(
            f"encode depends on the other rows of the batch: a row alone differs by {error:.1e} of the largest code. "
            "A BatchTopK model must use its inference threshold here; pass encode=lambda model, x: ... that does."
        )
    error = relative(crowded - codes[cycle], codes)
    if error > AGREEMENT:
        raise ValueError(
            f"encode depends on how many rows there are: among {size}, codes differ by {error:.1e} of the largest "
            f"from those among {len(probe)}. Pass encode=lambda model, x: ... that takes each row by itself."
        )


def code_scale(codes: FloatArray) -> float:
    """Return a power of two near the largest code, so that scaling does not round; 1 where all codes are zero."""
    return math.ldexp(1.0, math.frexp(float(np.abs(codes).max()))[1])


def linear_part(bridge: Bridge, probe: FloatArray, codes: FloatArray) -> Linear:
    """Return atoms decode(e_i) - decode(0), bias decode(0), and how far decode is from being that.

    Impulses are as large as codes are, lest a large bias swallow the atoms. Decode is compared on the codes of the
    probe right after these were encoded (a decoder that undoes a normalisation which encode has noted is seen so) and
    on random z.

    Raises
    ------
    ValueError
        If decode cannot be called twice in a row, since it then uses up what encode has noted.
    """
    (n, p), d = codes.shape, probe.shape[1]
    bias = bridge.decode(np.zeros((1, p)), d)[0]
    try:
        bridge.decode(np.zeros((1, p)), d)
    except Exception as fault:
        raise ValueError(
            f"decode is no function of the codes alone: called a second time without encode it raises {fault!r}. A "
            "normalisation of each sample that decode undoes has no dictionary; pass encode and decode without it."
        ) from fault
    scale = code_scale(codes)
    atoms = (_responses(bridge, np.zeros(p), d, scale) - bias) / scale
    bridge.encode(probe, p)
    noise = stream(0, Role.MODEL_PROBE).standard_normal((n, p)) * (np.abs(codes).max() or 1.0)
    error = 0.0
    for z in (codes, noise):
        predicted = z @ atoms + bias
        error = max(error, relative(bridge.decode(z, d) - predicted, predicted))
    return Linear(atoms, bias, error)


def local_part(bridge: Bridge, codes: FloatArray, dim: int) -> Linear:
    """Return the linearisation of decode at the mean code, by central differences: first order about that point."""
    centre = codes.mean(axis=0)
    step = STEP * code_scale(codes)
    ahead, behind = (_responses(bridge, centre, dim, sign * step) for sign in (1.0, -1.0))
    atoms = (ahead - behind) / (2.0 * step)
    value = bridge.decode(centre[None], dim)[0]
    predicted = codes @ atoms + (value - centre @ atoms)
    return Linear(atoms, value - centre @ atoms, relative(bridge.decode(codes, dim) - predicted, predicted))


def _responses(bridge: Bridge, centre: FloatArray, dim: int, scale: float) -> FloatArray:
    """Return decode(centre + scale e_i) for every i, ``(p, d)``, a block of impulses at a time."""
    width = len(centre)
    out = np.empty((width, dim))
    size = block_rows(width)
    for start in range(0, width, size):
        rows = np.arange(min(size, width - start))
        impulses = np.tile(centre, (len(rows), 1))
        impulses[rows, start + rows] += scale
        out[start + rows] = bridge.decode(impulses, dim)
    return out


def check_affine(error: float) -> None:
    """Raise ValueError if decode is not affine."""
    if error > AGREEMENT:
        raise ValueError(
            f"decode is not affine: it differs from z @ atoms + bias by {error:.1e} of the largest value, "
            "so the model has no dictionary to compare with the truth. "
            "Pass decode=lambda model, z: ... with the linear part, if there is one; where decode undoes a "
            "normalisation of each sample that encode has noted, pass encode and decode without it; "
            "linear_decoder=False scores a truly nonlinear decoder by its linearisation at the mean code."
        )


def explained(x: FloatArray, reconstruction: FloatArray) -> float:
    """Return the share of the variance of ``x (n, d)`` that ``reconstruction`` explains; NaN where x is constant."""
    variance = float(np.square(x - x.mean(axis=0)).sum())
    return 1.0 - float(np.square(x - reconstruction).sum()) / variance if variance > 0 else math.nan


def check_transposed(probe: FloatArray, codes: FloatArray, linear: Linear) -> None:
    """Raise ValueError if p = d, decode rebuilds less than the mean does, and its transpose rebuilds the probe.

    Where p differs from d a transposed matrix does not fit and has raised before. With p = d it runs, so this takes
    evidence from both sides: random weights rebuild nothing either way, and a wrong scale spoils both.
    """
    p, d = linear.atoms.shape
    if p != d:
        return
    own = explained(probe, codes @ linear.atoms + linear.bias)
    turned = explained(probe, codes @ linear.atoms.T + linear.bias)
    if own < 0.0 and turned > EVIDENCE:
        raise ValueError(
            f"decode uses its matrix transposed: with p = d = {d} the shapes fit, but decode(encode(x)) "
            f"explains {own:.2f} of the variance of the probe, and {turned:.2f} with the matrix (p, d) of decode "
            "transposed. Transpose it in the model, or pass decode=lambda model, z: ... that does."
        )


def compare_forward(bridge: Bridge, probe: FloatArray, reconstruction: FloatArray) -> str:
    """Return how what the model gives when called compares with decode(encode(x)), which is what is scored."""
    found = bridge.forward(probe)
    if isinstance(found, str):
        return found
    error, nearest = min(
        ((relative(each - reconstruction, reconstruction), each) for each in found), key=lambda e: e[0]
    )
    if error <= AGREEMENT:
        return f"decode of encode, to {error:.1e} relative"
    text = f"differs from decode of encode, which is scored, by {error:.1e} of its largest value"
    return text + (
        ": an affine map of x, as of a skip connection" if _affine_in(probe, nearest - reconstruction) else ""
    )


def _affine_in(x: FloatArray, difference: FloatArray) -> bool:
    """Whether ``difference (n, d)`` is an affine map of ``x``, where there are samples enough to tell."""
    n, d = x.shape
    if n < 2 * (d + 1):
        return False
    design = np.column_stack([x, np.ones(n)])
    weights = np.linalg.lstsq(design, difference, rcond=None)[0]
    return relative(difference - design @ weights, difference) < AGREEMENT
