"""Receptive fields: both kinds of certificate are checked, and each field parts what the one before could not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from theory.proximal import distance_sparsemax
from theory.receptive import HalfSpace, Overlap, half_space, half_space_f1, polytope


def clouds(seed, d, distance):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(rng.integers(1, 8), d)), rng.normal(size=(rng.integers(1, 8), d))
    return a + distance * np.eye(1, d)[0], b


def holds(found, inside, outside, through_origin):
    """Check whichever certificate was returned, to the programmes' tolerance times the points' size."""
    if isinstance(found, HalfSpace):
        slack = 1e-6 * (1 + np.linalg.norm(found.weights)) * max(np.abs(inside).max(), np.abs(outside).max(), 1)
        assert (inside @ found.weights + found.bias).min() >= 1 - slack
        assert (outside @ found.weights + found.bias).max() <= slack
        assert not through_origin or found.bias == 0.0
        return True
    assert min(found.inside_weights.min(), found.outside_weights.min()) >= -1e-9
    assert found.inside_weights.sum() == pytest.approx(1.0, abs=1e-6)
    if not through_origin:
        assert found.outside_weights.sum() == pytest.approx(1.0, abs=1e-6)
    size = max(np.abs(inside).max(), np.abs(outside).max()) * max(1.0, found.outside_weights.sum())
    assert np.abs(found.inside_weights @ inside - found.outside_weights @ outside).max() < 1e-5 * size
    return False


def test_either_a_half_space_or_a_common_point_is_found():
    parted = []

    @settings(max_examples=60)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(0.0, 4.0), st.booleans())
    def check(seed, d, distance, through_origin):
        inside, outside = clouds(seed, d, distance)
        found = half_space(inside, outside, through_origin=through_origin)
        parted.append(holds(found, inside, outside, through_origin))
        event("parted" if parted[-1] else "overlap")

    check()
    assert 0.2 <= np.mean(parted) <= 0.8


@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.floats(0.0, 4.0), st.booleans())
@settings(max_examples=40)
def test_fields_are_nested(seed, d, distance, through_origin):
    inside, outside = clouds(seed, d, distance)
    half = half_space(inside, outside, through_origin=through_origin)
    many = polytope(inside, outside, through_origin=through_origin)
    if isinstance(half, HalfSpace):
        assert isinstance(many, tuple)
    if through_origin and isinstance(half, HalfSpace):
        assert isinstance(half_space(inside, outside), HalfSpace)  # a bias never hurts
    if isinstance(many, tuple):
        scores = np.stack([outside @ wall.weights + wall.bias for wall in many], axis=1)
        assert np.all(np.diag(scores) <= 1e-6 * (1 + np.abs(scores).max()))
        assert all(holds(wall, inside, outside[[i]], through_origin) for i, wall in enumerate(many))
    else:
        assert not holds(many, inside, outside, through_origin)
    event(f"{type(half).__name__} {type(many).__name__}")


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=40)
def test_a_group_inside_the_hull_of_others_has_no_half_space(seed, d):
    rng = np.random.default_rng(seed)
    others = rng.normal(size=(d + 2, d))
    middle = rng.dirichlet(np.ones(d + 2), size=3) @ others
    found = half_space(middle, others)
    assert isinstance(found, Overlap)
    assert not holds(found, middle, others, False)


def test_a_centre_among_corners_has_a_polytope_and_a_distance_but_no_half_space():
    corners = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    centre = np.array([[0.1, 0.0], [-0.1, 0.05]])
    assert isinstance(half_space(centre, corners), Overlap)
    walls = polytope(centre, corners)
    assert isinstance(walls, tuple)
    active = np.all([corners @ wall.weights + wall.bias > 0.5 for wall in walls], axis=0)
    assert not active.any()
    codes = distance_sparsemax(np.concatenate([centre, corners]), np.concatenate([[[0.0, 0.0]], corners]), 2.0)
    assert np.array_equal(codes[:, 0] > 0, [True, True, False, False, False, False])


def test_without_a_bias_sizes_on_a_ray_cannot_be_told_apart():
    strong, weak = np.array([[2.0, 0.0]]), np.array([[1.0, 0.0]])
    assert isinstance(half_space(strong, weak), HalfSpace)
    assert isinstance(half_space(strong, weak, through_origin=True), Overlap)
    assert isinstance(polytope(strong, weak, through_origin=True), Overlap)


@given(st.integers(0, 2**32 - 1), st.floats(-6, 6))
@settings(max_examples=40)
def test_the_answer_does_not_depend_on_the_scale(seed, power):
    inside, outside = clouds(seed, 3, 2.0)
    assert type(half_space(inside, outside)) is type(half_space(10**power * inside, 10**power * outside))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: half_space([[np.nan]], [[1.0]]), "inside"),
        (lambda: half_space([[1.0]], np.zeros((0, 1))), "outside"),
        (lambda: half_space([[1.0]], [[1.0, 2.0]]), "agree"),
    ],
)
def test_what_is_no_pair_of_groups_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_best_half_space_for_a_cluster_is_what_samples_and_a_finer_search_say():
    rng = np.random.default_rng(3)
    centres = np.array([[0.0, 0.0], [2.0, 0.0], [-1.0, 1.5]])
    shares, deviation = np.array([0.5, 0.3, 0.2]), 0.6
    labels = rng.choice(3, size=40_000, p=shares)
    x = centres[labels] + deviation * rng.standard_normal((40_000, 2))
    for target in range(3):
        best = 0.0
        for angle in np.linspace(0.0, 2 * np.pi, 61):
            along = x @ [np.cos(angle), np.sin(angle)]
            order = np.argsort(-along)
            hits = np.cumsum(labels[order] == target)
            best = max(best, float((2 * hits / ((labels == target).sum() + np.arange(1, len(x) + 1))).max()))
        # a search fits its sample: a little above, by some standard errors of an F1 of 40,000 samples
        assert half_space_f1(centres, shares, deviation, target) == pytest.approx(best, abs=0.01)


def test_a_cluster_far_out_has_a_half_space_and_one_amid_two_others_has_none():
    line = np.array([[-5.0, 0.0], [0.0, 0.0], [5.0, 0.0]])
    scores = [half_space_f1(line, np.full(3, 1 / 3), 0.1, target) for target in range(3)]
    assert scores[0] > 0.999 and scores[2] > 0.999
    assert scores[1] == pytest.approx(2 / 3, abs=1e-3)  # with one of its neighbours
    with pytest.raises(ValueError, match="positive shares"):
        half_space_f1(line, [0.5, 0.5], 0.1, 0)
    with pytest.raises(ValueError, match="deviation"):
        half_space_f1(line, np.full(3, 1 / 3), 0.0, 0)
