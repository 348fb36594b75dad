"""Worlds from the folders of SAELens ``SyntheticModel``s."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray
from sparsesim.generators.base import FeatureModel, FeatureSpec, MagnitudeLaw, SupportLaw
from sparsesim.generators.correlation import MOST_SHARED, FactorCorrelation, LowRankCorrelation
from sparsesim.generators.files import StoredAtoms
from sparsesim.generators.magnitude_coupled import ParentScaled
from sparsesim.generators.magnitude_shapes import RectifiedNormal
from sparsesim.generators.rates import GivenRates
from sparsesim.generators.released_parts import within
from sparsesim.generators.saelens_folder import WEIGHTS_FILE, Declared, Hierarchy, read_folder
from sparsesim.generators.support import Bernoulli
from sparsesim.generators.synthsaebench import SynthSAEBenchSupport

_SINGLE = 1e-4  # how far single precision may exceed the limit of a loading


@final
@dataclass(frozen=True, eq=False)
class SAELensWorld:
    """A world read from a folder, beside the rates that the folder declares.

    Attributes
    ----------
    model : the world; ``model.spec.support.marginals()`` are its true rates (`true`).
    declared : (m,) rates that the configuration declares, or None if they were drawn without a seed.
    drawn : (m,) saved probabilities with which features are drawn before hierarchy and rectification take their share.
    rebuilt : (m,) probabilities that SAELens itself would draw with after loading: where there is a correlation it
        recomputes its thresholds from the configuration, whatever it saved. None if that has no seed.
    """

    model: FeatureModel
    declared: FloatArray | None
    drawn: FloatArray
    rebuilt: FloatArray | None

    @property
    def true(self) -> FloatArray:
        """The true firing rates ``(m,)``, after correlation, hierarchy, competition and rectification."""
        return self.model.spec.support.marginals()


def load_saelens(
    folder: str | os.PathLike[str], *, mean: FloatArray | None = None, std: FloatArray | None = None
) -> SAELensWorld:
    """Return the world of a SAELens folder: the same directions, bias and law; SAELens need not be installed.

    The law is exact: features are drawn with the saved probabilities through the saved low-rank Gaussian copula, struck
    out level by level, one of several exclusive siblings stays, a coefficient is max(0, mean_i + std_i z) and where the
    hierarchy says so times the parent's over the parent's mean. What is not in a folder is a correlation matrix in
    full, a generator that was put in by hand, and the magnitudes, which are recomputed from the seed as SAELens does.

    Parameters
    ----------
    mean, std : (m,) parameters of the coefficients, instead of those that the folder implies; needed where these were
        drawn without a seed.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If a file is not one of SAELens or contradicts another, if magnitudes were drawn without a seed, or if the
        hierarchy holds exclusive features that are not all the children of one feature.
    """
    found = read_folder(folder)
    found = replace(found, mean=_given("mean", mean, found.mean), std=_given("std", std, found.std))
    base, support = _magnitude_and_support(found)
    geometry, norm = StoredAtoms.of(found.atoms), float(np.linalg.norm(found.bias))
    spec = FeatureSpec(found.atoms.shape[1], support, geometry, base, bias=norm)
    model = FeatureModel(spec, found.atoms, found.bias)
    return SAELensWorld(model, found.declared, found.drawn, _rebuilt(found))


def _given(name: str, value: FloatArray | None, implied: FloatArray | None) -> FloatArray:
    if value is not None:
        return np.asarray(value, dtype=np.float64)
    if implied is None:
        raise ValueError(
            "the magnitudes of this folder were drawn without a seed, and SAELens does not save them. Pass "
            f"{name}=model.activation_generator.{name}_firing_magnitudes.numpy()."
        )
    return implied


def _magnitude_and_support(found: Declared) -> tuple[MagnitudeLaw, SupportLaw]:
    means, stds = tuple(np.asarray(found.mean).tolist()), tuple(np.asarray(found.std).tolist())
    base, m = RectifiedNormal(means, stds), len(found.drawn)
    positive = base.firing_probability(m)
    if found.factor is None and found.hierarchy is None:
        return base, Bernoulli(GivenRates(tuple((found.drawn * positive).tolist())))
    tree = found.hierarchy or Hierarchy((-1,) * m, (False,) * m, (False,) * m)
    rates, kept = GivenRates(tuple(found.drawn.tolist())), tuple(positive.tolist())
    law = SynthSAEBenchSupport(rates, tree.parents, _correlation(found.factor), tree.exclusive, False, kept)
    if not any(tree.scaled):
        return base, law
    above = tuple(parent if scaled else -1 for parent, scaled in zip(tree.parents, tree.scaled, strict=True))
    parents = set(above)
    reference = tuple(mean if feature in parents else 1.0 for feature, mean in enumerate(means))
    return ParentScaled(base, above, reference), law


def _correlation(factor: FloatArray | None) -> FactorCorrelation | LowRankCorrelation:
    if factor is None:
        return LowRankCorrelation(rank=1, scale=0.0)
    shared = float(np.square(factor).sum(axis=1).max())
    if shared > MOST_SHARED + _SINGLE:
        raise ValueError(
            f"{WEIGHTS_FILE} holds a correlation_factor with a row of squared norm {shared:.6g}; SAELens limits it to "
            f"{MOST_SHARED}. Scale such rows down."
        )
    return FactorCorrelation(tuple(map(tuple, within(factor).tolist())))


def _rebuilt(found: Declared) -> FloatArray | None:
    """Return the probabilities that SAELens computes from the configuration, compensated as it says."""
    if found.declared is None or found.hierarchy is None or not found.compensated:
        return found.declared
    tree, rates = found.hierarchy, GivenRates(tuple(found.declared.tolist()))
    law = SynthSAEBenchSupport(rates, tree.parents, LowRankCorrelation(rank=1, scale=0.0), tree.exclusive)
    return law.drawn_rates()
