"""The speed study measures the worlds it names and judges by its numbers; how fast they are is no test's business."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from sparsesim import Role, stream
from sparsesim.generators.base import SecondOrderLaw
from sparsesim.study import Table
from studies.speed import generation, timing, verdicts, worlds
from studies.speed.peer import Peer, PeerFailedError
from studies.speed.saelens import SHAPES

# A stand-in of sae-lens: its sample has the shape asked for, and three features fire in every sample.
STAND_IN = """
import numpy as np
print("noise on standard output")
class Config:
    def __init__(self, **fields): self.__dict__.update(fields)
ZipfianFiringProbabilityConfig = LinearMagnitudeConfig = FoldedNormalMagnitudeConfig = Config
HierarchyConfig = LowRankCorrelationConfig = SyntheticModelConfig = Config
class SyntheticModel:
    def __init__(self, config): self.config = config
    def sample(self, size): return np.zeros((size, self.config.hidden_dim), np.float32)
    def sample_with_features(self, size):
        codes = np.zeros((size, self.config.num_features)); codes[:, :3] = 1.0
        return self.sample(size), codes
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch) -> Path:
    """A Python in which sae-lens is the stand-in."""
    (tmp_path / "sae_lens").mkdir()
    (tmp_path / "sae_lens" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "sae_lens" / "synthetic.py").write_text(STAND_IN, encoding="utf-8")
    about = tmp_path / "sae_lens-0.0.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sae-lens\nVersion: 0.0.0\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Path(sys.executable)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_the_raced_worlds_have_the_shape_of_the_peers(name):
    spec, (features, dim, _) = worlds.raced(name), SHAPES[name]
    assert (spec.n_features, spec.dim) == (features, dim)


def test_the_published_world_has_the_published_trees_and_number_of_active_features():
    spec = worlds.raced("tree-16k")
    law = spec.support
    in_trees = np.array(law.parents) >= 0
    in_trees[[parent for parent in law.parents if parent >= 0]] = True
    assert in_trees.sum() == 10_880 and np.count_nonzero(np.array(law.parents) < 0) == 128 + 5_504
    assert (law.rates.rates()[0], law.rates.rates()[-1]) == (0.4, 5e-4)
    l0 = np.diff(spec.support.draw(4_000, stream(0, Role.TEST)).indptr)
    # The peer's is 34.4 with a deviation of 11.65 between samples; another factor moves the mean a little.
    assert l0.mean() == pytest.approx(34.4, abs=1.5)


@pytest.mark.parametrize("law", worlds.LAWS)
@pytest.mark.parametrize("m", [1_000, 10_000])
def test_the_same_number_of_features_fires_in_the_small_and_in_the_large_world(law, m):
    spec = worlds.scaled(law, m)
    assert spec.support.marginals().sum() == pytest.approx(32.0, rel=1e-9)
    assert m - worlds.TREE < spec.n_features <= m
    assert isinstance(spec.support, SecondOrderLaw)


def test_an_unknown_world_or_law_is_refused_by_name():
    with pytest.raises(ValueError, match="law must be one of equal"):
        worlds.scaled("nonsense", 1_000)
    with pytest.raises(ValueError, match="name must be"):
        worlds.raced("nonsense")


def test_the_rates_of_one_measurement_agree_with_each_other():
    model = worlds.scaled("zipf", 1_000).build(stream(0, Role.TRUTH))
    speed = generation.measure(model, threads=1, repetitions=6, least_seconds=0.001)
    assert 0 < speed["sample_ns_low"] <= speed["sample_ns"] <= speed["sample_ns_high"]
    assert speed["samples_per_s"] * speed["sample_ns"] == pytest.approx(1e9)
    assert speed["synthesis_over_gather_limit"] * speed["gather_limit_ns"] == pytest.approx(speed["synthesis_ns"])
    assert speed["sample_over_stream_limit"] * speed["stream_limit_ns"] == pytest.approx(speed["sample_ns"])
    assert min(speed[f"{stage}_ns"] for stage in generation.STAGES) > 0
    # 2,048 samples at least of an L0 with a standard deviation below sqrt(32): standard error below 0.13.
    assert speed["l0"] == pytest.approx(32.0, abs=0.7)
    # x is 64 float32, the codes 32 float32 and int32; what is asked for on the way is a few times as much.
    assert 64 * 4 + 32 * 8 < speed["peak_bytes_per_sample"] < 10 * (64 * 4 + 32 * 8)


def test_an_interval_of_a_median_covers_it_as_often_as_it_says():
    assert timing.median_interval(np.arange(9.0)) == (4.0, 1.0, 7.0)  # the second and the eighth of nine
    assert np.isnan(timing.median_interval([1.0, 2.0, 3.0, 4.0, 5.0]).low)
    assert timing.median_interval(np.arange(6.0)) == (2.5, 0.0, 5.0)
    draws, rng = 4_000, np.random.default_rng(0)
    found = [timing.median_interval(rng.exponential(size=9)) for _ in range(draws)]
    covered = sum(one.low <= np.log(2.0) <= one.high for one in found)
    exact = 1.0 - 20 / 2**9
    assert binom.ppf(1e-6, draws, exact) <= covered <= binom.isf(1e-6, draws, exact)
    with pytest.raises(ValueError, match="finite"):
        timing.median_interval([1.0, np.nan])
    with pytest.raises(ValueError, match="at least one"):
        timing.median_interval([])


def test_the_touch_of_the_memory_limit_reads_every_cache_line_of_every_row_that_fires():
    table = np.random.default_rng(0).random((20, 40), dtype=np.float32)
    indptr, indices = np.array([0, 0, 1, 6, 13]), np.array([3, 0, 5, 7, 8, 19, *range(7)], np.int32)
    out = np.empty((4, 40), np.float32)
    timing._touch(indptr, indices, table, out)
    lines = table[:, :: timing.LINE].sum(axis=1)
    for row in range(4):
        own = indices[indptr[row] : indptr[row + 1]]
        again = -len(own) % 4  # the last row is read again, from the cache, until four are full
        expected = lines[own].sum() + again * lines[own[-1]] if len(own) else 0.0
        assert out[row] == pytest.approx(np.full(40, expected), rel=1e-5)  # float32 sums of 21 numbers


def test_the_peak_counts_what_is_alive_and_the_threads_are_restored():
    assert timing.peak_bytes(lambda: np.ones(10**6)) >= 8 * 10**6
    assert timing.peak_bytes(lambda: None) < 10**5
    import numba

    before = numba.get_num_threads()
    with pytest.raises(ZeroDivisionError), timing.threads_set(1):
        assert numba.get_num_threads() == 1
        raise ZeroDivisionError
    assert numba.get_num_threads() == before


def test_a_race_asks_the_peer_for_its_times_and_says_how_many_fire(stand_in):
    model = worlds.scaled("equal", 1_000).build(stream(0, Role.TRUTH))
    with Peer(stand_in, "tree-1k", 1) as peer:
        found = generation.race(model, peer, 1, repetitions=6, least_seconds=0.001)
    assert found["peer"] == "sae-lens 0.0.0"
    assert (found["peer_l0"], found["peer_l0_sd"]) == (3.0, 0.0)
    assert found["times_peer_low"] <= found["times_peer"] <= found["times_peer_high"]
    assert set(found) == set(generation.absent())


def test_a_python_without_the_peer_says_what_is_missing(tmp_path, monkeypatch):
    (tmp_path / "sae_lens.py").write_text("raise ImportError('no sae_lens for the test')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        Peer(Path(sys.executable), "tree-1k", 1) as peer,
        pytest.raises(PeerFailedError, match=r"status 1.*no sae_lens"),
    ):
        peer.ask("time", 1)


def test_the_command_writes_a_table_without_the_peer_and_says_what_holds(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generation, "SHAPES", {})
    monkeypatch.setattr(generation, "LAWS", ("equal",))
    monkeypatch.setattr(generation, "SIZES", (1_000, 2_000))
    out = tmp_path / "speed.csv"
    generation.main(["--out", str(out), "--repetitions", "2", "--seconds", "0.001", "--threads", "1"])
    table = Table.read(out)
    assert table.levels("world") == ["equal-1000", "equal-2000"]
    assert table.levels("peer") == ["none"] and np.isnan(table.column("times_peer")).all()
    assert "threads" in out.with_suffix(".provenance.json").read_text(encoding="utf-8")
    assert "a support takes" in capsys.readouterr().out


def test_an_interpreter_that_is_not_there_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        generation.main(["--peer-python", str(tmp_path / "nowhere")])
    assert "there is no file" in capsys.readouterr().err


def invented(**changes: float) -> Table:
    """Two sizes of one law and a race in which everything holds, but for the ``changes`` in the last row of each."""
    base = {"threads": 1, "support_ns": 100.0, "synthesis_ns": 100.0, "synthesis_over_gather_limit": 2.0, "l0": 34.4,
            "peer": "none", "peer_l0": np.nan, "times_peer": np.nan, "times_peer_low": np.nan,
            "times_peer_high": np.nan}  # fmt: skip
    race = {"peer": "sae-lens 0", "peer_l0": 34.5, "times_peer": 30.0, "times_peer_low": 25.0, "times_peer_high": 35.0}
    rows = [
        {"world": "equal-1000", "law": "equal", "n_features": 1_000, **base},
        {"world": "equal-9000", "law": "equal", "n_features": 9_000, **base},
        {"world": "tree-16k", "law": "peer", "n_features": 16_384, **base, **race},
    ]
    for row in rows[1:]:
        row.update({name: value for name, value in changes.items() if row[name] == row[name]})
    return Table.of_rows(rows[0], [list(row.values()) for row in rows])


def test_a_sentence_holds_by_its_numbers_and_not_otherwise():
    assert all(line.startswith("holds") for line in verdicts.sentences(invented()))
    for change in ({"support_ns": 201.0}, {"times_peer_low": 19.0}, {"synthesis_over_gather_limit": 3.1}):
        broken = [line for line in verdicts.sentences(invented(**change)) if line.startswith("DOES NOT HOLD")]
        assert len(broken) == (2 if "synthesis_over_gather_limit" in change else 1)
    few = verdicts.sentences(invented(times_peer_low=float("nan")))  # too few repetitions for an interval
    assert sum(line.startswith("DOES NOT HOLD") for line in few) == 1
