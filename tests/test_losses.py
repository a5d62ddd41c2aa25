"""Losses against numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest
import tiny

from core.features import token_vectors
from core.losses import (
    attention_scores_loss,
    distillation_losses,
    hard_label_loss,
    hidden_states_loss,
    kept_outputs_losses,
    logit_mse_loss,
    patient_loss,
    relation_loss,
    soft_cross_entropy_loss,
)
from data.batches import Batches

LN2, LN3 = math.log(2), math.log(3)


def tensor(rows):
    return paddle.to_tensor(rows, dtype="float32")


def labels(*ids):
    return paddle.to_tensor(list(ids), dtype="int64")


def test_mse_of_logits_is_the_mean_over_rows_and_labels():
    # Differences 1, 0 / 2, 4: squares 1 + 0 + 4 + 16 = 21, over 4 logits.
    loss = logit_mse_loss(tensor([[1, 2], [3, 5]]), tensor([[0, 2], [1, 1]]))
    assert float(loss) == pytest.approx(5.25, abs=1e-6)


def test_soft_cross_entropy_at_temperature_one():
    # Student (0, ln 3) -> probabilities 1/4, 3/4; teacher (0, 0) -> 1/2, 1/2.
    # -(0.5 ln 0.25 + 0.5 ln 0.75) = 0.5 * 1.386294 + 0.5 * 0.287682 = 0.836988
    loss = soft_cross_entropy_loss(tensor([[0, LN3]]), tensor([[0, 0]]))
    assert float(loss) == pytest.approx(0.836988, abs=1e-5)


def test_soft_cross_entropy_at_temperature_two_softens_both_sides_and_multiplies_by_four():
    # (0, 2 ln 3) / 2 -> 1/4, 3/4; teacher (2 ln 3, 0) / 2 -> 3/4, 1/4.
    # -(0.75 ln 0.25 + 0.25 ln 0.75) = 1.039721 + 0.071921 = 1.111641, times 2^2 = 4.446565
    loss = soft_cross_entropy_loss(tensor([[0, 2 * LN3]]), tensor([[2 * LN3, 0]]), temperature=2.0)
    assert float(loss) == pytest.approx(4.446565, abs=1e-5)


def test_soft_cross_entropy_is_the_mean_over_rows():
    # Rows: 0.836988 as above, and (0, 0) against (0, 0): ln 2 = 0.693147; mean 0.765068
    loss = soft_cross_entropy_loss(tensor([[0, LN3], [0, 0]]), tensor([[0, 0], [0, 0]]))
    assert float(loss) == pytest.approx(0.765068, abs=1e-5)


def test_hard_label_loss_is_the_plain_mean_when_every_row_has_a_label():
    # -ln(3/4) = 0.287682 and -ln(1/2) = 0.693147; mean 0.490415
    assert float(hard_label_loss(tensor([[0, LN3], [0, 0]]), labels(1, 0))) == pytest.approx(0.490415, abs=1e-5)


def test_hard_label_loss_divides_by_all_rows_also_those_without_a_label():
    # -ln(3/4) + -ln(1/2) = 0.287682 + 0.693147 = 0.980829, over 4 rows = 0.245207
    loss = hard_label_loss(tensor([[0, LN3], [0, LN3], [0, 0], [0, 0]]), labels(1, -1, 0, -1))
    assert float(loss) == pytest.approx(0.245207, abs=1e-5)


def test_hard_label_loss_without_any_label_is_zero_and_has_a_zero_gradient():
    logits = tensor([[0, LN3], [1, 0]])
    logits.stop_gradient = False
    loss = hard_label_loss(logits, labels(-1, -1))
    loss.backward()
    assert float(loss) == 0
    assert logits.grad.abs().sum().item() == 0


def test_hard_label_losses_of_two_halves_add_up_to_the_whole():
    logits, ids = tensor([[0, LN3], [0, 2], [3, 0], [0, 0]]), labels(1, -1, 0, 1)
    whole = float(hard_label_loss(logits, ids))
    halves = 0.5 * float(hard_label_loss(logits[:2], ids[:2])) + 0.5 * float(hard_label_loss(logits[2:], ids[2:]))
    assert halves == pytest.approx(whole, abs=1e-6)


def test_alpha_mixes_labels_and_teacher():
    # Squared error: ((0 - 1)^2 + 0) / 2 = 0.5; labels: -ln(3/4) = 0.287682.
    # 0.25 * 0.287682 + 0.75 * 0.5 = 0.071921 + 0.375 = 0.446921
    losses = distillation_losses(tensor([[0, LN3]]), tensor([[1, LN3]]), labels(1), alpha=0.25)
    assert {name: round(float(value), 5) for name, value in losses.items()} == {
        "loss": 0.44692,
        "hard": 0.28768,
        "soft": 0.5,
    }


def test_alpha_zero_needs_no_labels_and_gives_the_distance_alone():
    losses = distillation_losses(tensor([[0, LN3]]), tensor([[1, LN3]]), None)
    assert {name: float(value) for name, value in losses.items()} == {"loss": 0.5}


def test_alpha_one_is_the_label_loss():
    losses = distillation_losses(tensor([[0, LN3]]), tensor([[9, 9]]), labels(1), alpha=1.0)
    assert float(losses["loss"]) == pytest.approx(0.287682, abs=1e-5)


def test_soft_ce_kind_uses_the_temperature():
    losses = distillation_losses(tensor([[0, 2 * LN3]]), tensor([[2 * LN3, 0]]), None, kind="soft_ce", temperature=2.0)
    assert float(losses["loss"]) == pytest.approx(4.446565, abs=1e-5)


def test_alpha_without_labels_is_refused():
    with pytest.raises(ValueError, match="alpha above 0 needs labels"):
        distillation_losses(tensor([[0, 1]]), tensor([[0, 1]]), None, alpha=0.5)


@pytest.mark.parametrize("loss", [logit_mse_loss, soft_cross_entropy_loss])
def test_shapes_that_would_broadcast_are_refused(loss):
    with pytest.raises(ValueError, match=r"student logits \[2, 2\] and teacher logits \[1, 2\]"):
        loss(tensor([[0, 1], [1, 0]]), tensor([[0, 1]]))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_must_be_above_zero(temperature):
    with pytest.raises(ValueError, match="temperature must be above 0"):
        soft_cross_entropy_loss(tensor([[0, 1]]), tensor([[0, 1]]), temperature)


def test_numbers_give_the_squared_error_of_rows_that_have_one():
    logits = tensor([[1.0], [2.0], [5.0]])
    logits.stop_gradient = False
    loss = hard_label_loss(logits, paddle.to_tensor([3.0, math.nan, 4.0]))
    loss.backward()
    assert float(loss) == pytest.approx((4 + 1) / 3)
    # 2 (prediction - number) / 3
    assert logits.grad.flatten().tolist() == pytest.approx([-4 / 3, 0, 2 / 3])


# Layers


def test_soft_cross_entropy_may_be_the_mean_over_classes_as_published():
    both = tensor([[0, LN3]]), tensor([[0, 0]])
    assert float(soft_cross_entropy_loss(*both, over_classes="mean")) == pytest.approx(0.836988 / 2, abs=1e-5)
    with pytest.raises(ValueError, match="over_classes 'max': expected one of sum, mean"):
        soft_cross_entropy_loss(*both, over_classes="max")


def test_attention_scores_count_a_rows_own_pairs_of_tokens_only():
    # One row of two tokens and one of padding, two heads. Squares of own pairs: head 1: 1 4 9 16, head 2: 0 0 0 2.
    # Their sum 32, over 2 heads x 4 pairs: 4. What stands for padding is -10,000 and anything.
    student = paddle.zeros([1, 2, 3, 3])
    teacher = tensor([[[[1, 2, -1e4], [3, 4, 7], [5, 5, 5]], [[0, 0, -1e4], [0, 2**0.5, 7], [5, 5, 5]]]])
    lengths = labels(2)
    assert float(attention_scores_loss([student], [teacher], lengths)) == pytest.approx(4.0, rel=1e-6)
    # Layers add up.
    assert float(attention_scores_loss([student] * 3, [teacher] * 3, lengths)) == pytest.approx(12.0, rel=1e-6)


def test_attention_scores_are_a_mean_over_rows_whatever_their_length():
    # Row 1 (one token): square 4; row 2 (two tokens): squares 1 1 1 1, mean 1. Mean over rows 2.5.
    student, teacher = paddle.zeros([2, 1, 2, 2]), tensor([[[[2, 9], [9, 9]]], [[[1, 1], [1, 1]]]])
    assert float(attention_scores_loss([student], [teacher], labels(1, 2))) == pytest.approx(2.5, rel=1e-6)


def test_attention_with_other_heads_is_refused():
    with pytest.raises(ValueError, match="use relations instead"):
        attention_scores_loss([paddle.zeros([1, 2, 3, 3])], [paddle.zeros([1, 4, 3, 3])], labels(3))
    with pytest.raises(ValueError, match="1 layers of the student, 2 of the teacher"):
        attention_scores_loss([paddle.zeros([1, 2, 3, 3])], [paddle.zeros([1, 2, 3, 3])] * 2, labels(3))


def test_hidden_states_of_padding_do_not_count():
    # Two units; own tokens: squares (1 + 1)/2 and (9 + 1)/2, mean 3.
    student, teacher = paddle.zeros([1, 3, 2]), tensor([[[1, 1], [3, 1], [99, 99]]])
    assert float(hidden_states_loss([student], [teacher], labels(2))) == pytest.approx(3.0, rel=1e-6)


def test_relations_of_one_head_by_hand():
    # Width 1, two tokens: the teacher's vectors 0 and 0 relate evenly, (1/2, 1/2) for both queries. The student's are 0
    # and sqrt(ln 3): token 1 relates evenly; token 2 with scores 0 and ln 3, that is 1/4 and 3/4.
    # KL of token 2: 1/2 ln(2) + 1/2 ln(2/3) = 1/2 ln(4/3) = 0.143841; mean over two tokens 0.0719205.
    mine, theirs = tensor([[[0], [LN3**0.5]]]), tensor([[[0], [0]]])
    loss = relation_loss((mine, mine), (theirs, theirs), labels(2), 1)
    assert float(loss) == pytest.approx(0.0719205, abs=1e-5)


def test_relations_leave_padding_out_and_allow_other_widths():
    rng = np.random.default_rng(0)
    mine, theirs = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 12))
    lengths = np.array([3, 2])

    def relations(vectors, heads, length):
        cut = vectors[:length].reshape(length, heads, -1).transpose(1, 0, 2)
        scores = cut @ cut.transpose(0, 2, 1) / np.sqrt(cut.shape[-1])
        scores = np.exp(scores)
        return scores / scores.sum(-1, keepdims=True)

    expected = 0.0
    for row, length in enumerate(lengths):
        p, q = relations(theirs[row], 2, length), relations(mine[row], 2, length)
        expected += (p * np.log(p / q)).sum(-1).mean() / 2
    loss = relation_loss((tensor(mine),) * 2, (tensor(theirs),) * 2, labels(*lengths), 2)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="3 relation heads: do not divide vectors of width 4"):
        relation_loss((tensor(mine),) * 2, (tensor(theirs),) * 2, labels(*lengths), 3)


def test_relations_of_a_networks_own_heads_are_its_attention():
    found = {}
    batches = {}
    for seed in (0, 1):
        loaded = tiny.bert(seed=seed)
        encoded = loaded.encoder.encode([["the film was good", "bad"]])
        (batch,) = Batches(encoded, 2, loaded.encoder.pad_id, shuffle=False).epoch(0)
        found[seed] = loaded.model.features_of(batch, ("attention_scores", "queries", "keys"))
        batches[seed] = batch
    p, q = (paddle.nn.functional.softmax(found[seed]["attention_scores"][1]).numpy() for seed in (1, 0))
    expected = 0.0
    for row, length in enumerate(batches[0]["lengths"]):
        mine, theirs = q[row, :, :length, :length], p[row, :, :length, :length]
        expected += (theirs * np.log(theirs / mine)).sum(-1).mean() / 2
    vectors = [tuple(token_vectors(name, found[seed][name][1]) for name in ("queries", "keys")) for seed in (0, 1)]
    loss = relation_loss(*vectors, paddle.to_tensor(batches[0]["lengths"]), 2)
    assert float(loss) == pytest.approx(expected, rel=1e-3)


def test_patient_loss_is_two_minus_twice_the_cosine():
    # (3, 4) and (4, 3): cosine 24/25; 2 - 48/25 = 0.08. Opposite directions: 4. Lengths say nothing.
    assert float(patient_loss([tensor([[3, 4]])], [tensor([[40, 30]])])) == pytest.approx(0.08, abs=1e-6)
    assert float(patient_loss([tensor([[1, 0]])], [tensor([[-2, 0]])])) == pytest.approx(4.0, abs=1e-6)
    # Mean over rows, sum over layers.
    two = tensor([[3, 4], [1, 0]]), tensor([[40, 30], [5, 0]])
    assert float(patient_loss([two[0]] * 2, [two[1]] * 2)) == pytest.approx(0.08, abs=1e-6)


def test_kept_outputs_by_hand():
    # Student (0, 0, ln 2) -> 1/4 1/4 1/2. Kept pieces 2 and 0 with the teacher's 0.5 and 0.3.
    # CE: -(0.5 ln 0.5 + 0.3 ln 0.25) = 0.346574 + 0.415888 = 0.762462.
    # Cosine of (1/2, 1/4) and (0.5, 0.3): 0.325 / sqrt(0.3125 * 0.34) = 0.997054; 1 - that = 0.002946.
    found = kept_outputs_losses(tensor([[0, 0, LN2]]), labels([2, 0]), tensor([[0.5, 0.3]]))
    assert float(found["ce"]) == pytest.approx(0.762462, abs=1e-5)
    assert float(found["cosine"]) == pytest.approx(0.002946, abs=1e-5)


def test_kept_outputs_are_means_over_places():
    # The second place: student 1/3 each; kept 1 with 1.0: CE ln 3 = 1.098612, cosine of one number 1.
    logits, ids = tensor([[0, 0, LN2], [0, 0, 0]]), labels([2, 0], [1, 0])
    found = kept_outputs_losses(logits, ids, tensor([[0.5, 0.3], [1.0, 0.0]]))
    assert float(found["ce"]) == pytest.approx((0.762462 + 1.098612) / 2, abs=1e-5)
    # (1/3, 1/3) and (1, 0): 1/sqrt(2).
    assert float(found["cosine"]) == pytest.approx((0.002946 + 1 - 0.5**0.5) / 2, abs=1e-5)


def test_rows_of_all_distances_of_layers_may_count_by_weights():
    """Two halves of a batch, weighted, add up to the whole: so they do over processes."""
    rng = np.random.default_rng(0)

    def drawn(*shape):
        return paddle.to_tensor(rng.normal(size=shape).astype(np.float32))

    lengths = paddle.to_tensor(np.asarray([5, 3, 4, 2]))
    scores, states = ([drawn(4, 2, 5, 5), drawn(4, 2, 5, 5)], [drawn(4, 5, 8) for _ in range(4)])
    weights = np.asarray([0.1, 0.4, 0.3, 0.2], np.float32)

    def losses(rows):
        mine = paddle.to_tensor(weights[rows] / weights[rows].sum())
        kept = paddle.to_tensor(np.asarray(rows))
        pick = [paddle.index_select(x, kept) for x in states]
        first = [paddle.index_select(x, kept) for x in scores]
        own = paddle.index_select(lengths, kept)
        return [
            float(attention_scores_loss(first[:1], first[1:], own, mine)),
            float(relation_loss(tuple(pick[:2]), tuple(pick[2:]), own, 2, mine)),
            float(patient_loss([pick[0][:, 0]], [pick[1][:, 0]], mine)),
            float(hidden_states_loss([pick[0]], [pick[1]], own, mine)),
        ]

    whole = losses([0, 1, 2, 3])
    halves = np.asarray([losses([0, 1]), losses([2, 3])])
    np.testing.assert_allclose(whole, weights[:2].sum() * halves[0] + weights[2:].sum() * halves[1], rtol=1e-5)
    # Equal weights are no weights.
    even = paddle.to_tensor(np.full(4, 0.25, np.float32))
    for with_weights, without in (
        (patient_loss([states[0][:, 0]], [states[1][:, 0]], even), patient_loss([states[0][:, 0]], [states[1][:, 0]])),
        (
            attention_scores_loss(scores[:1], scores[1:], lengths, even),
            attention_scores_loss(scores[:1], scores[1:], lengths),
        ),
    ):
        assert float(with_weights) == pytest.approx(float(without), rel=1e-6)
