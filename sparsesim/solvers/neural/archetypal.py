"""Archetypal autoencoders: atoms are convex combinations of typical samples, up to a small deviation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from sparsesim._arrays import FloatArray, Rng, check_int, check_real
from sparsesim.solvers.clustering import KMeans, NearestCentroid
from sparsesim.solvers.neural.dead import DeadLatents
from sparsesim.solvers.neural.module import Optimiser, SparseModule, Step
from sparsesim.solvers.neural.pieces import affine, drawn, squared_error
from sparsesim.solvers.neural.selection import largest
from sparsesim.solvers.neural.selective import SelectiveSolver

CLUSTERING = 30  # iterations of k-means, whose centroids need be typical, not optimal
BLUR = 0.05  # share of an initial weight row that is spread over all candidates


@final
class ArchetypalModule(SparseModule):
    """z = ReLU(TopK_k(u)) and x_hat = z (W C + Lambda) + b with rows of W on the simplex and rows of Lambda short."""

    candidates: Tensor
    delta: Tensor

    def __init__(self, spec: Archetypal, dim: int, rng: Rng) -> None:
        super().__init__()
        self.k = int(spec.k)
        self.encoder = drawn(np.zeros((spec.width, dim)))
        self.encoder_bias = drawn(np.zeros(spec.width))
        self.weights = drawn(_one_each(spec.width, spec.candidates, rng))
        self.deviation = drawn(np.zeros((spec.width, dim)))
        self.bias = drawn(np.zeros(dim))
        self.register_buffer("candidates", torch.zeros((spec.candidates, dim), dtype=torch.float32))
        self.register_buffer("delta", torch.tensor(spec.delta, dtype=torch.float32))
        self.dead = DeadLatents(spec.width, dim, spec.aux, spec.dead_after)

    def prime(self, sample: Tensor, rng: Rng) -> None:
        """Make the centroids of ``sample`` the candidates, and the encoder the transpose that inverts single atoms."""
        self.candidates.copy_(torch.from_numpy(centroids(sample.double().numpy(), len(self.candidates), rng)))
        self.restore()
        atoms = self.atoms()
        self.encoder.copy_(atoms / atoms.square().sum(-1, keepdim=True).clamp_min(1e-6))

    def atoms(self) -> Tensor:
        return self.weights @ self.candidates + self.deviation

    def decoder_bias(self) -> Tensor:
        return self.bias

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return u ``(..., B, p)``."""
        return affine(x - self.bias.unsqueeze(-2), self.encoder.mT, self.encoder_bias)

    def encode(self, x: Tensor) -> Tensor:
        u = self.pre_activations(x)
        return u * largest(u, self.k)

    def decode(self, codes: Tensor) -> Tensor:
        return affine(codes, self.atoms(), self.bias)

    def losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        u, atoms = self.pre_activations(x), self.atoms()
        kept = largest(u, self.k)
        reconstruction = affine(u * kept, atoms, self.bias)
        aux = self.dead.revive(u, x, reconstruction, atoms)
        self.dead.observe(kept, step.index)
        return {"squared_error": squared_error(x, reconstruction), "aux": aux}

    def after_step(self, optimiser: Optimiser) -> None:
        self.restore()

    def restore(self) -> None:
        """Put the rows of W back on the simplex and those of Lambda within delta, in place."""
        self.weights.clamp_min_(0.0)
        total = self.weights.sum(-1, keepdim=True)
        self.weights.copy_(torch.where(total > 0, self.weights / total, 1.0 / self.weights.shape[-1]))
        norms = torch.linalg.vector_norm(self.deviation, dim=-1, keepdim=True)
        tiny = torch.finfo(norms.dtype).tiny
        self.deviation.mul_((self.delta[..., None, None] / norms.clamp_min(tiny)).clamp_max(1.0))


def _one_each(width: int, candidates: int, rng: Rng) -> FloatArray:
    """Return weights ``(p, n')`` on the simplex: row i is candidate i mod n', with a little of all."""
    rows: FloatArray = BLUR * rng.dirichlet(np.ones(candidates), size=width)
    rows[np.arange(width), np.arange(width) % candidates] += 1.0 - BLUR
    return rows


def centroids(x: FloatArray, count: int, rng: Rng) -> FloatArray:
    """Return the ``count`` centroids of k-means of samples ``x (n, d)``, ``(count, d)``."""
    fitted = KMeans(count, iterations=CLUSTERING).fit(x, rng=rng)
    if not isinstance(fitted.encoder, NearestCentroid):
        raise TypeError(f"k-means must encode by the nearest centroid; got {fitted.encoder!r}.")
    points: FloatArray = fitted.atoms * np.asarray(fitted.encoder.norms)[:, None]
    return points


@final
@dataclass(frozen=True)
class Archetypal(SelectiveSolver):
    """Learns atoms within ``delta`` of the convex hull of typical samples, which makes them stable between seeds.

    D = W C + Lambda: the rows of C are centroids of k-means of the training data, rows of W lie on the simplex, and
    ||Lambda_i|| <= delta. With delta = 0 (A-SAE) all atoms lie in conv(C), with delta > 0 (RA-SAE) near it. W, Lambda
    and the encoder are trained, by gradient steps after each of which W <- ReLU(W) is scaled to row sums of 1 and
    Lambda clipped; C is fixed. The encoder is that of `TopK`, the loss too. The bound of Lambda is that of the released
    code, row by row (the text bounds its spectral norm); its learned scale of D, which leaves the hull for a cone, is
    left out. Norms of the atoms are those of D here, folded into the codes at the border.

    True features are extreme rays: they lie in the hull of the samples only where some samples have next to one active
    feature, and else delta = 0 bounds what can be recovered. The other parameters are those of `SelectiveSolver`.

    Parameters
    ----------
    candidates : n', the number of centroids; the paper has 32000 for images.
    delta : largest deviation of an atom from the hull, in the scale E||x - mean||^2 = d.

    References
    ----------
    Fel et al. (2025), "Archetypal SAE: adaptive and stable dictionary learning for concept extraction in large vision
    models", arXiv 2502.12892.
    """

    candidates: int = 64
    delta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_int("candidates", self.candidates, 1)
        check_real("delta", self.delta, 0.0)

    def module(self, dim: int, rng: Rng) -> ArchetypalModule:
        return ArchetypalModule(self, dim, rng)
