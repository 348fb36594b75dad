"""Cells trained together give what they give alone, up to rounding; and a row says which it is."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace

import numpy as np
import pytest

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.magnitude import HalfNormal
from sparsesim.generators.segments import Segments
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.metrics.reconstruction import fvu
from sparsesim.metrics.recovery import mcc
from sparsesim.solvers.baselines import RandomDictionary
from sparsesim.solvers.neural.ensemble import Bagging
from sparsesim.solvers.neural.ivae import IdentifiableVAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit
from sparsesim.study import FitCell, Grouped, Store, Study, StudyFailedError, grouped, labels, run, study_keys, table

WORLD = FeatureSpec(8, ExactlyK(12, 2), RandomSphere(), HalfNormal(1.0))
TRAINING = Training(steps=60, batch_size=32)


def cell(solver, seed=0, **more):
    return FitCell(**{"world": WORLD, "seed": seed, "n_test": 50, "solver": solver, "n_train": 200, **more})


def sweep():
    """Return a study of 4 seeds x 3 penalties x 2 rates of one kind, with others between."""
    cells = {}
    for seed in range(4):
        for penalty in (0.5, 1.0, 2.0):
            for rate in (1e-3, 5e-3):
                solver = ReLUL1(12, penalty, training=replace(TRAINING, learning_rate=rate))
                cells[labels(solver="l1", penalty=penalty, rate=rate, seed=seed)] = cell(solver, seed)
        for k in (2, 3):
            cells[labels(solver="topk", penalty=k, rate=0.0, seed=seed)] = cell(TopK(12, k, training=TRAINING), seed)
        floor = RandomDictionary(12, OrthogonalMatchingPursuit(2))
        cells[labels(solver="random", penalty=0.0, rate=0.0, seed=seed)] = cell(floor, seed)
    return Study("sweep", "?", cells, (fvu, mcc))


def test_grouped_rows_equal_separate_ones_to_rounding_and_stand_under_other_keys(tmp_path):
    study, store = sweep(), Store(tmp_path)
    together = grouped(study, 8)
    alone, rows = run(study, store, engine="inline"), run(together, store, engine="inline")
    for name in ("fvu", "mcc"):
        # 60 steps in float32: relative errors of 6e-8 grow by the conditioning of training, which is mild here.
        np.testing.assert_allclose(rows.column(name), alone.column(name), rtol=2e-4)
    own = {label for label, one in together.cells.items() if not isinstance(one, Grouped)}
    keys, other = study_keys(study), study_keys(together)
    assert own == {label for label in study.cells if label[0][1] == "random"}
    assert {label for label in keys if keys[label] == other[label]} == own
    new = set(other.values()) - set(keys.values())
    said = [one.provenance["grouped"] for one in store.tail().new() if one.key in new]
    assert said == [8] * 24 + [8] * 8  # 24 of one kind; 8 that differ in the seed and in k
    assert table(study, store) == alone and table(together, store) == rows  # both in one store, and no conflict


def test_a_grouped_row_is_a_function_of_its_key_whoever_is_missing(tmp_path):
    together = grouped(sweep(), 6)
    whole = run(together, tmp_path / "s", engine="inline")
    some = {label: one for index, (label, one) in enumerate(together.cells.items()) if index % 5 == 0}
    run(replace(together, cells=some), tmp_path / "t", engine="inline")
    assert run(together, tmp_path / "t", engine="inline") == whole  # bit for bit


def test_cells_evaluate_alone_to_what_the_runner_gives_them_together():
    (first, second) = grouped(Study("s", "?", dict(list(sweep().cells.items())[:2]), (fvu,)), 2).cells.values()
    both, count = first.together()
    assert count == 2 and isinstance(second.evaluate(), Evaluation)
    assert fvu(second.evaluate()) == fvu(both[1])


@pytest.mark.parametrize(
    "other",
    [
        cell(ReLUL1(13, 1.0, training=TRAINING)),  # another width
        cell(ReLUL1(12, 1.0, training=replace(TRAINING, steps=61))),
        cell(ReLUL1(12, 1.0, training=TRAINING), n_train=201),
        cell(ReLUL1(12, 1.0, training=TRAINING), world=replace(WORLD, dim=9)),
        cell(TopK(12, 2, training=TRAINING)),
        cell(Bagging(TopK(6, 1, training=TRAINING), 2)),
    ],
)
def test_cells_of_another_shape_are_not_put_into_a_group(other):
    first = cell(ReLUL1(12, 1.0, training=TRAINING))
    study = Study("s", "?", {labels(a=0): first, labels(a=1): other, labels(a=2): replace(first, seed=3)}, (fvu,))
    cells = list(grouped(study, 8).cells.values())
    assert cells[1] == other
    assert cells[0] == Grouped((first, replace(first, seed=3)), 0) and cells[2].index == 1


def test_cells_added_at_the_end_leave_full_groups_as_they_are():
    study = sweep()
    part = replace(study, cells=dict(list(study.cells.items())[:18]))  # two of four seeds
    before, after = (set(study_keys(grouped(one, 4)).values()) for one in (part, study))
    assert len(before & after) >= 18 - 3 * 3  # at most the last group of each of three kinds


def test_models_that_do_not_stack_are_trained_one_by_one_and_say_so(tmp_path):
    pair = (cell(TopK(12, 2, training=TRAINING)), cell(TopK(13, 2, training=TRAINING)))
    study = Study("s", "?", {labels(a=index): Grouped(pair, index) for index in range(2)}, (fvu,))
    found = run(study, tmp_path, engine="inline")
    assert [one.provenance["grouped"] for one in Store(tmp_path).tail().new()] == [1, 1]
    assert found.values("fvu") == [fvu(one.evaluate()) for one in pair]  # bit for bit


def test_a_group_of_one_and_an_index_outside_are_refused():
    with pytest.raises(ValueError, match="size"):
        grouped(sweep(), 1)
    with pytest.raises(ValueError, match="index"):
        Grouped((cell(TopK(12, 2, training=TRAINING)),), 1)


def test_the_key_of_a_grouped_cell_is_that_of_its_group_and_place_and_of_nothing_else():
    together = grouped(sweep(), 8)
    keys = study_keys(together)
    copies = {label: pickle.loads(pickle.dumps(one)) for label, one in together.cells.items()}  # no tuple is shared
    assert study_keys(replace(together, cells=copies)) == keys
    changed = {
        label: replace(one, group=(replace(one.group[0], seed=99), *one.group[1:])) if isinstance(one, Grouped) else one
        for label, one in together.cells.items()
    }
    other = study_keys(replace(together, cells=changed))
    assert {label for label in keys if keys[label] == other[label]} == {
        label for label, one in together.cells.items() if not isinstance(one, Grouped)
    }
    assert len(set(keys.values())) == len(keys)


def test_a_member_that_diverges_changes_no_bit_of_the_others(tmp_path):
    def trained(rate):
        rates = (1e-3, rate, 1e-3)
        solvers = [ReLUL1(12, 1.0, training=replace(TRAINING, learning_rate=each)) for each in rates]
        cells = {labels(seed=seed): cell(solver, seed) for seed, solver in enumerate(solvers)}
        return run(grouped(Study("s", "?", cells, (fvu, mcc)), 3), tmp_path, engine="inline")

    sound, broken = trained(1e-3), trained(1e30)
    assert broken.values("status") == ["budget_spent", "diverged", "budget_spent"]
    assert all(sound.where(seed=seed) == broken.where(seed=seed) for seed in (0, 2))


@dataclass(frozen=True)
class Rarely(RandomSphere):
    """A geometry that is not found under every seed."""

    def atoms(self, m, d, rng):
        found = super().atoms(m, d, rng)
        if found[0, 0] > 0:
            raise ArithmeticError("no such frame was found")
        return found


def test_a_member_without_a_world_fails_alone_and_changes_the_rest_by_rounding_only(tmp_path):
    world = replace(WORLD, geometry=Rarely())
    cells = {labels(seed=seed): cell(TopK(12, 2, training=TRAINING), seed, world=world) for seed in range(6)}
    study = Study("s", "?", cells, (fvu, mcc))
    tables = []
    for number, one in enumerate((study, grouped(study, 6))):
        with pytest.raises(StudyFailedError, match="4 of 6 cells"):
            run(one, tmp_path / str(number), engine="inline")
        tables.append(table(one, Store(tmp_path / str(number))))
        failures = [entry for entry in Store(tmp_path / str(number)).tail().new() if entry.kind == "failure"]
        assert len(failures) == 4 and all("no such frame was found" in str(entry) for entry in failures)
    alone, together = tables
    assert alone.values("seed") == together.values("seed") and len(alone) == 2
    np.testing.assert_allclose(together.column("fvu"), alone.column("fvu"), rtol=2e-4)  # as above
    sound = grouped(study, 6).cells[labels(seed=alone.values("seed")[0])]
    assert fvu(sound.evaluate()) == together.values("fvu")[0]
    missing = next(seed for seed in range(6) if seed not in alone.values("seed"))
    with pytest.raises(ArithmeticError, match="no such frame"):
        grouped(study, 6).cells[labels(seed=missing)].evaluate()


def test_cells_of_a_solver_that_is_shown_labels_are_trained_by_themselves(tmp_path):
    world = replace(WORLD, segments=Segments(3))
    solver = IdentifiableVAE(4, segments=3, training=TRAINING)
    study = Study("s", "?", {labels(seed=seed): cell(solver, seed, world=world) for seed in range(2)}, (fvu,))
    assert not any(isinstance(one, Grouped) for one in grouped(study, 2).cells.values())
    assert len(run(grouped(study, 2), tmp_path, engine="inline")) == 2


def test_a_handmade_group_of_other_trainings_is_trained_one_by_one():
    pair = tuple(cell(TopK(12, 2, training=replace(TRAINING, steps=steps))) for steps in (20, 30))
    found, together = Grouped(pair, 0).together()
    assert together == 1 and [fvu(one) for one in found] == [fvu(one.evaluate()) for one in pair]
