"""Toy worlds as others released them, and as they were meant where the release has a bug.

Directions are unit rows here; where a release leaves them un-normalised, their norms are in the scale of each feature's
coefficient, so that ``x = codes @ atoms`` is the released one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

from sparsesim._arrays import FloatArray, check_int, check_real
from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureSpec, SecondOrderLaw
from sparsesim.generators.copula import CorrelatedBernoulli
from sparsesim.generators.correlation import Correlation
from sparsesim.generators.geometry import Orthonormal, RandomSphere
from sparsesim.generators.groups import BlockSupport, ExclusiveGroups
from sparsesim.generators.hierarchy import Forest
from sparsesim.generators.levels import Levels
from sparsesim.generators.magnitude import Constant, Uniform
from sparsesim.generators.magnitude_shapes import RectifiedNormal
from sparsesim.generators.rates import GivenRates
from sparsesim.generators.repertoire import Repertoire
from sparsesim.generators.scales import FoldedNormalScales, Scaled
from sparsesim.generators.successive import SuccessiveSampling
from sparsesim.generators.support import Bernoulli, ExactlyK

MATRYOSHKA_RELEASED_TARGET = 1.2338  # the L0 that the released training aims at; the world's own is 1.12
_NORMS = 13  # tells these random scales of a seed from its others
_FORMS = ("as_released", "corrected")
_TREE_LEVELS = (0, 1, 1, 1, 0, 2, 2, 2, 0, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0)


def _check_form(form: object) -> None:
    if form not in _FORMS:
        raise ValueError(f'form must be "as_released" or "corrected"; got {form!r}.')


@final
@dataclass(frozen=True)
class GaussianNorms:
    """The scales are the Euclidean norms of standard normal vectors of dimension ``dim``, drawn once under ``seed``."""

    dim: int
    seed: int

    def __post_init__(self) -> None:
        check_int("dim", self.dim, 1)
        check_int("seed", self.seed, 0)

    def values(self, m: int) -> FloatArray:
        """Return the norms ``(m,)``."""
        return np.sqrt(stream(self.seed, Role.LAW, _NORMS).chisquare(int(self.dim), size=m))


def decaying_toy(
    form: str = "corrected",
    *,
    n_features: int = 512,
    dim: int = 256,
    mean_active: float = 5.0,
    decay: float = 0.99,
    correlation: Correlation | None = None,
) -> FeatureSpec:
    """Return features whose rates fall geometrically, the toy of Cunningham et al.; independent, or correlated.

    Feature i fires at the rate c decay^i with a strength uniform on (0, 1]; directions are uniform on the sphere, there
    is no noise. ``as_released``, c = mean_active / n_features, which is the mean rate only if decay = 1: with the
    released numbers E[L0] is 0.97, not 5, and 38 % of the samples are empty. ``corrected``, c is such that
    E[L0] = mean_active.

    With a ``correlation`` of the latent Gaussians, such as ``LowRankCorrelation(rank=8, scale=0.1, seed=0)``, features
    fire together as its name says, at the corrected rates. The released *correlated* branch is not among these worlds.
    It draws one normal vector for a whole batch (of 4096), whose distribution function becomes the batch's rates, so
    that features of a batch are independent given random rates and are not correlated within it; a feature of strength
    1 is put into empty samples, so that strengths depend on the support.

    Raises
    ------
    ValueError
        If ``mean_active`` needs a rate above 1, or ``as_released`` is asked for with a ``correlation``.

    References
    ----------
    Cunningham et al. (2023), arXiv:2309.08600; ``replicate_toy_models.py`` of HoagyC/sparse_coding.
    """
    _check_form(form)
    if form == "as_released" and correlation is not None:
        raise ValueError(
            "the released correlated branch draws new rates for each batch and does not correlate the features of a "
            f'sample; got correlation={correlation!r:.100}. Pass form="corrected".'
        )
    check_int("n_features", n_features, 1)
    check_real("mean_active", mean_active, 0.0, float(n_features), open_low=True)
    check_real("decay", decay, 0.0, 1.0, open_low=True)
    shape = float(decay) ** np.arange(n_features)
    rates = shape * mean_active / (n_features if form == "as_released" else math.fsum(shape))
    if rates[0] > 1:
        raise ValueError(
            f"mean_active={mean_active:g} needs a first rate of {rates[0]:.4g} > 1 at decay={decay:g}. Lower "
            f"mean_active to {mean_active / rates[0]:.6g} or less, or bring decay nearer to 1."
        )
    given = GivenRates(tuple(rates.tolist()))
    support = Bernoulli(given) if correlation is None else CorrelatedBernoulli(given, correlation)
    return FeatureSpec(dim, support, RandomSphere(), Uniform(0.0, 1.0))


def matryoshka_toy(seed: int = 0) -> FeatureSpec:
    """Return the tree on which Matryoshka autoencoders were shown to avoid absorption: 20 features in 20 dimensions.

    Three independent parents (rate 0.15) have three exclusive children each (0.2 each, given the parent), and there are
    eight independent leaves (0.05), in the released order: a parent before its children, the leaves last. Features are
    binary; directions are orthonormal with norms |1 + 0.05 z|, drawn once, which are the coefficients here.

    E[L0] is 1.12 exactly. The released training aims at `MATRYOSHKA_RELEASED_TARGET` = 1.2338; the world is as meant,
    so there is nothing to correct in it: aim at ``spec.support.marginals().sum()``.

    References
    ----------
    Bussmann et al. (2025), arXiv:2503.17547; ``tree.json`` of noanabeshima/matryoshka-saes.
    """
    parents = (-1, 0, 0, 0, -1, 4, 4, 4, -1, 8, 8, 8, *((-1,) * 8))
    rates = (*((0.15, 0.2, 0.2, 0.2) * 3), *((0.05,) * 8))
    magnitude = Scaled(Constant(1.0), FoldedNormalScales(1.0, 0.05, seed))
    return FeatureSpec(20, Forest(parents, rates), Orthonormal(), magnitude)


def pursuit_tree_toy(parent_mixing: float = 0.0, child_mixing: float = 0.0) -> FeatureSpec:
    """Return the tree of the matching-pursuit autoencoder: exactly one of three parents and eight leaves fires.

    A parent (rate 0.2 each) has three exclusive children (0.2 each, given the parent); a leaf has rate 0.05, and all
    eleven exclude each other, so that E[L0] = 1.36 exactly. Features stand in the released order, as in
    `matryoshka_toy`. Strengths are normal of mean 1.5 and deviation 0.25 (given that they are positive, which fails
    once in 10^9). Directions of the eleven, and of each family of three children, are mixed: v_i is (1 - eps) q_i + eps
    times the mean of the other q in the level, normalised, with the q orthonormal; eps = 0 leaves them orthonormal.

    Parameters
    ----------
    parent_mixing, child_mixing : the eps of the eleven and of each family. The released lists for cosines of 0, 0.1 ...
        0.8 are 0, .3, .44, .529, .594, .6467, .692, .733, .7739 and 0, .0895, .163, .226, .282, .3335, .3825, .431,
        .482; the cosines they give are in ``spec.geometry.cosines``.

    References
    ----------
    Costa et al. (2025), arXiv:2506.03093; ``tree.json`` and ``train_saes_on_toy.ipynb`` of mpsae/MP-SAE.
    """
    family = Forest((-1, 0, 0, 0), (1.0, 0.2, 0.2, 0.2))
    top = ExclusiveGroups(((*((0.2,) * 3), *((0.05,) * 8)),))
    support = BlockSupport(top, (*((family,) * 3), *((ExactlyK(1, 1),) * 8)))
    geometry = Levels.mixed(_TREE_LEVELS, (parent_mixing, *((child_mixing,) * 3)))
    return FeatureSpec(20, support, geometry, RectifiedNormal(1.5, 0.25))


def grouped_toy(form: str = "corrected", *, active: int = 32, chunks: int = 50, seed: int = 0) -> FeatureSpec:
    """Return the groups of mutual feature regularisation: 512 features in 256 dimensions, of which one group fires.

    There are 12 groups of 42 features, and 8 features that belong to none and never fire. A sample chooses a group
    uniformly and in it exactly ``active`` features without replacement, with weights 0.99^i; strengths are uniform on
    (0, 1], and directions standard normal vectors: their norms, near 16, are drawn once and multiply the strengths.

    ``as_released``, the features are drawn once for each group and chunk of a million samples, not for each sample, so
    that all the data have only 12 * ``chunks`` different supports (600 for 50 million samples): here each group has a
    `Repertoire` of ``chunks`` supports. (In the release a chunk ends before the next begins; here they are shuffled, as
    its training does.) ``corrected``, every sample draws its own. E[L0] = ``active`` in both.

    References
    ----------
    Marks et al. (2024), arXiv:2411.01220; ``utils/data_utils.py`` of luke-marks0/mutual-feature-regularization.
    """
    _check_form(form)
    check_int("chunks", chunks, 1)
    check_int("seed", seed, 0)
    members = SuccessiveSampling(tuple((0.99 ** np.arange(42)).tolist()), active)
    groups: list[SecondOrderLaw] = [members] * 12
    if form == "as_released":
        seeds = stream(seed, Role.LAW, _NORMS, 1).integers(0, 2**32, size=12)
        groups = [Repertoire(members, chunks, int(own)) for own in seeds]
    choice = ExclusiveGroups(((*((1.0 / 12.0,) * 12), 0.0),))
    support = BlockSupport(choice, (*groups, ExactlyK(8, 8)))
    return FeatureSpec(256, support, RandomSphere(), Scaled(Uniform(0.0, 1.0), GaussianNorms(256, seed)))
