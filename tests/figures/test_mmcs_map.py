"""The map of MMCS: its best penalty is the peak of a parabola, and its claims say what their sentences say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paper_figures import mmcs_map as figure
from paper_figures.__main__ import TABLES
from sparsesim._identity import Role, stream
from sparsesim._source import Rows
from sparsesim.generators.toys import decaying_toy
from sparsesim.metrics import recovery
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.report.claims import Verdict
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.train import Training
from sparsesim.study import Grouped, run
from sparsesim.study.grouping import fits_together
from sparsesim.study.table import Table
from studies import mmcs_map as declared
from studies.tiers import Tier
from tests.figures.known_start import StartedAt
from theory.chance import mean_max_abs_cosine

NAMES = ("solver", "width", "penalty", "seed", "status", *(one.__name__ for one in declared.METRICS))
PENALTIES = declared.SIZES[Tier.LAPTOP].grid()


def invented(*, best: float = 0.97, wide: float = -0.05, learned: float = 0.3, growth: float = 0.4) -> Table:
    """Scores that are parabolas in log10 of the penalty, with peaks at (p/64)^growth and of height ``best``."""
    made = []
    for seed in range(3):
        for ratio in (0.25, 0.5, 1.0, 2.0, 4.0):
            width, peak = round(64 * ratio), growth * np.log10(ratio)
            common = {"n_features": 64.0, "dim": 32.0, "seed": seed, "width": width, "status": "done"}
            chance = mean_max_abs_cosine(width, 32)
            made.append({**common, "solver": "random", "penalty": 0.0, "mmcs": chance + 1e-3 * (seed - 1)})
            top = best - 0.2 * max(0.0, -np.log2(ratio)) + wide * max(0.0, np.log2(ratio)) / 2 + 1e-4 * seed
            for penalty in PENALTIES:
                fall = 0.1 * (np.log10(penalty) - peak) ** 2
                scores = {"mmcs": top - fall, "mmcs_learned": top - fall - learned * max(0.0, np.log2(ratio))}
                made.append({**common, "solver": "relu_l1", "penalty": penalty, **scores})
    return Table.of_rows(NAMES, [[one.get(name, 0.5) for name in NAMES] for one in made])


def test_the_best_penalty_is_the_peak_of_the_parabola():
    table = invented(growth=0.4)
    for width, ratio in ((64, 1.0), (128, 2.0), (256, 4.0)):
        np.testing.assert_allclose(figure.best_penalty(table, width), 0.4 * np.log10(ratio), atol=1e-3)  # 4 digits of λ
    np.testing.assert_allclose(figure.slope(table), 0.4, atol=1e-3)
    np.testing.assert_allclose(figure.slope(invented(growth=0.0)), 0.0, atol=1e-3)


def test_scores_above_chance_are_nothing_at_the_floor_and_one_at_the_truth():
    table = invented()
    raw, corrected = (figure.scores(table, name, 128) for name in ("mmcs", "corrected"))
    chance = mean_max_abs_cosine(128, 32)
    np.testing.assert_allclose(corrected, (raw - chance) / (1 - chance))


def verdicts(begins: str, **changes: float) -> list[Verdict]:
    return [one.verdict for one in figure.claims(invented(**changes)) if one.sentence.startswith(begins)]


def test_every_claim_follows_its_number():
    found = figure.claims(invented())
    assert [one.verdict for one in found].count(Verdict.REPRODUCED) == len(found) == 9
    assert verdicts("The raw score is highest", wide=0.05) == [Verdict.FAILED]
    assert verdicts("A single-layer autoencoder", best=0.8) == [Verdict.FAILED]
    assert verdicts("A dictionary wider", learned=-0.1) == [Verdict.FAILED]
    assert verdicts("With more atoms", growth=-0.5) == [Verdict.FAILED]
    assert verdicts("Dividing the penalty", growth=-0.5) == [Verdict.FAILED]


def test_the_penalties_of_one_width_and_seed_are_trained_together():
    size = declared.SIZES[Tier.SMOKE]
    sweeps = {cell.group for cell in declared.study(Tier.SMOKE).cells.values() if isinstance(cell, Grouped)}
    assert {len(sweep) for sweep in sweeps} == {size.penalties[2]}
    assert len(sweeps) == len(size.ratios) * size.seeds
    assert all(fits_together(sweep) for sweep in sweeps)


def test_the_smoke_tier_runs_and_is_drawn(tmp_path):
    table = run(declared.study(Tier.SMOKE), tmp_path, engine="inline")
    (calibration,) = [one for one in figure.claims(table) if one.sentence.startswith("The score of random")]
    assert abs(calibration.measured.mean) < 0.05  # the floor of a dozen directions scatters more than that of 64
    assert len(figure.draw(table).axes) == 3 + 1 + 1
    assert {len(one) for one in figure.rows(table)} == {len(figure.HEADER)}
    for one in table.where(solver="random").rows():
        assert one["mmcs_chance"] == pytest.approx(mean_max_abs_cosine(int(one["width"]), 12), abs=1e-6)


@pytest.mark.slow
def test_the_diagnosis_of_the_true_number_is_where_learning_ends():
    """From random starts p = 4 m scores best; from the true atoms, which training then keeps, p = m does."""
    size = declared.SIZES[Tier.LAPTOP]
    m, d, active, decay = size.world
    world = decaying_toy(n_features=m, dim=d, mean_active=active, decay=decay)
    seeds = range(3)
    models = [world.build(stream(seed, Role.TRUTH)) for seed in seeds]
    sources = [
        Rows(model.sample(size.n_train, stream(seed, Role.TRAIN)).x) for seed, model in zip(seeds, models, strict=True)
    ]
    tests = [model.sample(500, stream(seed, Role.TEST)) for seed, model in zip(seeds, models, strict=True)]

    def best(width: int, known: bool) -> np.ndarray:
        found = []
        for penalty in (size.grid()[5], size.grid()[6]):  # where either number scores best
            solver = ReLUL1(width, penalty, training=Training(steps=size.steps))
            started = [StartedAt(solver, model.atoms) if known else solver for model in models]
            fits = fit_together(started, sources, [stream(seed, Role.SOLVER) for seed in seeds])
            seen = [Evaluation(*three) for three in zip(models, fits, tests, strict=True)]
            found.append([recovery.mmcs(one) for one in seen])
        return np.max(found, axis=0)

    few, many = best(m, known=True), best(4 * m, known=True)
    assert (few > many).all() and few.min() > 0.997
    few, many = best(m, known=False), best(4 * m, known=False)
    assert np.mean(few - many) < 0.0 and few.max() < 0.997


@pytest.mark.skipif(not (TABLES / "mmcs_map.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_and_its_floor_is_chance():
    table = Table.read(TABLES / "mmcs_map.csv")
    cells = {tuple(value for _, value in label) for label in declared.study(Tier.LAPTOP).cells}
    assert {tuple(one[name] for name in NAMES[:4]) for one in table.rows()} == cells
    assert json.loads((TABLES / "mmcs_map.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    floor = [one for one in figure.claims(table) if one.sentence.startswith("The score of random")]
    assert [one.verdict for one in floor] == [Verdict.REPRODUCED]
