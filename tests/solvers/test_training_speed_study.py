"""The training race compares equal work, and its sentences are computed from the table."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsesim.solvers.neural.module import Step
from sparsesim.solvers.neural.train import Training
from sparsesim.study.table import Table
from studies.speed import training
from studies.speed.plain import PlainAutoencoder
from studies.speed.saelens_training import SHAPES
from studies.speed.training_verdicts import sentences


@pytest.mark.parametrize("kind", ["topk", "topk_auxk", "batch_topk", "matryoshka", "abs_topk"])
def test_plain_pytorch_and_ours_have_the_same_loss_and_gradients_at_the_same_weights(kind):
    dim, width, batch, k = 12, 64, 32, 3
    dead = 8 if kind == "topk_auxk" else 0
    plain = PlainAutoencoder(kind, dim, width, k, dead=dead)
    ours = training.solver(kind, width, k, Training()).module(dim, np.random.default_rng(0))
    with torch.no_grad():
        for name, source in (("encoder", plain.encoder), ("decoder", plain.decoder), ("bias", plain.bias)):
            ours.get_parameter(name).copy_(source)
        ours.get_parameter("encoder_bias").copy_(plain.threshold)
    if dead:
        ours.dead.dead[:dead] = 1.0
        ours.dead.any_dead = True
    x = torch.randn((batch, dim), generator=torch.Generator().manual_seed(1))
    loss = plain.loss(x)
    terms = ours.losses(x, Step(0, 10))
    # The plain AuxK is the paper's, ours is multiplied by the variance of the batch.
    spread = (x - x.mean(0)).square().sum() / batch if dead else 1.0
    expected = plain_parts(plain, x)[0] + spread * plain_parts(plain, x)[1]
    np.testing.assert_allclose(sum(terms.values()).item(), expected.item(), rtol=1e-5)  # float32 sums of 400 squares
    if not dead:
        loss.backward()
        sum(terms.values()).backward()
        torch.testing.assert_close(ours.get_parameter("decoder").grad, plain.decoder.grad, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.get_parameter("encoder").grad, plain.encoder.grad, rtol=1e-4, atol=1e-5)


def plain_parts(plain: PlainAutoencoder, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    whole = plain.loss(x)
    dead, plain.dead = plain.dead, 0
    main = plain.loss(x)
    plain.dead = dead
    return main.detach(), (whole - main).detach()


def test_a_small_race_is_run_without_a_peer_and_says_so(monkeypatch):
    monkeypatch.setitem(SHAPES, "small", (8, 32, 16, 2))
    row = training.race("batch_topk", "small", 1, 1, 0.01, None)
    assert row["our_ms"] > 0 and row["plain_ms"] > 0 and row["product_ms"] > 0
    assert row["saelens"] == "none" and np.isnan(row["times_saelens"])
    (first, second) = sentences(Table.of_rows(row, [row.values()]))
    assert first.startswith("DOES NOT HOLD") and "plain PyTorch" in first  # one repetition has no interval
    assert "encoder's product" in second


@pytest.mark.parametrize(("low", "word"), [(3.1, "holds"), (2.9, "DOES NOT HOLD")])
def test_a_goal_is_judged_by_the_end_of_the_interval_that_speaks_against_us(low, word):
    row = {
        "kind": "topk", "dim": 8, "width": 32, "batch": 16, "k": 2, "threads": 2, "our_steps_per_s": 100.0,
        "times_plain": 3.5, "times_plain_low": low, "times_plain_high": 4.0, "saelens": "none", "skipped": "no",
        "times_product": 0.6, "times_product_low": low / 5, "times_product_high": 0.7,
    }  # fmt: skip
    first, second = sentences(Table.of_rows(row, [row.values()]))
    assert first.startswith(f"{word}: topk (8, 32, B 16, k 2)") and "at least 3" in first
    assert second.startswith("holds")  # 1 / 0.62 and 1 / 0.58 are both at most 2


@pytest.mark.parametrize("kind", ["relu_l1", "gated", "jump_relu", "mp"])
def test_kinds_without_a_plain_form_race_the_peer_alone_and_need_only_be_as_fast(kind, monkeypatch):
    monkeypatch.setitem(SHAPES, "small", (8, 32, 16, 2))
    row = training.race(kind, "small", 1, 1, 0.01, None)
    assert row["our_ms"] > 0 and np.isnan(row["plain_ms"])
    assert sentences(Table.of_rows(row, [row.values()])) == []  # nothing was raced
    raced = row | {"saelens": "6.54.12", "times_saelens": 1.2, "times_saelens_low": 1.1, "times_saelens_high": 1.3}
    (only,) = sentences(Table.of_rows(raced, [raced.values()]))
    assert only.startswith("holds") and "at least 1)" in only
