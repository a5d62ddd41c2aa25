"""Losses against numbers computed by hand."""

from __future__ import annotations

import math

import paddle
import pytest

from core.losses import distillation_losses, hard_label_loss, logit_mse_loss, soft_cross_entropy_loss

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
