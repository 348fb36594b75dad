"""The house keeps its shape: who may import whom, what `import sparsesim` costs, no asserts, no global random state."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sparsesim", "theory", "studies", "paper_figures")
BASE = {"sparsesim._arrays", "sparsesim._files", "sparsesim._identity", "sparsesim._lazy", "sparsesim._source"}
BELOW_STUDY = BASE | {"sparsesim.kernels", "sparsesim.generators", "sparsesim.solvers", "sparsesim.metrics"}

# The longest matching prefix of a module decides what it may import of ours.
MAY_IMPORT = {
    "sparsesim._": BASE,
    "sparsesim": BASE,
    "sparsesim.sklearn": BASE | {"sparsesim.solvers"},
    "sparsesim.kernels": {f"sparsesim.kernels.{shared}" for shared in ("chains", "compiled", "greedy", "sampling")},
    "sparsesim.generators": BASE | {"sparsesim.kernels", "sparsesim.generators"},
    "sparsesim.solvers": BASE | {"sparsesim.kernels", "sparsesim.solvers"},
    "sparsesim.metrics": BASE | {"sparsesim.kernels", "sparsesim.solvers", "sparsesim.metrics"},
    "sparsesim.study": BELOW_STUDY | {"sparsesim.study", "sparsesim"},
    "sparsesim.report": BASE
    | {"sparsesim.report", "sparsesim.study.interval", "sparsesim.study.table"}
    | {"sparsesim.validate.result", "sparsesim.validate.files", "sparsesim.validate.versus"},
    "sparsesim.testing": BELOW_STUDY | {"sparsesim.study", "sparsesim.validate", "sparsesim.testing"},
    "sparsesim.validate": BELOW_STUDY | {"sparsesim.study", "sparsesim.validate"},
    "sparsesim.cli": BELOW_STUDY | {"sparsesim.study", "sparsesim.validate", "sparsesim.report", "sparsesim"},
    "sparsesim.__main__": {"sparsesim.cli"},
    "theory": {"theory"},
    "studies": BELOW_STUDY | {"sparsesim.study", "sparsesim.validate", "theory", "studies"},
    "paper_figures": {
        "sparsesim.report",
        "sparsesim.study.interval",
        "sparsesim.study.table",
        "studies.names",
        "theory",
        "paper_figures",
    },
}
# Outside packages that only some places may import.
FENCED = {
    "torch": (
        "sparsesim.solvers.neural",
        "sparsesim.generators.device",
        "sparsesim.generators.device_forest",
        "sparsesim.validate.checkpoint",
        "sparsesim.validate.training",
        "studies.speed",
    ),
    "numba": ("sparsesim.kernels", "studies.speed"),
    "triton": ("sparsesim.solvers.neural.device.language",),
    "matplotlib": ("sparsesim.report", "paper_figures"),
    "sklearn": ("sparsesim.solvers.baselines", "sparsesim.sklearn", "studies.speed"),
    "hypothesis": ("sparsesim.testing",),
    "pytest": ("sparsesim.testing",),
}
# Folders at the bottom take these packages from outside and no others.
OUTSIDE = {
    "sparsesim._": {"numpy", "scipy"},
    "sparsesim.kernels": {"numpy", "scipy.sparse", "numba"},
    "theory": {"numpy", "scipy"},
}


def modules():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(path: Path):
    """Names imported anywhere in the file, except below `if TYPE_CHECKING:` (seen by type checkers only)."""
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute in this house"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, prefixes) -> bool:
    return any(
        name == prefix or name.startswith((prefix + ".", prefix) if prefix.endswith("_") else prefix + ".")
        for prefix in prefixes
    )


def allowed(module: str) -> set[str]:
    fitting = [prefix for prefix in MAY_IMPORT if within(module, [prefix])]
    return MAY_IMPORT[max(fitting, key=len)]


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_module_imports_only_what_the_house_allows(module, path):
    for name in imported(path):
        if name.split(".")[0] in PACKAGES:
            exact = {"sparsesim"} & allowed(module)  # the bare package stands for its version only
            fits = within(name, allowed(module) - {"sparsesim"}) or (exact and name == "sparsesim.__version__")
            assert fits, f"{module} must not import {name}"
        for fenced, homes in FENCED.items():
            if name.split(".")[0] == fenced:
                assert within(module, homes), f"{module} must not import {fenced}"
        assert not within(name, ["matplotlib.pyplot"]), f"{module} must draw without pyplot, which is global state"
        for bottom, packages in OUTSIDE.items():
            if within(module, [bottom]) and name.split(".")[0] not in {*PACKAGES, *sys.stdlib_module_names}:
                assert within(name, packages), f"{module} must not import {name}"


def test_no_module_asserts_or_uses_global_random_state():
    random_calls = {"seed", "rand", "randn", "randint", "choice", "normal", "uniform", "permutation", "shuffle"}
    for module, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Assert), f"{module} asserts; python -O would skip the check"
            owner = getattr(node, "value", None)
            if isinstance(node, ast.Attribute) and isinstance(owner, ast.Attribute) and owner.attr == "random":
                numpy_global = getattr(owner.value, "id", "") in ("np", "numpy") and node.attr in random_calls
                # The conformance checks disturb the global state on purpose, to catch a solver that reads it.
                assert not numpy_global or module == "sparsesim.testing.conformance", (
                    f"{module} uses np.random.{node.attr}"
                )


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_import_sparsesim_leaves_the_heavy_packages_alone():
    code = (
        "import sparsesim, sys; import sparsesim.study, sparsesim.solvers, sparsesim.generators, sparsesim.metrics; "
        "import sparsesim.report, sparsesim.validate, sparsesim.testing; "
        "heavy = ('torch', 'numba', 'matplotlib', 'sklearn', 'scipy.optimize', 'joblib'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    assert run_python(code).strip() == "[]"


def test_drawing_a_figure_needs_neither_torch_nor_numba():
    code = (
        "import paper_figures.bakeoff, paper_figures.__main__, sys; "
        "print([m for m in ('torch', 'numba', 'sklearn') if m in sys.modules])"
    )
    assert run_python(code).strip() == "[]"


def test_every_lazy_name_resolves_and_is_known_to_type_checkers():
    import importlib

    for name in ("", ".generators", ".solvers", ".metrics", ".study", ".validate", ".report", ".testing"):
        package = importlib.import_module(f"sparsesim{name}")
        tree = ast.parse(Path(package.__file__).read_text())
        typed = {
            alias.asname
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
            for inner in ast.walk(node)
            if isinstance(inner, ast.ImportFrom)
            for alias in inner.names
        }
        lazy = {name for name in dir(package) if not name.startswith("_")}
        assert typed, f"{package.__name__} lists no names for type checkers"
        for attribute in lazy | typed:
            assert getattr(package, attribute) is not None
        assert typed <= lazy | set(vars(package)), f"{package.__name__}: {typed - lazy} is typed but not there"


def test_an_unknown_name_of_a_package_is_an_attribute_error():
    import sparsesim

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = sparsesim.nonsense


def test_only_the_package_is_in_the_wheel():
    import tomllib

    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert config["tool"]["setuptools"]["packages"]["find"]["include"] == ["sparsesim*"]


def test_no_file_carries_a_path_of_a_machine():
    import re

    pattern = re.compile(r"(^|[^A-Za-z0-9_.])/(home|root|Users|work)/")
    for module, path in modules():
        assert not pattern.search(path.read_text()), f"{module} holds an absolute path"
