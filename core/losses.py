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


def _cross_entropy(logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
    """-sum of p log q over the last axis, whose dimension goes.

    By the fused operation: on a CPU the time of Paddle's ``log_softmax`` grows with the square of that axis, which for
    a vocabulary is minutes.
    """
    return F.cross_entropy(logits, targets, soft_label=True, reduction="none", axis=-1).squeeze(-1)


CLASS_REDUCTIONS = ("sum", "mean")


def soft_cross_entropy_loss(
    student: paddle.Tensor,
    teacher: paddle.Tensor,
    temperature: float = 1.0,
    over_classes: str = "sum",
    scaled: bool = True,
) -> paddle.Tensor:
    """Cross-entropy with the teacher's softened probabilities, times the squared temperature (Hinton et al. 2015).

    Args:
        student: logits, [rows, labels].
        teacher: logits, [rows, labels].
        temperature: divides both logits; the factor T^2 keeps gradients of one size.
        scaled: whether that factor is there; MiniRBT is trained without it.
        over_classes: ``sum``, the definition, or ``mean`` over the labels, as TinyBERT's published code has it.

    Returns:
        The sum (or mean) over labels, mean over rows.

    Raises:
        ValueError: the shapes differ, the temperature is not above 0, or no such reduction.
    """
    if over_classes not in CLASS_REDUCTIONS:
        raise ValueError(f"over_classes {over_classes!r}: expected one of {', '.join(CLASS_REDUCTIONS)}")
    _check_shapes(student, teacher)
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    each = _cross_entropy(student / temperature, F.softmax(teacher / temperature, axis=-1))
    share = 1 / student.shape[-1] if over_classes == "mean" else 1.0
    return each.mean() * (temperature**2 if scaled else 1.0) * share


def hidden_states_loss(
    student: Sequence[paddle.Tensor],
    teacher: Sequence[paddle.Tensor],
    lengths: paddle.Tensor,
    weights: paddle.Tensor | None = None,
) -> paddle.Tensor:
    """Squared distance of hidden states, as DynaBERT's second term (Hou et al. 2020, eq. 4).

    Args:
        student: states, each [rows, tokens, hidden].
        teacher: as many, of the same shape.
        lengths: int64, [rows], tokens that are no padding.
        weights: of the rows, [rows], with a sum of 1; all alike when left out.

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
    each_row = 1 / rows if weights is None else weights.unsqueeze(1)
    share = (kept * each_row / (lengths.unsqueeze(1).astype("float32") * hidden)).reshape([1, -1])
    # A product instead of a mean: Paddle's reductions over the last axis take several times as long on a CPU. In full
    # precision: a share of one in a million is nothing in fp16.
    with paddle.amp.auto_cast(enable=False):
        each = [
            paddle.matmul(share, paddle.square((mine - theirs).astype("float32")).reshape([-1, hidden])).sum()
            for mine, theirs in zip(student, teacher, strict=True)
        ]
    return paddle.add_n(each)


def _own_tokens(lengths: paddle.Tensor, tokens: int) -> paddle.Tensor:
    """1 for a row's own tokens and 0 for padding; float32, [rows, tokens]."""
    return (paddle.arange(tokens) < lengths.unsqueeze(1)).astype("float32")


def _check_squares(student: Sequence[paddle.Tensor], teacher: Sequence[paddle.Tensor], what: str) -> None:
    if len(student) != len(teacher):
        raise ValueError(f"{what}: {len(student)} layers of the student, {len(teacher)} of the teacher")
    for mine, theirs in zip(student, teacher, strict=True):
        if list(mine.shape) != list(theirs.shape):
            raise ValueError(
                f"{what}: {list(mine.shape)} of the student and {list(theirs.shape)} of the teacher must have one "
                "shape; with another number of heads use relations instead"
            )


def _mean_over_queries(
    values: paddle.Tensor, kept: paddle.Tensor, weights: paddle.Tensor | None = None
) -> paddle.Tensor:
    """The mean over rows of the mean over heads and a row's own queries of values [rows, heads, tokens]."""
    rows, heads, _ = values.shape
    each_row = 1 / rows if weights is None else weights.unsqueeze(1)
    share = kept * each_row / (kept.sum(axis=1, keepdim=True) * heads)  # [rows, tokens]
    return paddle.matmul(values, share.unsqueeze(-1)).sum()


def attention_scores_loss(
    student: Sequence[paddle.Tensor],
    teacher: Sequence[paddle.Tensor],
    lengths: paddle.Tensor,
    weights: paddle.Tensor | None = None,
) -> paddle.Tensor:
    """Squared distance of attention scores before the softmax (TinyBERT, Jiao et al. 2019, eq. 7).

    Args:
        student: scores of the compared layers, each [rows, heads, tokens, tokens]; those of padding do not count.
        teacher: as many, of the same shape.
        lengths: int64, [rows], tokens that are no padding.
        weights: of the rows, as for :func:`hidden_states_loss`.

    Returns:
        The sum over layers of the mean over rows of the mean over heads and pairs of a row's own tokens. The published
        code counts pairs with padding as equal instead, so that a row counts by the length of its neighbours.

    Raises:
        ValueError: numbers or shapes differ.
    """
    _check_squares(student, teacher, "attention scores")
    rows, heads, tokens, _ = student[0].shape
    kept = _own_tokens(lengths, tokens)
    keys = (kept / lengths.unsqueeze(1).astype("float32")).unsqueeze(-1)  # [rows, tokens, 1]
    with paddle.amp.auto_cast(enable=False):
        each = []
        for mine, theirs in zip(student, teacher, strict=True):
            squares = paddle.square((mine - theirs).astype("float32")).reshape([rows, heads * tokens, tokens])
            # Products with the shares of the keys, then of the queries: reductions of Paddle's take far longer on CPUs.
            over_keys = paddle.matmul(squares, keys).reshape([rows, heads, tokens])
            each.append(_mean_over_queries(over_keys, kept, weights))
    return paddle.add_n(each)


def relation_loss(
    student: tuple[paddle.Tensor, paddle.Tensor],
    teacher: tuple[paddle.Tensor, paddle.Tensor],
    lengths: paddle.Tensor,
    heads: int,
    weights: paddle.Tensor | None = None,
) -> paddle.Tensor:
    """How differently tokens relate to each other (MiniLM, Wang et al. 2020, eq. 5; MiniLMv2, Wang et al. 2021, eq. 4).

    Relations are softmax(A B^T / sqrt(d)) over a row's own tokens. Any number of relation heads serves, also where the
    networks have other heads or widths: the vectors of all heads are joined and cut anew.

    Args:
        student: A and B, each [rows, tokens, width]: queries and keys for attention, values and values, ….
        teacher: the same, of any width.
        lengths: int64, [rows], tokens that are no padding.
        heads: relation heads; divides both widths.
        weights: of the rows, as for :func:`hidden_states_loss`.

    Returns:
        KL(teacher || student): mean over rows of the mean over relation heads and a row's own tokens.

    Raises:
        ValueError: ``heads`` does not divide a width.
    """
    kept = _own_tokens(lengths, student[0].shape[1])
    with paddle.amp.auto_cast(enable=False):
        padding = ((1 - kept) * -1e4).unsqueeze([1, 2]).expand([-1, heads, kept.shape[1], -1]).contiguous()
        mine, theirs = (_relations(first, second, heads, padding) for first, second in (student, teacher))
        target = F.softmax(theirs)
        distance = _cross_entropy(mine, target) - _cross_entropy(theirs, target)  # [rows, heads, tokens]
        return _mean_over_queries(distance, kept, weights)


def _relations(first: paddle.Tensor, second: paddle.Tensor, heads: int, padding: paddle.Tensor) -> paddle.Tensor:
    width = first.shape[-1]
    if width % heads:
        raise ValueError(f"{heads} relation heads: do not divide vectors of width {width}")
    first, second = (
        side.astype("float32").reshape([0, 0, heads, width // heads]).transpose([0, 2, 1, 3])
        for side in (first, second)
    )
    return paddle.matmul(first * (width // heads) ** -0.5, second, transpose_y=True) + padding


def patient_loss(
    student: Sequence[paddle.Tensor], teacher: Sequence[paddle.Tensor], weights: paddle.Tensor | None = None
) -> paddle.Tensor:
    """Squared distance of normalised first-token states (patient knowledge distillation, Sun et al. 2019, eq. 7).

    It is 2 - 2 cos of the angle between them.

    Args:
        student: states of the compared layers, each [rows, hidden].
        teacher: as many, of the same shape.
        weights: of the rows, as for :func:`hidden_states_loss`.

    Returns:
        The sum over layers of the mean over rows.

    Raises:
        ValueError: numbers or shapes differ.
    """
    _check_squares(student, teacher, "first tokens")
    with paddle.amp.auto_cast(enable=False):
        each = [
            paddle.square(F.normalize(mine.astype("float32")) - F.normalize(theirs.astype("float32"))).sum(-1)
            for mine, theirs in zip(student, teacher, strict=True)
        ]
        over_rows = [rows.mean() if weights is None else (rows * weights).sum() for rows in each]
        return paddle.add_n(over_rows)


def kept_outputs_losses(
    logits: paddle.Tensor, ids: paddle.Tensor, probabilities: paddle.Tensor
) -> dict[str, paddle.Tensor]:
    """Distances to the largest of a teacher's probabilities, as stored outputs of masked language models have them.

    The student's softmax goes over the whole vocabulary, and is compared at the kept pieces alone; neither side is
    scaled up to a sum of one.

    Args:
        logits: the student's, [places, vocabulary].
        ids: the kept pieces, int64, [places, kept].
        probabilities: the teacher's, [places, kept].

    Returns:
        ``ce``: -sum of p log q; ``cosine``: 1 - cos of the angle between the kept probabilities; means over places.
    """
    with paddle.amp.auto_cast(enable=False):
        logits = logits.astype("float32")
        # Not the logarithms of all pieces: see _cross_entropy.
        kept = paddle.take_along_axis(logits, ids, axis=-1) - paddle.logsumexp(logits, axis=-1, keepdim=True)
        targets = probabilities.astype("float32")
        ce = -(targets * kept).sum(axis=-1).mean()
        mine = paddle.exp(kept)
        lengths = paddle.sqrt((mine * mine).sum(axis=-1) * (targets * targets).sum(axis=-1))
        cosine = (mine * targets).sum(axis=-1) / paddle.clip(lengths, min=1e-12)
        return {"ce": ce, "cosine": (1 - cosine).mean()}


DISTILLATION_LOSSES = ("mse", "soft_ce")


def distillation_losses(
    student: paddle.Tensor,
    teacher: paddle.Tensor,
    labels: paddle.Tensor | None,
    alpha: float = 0.0,
    kind: str = "mse",
    temperature: float = 1.0,
    over_classes: str = "sum",
) -> dict[str, paddle.Tensor]:
    """alpha * CE(labels) + (1 - alpha) * distance to the teacher (Tang et al. 2019, eq. 4).

    Args:
        student: logits, [rows, labels].
        teacher: logits, [rows, labels].
        labels: as for :func:`hard_label_loss`; augmented rows have none; may be None when ``alpha`` is 0.
        alpha: weight of the labels.
        kind: ``mse`` or ``soft_ce``.
        temperature: of ``soft_ce``.
        over_classes: of ``soft_ce``, see :func:`soft_cross_entropy_loss`.

    Returns:
        ``loss`` and its parts.
    """
    if kind == "mse":
        soft = logit_mse_loss(student, teacher)
    else:
        soft = soft_cross_entropy_loss(student, teacher, temperature, over_classes)
    if alpha == 0:
        return {"loss": soft}
    if labels is None:
        raise ValueError("alpha above 0 needs labels")
    hard = hard_label_loss(student, labels)
    return {"loss": alpha * hard + (1 - alpha) * soft, "hard": hard, "soft": soft}


def span_losses(
    ends: Sequence[paddle.Tensor],
    lengths: paddle.Tensor,
    labels: paddle.Tensor | None = None,
    teacher: Sequence[paddle.Tensor] | None = None,
    alpha: float = 1.0,
    temperature: float = 1.0,
) -> dict[str, paddle.Tensor]:
    """alpha * CE(the answer's two ends) + (1 - alpha) * CE(the teacher's softened ends), over a row's own tokens.

    Args:
        ends: logits of the first and of the last token, [rows, tokens] each.
        lengths: int64, [rows], tokens that are no padding.
        labels: int64, [rows, 2]; may be None when ``alpha`` is 0.
        teacher: the same logits of a teacher; may be None when ``alpha`` is 1.
        alpha: weight of the labels.
        temperature: softens both sides; the factor T^2 keeps gradients of one size.

    Returns:
        ``loss`` and its parts; of both ends the mean, over rows the mean.

    Raises:
        ValueError: what ``alpha`` gives a weight is not there.
    """
    with paddle.amp.auto_cast(enable=False):
        padding = (1 - _own_tokens(lengths, ends[0].shape[1])) * -1e4
        mine = [end.astype("float32") + padding for end in ends]
        parts = {}
        if alpha > 0:
            if labels is None:
                raise ValueError("alpha above 0 needs labels")
            parts["hard"] = paddle.add_n([F.cross_entropy(end, labels[:, i]) for i, end in enumerate(mine)]) / 2
        if alpha < 1:
            if teacher is None:
                raise ValueError("alpha below 1 needs a teacher")
            theirs = [end.astype("float32") + padding for end in teacher]
            both = zip(mine, theirs, strict=True)
            parts["soft"] = paddle.add_n([soft_cross_entropy_loss(a, b, temperature) for a, b in both]) / 2
        weights = {"hard": alpha, "soft": 1 - alpha}
        return {"loss": paddle.add_n([weights[name] * part for name, part in parts.items()]), **parts}
