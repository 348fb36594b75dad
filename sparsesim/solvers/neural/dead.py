"""Latents that have fallen silent, and the loss that revives them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sparsesim.solvers.neural.device import place
from sparsesim.solvers.neural.pieces import UnitDecoder, affine
from sparsesim.solvers.neural.selection import largest, largest_magnitude

RENEW_DEAD_EVERY = 10  # steps between two looks at which latents are dead: the look is a host synchronisation
NOTHING = 1e-12  # below any variance of data with E||x||^2 = d


class DeadLatents(nn.Module):
    """Which latents have been silent for ``dead_after`` steps, and AuxK, the loss that revives them.

    AuxK lets the k_aux = max(d // 2, 1) largest dead latents (after a ReLU) predict the residual of the
    reconstruction, which is held fixed: weight * V * ||r - z_aux D||^2 / ||r - mean r||^2, without bias, where V is the
    total variance of the batch. With V the term has the units of a squared error: the sum of both is V times the loss
    of the paper. Live decoder rows get no gradient, and with no dead latent the loss is zero. The set of dead latents
    is renewed, and silence counted, every `RENEW_DEAD_EVERY` steps; away from the host that there are any is known one
    renewal later, so that nobody waits. With ``signed`` there is no ReLU, and the largest
    are those of largest magnitude.

    References
    ----------
    Gao et al. (2024), arXiv 2406.04093, appendix A.2.
    """

    count: Tensor
    silent: Tensor
    dead: Tensor

    def __init__(self, width: int, dim: int, weight: float, dead_after: int, *, signed: bool = False) -> None:
        super().__init__()
        self.signed = signed
        self.weight, self.dead_after, self.k_aux = weight, dead_after, max(dim // 2, 1)
        for name in ("count", "silent", "dead"):
            self.register_buffer(name, torch.zeros(width, dtype=torch.float32))
        self.any_dead = False
        self._later = place.Later()

    def observe(self, fired: Tensor, index: int) -> None:
        """Take note of which latents fired: ``fired (..., B, p)`` is 0 or 1."""
        self.observe_counts(fired.detach().sum(-2), index)

    @torch.no_grad()
    def observe_counts(self, fired: Tensor, index: int) -> None:
        """Take note of how often each latent fired, ``(..., p)``."""
        self.count.add_(fired)
        self.pass_step(index)

    @torch.no_grad()
    def pass_step(self, index: int) -> None:
        """Let step ``index`` pass, whose firing ``count`` holds already."""
        if (index + 1) % RENEW_DEAD_EVERY == 0:
            self.silent.add_(RENEW_DEAD_EVERY).mul_(self.count == 0.0)
            self.count.zero_()
            self.renew(self.silent >= self.dead_after)

    def repeats(self, index: int) -> bool | None:
        """Return whether there are dead latents, None at a step at which they are renewed."""
        return None if (index + 1) % RENEW_DEAD_EVERY == 0 else self.any_dead

    def renew(self, dead: Tensor) -> None:
        """Set which latents are dead."""
        if place.on_host(dead):
            self.dead.copy_(dead)
            self.any_dead = bool(self.dead.any())
            return
        self.any_dead = self._later.read(self.dead.any())
        self.dead.copy_(dead)
        self._later.ask(self.dead.any())

    def speaks(self) -> bool:
        """Return whether AuxK is not zero, for some latent is dead and it has a weight."""
        return self.any_dead and self.weight != 0.0

    def revive(self, u: Tensor, x: Tensor, reconstruction: Tensor, decoder: Tensor) -> Tensor:
        """Return AuxK, ``()`` or ``(E,)``, for pre-activations ``u (..., B, p)`` and the main reconstruction."""
        if not self.speaks():
            return x.new_zeros(x.shape[:-2])
        return self._loss(u, self.dead, x, reconstruction, decoder)

    def revive_rows(self, module: UnitDecoder, x: Tensor, reconstruction: Tensor) -> Tensor:
        """Return the same as `revive`, from pre-activations of the dead latents alone."""
        if not self.speaks():
            return x.new_zeros(x.shape[:-2])
        if not place.on_host(x):  # elsewhere the number of dead latents would have to be asked for
            return self._loss(module.pre_activations(x), self.dead, x, reconstruction, module.decoder)
        most = int(self.dead.sum(-1).max())  # members with fewer dead latents are filled up with live ones, masked
        index = self.dead.topk(most, dim=-1).indices.sort(-1).values
        dead = self.dead.gather(-1, index)
        rows = index.unsqueeze(-1).expand(*index.shape, x.shape[-1])
        encoder, decoder = module.encoder.gather(-2, rows), module.decoder.gather(-2, rows)
        shift = (encoder @ module.bias.unsqueeze(-1)).squeeze(-1)
        u = affine(x, encoder.mT, module.encoder_bias.gather(-1, index) - shift)
        return self._loss(u, dead, x, reconstruction, decoder)

    def _loss(self, u: Tensor, dead: Tensor, x: Tensor, reconstruction: Tensor, decoder: Tensor) -> Tensor:
        residual = (x - reconstruction).detach()
        rank = largest_magnitude if self.signed else largest
        codes = u * rank(u.detach() * dead.unsqueeze(-2), self.k_aux)
        error = (residual - codes @ decoder).square().sum((-2, -1))
        spread = _spread(x)
        # A perfect reconstruction leaves nothing to predict: the floor keeps 0 / 0 away.
        relative = error / _spread(residual).clamp_min(1e-6 * spread + NOTHING)
        # Members of an ensemble without dead latents have no such loss, though others have.
        return (self.weight / x.shape[-2]) * spread * relative * self.dead.amax(-1)


def _spread(x: Tensor) -> Tensor:
    """Return the sum of squares about the mean of the batch, ``()`` or ``(E,)``."""
    return (x - x.mean(-2, keepdim=True)).square().sum((-2, -1))
