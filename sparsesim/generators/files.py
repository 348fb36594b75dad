"""Worlds on disk: a folder with the specification as JSON and the arrays as safetensors, checked to the last byte.

The two files say everything; nothing is pickled and nothing in them is executed. A specification is rebuilt from the
classes that `sparsesim.generators` exports and from no others, each of which checks its own numbers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import platform
import shutil
import uuid
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from sparsesim._arrays import FloatArray, Rng, check_int, check_samples
from sparsesim.generators.base import FeatureModel, FeatureSpec

Array: TypeAlias = npt.NDArray[Any]

SPEC_FILE, ARRAYS_FILE = "world.json", "arrays.safetensors"
FORMAT, VERSION = "sparsesim world", 1
_PARTS = {"spec", "entropy", "arrays", "content", "libraries"}
_ROUNDING = 1e-9  # relative to the largest entry; what another machine's linear algebra may differ by
_LIBRARIES = ("sparsesim", "numpy", "scipy", "numba", "safetensors")
_FORMER = ".old"  # how the name of a world ends while it is being replaced
_DAMAGED = "Copy the folder again, or save the world anew."


@final
@dataclass(frozen=True)
class StoredAtoms:
    """The directions are those of a saved world; the specification holds their content hash only.

    For directions that no law computes, such as those of another tool's model: `StoredAtoms.of` gives the geometry of
    an array, and the world is ``FeatureModel(spec, atoms, bias)``.

    Parameters
    ----------
    sha256 : hash of the directions (hex), as 64-bit little-endian floats row by row.
    m, d : their shape.
    """

    sha256: str
    m: int
    d: int

    def __post_init__(self) -> None:
        if not isinstance(self.sha256, str) or len(self.sha256) != 64 or set(self.sha256) - set("0123456789abcdef"):
            raise ValueError(
                f"sha256 must be 64 lower-case hexadecimal digits; got {self.sha256!r}. Use StoredAtoms.of(atoms)."
            )
        check_int("m", self.m, 1)
        check_int("d", self.d, 1)

    @classmethod
    def of(cls, atoms: FloatArray) -> StoredAtoms:
        """Return the geometry whose directions are ``atoms (m, d)``."""
        rows = np.ascontiguousarray(check_samples(atoms, "atoms"), dtype="<f8")
        return cls(hashlib.sha256(rows.tobytes()).hexdigest(), *rows.shape)

    def atoms(self, m: int, d: int, rng: Rng) -> FloatArray:
        """Raise, since the directions are in a folder, not in the specification."""
        raise ValueError(
            f"the directions with SHA-256 {self.sha256[:12]}... are stored beside the specification, which cannot "
            "rebuild them. Load the world with FeatureModel.load(folder)."
        )


def save(model: FeatureModel, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write ``model`` to ``folder``, which afterwards holds the whole world or is as it was before.

    The files are written to a new folder beside it, which is then renamed. ``folder`` gets `SPEC_FILE` (the
    specification, the versions of the libraries, hashes) and `ARRAYS_FILE` (atoms, bias, and what was drawn for
    observation, segments and targets). To overwrite takes two renames: a process that is killed between them leaves the
    former world whole in a hidden folder beside, which `load` names.

    Parameters
    ----------
    overwrite : replace ``folder`` if it is a saved world; anything else is never deleted.

    Raises
    ------
    FileExistsError
        If ``folder`` exists and ``overwrite`` is not set, or is not a saved world.
    OSError
        If ``folder`` comes into being, with something in it, while this one is written.
    TypeError
        If the specification holds an object whose class `sparsesim.generators` does not export.
    ValueError
        If the atoms are not those that a `StoredAtoms` geometry names, or atoms and bias are not floats of their
        shapes: what is saved can be loaded.
    """
    target = Path(folder).resolve()
    _check_free(target, overwrite)
    files = _files(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    fresh = target.with_name(f".{target.name}.{token}.partial")
    fresh.mkdir()
    try:
        for name, content in files.items():
            _write(fresh / name, content)
        if overwrite and os.path.lexists(target):
            _replace(target, fresh, target.with_name(f".{target.name}.{token}{_FORMER}"))
        else:
            fresh.rename(target)  # refused by the system if a folder with something in it has appeared there
    except BaseException:  # an interrupt, too, must leave nothing half-written
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _check_free(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise FileExistsError(f"{target} exists already. Choose another folder, or pass overwrite=True.")
    if not target.is_dir() or {entry.name for entry in target.iterdir()} != {SPEC_FILE, ARRAYS_FILE}:
        raise FileExistsError(
            f"{target} is not a saved world (a folder with {SPEC_FILE} and {ARRAYS_FILE} only), so it is not replaced. "
            "Choose another folder."
        )


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _replace(target: Path, fresh: Path, old: Path) -> None:
    """Rename ``fresh`` to ``target``; the world already there is moved aside first and deleted last."""
    try:
        target.rename(old)
        _check_free(old, overwrite=True)  # it may have changed while the files were written
        fresh.rename(target)
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(target):
            old.rename(target)
        raise
    shutil.rmtree(old)


def load(folder: str | os.PathLike[str]) -> FeatureModel:
    """Return the world saved in ``folder``: equal specification, the same arrays to the last bit, the same samples.

    Raises
    ------
    FileNotFoundError
        If one of the two files is missing; after a killed overwrite it says where the former world is.
    ValueError
        If a file is not what was saved (which one is named), was written by a newer format, names a class that
        `sparsesim.generators` does not export, or holds arrays of other shapes than the specification says.
    """
    described, blob = _read(Path(folder))
    document = _document(described)
    if hashlib.sha256(blob).hexdigest() != document["arrays"]:
        raise ValueError(
            f"{ARRAYS_FILE} is not the file that {SPEC_FILE} was saved with: its SHA-256 differs. {_DAMAGED}"
        )
    try:
        arrays = safetensors.numpy.load(blob)
    except (SafetensorError, TypeError, KeyError) as error:  # the last two for types that numpy does not have
        raise ValueError(f"{ARRAYS_FILE} is not a safetensors file of numpy's types ({error!r}). {_DAMAGED}") from error
    try:
        spec = _decode(document["spec"])
    except RecursionError as error:
        raise ValueError(f"{SPEC_FILE} is nested deeper than any specification. {_DAMAGED}") from error
    if not isinstance(spec, FeatureSpec):
        raise ValueError(f"{SPEC_FILE} must describe a FeatureSpec; got {type(spec).__name__}.")
    return _assemble(spec, document["entropy"], arrays, document["libraries"])


def _read(folder: Path) -> tuple[bytes, bytes]:
    try:
        return (folder / SPEC_FILE).read_bytes(), (folder / ARRAYS_FILE).read_bytes()
    except FileNotFoundError as error:
        place = folder.resolve()
        former = [beside.name for beside in _beside(place) if not place.exists()]
        if not former:
            raise
        raise FileNotFoundError(
            f"{place} is missing: an overwrite was killed, and the former world is beside it in {former[0]}. Rename "
            "that folder back."
        ) from error


def _beside(place: Path) -> list[Path]:
    """Return the folders to which worlds at ``place`` were moved aside."""
    entries = place.parent.iterdir() if place.parent.is_dir() else ()
    return sorted(path for path in entries if path.name.startswith(f".{place.name}.") and path.suffix == _FORMER)


def _check_shapes(spec: FeatureSpec, arrays: dict[str, Array]) -> None:
    m, d = spec.n_features, spec.dim
    found = {name: (arrays[name].shape, arrays[name].dtype.kind) for name in ("atoms", "bias") if name in arrays}
    if found != {"atoms": ((m, d), "f"), "bias": ((d,), "f")}:
        raise ValueError(
            f"{ARRAYS_FILE} must hold atoms of shape (m, d)=({m}, {d}) and bias of shape (d,)=({d},), both floats; "
            f"got {found}."
        )


def _assemble(spec: FeatureSpec, entropy: int, arrays: dict[str, Array], libraries: dict[str, str]) -> FeatureModel:
    _check_shapes(spec, arrays)
    model = FeatureModel(spec, arrays.pop("atoms"), arrays.pop("bias"), entropy)
    _check_identity(model)
    drawn = _drawn(model)
    if drawn.keys() != arrays.keys() or not all(_same(drawn[name], arrays[name]) for name in drawn):
        raise ValueError(
            f"{ARRAYS_FILE} holds other draws of observation, segments or targets ({sorted(arrays)}) than the "
            f"specification gives here ({sorted(drawn)}). They were made with {libraries}: use these versions."
        )
    return model


def _drawn(model: FeatureModel) -> dict[str, Array]:
    """Return the arrays and numbers that the model drew beside its atoms and bias, by where they are."""
    found: dict[str, Array] = {}

    def walk(name: str, value: object) -> None:
        if isinstance(value, np.ndarray | float):
            found[name] = np.ascontiguousarray(value)
        elif isinstance(value, tuple):
            for place, item in enumerate(value):
                walk(f"{name}.{place}", item)
        elif dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                walk(f"{name}.{field.name}", getattr(value, field.name))

    for name in ("observation", "segments", "targets"):
        walk(name, getattr(model, name))
    return found


def _same(drawn: Array, stored: Array) -> bool:
    """Return whether two arrays agree up to the rounding in which machines differ."""
    if drawn.shape != stored.shape or drawn.dtype != stored.dtype:
        return False
    slack = _ROUNDING * np.abs(stored).max(initial=0.0) if drawn.dtype.kind == "f" else 0
    return bool((np.abs(drawn - stored) <= slack).all())


def _check_identity(model: FeatureModel) -> None:
    said, own = model.spec.geometry, StoredAtoms.of(model.atoms)
    if isinstance(said, StoredAtoms) and said != own:
        raise ValueError(f"the atoms are not those of the specification: it says {said}, they are {own}.")


def _files(model: FeatureModel) -> dict[str, bytes]:
    _check_identity(model)
    # safetensors writes the memory as it lies, so it must lie row by row
    own = {name: np.ascontiguousarray(getattr(model, name)) for name in ("atoms", "bias")}
    _check_shapes(model.spec, own)
    blob = safetensors.numpy.save({**own, **_drawn(model)})
    spec, digest = _encode(model.spec), hashlib.sha256(blob).hexdigest()
    document = {
        "format": FORMAT,
        "version": VERSION,
        "content": hashlib.sha256(_text([spec, model.entropy, digest])).hexdigest(),
        "spec": spec,
        "entropy": model.entropy,
        "arrays": digest,
        "libraries": {"python": platform.python_version(), **{name: _version(name) for name in _LIBRARIES}},
    }
    return {SPEC_FILE: _sealed(document), ARRAYS_FILE: blob}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # run from a checkout
        return None


def _text(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _sealed(document: dict[str, Any]) -> bytes:
    """Return the file's bytes: the document with a hash of itself, written in the one way it can be written."""
    return _text({**document, "seal": hashlib.sha256(_text(document)).hexdigest()}) + b"\n"


def _document(content: bytes) -> dict[str, Any]:
    """Return what `SPEC_FILE` says, raising ValueError unless every byte is as it was saved."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{SPEC_FILE} is not JSON ({error}). {_DAMAGED}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(
            f"{SPEC_FILE} does not describe a world of sparsesim. Save one with FeatureModel.save(folder)."
        )
    if document.get("version") != VERSION:
        raise ValueError(
            f"{SPEC_FILE} has format version {document.get('version')!r}; this sparsesim reads version {VERSION}. "
            "Use the version of sparsesim that wrote it or a newer one."
        )
    body = {name: value for name, value in document.items() if name != "seal"}
    try:
        intact = _sealed(body) == content and body.keys() >= _PARTS and type(body["entropy"]) is int
    except (ValueError, RecursionError):  # NaN, which JSON does not have
        intact = False
    if (
        not intact
        or hashlib.sha256(_text([body["spec"], body["entropy"], body["arrays"]])).hexdigest() != body["content"]
    ):
        raise ValueError(f"{SPEC_FILE} is not as it was saved: its SHA-256 differs. {_DAMAGED}")
    return body


def _encode(value: object) -> Any:
    """Return ``value`` as JSON data from which `_decode` makes an equal one of the same types (numpy's become ours)."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isnan(value):
            raise ValueError("a specification must not hold NaN, since NaN equals nothing.")
        return {"float": str(value)} if math.isinf(value) else value
    if isinstance(value, tuple):
        return [_encode(item) for item in value]
    if dataclasses.is_dataclass(value) and _exported(type(value).__name__) is type(value):
        fields = {field.name: _encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, "fields": fields}
    raise TypeError(
        f"a saved specification is made of numbers, strings, tuples and the classes that sparsesim.generators exports; "
        f"got {type(value).__module__}.{type(value).__qualname__}, which load() would refuse."
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_decode(item) for item in value)
    if not isinstance(value, dict):
        return value
    if value.keys() == {"float"} and value["float"] in ("inf", "-inf"):
        return float(value["float"])
    kind = _exported(str(value.get("type")))
    if kind is None or value.keys() != {"type", "fields"} or not isinstance(value["fields"], dict):
        raise ValueError(
            f"{SPEC_FILE} names {value.get('type')!r}, which is not a specification that sparsesim.generators exports. "
            "It was written by another version or by something else."
        )
    try:
        return kind(**{name: _decode(item) for name, item in value["fields"].items()})
    except TypeError as error:
        raise ValueError(f"{SPEC_FILE} describes {value['type']} wrongly: {error}") from error


def _exported(name: str) -> type[Any] | None:
    """Return the class of that name that `sparsesim.generators` exports, if specifications are made of it."""
    from sparsesim import generators

    kind = getattr(generators, name) if name in dir(generators) and not name.startswith("_") else None
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        return None
    settings: Any = getattr(kind, "__dataclass_params__")  # noqa: B009 (type checkers do not know it)
    return kind if settings.frozen and settings.eq else None
