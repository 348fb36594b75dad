"""The VAE family where it is pushed: models that diverge, members that differ, decoders without atoms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from vae_worlds import gaussian_samples

from sparsesim._source import Rows
from sparsesim.solvers.base import Status
from sparsesim.solvers.neural.inverse_lipschitz import InverseLipschitz, raised
from sparsesim.solvers.neural.rae import RegularisedAutoencoder
from sparsesim.solvers.neural.solver import fit_together
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.two_level import TwoLevelVAE
from sparsesim.solvers.neural.unscented import UnscentedAutoencoder
from sparsesim.solvers.neural.vae import GaussianVAE

BRIEF = Training(steps=120, batch_size=8)
WILD = dataclasses.replace(BRIEF, learning_rate=1e30)  # float32 overflows within two steps


def decomposed(training: Training):
    """Solvers that take singular values of what they train."""
    return (
        InverseLipschitz(GaussianVAE(3, training=training)),
        RegularisedAutoencoder(3, regulariser="spectral", training=training),
        UnscentedAutoencoder(3, full=True, training=training),
    )


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_member_that_diverges_says_so_and_leaves_the_others_alone(place):
    calm, wild = decomposed(BRIEF)[place], decomposed(WILD)[place]
    x = gaussian_samples([3.0, 2.0, 1.0, 0.5], n=40)
    alone = calm.fit(x, rng=np.random.default_rng(1))
    lost, kept = fit_together([wild, calm], [Rows(x)] * 2, [np.random.default_rng(0), np.random.default_rng(1)])
    assert (lost.status, kept.status) == (Status.DIVERGED, Status.BUDGET_SPENT)
    assert np.isfinite(lost.atoms).all() and np.isfinite(lost.encode(x).data).all()
    np.testing.assert_allclose(kept.atoms, alone.atoms, atol=1e-4)  # float32 sums in another order, 120 steps of 5e-3


def test_matrices_without_singular_values_stay_what_they_are_beside_sound_ones():
    rows = torch.tensor([[[2.0, 0.0], [0.0, 0.1]], [[np.nan, 0.0], [0.0, 1.0]], [[np.inf, 0.0], [0.0, 1.0]]])
    found = raised(rows, torch.full((3,), 0.5))
    torch.testing.assert_close(found[0], torch.tensor([[2.0, 0.0], [0.0, 0.5]]))
    assert found[1:].isnan().all()


@pytest.mark.parametrize(
    ("learned", "fixed"),
    [
        (GaussianVAE(2, training=BRIEF), GaussianVAE(2, noise_variance=0.5, training=BRIEF)),
        (TwoLevelVAE(2, training=BRIEF), TwoLevelVAE(2, upper_variance=1.0, training=BRIEF)),
    ],
)
def test_a_variance_that_is_learned_is_not_stacked_with_one_that_is_fixed(learned, fixed):
    x = gaussian_samples([2.0, 1.0], n=20)
    for pair in ([learned, fixed], [fixed, learned]):
        with pytest.raises(ValueError, match="members of an ensemble must be of one kind"):
            fit_together(pair, [Rows(x)] * 2, [np.random.default_rng(0), np.random.default_rng(1)])
