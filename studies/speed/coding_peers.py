"""Other libraries' sparse coders in a process of their own: ``python -m studies.speed.coding_peers DATA``.

DATA is an ``.npz`` of x, atoms, k and penalty. A line ``time METHOD n`` is answered by the seconds of coding n samples,
``codes METHOD n`` by a file of the codes, ``learn METHOD n`` by seconds and a file of the atoms after n samples.
``METHOD@1e-4`` sets a tolerance. OMP_NUM_THREADS says how many threads. Nothing of ours is imported.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

Data = dict[str, Any]
ITERATIONS = 100_000


def waited() -> float:
    """Return the seconds for which threads of this process waited for a core; 0 where the system does not say."""
    total = 0
    for task in Path("/proc/self/task").glob("*/schedstat"):
        try:
            total += int(task.read_text(encoding="ascii").split()[1])
        except (OSError, IndexError):  # the thread has ended
            continue
    return total / 1e9


def _sklearn_gram(data: Data, n: int, tolerance: float, threads: int) -> Any:
    from sklearn.linear_model import orthogonal_mp_gram

    atoms, x = data["atoms"], data["x"][:n]
    return orthogonal_mp_gram(atoms @ atoms.T, (x @ atoms.T).T, n_nonzero_coefs=int(data["k"])).T


def _sklearn_encode(data: Data, n: int, tolerance: float, threads: int) -> Any:
    from sklearn.decomposition import sparse_encode

    k = int(data["k"])
    return sparse_encode(data["x"][:n], data["atoms"], algorithm="omp", n_nonzero_coefs=k, n_jobs=threads)


def _sklearn_lars(data: Data, n: int, tolerance: float, threads: int) -> Any:
    from sklearn.decomposition import sparse_encode

    return sparse_encode(
        data["x"][:n],
        data["atoms"],
        algorithm="lasso_lars",
        alpha=float(data["penalty"]),
        n_jobs=threads,
        max_iter=10_000,
        positive=bool(data["non_negative"]),
    )


def _sklearn_cd(data: Data, n: int, tolerance: float, threads: int) -> Any:
    from sklearn.linear_model import Lasso

    x, atoms = data["x"][:n], np.asfortranarray(data["atoms"].T)
    model = Lasso(
        alpha=float(data["penalty"]) / len(atoms),
        fit_intercept=False,
        tol=tolerance,
        max_iter=ITERATIONS,
        positive=bool(data["non_negative"]),
    )
    return np.array([model.fit(atoms, row).coef_ for row in x])


def _sklearn_gram_cd(data: Data, n: int, tolerance: float, threads: int) -> Any:
    from sklearn.linear_model import _cd_fast  # the fastest that scikit-learn has, below its public interface

    x, atoms = data["x"][:n].astype(np.float64), data["atoms"].astype(np.float64)
    gram, rng, out = atoms @ atoms.T, np.random.RandomState(0), np.zeros((n, len(data["atoms"])))
    for row, code in zip(x, out, strict=True):
        level, positive = float(data["penalty"]), bool(data["non_negative"])
        _cd_fast.enet_coordinate_descent_gram(
            code, level, 0.0, gram, atoms @ row, row, ITERATIONS, tolerance, rng, False, positive
        )
    return out


def _spams_columns(data: Data, n: int) -> tuple[Any, Any]:
    return np.asfortranarray(data["x"][:n].T), np.asfortranarray(data["atoms"].T)


def _spams_omp(data: Data, n: int, tolerance: float, threads: int) -> Any:
    import spams

    return spams.omp(*_spams_columns(data, n), L=int(data["k"]), numThreads=threads).T


def _spams_lasso(data: Data, n: int, threads: int, **options: Any) -> Any:
    import spams

    level, positive = float(data["penalty"]), bool(data["non_negative"])
    x, atoms = _spams_columns(data, n)
    return spams.lasso(x, atoms, lambda1=level, mode=2, pos=positive, numThreads=threads, **options).T


def _spams_cd(data: Data, n: int, tolerance: float, threads: int) -> Any:
    import spams
    from scipy.sparse import csc_matrix

    x, atoms = _spams_columns(data, n)
    start = csc_matrix((atoms.shape[1], n), dtype=x.dtype)
    level = float(data["penalty"])
    return spams.cd(x, atoms, start, lambda1=level, mode=2, itermax=ITERATIONS, tol=tolerance).T


def _dictlearn(algorithm: str) -> Callable[[Data, int, float, int], Any]:
    def code(data: Data, n: int, tolerance: float, threads: int) -> Any:
        import dictlearn

        return dictlearn.sparse_encode(
            data["x"][:n], data["atoms"], algorithm=algorithm, n_nonzero_coefs=int(data["k"])
        )

    return code


def _celer(data: Data, n: int, tolerance: float, threads: int) -> Any:
    from celer import Lasso

    x, atoms = data["x"][:n].astype(np.float64), np.asfortranarray(data["atoms"].T.astype(np.float64))
    level, positive = float(data["penalty"]) / len(atoms), bool(data["non_negative"])
    model = Lasso(alpha=level, fit_intercept=False, tol=tolerance, max_iter=1000, positive=positive)
    return np.array([model.fit(atoms, row).coef_.copy() for row in x])


def _pylops_fista(data: Data, n: int, tolerance: float, threads: int) -> Any:
    from pylops import MatrixMult
    from pylops.optimization.sparsity import fista

    atoms = data["atoms"].T.astype(np.float64)
    step = 1.0 / np.linalg.norm(atoms, 2) ** 2
    operator, level = MatrixMult(atoms), 2.0 * float(data["penalty"])  # it minimises ||x - Az||^2 + eps |z|
    return np.array(
        [fista(operator, row, niter=ITERATIONS, eps=level, alpha=step, tol=tolerance)[0] for row in data["x"][:n]]
    )


def _sporco_fista(data: Data, n: int, tolerance: float, threads: int) -> Any:
    from sporco.pgm import bpdn

    atoms, x = data["atoms"].T.astype(np.float64), data["x"][:n].T.astype(np.float64)
    options = bpdn.BPDN.Options(
        {"Verbose": False, "MaxMainIter": 20_000, "RelStopTol": tolerance, "L": float(np.linalg.norm(atoms, 2) ** 2)}
    )
    return np.hstack([bpdn.BPDN(atoms, x[:, [row]], float(data["penalty"]), options).solve() for row in range(n)]).T


def _scipy_nnls(data: Data, n: int, tolerance: float, threads: int) -> Any:
    from scipy.optimize import nnls

    atoms = np.ascontiguousarray(data["atoms"].T)
    return np.array([nnls(atoms, row)[0] for row in data["x"][:n]])


def _spams_nnls(data: Data, n: int, tolerance: float, threads: int) -> Any:
    return _spams_lasso({**data, "penalty": 0.0, "non_negative": True}, n, threads)


METHODS: dict[str, dict[str, tuple[str, Any]]] = {
    "omp": {
        "sklearn orthogonal_mp_gram": ("sklearn", _sklearn_gram),
        "sklearn sparse_encode": ("sklearn", _sklearn_encode),
        "SPAMS omp": ("spams", _spams_omp),
        "dictlearn batch_omp": ("dictlearn", _dictlearn("batch_omp")),
    },
    "lasso": {
        "sklearn LARS": ("sklearn", _sklearn_lars),
        "sklearn CD": ("sklearn", _sklearn_cd),
        "sklearn Gram CD": ("sklearn", _sklearn_gram_cd),
        "SPAMS LARS": ("spams", lambda data, n, tolerance, threads: _spams_lasso(data, n, threads)),
        "SPAMS LARS Cholesky": ("spams", lambda data, n, tol, threads: _spams_lasso(data, n, threads, cholesky=True)),
        "SPAMS CD": ("spams", _spams_cd),
        "celer": ("celer", _celer),
        "pylops FISTA": ("pylops", _pylops_fista),
        "sporco FISTA": ("sporco", _sporco_fista),
    },
    "nn_omp": {"dictlearn nnomp": ("dictlearn", _dictlearn("nnomp"))},
    "nn_lasso": {
        "sklearn CD": ("sklearn", _sklearn_cd),
        "sklearn Gram CD": ("sklearn", _sklearn_gram_cd),
        "SPAMS LARS": ("spams", lambda data, n, tolerance, threads: _spams_lasso(data, n, threads)),
        "celer": ("celer", _celer),
    },
    "nnls": {"scipy nnls": ("scipy", _scipy_nnls), "SPAMS LARS": ("spams", _spams_nnls)},
}


def _sklearn_learn(data: Data, budget: int, threads: int) -> Any:
    from sklearn.decomposition import MiniBatchDictionaryLearning

    model = MiniBatchDictionaryLearning(
        len(data["truth"]),
        alpha=0.2,
        fit_algorithm="cd",
        batch_size=256,
        max_iter=1,
        n_jobs=threads,
        random_state=0,
        max_no_improvement=None,
        tol=0.0,
    )
    for low in range(0, budget, len(data["x"])):
        x = data["x"][: budget - low]
        for start in range(0, len(x), 256):
            model.partial_fit(x[start : start + 256])
    return model.components_


def _spams_learn(**options: Any) -> Callable[[Data, int, int], Any]:
    def learn(data: Data, budget: int, threads: int) -> Any:
        import spams

        x = np.asfortranarray(data["x"].T)
        width, steps = len(data["truth"]), max(1, budget // 256)
        return spams.trainDL(x, K=width, iter=steps, batchsize=256, numThreads=threads, verbose=False, **options).T

    return learn


LEARNERS: dict[str, tuple[str, Callable[[Data, int, int], Any]]] = {
    "sklearn MiniBatchDictionaryLearning": ("sklearn", _sklearn_learn),
    "SPAMS trainDL l0": ("spams", _spams_learn(mode=3, lambda1=4)),
    "SPAMS trainDL lasso": ("spams", _spams_learn(mode=2, lambda1=0.2)),
}
METHODS["learn"] = {name: (module, None) for name, (module, _) in LEARNERS.items()}
PACKAGES = {"sklearn": "scikit-learn", "spams": "spams-bin"}
LADDER = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)  # tolerances that a peer is given until its gap is small enough
SLOW = ("celer", "pylops FISTA", "sporco FISTA")  # raced on one thread and in float64 only
TUNED = ("sklearn CD", "sklearn Gram CD", "SPAMS CD", "celer", "pylops FISTA", "sporco FISTA")


def describe(task: str) -> dict[str, dict[str, str]]:
    """Return the methods of ``task`` with the versions they are of, and those left out with the reason."""
    present, skipped = {}, {}
    for method, (module, _) in METHODS[task].items():
        try:
            importlib.import_module(module)
            package = PACKAGES.get(module, module)
            present[method] = f"{package} {metadata.version(package)}"
        except Exception as error:  # a library may fail to load in any way it likes
            skipped[method] = f"{type(error).__name__}: {error}"
    return {"present": present, "skipped": skipped}


def answer(data: Data, path: Path, threads: int, line: str) -> dict[str, Any]:
    """Return the reply to one line."""
    command, rest = line.strip().split(" ", 1)
    if command == "describe":
        return describe(str(data["task"]))
    named, count = rest.rsplit(" ", 1)
    method, _, tolerance = named.partition("@")
    if command == "learn":
        before, started = waited(), time.perf_counter()
        atoms = LEARNERS[method][1](data, int(count), threads)
        seconds, lost = time.perf_counter() - started, waited() - before
        np.save(path.with_suffix(".npy"), atoms)
        return {"seconds": seconds, "waited": lost / seconds, "path": str(path.with_suffix(".npy"))}
    code = METHODS[str(data["task"])][method][1]
    before, started = waited(), time.perf_counter()
    codes = code(data, int(count), float(tolerance or LADDER[0]), threads)
    seconds, lost = time.perf_counter() - started, waited() - before
    if command == "codes":
        np.save(path.with_suffix(".npy"), codes.toarray() if hasattr(codes, "toarray") else np.asarray(codes))
        return {"path": str(path.with_suffix(".npy"))}
    return {"seconds": seconds, "waited": lost / seconds}


def main() -> None:
    """Answer until the input ends. What others print goes to standard error; a failed method is an answer too."""
    replies, sys.stdout = sys.stdout, sys.stderr
    path, threads = Path(sys.argv[1]), int(os.environ.get("OMP_NUM_THREADS", "1"))
    with np.load(path) as stored:
        data = {name: stored[name] for name in stored.files}
    import warnings

    warnings.simplefilter("ignore")
    for line in sys.stdin:
        try:
            reply = answer(data, path, threads, line)
        except Exception as error:  # reported with the method's name by who asked
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
