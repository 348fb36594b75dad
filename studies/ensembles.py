"""Several dictionaries of the same data: what they find together, and how alike they are.

One part joins autoencoders to ensembles and counts the true features that are found. The other compares dictionaries
of samples (ITDA) of two representations of which a share is common, and the stability of both kinds of dictionary.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, final

import numpy as np
from scipy.stats import ortho_group

from sparsesim._arrays import FloatArray, check_int, check_real
from sparsesim._identity import Role, stream
from sparsesim._source import Rows
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.magnitude import HalfNormal
from sparsesim.generators.rates import ZipfRates
from sparsesim.generators.support import Bernoulli
from sparsesim.metrics import codes, reconstruction, recovery
from sparsesim.metrics.consistency import pairwise_mcc, pairwise_mcc_chance
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary
from sparsesim.solvers.itda import ITDA, shared_atoms
from sparsesim.solvers.neural.ensemble import Boosting, joined
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Cell, Labels, Study, labels
from studies.tiers import Tier

FOUND = 0.9  # |cosine| at which a feature counts as found


@final
@dataclass(frozen=True)
class Setting:
    """A world, samples, and the autoencoder of which several are trained."""

    spec: FeatureSpec
    base: TopK
    n_train: int
    n_test: int
    most: int  # members

    def __post_init__(self) -> None:
        check_int("most", self.most, 1)

    def train(self, seed: int) -> FloatArray:
        """Return the training samples ``(n, d)``."""
        return self.spec.build(stream(seed, Role.TRUTH)).sample(self.n_train, stream(seed, Role.TRAIN)).x


@cache
def members(setting: Setting, kind: str, seed: int) -> tuple[FittedDictionary, ...]:
    """Return the autoencoders of an ensemble: independent starts of a bag, or steps of boosting."""
    x = setting.train(seed)
    if kind == "boost":
        fitted: Any = Boosting(setting.base, setting.most).fit(x, rng=stream(seed, Role.SOLVER))
        return tuple(fitted.encoder.members)
    rngs = [stream(seed, Role.SOLVER, index) for index in range(setting.most)]
    return tuple(fit_together([setting.base] * setting.most, [Rows(x)] * setting.most, rngs))


@final
@dataclass(frozen=True, eq=False)
class Union:
    """What an ensemble finds, and what it would find if its members found features independently of one another."""

    evaluation: Evaluation
    independent: float

    @property
    def fitted(self) -> Any:
        """The ensemble, whose status stands for the row."""
        return self.evaluation.fitted


def hits(evaluation: Evaluation) -> FloatArray:
    """Return for each true feature whether some atom has |cosine| of at least 0.9 with it, ``(m,)``."""
    return np.asarray((np.abs(evaluation.cosines).max(axis=1) >= FOUND).astype(np.float64))


@final
@dataclass(frozen=True)
class UnionCell:
    """The first ``count`` members of an ensemble, or ("wide") one autoencoder of as many latents in all."""

    setting: Setting
    kind: str
    count: int
    seed: int

    def evaluate(self) -> Union:
        """Return the joined dictionary on held-out samples."""
        own, base = self.setting, self.setting.base
        model = own.spec.build(stream(self.seed, Role.TRUTH))
        batch = model.sample(own.n_test, stream(self.seed, Role.TEST))
        if self.kind == "wide":
            wide = TopK(self.count * base.width, base.k, training=base.training)
            fitted = wide.fit(own.train(self.seed), rng=stream(self.seed, Role.SOLVER))
            return Union(Evaluation(model, fitted, batch), float("nan"))
        parts = members(own, self.kind, self.seed)[: self.count]
        boosted = self.kind == "boost"
        whole = joined(parts, 1.0 if boosted else 1.0 / len(parts), sequential=boosted)
        recalls = [hits(Evaluation(model, part, batch)).mean() for part in parts]
        return Union(Evaluation(model, whole, batch), float(1.0 - np.prod(1.0 - np.array(recalls))))


@final
@dataclass(frozen=True, eq=False)
class Likeness:
    """How alike two dictionaries are, and what chance reaches."""

    similarity: float
    chance: float


@final
@dataclass(frozen=True)
class SharedCell:
    """Two ITDA of two representations of the same samples: which samples are atoms of both?

    The second representation is ``(c x + sqrt(1 - c^2) y) Q``, y other samples of the world and Q a rotation, to which
    the dictionaries are blind: at c = ``common`` = 1 they are of the same samples, at 0 of unrelated ones.
    """

    spec: FeatureSpec
    solver: ITDA
    common: float
    n_train: int
    seed: int

    def __post_init__(self) -> None:
        check_real("common", self.common, 0.0, 1.0)

    def evaluate(self) -> Likeness:
        """Return their Jaccard index, beside that of independent choices at the same pace."""
        model = self.spec.build(stream(self.seed, Role.TRUTH))
        x, y = (model.sample(self.n_train, stream(self.seed, Role.TRAIN, index)).x for index in range(2))
        rng = stream(self.seed, Role.SOLVER)
        turned = (self.common * x + np.sqrt(1.0 - self.common**2) * y) @ ortho_group.rvs(x.shape[1], random_state=rng)
        fits = [self.solver.fit(rows, rng=rng) for rows in (x, turned)]
        return Likeness(shared_atoms(*fits), chance_jaccard(fits[0], fits[1], self.solver.batch_size))


def chance_jaccard(first: FittedDictionary, second: FittedDictionary, batch_size: int) -> float:
    """Return the Jaccard index of atoms chosen at random at the pace of the fits: a of the samples of a batch, and b.

    Two independent choices share ``a b / batch_size`` samples of a batch on average. Dictionaries of samples take most
    of the first batches whatever the data, so that this is far above two random sets of their size.
    """
    pace = [np.bincount((np.array(fit.trace["rows"]) // batch_size).astype(int)) for fit in (first, second)]
    length = max(map(len, pace))
    a, b = (np.pad(counts.astype(np.float64), (0, length - len(counts))) for counts in pace)
    both = float((a * b).sum() / batch_size)
    return both / (float(a.sum() + b.sum()) - both)


@final
@dataclass(frozen=True)
class StableCell:
    """Two dictionaries of the same samples: of two orders (ITDA) or two starts (autoencoder), by matched |cosine|."""

    setting: Setting
    solver: ITDA | None
    seed: int

    def evaluate(self) -> Likeness:
        """Return their agreement beside that of random dictionaries."""
        if self.solver is None:
            fits = members(self.setting, "bag", self.seed)[:2]
        else:
            x, rng = self.setting.train(self.seed), stream(self.seed, Role.SOLVER)
            fits = tuple(self.solver.fit(x[rng.permutation(len(x))], rng=rng) for _ in range(2))
        atoms = [fit.atoms[fit.atoms.any(axis=1)] for fit in fits]
        return Likeness(pairwise_mcc(atoms), pairwise_mcc_chance(atoms))


def found(result: Union | Likeness) -> float:
    """Return the share of the true features that an ensemble finds at |cosine| 0.9; NaN of a comparison."""
    return float(hits(result.evaluation).mean()) if isinstance(result, Union) else float("nan")


def independent(result: Union | Likeness) -> float:
    """Return the share that members of these recalls would find independently, 1 - prod (1 - r_j)."""
    return result.independent if isinstance(result, Union) else float("nan")


def fvu(result: Union | Likeness) -> float:
    """Return the fraction of variance unexplained by an ensemble."""
    return reconstruction.fvu(result.evaluation) if isinstance(result, Union) else float("nan")


def l0(result: Union | Likeness) -> float:
    """Return the number of active latents of an ensemble."""
    return codes.l0(result.evaluation) if isinstance(result, Union) else float("nan")


def mcc(result: Union | Likeness) -> float:
    """Return the mean matched |cosine| of the true features."""
    return recovery.mcc(result.evaluation) if isinstance(result, Union) else float("nan")


def mcc_chance(result: Union | Likeness) -> float:
    """Return what as many random atoms reach of it."""
    return recovery.mcc_chance(result.evaluation) if isinstance(result, Union) else float("nan")


def similarity(result: Union | Likeness) -> float:
    """Return how alike two dictionaries are; NaN of an ensemble."""
    return result.similarity if isinstance(result, Likeness) else float("nan")


def chance(result: Union | Likeness) -> float:
    """Return how alike chance makes them; NaN of an ensemble."""
    return result.chance if isinstance(result, Likeness) else float("nan")


METRICS = (found, independent, fvu, l0, mcc, mcc_chance, similarity, chance)


@dataclass(frozen=True)
class Size:
    """What a tier spends: (d, m, width, k), members, samples, and the shares of common samples."""

    world: tuple[int, int, int, int]
    members: tuple[int, ...]
    seeds: int
    n_train: int
    n_test: int
    training: Training
    samples: int  # that a dictionary of samples reads
    common: tuple[float, ...]


SIZES = {
    Tier.SMOKE: Size((8, 16, 8, 2), (1, 2), 3, 1_000, 500, Training(steps=100), 500, (0.0, 1.0)),
    Tier.LAPTOP: Size(
        (24, 48, 24, 3), (1, 2, 4, 8), 5, 20_000, 5_000, Training(steps=1_500), 4_000,
        (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0),
    ),
    Tier.PAPER: Size(
        (64, 256, 128, 5), (1, 2, 4, 8, 16), 10, 200_000, 20_000, Training(steps=20_000), 40_000,
        (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0),
    ),
}  # fmt: skip


def study(tier: Tier) -> Study:
    """Return ensembles by kind and members, and dictionaries of samples by what their data share."""
    size, cells = SIZES[tier], dict[Labels, Cell]()
    d, m, width, k = size.world
    spec = FeatureSpec(d, Bernoulli(ZipfRates(m, 0.7, 0.3)), RandomSphere(), HalfNormal(1.0))
    setting = Setting(spec, TopK(width, k, training=size.training), size.n_train, size.n_test, size.members[-1])
    samples = ITDA(40 * width, k, batch_size=16)  # room for all that are badly coded
    for seed in range(size.seeds):
        for kind in ("bag", "boost", "wide"):
            for count in size.members:
                cell = UnionCell(setting, kind, count, seed)
                cells[labels(part="union", kind=kind, place=float(count), seed=seed)] = cell
        for share in size.common:
            jaccard = SharedCell(spec, samples, share, size.samples, seed)
            cells[labels(part="shared", kind="itda", place=share, seed=seed)] = jaccard
        for kind, solver in (("itda", samples), ("topk", None)):
            cells[labels(part="stable", kind=kind, place=0.0, seed=seed)] = StableCell(setting, solver, seed)
    question = "What do several dictionaries find together, and how alike are they?"
    return Study("ensembles", question, cells, METRICS)
