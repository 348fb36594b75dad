"""What the assertions decide, what they say when they fail, and that their reproduction reproduces."""

from __future__ import annotations

import pickle
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from sparsesim.generators import (
    Bernoulli,
    EqualRates,
    FeatureSpec,
    GivenRates,
    Missing,
    Orthonormal,
    SignalToNoise,
    Uniform,
)
from sparsesim.metrics import mcc, support_f1
from sparsesim.solvers import OrthogonalMatchingPursuit, RandomDictionary
from sparsesim.solvers.base import FittedDictionary, Status
from sparsesim.study import FitCell
from sparsesim.testing import Decision, Refuted, Undecided, assert_no_worse_than, assert_recovers
from sparsesim.testing.reproduction import Program, _folder

ROOT = Path(__file__).resolve().parents[2]
WORLD = FeatureSpec(4, Bernoulli(EqualRates(4, 0.3)), Orthonormal(), Uniform(0.5, 1.5))
FLOOR = RandomDictionary(4, OrthogonalMatchingPursuit(2))
BRIEF = {"n_train": 20}


@dataclass(frozen=True)
class Sometimes:
    """Random atoms, which are scored by `fate`: a coin with probability ``p`` of 1."""

    p: float
    width: int = 4

    def fit(self, x, *, rng):
        atoms = np.eye(4) if rng.random() < self.p else -np.eye(4)
        return FittedDictionary(atoms, np.zeros(4), OrthogonalMatchingPursuit(2), Status.CONVERGED)


def fate(evaluation):
    return float(evaluation.fitted.atoms[0, 0] > 0)


def undefined(evaluation):
    return float("nan")


def test_a_true_claim_is_supported_with_the_fewest_seeds():
    finding = assert_recovers(Sometimes(1.0), WORLD, confidence=0.95, metric=fate, **BRIEF)
    assert finding.decision is Decision.SUPPORTED
    assert len(finding.values) == finding.successes == 33
    assert 0.9 < finding.low < finding.high == 1.0


def test_a_false_claim_is_refuted_with_seeds_floor_ceiling_and_a_line_that_reproduces():
    with pytest.raises(Refuted) as caught:
        assert_recovers(FLOOR, WORLD, at_least=0.99, metric="mcc", **BRIEF)
    message, finding = str(caught.value), caught.value.finding
    assert len(finding.values) == 7  # the fewest that refute 0.9 at 1 - 1e-6
    assert "REFUTED: mcc is at least 0.99 in at least 0.9 of seeds" in message
    rows = re.findall(r"^ +(\d) +(0\.\d{4}) +(0\.\d{4}) +1\.0000$", message, re.MULTILINE)  # the true atoms have mcc 1
    assert [float(row[1]) for row in rows] == pytest.approx(sorted(finding.values)[:5], abs=5e-5)
    assert all(row[1] == row[2] for row in rows)  # the floor of a floor is itself: same seed, same stream
    seed, line = re.search(r"Reproduce seed (\d): (.*)", message).groups()
    assert int(seed) == int(np.argmin(finding.values))
    assert float(run(line)) == min(finding.values)
    copy = pickle.loads(pickle.dumps(caught.value))  # as from a worker
    assert (type(copy), str(copy), copy.finding) == (Refuted, message, finding)


def run(line):
    words = shlex.split(line)
    assert words[0] == "python"
    done = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def test_seeds_that_do_not_suffice_are_an_error_of_their_own_that_says_how_many_would():
    with pytest.raises(Undecided, match="UNDECIDED") as caught:
        assert_recovers(Sometimes(0.85), WORLD, in_fraction=0.6, confidence=0.999, metric=fate, max_seeds=20, **BRIEF)
    finding = caught.value.finding
    assert len(finding.values) == 20
    assert finding.low < 0.6 < finding.high
    assert f"pass max_seeds={finding.needed}" in str(caught.value)
    more = assert_recovers(Sometimes(0.85), WORLD, in_fraction=0.6, confidence=0.999, metric=fate, **BRIEF)
    assert len(more.values) == 48
    assert more.values[:20] == finding.values  # going on is going on, not starting anew


def test_a_share_on_the_border_is_told_that_no_number_decides():
    with pytest.raises(Undecided, match="no number of seeds decides") as caught:
        assert_no_worse_than(
            Sometimes(0.0), Sometimes(0.5), WORLD, margin=0, confidence=0.95, metric=fate, max_seeds=6, **BRIEF
        )
    assert caught.value.finding.successes == 3  # the coin of seeds 0 to 5 falls so


def test_too_few_seeds_to_support_anything_are_refused_before_the_first_fit():
    with pytest.raises(ValueError, match="takes 138"):
        assert_recovers(FLOOR, WORLD, max_seeds=137)


def test_an_undefined_score_is_no_success():
    with pytest.raises(Refuted, match=r"0 of 7 seeds") as caught:
        assert_recovers(FLOOR, WORLD, at_least=-1e9, metric=undefined, **BRIEF)
    assert np.isnan(caught.value.finding.values).all()


def test_no_worse_than_is_paired():
    finding = assert_no_worse_than(FLOOR, FLOOR, WORLD, margin=0.0, **BRIEF)
    assert finding.values == (0.0,) * 21  # the fewest that support one half at 1 - 1e-6
    with pytest.raises(Refuted, match="at most") as caught:
        assert_no_worse_than(Sometimes(0.0), Sometimes(1.0), WORLD, margin=0.1, metric=fate, **BRIEF)
    assert caught.value.finding.values == (-1.0,) * 21
    allowed = assert_no_worse_than(
        Sometimes(0.0), Sometimes(1.0), WORLD, margin=1.0, confidence=0.95, metric=fate, **BRIEF
    )
    assert len(allowed.values) == 5


@dataclass(frozen=True)
class HalfDead:
    """The true axes, of which two are missing."""

    width: int = 4

    def fit(self, x, *, rng):
        return FittedDictionary(
            np.diag([1.0, 1.0, 0.0, 0.0]), np.zeros(4), OrthogonalMatchingPursuit(2), Status.CONVERGED
        )


def test_a_metric_of_which_smaller_is_better_is_turned_or_refused():
    brief = {"confidence": 0.95, "metric": "dead_fraction", **BRIEF}
    better = assert_no_worse_than(FLOOR, HalfDead(), WORLD, margin=0.0, **brief)
    assert set(better.values) == {0.5}
    with pytest.raises(Refuted, match=r"dead_fraction is at most 0\.1 above") as caught:
        assert_no_worse_than(HalfDead(), FLOOR, WORLD, margin=0.1, **brief)
    assert set(caught.value.finding.values) == {-0.5}
    with pytest.raises(ValueError, match="smaller is better"):
        assert_recovers(HalfDead(), WORLD, at_least=0.1, **brief)
    for name in ("l0", "shrinkage"):
        with pytest.raises(ValueError, match=f"of {name} neither"):
            assert_recovers(FLOOR, WORLD, metric=name, **BRIEF)
        with pytest.raises(ValueError, match=f"of {name} neither"):
            assert_no_worse_than(FLOOR, FLOOR, WORLD, margin=0.0, metric=name, **BRIEF)


class Axes:
    """An outside model: the axes as atoms, or the first of them over and over."""

    def __init__(self, atoms):
        self.atoms = atoms

    def encode(self, x):
        return x @ np.linalg.pinv(self.atoms)

    def decode(self, codes):
        return codes @ self.atoms

    def fit(self, x):
        return self


def axes(seed, width, dim):
    return Axes(np.eye(dim)[:width])


def one_axis(seed, width, dim):
    return Axes(np.repeat(np.eye(dim)[:1], width, axis=0))


def test_a_factory_of_outside_models_is_as_good_as_a_solver():
    with pytest.raises(Refuted) as caught:
        assert_no_worse_than(one_axis, axes, WORLD, margin=0.1, confidence=0.95, **BRIEF)
    values = caught.value.finding.values  # mcc of one direction of four against that of four
    first, second = map(float, run(re.search(r"Reproduce seed \d+: (.*)", str(caught.value)).group(1)).split())
    assert first - second == min(values) < max(values) < -0.1


def test_an_exception_of_a_fit_says_the_seed_and_how_to_see_it_again():
    @dataclass(frozen=True)
    class Local:
        width: int = 4

        def fit(self, x, *, rng):
            raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError) as caught:
        assert_recovers(Local(), WORLD, **BRIEF)
    assert "seed 0" in caught.value.__notes__[0]
    assert "cannot be imported" in caught.value.__notes__[0]


def test_a_world_without_a_ceiling_has_none():
    lossy = replace(WORLD, missing=Missing(0.5))
    with pytest.raises(Refuted, match=r"nan$(?m:)|nan\n"):
        assert_recovers(FLOOR, lossy, at_least=0.999, **BRIEF)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"solver": RandomDictionary}, "not a class"),
        ({"solver": 3}, "a solver has width"),
        ({"world": WORLD.build(np.random.default_rng(0))}, "must be a FeatureSpec"),
        ({"metric": "mmc"}, r"one of .*, mcc, .*; got 'mmc'"),
        ({"metric": "recovery"}, "or one of "),
        ({"metric": "Evaluation"}, r"or one of .*; got 'Evaluation'"),
        ({"metric": "match_rows"}, "or one of "),
        ({"metric": 3}, "named function"),
        ({"at_least": float("nan")}, "at_least"),
        ({"n_train": 0}, "n_train"),
        ({"in_fraction": 1.0}, "none ever fails"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_fit(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        assert_recovers(**{"solver": FLOOR, "world": WORLD, **change})


def test_a_program_rebuilds_what_it_was_given():
    noisy = FeatureSpec(
        np.int64(3),
        Bernoulli(GivenRates((0.1, np.float64(0.7), 1 / 3))),
        Orthonormal(),
        Uniform(0.5, 1e9),
        SignalToNoise(-3),
    )
    values = [
        FitCell(noisy, 3, 10, FLOOR, 5),
        (),
        (1,),
        [float("inf"), None, 'it\'s "so"'],
        Status.CONVERGED,
        support_f1,
        mcc,
    ]
    program, namespace = Program(), {}
    exec(shlex.split(program.command(f"out = {program.expression(values)}"))[2], namespace)
    assert namespace["out"] == values


def test_names_that_clash_are_told_apart():
    program = Program()
    program._names["FitCell"] = "elsewhere"
    assert program.expression(FitCell) == "sparsesim.study.cell.FitCell"
    program._names.clear()
    namespace = {}
    exec(shlex.split(program.command("out = sparsesim.study.cell.FitCell"))[2], namespace)
    assert namespace["out"] is FitCell


def test_the_folder_of_a_module_is_where_it_is_imported_from():
    for module in ("json", "json.decoder"):  # a package and a module in it
        assert (Path(_folder(module)) / "json" / "__init__.py").exists()
    with pytest.raises(TypeError, match="no file"):
        _folder("sys")


@pytest.mark.parametrize("value", [np.eye(2), object(), lambda: 0])
def test_what_has_no_source_is_refused(value):
    with pytest.raises(TypeError, match=r"is not made of|cannot be imported"):
        Program().expression(value)
