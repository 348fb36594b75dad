"""Scores of a fitted dictionary against a known truth: plain functions of an `Evaluation`, named as their column."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsesim._lazy import lazy

if TYPE_CHECKING:
    from sparsesim.metrics.blocks import StreamedEvaluation as StreamedEvaluation
    from sparsesim.metrics.blocks import evaluate_blocks as evaluate_blocks
    from sparsesim.metrics.blocks import evaluate_stream as evaluate_stream
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
    from sparsesim.metrics.dark_matter import linear_error_norm_share as linear_error_norm_share
    from sparsesim.metrics.dark_matter import linear_error_share as linear_error_share
    from sparsesim.metrics.decoder import decoder_coherence as decoder_coherence
    from sparsesim.metrics.decoder import nth_decoder_projection as nth_decoder_projection
    from sparsesim.metrics.description import CodeLength as CodeLength
    from sparsesim.metrics.description import Selection as Selection
    from sparsesim.metrics.description import description_bits as description_bits
    from sparsesim.metrics.description import description_length as description_length
    from sparsesim.metrics.description import quantised as quantised
    from sparsesim.metrics.description import quantised_fvu as quantised_fvu
    from sparsesim.metrics.description import select_by_description_length as select_by_description_length
    from sparsesim.metrics.disentanglement import DCI as DCI
    from sparsesim.metrics.disentanglement import dci as dci
    from sparsesim.metrics.disentanglement import dci_completeness as dci_completeness
    from sparsesim.metrics.disentanglement import dci_disentanglement as dci_disentanglement
    from sparsesim.metrics.disentanglement import dci_informativeness as dci_informativeness
    from sparsesim.metrics.disentanglement_codes import active_units as active_units
    from sparsesim.metrics.disentanglement_codes import active_units_by_divergence as active_units_by_divergence
    from sparsesim.metrics.disentanglement_codes import chance_of_codes as chance_of_codes
    from sparsesim.metrics.disentanglement_codes import code_mcc as code_mcc
    from sparsesim.metrics.disentanglement_codes import code_mcc_spearman as code_mcc_spearman
    from sparsesim.metrics.disentanglement_codes import code_r2 as code_r2
    from sparsesim.metrics.disentanglement_codes import matched_codes as matched_codes
    from sparsesim.metrics.disentanglement_codes import unit_divergences as unit_divergences
    from sparsesim.metrics.disentanglement_information import InfoMEC as InfoMEC
    from sparsesim.metrics.disentanglement_information import infoc as infoc
    from sparsesim.metrics.disentanglement_information import infoe as infoe
    from sparsesim.metrics.disentanglement_information import infom as infom
    from sparsesim.metrics.disentanglement_information import infomec as infomec
    from sparsesim.metrics.disentanglement_information import mig as mig
    from sparsesim.metrics.disentanglement_information import mutual_information as mutual_information
    from sparsesim.metrics.evaluation import Evaluation as Evaluation
    from sparsesim.metrics.evaluation import Judged as Judged
    from sparsesim.metrics.evaluation import Match as Match
    from sparsesim.metrics.evaluation import Metric as Metric
    from sparsesim.metrics.evaluation import cosines as cosines
    from sparsesim.metrics.evaluation import match_rows as match_rows
    from sparsesim.metrics.hedging import atom_components as atom_components
    from sparsesim.metrics.hedging import hedging_score as hedging_score
    from sparsesim.metrics.hierarchy import EdgeRecall as EdgeRecall
    from sparsesim.metrics.hierarchy import absorption_gap as absorption_gap
    from sparsesim.metrics.hierarchy import absorption_rate as absorption_rate
    from sparsesim.metrics.hierarchy import absorption_score as absorption_score
    from sparsesim.metrics.hierarchy import edge_recall as edge_recall
    from sparsesim.metrics.hierarchy import flat_error as flat_error
    from sparsesim.metrics.hierarchy import hierarchical_error as hierarchical_error
    from sparsesim.metrics.hierarchy import parent_edges as parent_edges
    from sparsesim.metrics.hierarchy import parent_hedging as parent_hedging
    from sparsesim.metrics.hierarchy import parent_recall_child_off as parent_recall_child_off
    from sparsesim.metrics.hierarchy import parent_recall_child_on as parent_recall_child_on
    from sparsesim.metrics.identifiability import soft_identifiability as soft_identifiability
    from sparsesim.metrics.identifiability import soft_identifiability_gain as soft_identifiability_gain
    from sparsesim.metrics.layers import angular_distances as angular_distances
    from sparsesim.metrics.layers import layer_distribution as layer_distribution
    from sparsesim.metrics.layers import layer_entropy as layer_entropy
    from sparsesim.metrics.layers import layer_groups as layer_groups
    from sparsesim.metrics.peer import saelens_accuracy as saelens_accuracy
    from sparsesim.metrics.peer import saelens_explained_variance as saelens_explained_variance
    from sparsesim.metrics.peer import saelens_f1 as saelens_f1
    from sparsesim.metrics.peer import saelens_mcc as saelens_mcc
    from sparsesim.metrics.peer import saelens_precision as saelens_precision
    from sparsesim.metrics.peer import saelens_recall as saelens_recall
    from sparsesim.metrics.peer import saelens_shrinkage as saelens_shrinkage
    from sparsesim.metrics.peer import saelens_uniqueness as saelens_uniqueness
    from sparsesim.metrics.probing import Concepts as Concepts
    from sparsesim.metrics.probing import probe_perturbation as probe_perturbation
    from sparsesim.metrics.probing import sparse_probe_auc as sparse_probe_auc
    from sparsesim.metrics.probing import spurious_removal as spurious_removal
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
    from sparsesim.metrics.splitting import composition as composition
    from sparsesim.metrics.splitting import fake_feature_ratio as fake_feature_ratio
    from sparsesim.metrics.splitting import fake_firing_ratio as fake_firing_ratio
    from sparsesim.metrics.splitting import feature_splitting as feature_splitting
    from sparsesim.metrics.splitting import split_parts as split_parts
    from sparsesim.metrics.structure import coherence as coherence
    from sparsesim.metrics.structure import connectivity as connectivity
    from sparsesim.metrics.structure import effective_rank as effective_rank
    from sparsesim.metrics.structure import match_structure as match_structure
    from sparsesim.metrics.structure import negative_interference as negative_interference
    from sparsesim.metrics.structure import out_of_distribution as out_of_distribution
    from sparsesim.metrics.structure import rv_coefficient as rv_coefficient
    from sparsesim.metrics.structure import stable_rank as stable_rank
    from sparsesim.metrics.weighted import mcc_by_energy as mcc_by_energy
    from sparsesim.metrics.weighted import mcc_irrelevant as mcc_irrelevant
    from sparsesim.metrics.weighted import mcc_relevant as mcc_relevant
    from sparsesim.metrics.weighted import mcc_relevant_chance as mcc_relevant_chance

__getattr__, __dir__ = lazy(
    "sparsesim.metrics",
    {
        "blocks": ("StreamedEvaluation", "evaluate_blocks", "evaluate_stream"),
        "chance": (
            "ChanceLevel",
            "chance_mcc",
            "chance_mcc_against",
            "chance_mmcs",
        ),
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
        "consistency": (
            "pairwise_mcc",
            "pairwise_mcc_chance",
        ),
        "decoder": ("decoder_coherence", "nth_decoder_projection"),
        "description": (
            "CodeLength",
            "Selection",
            "description_bits",
            "description_length",
            "quantised",
            "quantised_fvu",
            "select_by_description_length",
        ),
        "disentanglement": (
            "DCI",
            "dci",
            "dci_completeness",
            "dci_disentanglement",
            "dci_informativeness",
        ),
        "disentanglement_codes": (
            "active_units",
            "active_units_by_divergence",
            "chance_of_codes",
            "code_mcc",
            "code_mcc_spearman",
            "code_r2",
            "matched_codes",
            "unit_divergences",
        ),
        "disentanglement_information": (
            "InfoMEC",
            "infoc",
            "infoe",
            "infom",
            "infomec",
            "mig",
            "mutual_information",
        ),
        "evaluation": (
            "Evaluation",
            "Judged",
            "Match",
            "Metric",
            "cosines",
            "match_rows",
        ),
        "hedging": (
            "atom_components",
            "hedging_score",
        ),
        "hierarchy": (
            "EdgeRecall",
            "absorption_gap",
            "absorption_rate",
            "absorption_score",
            "edge_recall",
            "flat_error",
            "hierarchical_error",
            "parent_edges",
            "parent_hedging",
            "parent_recall_child_off",
            "parent_recall_child_on",
        ),
        "identifiability": (
            "soft_identifiability",
            "soft_identifiability_gain",
        ),
        "layers": ("angular_distances", "layer_distribution", "layer_entropy", "layer_groups"),
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
        "dark_matter": ("linear_error_norm_share", "linear_error_share"),
        "probing": ("Concepts", "probe_perturbation", "sparse_probe_auc", "spurious_removal"),
        "reconstruction": (
            "amortisation_gap",
            "explained_variance",
            "fvu",
            "relative_norm",
        ),
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
        "splitting": (
            "composition",
            "fake_feature_ratio",
            "fake_firing_ratio",
            "feature_splitting",
            "split_parts",
        ),
        "structure": (
            "coherence",
            "connectivity",
            "effective_rank",
            "match_structure",
            "negative_interference",
            "out_of_distribution",
            "rv_coefficient",
            "stable_rank",
        ),
        "weighted": ("mcc_by_energy", "mcc_irrelevant", "mcc_relevant", "mcc_relevant_chance"),
    },
)
