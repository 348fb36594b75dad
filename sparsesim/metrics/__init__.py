"""Scores of a fitted dictionary against a known truth: plain functions of an `Evaluation`, named as their column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.metrics.chance import ChanceLevel as ChanceLevel
    from sparsesim.metrics.chance import chance_mcc as chance_mcc
    from sparsesim.metrics.chance import chance_mcc_against as chance_mcc_against
    from sparsesim.metrics.chance import chance_mmcs as chance_mmcs
    from sparsesim.metrics.codes import code_correlation as code_correlation
    from sparsesim.metrics.codes import code_correlation_signed as code_correlation_signed
    from sparsesim.metrics.codes import code_error as code_error
    from sparsesim.metrics.codes import dead_fraction as dead_fraction
    from sparsesim.metrics.codes import l0 as l0
    from sparsesim.metrics.codes import latent_f1 as latent_f1
    from sparsesim.metrics.codes import latent_precision as latent_precision
    from sparsesim.metrics.codes import latent_recall as latent_recall
    from sparsesim.metrics.codes import shrinkage as shrinkage
    from sparsesim.metrics.codes import support_f1 as support_f1
    from sparsesim.metrics.codes import support_precision as support_precision
    from sparsesim.metrics.codes import support_recall as support_recall
    from sparsesim.metrics.codes import true_l0 as true_l0
    from sparsesim.metrics.consistency import pairwise_mcc as pairwise_mcc
    from sparsesim.metrics.consistency import pairwise_mcc_chance as pairwise_mcc_chance
    from sparsesim.metrics.evaluation import Evaluation as Evaluation
    from sparsesim.metrics.evaluation import Match as Match
    from sparsesim.metrics.evaluation import Metric as Metric
    from sparsesim.metrics.evaluation import cosines as cosines
    from sparsesim.metrics.evaluation import match_rows as match_rows
    from sparsesim.metrics.peer import saelens_accuracy as saelens_accuracy
    from sparsesim.metrics.peer import saelens_explained_variance as saelens_explained_variance
    from sparsesim.metrics.peer import saelens_f1 as saelens_f1
    from sparsesim.metrics.peer import saelens_mcc as saelens_mcc
    from sparsesim.metrics.peer import saelens_precision as saelens_precision
    from sparsesim.metrics.peer import saelens_recall as saelens_recall
    from sparsesim.metrics.peer import saelens_shrinkage as saelens_shrinkage
    from sparsesim.metrics.peer import saelens_uniqueness as saelens_uniqueness
    from sparsesim.metrics.reconstruction import amortisation_gap as amortisation_gap
    from sparsesim.metrics.reconstruction import explained_variance as explained_variance
    from sparsesim.metrics.reconstruction import fvu as fvu
    from sparsesim.metrics.reconstruction import relative_norm as relative_norm
    from sparsesim.metrics.recovery import mcc as mcc
    from sparsesim.metrics.recovery import mcc_chance as mcc_chance
    from sparsesim.metrics.recovery import mcc_corrected as mcc_corrected
    from sparsesim.metrics.recovery import mcc_learned as mcc_learned
    from sparsesim.metrics.recovery import mcc_signed as mcc_signed
    from sparsesim.metrics.recovery import mmcs as mmcs
    from sparsesim.metrics.recovery import mmcs_learned as mmcs_learned
    from sparsesim.metrics.recovery import recovered_at_90 as recovered_at_90
    from sparsesim.metrics.recovery import recovered_at_95 as recovered_at_95
    from sparsesim.metrics.recovery import recovered_at_99 as recovered_at_99
    from sparsesim.metrics.recovery import uniqueness as uniqueness

__getattr__, __dir__ = lazy(
    "sparsesim.metrics",
    {
        "chance": ("ChanceLevel", "chance_mcc", "chance_mcc_against", "chance_mmcs"),
        "codes": (
            "code_correlation",
            "code_correlation_signed",
            "code_error",
            "dead_fraction",
            "l0",
            "latent_f1",
            "latent_precision",
            "latent_recall",
            "shrinkage",
            "support_f1",
            "support_precision",
            "support_recall",
            "true_l0",
        ),
        "consistency": ("pairwise_mcc", "pairwise_mcc_chance"),
        "evaluation": ("Evaluation", "Match", "Metric", "cosines", "match_rows"),
        "peer": (
            "saelens_accuracy",
            "saelens_explained_variance",
            "saelens_f1",
            "saelens_mcc",
            "saelens_precision",
            "saelens_recall",
            "saelens_shrinkage",
            "saelens_uniqueness",
        ),
        "reconstruction": ("amortisation_gap", "explained_variance", "fvu", "relative_norm"),
        "recovery": (
            "mcc",
            "mcc_chance",
            "mcc_corrected",
            "mcc_learned",
            "mcc_signed",
            "mmcs",
            "mmcs_learned",
            "recovered_at_90",
            "recovered_at_95",
            "recovered_at_99",
            "uniqueness",
        ),
    },
)
