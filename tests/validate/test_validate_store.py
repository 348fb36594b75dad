"""What a store holds of a subject: never a row of other code or of other luck, and damage to it is not fatal."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest
import torch

import sparsesim as ss
from sparsesim.study.store import Store, StoreConflictError
from sparsesim.validate import Arena, Protocol, worlds
from sparsesim.validate.campaign import DamagedPortraitWarning

TINY = Protocol("tiny", 1, (Arena("flat", worlds.flat(8, 0.2), "?"),), ("topk",), 2, 2, 200, 100, 20, 32)


class Plain(torch.nn.Module):
    def __init__(self, dim, width):
        super().__init__()
        self.into, self.out = torch.nn.Linear(dim, width), torch.nn.Linear(width, dim)

    def encode(self, x):
        return torch.relu(self.into(x))

    def decode(self, z):
        return self.out(z)


class Lucky(Plain):
    """Weights from a generator of its own, which no seed reaches."""

    def __init__(self, dim, width):
        super().__init__(dim, width)
        luck = torch.Generator()
        luck.seed()
        with torch.no_grad():
            self.into.weight.add_(0.1 * torch.randn(self.into.weight.shape, generator=luck))


def plain(seed, width, dim):
    return Plain(dim, width)


def lucky(seed, width, dim):
    return Lucky(dim, width)


def run(factory, **named):
    return ss.validate(factory, None, TINY, workers=1, progress=False, **named)


def code_of(found):
    return str(found.provenance["code of the subject"])


def rows_of_subject(found):
    return list(found.table.where(solver="subject").rows())


def plant_conflict(path, solver):
    """Add a second, different row for the first cell of ``solver`` that the store holds."""
    store = Store(path)
    key, row = next(
        (record.key, record.row) for record in store.tail().new() if record.provenance["labels"]["solver"] == solver
    )
    with store:
        store.append(key, {**row, "mcc": 2.0}, {"labels": {"solver": solver}})


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_portrait_is_computed_again_and_its_file_named(damage, tmp_path):
    before = run(plain, store=tmp_path)
    (path,) = (tmp_path / "portraits").iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 4  # within the cosines
    bad = {"cut": whole[:middle], "flip": whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]}
    path.write_bytes({**bad, "empty": b"", "text": b"hello"}[damage])
    with pytest.warns(DamagedPortraitWarning, match=path.name):
        after = run(plain, store=tmp_path)
    np.testing.assert_array_equal(before.portraits[0].cosines, after.portraits[0].cosines)
    assert before.card == after.card
    with warnings.catch_warnings():
        warnings.simplefilter("error", DamagedPortraitWarning)
        run(plain, store=tmp_path)


def test_a_subject_whose_luck_no_seed_reaches_has_rows_for_one_call(tmp_path):
    first, second = run(lucky, store=tmp_path), run(lucky, store=tmp_path)
    assert "two trainings with one seed differ" in code_of(first)
    assert first.failures == second.failures == ()
    assert rows_of_subject(first)[0]["mcc"] != rows_of_subject(second)[0]["mcc"]
    assert "serve this call alone" not in code_of(run(plain, store=tmp_path))


def test_two_rows_for_a_cell_of_the_subject_do_not_spoil_the_store(tmp_path):
    first = run(plain, store=tmp_path)
    plant_conflict(tmp_path, "subject")
    again = run(plain, store=tmp_path)
    assert "not reproducible: two different rows" in code_of(again)
    assert "give another store" in code_of(again)
    assert [row["mcc"] for row in rows_of_subject(first)] == [row["mcc"] for row in rows_of_subject(again)]
    other = run(lambda seed, width, dim: Plain(dim, width).double().float(), store=tmp_path)
    assert "not reproducible" not in code_of(other)


def test_two_rows_for_a_reference_are_an_error_with_its_remedy(tmp_path):
    run(plain, store=tmp_path)
    plant_conflict(tmp_path, "topk")
    with pytest.raises(StoreConflictError, match=r"remove one of the segments, or give another store"):
        run(plain, store=tmp_path)


def leaves(seed, width, dim):
    sys.exit(0)


def test_code_that_ends_the_program_is_an_error():
    with pytest.raises(RuntimeError, match=r"calls sys\.exit\(0\)\. Raise an exception") as caught:
        run(leaves)
    assert "trial of 20 steps" in caught.value.__notes__[-1]


def modes():
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.get_float32_matmul_precision(),
        np.geterr(),
    )


def test_what_a_model_switches_for_the_whole_process_is_put_back():
    from sparsesim.validate.training import isolated

    before = modes()
    with isolated(0):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_num_threads(before[2] + 1)
        torch.use_deterministic_algorithms(not before[3], warn_only=not before[4])
        torch.set_float32_matmul_precision("medium")
        np.seterr(all="raise")
        assert all(one != other for one, other in zip(modes()[:3], before[:3], strict=True))
    assert modes() == before
