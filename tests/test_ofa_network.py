"""The once-for-all network: which parts it has, what it computes, what it learns from."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import numpy as np
import paddle
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from console import InputError
from core.evaluate import dygraph_forward, predict_logits
from core.layer_map import uniform_layer_map
from core.losses import hard_label_loss, hidden_states_loss
from core.metrics import Selection
from core.train import Loop, LoopSettings
from data.batches import Batches
from data.sources import Rows
from models.bert import inputs_of, narrowed
from models.weights import layer_weights, set_weights
from ofa_bert.importance import Importance, measure_importance, reordered
from ofa_bert.options import OfaOptions, amount
from ofa_bert.shapes import OfaRecord, kept_layers, make_shape, make_shapes, whole
from ofa_bert.steps import Draw, depth_step, final_step, width_step
from ofa_bert.sub_model import cut, encoder_parameters
from ofa_bert.supernet import ElasticBert, ElasticLinear, elastic

CONFIG = {"num_attention_heads": 12, "num_hidden_layers": 12, "intermediate_size": 3072}
SMALL = {"hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 4, "intermediate_size": 32}
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


# Which parts there are


@pytest.mark.parametrize(
    ("multiplier", "count", "kept"),
    [(1.0, 12, 12), (0.8333333333333334, 12, 10), (0.8333, 12, 10), (0.6667, 12, 8), (0.5, 12, 6), (0.5, 2, 1)],
)
def test_a_multiplier_keeps_the_nearest_whole_number(multiplier, count, kept):
    assert whole(multiplier, count, "width") == kept


@pytest.mark.parametrize(("multiplier", "count"), [(0.8, 12), (0.83, 12), (0.25, 6), (0.01, 12), (1.1, 10)])
def test_other_multipliers_are_refused_with_those_that_work(multiplier, count):
    with pytest.raises(
        InputError, match=f"width {multiplier} of {count} keeps no whole number; these do: 1, "
    ) as caught:
        whole(multiplier, count, "width")
    assert f"{1 / count:.4g}" in str(caught.value)


@pytest.mark.parametrize(
    ("total", "kept", "rule", "layers"),
    [
        (12, 9, "keep_first", (0, 1, 2, 4, 5, 6, 8, 9, 10)),
        (12, 9, "keep_last", (0, 1, 3, 4, 5, 7, 8, 9, 11)),
        (12, 6, "keep_first", (0, 2, 4, 6, 8, 10)),
        (12, 6, "keep_last", (1, 3, 5, 7, 9, 11)),
        (6, 4, "keep_first", (0, 1, 3, 4)),
        (6, 4, "keep_last", (0, 2, 3, 5)),
        (6, 3, "keep_last", (1, 3, 5)),
        (6, 6, "keep_last", (0, 1, 2, 3, 4, 5)),
    ],
)
def test_layers_that_stay(total, kept, rule, layers):
    assert kept_layers(total, kept, rule) == layers


@given(st.integers(1, 48).flatmap(lambda total: st.tuples(st.just(total), st.integers(1, total))))
def test_kept_layers_are_spread_evenly(counts):
    total, kept = counts
    for rule in ("keep_first", "keep_last"):
        layers = kept_layers(total, kept, rule)
        gaps = np.diff(layers)
        assert len(layers) == kept
        assert all(gaps >= 1)
        assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1
        assert 0 <= layers[0] <= layers[-1] < total
    assert kept_layers(total, kept, "keep_last")[-1] == total - 1
    assert kept_layers(total, kept, "keep_first")[0] == 0


def test_a_shape_is_named_by_whole_heads():
    shape = make_shape(CONFIG, 0.8333, 0.75)
    assert (shape.heads, shape.neurons, len(shape.layers)) == (10, 2560, 9)
    assert shape == make_shape(CONFIG, 0.8333333333333334, 0.75)
    assert shape.name == "0.8333 x 0.75"


def test_neurons_are_rounded():
    assert make_shape({**CONFIG, "intermediate_size": 100}, 2 / 3, 1.0).neurons == 67


def test_shapes_come_once_and_from_large_to_small():
    shapes = make_shapes(CONFIG, (0.5, 1.0, 0.50001), (0.5, 1.0))
    assert [(shape.width, shape.depth) for shape in shapes] == [(1, 1), (0.5, 1), (1, 0.5), (0.5, 0.5)]


def test_a_depth_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match=r"depth 0.7 of 12 keeps no whole number"):
        make_shapes(CONFIG, (1.0,), (1.0, 0.7))


def test_the_record_comes_back(tmp_path):
    record = OfaRecord((1.0, 0.5), (1.0,), "keep_last", "width")
    record.save(tmp_path)
    assert OfaRecord.load(tmp_path) == record


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"widths": [], "depths": [1], "rule": "keep_last", "stage": "width"}',
        "{}",
        '{"widths": 1, "depths": [1], "rule": "x", "stage": "width"}',
        '{"widths": [1, NaN], "depths": [1], "rule": "keep_last", "stage": "width"}',
        '{"widths": [1], "depths": [1, -0.5], "rule": "keep_last", "stage": "width"}',
    ],
)
def test_a_damaged_record_is_refused(tmp_path, content):
    (tmp_path / "ofa.json").write_text(content)
    with pytest.raises(InputError, match=r"ofa\.json: damaged"):
        OfaRecord.load(tmp_path)


def test_an_unknown_rule_is_refused(tmp_path):
    (tmp_path / "ofa.json").write_text('{"widths": [1], "depths": [1], "rule": "odd", "stage": "width"}')
    with pytest.raises(InputError, match="rule 'odd': expected one of keep_last, keep_first"):
        OfaRecord.load(tmp_path)


# The linear layer


def test_importing_the_recipe_changes_nothing_in_paddle():
    code = """
import inspect, paddle
def state():
    spaces = {"nn": paddle.nn, "functional": paddle.nn.functional, "paddle": paddle}
    found = {(s, n): id(v) for s, space in spaces.items() for n, v in vars(space).items()}
    for s, space in spaces.items():
        for n, v in list(vars(space).items()):
            if inspect.isclass(v):
                found.update({(s, n, k): id(x) for k, x in vars(v).items()})
    return found
before = state()
import ofa_bert.supernet, ofa_bert.train, ofa_bert.find, ofa_bert.sub_model
after = state()
assert "paddleslim.nas.ofa.utils.nlp_utils" not in __import__("sys").modules
changed = [k for k in before if after.get(k) != before[k] and not k[-1].startswith("_abc_")]
print("changed:", changed)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tiny.ROOT, env=tiny.environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "changed: []"


@pytest.mark.parametrize("training", [True, False], ids=["own backward pass", "PaddleSlim's"])
@pytest.mark.parametrize(("inputs", "outputs"), [(6, 4), (3, 4), (6, 2), (5, 3)])
def test_the_linear_layer_equals_a_slice_by_hand(training, inputs, outputs):
    rng = np.random.default_rng(0)
    layer = ElasticLinear(6, 4)
    weight, bias = rng.normal(size=(6, 4)).astype("float32"), rng.normal(size=4).astype("float32")
    layer.weight.set_value(weight)
    layer.bias.set_value(bias)
    layer.outputs = outputs
    layer.train() if training else layer.eval()
    x = rng.normal(size=(2, 3, inputs)).astype("float32")
    factor = rng.normal(size=(2, 3, outputs)).astype("float32")
    tensor = paddle.to_tensor(x, stop_gradient=False)
    found = layer(tensor)
    (found * paddle.to_tensor(factor)).sum().backward()

    np.testing.assert_allclose(found.numpy(), x @ weight[:inputs, :outputs] + bias[:outputs], rtol=1e-5, atol=1e-6)
    of_weight, of_bias = np.zeros((6, 4)), np.zeros(4)
    of_weight[:inputs, :outputs] = np.einsum("bti,bto->io", x, factor)
    of_bias[:outputs] = factor.sum((0, 1))
    np.testing.assert_allclose(layer.weight.grad.numpy(), of_weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.bias.grad.numpy(), of_bias, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tensor.grad.numpy(), factor @ weight[:inputs, :outputs].T, rtol=1e-4, atol=1e-5)


# The network


@pytest.fixture(scope="module")
def teacher():
    return tiny.bert(seed=3, **SMALL, **NO_DROPOUT)


@pytest.fixture(scope="module")
def rows():
    texts = ["the film is great", "a dull story", "superb music and a fine cast", "it is very poor", "bad", "the plot"]
    return Rows((texts,), np.asarray([1, 0, 1, 0, 0, 1]))


def logits(loaded, rows):
    columns = loaded.encoder.encode(rows.texts)
    return predict_logits(dygraph_forward(loaded.model), columns, loaded.encoder.pad_id, 4)


def one_batch(loaded, rows):
    columns = {**loaded.encoder.encode(rows.texts), "labels": rows.labels}
    return next(iter(Batches(columns, len(rows), loaded.encoder.pad_id, shuffle=False).epoch(0)))


def close(found, expected):
    return bool((np.abs(found - expected) <= 1e-5 * np.maximum(1, np.abs(expected))).all())


def shapes_of(loaded, widths=(1.0, 0.75, 0.5), depths=(1.0, 0.5)):
    return make_shapes(vars(loaded.model.config), widths, depths)


def test_the_whole_network_equals_the_teacher(teacher, rows):
    network = elastic(teacher)
    assert isinstance(network.model, ElasticBert)
    assert layer_weights(network.model).keys() == layer_weights(teacher.model).keys()
    assert close(logits(network, rows), logits(teacher, rows))
    with network.model.at(shapes_of(network)[0]):
        assert close(logits(network, rows), logits(teacher, rows))


def test_reordering_changes_the_weights_and_not_the_outputs(teacher, rows):
    rng = np.random.default_rng(1)
    random = Importance(rng.random((4, 4)), rng.random((4, 32)))
    network = elastic(teacher)
    weights = reordered(teacher.model.config, layer_weights(teacher.model), random)
    set_weights(network.model, weights, "the test")
    changed = {name for name, value in layer_weights(teacher.model).items() if (weights[name] != value).any()}
    parts = {name.split(".", 4)[4] for name in changed}
    assert parts == {
        *(f"self_attn.{name}_proj.{kind}" for name in "qkv" for kind in ("weight", "bias")),
        *("self_attn.out_proj.weight", "linear1.weight", "linear1.bias", "linear2.weight"),
    }
    assert close(logits(network, rows), logits(teacher, rows))


def test_reordering_puts_the_important_first(teacher):
    importance = Importance(np.tile([1.0, 4.0, 2.0, 3.0], (4, 1)), np.tile(np.arange(32.0), (4, 1)))
    before = layer_weights(teacher.model)
    after = reordered(teacher.model.config, before, importance)
    name = "bert.encoder.layers.2.{}"
    heads = before[name.format("self_attn.q_proj.weight")].reshape(24, 4, 6)
    found = after[name.format("self_attn.q_proj.weight")].reshape(24, 4, 6)
    np.testing.assert_array_equal(found, heads[:, [1, 3, 2, 0]])
    np.testing.assert_array_equal(after[name.format("linear2.weight")], before[name.format("linear2.weight")][::-1])


def test_every_sub_network_equals_the_narrow_bert_cut_from_it(teacher, rows):
    network = elastic(teacher)
    batch = one_batch(network, rows)
    for shape in shapes_of(network):
        part = cut(network, shape)
        assert type(part.model).__name__ == "BertForSequenceClassification"
        assert not any(isinstance(layer, ElasticLinear) for layer in part.model.sublayers())
        with network.model.at(shape):
            assert close(logits(part, rows), logits(network, rows)), shape
            direct = network.model(*inputs_of(batch))
        assert close(logits(part, rows)[batch["rows"]], direct.numpy()), shape
    assert close(logits(network, rows), logits(teacher, rows)), "the whole network is back after the block"


def test_a_narrow_bert_by_hand(teacher):
    config, weights = narrowed(teacher.model.config, layer_weights(teacher.model), 3, 20, (1, 3))
    assert (config.num_attention_heads, config.head_dim, config.intermediate_size) == (3, 6, 20)
    assert (config.num_hidden_layers, config.hidden_size, config.head_size) == (2, 24, 6)
    whole = layer_weights(teacher.model)
    first, third = "bert.encoder.layers.1.", "bert.encoder.layers.3."
    np.testing.assert_array_equal(
        weights[first + "self_attn.k_proj.weight"], whole[third + "self_attn.k_proj.weight"][:, :18]
    )
    np.testing.assert_array_equal(
        weights[first + "self_attn.out_proj.weight"], whole[third + "self_attn.out_proj.weight"][:18]
    )
    np.testing.assert_array_equal(weights[first + "linear1.bias"], whole[third + "linear1.bias"][:20])
    np.testing.assert_array_equal(weights[first + "norm1.bias"], whole[third + "norm1.bias"])
    assert not any(".layers.2." in name for name in weights)


def test_at_full_width_no_head_size_is_written(teacher):
    config, _ = narrowed(teacher.model.config, layer_weights(teacher.model), 4, 32, (0, 1))
    assert config.head_size is None


def test_parameters_shrink_in_proportion_outside_the_embeddings(teacher):
    network = elastic(teacher)
    half = cut(network, make_shape(vars(teacher.model.config), 0.5, 0.5))
    # By hand: two layers of q, k, v (24 -> 12), out (12 -> 24), feed-forward (24 -> 16 -> 24) and two norms.
    layer = 3 * (24 * 12 + 12) + 12 * 24 + 24 + 24 * 16 + 16 + 16 * 24 + 24 + 4 * 24
    assert encoder_parameters(half) == 2 * layer + 24 * 24 + 24 + 24 * 2 + 2
    assert encoder_parameters(half) < 0.4 * encoder_parameters(network)


# Importance


def test_importance_is_what_the_loss_changes_by_when_a_part_is_scaled(teacher, rows):
    """Against numerical derivatives with respect to a factor on a head's output, and on a neuron's weights."""
    found = measure_importance(teacher, rows, batch_size=len(rows))
    model = elastic(teacher).model
    batch = one_batch(teacher, rows)
    labels = paddle.to_tensor(batch["labels"])
    layer = model.bert.encoder.layers[2]

    def loss():
        with paddle.no_grad():
            return float(hard_label_loss(model.from_batch(batch), labels))

    def derivative(changes, step=2e-2):
        sides = []
        for sign in (1, -1):
            before = [parameter.numpy() for parameter, _ in changes]
            for (parameter, index), value in zip(changes, before, strict=True):
                scaled = value.copy()
                scaled[index] *= 1 + sign * step
                parameter.set_value(scaled)
            sides.append(loss())
            for (parameter, _), value in zip(changes, before, strict=True):
                parameter.set_value(value)
        return (sides[0] - sides[1]) / (2 * step)

    for head in range(4):
        part = np.s_[6 * head : 6 * head + 6]
        assert found.heads[2, head] == pytest.approx(
            abs(derivative([(layer.self_attn.out_proj.weight, part)])), rel=2e-2, abs=1e-5
        )
    for neuron in (0, 7, 31):
        into = derivative([(layer.linear1.weight, np.s_[:, neuron]), (layer.linear1.bias, neuron)])
        out_of = derivative([(layer.linear2.weight, neuron)])
        assert found.neurons[2, neuron] == pytest.approx(abs(into) + abs(out_of), rel=2e-2, abs=1e-5)


def test_importance_adds_absolute_values_batch_by_batch_and_leaves_no_gradient(teacher, rows):
    by_two = measure_importance(teacher, rows, batch_size=2)
    # Batches go from long to short.
    order = np.argsort(-teacher.encoder.encode(rows.texts)["input_ids"].lengths, kind="stable")
    parts = [measure_importance(teacher, rows.take(order[i : i + 2]), batch_size=2) for i in range(0, 6, 2)]
    np.testing.assert_allclose(by_two.heads, sum(part.heads for part in parts) / 3, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(by_two.neurons, sum(part.neurons for part in parts) / 3, rtol=1e-5, atol=1e-9)
    assert all(p.grad is None or not p.grad.numpy().any() for p in teacher.model.parameters())
    assert not teacher.model.training


# Losses and steps


def test_the_hidden_loss_by_hand():
    rng = np.random.default_rng(0)
    mine, theirs = rng.normal(size=(2, 2, 3, 4)).astype("float32"), rng.normal(size=(2, 2, 3, 4)).astype("float32")
    lengths = np.asarray([3, 1])
    expected = sum(
        (np.square(mine[s, 0] - theirs[s, 0]).mean() + np.square(mine[s, 1, :1] - theirs[s, 1, :1]).mean()) / 2
        for s in range(2)
    )
    found = hidden_states_loss(
        [paddle.to_tensor(x) for x in mine], [paddle.to_tensor(x) for x in theirs], paddle.to_tensor(lengths)
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_the_hidden_loss_of_half_precision_states_keeps_its_share():
    """A share of 1/90 is 0.3 % off in bfloat16."""
    mine, lengths = paddle.ones([3, 5, 6], "bfloat16"), paddle.full([3], 5, "int64")
    found = hidden_states_loss([mine], [paddle.zeros_like(mine)], lengths)
    assert found.dtype == paddle.float32
    assert float(found) == pytest.approx(1.0, rel=1e-5)


def test_hidden_states_of_other_numbers_or_shapes_are_refused():
    state, lengths = paddle.zeros([1, 2, 4]), paddle.to_tensor([2])
    with pytest.raises(ValueError, match="1 states of the student, 2 of the teacher"):
        hidden_states_loss([state], [state, state], lengths)
    with pytest.raises(ValueError, match="must have one shape"):
        hidden_states_loss([state], [paddle.zeros([1, 2, 3])], lengths)


@pytest.mark.parametrize(
    ("total", "kept", "numbers"), [(6, 6, [0, 1, 2, 3, 4, 5, 6]), (6, 4, [0, 1, 3, 4, 6]), (6, 3, [0, 2, 4, 6])]
)
def test_states_are_compared_layer_by_layer(total, kept, numbers):
    assert uniform_layer_map(total, kept) == numbers


def options(**changes):
    return OfaOptions(**{"task_name": "sst-2", "model_name_or_path": "t", "output_dir": "o", **changes})


DEPTHS = {"depth_mult_list": (1.0, 0.5)}
FOUR = {"num_attention_heads": 4, "intermediate_size": 32, "num_hidden_layers": 4}
# Weights of logits and hidden states as published.
WIDTH, DEPTH = (1.0, 0.1), (1.0, 1.0)


def test_the_teacher_speaks_once_a_batch_and_every_width_learns(teacher, rows, monkeypatch):
    network = elastic(teacher)
    shapes = shapes_of(network, depths=(1.0,))
    calls = []
    ask = teacher.model.features_of
    monkeypatch.setattr(teacher.model, "features_of", lambda *a: calls.append(1) or ask(*a))
    parts = list(width_step(network.model, teacher.model, Draw(shapes), WIDTH)(one_batch(teacher, rows)))
    assert len(calls) == 1
    assert len(parts) == len(shapes)
    # At full width network and teacher are the same: no hidden loss, and the teacher's own entropy.
    assert float(parts[0]["hidden"]) == pytest.approx(0, abs=1e-8)
    probabilities = np.asarray(paddle.nn.functional.softmax(paddle.to_tensor(logits(teacher, rows))))
    entropy = -(probabilities * np.log(probabilities)).sum(1).mean()
    assert float(parts[0]["logits"]) == pytest.approx(entropy, rel=1e-4)
    for part in parts[1:]:
        assert float(part["hidden"]) > 0
        assert float(part["loss"]) == pytest.approx(float(part["logits"]) + 0.1 * float(part["hidden"]), rel=1e-5)


def test_stored_logits_stand_in_for_the_teacher(teacher, rows, monkeypatch):
    network = elastic(teacher)
    batch = one_batch(teacher, rows)
    batch["teacher_logits"] = logits(teacher, rows)[batch["rows"]]
    live = list(
        width_step(network.model, teacher.model, Draw(shapes_of(network)), (1.0, 0.0))(one_batch(teacher, rows))
    )
    monkeypatch.setattr(teacher.model, "features_of", lambda *a: pytest.fail("the teacher must not be asked"))
    stored = list(width_step(network.model, teacher.model, Draw(shapes_of(network)), (1.0, 0.0))(batch))
    assert [float(part["loss"]) for part in stored] == pytest.approx([float(part["loss"]) for part in live], rel=1e-5)


def test_a_depth_is_taught_by_the_network_at_the_same_width(teacher, rows):
    network = elastic(teacher)
    shapes = shapes_of(network)
    batch = one_batch(teacher, rows)
    found = list(depth_step(network.model, elastic(teacher).model, Draw(shapes), DEPTH)(batch))
    assert len(found) == len(shapes)
    # Group by group: a width's whole depth first, which equals its teacher.
    for whole_depth, half in zip(found[::2], found[1::2], strict=True):
        assert float(whole_depth["hidden"]) == pytest.approx(0, abs=1e-8)
        assert float(half["hidden"]) > 0
        assert float(half["loss"]) == pytest.approx(float(half["logits"]) + float(half["hidden"]), rel=1e-5)


def test_every_depth_may_be_taught_by_the_network_at_full_width(teacher, rows, monkeypatch):
    """The guide speaks once a batch, and what it says at full width is what all are compared with."""
    network, guide = elastic(teacher), elastic(teacher)
    shapes = shapes_of(network)
    batch, calls = one_batch(teacher, rows), []
    ask = guide.model.features_of
    monkeypatch.setattr(guide.model, "features_of", lambda *a: calls.append(1) or ask(*a))
    found = list(depth_step(network.model, guide.model, Draw(shapes), DEPTH, same_width=False)(batch))
    assert len(calls) == 1
    assert float(found[0]["hidden"]) == pytest.approx(0, abs=1e-8)
    # A narrow network is not its own teacher any more.
    assert all(float(part["hidden"]) > 0 for part in found[1:])
    probabilities = np.asarray(paddle.nn.functional.softmax(paddle.to_tensor(logits(teacher, rows))))[batch["rows"]]
    # A width after the other, each from its whole depth on.
    for shape, part in zip(sorted(shapes, key=lambda each: -each.width), found, strict=True):
        with network.model.at(shape):
            said = network.model.from_batch(batch).numpy().astype(np.float64)
        said -= np.log(np.exp(said).sum(1, keepdims=True))
        assert float(part["logits"]) == pytest.approx(-(probabilities * said).sum(1).mean(), rel=1e-4)


@given(st.integers(3, 12), st.integers(0, 10**6), st.integers(0, 100))
def test_the_largest_the_smallest_and_others_learn_from_a_batch(count, first, seed):
    shapes = make_shapes(FOUR, (1.0, 0.75, 0.5), (1.0, 0.75, 0.5))
    drawn = Draw(shapes, count, seed).of({"epoch": np.asarray(0), "first": np.asarray(first)})
    assert len(set(drawn)) == len(drawn) == min(count, len(shapes))
    assert (drawn[0], drawn[-1]) == (shapes[0], shapes[-1])
    assert drawn == [shape for shape in shapes if shape in drawn]
    assert drawn == Draw(shapes, count, seed).of({"epoch": np.asarray(0), "first": np.asarray(first)})


def test_every_sub_network_is_drawn_as_often_as_the_others():
    shapes = make_shapes(FOUR, (1.0, 0.75, 0.5), (1.0, 0.75, 0.5))
    # The same rows come back in every epoch, and meet others.
    batches = [{"epoch": np.asarray(epoch), "first": np.asarray(first)} for epoch in range(70) for first in range(10)]
    counts = Counter(shape for batch in batches for shape in Draw(shapes, 4).of(batch))
    assert counts[shapes[0]] == counts[shapes[-1]] == 700
    # Two of the seven between: 200 times each, with a deviation of 12.
    assert all(abs(counts[shape] - 200) < 50 for shape in shapes[1:-1])


def test_a_guide_speaks_for_the_widths_that_are_drawn(teacher, rows, monkeypatch):
    network, guide = elastic(teacher), elastic(teacher)
    shapes, batch, calls = shapes_of(network), one_batch(teacher, rows), []
    draw = Draw(shapes, 3)
    ask = guide.model.features_of
    monkeypatch.setattr(guide.model, "features_of", lambda *a: calls.append(1) or ask(*a))
    for same_width in (True, False):
        calls.clear()
        found = list(depth_step(network.model, guide.model, draw, DEPTH, same_width=same_width)(batch))
        assert len(found) == 3
        assert len(calls) == (len({shape.width for shape in draw.of(batch)}) if same_width else 1)


def test_the_final_stage_learns_from_labels_of_rows_that_have_one(teacher, rows):
    network = elastic(teacher)
    batch = one_batch(teacher, rows)
    parts = list(final_step(network.model, Draw(shapes_of(network)))(batch))
    whole = hard_label_loss(teacher.model.from_batch(batch), paddle.to_tensor(batch["labels"]))
    assert float(parts[0]["loss"]) == pytest.approx(float(whole), rel=1e-5)
    batch["labels"] = np.full(len(rows), -1)
    assert all(float(part["loss"]) == 0 for part in final_step(network.model, Draw(shapes_of(network)))(batch))


def test_gradients_of_all_widths_add_up(teacher, rows):
    shapes, batch = shapes_of(teacher, depths=(1.0,)), one_batch(teacher, rows)
    together, single = elastic(teacher), elastic(teacher)
    together.model.train()
    single.model.train()
    for part in width_step(together.model, teacher.model, Draw(shapes), WIDTH)(batch):
        part["loss"].backward()
    total = {}
    for shape in shapes:
        next(iter(width_step(single.model, teacher.model, Draw([shape]), WIDTH)(batch)))["loss"].backward()
        for name, parameter in single.model.named_parameters():
            if parameter.grad is not None:
                total[name] = total.get(name, 0) + parameter.grad.numpy()
        single.model.clear_gradients()
    for name, parameter in together.model.named_parameters():
        if name in total:
            np.testing.assert_allclose(parameter.grad.numpy(), total[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_step_may_yield_its_losses_in_parts(rows, tmp_path):
    """Two halves of a loss, yielded one after the other, train as the loss does."""

    def train(folder, step_of):
        loaded = tiny.bert(seed=5, **NO_DROPOUT)
        columns = {**loaded.encoder.encode(rows.texts), "labels": rows.labels}

        def loss(batch):
            return hard_label_loss(loaded.model.from_batch(batch), paddle.to_tensor(batch["labels"]))

        select_by = Selection("accuracy")
        settings = LoopSettings(epochs=2, learning_rate=1e-2, optimizer="adam", select_by=select_by, logging_steps=1)
        batches = Batches(columns, 4, loaded.encoder.pad_id)
        evaluate = {"accuracy": 0.5}.copy
        Loop(folder, loaded.model, step_of(loss), batches, evaluate, settings).run()
        return layer_weights(loaded.model), tiny.log_rows(folder)

    def halves(loss):
        def step(batch):
            yield {"loss": 0.5 * loss(batch)}
            yield {"loss": 0.5 * loss(batch)}

        return step

    whole, log = train(tmp_path / "whole", lambda loss: lambda batch: {"loss": loss(batch)})
    parts, log_of_parts = train(tmp_path / "parts", halves)
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    losses, of_parts = ([row["loss"] for row in rows if "loss" in row] for rows in (log, log_of_parts))
    assert of_parts == pytest.approx(losses, rel=1e-3)


# Options


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({}, ("width",)),
        ({"depth_mult_list": (1.0, 0.5)}, ("width", "depth")),
        ({"depth_mult_list": (1.0, 0.5), "final_epochs": 1}, ("width", "depth", "final")),
        ({"final_epochs": 1}, ("width", "final")),
        ({"stage": "final"}, ("final",)),
    ],
)
def test_the_stages_of_a_run(changes, stages):
    assert options(**changes).stages == stages


def test_each_stage_has_its_own_passes_rates_and_lambdas():
    own = {"depth_epochs": 2, "final_epochs": 4, "final_learning_rate": 1e-3, "lambda_rep": 0.2}
    chosen = options(num_train_epochs=3, depth_mult_list=(1.0, 0.5), **own)
    assert [chosen.epochs_of(stage) for stage in ("width", "depth", "final")] == [3, 2, 4]
    assert [chosen.rate_of(stage) for stage in ("width", "depth", "final")] == [2e-5, 2e-5, 1e-3]
    assert chosen.lambdas_of("width") == (1.0, 0.2)
    assert chosen.lambdas_of("depth") == (1.0, 1.0)
    assert options(num_train_epochs=3, stage="final").epochs_of("final") == 3


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"depth_epochs": 3}, "--depth_epochs: this run has no depth stage; it takes --stage all or depth, and depths"),
        ({"depth_lambda_rep": 0.5}, "--depth_lambda_rep: this run has no depth stage"),
        ({"stage": "depth", "depth_mult_list": (1.0, 0.5), "lambda_rep": 0.5}, "--lambda_rep: this run has no width"),
        ({"stage": "final", "lambda_logit": 2.0}, "--lambda_logit: this run has no width stage"),
        ({"stage": "width", "final_epochs": 1}, "--final_epochs: this run has no final stage"),
        ({"final_learning_rate": 1e-3}, "--final_learning_rate: this run has no final stage; it takes --stage final"),
        ({"depth_guide": "full"}, "--depth_guide: this run has no depth stage; it takes --stage all or depth"),
        ({"sub_networks_per_step": 4}, "--sub_networks_per_step 4: no stage of this run has more than 4 sub-networks"),
        (
            {"depth_guide": "full", "width_mult_list": (1.0,), "depth_mult_list": (1.0, 0.5)},
            "--depth_guide full: there is",
        ),
        ({"sub_networks_per_step": 2}, "--sub_networks_per_step 2: must be 0, for all, or at least 3"),
        ({"stage": "final", "choose_by": "teacher"}, "--choose_by teacher: the final stage learns from labels; it"),
    ],
)
def test_options_of_stages_that_a_run_does_not_have_are_refused(changes, fault):
    with pytest.raises(InputError, match=re.escape(fault)):
        options(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"lambda_rep": 0.5},
        {"depth_mult_list": (1.0, 0.5), "depth_epochs": 2, "depth_lambda_logit": 0.5, "lambda_logit": 2.0},
        {"final_epochs": 1, "final_learning_rate": 1e-3},
        {"stage": "final", "final_learning_rate": 1e-3},
    ],
)
def test_options_of_the_stages_of_a_run_are_taken(changes):
    assert options(**changes).faults() == []


@pytest.mark.parametrize(("text", "value"), [("16M", 16e6), ("900k", 9e5), ("1.5G", 1.5e9), ("12000", 12000)])
def test_amounts_have_units(text, value):
    assert amount(text) == value


@pytest.mark.parametrize("text", ["", "M", "-3M", "16MB", "1e6", "0"])
def test_other_amounts_are_refused(text):
    with pytest.raises(ValueError, match="expected a number above 0 such as 16M"):
        amount(text)
