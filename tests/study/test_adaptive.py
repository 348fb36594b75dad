"""Seeds go where the contour is; everywhere else the first few decide."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from sparsesim import Role, stream
from sparsesim.study import Store, Study, Table, labels
from sparsesim.study.adaptive import Contour, run_near

GRID = np.linspace(-4, 4, 33)
STAGES = (5, 10, 20, 40)


def truth(x: float) -> float:
    return 1 / (1 + np.exp(-2 * x))


@dataclass(frozen=True)
class Noisy:
    """A score around a logistic curve, with a deviation of 0.15."""

    x: float
    seed: int

    def evaluate(self) -> float:
        noise = stream(self.seed, Role.TEST, int(1000 * (self.x + 10))).standard_normal()
        return truth(self.x) + 0.15 * noise


def score(value: float) -> float:
    return value


def study(seeds: int) -> Study:
    cells = {labels(x=float(x), seed=seed): Noisy(float(x), seed) for x in GRID for seed in range(seeds)}
    return Study("curve", "Where is the middle?", cells, (score,))


def test_seeds_are_spent_at_the_contour_and_decided_points_are_on_their_true_side(tmp_path):
    contour = Contour("score", 0.5, ("x",), STAGES)
    table = run_near(contour, study, tmp_path, engine="inline")
    seeds = Counter(table.values("x"))
    assert set(seeds) == set(GRID) and set(seeds.values()) <= set(STAGES)
    assert seeds[0.0] == 40  # on the contour no number of seeds decides
    assert all(seeds[x] == 5 for x in GRID if abs(x) >= 1.5)  # the mean is 0.45 away, six standard errors of 5 seeds
    assert len(table) < 0.35 * len(study(40).cells)  # about three times fewer than 40 seeds everywhere
    undecided = contour.undecided(table)
    for x in set(GRID) - {x for (x,) in undecided}:
        # 32 points, each wrong with probability 0.025 at most: this seeded draw has none, and 3 would be a fault.
        mean = np.mean(table.where(x=x).column("score"))
        assert (mean > 0.5) == (truth(x) > 0.5)
    assert len(Store(tmp_path).keys()) == len(table)  # nothing was computed that is not in the table


def test_a_decided_side_is_wrong_no_oftener_than_promised():
    contour = Contour("score", 0.0, ("x",), STAGES, confidence=0.9)
    rng = np.random.default_rng(0)
    wrong, count = 0, 1000
    for _ in range(count):  # each point lies 0.1 deviations above the level, and is looked at up to four times
        values = 0.1 + rng.standard_normal(STAGES[-1])
        for stage in STAGES:
            table = Table({"x": (0,) * stage, "score": tuple(values[:stage].tolist())})
            if not contour.undecided(table):
                wrong += values[:stage].mean() < 0
                break
    # Each side of each interval errs in 1.25% of draws at most; all four by the union bound in 5%.
    assert wrong / count <= 0.05


def test_points_without_a_defined_score_are_left_alone():
    table = Table({"x": (0, 0, 1, 1, 2, 2), "score": (float("nan"),) * 2 + (0.4, 0.6, 0.9, float("nan"))})
    assert Contour("score", 0.5, ("x",)).undecided(table) == {(1,), (2,)}


def test_what_makes_no_contour_is_refused(tmp_path):
    for wrong in ({"stages": (5, 5)}, {"stages": ()}, {"stages": (1, 2)}, {"by": ()}, {"confidence": 95}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Contour(**{"metric": "score", "level": 0.5, "by": ("x",), **wrong})
    with pytest.raises(ValueError, match="by must name labels of the study"):
        run_near(Contour("score", 0.5, ("y",), (2, 3)), study, tmp_path, engine="inline")
    with pytest.raises(ValueError, match="metric must be one of the study"):  # before anything is computed
        run_near(Contour("scores", 0.5, ("x",), (2, 3)), study, tmp_path / "untouched", engine="inline")
    assert not (tmp_path / "untouched").exists()
