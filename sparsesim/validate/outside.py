"""Somebody else's code as a `Solver`, so that the one runner, with its cells and keys, runs it like any other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar, dataclass, replace
from typing import Any, final

from sparsesim._arrays import FloatArray, Rng, check_int
from sparsesim._identity import fork
from sparsesim._source import Rows
from sparsesim.solvers.base import FittedDictionary, Solver
from sparsesim.validate.adapter import Adapted, adapt
from sparsesim.validate.user_code import ROLES

PROBE = 256  # training samples that `adapt` probes with
PLACES = ("seed", "width", "dim")  # what a factory is given by position


@final
@dataclass(frozen=True)
class Outside:
    """Somebody's factory and trainer, which are known by their ``identity`` alone: it is what stands in a key."""

    identity: str
    factory: InitVar[Callable[..., Any]]
    fit: InitVar[Callable[..., Any] | None] = None

    def __post_init__(self, factory: Callable[..., Any], fit: Callable[..., Any] | None) -> None:
        object.__setattr__(self, "_factory", factory)
        object.__setattr__(self, "_fit", fit)

    @property
    def code(self) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
        """Return the factory and the trainer."""
        return self.__dict__["_factory"], self.__dict__["_fit"]

    @property
    def budget_name(self) -> str:
        """Return ``k`` or ``l0``, whichever the factory takes, or the empty string."""
        return budget_name(self.code[0])


def budget_name(factory: Callable[..., Any]) -> str:
    """Return the argument of ``factory`` that sets the number of active latents: ``k``, ``l0``, or none (empty).

    Raises
    ------
    TypeError
        If it cannot be called with (seed, width, dim), or the names of its first arguments say that they are others.
    """
    try:
        arguments = inspect.signature(factory).parameters
    except (TypeError, ValueError) as error:
        raise TypeError(f"factory must be a function of (seed, width, dim); got {factory!r}.") from error
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    places = [one for one in arguments.values() if one.kind in kinds]
    spread = any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in arguments.values())
    if len(places) < 3 and not spread:
        raise TypeError(
            f"factory must take (seed, width, dim) by position; got {getattr(factory, '__name__', factory)}"
            f"{inspect.signature(factory)}. Pass lambda seed, width, dim: MySAE(dim, width)."
        )
    _check_order(factory, [one.name for one in places])
    first = {one.name for one in places[:3]}
    for name in ("k", "l0"):
        found = arguments.get(name)
        if found is not None and name not in first and found.kind is not inspect.Parameter.POSITIONAL_ONLY:
            return name
    return ""


def _check_order(factory: Callable[..., Any], names: Sequence[str]) -> None:
    """Refuse a factory, or a class, that takes the dimension or the width in another one's place, by their names."""
    role = {name: known for known, names in ROLES.items() for name in names}
    found = [role.get(name, "") for name in names[:3]]
    wrong = [(one, place) for one, place in zip(found, PLACES, strict=False) if one not in ("", place)]
    if not wrong:
        return
    called = getattr(factory, "__name__", str(factory))
    given = [role[name] for name in names if name in role]
    inner = ", ".join(dict.fromkeys(given))
    raise TypeError(
        f"factory is called with (seed, width, dim) by position, and {called}({', '.join(names)}) takes "
        f"{' and '.join(f'{one} where {place} is given' for one, place in wrong)}. "
        f"Pass lambda seed, width, dim{', k' * ('k' in given)}: {called}({inner}), or "
        "rename them if the order is right."
    )


@final
@dataclass(frozen=True)
class OutsideSolver:
    """Makes the model of ``outside`` and trains it.

    In this order: by the user's own ``fit``, if there is one; a torch module by our loop; one of our solvers and an
    estimator by their own ``fit``. What comes out is probed by `adapt`, whatever made it.

    Parameters
    ----------
    outside : the code.
    width : p, told to the factory.
    budget : of active latents, told to a factory that asks for it; 0 for others.
    steps, batch_size : of the training.
    """

    outside: Outside
    width: int
    budget: int
    steps: int
    batch_size: int

    def __post_init__(self) -> None:
        check_int("width", self.width, 1)
        check_int("budget", self.budget, 0)

    def fit(self, x: FloatArray, *, rng: Rng) -> FittedDictionary:
        """Return the dictionary that the outside model learned from ``x (n, d)``."""
        return self.adapted(x, rng=rng).fitted

    def adapted(self, x: FloatArray, *, rng: Rng) -> Adapted:
        """Return the same with the card of what probing found.

        Raises
        ------
        TypeError, ValueError
            If the factory gives nothing that can be trained, a model of another width, or what `adapt` raises.
        """
        from sparsesim.validate.training import isolated

        seed = int(rng.integers(2**31))
        own, order = fork(rng, 2)
        with isolated(seed):
            model = self._made(seed, x.shape[1])
            trained = self._trained(model, x, seed, own, order)
            result = adapt(trained, x[:PROBE])
            check_width(self.width, result.fitted.width)
        name = f"{type(model).__module__}.{type(model).__qualname__}"
        card = tuple(("model", name) if entry == "model" else (entry, finding) for entry, finding in result.card)
        return replace(result, card=card)

    def _made(self, seed: int, dim: int) -> Any:
        name = self.outside.budget_name
        return self.outside.code[0](seed, self.width, dim, **({name: self.budget} if name else {}))

    def _trained(self, model: Any, x: FloatArray, seed: int, rng: Rng, order: Rng) -> Any:
        from sparsesim.solvers.neural.train import Training
        from sparsesim.validate.training import is_module, train_module

        own_fit = self.outside.code[1]
        if own_fit is not None:
            trained = own_fit(model, _batches(model, x, self.batch_size, order), self.steps, seed)
            if trained is None:
                raise TypeError("fit must return the trained model; it returned None. End it with 'return model'.")
            return trained
        if isinstance(model, Solver) and not hasattr(model, "transform"):
            check_width(self.width, model.width)
        if is_module(model):
            return train_module(model, x, self.width, Training(steps=self.steps, batch_size=self.batch_size), rng)
        if isinstance(model, Solver) and not hasattr(model, "transform"):
            return model.fit(x, rng=rng)
        if callable(getattr(model, "fit", None)):
            fitted = model.fit(x)
            return model if fitted is None else fitted
        raise TypeError(
            f"factory must return a torch module with encode and decode, an estimator with fit and transform, or a "
            f"sparsesim solver; got {type(model).__name__}. Pass fit=..., your own trainer, for anything else."
        )


def check_width(asked: int, found: int) -> None:
    """Refuse a model whose number of latents is not the one that was asked for: more of them find more by chance."""
    if found != asked:
        raise ValueError(
            f"factory was asked for width {asked}, the model has {found}. Use the argument width of "
            "factory(seed, width, dim) as the number of latents: models of another width are not compared."
        )


def _batches(model: Any, x: FloatArray, size: int, rng: Rng) -> Iterator[Any]:
    from sparsesim.validate.training import is_module, tensor_stream

    return tensor_stream(x, size, rng) if is_module(model) else Rows(x).batches(size, rng)
