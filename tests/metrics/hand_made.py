"""Tiny worlds and solutions made by hand, from the protocols alone."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_array, vstack

import sparsesim.metrics
from sparsesim._arrays import unit_rows
from sparsesim.metrics.evaluation import Evaluation
from sparsesim.solvers.base import FittedDictionary, Status


@dataclass(frozen=True)
class Law:
    """Says who is whose parent, as a support law does: -1 for a root."""

    parents: tuple[int, ...]

    @property
    def n_features(self) -> int:
        return len(self.parents)


@dataclass(frozen=True)
class Spec:
    support: Law


@dataclass(frozen=True)
class Targets:
    """Says which features a downstream task depends on."""

    features: np.ndarray


@dataclass(frozen=True, eq=False)
class Truth:
    atoms: np.ndarray
    bias: np.ndarray
    spec: Spec | None = None
    targets: Targets | None = None

    @property
    def n_features(self) -> int:
        return len(self.atoms)


@dataclass(frozen=True, eq=False)
class Samples:
    x: np.ndarray
    codes: csr_array


@dataclass(frozen=True)
class Correlations:
    """Keeps the correlations above a share of the row's norm: equivariant to rotation, order, sign and scale."""

    share: float = 0.35

    def encode(self, x, atoms):
        scores = x @ atoms.T
        limit = self.share * np.linalg.norm(x, axis=1, keepdims=True)
        return csr_array(np.where(np.abs(scores) > limit, scores, 0))


@dataclass(frozen=True, eq=False)
class Given:
    """Returns the codes it was given."""

    codes: csr_array

    def encode(self, x, atoms):
        return self.codes


@dataclass(frozen=True, eq=False)
class InParts:
    """Encodes ``size`` rows at a time."""

    inner: FittedDictionary
    size: int

    @property
    def atoms(self):
        return self.inner.atoms

    @property
    def bias(self):
        return self.inner.bias

    @property
    def width(self):
        return self.inner.width

    def encode(self, x):
        return csr_array(vstack([self.inner.encode(x[i : i + self.size]) for i in range(0, len(x), self.size)]))

    def decode(self, codes):
        return self.inner.decode(codes)


def unit(rng, count, d):
    return unit_rows(rng.standard_normal((count, d)))[0]


def fitted(atoms, encoder, bias=None):
    return FittedDictionary(
        np.asarray(atoms), np.zeros(np.shape(atoms)[1]) if bias is None else bias, encoder, Status.CONVERGED
    )


def evaluation(atoms, true_codes, learned, learned_codes=None, *, bias=None, noise=0.0, parents=None):
    """The evaluation of ``learned`` atoms with given codes (or `Correlations`) on ``x = true_codes @ atoms + bias``."""
    bias = np.zeros(np.shape(atoms)[1]) if bias is None else bias
    true_codes = np.asarray(true_codes, dtype=np.float64)
    x = true_codes @ atoms + bias + noise
    encoder = Correlations() if learned_codes is None else Given(csr_array(np.asarray(learned_codes, dtype=np.float64)))
    truth = Truth(np.asarray(atoms), bias, None if parents is None else Spec(Law(parents)))
    return Evaluation(truth, fitted(learned, encoder, bias), Samples(x, csr_array(true_codes)))


@dataclass(frozen=True, eq=False)
class World:
    """All that an evaluation is made of, in dense arrays, so that a test can transform it."""

    atoms: np.ndarray
    codes: np.ndarray
    bias: np.ndarray
    learned: np.ndarray
    noise: np.ndarray
    parents: tuple[int, ...]
    relevant: tuple[int, ...] = (0, 1)

    def reordered(self, order):
        """The same world with its true features in another order."""
        place = np.argsort(order)
        parents = tuple(int(place[self.parents[i]]) if self.parents[i] >= 0 else -1 for i in order)
        relevant = tuple(int(place[i]) for i in self.relevant)
        return replace(self, atoms=self.atoms[order], codes=self.codes[:, order], parents=parents, relevant=relevant)

    def evaluation(self, dtype=np.float64, size=None):
        x = (self.codes @ self.atoms + self.bias + self.noise).astype(dtype)
        solution = fitted(self.learned.astype(dtype), Correlations(), self.bias.astype(dtype))
        codes = csr_array(self.codes.astype(dtype))
        return Evaluation(
            Truth(
                self.atoms.astype(dtype),
                self.bias.astype(dtype),
                Spec(Law(self.parents)),
                Targets(np.array(self.relevant)),
            ),
            solution if size is None else InParts(solution, size),
            Samples(x, codes),
        )


def world(seed=0, n=60, m=7, d=6, p=9, error=0.15):
    """A half-learned world: noisy copies of most atoms, two random ones, signed codes, one feature that never fires."""
    rng = np.random.default_rng(seed)
    atoms = unit(rng, m, d)
    close = atoms[rng.permutation(m)[: min(m, p - 2)]] + error * rng.standard_normal((min(m, p - 2), d))
    learned = unit_rows(
        np.concatenate([close * rng.choice([-1.0, 1.0], (len(close), 1)), unit(rng, p - len(close), d)])
    )[0]
    codes = (rng.random((n, m)) < 0.25) * rng.gamma(3.0, 1.0, (n, m)) * np.where(rng.random((n, m)) < 0.2, -1.0, 1.0)
    codes[:, m - 1] = 0.0
    parents = tuple(i - i % 3 if i % 3 else -1 for i in range(m))  # a child also fires alone: more cases, same gauges
    return World(atoms, codes, rng.standard_normal(d), learned, 0.05 * rng.standard_normal((n, d)), parents)


def all_metrics() -> dict[str, Callable[[Evaluation], float]]:
    """Every public function of sparsesim.metrics that takes an evaluation alone and returns a float, by name."""
    found = {}
    for info in pkgutil.iter_modules(sparsesim.metrics.__path__, "sparsesim.metrics."):
        module = importlib.import_module(info.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            signature = inspect.signature(function)
            if (
                function.__module__ == info.name
                and not name.startswith("_")
                and list(signature.parameters) == ["evaluation"]
                and signature.return_annotation == "float"
            ):
                found[name] = function
    return found


METRICS = all_metrics()

# Scores of what a world or a solution may lack, which are NaN then.
NEED_SAMPLES = {"linear_error_share", "linear_error_norm_share"}  # more than the rank of x and one
NEED_HIERARCHY = {"parent_recall_child_on", "parent_recall_child_off", "absorption_gap", "absorption_score",
                  "absorption_rate", "parent_hedging", "flat_error", "hierarchical_error"}  # fmt: skip
NEED_LIFE = {"composition", "fake_feature_ratio", "connectivity", "negative_interference", "dci_disentanglement",
             "dci_completeness", "infom", "infoc"}  # fmt: skip  # latents that fire
NEED_ATOMS = {"stable_rank", "effective_rank", "out_of_distribution"}
NEED_TARGETS = {"mcc_irrelevant"}  # of a downstream task, on which some features have no bearing
NEED_CORRELATION = {"hedging_score"}  # of a matched feature with another
NEED_FEATURES = {"code_error", "mcc_by_energy", "feature_splitting", "soft_identifiability",
                 "soft_identifiability_gain", "code_mcc", "code_mcc_spearman", "code_r2", "mig", "infoe",
                 "dci_informativeness"}  # fmt: skip  # that fire
