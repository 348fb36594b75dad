"""Declarations only: the grids of frozen objects that answer a question."""
