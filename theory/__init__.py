"""Closed forms and bounds that tests hold `sparsesim` against; nothing here imports anything of it."""
