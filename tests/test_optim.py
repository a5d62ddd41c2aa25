"""Schedules by hand; optimisers that go on in a new model as if nothing had happened."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
import tiny
from paddle import nn

from console import InputError
from core.optim import clip_gradients, learning_rate, make_optimizer, optimizer_state, restore_optimizer
from models.weights import layer_weights, set_weights


class Net(nn.Layer):
    """A matrix, a norm and an embedding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.norm = nn.LayerNorm(4)
        self.linear = nn.Linear(4, 3)

    def forward(self, ids):
        return self.linear(self.norm(self.embedding(ids)))


def steps(net, optimizer, first, last):
    for number in range(first, last):
        rng = np.random.default_rng(number)
        ids = paddle.to_tensor(rng.integers(0, 7, (5,)))
        target = paddle.to_tensor(rng.normal(size=(5, 3)).astype(np.float32))
        ((net(ids) - target) ** 2).sum().backward()
        clip_gradients(net.parameters(), 1.0)
        optimizer.set_lr(0.05)
        optimizer.step()
        optimizer.clear_grad()


@pytest.mark.parametrize("name", ["adadelta", "adam", "adamw"])
def test_restored_state_in_a_new_model_goes_on_with_the_same_bits(name):
    decay = 0.1 if name == "adamw" else 0.0
    paddle.seed(1)
    whole = Net()
    start = {k: v.copy() for k, v in layer_weights(whole).items()}
    optimizer = make_optimizer(name, whole, decay)
    steps(whole, optimizer, 0, 6)

    first = Net()
    set_weights(first, start, "start")
    optimizer = make_optimizer(name, first, decay)
    steps(first, optimizer, 0, 3)
    weights, state = layer_weights(first), optimizer_state(optimizer, first)

    second = Net()
    set_weights(second, weights, "checkpoint")
    optimizer = make_optimizer(name, second, decay)
    restore_optimizer(optimizer, second, state)
    steps(second, optimizer, 3, 6)

    for key, value in layer_weights(whole).items():
        np.testing.assert_array_equal(layer_weights(second)[key], value, err_msg=key)
        assert not np.array_equal(value, start[key]), f"{key} never moved"


def test_state_carries_the_names_of_the_model_not_of_the_process():
    names = []
    for _ in range(2):
        net = Net()
        optimizer = make_optimizer("adam", net)
        steps(net, optimizer, 0, 1)
        names.append(set(optimizer_state(optimizer, net)))
    assert names[0] == names[1]
    assert {name.split("|")[0] for name in names[0]} == {name for name, _ in net.named_parameters()}


def test_weight_decay_leaves_biases_and_norms_out():
    model = tiny.bert().model
    before = {k: v.copy() for k, v in layer_weights(model).items()}
    optimizer = make_optimizer("adamw", model, weight_decay=0.5)
    sum((parameter * 0).sum() for parameter in model.parameters()).backward()
    optimizer.set_lr(0.1)
    optimizer.step()
    for name, value in layer_weights(model).items():
        # Gradients are 0: what decays is multiplied with 1 - 0.1 * 0.5 = 0.95.
        factor = 1.0 if name.endswith("bias") or "norm" in name else 0.95
        np.testing.assert_allclose(value, factor * before[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", ["adam", "adadelta"])
def test_weight_decay_needs_adamw(name):
    with pytest.raises(InputError, match=f"--weight_decay 0.1: decoupled decay needs --optimizer adamw, not {name}"):
        make_optimizer(name, Net(), weight_decay=0.1)


def parameters_with_gradients(*gradients):
    made = []
    for gradient in gradients:
        parameter = paddle.zeros([len(gradient)])
        parameter.stop_gradient = False
        (parameter * paddle.to_tensor(gradient)).sum().backward()
        made.append(parameter)
    return made


def test_clipping_scales_all_gradients_to_the_common_norm():
    parameters = parameters_with_gradients([2.0, 0.0], [3.0], [6.0])
    # sqrt(4 + 9 + 36) = 7; clipped to 3.5 everything is halved.
    assert clip_gradients(parameters, 3.5) == pytest.approx(7.0)
    assert [p.grad.tolist() for p in parameters] == [[1.0, 0.0], [1.5], [3.0]]


def test_clipping_leaves_gradients_within_the_norm_and_absent_ones_alone():
    parameters = parameters_with_gradients([3.0, 4.0])
    untouched = paddle.zeros([2])
    untouched.stop_gradient = False
    assert clip_gradients([*parameters, untouched], 5.5) == pytest.approx(5.0)
    assert parameters[0].grad.tolist() == [3.0, 4.0]
    assert untouched.grad is None


def test_clipping_equals_that_of_paddle():
    gradients = [np.random.default_rng(n).normal(size=5).astype(np.float32) for n in range(3)]
    parameters = parameters_with_gradients(*gradients)
    clipped = nn.ClipGradByGlobalNorm(0.7)([(p, p.grad) for p in parameters_with_gradients(*gradients)])
    clip_gradients(parameters, 0.7)
    for mine, (_, theirs) in zip(parameters, clipped, strict=True):
        np.testing.assert_allclose(mine.grad.numpy(), theirs.numpy(), rtol=1e-5)


def test_warm_up_is_linear_and_reaches_the_peak():
    assert [learning_rate(step, 100, 2.0, 4, "constant") for step in range(5)] == [0.5, 1.0, 1.5, 2.0, 2.0]


def test_constant_stays():
    assert [learning_rate(step, 10, 0.3, 0, "constant") for step in (0, 5, 9)] == [0.3, 0.3, 0.3]


def test_linear_falls_to_zero_after_the_warm_up():
    # 12 steps, 4 of warm-up: step 4 is 0/8 of the way, step 8 4/8, step 10 6/8, step 12 the end.
    rates = [learning_rate(step, 12, 1.0, 4, "linear") for step in (4, 8, 10, 12, 13)]
    assert rates == [1.0, 0.5, 0.25, 0.0, 0.0]


def test_cosine_falls_to_zero_after_the_warm_up():
    # Step 6 is a quarter of the way: (1 + cos 45 deg) / 2 = 0.853553; half-way 0.5; the end 0.
    rates = [learning_rate(step, 12, 1.0, 4, "cosine") for step in (4, 6, 8, 12, 13)]
    assert rates == pytest.approx([1.0, 0.853553, 0.5, 0.0, 0.0], abs=1e-6)


def test_a_run_that_is_all_warm_up_divides_by_nothing():
    assert learning_rate(2, 2, 1.0, 2, "linear") == 1.0
