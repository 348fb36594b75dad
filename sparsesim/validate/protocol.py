"""Protocols: which worlds, how much data, which references at which numbers of active latents, and what is decided.

A protocol is a frozen value with a name and a version. Its numbers never change; what would change them is a new
version. Nothing is compared at equal penalties: every reference has a grid of its number of active latents k, and a
subject is held against the reference's curve at its own L0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, final

from sparsesim._arrays import check_int, check_real
from sparsesim._identity import key
from sparsesim.generators.base import FeatureSpec
from sparsesim.solvers.base import Solver
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study.cell import Cell, FitCell, Labels, OracleCell, labels
from sparsesim.validate import worlds
from sparsesim.validate.measures import MEASURED, direction

if TYPE_CHECKING:
    from sparsesim.solvers.neural.train import Training

Make: TypeAlias = "Callable[[int, int, Training], Solver]"  # width p, k, training
BOUNDS = ("floor", "oracle", "genie")


@final
@dataclass(frozen=True)
class Arena:
    """A world of a protocol, with the question that it asks.

    ``k`` is the number of active latents about which the grid lies; 0 stands for the world's own mean L0, rounded.
    """

    name: str
    world: FeatureSpec
    question: str
    k: int = 0

    @property
    def sparsity(self) -> int:
        """Return k, at least 1."""
        return self.k or max(1, round(float(self.world.support.marginals().sum())))

    @property
    def width(self) -> int:
        """Return p, the true number of features."""
        return self.world.n_features


@final
@dataclass(frozen=True)
class Protocol:
    """What a validation does, decided before it starts.

    Parameters
    ----------
    name, version : together ``quick@1``.
    arenas : the worlds.
    references : names of reference solvers, of `REFERENCES`.
    least, most : seeds of each world at first, and when the interval does not get narrow enough.
    n_train, n_test : samples to learn from, and held-out ones, of each seed.
    steps, batch_size : of the training of references and of modules.
    shares : the grid of k, as multiples of each arena's sparsity.
    compared : metrics that are compared with the references, for each of which larger or smaller is better
        (`sparsesim.validate.measures.direction`); all others are only shown.
    margin : half-width at which no more seeds are added, and difference below which two scores are the same.
    confidence : of all comparisons together, at whichever of the `looks` each world stops.
    """

    name: str
    version: int
    arenas: tuple[Arena, ...]
    references: tuple[str, ...]
    least: int
    most: int
    n_train: int
    n_test: int
    steps: int
    batch_size: int
    shares: tuple[float, ...] = (2 / 3, 1.0, 5 / 3)
    compared: tuple[str, ...] = ("mcc", "support_f1")
    margin: float = 0.05
    confidence: float = 0.95

    def __post_init__(self) -> None:
        check_int("least", self.least, 2)
        check_int("most", self.most, self.least)
        check_real("margin", self.margin, 0.0, open_low=True)
        if check_real("confidence", self.confidence, 0.0, 1.0, open_low=True) == 1.0:
            raise ValueError("confidence must lie strictly between 0 and 1; got 1. Nothing is certain: take 0.99.")
        unknown = [name for name in self.references if name not in REFERENCES]
        if unknown:
            raise ValueError(f"references must be among {', '.join(REFERENCES)}; got {', '.join(unknown)}.")
        for name in self.compared:
            _check_comparable(name)

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    def budgets(self, arena: Arena) -> tuple[int, ...]:
        """Return the grid of k in ``arena``, ascending and without repetitions."""
        limit = min(arena.width, arena.world.dim)
        return tuple(sorted({min(limit, max(1, round(share * arena.sparsity))) for share in self.shares}))

    @property
    def looks(self) -> tuple[int, ...]:
        """Return the numbers of seeds at which a world may stop: the least, its doubles, and the most."""
        counts = [self.least]
        while counts[-1] < self.most:
            counts.append(min(self.most, 2 * counts[-1]))
        return tuple(counts)

    def training(self) -> Training:
        """Return how references and modules are trained."""
        from sparsesim.solvers.neural.train import Training

        return Training(steps=self.steps, batch_size=self.batch_size)

    def digest(self) -> str:
        """Return the key of everything that decides the rows of references; margins and seeds do not."""
        fixed = (self.n_train, self.n_test, self.steps, self.batch_size, self.shares)
        return key(self.arenas, fixed)


def _check_comparable(metric: str) -> None:
    known = [one.__name__ for one in MEASURED if direction(one.__name__)]
    if metric not in known:
        shown = metric in [one.__name__ for one in MEASURED]
        why = "for which neither larger nor smaller is better" if shown else "which is not measured"
        raise ValueError(f"compared must be among {', '.join(known)}; got {metric!r}, {why}.")


def _topk(p: int, k: int, training: Training) -> Solver:
    from sparsesim.solvers.neural.topk import TopK

    return TopK(p, k, training=training)


def _batch_topk(p: int, k: int, training: Training) -> Solver:
    from sparsesim.solvers.neural.batch_topk import BatchTopK

    return BatchTopK(p, k, training=training)


def _matryoshka(p: int, k: int, training: Training) -> Solver:
    from sparsesim.solvers.neural.matryoshka import Matryoshka

    return Matryoshka(p, k, prefixes=tuple(sorted({max(1, p // part) for part in (8, 4, 2, 1)})), training=training)


def _mp(p: int, k: int, training: Training) -> Solver:
    from sparsesim.solvers.neural.mp import MatchingPursuitSAE

    return MatchingPursuitSAE(p, k, training=training)


REFERENCES: dict[str, Make] = {"topk": _topk, "batch_topk": _batch_topk, "matryoshka": _matryoshka, "mp": _mp}


def reference_cells(protocol: Protocol, arena: Arena, seed: int, names: tuple[str, ...]) -> dict[Labels, Cell]:
    """Return the cells of references and bounds ``names`` in ``arena`` at ``seed``, by their labels."""
    cells: dict[Labels, Cell] = {}
    for name in names:
        for budget in (
            (0,) if name == "genie" else protocol.budgets(arena) if name in REFERENCES else _wide(protocol, arena)
        ):
            label = labels(world=arena.name, solver=name, budget=budget, seed=seed)
            cells[label] = _cell(protocol, arena, seed, name, budget)
    return cells


def _wide(protocol: Protocol, arena: Arena) -> tuple[int, ...]:
    """Return the grid of floor and oracle, which also reaches below and above that of the references."""
    budgets = protocol.budgets(arena)
    return tuple(sorted({1, *budgets, min(arena.world.dim, arena.width, 4 * arena.sparsity)}))


def _cell(protocol: Protocol, arena: Arena, seed: int, name: str, budget: int) -> Cell:
    world, n_test = arena.world, protocol.n_test
    if name == "genie":
        return OracleCell(world, seed, n_test)
    pursuit = OrthogonalMatchingPursuit(budget)
    if name == "oracle":
        return OracleCell(world, seed, n_test, pursuit)
    if name == "floor":
        return FitCell(world, seed, n_test, RandomDictionary(arena.width, pursuit), protocol.n_train)
    solver = REFERENCES[name](arena.width, budget, protocol.training())
    return FitCell(world, seed, n_test, solver, protocol.n_train)


def _arenas(dim: int) -> tuple[Arena, ...]:
    """Return the nine worlds at dimension ``dim``, about twice as many features, a few active at a time."""
    m, rate = 2 * dim, 2.56 / dim
    return (
        Arena("flat", worlds.flat(dim, rate), "Orthonormal features that fire independently: does it work at all?"),
        Arena("superposed", worlds.superposed(dim, m), "Twice as many features as dimensions: are they told apart?"),
        Arena("zipf", worlds.zipf(dim, m), "Rates that fall as a power of the rank: are rare features found?"),
        Arena("correlated", worlds.correlated(dim, m, 3.2 / m), "Features that fire together: are they kept apart?"),
        Arena("tree", worlds.tree(dim, dim // 8), "Children fire only with their parent: is the parent absorbed?"),
        Arena("bipolar", worlds.bipolar(dim, m), "Coefficients of both signs: is one feature one atom?"),
        Arena(
            "multidimensional",
            worlds.multidimensional(dim, 3 * dim // 4),
            "Features that are circles: are the planes found (0.9 is a plane found in another basis)?",
        ),
        Arena("noisy", worlds.noisy(15.0, dim, m), "White noise at 15 dB: is the noise left alone?"),
        Arena(
            "unidentifiable",
            worlds.unidentifiable(dim),
            "Control, white noise: nothing can be found, and a model that seems to be better here is not.",
            k=3,
        ),
    )


_ALL = tuple(REFERENCES)


def _standing() -> dict[str, Protocol]:
    quick = Protocol("quick", 1, _arenas(32), _ALL, 5, 8, 4_000, 1_000, 500, 256)
    standard = Protocol("standard", 1, _arenas(64), _ALL, 8, 16, 20_000, 4_000, 5_000, 256, margin=0.03)
    full = Protocol("full", 1, _arenas(128), _ALL, 12, 32, 100_000, 8_000, 20_000, 512, margin=0.02)
    return {str(one): one for one in (quick, standard, full)}


PROTOCOLS = _standing()


def find(protocol: str | Protocol) -> Protocol:
    """Return the protocol of this name, such as ``"quick@1"``; without a version, the newest of the name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if isinstance(protocol, Protocol):
        return protocol
    fitting = [one for label, one in PROTOCOLS.items() if protocol in (label, one.name)]
    if not fitting:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}, or a Protocol; got {protocol!r}.")
    return max(fitting, key=lambda one: one.version)
