"""Worlds whose features form a forest, drawn on a torch device from the roots down."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor
from torch.nn.functional import embedding_bag

from sparsesim._arrays import FloatArray, IntArray, Rng, check_int
from sparsesim.generators.base import FeatureModel, MagnitudeLaw, SupportLaw
from sparsesim.generators.copula import CorrelatedBernoulli
from sparsesim.generators.correlated_forest import ForestOver
from sparsesim.generators.correlation import FactorCorrelation, LowRankCorrelation, levels_and_loads
from sparsesim.generators.device import DeviceSamples, _place
from sparsesim.generators.magnitude import TINY
from sparsesim.generators.magnitude_coupled import ParentScaled
from sparsesim.generators.magnitude_shapes import RectifiedNormal
from sparsesim.generators.noise import Gaussian
from sparsesim.generators.relabelled import Relabelled

AHEAD = 2**12  # samples drawn at a time: the batches of several steps
EDGE = 2.0**-53  # uniform numbers stay this far from 1, whose quantile is infinite
KINDS = (
    "a ForestOver roots of CorrelatedBernoulli with LowRankCorrelation or FactorCorrelation, exclusive everywhere, as "
    "it is or Relabelled, with magnitudes RectifiedNormal or ParentScaled ones of the same parents"
)


class Law(NamedTuple):
    """The law of the codes, features in the order of the forest, the children of one in a row of C places."""

    level: Tensor
    load: Tensor
    children: Tensor
    below: Tensor
    children_count: Tensor
    label: Tensor
    mean: Tensor
    std: Tensor
    above: Tensor
    reference: Tensor


class Drawn(NamedTuple):
    """Codes of n samples: ``bounds (n + 1,)``, the features that fire, in no order within a sample, and values."""

    bounds: Tensor
    indices: Tensor
    values: Tensor


@final
@dataclass(frozen=True, eq=False)
class DeviceForest:
    """Endless fresh samples ``(size, d)`` of ``model``, drawn and formed on ``device``: a `Source` of tensors.

    The world is of SynthSAEBench's kind: roots that fire by thresholds on Gaussians with few shared factors, at most
    one child of a feature that fires, and normal coefficients, cut at zero and scaled by the parent's. The roots are
    drawn first; then each feature that fires draws which of its children does, so that what is below costs what
    fires. The samples have the law of ``model.source()``, not its bits: they are a function of the generator, the
    device and `AHEAD`. The host waits for every `AHEAD` samples, once a level, to know how many fire. Whether a root
    fires is decided in float32, which moves its rate by less than 1e-7.

    Raises
    ------
    TypeError
        If the world is of another kind; `DeviceSamples` draws codes on the CPU, by any law.
    ValueError
        If torch cannot use ``device``.
    """

    model: FeatureModel
    device: str | torch.device

    def __post_init__(self) -> None:
        DeviceSamples(self.model, "cpu")  # refuses what is not codes @ atoms + bias + noise
        object.__setattr__(self, "device", _place(self.device))
        self._parts  # noqa: B018 -- refuses other kinds of worlds

    @property
    def dim(self) -> int:
        """Return d, the number of columns of a batch."""
        return self.model.dim

    @cached_property
    def _parts(self) -> tuple[Law, int, Tensor, Tensor]:
        """The law, the depth of the forest, the atoms ``(m, d)`` and the bias."""
        if self.model.noise_std > 0 and not isinstance(self.model.spec.noise, Gaussian):
            raise TypeError(_refusal(self.model.spec.noise))
        law, depth = law_of(self.model)
        atoms, bias = (torch.tensor(a, dtype=torch.float32) for a in (self.model.atoms, self.model.bias))
        return Law(*(part.to(self.device) for part in law)), depth, atoms.to(self.device), bias.to(self.device)

    def batches(self, size: int, rng: Rng) -> Iterator[Tensor]:
        """Yield batches ``(size, d)`` in float32 for ever."""
        check_int("size", size, 1)
        count = max(1, AHEAD // size)
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**63)))
        while True:
            x, _ = self.sample(count * size, generator)
            yield from x.view(count, size, self.dim).unbind(0)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Drawn]:
        """Return ``n`` fresh samples ``(n, d)`` and their codes, by a ``generator`` of the device."""
        law, depth, atoms, bias = self._parts
        codes = draw(law, depth, check_int("n", n, 1), generator)
        x = embedding_bag(
            codes.indices,
            atoms,
            codes.bounds,
            mode="sum",
            per_sample_weights=codes.values.to(atoms.dtype),
            include_last_offset=True,
        ).add_(bias)
        if self.model.noise_std > 0:
            x.add_(torch.randn(x.shape, generator=generator, device=x.device), alpha=float(self.model.noise_std))
        return x, codes


def draw(law: Law, depth: int, n: int, generator: torch.Generator) -> Drawn:
    """Return the codes of ``n`` samples: all roots at once, then one level of children after the other."""
    device = law.level.device

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=law.level.dtype, device=device)

    def uniform(size: int) -> Tensor:
        return torch.rand((size,), generator=generator, dtype=torch.float64, device=device)

    scores = torch.addmm(law.level, normal(n, law.load.shape[1]), law.load.T)
    row, node = (scores.add_(normal(n, len(law.level))) > 0).nonzero(as_tuple=True)
    value = coefficient(law, node, uniform(len(node)))
    levels = [(row, node, value)]
    for _ in range(depth - 1):
        pick = (uniform(len(node)).unsqueeze(-1) >= law.below[node]).sum(-1)
        fires = (pick < law.children_count[node]).nonzero().squeeze(-1)
        row, parent, value, pick = row[fires], node[fires], value[fires], pick[fires]
        node = law.children[parent, pick]
        value = coefficient(law, node, uniform(len(node))) * _relative(law, parent, value)
        levels.append((row, node, value))
    rows, nodes, values = (torch.cat(part) for part in zip(*levels, strict=True))
    rows, order = rows.sort(stable=True)
    bounds = torch.searchsorted(rows, torch.arange(n + 1, device=device))
    return Drawn(bounds, law.label[nodes[order]], values[order])


def _relative(law: Law, parent: Tensor, value: Tensor) -> Tensor:
    """Return by what the coefficients of children are multiplied, given those of their parents."""
    return value / law.reference[parent] if len(law.reference) else torch.ones_like(value)


def coefficient(law: Law, node: Tensor, uniform: Tensor) -> Tensor:
    """Return the coefficients of ``node``: normal numbers, given that they are positive, at ``uniform`` quantiles."""
    quantile = (uniform * law.above[node]).clamp(TINY, 1.0 - EDGE)  # counted from above, where it is accurate
    value: Tensor = law.mean[node] - law.std[node] * torch.special.ndtri(quantile)
    return value.clamp_min(TINY)


def law_of(model: FeatureModel) -> tuple[Law, int]:
    """Return the law of the world's codes, on the CPU, and the depth of its forest."""
    forest, label = _forest_of(model.spec.support)
    roots, m = forest.roots, forest.n_features
    if not isinstance(roots, CorrelatedBernoulli):
        raise TypeError(_refusal(roots))
    if not isinstance(roots.correlation, LowRankCorrelation | FactorCorrelation):
        raise TypeError(_refusal(roots.correlation))
    level, load = levels_and_loads(roots.marginals(), roots.correlation.factor(roots.n_features))
    base, reference = _magnitude_of(model.spec.magnitude, forest, label)
    mean, std, bound = (each[label] for each in base._parameters(m))
    children, below, count, depth = _levels(forest)
    arrays = (level, load, children, below, count, label, mean, std, ndtr(-bound), reference)
    law = Law(*(torch.from_numpy(np.array(each)) for each in arrays))
    return law._replace(level=law.level.float(), load=law.load.float()), depth


def _refusal(law: object) -> str:
    return (
        f"codes are drawn on a device for {KINDS}, without noise or with Gaussian noise; got {law!r:.200}. "
        "DeviceSamples draws them on the CPU."
    )


def _forest_of(support: SupportLaw) -> tuple[ForestOver, IntArray]:
    """Return the forest and the labels ``(m,)`` of its features."""
    forest = support.base if isinstance(support, Relabelled) else support
    if not isinstance(forest, ForestOver) or forest.exclusive is not True:
        raise TypeError(_refusal(support))
    label = np.arange(forest.n_features)
    if isinstance(support, Relabelled):
        label[np.array(support.order)] = np.arange(forest.n_features)
    return forest, label


def _levels(forest: ForestOver) -> tuple[IntArray, FloatArray, IntArray, int]:
    """Return children ``(m, C)``, the sums of their rates from the first on, their number, and the number of levels."""
    first, m = forest.roots.n_features, forest.n_features
    parents = np.array(forest.parents, dtype=np.int64)
    order = np.argsort(parents, kind="stable")
    count = np.bincount(parents, minlength=m)
    place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    children, rates = np.zeros((m, max(count.max(), 1)), np.int64), np.zeros((m, max(count.max(), 1)))
    children[parents[order], place] = first + order
    rates[parents[order], place] = np.array(forest.rates)[order]
    depth, level = 0, np.arange(first)
    while len(level):
        depth, level = depth + 1, first + np.flatnonzero(np.isin(parents, level))
    return children, rates.cumsum(axis=1), count, depth


def _magnitude_of(law: MagnitudeLaw, forest: ForestOver, label: IntArray) -> tuple[RectifiedNormal, FloatArray]:
    """Return the law of the draws, and what a parent's coefficient is divided by: ``(m,)``, or none where it is not."""
    if isinstance(law, RectifiedNormal):
        return law, np.empty(0)
    if not isinstance(law, ParentScaled) or not isinstance(law.base, RectifiedNormal):
        raise TypeError(_refusal(law))
    parents, reference = law._arrays
    expected = np.full(forest.n_features, -1)
    expected[label[forest.roots.n_features :]] = label[np.array(forest.parents, dtype=np.int64)]
    if not np.array_equal(parents, expected):
        raise TypeError(_refusal("parents of coefficients that are not those of the support"))
    return law.base, reference[label]
