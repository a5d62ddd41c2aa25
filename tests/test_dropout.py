"""Dropout: rate, scale, seed, gradient."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from models.dropout import STREAM, Dropout, DropoutStream

COUNT = 200_000


def dropped(p, seed=1, count=COUNT):
    STREAM.reseed(seed)
    layer = Dropout(p)
    layer.train()
    return layer(paddle.ones([count])).numpy()


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_rate_is_the_one_asked_for(p):
    # p is rounded to a 256th (0.002 at most); five standard deviations of the share are 5 * sqrt(p (1 - p) / count).
    found = float((dropped(p) == 0).mean())
    assert abs(found - p) <= 1 / 512 + 5 * (p * (1 - p) / COUNT) ** 0.5


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_scaling_keeps_the_mean(p):
    assert dropped(p).mean() == pytest.approx(1, abs=5 * (p / (1 - p) / COUNT) ** 0.5)


def test_kept_elements_are_scaled_by_the_rounded_rate():
    # 0.1 * 256 = 25.6, rounded 26: kept elements become 256 / (256 - 26) = 1.113043.
    assert np.unique(dropped(0.1)).tolist() == pytest.approx([0, 1.113043], abs=1e-6)


def test_evaluation_is_the_identity():
    layer = Dropout(0.5)
    layer.eval()
    x = paddle.to_tensor(np.arange(6, dtype=np.float32))
    assert layer(x) is x


@pytest.mark.parametrize("p", [0.0, 0.001])
def test_rates_that_round_to_nothing_are_the_identity(p):
    layer = Dropout(p)
    layer.train()
    x = paddle.ones([8])
    assert layer(x) is x


def test_a_rate_near_one_stays_finite():
    assert np.isfinite(dropped(0.999)).all()


def test_same_seed_same_mask_and_other_seed_other_mask():
    assert np.array_equal(dropped(0.5, seed=3), dropped(0.5, seed=3))
    assert not np.array_equal(dropped(0.5, seed=3), dropped(0.5, seed=4))


def test_two_layers_in_a_row_draw_different_masks():
    stream = DropoutStream()
    stream.reseed(5)
    assert not np.array_equal(stream.keep_mask([1000], 128), stream.keep_mask([1000], 128))


def test_gradient_uses_the_mask_of_the_forward_pass():
    STREAM.reseed(2)
    layer = Dropout(0.5)
    layer.train()
    x = paddle.ones([1000])
    x.stop_gradient = False
    out = layer(x)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), out.numpy())
    assert 0 < (out.numpy() == 0).sum() < 1000


def test_mask_takes_shape_and_number_format_of_its_input():
    STREAM.reseed(2)
    layer = Dropout(0.5)
    layer.train()
    out = layer(paddle.ones([2, 3, 4], dtype="bfloat16"))
    assert out.shape == [2, 3, 4]
    assert out.dtype == paddle.bfloat16
