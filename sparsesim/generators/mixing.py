"""Nonlinear mixing by an invertible network whose layers have a given condition number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import Codes, FloatArray, Rng, check_int, check_matrix, check_real, read_only
from sparsesim.generators.observation import product, random_directions, random_frame


@final
@dataclass(frozen=True)
class LeakyMixing:
    """The signal goes through an invertible network, signal <- f(signal), d -> d.

    f = L_last o a o ... o a o L_1 with a(h) = max(h, slope h) and L(h) = h U diag(s) V + b: U and V orthogonal (Haar)
    and the singular values s spaced geometrically from condition^(-1/2) to condition^(1/2), so that every layer has
    exactly this condition number and determinant of magnitude 1. The singular values of the Jacobian lie, everywhere,
    between slope^(layers-1) condition^(-layers/2) and condition^(layers/2).

    Parameters
    ----------
    layers : number of layers, at least 2, for with one f is affine.
    condition : ratio of the largest to the smallest singular value of each layer, at least 1.
    slope : of the nonlinearity for negative values, in (0, 1]; with 1, f is affine.
    offset : Euclidean norm of b in each layer, in a random direction. Without, f(t x) = t f(x) for t > 0.

    References
    ----------
    Mixing of this kind, with other control of the conditioning, is that of Khemakhem et al. (2020), "Variational
    autoencoders and nonlinear ICA", arXiv:1907.04809, and of Hyvarinen and Morioka (2016), arXiv:1605.06336.
    """

    layers: int = 2
    condition: float = 4.0
    slope: float = 0.2
    offset: float = 0.0

    def __post_init__(self) -> None:
        check_int("layers", self.layers, 2)
        check_real("condition", self.condition, 1.0, 1e6)
        check_real("slope", self.slope, 0.0, 1.0, open_low=True)
        check_real("slope", self.slope, 1e-6)
        check_real("offset", self.offset, 0.0)

    @property
    def jacobian_bounds(self) -> tuple[float, float]:
        """Least and largest singular value that the Jacobian can have anywhere."""
        spread = float(self.condition) ** (self.layers / 2.0)
        return float(self.slope) ** (self.layers - 1) / spread, spread

    def realise(self, atoms: FloatArray, energy: Callable[[], float], rng: Rng) -> LeakyNetwork:
        """Return the network of a world of dimension d >= 2 (else ValueError, unless condition = 1)."""
        d = atoms.shape[1]
        if d < 2 and self.condition != 1.0:
            raise ValueError(f"a layer has a condition number other than 1 from dim=2 on; got dim={d}. Raise dim.")
        half = np.log(float(self.condition)) / 2.0
        stretch = read_only(np.exp(np.linspace(-half, half, d)) if d > 1 else np.ones(1))
        layers = int(self.layers)
        left, right = ([random_frame(d, d, rng) for _ in range(layers)] for _ in range(2))
        shift = float(self.offset) * random_directions(layers, d, rng)
        return LeakyNetwork(tuple(left), tuple(right), stretch, read_only(shift), float(self.slope))


@final
@dataclass(frozen=True, eq=False)
class LeakyNetwork:
    """The network of one world; `apply` mixes a signal and `inverse` gives it back.

    Attributes
    ----------
    left, right : (d, d) orthogonal matrices U and V of each layer.
    stretch : (d,) singular values of each layer.
    shift : (layers, d) offsets.
    slope : of the nonlinearity for negative values.
    """

    left: tuple[FloatArray, ...]
    right: tuple[FloatArray, ...]
    stretch: FloatArray
    shift: FloatArray
    slope: float

    def apply(self, signal: FloatArray, codes: Codes, rng: Rng) -> FloatArray:
        """Return the changed ``signal (n, d)``, in its precision."""
        return self.mix(signal)

    def mix(self, signal: FloatArray) -> FloatArray:
        """Return f(signal) ``(n, d)``, in the precision of ``signal``."""
        kind, hidden = signal.dtype, signal
        for layer, (left, right) in enumerate(zip(self.left, self.right, strict=True)):
            if layer:
                hidden = np.where(hidden > 0, hidden, np.asarray(self.slope, dtype=kind) * hidden)
            weight = product(left * self.stretch, right)
            hidden = product(hidden, weight.astype(kind)) + self.shift[layer].astype(kind)
        return hidden

    def inverse(self, mixed: object) -> FloatArray:
        """Return the signal ``(n, d)`` that `mix` makes into ``mixed`` (a sample without its bias and noise).

        Computed in float64; rounding is amplified by at most one over the least singular value of the Jacobian.
        """
        hidden: FloatArray = check_matrix(mixed, "mixed", dim=len(self.stretch)).astype(np.float64)
        for layer in range(len(self.left) - 1, -1, -1):
            inner = product(hidden - self.shift[layer], self.right[layer].T) / self.stretch
            hidden = product(inner, self.left[layer].T)
            if layer:
                hidden = np.where(hidden > 0, hidden, hidden / self.slope)
        return hidden
