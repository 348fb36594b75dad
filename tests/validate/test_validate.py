"""`validate` takes everybody's model, leaves their random state alone, keeps what it computed, and tells failures."""

from __future__ import annotations

import math
import random
import re
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

import sparsesim as ss
import sparsesim.validate
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.study.run import CellsDone, Started
from sparsesim.testing import assert_recovers, check_solver
from sparsesim.validate import Arena, Outcome, Protocol, Validation, worlds
from sparsesim.validate.campaign import LABELS
from sparsesim.validate.outside import Outside, OutsideSolver, budget_name
from sparsesim.validate.validation import FRESH, _label

FLAT = Arena("flat", worlds.flat(8, 0.2), "Does it work?")
TREE = Arena("tree", worlds.tree(8, 2, 2, 1), "Is the parent absorbed?")
TINY = Protocol("tiny", 1, (FLAT,), ("topk",), 2, 2, 200, 100, 30, 32, shares=(1.0, 2.0))


class Plain(torch.nn.Module):
    """The least that a model can have."""

    def __init__(self, dim, width, k=2):
        super().__init__()
        self.k = k
        self.into, self.out = torch.nn.Linear(dim, width), torch.nn.Linear(width, dim)

    def encode(self, x):
        u = torch.relu(self.into(x))
        return torch.where(u >= u.topk(self.k, dim=-1).values[..., -1:], u, 0.0)

    def decode(self, z):
        return self.out(z)


class Penalised(Plain):
    def encode(self, x):
        return torch.relu(self.into(x))

    def penalty(self, codes):
        return 0.1 * codes.sum(-1)


class WithLosses(Penalised):
    def losses(self, x, step):
        codes = self.encode(x)
        return {
            "squared": (x - self.decode(codes)).square().sum(-1).mean(),
            "sparsity": 0.1 * step.progress * codes.sum(-1).mean(),
        }


class OneLoss(Penalised):
    def losses(self, x):
        return (x - self.decode(self.encode(x))).square().sum(-1).mean()


class WithOption(Penalised):
    def losses(self, x, weight=0.1):
        codes = self.encode(x)
        return {"all": (x - self.decode(codes)).square().sum(-1).mean() + weight * codes.sum(-1).mean()}


class Estimator:
    """Like one of scikit-learn, which draws from numpy's global state: rows as atoms, of which the nearest speaks."""

    def __init__(self, width):
        self.width = width

    def fit(self, x):
        rows = x[np.random.permutation(len(x))[: self.width]]  # noqa: NPY002 - as others' code does
        self.components_ = rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)
        return self

    def transform(self, x):
        cosine = x @ self.components_.T
        best = np.abs(cosine) >= np.abs(cosine).max(axis=1, keepdims=True)
        return np.where(best, cosine, 0.0)

    def inverse_transform(self, z):
        return z @ self.components_


def plain(seed, width, dim, k=1):
    return Plain(dim, width, k)


def estimator(seed, width, dim):
    return Estimator(width)


def solver(seed, width, dim, l0=1):
    return TopK(width, l0, training=Training(steps=30, batch_size=32))


def run(factory, fit=None, protocol=TINY, **named):
    return ss.validate(factory, fit, protocol, **{"workers": 1, "progress": False, **named})


def subject_rows(found):
    return found.table.where(solver="subject")


def test_the_package_is_the_function_too():
    assert ss.validate is sparsesim.validate is sys.modules["sparsesim.validate"]
    assert ss.validate.worlds is ss.worlds
    assert callable(ss.validate.validate)
    with pytest.raises(ValueError, match="quick@1, standard@1, full@1"):
        ss.validate(plain, protocol="quick@9")


@pytest.fixture(scope="module")
def validated():
    return run(plain, protocol=replace(TINY, arenas=(FLAT, TREE)), name="My <SAE>")


def test_a_validation_holds_what_was_found(validated):
    assert isinstance(validated, Validation)
    assert (validated.subject, validated.protocol) == ("My <SAE>", "tiny@1")
    assert list(validated.questions) == ["flat", "tree"]
    assert {(one.world, one.reference, one.metric) for one in validated.comparisons} == {
        (world, "topk", metric) for world in ("flat", "tree") for metric in ("mcc", "support_f1")
    }
    assert all(isinstance(one.outcome, Outcome) and one.difference.n == 2 for one in validated.comparisons)
    assert validated.failures == ()
    assert dict(validated.card)["model"].endswith("Plain")
    assert validated.command == "sparsesim.validate(plain, protocol='tiny@1', name='My <SAE>')"


def test_rows_of_subject_reference_and_bounds_stand_in_one_table(validated):
    flat = validated.table.where(world="flat")
    assert set(flat.values("solver")) == {"subject", "topk", "floor", "oracle", "genie"}
    assert flat.where(solver="subject").values("budget") == [2, 2, 4, 4]
    assert list(flat.columns)[: len(LABELS)] == list(LABELS)
    prints = {(row["seed"], round(float(row["fingerprint"]), 9)) for row in flat.rows()}
    assert len(prints) == 2  # one for each seed, whatever the solver: the rows are paired


def test_standings_have_floor_oracle_and_genie_and_leave_out_what_is_undefined(validated):
    found = {(one.world, one.metric): one for one in validated.standings}
    mcc = found["flat", "mcc"]
    assert max(mcc.floor.mean, mcc.score.mean) < mcc.genie.mean == pytest.approx(1.0, abs=1e-9)
    assert mcc.oracle.mean == pytest.approx(1.0, abs=1e-9)  # the true atoms, up to rounding
    assert ("tree", "absorption_gap") in found or ("tree", "absorption_score") in found
    assert ("flat", "absorption_gap") not in found  # undefined without a hierarchy
    assert {one.property for one in validated.causes if one.world == "tree"} >= {"coherence"}


def test_portraits_show_matched_atoms_on_the_diagonal(validated):
    one = next(portrait for portrait in validated.portraits if portrait.world == "flat")
    assert one.cosines.shape == (8, 8)
    matched = np.abs(np.diag(one.cosines))
    np.testing.assert_allclose(one.error[one.error < 1], 1 - matched[one.error < 1], atol=1e-12)  # rounding
    np.testing.assert_allclose(one.rate, 0.2)


def test_the_verdict_is_readable(validated):
    text = str(validated)
    for word in (
        "My <SAE>, by tiny@1",
        "way up",
        "topk",
        "undecided in",
        "confidence 95%",
        "Again: sparsesim.validate(",
        "flat",
        "tree",
    ):
        assert word in text


@pytest.mark.parametrize(
    "factory",
    [
        lambda seed, width, dim: Penalised(dim, width),
        lambda seed, width, dim: WithLosses(dim, width),
        lambda seed, width, dim: OneLoss(dim, width),
        lambda seed, width, dim: WithOption(dim, width),
        estimator,
        solver,
    ],
    ids=["penalty", "losses-step", "loss", "losses-option", "estimator", "solver"],
)
def test_every_kind_of_model_is_trained_and_the_global_random_states_are_left_alone(factory):
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    found = run(factory, references=["mp"])
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1], states[2]) == (np.random.get_state()[1].tolist(), random.getstate())  # noqa: NPY002
    assert found.failures == ()
    assert len(subject_rows(found)) == (4 if budget_name(factory) else 2)
    assert {one.reference for one in found.comparisons} == {"mp"}


def fitted(factory, fit=None, steps=200, seed=3, scale=1.0, offset=0.0):
    x = FLAT.world.build(ss.stream(0, ss.Role.TRUTH)).sample(600, ss.stream(0, ss.Role.TRAIN)).x
    x = scale * x + offset
    outside = OutsideSolver(Outside("test", factory, fit), 8, 2, steps, 64)
    return x, outside.adapted(x, rng=ss.stream(seed, ss.Role.SOLVER))


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (50.0, 300.0), (1e-3, 0.0)])
def test_our_loop_trains_on_data_of_any_scale_and_folds_it_back(scale, offset):
    made = []

    def factory(seed, width, dim, k):
        made.append(Plain(dim, width, k))
        torch.nn.init.constant_(made[0].out.bias, 1.0)
        return made[0]

    x, adapted = fitted(factory, scale=scale, offset=offset)
    rebuilt = adapted.fitted.decode(adapted.fitted.encode(x))
    mean, spread = x.mean(0), (x - x.mean(0)).std()
    with torch.no_grad():
        own = made[0].decode(made[0].encode(torch.as_tensor((x - mean) / spread, dtype=torch.float32))).numpy()
    # float32 of numbers up to 300, relative to a spread of 20 at the offset: 1e-5; a lost bias is of order 1.
    np.testing.assert_allclose((rebuilt - mean) / spread, own, atol=1e-3)
    # Two atoms of an orthonormal world with 1.6 active explain most; untrained, the error is above 0.9.
    assert np.square(x - rebuilt).sum() < 0.4 * np.square(x - x.mean(0)).sum()


def test_the_same_seed_gives_the_same_model_and_another_another():
    first, again, other = (fitted(plain, seed=seed, steps=20)[1].fitted.atoms for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_a_trainer_of_the_user_gets_model_stream_steps_and_seed():
    seen = {}

    def fit(model, stream, steps, seed):
        seen.update(steps=steps, seed=seed, batches=[next(stream) for _ in range(12)])
        return model

    x, adapted = fitted(lambda seed, width, dim: Plain(dim, width), fit, steps=7)
    assert seen["steps"] == 7
    assert isinstance(seen["seed"], int)
    rows = torch.cat(seen["batches"])
    assert seen["batches"][0].shape == (64, 8)
    assert rows.dtype == torch.float32
    # All rows come before any comes again: 9 batches of 64 are 576 of the 600, none more often than in x.
    there, here = (Counter(map(tuple, part.tolist())) for part in (x.astype(np.float32), rows[:576]))
    assert here <= there
    assert adapted.fitted.width == 8


def test_a_trainer_that_returns_nothing_is_told_so():
    with pytest.raises(TypeError, match="return model"):
        run(plain, lambda model, stream, steps, seed: None)


@pytest.mark.parametrize(
    ("factory", "word"),
    [
        (lambda seed, width: None, "seed, width, dim"),
        (3, "function of"),
        (lambda seed, width, dim: 7, "must return a torch module"),
    ],
)
def test_a_factory_that_makes_no_model_is_told_what_to_make(factory, word):
    with pytest.raises(TypeError, match=word):
        run(factory)


def test_the_budget_is_the_argument_k_or_l0():
    assert budget_name(lambda seed, width, dim: 0) == ""
    assert budget_name(lambda seed, width, n: 0) == ""
    assert budget_name(lambda seed, width, dim, k: 0) == "k"
    assert budget_name(lambda seed, width, dim, *, l0=3: 0) == "l0"
    assert budget_name(lambda *all_of_them, k=3: 0) == "k"


def swapped(dim, width, seed):
    return Plain(dim, width)


@pytest.mark.parametrize(
    ("factory", "remedy"),
    [
        (Plain, "lambda seed, width, dim, k: Plain(dim, width, k)"),
        (swapped, "lambda seed, width, dim: swapped(dim, width, seed)"),
        (lambda random_state, d_in, d_sae: 0, "takes dim where width is given and width where dim is given"),
        (lambda seed, width, k: 0, "takes k where dim is given"),
    ],
)
def test_arguments_that_stand_in_each_others_place_are_named_before_anything_is_made(factory, remedy):
    for action in (run, check_solver, lambda made: assert_recovers(made, FLAT.world)):
        with pytest.raises(TypeError, match=re.escape(remedy)):
            action(factory)


def wide_outside(seed, width, dim):
    return Plain(dim, 12 * width)


def wide_of_ours(seed, width, dim):
    return TopK(12 * width, 1, training=Training(steps=10**9))


def wide_module(seed, width, dim):
    return TopK(12 * width, 1).module(dim, ss.stream(0, ss.Role.MODEL_PROBE))


@pytest.mark.parametrize("factory", [wide_outside, wide_of_ours, wide_module])
def test_a_model_of_another_width_is_refused_before_it_is_trained(factory):
    for action in (run, lambda made: assert_recovers(made, FLAT.world)):
        with pytest.raises(ValueError, match="factory was asked for width 8, the model has 96"):
            action(factory)
    with pytest.raises(AssertionError, match=r"declared_width.* asked for width 12, the model has 144"):
        check_solver(factory)


def test_a_trainer_that_returns_another_width_is_refused():
    with pytest.raises(ValueError, match="asked for width 8, the model has 96"):
        run(plain, lambda model, stream, steps, seed: Plain(8, 96))


class ShortDecoder(Plain):
    def __init__(self, dim, width):
        super().__init__(dim, width)
        self.out = torch.nn.Linear(width - 1, dim)

    def losses(self, x):
        return self.into(x).square().mean()


class NaNDecoder(Plain):
    def decode(self, z):
        return super().decode(z) * math.nan


class NaNEncoder(Plain):
    def encode(self, x):
        return super().encode(x) * math.nan


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ShortDecoder, "decode of ShortDecoder must take codes"),
        (NaNDecoder, "decode of NaNDecoder returned NaN"),
        (NaNEncoder, "loss of NaNEncoder is NaN or infinite before any training"),
    ],
)
def test_the_training_loop_names_what_is_wrong_with_the_model(kind, words):
    with pytest.raises(ValueError, match=words):
        run(lambda seed, width, dim: kind(dim, width))


class Noisy(Plain):
    def encode(self, x):
        return super().encode(x) + torch.rand_like(x[:, :1])


class BatchDependent(Plain):
    def encode(self, x):
        return super().encode(x) * x.square().mean()


@pytest.mark.parametrize(("kind", "word"), [(Noisy, "random"), (BatchDependent, "other rows of the batch")])
def test_a_planted_bug_is_named_by_a_trial_before_anything_is_computed(kind, word, tmp_path):
    with pytest.raises(ValueError, match=word) as caught:
        run(lambda seed, width, dim: kind(dim, width), store=tmp_path)
    assert "trial of 20 steps" in caught.value.__notes__[-1]
    assert not list(tmp_path.iterdir())


class Fragile(Plain):
    def decode(self, z):
        if self.k == 3:
            raise ArithmeticError("three is too many")
        return super().decode(z)


def test_cells_that_fail_are_told_and_the_others_go_on():
    found = run(lambda seed, width, dim, k: Fragile(dim, width, k), protocol=replace(TINY, shares=(0.5, 1.0, 1.5)))
    failed = [line for line in found.failures if "ArithmeticError: three is too many" in line]
    budgets = set(subject_rows(found).values("budget"))
    assert len(failed) == len(found.failures) > 0
    assert 3 not in budgets
    assert budgets
    assert "failed" in str(found)


def test_a_model_that_always_fails_is_an_error():
    def factory(seed, width, dim):
        def fit(self, x, calls=[]):  # noqa: B006 - the trial, which comes first, succeeds
            calls.append(1)
            if len(calls) > 1:
                raise ArithmeticError("never again")
            return Estimator.fit(self, x)

        return type("Once", (Estimator,), {"fit": fit})(width)

    def fit(model, stream, steps, seed):
        if steps > 20:
            raise ArithmeticError("never again")
        return model.fit(next(stream))

    with pytest.raises(RuntimeError, match="never again"):
        run(factory, fit)


def starts(events):
    return [(one.done, one.total) for one in events if isinstance(one, Started)]


def test_an_interrupted_run_goes_on_where_it_was_and_other_code_starts_again(tmp_path):
    def stop(event):
        if isinstance(event, CellsDone) and event.done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plain, store=tmp_path, progress=stop)
    events = []
    whole = run(plain, store=tmp_path, progress=events.append)
    done, total = starts(events)[0]
    assert 3 <= done < total
    events.clear()
    again = run(plain, store=tmp_path, progress=events.append)
    assert starts(events) == [(total, total)]
    assert again.table == whole.table
    assert again.comparisons == whole.comparisons
    assert again.portraits[0].cosines.tolist() == whole.portraits[0].cosines.tolist()
    events.clear()
    run(lambda seed, width, dim, k=1: Plain(dim, width, k), store=tmp_path, progress=events.append)
    assert starts(events) == [(total - 4, total)]  # the four cells of the subject


def test_rows_of_code_without_an_identity_are_never_found_again_and_the_reason_is_given(tmp_path):
    def factory(seed, width, dim):
        open  # noqa: B018 - a name by which it could read anything
        return Plain(dim, width)

    events = []
    for _ in range(2):
        found = run(factory, store=tmp_path, progress=events.append)
    assert "'open'" in found.provenance["code of the subject"]
    (none, total), (references, same) = starts(events)
    assert (none, same) == (0, total)
    assert references == total - 2  # the subject has one cell a seed


def test_a_changed_protocol_does_not_pass_for_the_published_one():
    quick = ss.validate.PROTOCOLS["quick@1"]
    assert _label(replace(quick, references=("mp",), least=2, most=3)) == "quick@1"
    assert _label(replace(quick, arenas=quick.arenas[:1])) == "quick@1 (changed)"
    assert _label(TINY) == "tiny@1"


def test_fresh_seeds_are_apart_recorded_and_can_be_asked_for_again():
    found = run(plain, fresh=5, seeds=2)
    assert min(found.table.values("seed")) == FRESH + 5 * 1024 == found.provenance["first seed"]
    assert found.provenance["fresh"] is True
    assert found.command.endswith("seeds=2, fresh=5)")
    drawn = run(plain, fresh=True)
    assert drawn.provenance["first seed"] >= FRESH
    assert min(subject_rows(drawn).values("seed")) == drawn.provenance["first seed"]


def test_seeds_are_added_where_the_interval_is_wide_and_nowhere_else():
    wide = run(plain, protocol=replace(TINY, most=4, margin=1e-6), references=["topk"])
    assert sorted(set(subject_rows(wide).values("seed"))) == [0, 1, 2, 3]
    narrow = run(plain, protocol=replace(TINY, most=4, margin=1e6), references=["topk"])
    assert sorted(set(subject_rows(narrow).values("seed"))) == [0, 1]
    assert {one.outcome for one in narrow.comparisons} == {Outcome.SAME}
    assert (narrow.confidence, narrow.looks) == (0.95, (2, 4))
    assert {one.difference.confidence for one in narrow.comparisons} == {1 - (1 - 0.95) / 4}  # 2 comparisons, 2 looks


def test_seeds_that_fail_are_not_waited_for():
    bad = {int(ss.stream(seed, ss.Role.SOLVER, 1).integers(2**31)) for seed in (1, 3)}

    def factory(seed, width, dim):
        if seed in bad:
            raise ArithmeticError(f"seed {seed} is unlucky")
        return Plain(dim, width)

    found = run(factory, protocol=replace(TINY, least=3, most=4, margin=1e-6))
    assert sorted(set(subject_rows(found).values("seed"))) == [0, 2]
    assert len(found.failures) == 2


class Dead(Plain):
    def encode(self, x):
        return super().encode(x) * 0.0


def test_a_dead_subject_is_worse_and_a_comparison_that_cannot_be_made_is_a_failure():
    found = run(lambda seed, width, dim: Dead(dim, width), protocol=replace(TINY, least=3, most=3))
    assert [(one.inside, one.difference.n) for one in found.comparisons] == [(False, 3)] * 2
    f1 = next(one for one in found.comparisons if one.metric == "support_f1")
    assert f1.difference.mean < -0.2  # topk finds some of the support in 30 steps, nothing finds nothing
    assert f1.l0 == 0.0
    seed_of_one = int(ss.stream(1, ss.Role.SOLVER, 1).integers(2**31))

    def unlucky(seed, width, dim):
        if seed == seed_of_one:
            raise ArithmeticError("unlucky")
        return Plain(dim, width)

    lost = run(unlucky, protocol=replace(TINY, compared=("mcc",)))
    assert lost.comparisons == ()
    assert "not compared with topk by mcc" in lost.failures[1]
    assert "in 1 of 2" in lost.failures[1]
    assert "NO COMPARISON" in lost.failures[2]
    assert "NO COMPARISON" in str(lost)


@pytest.mark.parametrize("metric", ["shrinkage", "l0", "nonsense"])
def test_a_metric_without_a_better_side_is_not_compared(metric):
    with pytest.raises(ValueError, match=f"compared must be among mcc.*'{metric}'"):
        replace(TINY, compared=("mcc", metric))


@pytest.mark.parametrize(
    ("named", "word"),
    [
        ({"references": "topk"}, "list of names"),
        ({"references": ["adam"]}, "among topk"),
        ({"seeds": 1}, "seeds"),
        ({"fresh": -1}, "fresh"),
        ({"workers": 0}, "workers"),
    ],
)
def test_bad_arguments_are_named(named, word):
    with pytest.raises(ValueError, match=word):
        run(plain, **named)


@pytest.mark.slow
def test_two_processes_find_what_one_finds_also_for_code_they_cannot_import(tmp_path, monkeypatch):
    import importlib.util

    path = tmp_path / "model_of_somebody.py"
    path.write_text(
        "import torch\nclass Model(torch.nn.Module):\n"
        "    def __init__(self, dim, width):\n        super().__init__()\n"
        "        self.a, self.b = torch.nn.Linear(dim, width), torch.nn.Linear(width, dim)\n"
        "    def encode(self, x):\n        return torch.relu(self.a(x))\n"
        "    def decode(self, z):\n        return self.b(z)\n"
        "def factory(seed, width, dim):\n    return Model(dim, width)\n"
    )
    spec = importlib.util.spec_from_file_location("model_of_somebody", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "model_of_somebody", module)
    spec.loader.exec_module(module)
    one, two = (run(module.factory, workers=workers) for workers in (1, 2))
    assert two.failures == ()
    assert one.table == two.table


@pytest.mark.slow
def test_the_same_variant_twice_is_no_difference_and_a_crippled_one_is_found():
    def twin(seed, width, dim, k):
        return TopK(width, k, training=Training(steps=500, batch_size=256))

    def crippled(seed, width, dim, k):
        return TopK(width, k, training=Training(steps=25, batch_size=256))

    arenas = tuple(arena for arena in ss.validate.PROTOCOLS["quick@1"].arenas if arena.name in ("flat", "superposed"))
    protocol = replace(ss.validate.PROTOCOLS["quick@1"], arenas=arenas)
    same = run(twin, protocol=protocol, references=["topk"], workers=None)
    assert {one.outcome for one in same.comparisons} <= {Outcome.SAME, Outcome.UNDECIDED}
    worse = run(crippled, protocol=protocol, references=["topk"], workers=None)
    large = [one for one in worse.comparisons if abs(one.difference.mean) > one.detectable + protocol.margin]
    assert large
    assert {one.outcome for one in large} == {Outcome.WORSE}
