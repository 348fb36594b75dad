"""Selecting autoencoders as one writes them in plain PyTorch: dense masks, dense products, `torch.optim.Adam`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

PREFIXES = (16, 8, 4, 2, 1)  # Matryoshka's prefixes are the width over these


def _rows(u: Tensor, k: int) -> Tensor:
    chosen = u.topk(k, dim=-1)
    return torch.zeros_like(u).scatter(-1, chosen.indices, chosen.values.relu())


def _batch(u: Tensor, k: int) -> Tensor:
    flat = u.flatten()
    chosen = flat.topk(len(u) * k)
    return torch.zeros_like(flat).scatter(0, chosen.indices, chosen.values.relu()).view_as(u)


def _magnitude(u: Tensor, k: int) -> Tensor:
    index = u.abs().topk(k, dim=-1).indices
    return torch.zeros_like(u).scatter(-1, index, u.gather(-1, index))


CODES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "topk": _rows,
    "topk_auxk": _rows,
    "batch_topk": _batch,
    "abs_topk": _magnitude,
    "matryoshka": _batch,
}


class PlainAutoencoder(nn.Module):
    """``kind`` of autoencoder with pre-bias, tied start, unit decoder, gradient projection and, if asked, AuxK."""

    def __init__(self, kind: str, dim: int, width: int, k: int, dead: int = 0) -> None:
        super().__init__()
        self.kind, self.k, self.dead = kind, k, dead
        generator = torch.Generator().manual_seed(0)
        atoms = torch.randn((width, dim), generator=generator)
        atoms /= atoms.norm(dim=1, keepdim=True)
        self.encoder, self.decoder = nn.Parameter(atoms.clone()), nn.Parameter(atoms.clone())
        self.threshold, self.bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(dim))

    def loss(self, x: Tensor) -> Tensor:
        """Return the loss of a batch ``x (B, d)``."""
        u = (x - self.bias) @ self.encoder.T + self.threshold
        codes = CODES[self.kind](u, self.k)
        if self.kind == "matryoshka":
            widths = [len(self.decoder) // part for part in PREFIXES]
            parts = [codes[:, :width] @ self.decoder[:width] + self.bias for width in widths]
            return sum((x - part).square().sum(-1).mean() for part in parts)  # type: ignore[return-value]
        reconstruction = codes @ self.decoder + self.bias
        loss = (x - reconstruction).square().sum(-1).mean()
        if self.dead:
            loss = loss + self._auxk(u, (x - reconstruction).detach())
        return loss

    def _auxk(self, u: Tensor, residual: Tensor) -> Tensor:
        masked = torch.full_like(u, -torch.inf)
        masked[:, : self.dead] = u[:, : self.dead]
        codes = _rows(masked, min(self.dead, residual.shape[1] // 2))
        error = (residual - codes @ self.decoder).square().sum() / (residual - residual.mean(0)).square().sum()
        return error / 32

    @torch.no_grad()
    def project(self) -> None:
        """Remove the gradient along the atoms."""
        gradient = self.decoder.grad
        if gradient is not None:
            gradient -= (gradient * self.decoder).sum(-1, keepdim=True) * self.decoder


def step(model: PlainAutoencoder, optimiser: torch.optim.Optimizer, x: Tensor) -> None:
    """Train ``model`` for one step on ``x (B, d)``."""
    optimiser.zero_grad()
    model.loss(x).backward()  # type: ignore[no-untyped-call]
    model.project()
    optimiser.step()
    with torch.no_grad():
        model.decoder.div_(model.decoder.norm(dim=1, keepdim=True))


def steps(model: PlainAutoencoder, batches: list[Tensor], count: int) -> None:
    """Train ``model`` for ``count`` steps on ``batches`` in turn."""
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-4, fused=True)
    for index in range(count):
        step(model, optimiser, batches[index % len(batches)])
