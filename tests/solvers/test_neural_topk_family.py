"""Variants of TopK: special cases collapse, losses are those of the equations, selections those of brute force."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsesim._source import Rows
from sparsesim.solvers.neural.abs_topk import AbsTopK
from sparsesim.solvers.neural.adaptive_k import RIDGES, AdaptiveK, complexity, ridge_probe
from sparsesim.solvers.neural.batch_topk import BatchTopK
from sparsesim.solvers.neural.feature_choice import FeatureChoice, firing_rates, whole_numbers
from sparsesim.solvers.neural.gradient_topk import GradientTopK
from sparsesim.solvers.neural.k_sparse import KSparse
from sparsesim.solvers.neural.kron import KronSAE, mand
from sparsesim.solvers.neural.matryoshka import Matryoshka, RandomPrefixes
from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.multi_topk import MultiTopK
from sparsesim.solvers.neural.mutual_choice import MutualChoice
from sparsesim.solvers.neural.nested_topk import NestedTopK
from sparsesim.solvers.neural.ranks import leading, ranks
from sparsesim.solvers.neural.relu_l1 import ReLUL1
from sparsesim.solvers.neural.selection import largest
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.top_afa import TopAFA
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.underused import LOW, UnderusedLatents, zipf_shares
from sparsesim.solvers.neural.variational_topk import VariationalTopK

D, P, K = 6, 12, 3
SHORT = Training(steps=40, batch_size=32, learning_rate=3e-3)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tensor(array) -> torch.Tensor:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def samples(seed: int = 0, n: int = 300) -> np.ndarray:
    r = rng(seed)
    atoms = r.standard_normal((9, D))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = (r.random((n, 9)) < 0.2) * r.uniform(0.5, 1.5, (n, 9))
    return codes @ atoms + 0.01 * r.standard_normal((n, D)) + 0.3


def made(solver, seed: int = 0, dim: int = D):
    """An untrained module with biases that are not zero, so that a forgotten bias shows."""
    module = solver.module(dim, rng(seed))
    with torch.no_grad():
        module.bias.copy_(tensor(0.3 * rng(seed + 100).standard_normal(dim)))
        if hasattr(module, "encoder_bias"):
            module.encoder_bias.copy_(tensor(0.2 * rng(seed + 101).standard_normal(len(module.encoder_bias))))
    return module


def batch(seed: int = 1, size: int = 16) -> torch.Tensor:
    return tensor(rng(seed).standard_normal((size, D)))


def gradients(module, x: torch.Tensor, step: Step = Step(1, 2)) -> dict[str, torch.Tensor]:
    module.zero_grad()
    sum(module.losses(x, step).values()).backward()
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


def arrays(module) -> tuple[np.ndarray, ...]:
    parts = (module.encoder, module.encoder_bias, module.decoder, module.bias)
    return tuple(p.detach().double().numpy() for p in parts)


def numpy_pre_activations(module, x: torch.Tensor) -> np.ndarray:
    encoder, encoder_bias, _, bias = arrays(module)
    return (x.double().numpy() - bias) @ encoder.T + encoder_bias


def top(u: np.ndarray, k: int) -> np.ndarray:
    """The k largest positive entries of each row, by sorting."""
    kept = np.zeros_like(u)
    for row, values in enumerate(u):
        for i in np.argsort(-values)[:k]:
            kept[row, i] = max(values[i], 0.0)
    return kept


def error(module, x: torch.Tensor, codes: np.ndarray) -> float:
    _, _, decoder, bias = arrays(module)
    return float(np.square(x.double().numpy() - codes @ decoder - bias).sum(1).mean())


COLLAPSES = [
    (MultiTopK(P, K, dead_after=10, training=SHORT, multi=0.0), TopK(P, K, dead_after=10, training=SHORT)),
    (GradientTopK(P, K, training=SHORT, beta=0.0), TopK(P, K, training=SHORT)),
    (GradientTopK(P, K, training=SHORT, beta=0.0, mode="product"), TopK(P, K, training=SHORT)),
    (VariationalTopK(P, K, training=SHORT, beta=0.0, variance="none"), TopK(P, K, training=SHORT)),
    (AdaptiveK(P, K, K, l1=0.0, target="norm", training=SHORT), TopK(P, K, training=SHORT)),
    (Matryoshka(P, K, training=SHORT, prefixes=(P,)), BatchTopK(P, K, training=SHORT)),
    (Matryoshka(P, K, training=SHORT, prefixes=RandomPrefixes(1)), BatchTopK(P, K, training=SHORT)),
    (MutualChoice(P, K, aux=0.0, training=SHORT), BatchTopK(P, K, aux=0.0, training=SHORT)),
]


@pytest.mark.parametrize(("variant", "host"), COLLAPSES, ids=lambda solver: type(solver).__name__)
def test_the_special_case_trains_bit_by_bit_as_the_model_it_extends(variant, host):
    x = samples()
    ours, theirs = (solver.fit(x, rng=rng(5)) for solver in (variant, host))
    np.testing.assert_array_equal(ours.atoms, theirs.atoms)
    np.testing.assert_array_equal(ours.bias, theirs.bias)
    np.testing.assert_array_equal(ours.encode(x).toarray(), theirs.encode(x).toarray())


MEMBERS = [
    [MultiTopK(P, K, training=SHORT, multi=w) for w in (0.0, 0.125, 1.0)],
    [KSparse(P, K, training=SHORT)] * 3,
    [AbsTopK(P, k, training=SHORT) for k in (2, 3, 4)],
    [Matryoshka(P, K, training=SHORT, prefixes=(3, 6, P))] * 3,
    [Matryoshka(P, K, training=SHORT, prefixes=RandomPrefixes(4))] * 3,
    [NestedTopK(P, K, training=SHORT)] * 3,
    [MutualChoice(P, K, dead_after=10, training=SHORT, exponent=e) for e in (0.0, 0.5, 1.0)],
    [FeatureChoice(P, k, dead_after=10, training=SHORT) for k in (2, 3, 4)],
    [TopAFA(P, norm_weight=w, training=SHORT) for w in (0.0, 0.0625, 0.5)],
    [AdaptiveK(P, 1, 6, target="norm", l1=w, training=SHORT) for w in (0.0, 0.005, 0.05)],
    [GradientTopK(P, K, training=SHORT, beta=b) for b in (0.0, 1.0, 10.0)],
    [VariationalTopK(P, K, training=SHORT, variance="none", beta=b) for b in (0.0, 0.1, 1.0)],
    [VariationalTopK(P, K, training=SHORT, variance="learned", beta=b) for b in (0.0, 0.1, 1.0)],
    [KronSAE(P, K, left=2, right=3, training=SHORT)] * 3,
]


@pytest.mark.parametrize("solvers", MEMBERS, ids=lambda solvers: type(solvers[0]).__name__)
def test_an_ensemble_that_differs_in_seed_penalty_and_rate_is_three_separate_fits(solvers):
    rates = (3e-3, 1e-3, 4e-3)
    solvers = [
        dataclasses.replace(s, training=dataclasses.replace(SHORT, steps=20, learning_rate=rate))
        for s, rate in zip(solvers, rates, strict=True)
    ]
    sources = [Rows(samples(e)) for e in range(3)]
    together = fit_together(solvers, sources, [rng(10 + e) for e in range(3)])
    for e, fitted in enumerate(together):
        alone = solvers[e].fit_stream(sources[e], rng=rng(10 + e))
        # Batched products sum in another order: 1e-7, which the norm term of TopAFA amplifies e-fold every few steps,
        # to 1e-6 over 20 steps and 2e-4 over 40. Dead latents come in after 10.
        np.testing.assert_allclose(fitted.atoms, alone.atoms, atol=1e-5)
        np.testing.assert_allclose(fitted.trace["loss"], alone.trace["loss"], rtol=1e-4)
        assert fitted.trace.keys() == alone.trace.keys()


@pytest.mark.parametrize("kind", [BatchTopK, Matryoshka, MutualChoice])
def test_a_batch_shares_out_a_fraction_of_latents_a_sample(kind):
    x, fraction = samples(), 1.36
    module = kind(P, fraction, training=SHORT).module(D, rng(0))
    u = torch.from_numpy(rng(1).standard_normal((50, P)).astype(np.float32))
    assert int(module.select(u).sum()) == round(50 * fraction) == 68
    chosen = module.choose(u)
    assert chosen.indptr[-1] == 68
    whole, same = (kind(P, k, training=SHORT).fit(x, rng=rng(5)) for k in (2, 2.0))
    np.testing.assert_array_equal(whole.atoms, same.atoms)
    # one member keeps a fraction, one a whole number
    both = fit_together([kind(P, k, training=SHORT) for k in (fraction, 2)], [Rows(x)] * 2, [rng(5), rng(5)])
    np.testing.assert_allclose(both[1].atoms, whole.atoms, atol=1e-4)  # batched products sum in another order
    assert not np.allclose(both[0].atoms, whole.atoms, atol=1e-2)
    with pytest.raises(ValueError, match="k must be finite and lie in"):
        kind(P, P + 0.5)
    with pytest.raises(TypeError, match="k must be an integer"):
        TopK(P, fraction)


@given(st.integers(0, 10**6), st.integers(0, 6))
def test_leading_entries_are_those_of_a_sort_with_ties_to_the_lowest_index(seed, count):
    u = rng(seed).integers(-2, 3, (4, 6)).astype(np.float32)  # many ties
    expected = np.zeros_like(u)
    for row, values in enumerate(u):
        for i in sorted(range(6), key=lambda i: (-values[i], i))[:count]:
            expected[row, i] = values[i] > 0
    np.testing.assert_array_equal(leading(tensor(u), torch.tensor(count)).numpy(), expected)
    np.testing.assert_array_equal(leading(tensor(u.T), torch.tensor(count), dim=-2).numpy(), expected.T)


def test_multi_topk_adds_the_error_of_four_times_as_many_latents_and_trains_the_encoder_by_it():
    module, x = made(MultiTopK(P, 2, aux=0.0, multi=0.5)), batch()
    u = numpy_pre_activations(module, x)
    terms = module.losses(x, Step(0, 1))
    # float32 against float64, a hundred terms of one sign
    assert terms["squared_error"].item() == pytest.approx(error(module, x, top(u, 2)), rel=1e-5)
    assert terms["multi"].item() == pytest.approx(0.5 * error(module, x, top(u, 8)), rel=1e-5)
    narrow = made(TopK(P, 2, aux=0.0))
    wide = made(TopK(P, 8, aux=0.0))
    for name, gradient in gradients(module, x).items():
        parts = [gradients(part, x)[name] for part in (narrow, wide)]
        torch.testing.assert_close(gradient, parts[0] + 0.5 * parts[1], rtol=1e-4, atol=1e-5)  # rounding of O(1) sums


def test_the_k_sparse_number_falls_linearly_over_the_first_half_and_inference_may_keep_more():
    module = KSparse(P, 2, start=10, alpha=1.5).module(D, rng())
    numbers = [module.k_at(Step(index, 101)) for index in range(101)]
    assert numbers[0] == 10 and numbers[25] == 6 and set(numbers[50:]) == {2}
    assert numbers == sorted(numbers, reverse=True)
    assert (module.encode(batch()) != 0).sum(-1).unique().tolist() == [3]
    assert KSparse(P, 2).first() == 12 and KSparse(P, 1).first() == 6


def test_k_sparse_keeps_the_largest_values_of_either_sign_and_is_tied():
    module, x = made(KSparse(P, K)), batch()
    with torch.no_grad():
        module.encoder_bias.sub_(5.0)  # no pre-activation is positive
    weight, bias = module.weight.detach().double().numpy(), module.bias.detach().double().numpy()
    u = x.double().numpy() @ weight.T + module.encoder_bias.detach().double().numpy()
    z = np.where(u >= np.sort(u, axis=1)[:, -K][:, None], u, 0.0)
    assert (u < 0).all()
    np.testing.assert_allclose(module.encode(x).detach().numpy(), z, rtol=1e-5)  # float32 rounding
    expected = np.square(x.numpy() - z @ weight - bias).sum(1).mean()
    assert module.losses(x, Step(99, 100))["squared_error"].item() == pytest.approx(expected, rel=1e-5)


def test_the_prefix_reconstructions_are_decodings_of_truncated_codes_and_the_loss_their_sum():
    module, x = made(Matryoshka(P, K, aux=0.0, prefixes=(2, 5, P))), batch()
    with torch.no_grad():
        u = module.pre_activations(x)
        chosen = module.choose(u)
        codes = u * module.select(u)
        parts = module.nested(u[codes != 0], chosen, (2, 5, P))
        for part, length in zip(parts, (2, 5, P), strict=True):
            cut = codes.clone()
            cut[:, length:] = 0.0
            torch.testing.assert_close(part, module.decode(cut), rtol=0, atol=1e-5)  # sums of a dozen O(1) terms
        expected = sum((x - part).square().sum(1).mean() for part in parts)
    torch.testing.assert_close(module.losses(x, Step(0, 1))["squared_error"].detach(), expected, rtol=1e-5, atol=0)


def test_a_prefix_has_no_gradient_for_the_atoms_beyond_it():
    module, x = made(Matryoshka(P, K, aux=0.0, prefixes=(2, 5, P))), batch()
    with torch.no_grad():
        u = module.pre_activations(x)
        chosen = module.choose(u)
    values = u[module.select(u) != 0]
    for part, length in zip(module.nested(values, chosen, (2, 5, P)), (2, 5, P), strict=True):
        (slope,) = torch.autograd.grad((x - part).square().sum(), module.decoder, retain_graph=True)
        assert torch.all(slope[length:] == 0) and slope[:length].abs().max() > 0


def test_random_prefixes_end_at_the_width_ascend_and_prefer_short_lengths():
    law = RandomPrefixes(3)
    drawn = [law.lengths(50, index) for index in range(200)]
    assert all(lengths[-1] == 50 and list(lengths) == sorted(set(lengths)) and len(lengths) == 3 for lengths in drawn)
    assert law.lengths(50, 7) == drawn[7] and drawn[7] != RandomPrefixes(3, seed=1).lengths(50, 7)
    assert RandomPrefixes(9).lengths(3, 0) == (1, 2, 3) and RandomPrefixes(2).lengths(1, 0) == (1,)
    # With two prefixes the one drawn has P(L <= l) = sqrt(l / 49): P(L <= 12) = 0.495, standard error 0.02.
    short = np.mean([RandomPrefixes(2).lengths(50, index)[0] <= 12 for index in range(600)])
    assert abs(short - np.sqrt(12 / 49)) < 4 * 0.02


def test_the_default_prefixes_are_the_published_shares():
    assert Matryoshka(65536, 4).lengths() == (2048, 6144, 14336, 30720, 65536)
    assert Matryoshka(8, 2).lengths() == (1, 2, 4, 8)


@pytest.mark.parametrize(("weighting", "weights"), [("uniform", (1, 1, 1)), ("reverse", (3, 2, 1))])
def test_the_nested_loss_is_the_weighted_mean_over_k(weighting, weights):
    module, x = made(NestedTopK(P, 2, ks=(2, 5, P), weighting=weighting)), batch()
    u = numpy_pre_activations(module, x)
    terms = module.losses(x, Step(0, 1))
    expected = sum(w * error(module, x, top(u, k)) for k, w in zip((2, 5, P), weights, strict=True)) / sum(weights)
    assert sum(terms.values()).item() == pytest.approx(expected, rel=1e-5)  # float32 against float64
    supports = [module.keep(module.pre_activations(x), k) != 0 for k in (2, 5, P)]
    assert all(torch.all(small <= large) for small, large in itertools.pairwise(supports))


def test_the_nested_autoencoder_with_all_latents_is_a_relu_autoencoder_without_penalty():
    ours, theirs, x = made(NestedTopK(P, P, ks=(P,))), made(ReLUL1(P, 0.0)), batch()
    torch.testing.assert_close(ours.encode(x), theirs.encode(x))
    slopes = gradients(theirs, x)
    for name, gradient in gradients(ours, x).items():
        torch.testing.assert_close(gradient, slopes[name])
    assert NestedTopK(12, 2).numbers() == (2, 4, 8, 12) and NestedTopK(8, 2).numbers() == (2, 4, 8)


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_the_hard_threshold_is_the_nearest_sparse_vector_and_odd(seed, k):
    u = rng(seed).standard_normal(6).astype(np.float32)
    module = AbsTopK(6, k).module(2, rng())
    z = u * module.select(tensor(u[None]))[0].numpy()
    best = min(np.square(np.delete(u, support)).sum() for support in itertools.combinations(range(6), k))
    assert np.square(u - z).sum() <= best * (1 + 1e-6)  # rounding of six squares
    assert (z != 0).sum() == k
    np.testing.assert_array_equal(-u * module.select(tensor(-u[None]))[0].numpy(), -z)


def test_auxk_of_signed_codes_uses_negative_dead_latents_with_their_sign():
    module, x = made(AbsTopK(P, K, dead_after=10)), batch()
    module.dead.dead[:4] = 1.0
    module.dead.any_dead = True
    u = numpy_pre_activations(module, x)
    kept = np.abs(u) >= np.sort(np.abs(u), axis=1)[:, -K][:, None]
    _, _, decoder, bias = arrays(module)
    residual = x.double().numpy() - (u * kept) @ decoder - bias
    dead = np.abs(np.where(np.arange(P) < 4, u, 0.0))
    codes = np.where(dead >= np.sort(dead, axis=1)[:, -(D // 2)][:, None], u * (np.arange(P) < 4), 0.0)
    assert (codes < 0).any()
    spread = np.square(x.numpy() - x.numpy().mean(0)).sum()
    relative = np.square(residual - codes @ decoder).sum() / np.square(residual - residual.mean(0)).sum()
    assert module.losses(x, Step(0, 2))["aux"].item() == pytest.approx(spread * relative / 32 / 16, rel=1e-4)


def test_abs_topk_carries_a_feature_and_its_opposite_by_one_atom():
    r = rng(3)
    atoms = np.linalg.qr(r.standard_normal((8, 8)))[0]
    codes = (r.random((4000, 8)) < 0.15) * r.uniform(0.5, 1.5, (4000, 8)) * r.choice([-1, 1], (4000, 8))
    training = Training(steps=300, batch_size=128, learning_rate=1e-2)
    fits = [kind(8, 2, training=training).fit(codes @ atoms, rng=rng(1)) for kind in (AbsTopK, TopK)]
    found = [(np.abs(fitted.atoms @ atoms.T).max(0) > 0.95).sum() for fitted in fits]
    # TopK needs 16 latents for 8 features of either sign. Over three other worlds 8 against 1, 2 and 2.
    assert found[0] == 8 and found[1] < 5


def test_firing_rates_keep_their_sum_and_never_exceed_one():
    for exponent, k in itertools.product((0.0, 1.0, 3.0), (1, 4, 12)):
        rates = firing_rates(zipf_shares(P, exponent, 0.5), k)
        assert rates.sum() == pytest.approx(k, rel=1e-12) and rates.max() <= 1 + 1e-12
        np.testing.assert_array_equal(rates, np.sort(rates)[::-1])
    free = firing_rates(zipf_shares(P, 1.0, 0.5), 1)
    np.testing.assert_allclose(free, zipf_shares(P, 1.0, 0.5), rtol=1e-12)


@given(st.integers(1, 64), st.sampled_from([0.0, 1.0, 2.0]), st.integers(1, P))
def test_each_latent_chooses_its_number_of_samples_and_all_choose_batch_times_k(size, exponent, k):
    module = FeatureChoice(P, k, exponent=exponent, mutual=0.0).module(D, rng())
    each = whole_numbers(module.rates, size).numpy()
    assert each.sum() == size * k and (np.abs(each - module.rates.numpy() * size) < 1 + 1e-4).all()
    u = tensor(rng(size).standard_normal((size, P)))
    kept = module.select(u).numpy()
    for j in range(P):
        order = np.argsort(-u[:, j].numpy())[: int(each[j])]
        expected = np.isin(np.arange(size), order) & (u[:, j].numpy() > 0)
        np.testing.assert_array_equal(kept[:, j], expected)
    full = module.select(u + 10.0)
    assert full.sum() == size * k and torch.equal(full.sum(0), tensor(each))


def test_feature_choice_begins_as_mutual_choice_and_then_keeps_the_ranks_reached():
    module = FeatureChoice(P, K, exponent=1.0, mutual=0.5).module(D, rng())
    law, x = module.rates.clone(), batch(size=32)
    module.losses(x, Step(0, 3))
    u = module.pre_activations(x).detach()
    assert torch.equal(module.select(u), largest(u.flatten(), 32 * K).view(32, P))
    module.dead.share.copy_(torch.linspace(0.1, 1.0, P))  # the last latent speaks most
    module.losses(x, Step(1, 3))
    assert torch.equal(module.rates, law.flip(0)) and module.choosing


def test_feature_choice_thresholds_are_the_running_means_of_the_smallest_kept_codes():
    module = FeatureChoice(P, K, exponent=1.0, mutual=0.0, aux=0.0).module(D, rng())
    minima = []
    for seed in range(3):
        x = batch(seed, 32)
        module.losses(x, Step(seed, 3))
        with torch.no_grad():
            u = module.pre_activations(x)
            codes = u * module.select(u)
            minima.append(codes.masked_fill(codes <= 0, torch.inf).amin(0).numpy())
    assert np.isfinite(minima).all()
    np.testing.assert_allclose(module.thresholds.value.numpy(), np.mean(minima, axis=0), rtol=1e-5)  # float32
    module.eval()
    x = 3 * batch(9, 32)
    before = module.thresholds.value.clone()
    u = module.pre_activations(x)
    assert torch.equal(module.encode(x), torch.where(u > before, u, 0.0))
    module.losses(x, Step(0, 3))
    assert torch.equal(module.thresholds.value, before)


def test_no_latent_is_underused_where_shares_are_those_expected_and_half_of_that_is_too_little():
    expected = zipf_shares(P, 1.0, 0.0)
    tracker = UnderusedLatents(D, 1 / 32, 1, expected)
    counts = tensor(1000 * expected[::-1].copy())  # in the opposite order: ranks are by use, not by index
    for index in range(10):
        tracker.observe_counts(counts, index)
    assert not tracker.any_dead
    assert tracker.revive(torch.ones(4, P), torch.ones(4, D), torch.zeros(4, D), torch.ones(P, D)).item() == 0.0
    low = counts.clone()
    low[0] *= 0.9 * LOW  # the least used latent falls below half of what its rank has
    for index in range(10):
        tracker.observe_counts(low, index)
    np.testing.assert_array_equal(np.flatnonzero(tracker.dead.numpy()), [0])


@given(st.integers(0, 10**6))
def test_the_norm_of_incoherent_codes_lies_in_the_interval_of_the_theorem(seed):
    r = rng(seed)
    atoms = r.standard_normal((20, 64))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    k = int(r.integers(1, 5))
    support = r.choice(20, k, replace=False)
    codes = r.standard_normal(k)
    gram = np.abs(atoms[support] @ atoms[support].T - np.eye(k))
    epsilon = gram.max()
    energy, norm = np.square(codes).sum(), np.square(codes @ atoms[support]).sum()
    # |x'x - f'f| = |f'(G - I)f| <= epsilon (||f||_1^2 - ||f||_2^2) <= epsilon (k - 1) ||f||_2^2; rounding of 64 terms
    assert abs(norm - energy) <= epsilon * (k - 1) * energy + 1e-12 * energy


def test_top_afa_keeps_the_number_whose_norm_is_nearest_by_brute_force():
    module, x = made(TopAFA(P)), batch(size=64)
    u = module.pre_activations(x).detach()
    kept = module.select_for(u, x).numpy()
    target = np.linalg.norm(x.numpy() - module.bias.detach().numpy(), axis=1)
    for row in range(64):
        sizes = np.sort(np.maximum(u[row].numpy(), 0))[::-1]
        gaps = np.array([abs(np.sqrt(np.square(sizes[:j]).sum()) - target[row]) for j in range(1, P + 1)])
        number = int(kept[row].sum())
        assert number >= 1 and gaps[number - 1] <= gaps.min() + 1e-5  # norms of size 3 in float32
        assert u[row].numpy()[kept[row] > 0].min() == sizes[number - 1] > 0


def test_top_afa_counts_the_true_features_of_orthonormal_tied_atoms_and_ignores_scale():
    module = TopAFA(D).module(D, rng())
    with torch.no_grad():
        module.encoder.copy_(torch.eye(D))
        module.decoder.copy_(torch.eye(D))
    r = rng(2)
    codes = (r.random((200, D)) < 0.4) * r.uniform(0.5, 1.5, (200, D))
    codes[codes.sum(1) == 0, 0] = 1.0
    encoded = module.encode(tensor(codes))
    np.testing.assert_array_equal(encoded.detach().numpy(), codes.astype(np.float32))
    x = batch(size=200)
    for scale in (0.25, 8.0):  # powers of two: scaling is exact
        assert torch.equal(module.encode(scale * x), scale * module.encode(x))


def test_the_norm_term_of_top_afa_is_that_of_the_equation_with_centred_samples():
    module, x = made(TopAFA(P, norm_weight=0.25, aux=0.0)), batch()
    z = module.encode(x).detach().double().numpy()
    target = np.linalg.norm(x.double().numpy() - module.bias.detach().double().numpy(), axis=1)
    expected = 0.25 * D * np.square(np.linalg.norm(z, axis=1) - target).mean()
    terms = module.losses(x, Step(0, 1))
    # ||z|| is nearest to the target, so the term is a small difference of float32 numbers of size 3: 1e-6 absolute.
    assert terms["norm"].item() == pytest.approx(expected, rel=1e-3, abs=1e-5)
    assert terms["squared_error"].item() == pytest.approx(error(module, x, z), rel=1e-5)
    assert all(gradient.isfinite().all() for gradient in gradients(module, -100 * torch.ones(2, D)).values())


def test_adaptive_k_grows_with_complexity_within_its_published_range():
    probe = (1.0, *(0.0,) * (D - 1), 5.0)
    module = AdaptiveK(400, 20, 320, probe=probe).module(D, rng())
    x = torch.zeros(101, D)
    x[:, 0] = torch.linspace(-9.0, 9.0, 101)  # c runs over [-4, 14] and is clipped to [0, 10]
    numbers = module.numbers(x).squeeze(-1)
    assert torch.all(numbers.diff() >= 0) and numbers[0] == 34 and numbers[-1] == 306
    assert module.numbers(torch.zeros(1, D)).item() == 170


def test_adaptive_k_gives_each_sample_its_own_number_and_the_l1_of_the_equation():
    probe = (1.0, *(0.0,) * (D - 1), 5.0)
    module, x = made(AdaptiveK(P, 1, 6, probe=probe, aux=0.0, l1=0.02)), 3 * batch()
    z = module.encode(x).detach()
    numbers = module.numbers(x).squeeze(-1)
    positive = (module.pre_activations(x) > 0).sum(-1)
    assert torch.equal((z > 0).sum(-1).float(), torch.minimum(numbers, positive.float()))
    expected = 0.02 * D * z.double().sum(1).mean() / x.double().norm(dim=1).mean()
    assert module.losses(x, Step(0, 1))["l1"].item() == pytest.approx(expected.item(), rel=1e-5)  # float32


def test_the_probe_is_the_ridge_regression_of_its_normal_equations():
    r = rng(4)
    x = r.standard_normal((200, D)) + 1.0
    true = r.standard_normal(D)
    w, w0 = ridge_probe(x, x @ true + 2.0, rng())
    # Without noise the least ridge wins; its bias is ridge / (n var) = 5e-5.
    np.testing.assert_allclose(w, true, atol=1e-3)
    assert w0 == pytest.approx(2.0, abs=1e-3)
    y = x @ true + 3 * r.standard_normal(200)
    w, w0 = ridge_probe(x, y, rng())
    inner = x - x.mean(0)
    slope = inner.T @ (inner @ w - (y - y.mean()))
    assert min(np.abs(slope + ridge * w).max() for ridge in RIDGES) < 1e-9 * np.abs(inner.T @ y).max()
    assert np.mean(y - x @ w - w0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("target", ["norm", "pursuit"])
def test_samples_of_more_features_look_more_complex(target):
    r = rng(5)
    atoms = np.linalg.qr(r.standard_normal((8, 8)))[0]
    counts = r.integers(1, 5, 600)
    codes = np.zeros((600, 8))
    for row, count in enumerate(counts):
        codes[row, r.choice(8, count, replace=False)] = r.uniform(0.8, 1.2, count) * r.choice([-1, 1], count)
    measured = complexity(codes @ atoms, target, 8, 2, rng())
    assert measured.min() == 0.0 and measured.max() == 10.0
    assert np.corrcoef(measured, counts)[0, 1] > 0.5


def test_a_gradient_that_feels_one_atom_lets_it_speak_before_larger_latents():
    from sparsesim.solvers.neural.downstream import LinearReadout

    directions = ((1.0, *(0.0,) * (D - 1)),)
    module = GradientTopK(D, 1, downstream=LinearReadout(1, directions), beta=10.0).module(D, rng())
    with torch.no_grad():
        module.encoder.copy_(torch.eye(D))
        module.decoder.copy_(torch.eye(D))
    x = tensor([[0.2, 1.0, 0.5, 0.0, 0.0, 0.0]])
    assert module.encode(x).nonzero().tolist() == [[0, 0]]  # score 0.2 (1 + 10) against 1
    assert module.encode(x)[0, 0] == x[0, 0], "the value is kept, not the score"
    module.blind = True
    assert module.eval().encode(x).nonzero().tolist() == [[0, 1]]


@pytest.mark.parametrize("mode", ["sum", "product"])
def test_a_gradient_of_zero_chooses_as_topk_and_its_scale_does_not_matter(mode):
    module, x = made(GradientTopK(P, K, beta=2.0, mode=mode)), batch(size=64)
    u = module.pre_activations(x)
    plain = module.select_for(u, x)
    assert not torch.equal(plain, largest(u, K)) and plain.sum(-1).max() <= K
    module.map.weight.mul_(2.0)  # the gradient is four times as long, exactly
    assert torch.equal(module.select_for(u, x), plain)
    module.map.weight.zero_()
    assert torch.equal(module.select_for(u, x), largest(u, K))


def test_the_divergence_is_that_of_normal_laws_over_all_or_over_the_kept_latents():
    for variance, masked in itertools.product(("none", "unit", "learned"), (False, True)):
        solver = VariationalTopK(P, K, beta=0.7, variance=variance, masked=masked, sample=False, aux=0.0)
        module, x = made(solver), batch()
        terms = module.losses(x, Step(5, 11))
        u = numpy_pre_activations(module, x)
        mean, kept = np.maximum(u, 0), top(u, K) > 0
        log_variance = module.log_variances(x).detach().double().numpy() if variance == "learned" else 0 * mean
        assert variance != "learned" or np.ptp(log_variance) > 0.5
        each = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)
        expected = 0.7 * (each * kept if masked else each).sum(1).mean()
        assert terms["divergence"].item() == pytest.approx(expected, rel=1e-5)  # float32 against float64
        assert module.losses(x, Step(0, 11))["divergence"].item() == 0.0
        half = module.losses(x, Step(1, 21))["divergence"].item()
        assert half == pytest.approx(expected / 2, rel=1e-5)


def test_only_the_divergence_reaches_a_learned_variance_that_is_not_sampled():
    module, x = made(VariationalTopK(P, K, variance="learned", sample=False, beta=1.0)), batch()
    names = ("log_variance", "log_variance_bias")
    terms = module.losses(x, Step(9, 10))
    apart = torch.autograd.grad(terms["divergence"], [getattr(module, n) for n in names], retain_graph=True)
    everything = torch.autograd.grad(sum(terms.values()), [getattr(module, n) for n in names])
    for alone, whole in zip(apart, everything, strict=True):
        assert torch.equal(alone, whole) and alone.abs().max() > 0
    # log sigma^2 moves against the gradient towards zero, where the divergence is least
    assert torch.all(apart[1] <= 0)


def test_sampled_codes_are_the_k_largest_in_magnitude_and_inference_samples_nothing():
    module, x = made(VariationalTopK(P, K, variance="unit", aux=0.0, beta=0.0)), batch()
    step = Step(3, 4, (torch.Generator().manual_seed(7),))
    noise = torch.randn(16, P, generator=torch.Generator().manual_seed(7)).double().numpy()
    z = np.maximum(numpy_pre_activations(module, x), 0) + noise
    kept = np.abs(z) >= np.sort(np.abs(z), axis=1)[:, -K][:, None]
    assert (z[kept] < 0).any()
    expected = error(module, x, z * kept)
    assert module.losses(x, step)["squared_error"].item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(module.encode(x), made(TopK(P, K)).encode(x))


def test_mand_is_the_square_root_where_both_are_positive_exactly_zero_elsewhere_with_bounded_slopes():
    a = torch.tensor([1.0, 4.0, -1.0, 2.0, 0.0, 1e-6], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([1.0, 9.0, 3.0, -2.0, 5.0, 2.0], dtype=torch.float64)
    value = mand(a, b)
    # sqrt(ab + eps) - sqrt(eps) is below sqrt(ab) by at most sqrt(eps) = 0.0032
    np.testing.assert_allclose(value.detach().numpy()[:2], [1.0, 6.0], atol=0.0032)
    assert torch.all(value[2:5] == 0) and value[5] > 0
    value.sum().backward()
    assert torch.all(a.grad.abs() <= b.clamp_min(0) / (2 * 1e-5**0.5)) and a.grad.isfinite().all()


def test_the_gradient_of_mand_is_that_of_finite_differences():
    r = rng(8)
    a = torch.from_numpy(r.uniform(0.05, 2.0, 20)).requires_grad_()
    b = torch.from_numpy(r.uniform(0.05, 2.0, 20)).requires_grad_()
    assert torch.autograd.gradcheck(mand, (a, b))


def test_the_latents_of_a_head_speak_in_a_rectangle_and_the_encoder_has_few_parameters():
    solver = KronSAE(24, 5, left=2, right=4)
    module, x = solver.module(D, rng()), batch(size=64)
    with torch.no_grad():
        module.left_bias.uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(1))
    z = module.pre_activations(x).detach().view(64, 3, 2, 4)
    u = (x @ module.left.T + module.left_bias).view(64, 3, 2)
    v = (x @ module.right.T + module.right_bias).view(64, 3, 4)
    assert torch.equal(z > 0, (u[..., None] > 0) & (v[..., None, :] > 0))
    count = sum(p.numel() for name, p in module.named_parameters() if name.startswith(("left", "right")))
    assert count == solver.heads * (2 + 4) * (D + 1) and not hasattr(module, "encoder")
    assert (module.encode(x) > 0).sum(-1).max() == 5
    first, second = module.left.detach().view(3, 2, 1, D), module.right.detach().view(3, 1, 4, D)
    sums = (first + second).view(24, D)
    torch.testing.assert_close(module.decoder.detach(), sums / sums.norm(dim=1, keepdim=True))


def test_one_constant_left_unit_leaves_square_roots_of_relu_units():
    module, x = KronSAE(P, P, left=1, right=P).module(D, rng()), batch()
    with torch.no_grad():
        module.left.zero_()
        module.left_bias.fill_(1.0)
    expected = (x @ module.right.T).relu().sqrt()
    torch.testing.assert_close(module.encode(x), expected, rtol=0, atol=1e-5**0.5)  # the smoothing of mand


REFUSED = [
    (lambda: MultiTopK(P, K, multi=-1.0), "multi"),
    (lambda: MultiTopK(P, K, multiple=0), "multiple"),
    (lambda: KSparse(P, K, start=2), "start"),
    (lambda: KSparse(P, K, alpha=0.5), "alpha"),
    (lambda: Matryoshka(P, K, prefixes=(3, 2, P)), "ascend"),
    (lambda: Matryoshka(P, K, prefixes=(3, 6)), "end at width"),
    (lambda: RandomPrefixes(0), "count"),
    (lambda: NestedTopK(P, K, ks=(4, 2)), "ascend"),
    (lambda: NestedTopK(P, K, weighting="other"), "weighting"),
    (lambda: FeatureChoice(P, K, mutual=1.0), "MutualChoice"),
    (lambda: MutualChoice(P, K, exponent=-1.0), "exponent"),
    (lambda: TopAFA(P, norm_weight=-1.0), "norm_weight"),
    (lambda: AdaptiveK(P, 5, 4), "k_min"),
    (lambda: AdaptiveK(P, 1, 4, target="truth"), "target"),
    (lambda: AdaptiveK(P, 1, 4, probe=(1.0, 2.0)).module(D, rng()), "d \\+ 1 = 7"),
    (lambda: GradientTopK(P, K, mode="mean"), "mode"),
    (lambda: VariationalTopK(P, K, variance="some"), "variance"),
    (lambda: KronSAE(10, K), "Use width=16"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_bad_configurations_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_members_of_an_ensemble_must_share_their_prefixes():
    solvers = [Matryoshka(P, K, training=SHORT, prefixes=prefixes) for prefixes in ((3, P), (4, P))]
    with pytest.raises(ValueError, match="separately"):
        fit_together(solvers, [Rows(samples())] * 2, [rng(0), rng(1)])


def test_ranks_are_those_of_a_stable_sort():
    np.testing.assert_array_equal(ranks(tensor([[1.0, 3.0, 3.0, 0.0]])).numpy(), [[2, 0, 1, 3]])
