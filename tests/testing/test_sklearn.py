"""The scikit-learn wrapper passes scikit-learn's own checks, and is its solver bit for bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array, issparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsesim import Role, stream
from sparsesim.sklearn import DictionaryEstimator
from sparsesim.solvers import KSVD, KMeans, OrthogonalMatchingPursuit, TopK, Training
from sparsesim.testing.conformance import toy_samples

ROOT = Path(__file__).resolve().parents[2]
SOLVER = KSVD(12, OrthogonalMatchingPursuit(2), iterations=5)
ESTIMATORS = [
    DictionaryEstimator(),
    DictionaryEstimator(KMeans(1), random_state=0),  # one atom, since some checks have one sample
    DictionaryEstimator(TopK(5, 1, training=Training(steps=5, batch_size=16)), sparse_output=True),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


def test_it_is_its_solver_bit_for_bit():
    x = toy_samples()
    model = DictionaryEstimator(SOLVER, random_state=3).fit(x)
    fitted = SOLVER.fit(x, rng=stream(3, Role.SOLVER))
    assert np.array_equal(model.components_, fitted.atoms)
    assert np.array_equal(model.bias_, fitted.bias)
    codes = model.transform(x)
    assert np.array_equal(codes, fitted.encode(x).toarray())
    assert np.array_equal(model.inverse_transform(codes), fitted.decode(fitted.encode(x)))
    assert model.get_feature_names_out()[11] == "dictionaryestimator11"


def test_sparse_output_is_the_same_codes_as_csr():
    x = toy_samples()
    dense = DictionaryEstimator(SOLVER, random_state=0).fit(x)
    sparse = DictionaryEstimator(SOLVER, random_state=0, sparse_output=True).fit(x)
    codes = sparse.transform(x)
    assert issparse(codes)
    assert codes.format == "csr"
    assert np.array_equal(codes.toarray(), dense.transform(x))
    assert np.array_equal(sparse.inverse_transform(codes), dense.inverse_transform(dense.transform(x)))


def test_single_precision_stays_single():
    x = toy_samples().astype(np.float32)
    model = DictionaryEstimator(SOLVER, random_state=0).fit(x)
    codes = model.transform(x)
    assert codes.dtype == model.inverse_transform(codes).dtype == np.float32
    assert model.__sklearn_tags__().transformer_tags.preserves_dtype == ["float64", "float32"]


def test_the_score_is_the_explained_variance():
    x = toy_samples() + 3.0
    model = DictionaryEstimator(SOLVER, random_state=0).fit(x)
    rest = x - model.inverse_transform(model.transform(x))
    # A sum of 3200 squares in another order: rounding of 1e-13.
    assert model.score(x) == pytest.approx(1.0 - np.square(rest).sum() / (x.var(axis=0).sum() * len(x)), abs=1e-12)
    assert np.isnan(model.score(x[:1]))


def test_settings_of_the_solver_are_parameters():
    model = DictionaryEstimator(SOLVER)
    names = model.get_params()
    assert names["solver__encoder__k"] == 2
    assert names["solver__width"] == 12
    assert "solver__encoder__k" not in model.get_params(deep=False)
    assert model.set_params(solver__encoder__k=3, solver__width=9) is model
    assert model.solver == KSVD(9, OrthogonalMatchingPursuit(3), iterations=5)
    assert SOLVER.encoder.k == 2  # a specification is not changed
    assert clone(model).get_params() == model.get_params()
    model.set_params(solver__width=4, solver=SOLVER)  # the new solver first
    assert model.solver.width == 4
    with pytest.raises(ValueError, match="Invalid parameter 'solver__wdith'"):
        model.set_params(solver__wdith=4)
    with pytest.raises(ValueError, match="k must lie in"):
        model.set_params(solver__encoder__k=0)


def test_it_works_in_a_grid_search_and_a_pipeline():
    x = toy_samples(90)
    pipeline = make_pipeline(StandardScaler(), DictionaryEstimator(SOLVER, random_state=0))
    grid = {"dictionaryestimator__solver__encoder__k": [1, 3]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(x)
    assert search.best_params_ == {"dictionaryestimator__solver__encoder__k": 3}  # more atoms explain more
    assert search.transform(x).shape == (90, 12)


@pytest.mark.parametrize("make", [lambda: np.random.default_rng(5), lambda: np.random.RandomState(5)])
def test_a_generator_is_used_and_advances(make):
    x, state = toy_samples(50), make()
    first = DictionaryEstimator(SOLVER, random_state=state).fit(x).components_
    assert np.array_equal(first, DictionaryEstimator(SOLVER, random_state=make()).fit(x).components_)
    assert not np.array_equal(first, DictionaryEstimator(SOLVER, random_state=state).fit(x).components_)


def test_without_a_random_state_the_global_one_is_left_alone():
    before = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    first, second = (DictionaryEstimator(SOLVER).fit(toy_samples(50)).components_ for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(before, np.random.get_state(legacy=False)["state"]["key"])  # noqa: NPY002


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda: DictionaryEstimator(TopK).fit(np.eye(3)), "solver must have width"),
        (lambda: DictionaryEstimator(SOLVER, random_state="0").fit(np.eye(3)), "random_state must be"),
        (lambda: DictionaryEstimator(SOLVER, random_state=-1).fit(np.eye(3)), "seed must lie in"),
        (lambda: DictionaryEstimator().fit(np.eye(3)).inverse_transform(np.eye(4)), "X has 4 columns"),
        (lambda: DictionaryEstimator().fit(np.eye(3)).inverse_transform(csr_array(np.eye(4))), "codes have 4 columns"),
    ],
)
def test_bad_arguments_are_refused(action, message):
    with pytest.raises((TypeError, ValueError), match=message):
        action()


def test_the_package_does_without_scikit_learn_and_says_what_to_install():
    code = (
        "import sys; sys.modules['sklearn'] = None; import sparsesim.solvers, sparsesim.testing\n"
        "try: import sparsesim.sklearn\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 'pip install "sparsesim[sklearn]"' in done.stdout
