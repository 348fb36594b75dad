"""Posterior collapse: what is read of a trained model, the theory its points are held against, and its claims."""

from __future__ import annotations

import json

import numpy as np
import pytest

from paper_figures import collapse, collapse_panels
from paper_figures.__main__ import TABLES
from paper_figures.collapse import HEADER, claims, draw, rows
from paper_figures.collapse_panels import COUNTED, MIDDLE, conditional, expected, sloped
from sparsesim._identity import Role, stream
from sparsesim.report.claims import Verdict
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.vaease import posterior_variances
from sparsesim.study import run
from sparsesim.study.table import Table
from studies import collapse as declared
from studies.collapse import METRICS, SIZES, SPECTRUM, LinearCell, gaussian_world, points, read, study
from studies.tiers import Tier
from theory.vae import linear_vae, linear_vae_loss

NAMES = tuple(metric.__name__ for metric in METRICS)
FULL = len(SPECTRUM)


def optimum(panel: str, knob: float) -> dict[str, float]:
    """What theory says of one point, by column; what it does not say is one."""
    found = dict.fromkeys(NAMES, 1.0)
    if panel in COUNTED:
        found |= dict.fromkeys(("active_by_mean", "active_by_divergence", "upper_active"), float(expected(panel, knob)))
    if panel == "slope":
        found |= {"rate": sloped(knob), "active_by_divergence": float(FULL)}
    if panel in ("beta", "correlation"):
        known = linear_vae(SPECTRUM, FULL, declared.NOISE, knob) if panel == "beta" else conditional(knob)
        found |= {"rate": known.rate, "distortion": known.distortion}
        found |= {f"kl_{i + 1}": float(value) for i, value in enumerate(known.kl)}
    return found


def invented(wrong: str = "", **changes: float) -> Table:
    """A table in which every point is at its optimum, or those of panel ``wrong`` off by ``changes``."""
    made = []
    for panel, knob, *_ in points(Training()):
        for seed in range(3):
            scores = optimum(panel, knob)
            if panel == wrong:
                scores = {name: value + changes.get(name, 0.0) for name, value in scores.items()}
            nudge = 1e-6 * seed
            made.append([panel, knob, seed, "budget spent", *(scores[n] + nudge * (n == "rate") for n in NAMES)])
    return Table.of_rows(["panel", "knob", "seed", "status", *NAMES], made)


def test_at_the_optimum_every_claim_is_reproduced_and_everything_is_drawn():
    table = invented()
    assert {one.verdict for one in claims(table)} == {Verdict.REPRODUCED}
    assert len(draw(table).axes) == 6
    found = rows(table)
    assert len(found) == len(points(Training())) and {len(row) for row in found} == {len(HEADER)}


@pytest.mark.parametrize(
    ("panel", "changes", "begins"),
    [
        ("beta", {"active_by_divergence": 1.0}, "A direction is silent if and only if its eigenvalue"),
        ("beta", {"kl_2": 1.0}, "An active unit tells half the logarithm of its eigenvalue"),
        ("beta", {"rate": 0.2}, "A linear beta-VAE is reverse"),
        ("beta", {"rate": 0.2}, "Beyond beta"),
        ("correlation", {"active_by_divergence": 1.0}, "A direction is silent if and only if its variance"),
        ("correlation", {"kl_1": 1.0}, "An active unit tells half the logarithm of its conditional"),
        ("upper_fixed", {"upper_active": -3.0}, "Learning the variance"),
        ("upper_learned", {"upper_active": 1.0}, "The upper level is silent where theory says, its variance learned"),
        ("slope", {"rate": -1.5}, "An inverse Lipschitz"),
        ("slope", {"rate": 1.0}, "The divergence under"),
        ("slope", {"active_by_divergence": -1.0}, "No unit"),
    ],
)
def test_what_is_off_its_optimum_fails_its_claim(panel, changes, begins):
    (found,) = [one for one in claims(invented(panel, **changes)) if one.sentence.startswith(begins)]
    assert found.verdict is Verdict.FAILED


def test_the_figure_and_the_study_mean_the_same_world():
    for name in ("SPECTRUM", "SHORT", "NOISE", "CONDITION", "LOWER", "UPPER"):
        assert getattr(collapse_panels, name) == getattr(declared, name)
    assert declared.betas()[4] == pytest.approx(MIDDLE, rel=1e-12)
    active = [linear_vae(SPECTRUM, FULL, declared.NOISE, beta).active for beta in declared.betas()]
    assert active == list(range(FULL + 1))
    assert [expected("correlation", rho) for rho in declared.CORRELATIONS] == [4, 4, 3, 2, 1, 0]
    assert [expected("upper_learned", weight) for weight in declared.WEIGHTS] == [4, 3, 2, 1, 0, 0, 0]
    assert [expected("upper_fixed", weight) for weight in declared.WEIGHTS] == [4, 4, 4, 3, 2, 1, 0]


def test_the_optimum_under_a_slope_is_no_worse_than_any_other_gain_above_it():
    theta, values = MIDDLE * declared.NOISE, np.array(SPECTRUM)

    def loss(gains):
        encoder, variances = np.diag(np.sqrt(gains) / (gains + theta)), theta / (theta + gains)
        return linear_vae_loss(np.diag(values), np.diag(np.sqrt(gains)), encoder, variances, declared.NOISE, MIDDLE)

    best = np.maximum(values - theta, 0.5**2)
    rng = np.random.default_rng(0)
    others = [np.maximum(best * np.exp(0.3 * rng.standard_normal(FULL)), 0.5**2) for _ in range(200)]
    assert min(map(loss, others)) > loss(best)


def test_a_posterior_is_read_as_the_model_states_it():
    cell = LinearCell(SPECTRUM, 0, GaussianVAE(FULL, noise_variance=0.05, training=Training(steps=30)), 500, 100)
    trained = cell.evaluate()
    model = gaussian_world(SPECTRUM).build(stream(0, Role.TRUTH))
    batch = model.sample(100, stream(0, Role.TEST))
    fitted = trained.fitted
    np.testing.assert_allclose(trained.variances, posterior_variances(fitted, batch.x), rtol=1e-5)  # float32
    codes = fitted.encode(batch.x).toarray() / (fitted.encoder.norms * fitted.encoder.scale)
    np.testing.assert_allclose(trained.means, codes, atol=1e-5)
    again = read(fitted, batch, model.atoms)
    drawn = again.means + np.sqrt(again.variances) * np.random.default_rng(1).standard_normal((2000, 100, FULL))
    simulated = np.square(again.x - drawn @ again.atoms).sum(axis=2).mean(axis=1)
    error = simulated.std() / np.sqrt(2000)
    assert abs(simulated.mean() - declared.distortion(again)) < 4 * error


def test_the_condition_correlates_as_stated_and_is_the_same_in_every_process():
    cell = LinearCell(declared.SHORT, 3, GaussianVAE(4), 20_000, 50, correlation=0.8)
    batch = gaussian_world(declared.SHORT).build(stream(3, Role.TRUTH)).sample(20_000, stream(3, Role.TRAIN))
    seen = cell.condition(batch, Role.TRAIN)
    assert np.array_equal(seen, cell.condition(batch, Role.TRAIN))
    own = batch.codes.toarray()
    table = np.corrcoef(own.T, seen.T)[:4, 4:]
    assert np.abs(table - 0.8 * np.eye(4)).max() < 4 / np.sqrt(20_000)  # four standard errors


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_smoke_tier_runs_and_can_be_judged_and_drawn(tmp_path):
    table = run(study(Tier.SMOKE), tmp_path, engine="inline")
    assert set(table.levels("panel")) == set(collapse.PANELS)
    assert len(claims(table)) == 13 and len(draw(table).axes) == 6


@pytest.mark.skipif(not (TABLES / "collapse.csv").is_file(), reason="the table of the laptop tier is not made yet")
def test_the_committed_table_is_the_whole_laptop_tier_and_on_the_lines():
    table = Table.read(TABLES / "collapse.csv")
    cells = {tuple(value for _, value in labels) for labels in study(Tier.LAPTOP).cells}
    assert {(row["panel"], row["knob"], row["seed"]) for row in table.rows()} == cells
    assert json.loads((TABLES / "collapse.provenance.json").read_text(encoding="utf-8"))["tier"] == "laptop"
    assert SIZES[Tier.LAPTOP].seeds >= 5
    exact = [one for one in claims(table) if one.sentence.startswith("A direction is silent")]
    assert {one.verdict for one in exact} == {Verdict.REPRODUCED}
