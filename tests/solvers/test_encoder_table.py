"""The table of encoders in the folder of solvers says what the code says."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from pathlib import Path

import sparsesim.solvers

TABLE = Path(sparsesim.solvers.__file__).parent / "README.md"
POSITIVE = {"NonNegativeLeastSquares", "NearestCentroid", "SimplexLeastSquares"}  # whose every code is


def encoders():
    """Return the encoders of given atoms outside ``neural`` by name."""
    found = {}
    for info in pkgutil.iter_modules(sparsesim.solvers.__path__, "sparsesim.solvers."):
        for name, kind in inspect.getmembers(importlib.import_module(info.name), inspect.isclass):
            at_home = kind.__module__ == info.name and dataclasses.is_dataclass(kind) and not inspect.isabstract(kind)
            if at_home and "atoms" in inspect.signature(getattr(kind, "encode", len)).parameters:
                found[name] = kind
    return found


def row(name, kind):
    fields = {field.name: str(field.type) for field in dataclasses.fields(kind)}
    bounded, stops = "k" in fields, "tolerance" in fields
    price = "penalty" in fields or ("level" in fields and not bounded)
    positive = "yes" if "non_negative" in fields else "always" if name in POSITIVE else ""
    if "BernoulliHalfNormal" in fields.get("prior", "") or "SpikeSlab" in fields.get("prior", ""):
        positive = "by prior"
    end = ("residual" if bounded else "optimality") if stops else ""
    cells = (
        "yes" if bounded else "",
        "yes" if price else "",
        positive,
        "yes" if hasattr(kind, "encode_from") else "",
        end,
    )
    return f"| `{name}` | " + " | ".join(cells) + " |"


def test_every_encoder_has_a_row_that_its_fields_bear_out():
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    assert lines == [row(name, kind) for name, kind in sorted(encoders().items())]
    assert len(lines) > 30


def test_those_without_a_field_for_it_are_non_negative_all_the_same():
    from test_encoder_contract import CENTROIDS, world

    from sparsesim.solvers.active_set import NonNegativeLeastSquares
    from sparsesim.solvers.archetypal import SimplexLeastSquares

    x, atoms = world()
    for encoder in (NonNegativeLeastSquares(), SimplexLeastSquares(), CENTROIDS):
        codes = encoder.encode(x, atoms)
        assert codes.nnz and codes.data.min() > 0 and type(encoder).__name__ in POSITIVE
