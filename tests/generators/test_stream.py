"""`world.stream` is data for the trainers of others: endless, seeded by its argument, samples of the world itself."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsesim import Role, stream, worlds
from sparsesim.generators import FeatureSpec, Missing

WORLD = worlds.superposed(dim=8, n_features=12, k=2).build(stream(0, Role.TRUTH))
LOSSY = FeatureSpec(**{**vars(WORLD.spec), "missing": Missing(0.3)}).build(stream(0, Role.TRUTH))


@pytest.mark.parametrize("world", [WORLD, LOSSY], ids=["linear", "with lost entries"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_batches_are_those_of_the_source_bit_for_bit(world, dtype):
    ours = world.stream(16, rng=stream(3, Role.TRAIN), dtype=dtype)
    source = world.source(dtype=dtype).batches(16, stream(3, Role.TRAIN))
    assert isinstance(ours, Iterator) and iter(ours) is ours
    for tensor, x in itertools.islice(zip(ours, source, strict=True), 3):
        assert isinstance(tensor, torch.Tensor) and tensor.device.type == "cpu"
        np.testing.assert_array_equal(tensor.numpy(), x)


def test_a_batch_may_be_changed_in_place_and_torch_random_state_stays():
    before = torch.get_rng_state()
    stained, clean = (WORLD.stream(4, rng=stream(1, Role.TRAIN)) for _ in range(2))
    next(stained).div_(7.0)
    next(clean)
    assert torch.equal(next(stained), next(clean))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_meta_device_is_served_by_forming_the_samples_there():
    # A device that is everywhere and is not the CPU: shapes and place are right, values are not computed.
    x = next(WORLD.stream(5, "meta", rng=stream(1, Role.TRAIN)))
    assert x.shape == (5, 8) and x.device.type == "meta"


@pytest.mark.parametrize(
    ("batch", "device", "rng", "dtype", "error", "says"),
    [
        (0, "cpu", stream(0, Role.TRAIN), np.float32, ValueError, "batch must lie in"),
        (4, "abacus", stream(0, Role.TRAIN), np.float32, ValueError, "device must be one that torch can use"),
        (4, "cpu", 3, np.float32, TypeError, "rng must be a numpy Generator"),
        (4, "cpu", stream(0, Role.TRAIN), np.float16, TypeError, "dtype must be float32 or float64"),
    ],
)
def test_a_bad_argument_is_named_before_the_first_batch(batch, device, rng, dtype, error, says):
    with pytest.raises(error, match=says):
        WORLD.stream(batch, device, rng=rng, dtype=dtype)


PEER = """
import sys
from sparsesim import Role, stream, worlds
world = worlds.superposed(dim=8, n_features=12, k=2).build(stream(0, Role.TRUTH))
data = world.stream(64, rng=stream(0, Role.TRAIN))
"""
SAELENS = """
from sae_lens import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
sae = StandardTrainingSAE(StandardTrainingSAEConfig(d_in=8, d_sae=12, l1_coefficient=0.1))
cfg = SAETrainerConfig(total_training_samples=640, train_batch_size_samples=64, device="cpu", autocast=False, lr=1e-3,
    lr_end=1e-4, lr_scheduler_name="constant", lr_warm_up_steps=0, adam_beta1=0.9, adam_beta2=0.999,
    lr_decay_steps=0, n_restart_cycles=1, dead_feature_window=100, feature_sampling_window=100, n_checkpoints=0,
    checkpoint_path=None, save_final_checkpoint=False, logger=LoggingConfig(log_to_wandb=False))
trainer = SAETrainer(cfg=cfg, sae=sae, data_provider=data)
trainer.fit()
print("steps", trainer.n_training_steps)
"""
LIBRARY = """
from dictionary_learning.training import trainSAE
from dictionary_learning.trainers.standard import StandardTrainer
from dictionary_learning.dictionary import AutoEncoder
config = dict(trainer=StandardTrainer, dict_class=AutoEncoder, activation_dim=8, dict_size=12, lr=1e-3, device="cpu",
    steps=10, warmup_steps=1, sparsity_warmup_steps=1, layer=0, lm_name="world", l1_penalty=0.1)
trainSAE(data, [config], steps=10, device="cpu", normalize_activations=True)
print("steps 10")
"""


@pytest.mark.parametrize("code", [SAELENS, LIBRARY], ids=["SAELens", "dictionary_learning"])
def test_the_trainers_of_others_take_it(code):
    """The other interpreter has the library; ours is reached by path, and it draws with our numpy-only dependencies."""
    python = os.environ.get("SPARSESIM_PEER_PYTHON")
    if not python:
        pytest.skip("SPARSESIM_PEER_PYTHON names no interpreter with the libraries")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [python, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{PEER}{code}"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if "ModuleNotFoundError" in done.stderr:
        pytest.skip(f"not there: {done.stderr.splitlines()[-1]}")
    assert "steps 10" in done.stdout, done.stderr
    assert sys.executable != python
