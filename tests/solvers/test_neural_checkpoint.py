"""A training that is killed and goes on gives the bits of the undisturbed one; what cannot go on is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import sparsesim.generators as generators
import sparsesim.solvers.neural.checkpoint as files
from sparsesim._identity import fork, pass_over
from sparsesim._source import Rows, SideRows, Skipping, batches_after
from sparsesim.solvers.base import Status
from sparsesim.solvers.neural.ard import ARDVAE
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.checkpoint import LOCK, STATE, Checkpoint, Keeper
from sparsesim.solvers.neural.ensemble import Bagging, Boosting, Leftover
from sparsesim.solvers.neural.feature_choice import FeatureChoice
from sparsesim.solvers.neural.group_bias import GroupBias
from sparsesim.solvers.neural.ivae import IdentifiableVAE
from sparsesim.solvers.neural.jump_relu import JumpReLU
from sparsesim.solvers.neural.matryoshka import Matryoshka, RandomPrefixes
from sparsesim.solvers.neural.module import SparseModule
from sparsesim.solvers.neural.mp import MatchingPursuitSAE
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.resampling import Resampling
from sparsesim.solvers.neural.solver import NeuralSolver
from sparsesim.solvers.neural.topk import TopK, TopKModule
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.watch import Watch

# 33 samples of 6 float32 numbers are no multiple of a cache line: batches lie differently in the chunk they come in.
TRAINING = Training(steps=130, batch_size=33, learning_rate=3e-3, grad_clip=5.0, weight_decay=1e-3)
SOLVERS = [
    TopK(24, 1, dead_after=10, training=TRAINING),
    BatchTopK(12, 2.5, training=TRAINING),
    JumpReLU(12, training=TRAINING),
    Matryoshka(12, 3, prefixes=RandomPrefixes(3), training=TRAINING),
    GaussianVAE(5, hidden=7, training=TRAINING),
    MatchingPursuitSAE(12, 3, training=TRAINING),
    ReLUL1(12, training=TRAINING, resampling=Resampling(every=35)),
    GroupBias(12, 3, every=15, training=TRAINING),
    FeatureChoice(12, 3, mutual=0.5, training=TRAINING),
    ARDVAE(6, refresh=15, training=TRAINING),
]


class KilledError(BaseException):
    """Stands for a kill: nobody catches it."""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(seed: int = 0, n: int = 300, d: int = 6, m: int = 9) -> np.ndarray:
    r = rng(seed)
    atoms = r.standard_normal((m, d))
    return ((r.random((n, m)) < 0.2) * r.uniform(0.5, 1.5, (n, m))) @ atoms + 0.01 * r.standard_normal((n, d)) + 0.3


class Fresh:
    """A source that never repeats a sample, and of which nothing can be passed over."""

    dim = 6

    def batches(self, size, rng):
        while True:
            yield (0.3 + rng.laplace(size=(size, 6)) * np.arange(1, 7)).astype(np.float32)


def assert_same_bits(one, other):
    x = samples(9)
    for left, right in ((one.atoms, other.atoms), (one.bias, other.bias)):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(one.encode(x).toarray(), other.encode(x).toarray())
    assert one.status is other.status and one.trace == other.trace


def killed(monkeypatch, step: int, run) -> None:
    """Kill ``run`` in the middle of ``step``, after the weights were moved."""
    look = Watch.look

    def dying(self, index, terms):
        if index == step:
            raise KilledError
        return look(self, index, terms)

    with monkeypatch.context() as patch:
        patch.setattr(Watch, "look", dying)
        with pytest.raises(KilledError):
            run()


def survives(monkeypatch, fit, whole, folder, kills=(73, 100)) -> None:
    """Check that ``fit(checkpoint)`` comes to ``whole`` after ``kills`` at these steps; below 50 nothing is saved."""
    checkpoint = Checkpoint(folder, every=1)
    for step in kills:
        killed(monkeypatch, step, lambda: fit(checkpoint))
    done = fit(checkpoint)
    for one, other in zip(done, whole, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize(
    ("source", "kills"), [(Rows(samples()), (30, 73, 129)), (Fresh(), (100,))], ids=["rows", "stream"]
)
def test_a_killed_training_goes_on_with_the_bits_of_the_undisturbed_one(solver, source, kills, monkeypatch, tmp_path):
    whole = solver.fit_stream(source, rng=rng(5))
    survives(monkeypatch, lambda c: [solver.fit_stream(source, rng=rng(5), checkpoint=c)], [whole], tmp_path, kills)
    facts = json.loads(np.load(tmp_path / STATE)["facts"].tobytes())
    assert facts["step"] == TRAINING.steps


def test_the_states_that_a_solver_holds_outside_its_tensors_were_at_stake():
    # With fewer the tests above would pass without saving them.
    fitted = SOLVERS[0].fit(samples(), rng=rng(5))
    step, aux = np.array(fitted.trace["step"]), np.array(fitted.trace["aux"])
    assert aux[(step > 50) & (step < 60)].max() > 0  # some latents were known as dead at the first save
    assert 50 % SOLVERS[7].every and 100 % SOLVERS[7].every  # a count of batches was under way
    assert 50 % SOLVERS[6].resampling.every and 100 % SOLVERS[6].resampling.every


def test_an_ensemble_of_which_one_diverges_goes_on_too(monkeypatch, tmp_path):
    solver = TopK(12, 3, training=dataclasses.replace(TRAINING, normalise=False))
    sources = [Rows(samples(1)), Rows(samples(2) * 1e25), Rows(samples(3))]

    def fit(checkpoint):
        return solver.fit_ensemble(sources, [rng(e) for e in range(3)], checkpoint)

    whole = fit(None)
    assert [f.status for f in whole] == [Status.BUDGET_SPENT, Status.DIVERGED, Status.BUDGET_SPENT]
    survives(monkeypatch, fit, whole, tmp_path)


def test_a_training_that_diverged_or_is_done_is_read_back_without_a_step(monkeypatch, tmp_path):
    for name, rate, status in (("done", 3e-3, Status.BUDGET_SPENT), ("lost", 1e25, Status.DIVERGED)):
        solver = ReLUL1(12, training=dataclasses.replace(TRAINING, learning_rate=rate))
        whole = solver.fit(samples(), rng=rng(1), checkpoint=Checkpoint(tmp_path / name))
        assert whole.status is status
        with monkeypatch.context() as patch:
            patch.setattr(Watch, "look", None)
            assert_same_bits(solver.fit(samples(), rng=rng(1), checkpoint=Checkpoint(tmp_path / name)), whole)


def test_side_information_is_seen_beside_the_same_samples_again(monkeypatch, tmp_path):
    solver = IdentifiableVAE(5, segments=3, training=TRAINING)
    source = SideRows(samples(), rng(3).integers(0, 3, (300, 1)).astype(float))
    whole = solver.fit_stream(source, rng=rng(2)).with_side(np.zeros((300, 1)))

    def fit(checkpoint):
        found = solver.fit_with_side(source.x, source.side, rng=rng(2), checkpoint=checkpoint)
        return [found.with_side(np.zeros((300, 1)))]

    survives(monkeypatch, fit, [whole], tmp_path, kills=(73,))


@pytest.mark.parametrize("kind", [Bagging, Boosting])
def test_several_autoencoders_as_one_go_on_where_they_were(kind, monkeypatch, tmp_path):
    solver = kind(TopK(6, 2, training=TRAINING), 2)
    whole = solver.fit(samples(), rng=rng(4))
    checkpoint = Checkpoint(tmp_path, every=1)
    killed(monkeypatch, 73, lambda: solver.fit(samples(), rng=rng(4), checkpoint=checkpoint))
    assert_same_bits(solver.fit(samples(), rng=rng(4), checkpoint=checkpoint), whole)


@pytest.mark.slow
def test_every_solver_of_the_package_goes_on_with_the_same_bits(monkeypatch, tmp_path):
    from test_conformance import SOLVERS as known

    neural = [solver for solver in known if isinstance(solver, NeuralSolver)]
    assert len(neural) > 50
    x = samples(n=200, d=8)
    for number, longer in enumerate(map(lengthened, neural)):
        whole = longer.fit(x, rng=rng(5))
        checkpoint = Checkpoint(tmp_path / str(number), every=1)
        for step in (60, 121):
            killed(monkeypatch, step, lambda: longer.fit(x, rng=rng(5), checkpoint=checkpoint))  # noqa: B023
        done = longer.fit(x, rng=rng(5), checkpoint=checkpoint)
        np.testing.assert_array_equal(done.atoms, whole.atoms, err_msg=repr(longer))
        assert done.trace == whole.trace, longer


def lengthened(solver):
    """The solver, or the one inside it, with trainings of 130 steps of batches that are no multiple of a line."""
    changed = {}
    for each in dataclasses.fields(solver):
        value = getattr(solver, each.name)
        if each.init and isinstance(value, Training):
            changed[each.name] = dataclasses.replace(value, steps=130, batch_size=33)
        elif each.init and isinstance(value, NeuralSolver):
            changed[each.name] = lengthened(value)
    return dataclasses.replace(solver, **changed)


CHILD = """
import os, signal, sys
import numpy as np
import sparsesim._files as files
from sparsesim.solvers.neural import BatchTopK, Checkpoint, Training

folder, lives = sys.argv[1], int(sys.argv[2])
replace, saves = os.replace, []
def dying(draft, target):
    saves.append(target)
    if len(saves) > lives:
        os.kill(os.getpid(), signal.SIGKILL)  # the new file is written, the former one still stands
    replace(draft, target)
files.os.replace = dying
x = np.random.default_rng(0).laplace(size=(300, 6))
solver = BatchTopK(12, 2.5, training=Training(steps=330, batch_size=33))
fitted = solver.fit(x, rng=np.random.default_rng(1), checkpoint=Checkpoint(folder, every=1))
np.savez(os.path.join(folder, "fit.npz"), atoms=fitted.atoms, bias=fitted.bias, loss=fitted.trace["loss"])
"""


def test_a_process_killed_by_the_system_while_it_saves_leaves_the_former_state_whole(tmp_path):
    def child(lives: int) -> int:
        done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), str(lives)], capture_output=True, text=True)
        assert done.returncode in (0, -9), done.stderr
        return done.returncode

    assert child(3) == -9
    assert json.loads(np.load(tmp_path / STATE)["facts"].tobytes())["step"] == 150
    assert len(list(tmp_path.glob(f".{STATE}.*"))) == 1  # the torn draft
    assert child(100) == 0
    assert {path.name for path in tmp_path.iterdir()} == {STATE, LOCK, "fit.npz"}
    solver = BatchTopK(12, 2.5, training=Training(steps=330, batch_size=33))
    whole = solver.fit(rng(0).laplace(size=(300, 6)), rng=rng(1))
    found = np.load(tmp_path / "fit.npz")
    np.testing.assert_array_equal(found["atoms"], whole.atoms)
    np.testing.assert_array_equal(found["bias"], whole.bias)
    assert tuple(found["loss"]) == whole.trace["loss"]


def test_it_saves_as_often_as_it_is_told_and_at_the_end(monkeypatch, tmp_path):
    saved = []
    save = Keeper.save
    monkeypatch.setattr(Keeper, "save", lambda self, step, *rest: (saved.append(step), save(self, step, *rest)))
    solver = TopK(12, 3, training=dataclasses.replace(TRAINING, steps=370))
    solver.fit(samples(), rng=rng(), checkpoint=Checkpoint(tmp_path / "a", every=110))
    assert saved == [150, 300, 370]  # the looks are at multiples of 50
    saved.clear()
    solver.fit(samples(), rng=rng(), checkpoint=Checkpoint(tmp_path / "b", every=10**9))
    assert saved == [370]


def fitted_in(folder, solver=SOLVERS[1], x=None, seed=5):
    return solver.fit(samples() if x is None else x, rng=rng(seed), checkpoint=Checkpoint(folder))


def test_a_checkpoint_of_another_training_is_refused_and_the_message_says_what_differs(monkeypatch, tmp_path):
    fitted_in(tmp_path)
    before = (tmp_path / STATE).read_bytes()
    other = samples()
    other[:, 0] += np.where(np.arange(300) % 2, 1e-3, -1e-3)
    for name, change in (
        ("solver", {"solver": BatchTopK(12, 2, training=TRAINING)}),
        ("solver", {"solver": dataclasses.replace(SOLVERS[1], training=dataclasses.replace(TRAINING, steps=131))}),
        ("rng", {"seed": 6}),
        ("data", {"x": other}),
    ):
        with pytest.raises(ValueError, match=f"is of another {name}: .*delete this one"):
            fitted_in(tmp_path, **change)
    plain = BatchTopK(12, 2.5, training=dataclasses.replace(TRAINING, steps=1, normalise=False))
    fitted_in(tmp_path / "plain", plain)
    for row in range(0, 300, 50):  # the first batch has 33 rows, and nothing is normalised
        other = samples()
        other[row] += 1.0
        with pytest.raises(ValueError, match=r"is of another data: .*delete this one"):
            fitted_in(tmp_path / "plain", plain, other)
    with monkeypatch.context() as patch:
        patch.setattr(files, "_version", lambda name: "0.0")
        with pytest.raises(ValueError, match="of another version of sparsesim"):
            fitted_in(tmp_path)
    assert (tmp_path / STATE).read_bytes() == before


def test_a_torn_or_changed_file_is_refused(tmp_path):
    fitted_in(tmp_path)
    path = tmp_path / STATE
    content = path.read_bytes()
    middle = content.index(b"arrays/adam/mean.npy") + 400  # within the numbers
    flipped = bytearray(content)
    flipped[middle] ^= 1
    for broken in (content[: len(content) // 2], content[:-1], b"", b"hello", bytes(flipped)):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=rf"{re.escape(str(path))} is cut off or damaged .*start again"):
            fitted_in(tmp_path)
    path.write_bytes(content)
    fitted_in(tmp_path)


def test_wherever_one_bit_is_wrong_the_state_is_refused_or_as_it_was(tmp_path):
    # Bits of dates and versions in the directory of the archive decide nothing; any other is seen.
    TopK(2, 1, training=Training(steps=1, batch_size=2)).fit(samples(d=2), rng=rng(), checkpoint=Checkpoint(tmp_path))
    path = tmp_path / STATE
    content, identity = path.read_bytes(), json.loads(np.load(path)["facts"].tobytes())["identity"]
    keeper = Keeper(Checkpoint(tmp_path), {})
    keeper.identity = identity
    arrays, facts = keeper.load()
    directory = content.index(b"PK\x01\x02")
    header = content.index(b"arrays/adam/mean.npy")
    for place in [*range(directory, len(content)), *range(header, header + 160)]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        try:
            found, said = keeper.load()
        except ValueError as error:
            assert "is cut off or damaged" in str(error)
        else:
            assert said == facts and found.keys() == arrays.keys()
            for name, array in arrays.items():
                np.testing.assert_array_equal(found[name], array)


def test_what_cannot_be_opened_is_not_called_damaged(tmp_path):
    (tmp_path / STATE).mkdir()
    with pytest.raises(OSError, match=STATE):
        fitted_in(tmp_path)


def test_one_folder_is_for_one_training_at_a_time_and_arguments_are_checked(tmp_path):
    keeper = Keeper(Checkpoint(tmp_path), {})
    with keeper.alone(), pytest.raises(RuntimeError, match="another training is saving its state in"):
        fitted_in(tmp_path)
    fitted_in(tmp_path)
    with pytest.raises(TypeError, match="folder must be a path"):
        Checkpoint(3)
    with pytest.raises(ValueError, match="every must lie in"):
        Checkpoint(tmp_path, every=0)
    with pytest.raises(TypeError, match="rng must be a numpy Generator"):
        SOLVERS[0].fit(samples(), rng=0, checkpoint=Checkpoint(tmp_path))
    with pytest.raises(TypeError, match="checkpoint must be a Checkpoint"):
        SOLVERS[0].fit(samples(), rng=rng(), checkpoint=str(tmp_path))


class Counter:
    """Something that is not looked into."""


def replaced(module):
    module.seen = Counter()


CHANGES = {
    "another object": (Counter(), replaced),
    "a list in place": ([0], lambda module: module.seen.append(1)),
    "an entry of a list in a dictionary": ({"count": [0]}, lambda module: module.seen["count"].append(1)),
    "an element of a set": ({0}, lambda module: module.seen.add(len(module.seen))),
    "a tensor in place": (torch.zeros(()), lambda module: module.seen.add_(1)),
    "an array in place": (np.zeros(2), lambda module: np.add(module.seen, 1, out=module.seen)),
    "a generator": (rng(), lambda module: module.seen.random()),
    "torch's generator": (torch.Generator(), lambda module: torch.rand((), generator=module.seen)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_that_hides_what_changes_is_told_to_say_it(change, tmp_path):
    class Hiding(TopKModule):
        def __init__(self, *settings):
            super().__init__(*settings)
            self.seen = CHANGES[change][0]

        def losses(self, x, step):
            CHANGES[change][1](self)
            return super().losses(x, step)

    @dataclasses.dataclass(frozen=True)
    class Hider(TopK):
        def module(self, dim, rng) -> SparseModule:
            return Hiding(self, dim, rng)

    with pytest.raises(TypeError, match=r"the attribute seen changed in training .*as a buffer"):
        Hider(12, 3, training=TRAINING).fit(samples(), rng=rng(), checkpoint=Checkpoint(tmp_path))


def worlds():
    law, sphere, normal = (
        generators.Bernoulli(generators.EqualRates(9, 0.2)),
        generators.RandomSphere(),
        generators.HalfNormal(),
    )
    plain = generators.FeatureSpec(6, law, sphere, normal, noise=generators.Gaussian(0.1))
    return {
        "plain": plain,
        "all": dataclasses.replace(
            plain,
            observation=(generators.Background(rank=2, fraction=0.2),),
            missing=generators.Missing(0.1),
            targets=generators.Readout(2),
        ),
    }


@pytest.mark.parametrize("name", ["plain", "all"])
def test_fresh_samples_are_passed_over_without_being_drawn(name):
    source = worlds()[name].build(rng(1)).source()
    assert isinstance(source, Skipping)
    left, right = rng(7), rng(7)
    all_of_them = list(islice(source.batches(5, left), 9))
    np.testing.assert_array_equal(list(islice(batches_after(source, 6, 5, right), 3)), all_of_them[6:])
    assert left.bit_generator.state == right.bit_generator.state


@pytest.mark.parametrize(
    "source",
    [
        Rows(samples(n=17)),
        SideRows(samples(n=17), np.arange(17.0)[:, None]),
        Fresh(),
        Leftover(Rows(samples(n=17)), (TopK(4, 1, training=Training(steps=1)).fit(samples(), rng=rng()),)),
    ],
    ids=lambda source: type(source).__name__,
)
def test_any_source_goes_on_after_the_batches_that_were_seen(source):
    whole = list(islice(source.batches(5, rng(3)), 12))
    for passed in (0, 1, 3, 7):  # passes over 17 rows end within a batch
        np.testing.assert_array_equal(
            list(islice(batches_after(source, passed, 5, rng(3)), 12 - passed)), whole[passed:]
        )


def test_passing_over_forks_leaves_the_generator_where_forks_do(monkeypatch):
    monkeypatch.setattr("sparsesim._identity._WORDS", 7)  # several blocks
    left, right = rng(4), rng(4)
    for _ in range(5):
        fork(left, 3)
    pass_over(right, 5, 3)
    assert left.bit_generator.state == right.bit_generator.state


def test_the_configuration_does_not_know_where_its_state_is_saved():
    assert "checkpoint" not in {field.name for field in dataclasses.fields(TopK) + dataclasses.fields(Training)}
    assert Path(Checkpoint("run").folder) == Path("run")
