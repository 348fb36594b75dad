"""Shared test settings: hypothesis is derandomised, so red is red for everybody; one thread for BLAS, torch, kernels.

There are as many test processes as cores, and samples are few: two threads each would only wait for each other. Tests
of what threads change ask for theirs, of `numba.config.NUMBA_NUM_THREADS` that there are.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy and torch read them
    os.environ.setdefault(name, "1")

import numba  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

numba.set_num_threads(1)

settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("ci")
