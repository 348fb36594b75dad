"""The loop and the border: determinism, ensembles, divergence, streams, scale, and what must be left alone."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsesim._identity import key
from sparsesim._source import Rows
from sparsesim.solvers.base import Status
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import _threads_for, fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import POINTS, Training
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.pursuit import OrthogonalMatchingPursuit

SHORT = Training(steps=120, batch_size=32, learning_rate=3e-3)
SOLVERS = [
    ReLUL1(12, training=SHORT),
    TopK(12, 3, dead_after=20, training=SHORT),
    BatchTopK(12, 3, training=SHORT),
    GaussianVAE(5, training=SHORT),
    GaussianVAE(5, hidden=7, beta=0.5, noise_variance=0.1, training=SHORT),
]
each_solver = pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: type(s).__name__)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(seed: int = 0, n: int = 300, d: int = 6, m: int = 9) -> np.ndarray:
    r = rng(seed)
    atoms = r.standard_normal((m, d))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return ((r.random((n, m)) < 0.2) * r.uniform(0.5, 1.5, (n, m))) @ atoms + 0.01 * r.standard_normal((n, d)) + 0.3


@dataclass
class Fresh:
    """A source that never repeats a sample and counts what it was asked for."""

    dim: int = 6
    sizes: list = field(default_factory=list)
    bad: object = None

    def batches(self, size, rng):
        index = 0
        while True:
            self.sizes.append(size)
            # elementwise, so that equal streams give equal bits without a word about the BLAS in use
            batch = (0.3 + rng.laplace(size=(size, self.dim)) * np.arange(1, self.dim + 1)).astype(np.float32)
            yield batch if self.bad is None else self.bad(index, batch)
            index += 1


def same_bits(a, b, x) -> bool:
    pair = [(f.atoms, f.bias, f.encode(x).toarray()) for f in (a, b)]
    return all(np.array_equal(left, right) for left, right in zip(*pair, strict=True))


@each_solver
def test_the_same_rng_gives_the_same_bits_and_another_rng_gives_others(solver):
    x = samples()
    first = solver.fit(x, rng=rng(5))
    assert same_bits(first, solver.fit(x, rng=rng(5)), x)
    assert not np.array_equal(first.atoms, solver.fit(x, rng=rng(6)).atoms)
    assert first.status is Status.BUDGET_SPENT
    assert len(first.trace["loss"]) == POINTS and first.trace["step"][0] == 0 and first.trace["step"][-1] == 119
    terms = [name for name in first.trace if name not in ("step", "loss")]
    # float32 sums of at most three terms of size ten
    np.testing.assert_allclose(sum(np.array(first.trace[t]) for t in terms), first.trace["loss"], rtol=1e-5, atol=1e-5)
    assert first.trace["loss"][-1] < first.trace["loss"][0]


@each_solver
def test_an_ensemble_of_three_is_three_separate_fits(solver):
    # Batched products sum in another order, and Adam turns a rounded-off gradient into a step of full size; over 40
    # steps that is 1e-4 at most where no selection is decided by rounding.
    solver = dataclasses.replace(solver, training=dataclasses.replace(SHORT, steps=40))
    sources = [Rows(samples(e)) for e in range(3)]
    together = solver.fit_ensemble(sources, [rng(10 + e) for e in range(3)])
    for e, fitted in enumerate(together):
        alone = solver.fit_stream(sources[e], rng=rng(10 + e))
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
        np.testing.assert_allclose(fitted.bias, alone.bias, atol=1e-4)
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)
        assert fitted.trace.keys() == alone.trace.keys()
        x = samples(50 + e)
        np.testing.assert_allclose(fitted.encode(x).toarray(), alone.encode(x).toarray(), atol=2e-3)
    assert not np.allclose(together[0].atoms, together[1].atoms, atol=0.1)


def test_members_may_differ_in_penalty_but_not_in_shape_kind_or_training():
    solvers = [ReLUL1(8, penalty, SHORT) for penalty in (0.1, 1.0, 3.0)]
    source, rngs = Rows(samples()), [rng(1) for _ in range(3)]
    together = fit_together(solvers, [source] * 3, rngs)
    counts = [f.encode(source.x).nnz for f in together]
    assert counts[0] > counts[1] > counts[2]
    alone = solvers[2].fit_stream(source, rng=rng(1))
    np.testing.assert_allclose(together[2].atoms, alone.atoms, atol=1e-3)  # rounding over 120 steps, see above
    for other in (TopK(8, 3, training=SHORT), ReLUL1(9, 1.0, SHORT), ReLUL1(8, 1.0, Training())):
        with pytest.raises(ValueError, match="separately"):
            fit_together([solvers[0], other], [source] * 2, rngs[:2])
    with pytest.raises(ValueError, match="one solver, source and rng"):
        fit_together(solvers, [source], rngs)


def test_members_may_differ_in_learning_rate():
    short = dataclasses.replace(SHORT, steps=40, weight_decay=0.1)
    solvers = [ReLUL1(8, 1.0, dataclasses.replace(short, learning_rate=rate)) for rate in (3e-3, 1e-3, 6e-3)]
    source = Rows(samples())
    together = fit_together(solvers, [source] * 3, [rng(e) for e in range(3)])
    for e, fitted in enumerate(together):
        alone = solvers[e].fit_stream(source, rng=rng(e))
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)  # rounding over 40 steps, see above
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)


@each_solver
def test_global_state_of_torch_and_numpy_is_left_alone(solver):
    legacy = repr(np.random.get_state(legacy=False))  # noqa: NPY002 - reading it is the point
    words, threads, dtype = torch.get_rng_state(), torch.get_num_threads(), torch.get_default_dtype()
    x = samples()
    reference = solver.fit(x, rng=rng(1))
    assert torch.equal(words, torch.get_rng_state()) and torch.get_default_dtype() == dtype
    assert repr(np.random.get_state(legacy=False)) == legacy  # noqa: NPY002
    assert torch.get_num_threads() == threads and torch.is_grad_enabled()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():  # a caller inside no_grad still gets a trained model
            assert same_bits(reference, solver.fit(x, rng=rng(1)), x)
            assert not torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(dtype)


@each_solver
def test_a_caller_in_inference_mode_or_with_another_default_device_gets_the_same_bits(solver):
    solver = dataclasses.replace(solver, training=dataclasses.replace(SHORT, steps=20, grad_clip=1.0))
    x = samples()
    reference = solver.fit(x, rng=rng(1))
    with torch.inference_mode():
        assert same_bits(reference, solver.fit(x, rng=rng(1)), x)
        assert torch.is_inference_mode_enabled()
    with torch.device("meta"):  # holds no data: whatever were put there could not be read
        assert same_bits(reference, solver.fit(x, rng=rng(1)), x)
        assert torch.empty(1).device.type == "meta"


def test_importing_the_package_does_not_import_torch_until_a_name_is_used():
    code = (
        "import sys, sparsesim.solvers.neural as n; before = 'torch' in sys.modules; n.TopK; "
        "print(before, 'torch' in sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    out = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "True"]


@each_solver
def test_fit_stream_trains_on_fresh_samples_and_takes_only_what_it_needs(solver):
    source = Fresh()
    fitted = solver.fit_stream(source, rng=rng(3))
    assert source.sizes == [4096] + [32] * 120, "one probe for the scale, then one batch a step"
    x = next(Fresh().batches(2000, rng(99))).astype(np.float64)
    error = np.square(fitted.decode(fitted.encode(x)) - x).sum() / np.square(x - x.mean(0)).sum()
    assert error < 1
    assert same_bits(fitted, solver.fit_stream(Fresh(), rng=rng(3)), x[:100])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda i, x: x[:, :5] if i == 3 else x, "columns"),
        (lambda i, x: x[:7] if i == 3 else x, "7 rows"),
        (lambda i, x: np.where(x > 1, np.nan, x) if i == 3 else x, "NaN"),
    ],
)
def test_a_source_that_breaks_its_word_is_named(bad, message):
    with pytest.raises(ValueError, match=message):
        SOLVERS[1].fit_stream(Fresh(bad=bad), rng=rng())


def test_a_source_that_ends_is_named():
    class Short(Fresh):
        def batches(self, size, rng):
            for _ in range(5):
                yield samples(n=size)

    with pytest.raises(ValueError, match="ended after 5 batches"):
        SOLVERS[0].fit_stream(Short(), rng=rng())


@each_solver
def test_divergence_is_a_status_with_finite_weights_not_an_exception(solver):
    wild = dataclasses.replace(solver, training=dataclasses.replace(SHORT, learning_rate=1e25))
    fitted = wild.fit(samples(), rng=rng())
    assert fitted.status is Status.DIVERGED
    assert 0 <= fitted.trace["diverged_at"][0] < 120
    assert np.isfinite(fitted.atoms).all() and np.isfinite(fitted.bias).all()
    assert all(np.isfinite(series).all() for series in fitted.trace.values())
    assert np.isfinite(fitted.encode(samples()).data).all()


def test_weights_of_a_late_divergence_are_from_shortly_before_it():
    class Poisoned(Fresh):
        def batches(self, size, rng):
            for index, batch in enumerate(super().batches(size, rng)):
                yield batch * np.float32(1e30 if index == 77 else 1.0)  # its square overflows float32

    training = dataclasses.replace(SHORT, normalise=False)
    fitted = TopK(12, 3, training=training).fit_stream(Poisoned(), rng=rng(1))
    clean = TopK(12, 3, training=training).fit_stream(Fresh(), rng=rng(1))
    assert fitted.status is Status.DIVERGED and fitted.trace["diverged_at"] == (77.0,)
    early = [(s, v) for s, v in zip(clean.trace["step"], clean.trace["loss"], strict=True) if s < 77]
    np.testing.assert_array_equal(fitted.trace["loss"], [v for _, v in early])
    start = TopK(12, 3, training=training).module(6, np.random.default_rng()).atoms()
    assert start.shape == fitted.atoms.shape and fitted.trace["loss"][-1] < fitted.trace["loss"][0]


def test_a_member_that_diverges_leaves_the_others_as_they_would_be():
    training = dataclasses.replace(SHORT, normalise=False, steps=60)
    solver = ReLUL1(8, 0.1, training)
    good, bad = samples(1), samples(2) * 1e25
    together = solver.fit_ensemble([Rows(good), Rows(bad), Rows(good)], [rng(1), rng(2), rng(3)])
    assert [f.status for f in together] == [Status.BUDGET_SPENT, Status.DIVERGED, Status.BUDGET_SPENT]
    for fitted, seed in ((together[0], 1), (together[2], 3)):
        alone = solver.fit(good, rng=rng(seed))
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-3)  # rounding over 60 steps
    assert np.isfinite(together[1].atoms).all()


@each_solver
@pytest.mark.parametrize("factor", [2.0**-40, 2.0**30])
def test_scaling_the_data_by_a_power_of_two_changes_no_bit_of_the_atoms(solver, factor):
    x = samples() - 0.3
    a, b = solver.fit(x, rng=rng(1)), solver.fit(factor * x, rng=rng(1))
    np.testing.assert_array_equal(a.atoms, b.atoms)
    np.testing.assert_array_equal(factor * a.bias, b.bias)
    # the encoder computes x / scale + offset in float64 from equal mantissas
    np.testing.assert_array_equal(factor * a.encode(x).toarray(), b.encode(factor * x).toarray())


def test_extreme_scales_constant_data_and_one_row_are_fitted_without_a_warning():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        least = 5e-324 * (samples() > 0)  # its standard deviation is below the smallest number
        constant, zero = np.full((40, 6), 0.1), np.zeros((40, 6))
        for x in (1e200 * samples(), 1e-200 * samples(), least, constant, zero, samples(n=1)):
            for solver in SOLVERS:
                fitted = solver.fit(x, rng=rng())
                assert np.isfinite(fitted.atoms).all() and np.isfinite(fitted.bias).all()
                reconstruction = fitted.decode(fitted.encode(x))
                assert np.isfinite(reconstruction).all()
    for solver in (SOLVERS[0], SOLVERS[1]):
        fitted = solver.fit(np.full((40, 6), 0.1), rng=rng())
        np.testing.assert_allclose(fitted.decode(fitted.encode(np.full((3, 6), 0.1))), 0.1, atol=0.05)


@each_solver
def test_the_border_folds_scale_and_norms_exactly(solver):
    x = 7.0 * samples() + 5.0
    fitted = solver.fit(x, rng=rng(2))
    encoder = fitted.encoder
    inside = (x - fitted.bias) / encoder.scale + encoder.offset
    with torch.no_grad():
        codes = encoder.module.encode(torch.from_numpy(inside.astype(np.float32)))
        direct = encoder.module.decode(codes).double().numpy()
    mean = fitted.bias - encoder.scale * encoder.offset
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-12)  # the mean in float64
    # float32 products of values of size ten, times a scale of three
    np.testing.assert_allclose(fitted.decode(fitted.encode(x)), encoder.scale * direct + mean, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(fitted.atoms, axis=1), 1, atol=1e-12)  # normalised in float64


@each_solver
def test_a_row_alone_has_the_bits_it_has_in_a_batch(solver):
    x = samples(4, n=1500)
    fitted = solver.fit(x, rng=rng(2))
    whole = fitted.encode(x).toarray()
    for index in (0, 1, 17, 1023, 1024, 1499):
        alone = fitted.encode(x[index : index + 1]).toarray()[0]
        # Blocks have one fixed shape, so only the place in the block differs; products may use another kernel there.
        np.testing.assert_allclose(alone, whole[index], rtol=0, atol=1e-5 * np.abs(whole).max())
    assert fitted.encode(x[:0]).shape == (0, solver.width)
    for dtype in (np.float32, np.float64):
        assert fitted.encode(x.astype(dtype)).dtype == dtype


@each_solver
def test_a_pickled_fit_encodes_the_same_bits_and_shares_no_training_state(solver):
    x = samples()
    fitted = solver.fit(x, rng=rng(2))
    words = pickle.dumps(fitted)
    assert same_bits(pickle.loads(words), fitted, x)
    assert len(words) < 60_000, "gradients, optimiser state or the flat buffer were pickled"
    assert not any(p.requires_grad or p.grad is not None for p in fitted.encoder.module.parameters())
    assert not fitted.encoder.module.training
    assert pickle.loads(pickle.dumps(solver)) == solver and key(solver) == key(dataclasses.replace(solver))


def test_the_neural_encoder_refuses_atoms_that_are_not_its_own_and_can_be_replaced():
    x = samples()
    fitted = SOLVERS[1].fit(x, rng=rng())
    for atoms in (fitted.atoms[::-1].copy(), -fitted.atoms, fitted.atoms[:5].copy()):
        with pytest.raises(ValueError, match="Replace the encoder"):
            dataclasses.replace(fitted, atoms=atoms).encode(x)
    swapped = dataclasses.replace(fitted, encoder=OrthogonalMatchingPursuit(2))
    assert np.diff(swapped.encode(x).indptr).max() == 2


@pytest.mark.parametrize(
    "build",
    [
        lambda: TopK(0, 1),
        lambda: TopK(5, 6),
        lambda: TopK(5, 0),
        lambda: TopK(5, 2, aux=-1.0),
        lambda: BatchTopK(5, 2, dead_after=0),
        lambda: ReLUL1(5, -1.0),
        lambda: ReLUL1(5, float("inf")),
        lambda: GaussianVAE(5, noise_variance=0.0),
        lambda: GaussianVAE(5, hidden=0),
        lambda: GaussianVAE(5, beta=-0.1),
    ],
)
def test_configurations_that_make_no_sense_are_refused(build):
    with pytest.raises(ValueError, match="must"):
        build()


def test_progress_runs_from_zero_to_one():
    assert [Step(i, 5).progress for i in range(5)] == [0.0, 0.25, 0.5, 0.75, 1.0] and Step(0, 1).progress == 0.0


@pytest.mark.parametrize("method", [TopK(5, 2).fit, ReLUL1(5).fit])
def test_training_must_be_a_training(method):
    with pytest.raises(TypeError, match="Training"):
        dataclasses.replace(method.__self__, training=100)


@pytest.mark.parametrize(("products", "inside"), [(1000, 1), (2**30, 2)])
def test_small_models_compute_on_one_thread_and_the_callers_setting_comes_back(products, inside):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), _threads_for(products):
            assert torch.get_num_threads() == inside
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@each_solver
def test_the_threads_of_the_caller_do_not_change_a_small_fit(solver):
    x, before = samples(), torch.get_num_threads()
    reference = solver.fit(x, rng=rng(1))
    torch.set_num_threads(2)
    try:
        assert np.array_equal(solver.fit(x, rng=rng(1)).atoms, reference.atoms)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
