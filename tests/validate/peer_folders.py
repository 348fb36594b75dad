"""Run by an interpreter that has the libraries: saves small autoencoders and what they compute, one folder each.

    python tests/validate/peer_folders.py saelens FOLDER

Each folder holds what the library itself saves, and ``expected.npz`` with samples ``x``, their ``codes`` and
reconstructions, computed in double precision from the saved weights. Weights are random; nothing is trained.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

D, P, K, N = 8, 16, 3, 12


def fill_(module, seed):
    """Draw every floating-point weight anew, so that no bias is zero, no norm one and no two thresholds are equal."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(0.3 + 0.1 * noise.abs() if "threshold" in name else 0.5 * noise)


def record(folder, encode, decode, dtype=torch.float64):
    x = torch.randn(N, D, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(dtype)
    with torch.no_grad():
        codes = encode(x)
        expected = {"x": x, "codes": codes, "reconstruction": decode(codes)}
    np.savez_compressed(folder / "expected.npz", **{name: value.numpy() for name, value in expected.items()})


def saelens(root):
    import sae_lens
    from sae_lens import saes

    def inference(name, kind, config, **changed):
        sae = kind(config(d_in=D, d_sae=P, **changed))
        fill_(sae, len(name))
        sae.save_model(root / name)

    inference("standard", saes.StandardSAE, saes.StandardSAEConfig)
    inference("standard_free", saes.StandardSAE, saes.StandardSAEConfig, apply_b_dec_to_input=False)
    inference("topk", saes.TopKSAE, saes.TopKSAEConfig, k=K)
    inference("topk_rescaled", saes.TopKSAE, saes.TopKSAEConfig, k=K, rescale_acts_by_decoder_norm=True)
    inference("jumprelu", saes.JumpReLUSAE, saes.JumpReLUSAEConfig, apply_b_dec_to_input=False)
    inference("gated", saes.GatedSAE, saes.GatedSAEConfig)
    inference("bfloat16", saes.StandardSAE, saes.StandardSAEConfig, dtype="bfloat16")
    abstopk = sys.modules["sae_lens.saes.abstopk_sae"]
    inference("abstopk", abstopk.AbsTopKSAE, abstopk.AbsTopKSAEConfig, k=K, rescale_acts_by_decoder_norm=True)

    def training(name, kind, config, **changed):
        sae = kind(config(d_in=D, d_sae=P, k=K, **changed))
        fill_(sae, len(name))
        sae.topk_threshold = torch.tensor(0.4, dtype=sae.topk_threshold.dtype)
        sae.save_inference_model(root / name)
        sae.save_model(root / f"{name}_checkpoint")

    training("batchtopk", saes.BatchTopKTrainingSAE, saes.BatchTopKTrainingSAEConfig)
    training("matryoshka", saes.MatryoshkaBatchTopKTrainingSAE, saes.MatryoshkaBatchTopKTrainingSAEConfig,
             matryoshka_widths=[4, P])  # fmt: skip
    for folder in root.iterdir():
        if not folder.name.endswith("_checkpoint"):
            sae = sae_lens.SAE.load_from_disk(folder, dtype="float64")
            record(folder, sae.encode, sae.decode)
    for scaling in ("layer_norm", "constant_norm_rescale", "expected_average_only_in"):
        inference(scaling, saes.StandardSAE, saes.StandardSAEConfig, normalize_activations=scaling)


def sparsify(root):
    from sparsify import SparseCoder, SparseCoderConfig

    for name, changed in {
        "topk": {"num_latents": P},
        "expansion": {"expansion_factor": 2},
        "groupmax": {"num_latents": P, "activation": "groupmax", "k": 4},
        "skip": {"num_latents": P, "skip_connection": True},
        "transcoder": {"num_latents": P, "transcode": True},
    }.items():
        coder = SparseCoder(D, SparseCoderConfig(**{"k": K, **changed}))
        fill_(coder, len(name))
        coder.save_to_disk(root / name)
        coder = SparseCoder.load_from_disk(root / name).double()

        def encode(x, coder=coder):
            found = coder.encode(x)
            return torch.zeros(len(x), P, dtype=x.dtype).scatter_(1, found.top_indices, found.top_acts)

        def decode(z, coder=coder):
            return coder.decode(z, torch.arange(P).expand(len(z), P))

        record(root / name, encode, decode)


def dictionary_learning(root):
    import json

    from dictionary_learning import dictionary
    from dictionary_learning.trainers import batch_top_k, matryoshka_batch_top_k, top_k

    for kind, more in {
        dictionary.AutoEncoder: (),
        dictionary.AutoEncoderNew: (),
        dictionary.GatedAutoEncoder: (),
        dictionary.JumpReluAutoEncoder: (),
        top_k.AutoEncoderTopK: (K,),
        batch_top_k.BatchTopKSAE: (K,),
        matryoshka_batch_top_k.MatryoshkaBatchTopKSAE: (K, [4, 12]),
    }.items():
        model = kind(D, P, *more)
        fill_(model, len(kind.__name__))
        folder = root / kind.__name__
        folder.mkdir(parents=True)
        torch.save(model.state_dict(), folder / "ae.pt")
        config = {"dict_class": kind.__name__, "activation_dim": D, "dict_size": P}
        (folder / "config.json").write_text(json.dumps({"trainer": config, "buffer": {}}))
        record(folder, model.double().encode, model.decode)


if __name__ == "__main__":
    place = Path(sys.argv[2])
    place.mkdir(parents=True, exist_ok=True)
    {"saelens": saelens, "sparsify": sparsify, "dictionary_learning": dictionary_learning}[sys.argv[1]](place)
