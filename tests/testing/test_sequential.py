"""The error probabilities of the sequential test, computed exactly: every path of every stream up to some length."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import betaincinv
from scipy.stats import binom

from sparsesim.testing.sequential import Decision, ProportionTest
from theory.power import clopper_pearson


def decisions(test, most):
    """Where the test stops: for each n the fewest successes that support and the most that refute (-1, n + 1: none)."""
    support, refute = np.zeros(most + 1, dtype=int), np.zeros(most + 1, dtype=int)
    least, worst = 0, -1
    for n in range(1, most + 1):
        # Both boundaries move by 0 or 1 with each trial, since one more success is never evidence against the claim.
        while least <= n and test.decide(least, n) is not Decision.SUPPORTED:
            least += 1
        while worst + 1 <= n and test.decide(worst + 1, n) is Decision.REFUTED:
            worst += 1
        support[n], refute[n] = least, worst
    return support, refute


def crossing(support, refute, p):
    """P(SUPPORTED), P(REFUTED) by the last trial, and the mean number of trials: dynamic programming over successes."""
    most = len(support) - 1
    alive, supported, refuted, trials = np.zeros(most + 2), 0.0, 0.0, 0.0
    alive[0] = 1.0
    for n in range(1, most + 1):
        trials += alive.sum()
        alive[1:] = p * alive[:-1] + (1.0 - p) * alive[1:]
        alive[0] *= 1.0 - p
        supported += alive[support[n] :].sum()
        alive[support[n] :] = 0.0
        refuted += alive[: refute[n] + 1].sum()
        alive[: refute[n] + 1] = 0.0
    return supported, refuted, trials


@pytest.mark.parametrize(("fraction", "confidence"), [(0.9, 0.95), (0.9, 1 - 1e-6), (0.5, 0.95), (0.99, 0.9)])
def test_no_error_is_likelier_than_stated_over_all_looks(fraction, confidence):
    alpha, most = 1.0 - confidence, 1500
    support, refute = decisions(ProportionTest(fraction, confidence), most)
    for p in [fraction, np.nextafter(fraction, 0.0), fraction - 0.01, fraction / 2.0]:
        supported, refuted, _ = crossing(support, refute, p)
        if p < fraction:
            assert supported <= alpha
    for p in [fraction, np.nextafter(fraction, 1.0), fraction + (1.0 - fraction) / 3.0]:
        assert crossing(support, refute, p)[1] <= alpha
    supported, refuted, _ = crossing(support, refute, fraction)
    # Neither bound is idle: on the border itself both are used to a tenth at least (0.17 to 0.87 of alpha).
    assert alpha / 10 < supported <= alpha
    assert alpha / 10 < refuted <= alpha


def test_looking_after_every_trial_with_fixed_size_bounds_would_break_the_error():
    """The test above can fail: exact bounds at 0.95, looked at after each of 500 trials, err in 0.22 and 0.26."""
    most, fraction = 500, 0.9
    n, s = np.arange(most + 1)[:, None], np.arange(most + 1)[None, :]
    # P(S >= s) <= alpha supports, P(S <= s) <= alpha refutes: what the bounds of Clopper and Pearson say, inverted.
    support = (binom.sf(s - 1, n, fraction) > 0.05).sum(axis=1)
    refute = (binom.cdf(s, n, fraction) <= 0.05).sum(axis=1) - 1
    low, high = clopper_pearson(int(support[100]), 100, 0.1)[0], clopper_pearson(int(refute[100]), 100, 0.1)[1]
    assert low > fraction > high
    supported, refuted, _ = crossing(support, refute, fraction)
    assert min(supported, refuted) > 0.2


@pytest.mark.parametrize(
    ("p", "decided"), [(1.0, "supported"), (0.99, "supported"), (0.8, "refuted"), (0.3, "refuted")]
)
def test_the_truth_is_found(p, decided):
    support, refute = decisions(ProportionTest(0.9, 1 - 1e-6), 1500)
    supported, refuted, trials = crossing(support, refute, p)
    assert {"supported": supported, "refuted": refuted}[decided] > 0.999
    # Wald: a test of p against f takes about log(1/alpha) / KL(p, f) trials; the mixture may cost a factor of two.
    with np.errstate(divide="ignore", invalid="ignore"):
        kl = p * np.log(p / 0.9) + (0.0 if p == 1.0 else (1 - p) * np.log((1 - p) / 0.1))
    assert trials < 2.0 * np.log(1e6) / kl


def test_how_many_flawless_trials_support():
    assert ProportionTest(0.9, 1 - 1e-6).trials_needed(3, 3) == 138
    test = ProportionTest(0.9, 1 - 1e-6)
    assert test.decide(137, 137) is Decision.UNDECIDED
    assert test.decide(138, 138) is Decision.SUPPORTED
    assert binom.pmf(131, 131, 0.9) > 1e-6 > binom.pmf(132, 132, 0.9)  # the number that the docstring compares with
    assert test.decide(0, 7) is Decision.REFUTED
    assert test.decide(0, 6) is Decision.UNDECIDED


@pytest.mark.parametrize(("successes", "n", "fraction"), [(0, 0, 0.9), (3, 3, 0.9), (17, 20, 0.5), (2, 30, 0.3)])
def test_the_evidence_is_the_mixture_of_likelihood_ratios(successes, n, fraction):
    def ratio(q):
        return (q / fraction) ** successes * ((1 - q) / (1 - fraction)) ** (n - successes)

    above = quad(ratio, fraction, 1.0)[0] / (1 - fraction)
    below = quad(ratio, 0.0, fraction)[0] / fraction
    expected = np.log([(above + ratio(1.0)) / 2, (below + ratio(0.0)) / 2])
    # Adaptive quadrature is good to 1e-8 relative.
    assert ProportionTest(fraction, 0.95).evidence(successes, n) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (1, 1), (90, 100), (40, 400), (1000, 1000)])
@pytest.mark.parametrize("confidence", [0.65, 0.95, 1 - 1e-6])
def test_bounds_are_where_the_decision_turns(successes, n, confidence):
    low, high = ProportionTest(0.5, confidence).bounds(successes, n)
    assert 0.0 <= low <= successes / n <= high <= 1.0
    for f in np.linspace(0.001, 0.999, 500):
        decided = ProportionTest(f, confidence).decide(successes, n)
        expected = Decision.SUPPORTED if f < low else Decision.REFUTED if f > high else Decision.UNDECIDED
        assert decided is expected
    alpha = 1.0 - confidence  # never tighter than the exact bounds for a number of trials fixed beforehand
    assert low <= (betaincinv(successes, n - successes + 1, alpha) if successes else 0.0)


def test_trials_needed_is_where_the_decision_falls_if_the_share_stays():
    test = ProportionTest(0.9, 0.95)
    needed = test.trials_needed(19, 20)
    assert needed % 20 or test.decide(needed * 19 // 20, needed) is Decision.SUPPORTED
    after, before = 20 * (needed // 20 + 1), 20 * (needed // 20 - 1)
    assert test.decide(after * 19 // 20, after) is Decision.SUPPORTED
    assert test.decide(before * 19 // 20, before) is Decision.UNDECIDED
    assert test.trials_needed(9, 10) is None
    assert ProportionTest(0.5, 0.95).trials_needed(0, 0) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 0.95), "none ever fails"),
        ((0.0, 0.95), "fraction must"),
        ((0.9, 1.0), "certainty"),
        ((0.9, 0.5), "confidence must"),
        (("0.9", 0.95), "fraction must be a real number"),
    ],
)
def test_impossible_requests_are_refused(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        ProportionTest(*arguments)


def test_a_record_must_be_possible():
    with pytest.raises(ValueError, match="successes must lie in"):
        ProportionTest(0.9, 0.95).decide(4, 3)
