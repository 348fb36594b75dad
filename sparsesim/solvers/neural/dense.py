"""The losses of an autoencoder that selects among latents which are no affine function of the sample."""

from __future__ import annotations

from torch import Tensor

from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.pieces import squared_error
from sparsesim.solvers.neural.selective import SelectiveModule


def dense_losses(
    module: SelectiveModule, x: Tensor, u: Tensor, values: Tensor, kept: Tensor, step: Step
) -> dict[str, Tensor]:
    """Return squared error and AuxK, with gradients through all of ``values (..., B, p)``, of which ``kept`` speak.

    AuxK ranks the dead latents by ``u``. The selective losses of affine latents cost what was selected instead.
    """
    reconstruction = module.decode(values * kept)
    aux = module.dead.revive(u, x, reconstruction, module.decoder)
    module.dead.observe(kept, step.index)
    return {"squared_error": squared_error(x, reconstruction), "aux": aux}
