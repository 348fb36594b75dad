"""``python -m sparsesim`` is the command line of `sparsesim.cli`."""

from __future__ import annotations

from sparsesim.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
