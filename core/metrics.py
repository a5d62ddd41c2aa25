"""Metrics of predictions, as plain NumPy functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from console import InputError
from data.streams import generator
from data.tasks import NUMBERS, SPANS

# The entry of a metric's figures that chooses checkpoints.
MAIN_METRIC = {
    "accuracy": "accuracy",
    "acc_and_f1": "accuracy",
    "matthews": "matthews",
    NUMBERS: "pearson",
    SPANS: "f1",
}


class Diverged(InputError):
    """Numbers are no longer finite: what was trained, or taught by, is worthless."""


@dataclass(frozen=True)
class Selection:
    """What chooses between checkpoints.

    Attributes:
        name: the evaluation's entry.
        lower_is_better: as of a loss; of most metrics it is not.
    """

    name: str
    lower_is_better: bool = False

    def of(self, metrics: Mapping[str, float]) -> float:
        """The score in some figures.

        Raises:
            Diverged: it is not finite.
        """
        score = float(metrics[self.name])
        if not math.isfinite(score):
            raise Diverged(f"the evaluation gave {self.name} {score}: {ADVICE}")
        return score

    def is_better(self, score: float, than: float) -> bool:
        """Whether a score is better than another."""
        return score < than if self.lower_is_better else score > than


ADVICE = "the training has diverged; take a smaller learning rate, warm-up, or --max_grad_norm"


def compute_metrics(metric: str, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compares predictions with labels.

    Args:
        metric: a key of :data:`MAIN_METRIC`.
        logits: [rows, labels]; [rows, 1] for a number to predict.
        labels: label ids, or numbers, [rows].
    """
    return metrics_of(metric, logits[:, 0] if metric == NUMBERS else logits.argmax(-1), labels)


def metrics_of(metric: str, predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The same of what was predicted: label ids, or numbers, [rows]."""
    if metric == NUMBERS:
        return correlations(predicted, labels)
    found = {"accuracy": float((predicted == labels).mean())}
    if metric == "acc_and_f1":
        found["f1"] = f1_score(predicted, labels)
    if metric == "matthews":
        found["matthews"] = matthews_correlation(predicted, labels)
    return found


def correlations(predicted: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Pearson's and Spearman's correlation; 0 where one side is constant, for which they are not defined.

    Args:
        predicted: [rows].
        values: [rows].
    """
    from scipy.stats import pearsonr, spearmanr

    if len(values) < 2 or np.ptp(predicted) == 0 or np.ptp(values) == 0:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": float(pearsonr(predicted, values).statistic),
        "spearman": float(spearmanr(predicted, values).statistic),
    }


def matthews_correlation(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Matthews' correlation of label ids 0 and 1 (1975); 0 when either side has one label only.

    Args:
        predicted: label ids, [rows].
        labels: label ids, [rows].
    """
    found, true = predicted == 1, labels == 1
    hits, misses = float((found & true).sum()), float((~found & ~true).sum())
    wrong, missed = float((found & ~true).sum()), float((~found & true).sum())
    scale = (hits + wrong) * (hits + missed) * (misses + wrong) * (misses + missed)
    return (hits * misses - wrong * missed) / scale**0.5 if scale else 0.0


def f1_score(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Harmonic mean of precision and recall of label id 1; 0 when nothing was found or there was nothing to find."""
    both = int(((predicted == 1) & (labels == 1)).sum())
    total = int((predicted == 1).sum() + (labels == 1).sum())
    return 2 * both / total if total else 0.0


def agreement(student: np.ndarray, teacher: np.ndarray, is_regression: bool = False) -> dict[str, float]:
    """How near a student's answers come to its teacher's.

    Args:
        student: logits, [rows, labels]; numbers, [rows, 1].
        teacher: logits, [rows, labels]; numbers, [rows, 1].
        is_regression: whether these are numbers.

    Returns:
        ``agreement``, the share of rows with the same label, and ``kl``, the mean divergence of the student's
        probabilities from the teacher's, KL(teacher || student), in nats; for numbers ``mse``.
    """
    if is_regression:
        return {"mse": float(np.mean((student.astype(np.float64) - teacher) ** 2))}
    log_student, log_teacher = log_softmax(student), log_softmax(teacher)
    kl = (np.exp(log_teacher) * (log_teacher - log_student)).sum(-1).mean()
    return {"agreement": float((student.argmax(-1) == teacher.argmax(-1)).mean()), "kl": float(kl)}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities, float64, [rows, labels]."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def bootstrap_interval(correct: np.ndarray, seed: int = 0, draws: int = 5_000) -> tuple[float, float]:
    """The 95 % interval of an accuracy over the choice of rows.

    Args:
        correct: whether each row was right, or the share of several models that were, [rows].
        seed: of the draws.
        draws: resampled sets of rows.
    """
    rng, rows = generator(seed, "bootstrap"), len(correct)
    means = [correct[rng.integers(0, rows, rows)].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def gap_closed(teacher: float, alone: float, distilled: float) -> float:
    """(distilled - alone) / (teacher - alone): how much of the way to the teacher distillation goes.

    Raises:
        ValueError: the teacher is not better than the student alone, so that there is no gap.
    """
    if teacher <= alone:
        raise ValueError(
            f"the teacher ({teacher:.4f}) is not better than the student alone ({alone:.4f}): no gap to close"
        )
    return (distilled - alone) / (teacher - alone)
