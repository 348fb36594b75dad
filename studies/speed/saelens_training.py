"""The peer's side of the training race: ``python -m studies.speed.saelens_training KIND:SHAPE`` where sae-lens is.

It answers ``describe N`` and ``time STEPS`` on standard input with lines of JSON. A step is that of its own trainer:
forward with its losses, backward, clipping, its optimiser and its bookkeeping of dead latents.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata
from typing import Any

# d, p, B and k
SHAPES = {"small": (128, 1_024, 1_024, 16), "middle": (768, 4_096, 1_024, 25)}
# kind: prefix of the peer's class names, and what is set beside the size; k and the widths are filled in
TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "topk": ("TopK", {"k": "k"}),
    "batch_topk": ("BatchTopK", {"k": "k"}),
    "matryoshka": ("MatryoshkaBatchTopK", {"k": "k", "matryoshka_widths": "inner"}),
    "relu_l1": ("Standard", {"l1_coefficient": 1.0}),
    "gated": ("Gated", {"l1_coefficient": 1.0}),
    "jump_relu": ("JumpReLU", {"l0_coefficient": 1.0}),
    "mp": ("MatchingPursuit", {"max_iterations": "k"}),
}
PARTS = (16, 8, 4, 2)  # Matryoshka's inner prefixes are the width over these
BATCHES = 8


def trainer(kind: str, shape: tuple[int, int, int, int]) -> tuple[Any, list[Any]]:
    """Return the peer's trainer of its own autoencoder of ``kind``, and the batches that it is given in turn."""
    import torch
    from sae_lens import saes
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    dim, width, batch, k = shape
    name, settings = TRAINED[kind]
    known = {"k": k, "inner": [width // part for part in PARTS]}
    chosen = {field: known.get(value, value) if isinstance(value, str) else value for field, value in settings.items()}
    config = getattr(saes, f"{name}TrainingSAEConfig")(d_in=dim, d_sae=width, **chosen)
    model = getattr(saes, f"{name}TrainingSAE")(config)
    generator = torch.Generator().manual_seed(2)
    batches = [torch.randn((batch, dim), generator=generator) for _ in range(BATCHES)]
    trained = SAETrainerConfig(
        total_training_samples=10**9,
        train_batch_size_samples=batch,
        lr_end=3e-4,
        logger=LoggingConfig(log_to_wandb=False),
    )
    return SAETrainer(cfg=trained, sae=model, data_provider=iter(batches)), batches


def main() -> None:
    """Build the trainer, then answer until the input ends. What others print goes to standard error."""
    replies, sys.stdout = sys.stdout, sys.stderr
    kind, name = sys.argv[1].split(":")
    peer, batches = trainer(kind, SHAPES[name])
    for line in sys.stdin:
        command, count = line.split()
        if command == "describe":
            answer: dict[str, Any] = {"version": metadata.version("sae-lens")}
        else:
            started = time.perf_counter()
            for index in range(int(count)):
                peer.step(batches[index % BATCHES])
            answer = {"seconds": time.perf_counter() - started}
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    main()
