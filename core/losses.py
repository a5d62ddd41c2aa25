"""Distillation losses: pure functions of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle.nn import functional as F  # noqa: N812 - the field's own name


def _check_shapes(student: paddle.Tensor, teacher: paddle.Tensor) -> None:
    if list(student.shape) != list(teacher.shape):
        raise ValueError(
            f"student logits {list(student.shape)} and teacher logits {list(teacher.shape)} must have one shape"
        )


def hard_label_loss(logits: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
    """Cross-entropy with labels, or the squared error to numbers, over the rows that have one.

    Args:
        logits: [rows, labels]; [rows, 1] for numbers.
        labels: int64, [rows], -1 marks rows without a label; or numbers, [rows], not-a-number for rows without.

    Returns:
        The sum over labelled rows divided by the number of all rows, so that parts of a batch add up; a batch
        without a labelled row gives 0.
    """
    if labels.is_floating_point():
        known = paddle.isfinite(labels)
        each = paddle.square(logits[:, 0] - paddle.where(known, labels, logits[:, 0].detach()))
        return each.sum() / logits.shape[0]
    each = F.cross_entropy(logits, labels, reduction="none", ignore_index=-1)
    return each.sum() / logits.shape[0]


def logit_mse_loss(student: paddle.Tensor, teacher: paddle.Tensor) -> paddle.Tensor:
    """Mean squared error between logits: the distillation objective of Tang et al. 2019, eq. 3.

    Args:
        student: logits, [rows, labels].
        teacher: logits, [rows, labels].

    Returns:
        The mean over rows and labels, as the published code takes it (the paper's norm sums over labels).

    Raises:
        ValueError: the shapes differ.
    """
    _check_shapes(student, teacher)
    return F.mse_loss(student, teacher)


def soft_cross_entropy_loss(student: paddle.Tensor, teacher: paddle.Tensor, temperature: float = 1.0) -> paddle.Tensor:
    """Cross-entropy with the teacher's softened probabilities, times the squared temperature (Hinton et al. 2015).

    Args:
        student: logits, [rows, labels].
        teacher: logits, [rows, labels].
        temperature: divides both logits; the factor T^2 keeps gradients of one size.

    Returns:
        The sum over labels, mean over rows.

    Raises:
        ValueError: the shapes differ, or the temperature is not above 0.
    """
    _check_shapes(student, teacher)
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    targets = F.softmax(teacher / temperature, axis=-1)
    each = -(targets * F.log_softmax(student / temperature, axis=-1)).sum(axis=-1)
    return each.mean() * temperature**2


def hidden_states_loss(
    student: Sequence[paddle.Tensor], teacher: Sequence[paddle.Tensor], lengths: paddle.Tensor
) -> paddle.Tensor:
    """Squared distance of hidden states, as DynaBERT's second term (Hou et al. 2020, eq. 4).

    Args:
        student: states, each [rows, tokens, hidden].
        teacher: as many, of the same shape.
        lengths: int64, [rows], tokens that are no padding.

    Returns:
        The sum over the states of the mean over rows of the mean over a row's own tokens and the hidden units. The
        published code averages over padding too, so that a row counts by the length of its neighbours.

    Raises:
        ValueError: numbers or shapes of the states differ.
    """
    if len(student) != len(teacher):
        raise ValueError(f"{len(student)} states of the student, {len(teacher)} of the teacher: expected as many")
    if list(student[0].shape) != list(teacher[0].shape):
        raise ValueError(
            f"student states {list(student[0].shape)} and teacher states {list(teacher[0].shape)} must have one shape"
        )
    rows, tokens, hidden = student[0].shape
    kept = (paddle.arange(tokens) < lengths.unsqueeze(1)).astype("float32")  # [rows, tokens]
    share = (kept / (lengths.unsqueeze(1).astype("float32") * rows * hidden)).reshape([1, -1])
    # A product instead of a mean: Paddle's reductions over the last axis take several times as long on a CPU. In full
    # precision: a share of one in a million is nothing in fp16.
    with paddle.amp.auto_cast(enable=False):
        each = [
            paddle.matmul(share, paddle.square((mine - theirs).astype("float32")).reshape([-1, hidden])).sum()
            for mine, theirs in zip(student, teacher, strict=True)
        ]
    return paddle.add_n(each)


DISTILLATION_LOSSES = ("mse", "soft_ce")


def distillation_losses(
    student: paddle.Tensor,
    teacher: paddle.Tensor,
    labels: paddle.Tensor | None,
    alpha: float = 0.0,
    kind: str = "mse",
    temperature: float = 1.0,
) -> dict[str, paddle.Tensor]:
    """alpha * CE(labels) + (1 - alpha) * distance to the teacher (Tang et al. 2019, eq. 4).

    Args:
        student: logits, [rows, labels].
        teacher: logits, [rows, labels].
        labels: as for :func:`hard_label_loss`; augmented rows have none; may be None when ``alpha`` is 0.
        alpha: weight of the labels.
        kind: ``mse`` or ``soft_ce``.
        temperature: of ``soft_ce``.

    Returns:
        ``loss`` and its parts.
    """
    soft = logit_mse_loss(student, teacher) if kind == "mse" else soft_cross_entropy_loss(student, teacher, temperature)
    if alpha == 0:
        return {"loss": soft}
    if labels is None:
        raise ValueError("alpha above 0 needs labels")
    hard = hard_label_loss(student, labels)
    return {"loss": alpha * hard + (1 - alpha) * soft, "hard": hard, "soft": soft}
