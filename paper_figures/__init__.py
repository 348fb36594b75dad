"""Figures of the literature, drawn from committed tables, each with claims whose verdict is computed."""
