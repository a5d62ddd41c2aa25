"""Metrics against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from core.metrics import (
    agreement,
    bootstrap_interval,
    compute_metrics,
    correlations,
    f1_score,
    gap_closed,
    matthews_correlation,
)

LOGITS = np.array([[2.0, 1.0], [0.0, 3.0], [1.0, 4.0], [5.0, 0.0]])  # predictions 0 1 1 0
LABELS = np.array([0, 1, 0, 1])


def test_accuracy_is_the_share_of_right_rows():
    # Right: rows 1 and 2 of 4.
    assert compute_metrics("accuracy", LOGITS, LABELS) == {"accuracy": 0.5}


def test_acc_and_f1_gives_both():
    # Label 1: one found rightly, two predicted, two there: 2 * 1 / (2 + 2) = 0.5
    assert compute_metrics("acc_and_f1", LOGITS, LABELS) == {"accuracy": 0.5, "f1": 0.5}


def test_f1_by_hand():
    # Predicted 1: four rows, three rightly; there are five: 2 * 3 / (4 + 5) = 0.666667
    predicted = np.array([1, 1, 1, 1, 0, 0, 0])
    labels = np.array([1, 1, 1, 0, 1, 1, 0])
    assert f1_score(predicted, labels) == pytest.approx(0.666667, abs=1e-6)


@pytest.mark.parametrize(
    ("predicted", "labels"),
    [([0, 0], [0, 0]), ([0, 0], [1, 1]), ([1, 1], [0, 0]), ([1, 0], [0, 1])],
    ids=["nothing there, nothing found", "nothing found", "nothing there", "all wrong"],
)
def test_f1_without_a_hit_is_zero(predicted, labels):
    assert f1_score(np.array(predicted), np.array(labels)) == 0.0


def test_f1_ignores_other_labels_than_one():
    assert f1_score(np.array([2, 2, 1]), np.array([0, 2, 1])) == 1.0


def test_bootstrap_interval_holds_the_accuracy_and_is_as_wide_as_the_normal_one():
    # 400 rows, 80 % right: the standard error is sqrt(0.8 * 0.2 / 400) = 0.02, the interval 0.8 -+ 1.96 * 0.02.
    low, high = bootstrap_interval(np.arange(400) < 320)
    assert low == pytest.approx(0.7608, abs=0.006)
    assert high == pytest.approx(0.8392, abs=0.006)


def test_bootstrap_interval_of_rows_that_are_all_right_is_a_point():
    assert bootstrap_interval(np.ones(50, bool)) == (1.0, 1.0)


def test_bootstrap_interval_depends_on_the_seed_alone():
    correct = np.arange(90) % 3 > 0
    assert bootstrap_interval(correct, seed=3) == bootstrap_interval(correct, seed=3)


def test_gap_closed_by_hand():
    # (0.87 - 0.84) / (0.90 - 0.84) = 0.03 / 0.06
    assert gap_closed(teacher=0.90, alone=0.84, distilled=0.87) == pytest.approx(0.5)


def test_gap_closed_is_negative_when_distillation_hurts_and_above_one_beyond_the_teacher():
    # (0.7 - 0.8) / 0.1 = -1 and (0.95 - 0.8) / 0.1 = 1.5
    assert gap_closed(0.9, 0.8, 0.7) == pytest.approx(-1.0)
    assert gap_closed(0.9, 0.8, 0.95) == pytest.approx(1.5)


@pytest.mark.parametrize("teacher", [0.8, 0.79])
def test_gap_closed_needs_a_teacher_that_is_better(teacher):
    with pytest.raises(ValueError, match="no gap to close"):
        gap_closed(teacher, alone=0.8, distilled=0.9)


def test_matthews_correlation_by_hand():
    # 3 hits, 2 true negatives, 1 wrongly found, 2 missed: (3*2 - 1*2) / sqrt(4 * 5 * 3 * 4)
    predicted = np.asarray([1, 1, 1, 0, 0, 1, 0, 0])
    labels = np.asarray([1, 1, 1, 0, 0, 0, 1, 1])
    assert matthews_correlation(predicted, labels) == pytest.approx(4 / 240**0.5)
    logits = np.eye(2)[predicted]
    assert compute_metrics("matthews", logits, labels) == {"accuracy": 5 / 8, "matthews": pytest.approx(4 / 240**0.5)}


def test_matthews_correlation_of_one_answer_is_zero():
    assert matthews_correlation(np.ones(3), np.asarray([0, 1, 1])) == 0


def test_correlations_by_hand():
    # Deviations (-1, 0, 1) and (-4, -1, 5): 9 / sqrt(2 * 42); the order is the same.
    found = compute_metrics("pearson_and_spearman", np.asarray([[1.0], [2.0], [3.0]]), np.asarray([1.0, 4.0, 10.0]))
    assert found == {"pearson": pytest.approx(9 / 84**0.5), "spearman": pytest.approx(1.0)}


def test_equal_values_share_their_rank():
    # Ranks (1, 2, 3) and (1.5, 1.5, 3): deviations (-1, 0, 1) and (-.5, -.5, 1), so 1.5 / sqrt(2 * 1.5).
    found = correlations(np.asarray([1.0, 2.0, 3.0]), np.asarray([5.0, 5.0, 9.0]))
    assert found["spearman"] == pytest.approx(1.5 / 3**0.5)


@pytest.mark.parametrize("predicted", [[2.0, 2.0], [1.0]])
def test_correlations_that_are_not_defined_count_as_none(predicted):
    assert correlations(np.asarray(predicted), np.arange(len(predicted))) == {"pearson": 0.0, "spearman": 0.0}


def test_agreement_and_divergence_by_hand():
    # Teacher (1/2, 1/2) and (3/4, 1/4); student (1/2, 1/2) and (1/4, 3/4): KL 0 and 3/4 ln 3 - 1/4 ln 3.
    teacher, student = np.log([[1.0, 1.0], [3.0, 1.0]]), np.log([[1.0, 1.0], [1.0, 3.0]])
    found = agreement(student, teacher)
    assert found == {"agreement": 0.5, "kl": pytest.approx(np.log(3) / 4)}


def test_agreement_of_numbers_is_their_squared_error():
    assert agreement(np.asarray([[1.0], [2.0]]), np.asarray([[3.0], [2.0]]), is_regression=True) == {"mse": 2.0}
