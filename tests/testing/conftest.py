"""One thread for the kernels: the samples are few here, and threads would only wait for each other."""

import pytest

from sparsesim.kernels.training import kernel_threads


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with kernel_threads(1):
        yield
