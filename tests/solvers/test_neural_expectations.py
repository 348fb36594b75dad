"""What the sources lead one to expect of variants, where it is no theorem: small worlds on which it is large."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from sparsesim._identity import Role, stream
from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import RandomSphere
from sparsesim.generators.magnitude import Uniform
from sparsesim.generators.support import ExactlyK
from sparsesim.metrics.codes import dead_fraction
from sparsesim.metrics.consistency import pairwise_mcc
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.neural.archetypal import Archetypal
from sparsesim.solvers.neural.nested_topk import NestedTopK
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.variational_topk import VariationalTopK
from sparsesim.study.cell import ConsistencyCell, FitCell

WORLD = FeatureSpec(8, ExactlyK(16, 2), RandomSphere(), Uniform(0.5, 1.5))
SHORT = Training(steps=400, batch_size=64)


def test_a_divergence_of_the_size_of_the_error_leaves_fewer_latents_alive():
    # Not so at any weight: at 30 all codes shrink alike, and of 32 latents three are dead.
    model = WORLD.build(stream(0, Role.TRUTH))
    train, test = (model.sample(n, stream(0, role)) for n, role in ((2_000, Role.TRAIN), (500, Role.TEST)))
    dead = []
    for beta in (0.0, 1.0):
        solver = VariationalTopK(32, 2, beta=beta, variance="none", training=SHORT)
        fitted = solver.fit(train.x, rng=np.random.default_rng(1))
        dead.append(dead_fraction(Evaluation(model, fitted, test)))
    assert dead[1] > dead[0] + 0.25, dead


def test_atoms_near_the_hull_of_the_data_are_found_again_from_another_start_more_often_than_those_of_topk():
    agreement = {}
    for name, solver in {
        "topk": TopK(16, 2, training=SHORT),
        "archetypal": Archetypal(16, 2, candidates=64, delta=0.1, training=SHORT),
    }.items():
        cells = [ConsistencyCell(FitCell(WORLD, seed, 10, solver, 2_000), 2) for seed in range(2)]
        agreement[name] = np.array([pairwise_mcc(cell.evaluate()) for cell in cells])
    assert (agreement["archetypal"] > agreement["topk"]).all(), agreement


def test_the_supports_of_fewer_latents_lie_within_those_of_more_and_reconstruct_no_better():
    solver = NestedTopK(16, 2, ks=(2, 4, 8, 16), training=SHORT)
    x = WORLD.build(stream(0, Role.TRUTH)).sample(2_000, stream(0, Role.TRAIN)).x
    module = solver.fit(x, rng=np.random.default_rng(0)).encoder.module
    inside = torch.from_numpy(((x - x.mean(0)) / np.sqrt(np.square(x - x.mean(0)).mean())).astype(np.float32))
    u = module.pre_activations(inside)
    kept = [module.keep(u, k) for k in solver.ks]
    errors = [(inside - module.decode(codes)).square().sum(1).mean().item() for codes in kept]
    for fewer, more in pairwise(kept):
        assert torch.equal(fewer, more * (fewer != 0.0)) and (fewer != 0.0).sum() < (more != 0.0).sum()
    assert errors[0] > errors[1] > errors[2], errors
    assert replace(solver, k=16).numbers() == solver.numbers()
