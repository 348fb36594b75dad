"""The peer's side at scale: ``python -m studies.speed.saelens_scale KIND:WORLD:WIDTH:K`` where sae-lens is.

It answers ``describe N``, ``train STEPS`` and ``evaluate SAMPLES`` on standard input with lines of JSON. A step draws a
fresh batch of its own world and trains its own autoencoder on it, as its runner does. Its directions are random: the
published orthogonalisation takes half an hour to build and changes nothing in the cost of a sample.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import metadata
from typing import Any, final

from studies.speed.saelens import BATCH, SHAPES, model
from studies.speed.saelens_training import trainer


@final
class Peer:
    """Its world, and its trainer of an autoencoder of ``width`` latents of which ``k`` speak."""

    def __init__(self, kind: str, world: str, width: int, k: int) -> None:
        self.world = model(world)
        self.trainer, _ = trainer(kind, (SHAPES[world][1], width, BATCH, k))

    def train(self, steps: int) -> dict[str, float]:
        """Return the seconds of ``steps`` steps on fresh batches, and those that drawing them took."""
        drawing, started = 0.0, time.perf_counter()
        for _ in range(steps):
            before = time.perf_counter()
            batch = self.world.sample(BATCH)
            drawing += time.perf_counter() - before
            self.trainer.step(batch)
        return {"seconds": time.perf_counter() - started, "drawing": drawing}

    def evaluate(self, samples: int) -> dict[str, float]:
        """Return the seconds of its own evaluation on ``samples`` fresh samples, matching included."""
        from sae_lens.synthetic import eval_sae_on_synthetic_data

        started = time.perf_counter()
        eval_sae_on_synthetic_data(
            self.trainer.sae,
            self.world.feature_dict,
            self.world.activation_generator,
            num_samples=samples,
            batch_size=BATCH,
        )
        return {"seconds": time.perf_counter() - started}


def main() -> None:
    """Build world and trainer, then answer until the input ends. What others print goes to standard error."""
    replies, sys.stdout = sys.stdout, sys.stderr
    kind, world, width, k = sys.argv[1].split(":")
    peer = Peer(kind, world, int(width), int(k))
    for line in sys.stdin:
        command, count = line.split()
        if command == "describe":
            answer: dict[str, Any] = {"version": metadata.version("sae-lens")}
        else:
            answer = peer.train(int(count)) if command == "train" else peer.evaluate(int(count))
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    main()
