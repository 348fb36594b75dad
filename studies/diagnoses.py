"""Diagnoses: why a variant loses the duel that its paper says it wins, each put to trials that could refute it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal, RandomSphere
from sparsesim.generators.noise import Gaussian
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.support import Bernoulli
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.ensemble import Boosting
from sparsesim.solvers.neural.group_bias import GroupBias
from sparsesim.solvers.neural.kron import KronSAE
from sparsesim.solvers.neural.nested_topk import NestedTopK
from sparsesim.solvers.neural.top_afa import TopAFA
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import Cell, FitCell, Labels, OracleCell, Study, labels
from studies.bakeoff import sparsity
from studies.duels import STANDARD, duels, row_labels, sides, spent
from studies.duels.base import Duel
from studies.duels.relu_family import LARGE
from studies.duels.structured_family import SHORT
from studies.duels.topk_family import STRENGTH, TRAINING
from studies.tiers import Tier

AGAIN = "the duel"


@final
@dataclass(frozen=True)
class Trial:
    """A duel that comes out one way if a diagnosis is right.

    Parameters
    ----------
    duel : who is held against whom; its claim is what the diagnosis says of it.
    won : whether the challenger is to win; a control, in which the cause is still there, is to be lost.
    """

    duel: Duel
    won: bool


@final
@dataclass(frozen=True)
class Diagnosis:
    """Why the variant of a duel loses it.

    Parameters
    ----------
    cause : the reason, in one sentence.
    trials : by name, at least one to be won, in which the cause is taken away, and one control to be lost.
    """

    cause: str
    trials: dict[str, Trial]


def _boosting(duel: Duel) -> Diagnosis:
    def parts(width: int, members: int) -> Boosting:
        return Boosting(TopK(width, 1, training=SHORT), members)

    def one(width: int, k: int) -> TopK:
        return TopK(width, k, training=SHORT)

    wide = "With twice the atoms in a part, boosting wins at equal width and L0."
    more = "With twice the parts, boosting wins at equal width and L0."
    small = "Against an autoencoder with the L0 of one part, parts win by their larger L0."
    narrow = "Control: with half the atoms in a part it loses, too."
    return Diagnosis(
        "four parts of 16 atoms, one of each in a sample, say too little; twice the atoms or the parts are enough",
        {
            "parts of 32": Trial(replace(duel, challenger=parts(32, 4), baseline=one(128, 4), claim=wide), True),
            "eight parts of 16": Trial(replace(duel, challenger=parts(16, 8), baseline=one(128, 8), claim=more), True),
            "against the L0 of one part": Trial(replace(duel, baseline=one(64, 1), claim=small), True),
            "parts of 8": Trial(replace(duel, challenger=parts(8, 4), baseline=one(32, 4), claim=narrow), False),
        },
    )


def _group_bias(duel: Duel) -> Diagnosis:
    near = GroupBias(128, 4, high=0.1, low=0.03, every=5, rate=0.03, jump=True, training=LARGE)
    far = "TopK with k = 20, three times the largest number, misses what target frequencies recover."
    wrong = "Control: with targets a tenth of these the model loses against itself: it is the targets that recover."
    return Diagnosis(
        "k = 10 is near enough to the largest number, 7, for TopK to miss nothing; far above it does",
        {
            "against k = 20": Trial(replace(duel, baseline=TopK(128, 20, training=LARGE), claim=far), True),
            "targets below the rates": Trial(
                replace(duel, challenger=replace(near, high=0.01, low=0.003), baseline=near, claim=wrong), False
            ),
        },
    )


def _kron(duel: Duel) -> Diagnosis:
    def heads(left: int, right: int) -> KronSAE:
        return KronSAE(32, 3, left=left, right=right, training=TRAINING)

    equal = "An autoencoder with as many encoder weights has 24 atoms and matches fewer features."
    more = "With 40 encoder rows for the 32 latents, conjunctions match more than with 24."
    fewer = "Control: with 12 encoder rows they match less than with 24."
    return Diagnosis(
        "24 encoder rows serve 32 latents: what is lost is lost to the size of the encoder, not to the conjunction",
        {
            "as many encoder weights": Trial(replace(duel, baseline=TopK(24, 3, training=TRAINING), claim=equal), True),
            "40 rows against 24": Trial(replace(duel, challenger=heads(1, 4), baseline=heads(2, 4), claim=more), True),
            "12 rows against 24": Trial(
                replace(duel, challenger=heads(4, 8), baseline=heads(2, 4), claim=fewer), False
            ),
        },
    )


def _nested_topk(duel: Duel) -> Diagnosis:
    at_six = NestedTopK(40, 6, ks=(3, 6, 12, 24, 40), training=TRAINING)
    of_three = NestedTopK(40, 6, ks=(3,), training=TRAINING)
    reverse = NestedTopK(40, 3, weighting="reverse", training=TRAINING)
    other = "Where inference keeps another number than training did, training at several numbers wins."
    share = "The larger the share of the loss for the number in use, the better."
    same = "Control: an autoencoder trained at 6 alone wins at 6, as one trained at 3 does at 3."
    return Diagnosis(
        "five numbers of latents share the loss, and each costs what an autoencoder for this one alone need not pay",
        {
            "at 6, against training at 3": Trial(
                replace(duel, challenger=at_six, baseline=of_three, claim=other), True
            ),
            "a larger share for 3": Trial(
                replace(duel, challenger=reverse, baseline=duel.challenger, claim=share), True
            ),
            "at 6, against training at 6": Trial(
                replace(duel, challenger=at_six, baseline=TopK(40, 6, training=TRAINING), claim=same), False
            ),
        },
    )


def _top_afa(duel: Duel) -> Diagnosis:
    world = FeatureSpec(32, Bernoulli(EqualRates(32, 0.08)), Orthonormal(), STRENGTH)
    square = replace(
        duel, world=world, challenger=TopAFA(32, training=TRAINING), baseline=TopK(32, 3, training=TRAINING)
    )
    exact = "With orthonormal features and no noise the norm tells the number of features."
    random = "Control: with as many random directions it does not."
    noisy = "Control: with noise on orthonormal features it does not."
    return Diagnosis(
        "the norm of a sample is that of its codes only where atoms are orthogonal and nothing is added",
        {
            "orthonormal": Trial(replace(square, claim=exact), True),
            "random directions": Trial(
                replace(square, world=replace(world, geometry=RandomSphere()), claim=random), False
            ),
            "orthonormal with noise": Trial(
                replace(square, world=replace(world, noise=Gaussian(0.1)), claim=noisy), False
            ),
        },
    )


def diagnoses() -> dict[str, Diagnosis]:
    """Return the diagnoses by the name of the duel that was lost."""
    known = duels()
    found = {
        "boosting": _boosting,
        "group bias adaptation": _group_bias,
        "kron": _kron,
        "nested_topk": _nested_topk,
        "top_afa": _top_afa,
    }
    return {name: diagnose(known[name]) for name, diagnose in found.items()}


def _ends(name: str, duel: Duel, tier: Tier, more: Labels) -> dict[Labels, Cell]:
    """Return the cells of floor and ceiling: random and true atoms, with a pursuit of the true mean number."""
    seeds, n_train, n_test = spent(duel, tier)
    pursuit = OrthogonalMatchingPursuit(sparsity(duel.world))
    random = RandomDictionary(duel.challenger.width, pursuit)
    cells: dict[Labels, Cell] = {}
    for seed in range(seeds):
        floor = row_labels(name, duel, "floor", "RandomDictionary", seed, more)
        cells[floor] = FitCell(duel.world, seed, n_test, random, n_train)
        ceiling = row_labels(name, duel, "ceiling", "true atoms", seed, more)
        cells[ceiling] = OracleCell(duel.world, seed, n_test, pursuit)
    return cells


def study(tier: Tier) -> Study:
    """Return the diagnoses at ``tier``: each lost duel again and its trials, with floor and ceiling."""
    known = duels()
    cells: dict[Labels, Cell] = {}
    for name, diagnosis in diagnoses().items():
        again = Trial(known[name], False)
        for place, trial in {AGAIN: again, **diagnosis.trials}.items():
            expected = "won" if trial.won else "lost"
            more = labels(diagnosis=name, cause=diagnosis.cause, trial=place, expected=expected)
            full = f"{name}: {place}"
            cells |= sides(full, trial.duel, tier, more) | _ends(full, trial.duel, tier, more)
    question = "Why do variants lose the duels that their papers say they win?"
    return Study("diagnoses", question, cells, STANDARD)
