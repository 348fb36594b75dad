"""The speed table measures the worlds it names; how fast they are is not a test's business."""

from __future__ import annotations

import numpy as np
import pytest

from sparsesim import Role, stream
from studies.speed import generation


@pytest.mark.parametrize(("name", "m", "dim", "l0"), [("small", 1_024, 128, 7.0), ("large", 16_384, 768, 34.4)])
def test_the_worlds_have_the_published_shape(name, m, dim, l0):
    spec = generation.world(name)
    law = spec.support
    assert (law.n_features, spec.dim) == (m, dim)
    assert law.marginals().sum() == pytest.approx(l0, rel=1e-3)  # rates were rounded to four digits
    in_trees = np.zeros(m, bool)
    in_trees[[parent for parent in law.parents if parent >= 0]] = True
    in_trees |= np.array(law.parents) >= 0
    assert in_trees.sum() == 85 * {"small": 8, "large": 128}[name]


def test_the_rates_of_one_measurement_agree_with_each_other():
    model = generation.world("small").build(stream(0, Role.TRUTH))
    speed = generation.measure(model, threads=1, repetitions=3, batches=1)
    assert 0 < speed["samples_per_s_min"] <= speed["samples_per_s"] <= speed["samples_per_s_max"]
    assert speed["ns_per_active"] * speed["l0"] * speed["samples_per_s"] == pytest.approx(1e9)
    assert speed["share_of_memory_limit"] * speed["memory_limit_samples_per_s"] == pytest.approx(speed["samples_per_s"])
    # 3 * 1024 samples of an L0 with a standard deviation near 3: standard error 0.06.
    assert speed["l0"] == pytest.approx(7.0, abs=0.5)
