"""What a validation runs in: what the code is known by, the folder of its rows, and the processes that compute them."""

from __future__ import annotations

import importlib.util
import secrets
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from sparsesim._arrays import check_int
from sparsesim.study.engine import Engine, Inline, Local
from sparsesim.validate.escapes import UnknownCodeError
from sparsesim.validate.identity import identity
from sparsesim.validate.origins import loose_modules

if TYPE_CHECKING:
    import os


@final
@dataclass(frozen=True)
class Known:
    """What code is known by, and why its rows serve one call alone, where its ``digest`` is a random one."""

    digest: str
    reason: str


def identified(
    factory: Callable[..., Any], fit: Callable[..., Any] | None, store: str | os.PathLike[str] | None, stack: ExitStack
) -> tuple[Known, str]:
    """Return what the code is known by, and the folder of the rows: one for this call alone where none is given.

    A row stands under the digest of the code. Where there is none, rows of other code could be taken for this one's: it
    gets a name that no call had before, and only rows of references are found again.
    """
    try:
        known = Known(identity(factory, fit), "")
    except UnknownCodeError as error:
        reason = f"the subject's rows serve this call alone, since its code has no certain identity: {error}."
        known = Known(secrets.token_hex(32), reason)
    if store is not None:
        return known, str(store)
    return known, stack.enter_context(tempfile.TemporaryDirectory(prefix="sparsesim-", ignore_cleanup_errors=True))


def processes(workers: int | None, factory: object, fit: object, stack: ExitStack) -> tuple[Engine, str]:
    """Return the engine, and why it is this process's where another number of workers was wanted.

    Until ``stack`` is closed, modules that were loaded from a path are sent to other processes as they are.
    """
    if workers is not None and check_int("workers", workers, 1) == 1:
        return Inline(), ""
    from joblib.externals.loky.backend.reduction import dumps

    for pickler in _picklers():
        for module in loose_modules():
            pickler.register_pickle_by_value(module)
            stack.callback(pickler.unregister_pickle_by_value, module)
    try:
        dumps((factory, fit))
    except Exception as error:
        return Inline(), f"computed in one process, since the factory cannot be sent to another: {error}"
    return Local(workers), ""


def _picklers() -> list[Any]:
    """Return the modules by which joblib may send code to other processes: until 1.5 one of its own."""
    names = ("cloudpickle", "joblib.externals.cloudpickle")
    return [importlib.import_module(name) for name in names if _exists(name)]


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
