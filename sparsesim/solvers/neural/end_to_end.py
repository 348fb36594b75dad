"""The end-to-end autoencoder: what must be kept is what comes after the sample, not the sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor

from sparsesim._arrays import Rng, check_real
from sparsesim.solvers.neural.downstream import Downstream, LinearReadout
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.priced import PricedModule
from sparsesim.solvers.neural.separable import row_errors
from sparsesim.solvers.neural.solver import NeuralSolver, check_neural
from sparsesim.solvers.neural.train import Training

TERMS = ("reconstruction", "output", "later")


def divergence(target: Tensor, found: Tensor) -> Tensor:
    """Return KL(softmax(target) || softmax(found)) in nats of each row of logits, ``(..., B)``."""
    known = torch.log_softmax(target, -1)
    return (known.exp() * (known - torch.log_softmax(found, -1))).sum(-1)


@final
class EndToEndModule(PricedModule):
    """z = ReLU(u) with an L1 penalty and the errors of x, of y(x) and of what lies between, each with its weight."""

    penalty: Tensor
    reconstruction: Tensor
    output: Tensor
    later: Tensor

    def __init__(self, spec: EndToEnd, dim: int, rng: Rng) -> None:
        super().__init__(spec.width, dim, rng, None)
        self.map, self.logits = spec.downstream.module(dim), spec.logits
        self.terms = tuple(name for name in TERMS if getattr(spec, name) > 0.0)
        for name in ("penalty", *TERMS):
            self.register_buffer(name, torch.tensor(getattr(spec, name), dtype=torch.float32))

    def prices(self, codes: Tensor, step: Step) -> dict[str, Tensor]:
        return {"l1": codes.sum(-1) * self.penalty.unsqueeze(-1)}

    def row_losses(self, x: Tensor, step: Step) -> dict[str, Tensor]:
        """Return the terms of each sample, ``(..., B)`` each; a term of weight 0 is left out."""
        codes = self.encode(x)
        rebuilt = self.decode(codes)
        errors = {"reconstruction": row_errors(x, rebuilt)} if "reconstruction" in self.terms else {}
        if self.terms != ("reconstruction",):
            errors |= self._downstream_errors(x, rebuilt)
        weighted = {name: errors[name] * getattr(self, name).unsqueeze(-1) for name in self.terms}
        return {**weighted, **self.prices(codes, step)}

    def _downstream_errors(self, x: Tensor, rebuilt: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            *between, target = self.map.activations(x)
        *ours, found = self.map.activations(rebuilt)
        errors = {"output": divergence(target, found) if self.logits else row_errors(target, found)}
        if "later" in self.terms:
            apart = [row_errors(a, b) for a, b in zip(between, ours, strict=True)]
            if not apart:
                raise ValueError(
                    "later needs a map with a layer before its output, such as TanhReadout; got one layer."
                )
            errors["later"] = torch.stack(apart).mean(0)
        return errors


@final
@dataclass(frozen=True)
class EndToEnd(NeuralSolver):
    """Learns atoms and an encoder that keep, in few active latents, what a frozen map y reads of the samples.

    u = (x - b_d) W_e + b_e,  z = ReLU(u),  x_hat = z D + b_d with unit rows of D, and the loss

        mean_B (reconstruction * ||x - x_hat||^2 + output * KL(y(x) || y(x_hat))
                + later * mean_l ||a_l(x) - a_l(x_hat)||^2 + penalty * ||z||_1),

    a_l the activations between x and y. The three objectives of the paper are weights (1, 0, 0), local: that is
    `ReLUL1`, whatever the map; (0, 1, 0), e2e; and (0, 0.5, 2.5 / d), e2e + downstream, since the paper's errors are
    means over the d coordinates of a layer and those here are sums. Atoms are determined as far as the map tells them
    apart: what it does not read is filled by the penalty alone, and ``reconstruction`` near 0 leaves x_hat far from x.
    Without ``logits`` the outputs are numbers and the error is ||y(x) - y(x_hat)||^2.

    The divergence is from the original to the new distribution, as released code computes (a docstring there says the
    reverse). The paper has no pre-bias, starts the atoms orthogonal and divides by their norms within the forward pass;
    here the model is that of `ReLUL1`, so that objectives differ in nothing else. Its penalties (6, 1.5 and 1.5 for the
    activations of one language model as they are) stand before ||z||_1 / d: ``penalty`` is the paper's for the local
    objective, whose error is a mean over d there, and the paper's over d for the others.

    Parameters
    ----------
    width : p, the number of atoms.
    penalty : weight of the L1 norm.
    downstream : the frozen map; it reads the samples as they are trained on (see `downstream`).
    reconstruction, output, later : weights as above, not all zero.
    logits : the outputs of the map are logits of classes.

    References
    ----------
    Braun, Taylor, Goldowsky-Dill, Sharkey (2024), "Identifying functionally important features with end-to-end sparse
    dictionary learning", arXiv 2405.12241.
    """

    width: int
    penalty: float = 0.1
    downstream: Downstream = field(default_factory=lambda: LinearReadout(4))
    reconstruction: float = 0.0
    output: float = 1.0
    later: float = 0.0
    logits: bool = True
    training: Training = field(default_factory=Training)

    def __post_init__(self) -> None:
        check_neural(self)
        if not isinstance(self.downstream, Downstream):
            raise TypeError(f"downstream must be a frozen map, e.g. LinearReadout(4); got {self.downstream!r}.")
        for name in ("penalty", *TERMS):
            check_real(name, getattr(self, name), 0.0)
        if not any(getattr(self, name) > 0.0 for name in TERMS):
            raise ValueError(f"one of {TERMS} must be positive, or there is no error to reduce; got zeros.")
        if not isinstance(self.logits, bool):
            raise TypeError(f"logits must be True or False; got {self.logits!r}.")

    def module(self, dim: int, rng: Rng) -> EndToEndModule:
        return EndToEndModule(self, dim, rng)
