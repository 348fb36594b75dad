"""A residual stream: every layer adds features of its own to those of the layers before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int, read_only
from sparsesim._identity import fork
from sparsesim.generators.base import NOISELESS, Batch, FeatureModel, Support, SupportLaw
from sparsesim.generators.laws import has_independent_rows, has_second_moments, rate_errors, second_order_base
from sparsesim.generators.support import check_vectors
from sparsesim.kernels.synthesis import synthesise


@final
@dataclass(frozen=True)
class ResidualLayers:
    """A sample is the stream at one of its ``layers``: of what ``base`` fires, the features written up to there.

    Feature i of m is written by layer floor(i * layers / m), the first layer being 0, and stays: x_{l+1} = x_l + the
    features of layer l+1. The layer of a sample is uniform over ``pooled``, independent of what fires. So the rates are
    those of the base times the share of the pooled layers that are not before the feature's own. `layer_batches` gives
    the same tokens at all layers.

    Parameters
    ----------
    base : which features fire in the end.
    layers : number of layers, at most m.
    pooled : the layers that samples come from, such as one group of them; empty stands for all.
    """

    base: SupportLaw
    layers: int
    pooled: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.base, type) or not hasattr(self.base, "marginals"):
            raise TypeError(f"base must be a support law such as ExactlyK(m=8, k=2); got {self.base!r}.")
        check_int("layers", self.layers, 1, self.base.n_features, high_name="m")
        if not isinstance(self.pooled, tuple):
            raise TypeError(f"pooled must be a tuple; got {type(self.pooled).__name__}. Pass tuple(pooled).")
        for index, layer in enumerate(self.pooled):
            check_int(f"pooled[{index}]", layer, 0, self.layers - 1, high_name="layers-1")
        if len(set(self.pooled)) < len(self.pooled):
            raise ValueError(f"pooled must name each layer once; got {self.pooled}.")

    @property
    def n_features(self) -> int:
        """Return m, the number of true features."""
        return self.base.n_features

    @cached_property
    def born(self) -> IntArray:
        """The layer that writes each feature, ``(m,)``, read-only."""
        return read_only(np.arange(self.n_features) * self.layers // self.n_features)

    @cached_property
    def _pool(self) -> IntArray:
        return np.array(self.pooled or range(self.layers), dtype=np.int64)

    @cached_property
    def _share(self) -> FloatArray:
        """The share of the pooled layers at or after each layer, ``(layers,)``."""
        return np.asarray((self._pool[:, None] >= np.arange(self.layers)).mean(axis=0))

    @cached_property
    def _marginals(self) -> FloatArray:
        return read_only(np.asarray(self.base.marginals()) * self._share[self.born])

    def marginals(self) -> FloatArray:
        """Return the true firing rates ``(m,)``, read-only."""
        return self._marginals

    def marginal_errors(self) -> FloatArray:
        """Return the standard errors ``(m,)`` of `marginals`; 0 where those of ``base`` are."""
        return np.asarray(rate_errors(self.base) * self._share[self.born])

    @property
    def second_order(self) -> bool:
        """Whether `pairwise` and `energy` are known, which needs those of ``base``."""
        return has_second_moments(self.base)

    @property
    def independent_rows(self) -> bool:
        """Whether the samples of one draw are independent, as those of ``base``."""
        return has_independent_rows(self.base)

    def pairwise(self) -> FloatArray:
        """Return the joint firing rates ``(m, m)``; raises TypeError if the base has none."""
        later = np.maximum(self.born[:, None], self.born)
        return np.asarray(second_order_base(self.base).pairwise() * self._share[later])

    def energy(self, vectors: FloatArray) -> float:
        """Return E||sum of the firing rows of ``vectors (m, d)``||^2: its mean over the pooled layers."""
        rows, law = check_vectors(vectors, self.n_features), second_order_base(self.base)
        return float(np.mean([law.energy(rows * (self.born <= layer)[:, None]) for layer in self._pool]))

    def draw(self, n: int, rng: Rng) -> Support:
        """Return the supports of ``n`` samples, each at a layer of its own."""
        base_rng, layer_rng = fork(rng, 2)
        support = self.base.draw(n, base_rng)
        return self.up_to(layer_rng.choice(self._pool, size=support.n_samples), support)

    def up_to(self, layer: IntArray, support: Support) -> Support:
        """Return what is left of ``support`` at the ``layer (n,)`` of each sample."""
        counts = np.diff(support.indptr)
        kept = self.born[support.indices] <= np.repeat(layer, counts)
        before = np.concatenate([[0], np.cumsum(kept)])
        return Support(before[support.indptr].astype(np.int64), support.indices[kept], self.n_features)


def layer_batches(model: FeatureModel, n: int, rng: Rng) -> tuple[Batch, ...]:
    """Return the same ``n`` tokens at every layer of a world of `ResidualLayers`, pooled or not.

    A token has its coefficients, bias and noise from the first layer on: x_{l+1} - x_l is what layer l+1 writes.

    Raises
    ------
    TypeError, ValueError
        If the support law of ``model`` is another, or its signal is changed, loses entries or depends on labels.
    """
    spec = model.spec
    law = spec.support
    if not isinstance(law, ResidualLayers):
        raise TypeError(f"the support of the world must be ResidualLayers(...); got {law!r}.")
    if spec.observation or spec.missing is not None or spec.segments is not None:
        raise ValueError(
            "layers are defined for x = codes @ atoms + bias + noise; got a world with observation, missing or "
            "segments. Leave these out."
        )
    token_rng, noise_rng = fork(rng, 2)
    whole = replace(spec, support=law.base, noise=NOISELESS)
    codes, _ = FeatureModel(whole, model.atoms, model.bias, model.entropy).draw_codes(
        n, token_rng, np.dtype(np.float64)
    )
    shared = np.tile(model.bias, (n, 1))
    if model.noise_std > 0:
        shared += model.noise_std * spec.noise.draw((n, model.dim), noise_rng, np.dtype(np.float64))
    support = Support(codes.indptr, codes.indices, law.n_features)
    batches = []
    for layer in range(law.layers):
        kept = law.up_to(np.full(n, layer), support).codes(codes.data[law.born[codes.indices] <= layer])
        batches.append(Batch(synthesise(kept, model.atoms, None) + shared, kept))
    return tuple(batches)
