"""Duels: for each variant the small world on which its paper says it wins, and the baseline it is said to beat."""
