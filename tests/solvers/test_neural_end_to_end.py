"""Autoencoders of what comes after a sample: end-to-end, transcoder, output groups and multi-layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from sparsesim._source import Rows
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import Orthonormal
from sparsesim.generators.magnitude import Uniform
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.residual import ResidualLayers, layer_batches
from sparsesim.generators.scales import GeometricScales, Scaled
from sparsesim.generators.support import Bernoulli
from sparsesim.metrics.layers import layer_entropy
from sparsesim.solvers.neural.downstream import Downstream, TanhReadout
from sparsesim.solvers.neural.end_to_end import EndToEnd, divergence
from sparsesim.solvers.neural.known_layers import DirectReadout, PassingLayer, ReLULayer, ReLUMap
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.multi_layer import MultiLayer, to_one_length
from sparsesim.solvers.neural.output_groups import OutputGroups, check_partition, group_norms, shrink_groups
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.transcoder import Transcoder
from sparsesim.solvers.neural.vae import GaussianVAE
from sparsesim.solvers.neural.weighted_relu_l1 import WeightedReLUL1

SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3)
GROUPS = ((0, 3), (1,), (2, 4, 5))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(seed: int = 0, n: int = 200, d: int = 6, m: int = 9) -> np.ndarray:
    r = rng(seed)
    atoms = r.standard_normal((m, d))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    return ((r.random((n, m)) < 0.2) * r.uniform(0.5, 1.5, (n, m))) @ atoms + 0.01 * r.standard_normal((n, d)) + 0.3


def shaken(solver, d: int = 6, seed: int = 3):
    """Return a module in float64 whose parameters are all away from their special first values."""
    module, r = solver.module(d, rng(seed)).double(), rng(seed + 1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.from_numpy(0.2 * r.standard_normal(parameter.shape)))
    return module


TANH = TanhReadout(4, hidden=5, seed=1)
RATES = (3e-3, 1e-3, 5e-3)
ENSEMBLES = {
    "EndToEnd": [EndToEnd(9, w, TANH, r, 0.5, 2.5) for w, r in ((0.02, 0.1), (0.1, 1.0), (0.3, 0.5))],
    "Transcoder": [Transcoder(9, ReLULayer(6, seed=2), w, relative=True) for w in (0.02, 0.1, 0.3)],
    "Transcoder TopK": [Transcoder(9, ReLULayer(6, seed=2), w, k=3) for w in (0.0, 0.1, 0.3)],
    "OutputGroups": [OutputGroups(GaussianVAE(5), GROUPS, w) for w in (0.1, 0.5, 1.0)],
    "MultiLayer": [MultiLayer(TopK(9, k)) for k in (2, 3, 4)],
}


def paced(solver, rate: float):
    training = replace(SHORT, learning_rate=rate)
    if hasattr(solver, "host"):
        return replace(solver, host=replace(solver.host, training=training))
    return replace(solver, training=training)


@pytest.mark.parametrize("name", ENSEMBLES)
def test_three_members_that_differ_train_together_as_they_do_alone(name):
    solvers = [paced(solver, rate) for solver, rate in zip(ENSEMBLES[name], RATES, strict=True)]
    sources = [Rows(samples(e)) for e in range(3)]
    together = fit_together(solvers, sources, [rng(10 + e) for e in range(3)])
    for e, fitted in enumerate(together):
        alone = solvers[e].fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order; over 40 steps of Adam that is 1e-4 where no selection is decided by it.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-4)
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)
    assert not np.allclose(together[0].atoms, together[1].atoms, atol=0.1)


def test_end_to_end_losses_are_those_of_the_equation():
    module = shaken(EndToEnd(7, 0.3, TANH, 0.2, 0.5, 2.5))
    x = rng(9).standard_normal((11, 6))
    p = {name: value.detach().numpy() for name, value in module.named_parameters()}
    codes = np.maximum((x - p["bias"]) @ p["encoder"].T + p["encoder_bias"], 0)
    rebuilt = codes @ p["decoder"] + p["bias"]
    first, second = (getattr(module.map, name).numpy() for name in ("first", "second"))
    hidden, ours = np.tanh(x @ first.T), np.tanh(rebuilt @ first.T)
    shares = [np.exp(h @ second.T) / np.exp(h @ second.T).sum(1, keepdims=True) for h in (hidden, ours)]
    kl = (shares[0] * np.log(shares[0] / shares[1])).sum(1).mean()
    found = {name: term.item() for name, term in module.losses(torch.from_numpy(x), Step(0, 1)).items()}
    # The weights are float32 numbers such as 0.2, the rest is float64.
    assert found == pytest.approx(
        {
            "reconstruction": 0.2 * np.square(x - rebuilt).sum(1).mean(),
            "output": 0.5 * kl,
            "later": 2.5 * np.square(hidden - ours).sum(1).mean(),
            "l1": 0.3 * codes.sum(1).mean(),
        },
        rel=1e-6,
    )


def test_the_divergence_is_from_the_first_to_the_second_and_zero_for_equal_shares():
    a, b = torch.tensor([[0.0, 0.0]]).double(), torch.tensor([[0.0, np.log(3.0)]]).double()
    # KL(1/2, 1/2 || 1/4, 3/4) and the reverse differ.
    assert divergence(a, b).item() == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3), rel=1e-12)
    assert divergence(b, a).item() == pytest.approx(0.25 * np.log(0.5) + 0.75 * np.log(1.5), rel=1e-12)
    assert divergence(b, b + 5.0).item() == pytest.approx(0.0, abs=1e-15)


def test_the_local_objective_is_relu_l1_whatever_the_map_and_so_is_the_end_to_end_one_of_the_identity():
    x, plain = samples(), ReLUL1(9, 0.3, SHORT)
    reference = plain.fit(x, rng=rng(1))
    for solver in (
        EndToEnd(9, 0.3, TANH, 1.0, 0.0, training=SHORT),
        EndToEnd(9, 0.3, DirectReadout(6), 0.0, 1.0, logits=False, training=SHORT),
    ):
        fitted = solver.fit(x, rng=rng(1))
        assert np.array_equal(fitted.atoms, reference.atoms) and np.array_equal(fitted.bias, reference.bias)
        assert np.array_equal(fitted.encode(x).toarray(), reference.encode(x).toarray())
        assert fitted.trace["loss"] == reference.trace["loss"]


def test_loud_irrelevant_features_drown_the_relevant_ones_for_the_local_objective_but_not_end_to_end():
    m, relevant, n = 8, 4, 1000
    r = rng(0)
    atoms = np.linalg.qr(r.standard_normal((m, m)))[0]
    codes = (r.random((n, m)) < 0.15) * r.uniform(0.5, 1.5, (n, m))
    loud = codes * np.where(np.arange(m) < relevant, 1.0, np.sqrt(10.0))
    sources = [Rows((z - z.mean(0)) @ atoms) for z in (codes, loud)]
    layer = TanhReadout(12, tuple(map(tuple, atoms[:relevant])), hidden=24)
    training = Training(steps=300, batch_size=64, learning_rate=2e-2, normalise=False)  # the map sees the same world
    recall = {}
    for name, weights in (("local", (1.0, 0.0)), ("e2e", (0.0, 1.0))):
        solver = EndToEnd(relevant, 0.02, layer, *weights, training=training)
        fits = solver.fit_ensemble(sources, [rng(5), rng(5)])
        recall[name] = [float(np.abs(atoms[:relevant] @ fit.atoms.T).max(1).mean()) for fit in fits]
    assert (
        recall["local"][0] > 0.3 and recall["local"][1] < 0.1
    )  # four atoms for eight features, then for the loud ones
    assert min(recall["e2e"]) > 0.7


@dataclass(frozen=True)
class OrthonormalUnits(Downstream):
    """y = ReLU(x) Q: units in general position, far from each other."""

    def module(self, dim):
        return ReLUMap(np.eye(dim), np.zeros(dim), self.written(dim).T)

    def written(self, dim):
        return np.linalg.qr(self.weights(1, dim, dim))[0]

    def jacobian(self, dim):
        raise NotImplementedError


def test_a_transcoder_as_wide_as_the_layer_finds_its_units():
    d = 4
    layer, x = OrthonormalUnits(d), rng(0).standard_normal((1000, d))
    training = Training(steps=400, batch_size=64, learning_rate=2e-2, normalise=False)
    fitted = Transcoder(d, layer, 0.0, training=training).fit(x, rng=rng(1))
    module = fitted.encoder.module
    cosine = layer.written(d) @ fitted.atoms.T
    order = np.abs(cosine).argmax(1)
    assert sorted(order) == list(range(d)) and cosine[np.arange(d), order].min() > 0.999
    # What a latent reads is the unit's own coordinate, with the gain of the unit.
    np.testing.assert_allclose(module.encoder.numpy()[order], np.eye(d), atol=0.05)
    y = np.maximum(x, 0) @ layer.written(d)
    decoded = fitted.decode(fitted.encode(x))
    assert np.square(decoded - y).sum(1).mean() < 1e-2 * np.square(y - y.mean(0)).sum(1).mean()


def test_matched_rows_in_any_order_and_scale_have_no_transcoder_loss_and_the_equation_holds_elsewhere():
    spec = Transcoder(5, ReLULayer(6, hidden=5, seed=3), 0.3)
    module = shaken(spec)
    read, offset, written = spec.layer.units(6)
    norms, order = np.linalg.norm(written, axis=1), rng(1).permutation(5)
    x = rng(2).standard_normal((7, 6))
    p = {name: value.detach().numpy() for name, value in module.named_parameters()}
    codes = np.maximum(x @ p["encoder"].T + p["encoder_bias"], 0)
    y = np.maximum(x @ read.T + offset, 0) @ written
    errors = np.square(y - codes @ p["decoder"] - p["bias"]).sum(1)
    found = module.losses(torch.from_numpy(x), Step(0, 1))
    assert found["squared_error"].item() == pytest.approx(errors.mean(), rel=1e-6)  # the layer is in float32
    assert found["l1"].item() == pytest.approx(0.3 * codes.sum(1).mean(), rel=1e-6)
    module.relative = True
    expected = (errors / np.linalg.norm(y, axis=1)).mean()
    assert module.losses(torch.from_numpy(x), Step(0, 1))["squared_error"].item() == pytest.approx(expected, rel=1e-6)
    with torch.no_grad():
        module.encoder.copy_(torch.from_numpy((norms[:, None] * read)[order]))
        module.encoder_bias.copy_(torch.from_numpy((norms * offset)[order]))
        module.decoder.copy_(torch.from_numpy((written / norms[:, None])[order]))
        module.bias.zero_()
    # float32 rounding of the layer, squared
    assert module.losses(torch.from_numpy(x), Step(0, 1))["squared_error"].item() < 1e-11


def test_a_passing_layer_writes_what_is_above_its_threshold_and_nothing_of_other_directions():
    rows = np.linalg.qr(rng(2).standard_normal((5, 5)))[0]
    layer = PassingLayer(5, tuple(map(tuple, rows[:2])), threshold=0.5)
    features = np.array([[0.9, 0.4, 3.0, -1.0, 2.0], [-2.0, 0.5, 1.0, 1.0, 1.0], [1.5, 2.5, 0.0, 0.0, 0.0]])
    written = layer.module(5).outputs(torch.from_numpy((features @ rows).astype(np.float32))).numpy() @ rows.T
    np.testing.assert_allclose(written, [[0.4, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 2, 0, 0, 0]], atol=1e-6)  # float32
    with pytest.raises(ValueError, match="outputs must be the dimension"):
        replace(layer, outputs=4).module(5)


def test_the_gradients_and_jacobians_of_known_layers_are_those_of_autograd():
    x = torch.from_numpy(rng(4).standard_normal((2, 5, 6))).requires_grad_()
    some = tuple(map(tuple, rng(1).standard_normal((2, 6))))
    for spec in (ReLULayer(3, hidden=7, seed=1), DirectReadout(2, some), PassingLayer(6, some, threshold=0.3)):
        frozen = spec.module(6).double()
        (slow,) = torch.autograd.grad(0.5 * frozen.outputs(x).square().sum(), x)
        torch.testing.assert_close(frozen.gradient(x), slow, rtol=1e-12, atol=1e-12)  # float64 rounding
        jacobian = torch.autograd.functional.jacobian(lambda v, f=frozen: f.outputs(v)[0], torch.zeros(1, 6).double())
        np.testing.assert_allclose(spec.jacobian(6), jacobian[:, 0].numpy(), atol=1e-6)  # weights in float32
    with pytest.raises(ValueError, match="number of directions"):
        DirectReadout(3).module(4)


def test_the_prox_of_a_group_is_the_minimiser_among_many_near_and_far():
    r = rng(5)
    rows, membership = torch.from_numpy(r.standard_normal((4, 6))), torch.from_numpy(check_partition(GROUPS, 6))
    for threshold in (0.0, 0.7, 1.5):
        found = shrink_groups(rows, membership, torch.tensor(threshold).double()).numpy()

        def price(z, t=threshold):
            norms = sum(np.linalg.norm(z[..., list(group)], axis=-1) for group in GROUPS)
            return 0.5 * np.square(z - rows.numpy()).sum((-2, -1)) + t * norms.sum(-1)

        steps = r.standard_normal((4000, 4, 6)) * 10.0 ** r.uniform(-4, 0.5, (4000, 1, 1))
        others = found + steps * (r.random((4000, 4, 6)) < 0.5)
        # A convex function that no step in many directions and sizes lowers; 1e-12 is rounding.
        assert (price(others) >= price(found) - 1e-12).all()
        assert price(np.where(r.random((4000, 4, 6)) < 0.5, found, 0.0)).min() >= price(found) - 1e-12
    norms = group_norms(found, GROUPS)
    assert (norms == 0.0).any() and (norms > 0.0).any()
    before = group_norms(rows.numpy(), GROUPS)
    np.testing.assert_allclose(norms, np.maximum(before - 1.5, 0.0), atol=1e-12)


def test_a_large_penalty_silences_every_group_and_none_changes_nothing():
    x, host = samples(), GaussianVAE(5, training=SHORT)
    assert not OutputGroups(host, GROUPS, 1e6).fit(x, rng=rng(1)).atoms.any()
    free, plain = OutputGroups(host, GROUPS, 0.0).fit(x, rng=rng(1)), host.fit(x, rng=rng(1))
    assert np.array_equal(free.atoms, plain.atoms)
    unit = OutputGroups(TopK(9, 2, training=SHORT), GROUPS, 1.0).fit(x, rng=rng(1)).atoms
    assert (group_norms(unit, GROUPS) == 0.0).any() and np.allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-6)


def test_output_groups_give_each_bar_a_latent_of_its_own_which_no_penalty_does_not():
    side, n, r = 4, 1000, rng(0)
    bars = np.repeat(0.5 * (r.random((n, side)) < 0.4), side, axis=1)  # a row of an image is all on or all off
    x = bars + 0.05 * r.standard_normal(bars.shape)
    groups = tuple(tuple(range(side * row, side * row + side)) for row in range(side))
    host = GaussianVAE(side, noise_variance=0.3, training=Training(steps=500, batch_size=64, learning_rate=1e-2))
    solvers = [OutputGroups(host, groups, penalty) for penalty in (0.0, 0.9)]
    free, priced = fit_together(solvers, [Rows(x)] * 2, [rng(1), rng(1)])
    speaks = group_norms(priced.atoms, groups) > 0.0
    assert (speaks.sum(0) == 1).all() and (speaks.sum(1) == 1).all()  # a permutation, by exact zeros
    assert (group_norms(free.atoms, groups) > 0.1).sum() > 2 * side


def test_a_multi_layer_model_is_its_host_on_vectors_of_one_length_and_codes_scale_with_the_sample():
    x = samples()
    x -= x.mean(0)
    training = replace(SHORT, normalise=False)
    fitted = MultiLayer(TopK(9, 3, training=training)).fit(x, rng=rng(1))
    assert not fitted.bias.any()
    np.testing.assert_allclose(fitted.encode(7.5 * x).toarray(), 7.5 * fitted.encode(x).toarray(), rtol=1e-4, atol=1e-5)
    module = fitted.encoder.module
    scaled = to_one_length(torch.from_numpy(x).float())
    np.testing.assert_allclose(scaled.square().sum(-1).numpy(), 6.0, rtol=1e-5)  # float32
    lengths = np.linalg.norm(x, axis=1, keepdims=True) / np.sqrt(6)
    np.testing.assert_allclose(fitted.encode(x).toarray(), lengths * module.host.encode(scaled).numpy(), atol=1e-5)
    step = Step(0, 1)
    ours, theirs = module.losses(torch.from_numpy(x).float(), step), module.host.losses(scaled, step)
    assert {name: term.item() for name, term in ours.items()} == {name: term.item() for name, term in theirs.items()}
    assert not fitted.encode(np.zeros((2, 6))).nnz


def test_bad_fields_are_refused_by_name():
    with pytest.raises(ValueError, match="must be positive"):
        EndToEnd(4, output=0.0)
    with pytest.raises(ValueError, match="a layer before its output"):
        EndToEnd(4, later=1.0, training=SHORT).fit(samples(), rng=rng())
    with pytest.raises(ValueError, match="layer must write"):
        Transcoder(4, ReLULayer(3)).module(6, rng())
    with pytest.raises(ValueError, match="width"):
        Transcoder(4, ReLULayer(3), k=5)
    for groups in (((0, 1),), ((0, 1), (1, 2)), ((0, 1, 2), ())):
        with pytest.raises(ValueError, match="each of the 3 coordinates once"):
            OutputGroups(GaussianVAE(4), groups).module(3, rng())
    for wrap in (lambda host: OutputGroups(host, ((0, 1, 2),)), MultiLayer):
        with pytest.raises(TypeError, match="host must be a solver"):
            wrap(WeightedReLUL1(4)).module(3, rng())


def test_latents_of_pooled_layers_speak_from_the_layer_on_that_writes_their_feature():
    law = ResidualLayers(Bernoulli(EqualRates(12, 0.2)), 3)
    world = FeatureSpec(12, law, Orthonormal(), Scaled(Uniform(0.5, 1.5), GeometricScales(1.0, 5.0))).build(rng(1))
    training = Training(steps=400, batch_size=64, learning_rate=1e-2, normalise=False)
    fitted = MultiLayer(TopK(12, 3, training=training)).fit(world.sample(2000, rng(2)).x, rng=rng(3))
    cosine = np.abs(world.atoms @ fitted.atoms.T)
    found = cosine.max(1) > 0.9
    assert found.sum() >= 7  # of twelve, in so short a training; 9 to 11 were seen
    entropy = layer_entropy([fitted.encode(batch.x) for batch in layer_batches(world, 500, rng(4))])
    truth = np.log2(3 - law.born[found])
    # Bits; 500 tokens put 0.05 on a share, and codes of other features leak into some.
    assert np.abs(np.median(entropy[cosine.argmax(1)[found]] - truth)) < 0.15
    assert np.corrcoef(entropy[cosine.argmax(1)[found]], truth)[0, 1] > 0.8
