"""Protocols are what their version says; their committed rows are used only where world and samples are the same."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import sparsesim as ss
from sparsesim.study import Inline, Store, run
from sparsesim.study.table import Table
from sparsesim.validate import PROTOCOLS, Arena, Protocol, validation, worlds
from sparsesim.validate.measures import fingerprint, fingerprint_of, same_data
from sparsesim.validate.protocol import BOUNDS, REFERENCES, find, reference_cells
from sparsesim.validate.publish import main, reference_study, write
from sparsesim.validate.references import cached

QUICK = PROTOCOLS["quick@1"]
TINY = Protocol("tiny", 1, (Arena("flat", worlds.flat(8, 0.2), "?"),), ("topk",), 2, 2, 200, 100, 30, 32, shares=(1.0,))
NAMES = ["flat", "superposed", "zipf", "correlated", "tree", "bipolar", "multidimensional", "noisy", "unidentifiable"]
# A published protocol never changes: another number here means that it did, and needs another version.
DIGESTS = {
    "quick@1": "0b69dc62118c74fd",
    "standard@1": "f77f4f7ca3335260",
    "full@1": "56a33481b61df9b8",
}


def test_published_protocols_are_as_they_were():
    assert {name: protocol.digest()[:16] for name, protocol in PROTOCOLS.items()} == DIGESTS


def test_a_protocol_is_found_by_its_name_with_and_without_version():
    assert find("quick") is find("quick@1") is QUICK
    assert find(TINY) is TINY
    with pytest.raises(ValueError, match="quick@1, standard@1, full@1"):
        find("quick@2")


@pytest.mark.parametrize("name", list(PROTOCOLS))
def test_every_protocol_has_nine_worlds_and_grids_about_their_sparsity(name):
    protocol = PROTOCOLS[name]
    assert [arena.name for arena in protocol.arenas] == NAMES
    for arena in protocol.arenas:
        budgets = protocol.budgets(arena)
        assert len(budgets) == 3
        assert budgets[0] < arena.sparsity <= budgets[-1] <= arena.world.dim
        assert arena.question


def test_the_grid_of_floor_and_oracle_reaches_beyond_that_of_references():
    cells = reference_cells(QUICK, QUICK.arenas[0], 0, (*REFERENCES, *BOUNDS))
    budgets = {name: [dict(label)["budget"] for label in cells if dict(label)["solver"] == name] for name in BOUNDS}
    assert budgets["genie"] == [0]
    assert min(budgets["oracle"]) == 1
    assert max(budgets["floor"]) == 4 * QUICK.arenas[0].sparsity


def test_a_validation_may_stop_at_few_numbers_of_seeds():
    looks = {(least, most): replace(QUICK, least=least, most=most).looks for least, most in ((5, 5), (5, 8), (12, 32))}
    assert looks == {(5, 5): (5,), (5, 8): (5, 8), (12, 32): (12, 24, 32)}


def test_only_what_decides_rows_is_in_the_digest():
    assert replace(QUICK, margin=0.1, most=20, references=("mp",)).digest() == QUICK.digest()
    for change in ({"steps": 600}, {"n_train": 10}, {"arenas": QUICK.arenas[1:]}):
        assert replace(QUICK, **change).digest() != QUICK.digest()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"references": ("adam",)}, "topk"),
        ({"least": 1}, "least"),
        ({"most": 2}, "most"),
        ({"margin": 0.0}, "margin"),
        ({"confidence": 1.0}, "confidence"),
    ],
)
def test_impossible_protocols_are_refused(change, word):
    with pytest.raises(ValueError, match=word):
        replace(QUICK, **change)


@pytest.mark.parametrize("name", ["correlated", "bipolar", "multidimensional", "unidentifiable"])
def test_the_worlds_of_protocols_are_what_they_say(name):
    world = getattr(worlds, name)()
    truth = world.build(ss.stream(0, ss.Role.TRUTH))
    batch = truth.sample(4000, ss.stream(0, ss.Role.TEST))
    if name == "correlated":
        fires = (batch.codes != 0).toarray()[:, :16].astype(float)
        correlation = np.corrcoef(fires.T)
        within, across = correlation[0, 1:8].mean(), correlation[0, 8:].mean()
        assert within > 0.2
        assert abs(across) < 0.05  # 8 correlations of 4000 samples: a standard error of 0.006 each
    elif name == "bipolar":
        assert set(np.unique(batch.codes.data)) == {-1.0, 1.0}
    elif name == "multidimensional":
        norms = np.square(batch.codes.toarray()).reshape(4000, -1, 2).sum(axis=2)
        assert ((np.abs(norms) < 1e-12) | (np.abs(norms - 1) < 1e-12)).all()  # a circle, up to rounding
        assert (norms.round().sum(axis=1) == 2).all()
    else:
        covariance = np.cov(batch.x.T)
        # White: entries of the covariance of 4000 samples have standard error 0.016 to 0.022; five of the largest.
        np.testing.assert_allclose(covariance, np.eye(32), atol=0.11)


def test_the_standard_worlds_of_the_bakeoff_are_unchanged():
    assert list(worlds.standard()) == ["flat", "superposed", "zipf", "tree", "noisy"]


def test_a_fingerprint_tells_seeds_worlds_and_the_order_of_samples_apart():
    own = fingerprint_of(TINY.arenas[0].world, 0, 100)
    assert same_data(own, own * (1 + 1e-9))
    assert not same_data(own, fingerprint_of(TINY.arenas[0].world, 1, 100))
    assert not same_data(own, fingerprint_of(worlds.flat(8, 0.21), 0, 100))
    cell = next(iter(reference_cells(TINY, TINY.arenas[0], 0, ("genie",)).values()))
    assert fingerprint(cell.evaluate()) == own


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("references")
    table = run(reference_study(TINY), Store(folder / "store"), engine=Inline())
    write(TINY, table, folder)
    return folder


def test_published_rows_come_back_with_their_provenance(published):
    found = cached(TINY, range(2), published)
    assert found.reasons == ()
    assert {label[1] for label in found.rows} == {"topk", *BOUNDS}
    assert len(found.rows) == len(Table.read(published / "tiny@1.csv"))
    beside = json.loads((published / "tiny@1.json").read_text())
    assert beside["digest"] == TINY.digest()
    assert beside["numpy"]
    assert not cached(TINY, [7], published).rows


def test_rows_of_other_samples_are_left_out_and_the_reason_is_given(published, tmp_path):
    table = Table.read(published / "tiny@1.csv")
    rows = [{**row, "fingerprint": row["fingerprint"] + (row["seed"] == 1)} for row in table.rows()]
    Table.of_rows(table.columns, [row.values() for row in rows]).write(tmp_path / "tiny@1.csv")
    (tmp_path / "tiny@1.json").write_text((published / "tiny@1.json").read_text())
    found = cached(TINY, range(2), tmp_path)
    assert {label[3] for label in found.rows} == {0}
    assert "flat at seed 1" in found.reasons[0]
    assert not cached(replace(TINY, steps=31), range(2), tmp_path).rows
    assert "other worlds or sizes" in cached(replace(TINY, steps=31), range(2), tmp_path).reasons[0]


def test_a_validation_takes_published_rows_and_computes_the_others(published, monkeypatch):
    from sparsesim.solvers.neural.topk import TopK
    from sparsesim.study.run import Started

    def factory(seed, width, dim, k):
        return TopK(width, k, training=TINY.training())

    events, totals, rows = [], [], []
    for folder in (published, published / "nowhere"):
        monkeypatch.setattr(validation, "cached", partial(cached, folder=folder))
        found = ss.validate(factory, protocol=TINY, workers=1, progress=events.append)
        totals.append(next(event.total for event in reversed(events) if isinstance(event, Started)))
        rows.append(found)
    assert totals[0] == 2  # the subject's alone
    assert totals[1] > 2
    # Published scores are rounded to six digits.
    for one, other in zip(rows[0].comparisons, rows[1].comparisons, strict=True):
        assert one.difference.mean == pytest.approx(other.difference.mean, abs=2e-6)
    assert rows[0].provenance["reference rows from the package"] > 0
    assert "they are computed" in rows[1].provenance["notes"]


def test_the_command_line_publishes(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PROTOCOLS, "tiny@1", TINY)
    assert main(["tiny", "--store", str(tmp_path / "s"), "--folder", str(tmp_path), "--engine", "inline"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "tiny@1.csv")
