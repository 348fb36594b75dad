"""The random numbers that PyTorch draws on a CPU under a seed, so that released worlds can be rebuilt without it.

Released toy worlds say "seed 42" where they mean numbers of `torch.randn` and `torch.rand` in single precision. Here
they are computed in double precision from the same Mersenne twister; they agree to the rounding of single precision.
"""

from __future__ import annotations

import numpy as np

from sparsesim._arrays import FloatArray, check_int

_LANES = 16  # from this many numbers on, PyTorch pairs the uniform numbers 8 apart in lanes of 16


def _twister(seed: int) -> np.random.MT19937:
    """Return the Mersenne twister initialised by the low 32 bits of ``seed``, as its authors' init_genrand does."""
    check_int("seed", seed, 0, 2**63 - 1)
    words = [int(seed) & 0xFFFFFFFF]
    for place in range(1, 624):
        words.append((1812433253 * (words[-1] ^ (words[-1] >> 30)) + place) & 0xFFFFFFFF)
    twister = np.random.MT19937(0)
    twister.state = {"bit_generator": "MT19937", "state": {"key": np.array(words, dtype=np.uint32), "pos": 624}}
    return twister


def _uniform(twister: np.random.MT19937, n: int) -> FloatArray:
    """Return multiples of 2^-24 in [0, 1), one from each 32-bit word."""
    return np.asarray((twister.random_raw(n) & np.uint64(2**24 - 1)) * 2.0**-24)


def _box_muller(radial: FloatArray, angular: FloatArray) -> FloatArray:
    """Return two normal numbers (2, ...) from two uniform ones in [0, 1)."""
    radius, angle = np.sqrt(-2.0 * np.log1p(-radial)), 2.0 * np.pi * angular
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)])


def torch_uniform(seed: int, n: int) -> FloatArray:
    """Return the ``n`` numbers of ``torch.rand(n, generator=torch.Generator().manual_seed(seed))``, exactly."""
    return _uniform(_twister(seed), check_int("n", n, 0))


def torch_normal(seed: int, n: int) -> FloatArray:
    """Return the ``n`` numbers of ``torch.randn(n, generator=torch.Generator().manual_seed(seed))``.

    They differ from PyTorch's by its rounding to single precision, about 1e-6. An array of several dimensions is the
    vector of its entries, row by row.

    References
    ----------
    Matsumoto and Nishimura (1998), "Mersenne twister"; Box and Muller (1958).
    """
    check_int("n", n, 0)
    twister = _twister(seed)
    return _few(twister, n) if n < _LANES else _many(twister, n)


def _few(twister: np.random.MT19937, n: int) -> FloatArray:
    """Return fewer than 16 numbers: pairs from 53-bit uniform numbers, two 32-bit words each, high word first."""
    words = twister.random_raw(4 * ((n + 1) // 2)).reshape(-1, 2, 2)
    uniform = (((words[..., 0] << np.uint64(32)) | words[..., 1]) & np.uint64(2**53 - 1)) * 2.0**-53
    return _box_muller(uniform[:, 1], uniform[:, 0]).T.ravel()[:n]


def _many(twister: np.random.MT19937, n: int) -> FloatArray:
    """Return 16 or more numbers, in lanes of 16; a last lane that is not full is drawn anew over the last 16 places."""
    uniform = _uniform(twister, n)
    full = n - n % _LANES
    numbers = np.empty(n)
    numbers[:full] = _lanes(uniform[:full])
    if full < n:
        numbers[-_LANES:] = _lanes(_uniform(twister, _LANES))
    return numbers


def _lanes(uniform: FloatArray) -> FloatArray:
    pairs = uniform.reshape(-1, 2, _LANES // 2)
    return np.moveaxis(_box_muller(pairs[:, 0], pairs[:, 1]), 0, 1).ravel()
