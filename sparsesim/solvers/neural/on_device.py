"""Encoders of given atoms, run on a torch device: all rows of a block at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, final

import numpy as np
import torch
from scipy.sparse import vstack
from torch import Tensor

from sparsesim._arrays import Codes, FloatArray, check_int
from sparsesim.kernels.pursuit import ROUNDING
from sparsesim.solvers.blocks import binary_scale, scaled_penalty
from sparsesim.solvers.neural.device import gradient, place, pursuit
from sparsesim.solvers.proximal_gradient import FISTA, largest_eigenvalue
from sparsesim.solvers.pursuit import MatchingPursuit, OrthogonalMatchingPursuit, checked, same_k
from sparsesim.solvers.thresholding import IterativeHardThresholding

Pursuit: TypeAlias = MatchingPursuit | OrthogonalMatchingPursuit
Encoders: TypeAlias = Pursuit | FISTA | IterativeHardThresholding


@final
@dataclass(frozen=True)
class OnDevice:
    """Encodes as ``encoder`` does, on a GPU: the same steps and ties, sums in another order.

    `FISTA` stops at the same duality gap, but does not solve the normal equations at the end, so that its codes are as
    exact as its tolerance. `OrthogonalMatchingPursuit` in its non-negative form is refused: the number of its steps
    depends on the row. A block goes on until the last of its rows has ended. Blocks have one shape, filled up with
    zeros, so that a row is encoded as in company.

    Parameters
    ----------
    encoder : a `MatchingPursuit`, `OrthogonalMatchingPursuit`, `FISTA` or `IterativeHardThresholding`.
    device : "cuda", "cuda:1", or "cpu", where ``encoder`` itself is faster.
    rows : samples in a block; the device holds some ten times as many numbers as correlations of a block.
    """

    encoder: Encoders
    device: str = "cuda"
    rows: int = 4096

    def __post_init__(self) -> None:
        if not isinstance(self.encoder, Encoders):
            raise TypeError(
                "encoder must be MatchingPursuit, OrthogonalMatchingPursuit, FISTA or IterativeHardThresholding; "
                f"got {self.encoder!r}. Use it as it is, on the CPU."
            )
        if isinstance(self.encoder, OrthogonalMatchingPursuit) and self.encoder.non_negative:
            raise ValueError(
                "OrthogonalMatchingPursuit with non_negative=True has no form for a device. "
                "Use it as it is, or MatchingPursuit, which has one."
            )
        place.check(self.device)
        check_int("rows", self.rows, 1)

    def encode(self, x: FloatArray, atoms: FloatArray) -> Codes:
        """Return the codes ``(n, p)`` of centred samples ``x (n, d)``.

        Raises
        ------
        ValueError, TypeError
            As by ``encoder.encode``, or if the device is not here.
        """
        x, atoms = checked(x, atoms)
        if isinstance(self.encoder, OrthogonalMatchingPursuit | IterativeHardThresholding):
            same_k(self.encoder.k, atoms, 1)
        home = place.found(self.device)
        parts = [Codes((0, len(atoms)), dtype=x.dtype)]
        with place.products(home, "reference"):
            for low in range(0, len(x), self.rows):
                parts.append(self._block(x[low : low + self.rows], atoms, home))
        return Codes(vstack(parts, format="csr"))

    def _block(self, x: FloatArray, atoms: FloatArray, home: torch.device) -> Codes:
        """Return the codes of at most ``rows`` samples."""
        scale = binary_scale(x)
        full = np.zeros((self.rows, x.shape[1]), x.dtype)
        full[: len(x)] = x / scale
        samples, table = torch.from_numpy(full).to(home), torch.from_numpy(atoms).to(home)
        own = self.encoder
        if isinstance(own, Pursuit):
            columns, values = (part[: len(x)].cpu().numpy() for part in _pursued(own, samples, table))
            rows = np.repeat(np.arange(len(x)), columns.shape[1])
            codes = Codes(((values * scale).ravel(), (rows, columns.ravel())), shape=(len(x), len(atoms)))
            codes.sum_duplicates()  # an atom may have been selected again
            codes.eliminate_zeros()
            return codes
        samples, table = samples.double(), table.double()
        if isinstance(own, FISTA):
            level = np.ones(self.rows)
            level[: len(x)] = scaled_penalty(float(own.penalty), scale)
            dense = _shrunk(own, samples, table, torch.from_numpy(level).to(home))
        else:
            dense = _cut(own, samples, table, ROUNDING * float(np.finfo(x.dtype).eps))
        return Codes((dense[: len(x)].cpu().numpy() * scale).astype(x.dtype))


def _pursued(own: Pursuit, x: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor]:
    k, tolerance = int(own.k), float(own.tolerance)
    if isinstance(own, MatchingPursuit):
        return pursuit.matching_pursuit(x, atoms, k, non_negative=bool(own.non_negative), tolerance=tolerance)
    return pursuit.orthogonal_matching_pursuit(x, atoms, k, tolerance=tolerance)


def _shrunk(own: FISTA, x: Tensor, atoms: Tensor, level: Tensor) -> Tensor:
    lipschitz = largest_eigenvalue(atoms.cpu().numpy())
    if lipschitz == 0:
        return x.new_zeros((len(x), len(atoms)))
    stop, positive = (float(own.tolerance), int(own.max_iterations)), bool(own.non_negative)
    return gradient.fista(x, atoms, level, lipschitz, positive=positive, stop=stop, fast=bool(own.accelerated))


def _cut(own: IterativeHardThresholding, x: Tensor, atoms: Tensor, floor: float) -> Tensor:
    stop, positive = (float(own.tolerance), int(own.max_iter), float(own.precision)), bool(own.non_negative)
    step = float(own.step or 0.0)
    return gradient.hard_thresholding(x, atoms, int(own.k), step=step, positive=positive, stop=stop, floor=floor)
