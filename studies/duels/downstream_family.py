"""Duels of autoencoders that look at what comes after a sample, at groups of its coordinates, or at several layers."""

from __future__ import annotations

from dataclasses import replace

from sparsesim.generators.base import FeatureSpec
from sparsesim.generators.geometry import GivenAtoms, RandomSphere
from sparsesim.generators.magnitude import Constant, Uniform
from sparsesim.generators.noise import Gaussian
from sparsesim.generators.rates import EqualRates
from sparsesim.generators.residual import ResidualLayers
from sparsesim.generators.scales import GeometricScales, Scaled
from sparsesim.generators.support import Bernoulli
from sparsesim.generators.targets import Readout
from sparsesim.solvers.neural.downstream import Directions, TanhReadout
from sparsesim.solvers.neural.end_to_end import EndToEnd
from sparsesim.solvers.neural.known_layers import PassingLayer
from sparsesim.solvers.neural.multi_layer import MultiLayer
from sparsesim.solvers.neural.output_groups import Groups, OutputGroups
from sparsesim.solvers.neural.topk import TopK
from sparsesim.solvers.neural.train import Training
from sparsesim.solvers.neural.transcoder import Transcoder
from sparsesim.solvers.neural.vae import GaussianVAE
from studies.duels.base import Duel

TRAINING = Training(steps=2_000)
AS_THEY_ARE = Training(steps=2_000, normalise=False)  # vectors are scaled one by one, and their mean stays
FEATURES, LOUD, QUIET = 16, 1.0, 0.2


def _axes(count: int) -> Directions:
    """Return the unit vectors of ``count`` coordinates."""
    return tuple(tuple(float(i == j) for j in range(count)) for i in range(count))


def _bars(side: int) -> tuple[Directions, Groups]:
    """Return the rows of a square image as unit atoms ``(side, side^2)``, and its coordinates row by row."""
    groups = tuple(tuple(range(side * row, side * row + side)) for row in range(side))
    atoms = tuple(tuple(side**-0.5 * (i in group) for i in range(side * side)) for group in groups)
    return atoms, groups


# Half of the features are a fifth as strong as the others; the readout hears all of them alike.
HALF = FEATURES // 2
SCALES = (LOUD,) * HALF + (QUIET,) * HALF
QUIET_HALF = FeatureSpec(
    FEATURES,
    Bernoulli(EqualRates(FEATURES, 0.12)),
    GivenAtoms(_axes(FEATURES)),
    Scaled(Uniform(0.5, 1.5), SCALES),
)
EQUALISED = TanhReadout(
    2 * FEATURES,
    tuple(tuple(value * LOUD / scale for value in row) for row, scale in zip(_axes(FEATURES), SCALES, strict=True)),
    hidden=4 * FEATURES,
)
# A layer passes on the quiet half and nothing else.
PASSED = tuple(range(HALF, FEATURES))
PASSES_QUIET = replace(QUIET_HALF, targets=Readout(PASSED))
PASSING = PassingLayer(FEATURES, _axes(FEATURES)[HALF:], threshold=0.25 * QUIET)
BARS, ROWS = _bars(5)
IMAGES = FeatureSpec(25, Bernoulli(EqualRates(5, 0.4)), GivenAtoms(BARS), Constant(1.0), Gaussian(0.05))
# Four layers of ten features; the last are ten times as strong as the first.
STREAM = FeatureSpec(
    20,
    ResidualLayers(Bernoulli(EqualRates(40, 0.1)), 4),
    RandomSphere(),
    Scaled(Uniform(0.5, 1.5), GeometricScales(1.0, 10.0)),
)


def duels() -> dict[str, Duel]:
    """Return the duels by name.

    The layer of the transcoder writes features where it reads them, so that what it writes is among the truth of x.
    """
    return {
        "end_to_end": Duel(
            QUIET_HALF,
            EndToEnd(FEATURES, 0.02, EQUALISED, training=TRAINING),
            EndToEnd(FEATURES, 0.3, EQUALISED, 1.0, 0.0, training=TRAINING),
            "mcc",
            True,
            "Autoencoders trained on the divergence of the outputs find the features that matter for them, whatever "
            "their share of the variance (arXiv 2405.12241).",
        ),
        "transcoder": Duel(
            PASSES_QUIET,
            Transcoder(FEATURES, PASSING, 0.0, k=2, training=AS_THEY_ARE),
            TopK(FEATURES, 2, training=AS_THEY_ARE),
            "mcc_relevant",
            True,
            "Trained on what a layer does with a sample, a dictionary has the features that the layer computes with "
            "(arXiv 2406.11944); that an autoencoder of its width spends itself on louder ones is our reading.",
        ),
        "output_groups": Duel(
            IMAGES,
            OutputGroups(GaussianVAE(5, noise_variance=0.3, training=TRAINING), ROWS, 0.9),
            GaussianVAE(5, noise_variance=0.3, training=TRAINING),
            "mcc",
            True,
            "The group lasso on the weights from latents to groups of outputs finds which groups belong together "
            "(arXiv 1802.06765).",
        ),
        "multi_layer": Duel(
            STREAM,
            MultiLayer(TopK(40, 3, training=AS_THEY_ARE)),
            TopK(40, 3, training=TRAINING),
            "mcc",
            True,
            "Each vector pooled from the layers of a residual stream is standardised before training (arXiv "
            "2409.04185); that this recovers more features where later layers are louder is our reading.",
        ),
    }
