"""Our BERT against PaddleNLP's, Hugging Face's names, and the properties of its mask."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import paddle
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from console import InputError
from models import folder as model_folder
from models import pretrained
from models.bert import (
    ACTIVATIONS,
    ARCHITECTURES,
    FEATURES,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    initial_weights,
)
from models.bert_names import from_hugging_face, is_hugging_face, to_hugging_face, to_ours
from models.folder import LoadedModel
from models.weights import layer_weights, set_weights, write_safetensors

UNPADDED = [[2, 9, 10, 11, 12, 3], [2, 20, 21, 22, 23, 3]]
PADDED = [[2, 9, 10, 11, 12, 3], [2, 20, 21, 3, 0, 0]]
PLAIN_TYPES = [[0] * 6, [0] * 6]
PAIR_TYPES = [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0]]


@pytest.fixture(scope="module")
def nlp():
    return tiny.paddlenlp_bert()


def close(found, expected):
    """|difference| <= 1e-5 * max(1, |logit|)."""
    return bool((np.abs(found - expected) <= 1e-5 * np.maximum(1, np.abs(expected))).all())


def logits(model, ids, types, **more):
    with paddle.no_grad():
        found = model(paddle.to_tensor(ids), paddle.to_tensor(types), **more)
    return (found[0] if isinstance(found, (tuple, list)) else found).numpy()


def nlp_model(nlp, ours):
    """PaddleNLP's network with our weights."""
    config = nlp.BertConfig(**{k: v for k, v in dataclasses.asdict(ours.config).items() if k != "head_size"})
    model = nlp.BertForSequenceClassification(config)
    set_weights(model, layer_weights(ours), "ours")
    model.eval()
    return model


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize(("ids", "types"), [(UNPADDED, PLAIN_TYPES), (PADDED, PLAIN_TYPES), (PADDED, PAIR_TYPES)])
def test_logits_equal_those_of_paddlenlp(nlp, activation, ids, types):
    ours = tiny.bert(hidden_act=activation).model
    assert close(logits(ours, ids, types), logits(nlp_model(nlp, ours), ids, types))


def test_without_padding_the_mask_can_be_left_out(nlp):
    ours = tiny.bert().model
    found = logits(ours, UNPADDED, PAIR_TYPES, has_padding=False)
    assert close(found, logits(nlp_model(nlp, ours), UNPADDED, PAIR_TYPES))


# PaddleNLP's encoder knows gelu and relu only, so gelu_new stands here in numbers.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", [0.0, 0.0, 1.0]),
        # x * (1 + erf(x / sqrt 2)) / 2: -2 * 0.0227501, 1 * 0.8413447
        ("gelu", [-0.0455003, 0.0, 0.8413447]),
        # x / 2 * (1 + tanh(0.7978846 * (x + 0.044715 x^3))): at 1 tanh(0.8335622) = 0.6823838, at -2 -0.9545977
        ("gelu_new", [-0.0454023, 0.0, 0.8411920]),
    ],
)
def test_activations_by_hand(name, expected):
    found = ACTIVATIONS[name](paddle.to_tensor([-2.0, 0.0, 1.0])).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_activation_of_the_config_is_used():
    found = [logits(tiny.bert(hidden_act=name).model, PADDED, PAIR_TYPES) for name in ("gelu", "gelu_new", "relu")]
    assert not np.allclose(found[0], found[1], atol=1e-7)
    assert not np.allclose(found[0], found[2], atol=1e-3)


def test_paddlenlp_loads_a_model_folder_of_ours_with_equal_logits(nlp, tmp_path):
    ours = tiny.bert()
    model_folder.save(tmp_path / "model", ours)
    theirs = nlp.BertForSequenceClassification.from_pretrained(str(tmp_path / "model"))
    theirs.eval()
    assert close(logits(ours.model, PADDED, PAIR_TYPES), logits(theirs, PADDED, PAIR_TYPES))


def test_a_folder_that_paddlenlp_saved_is_a_pretrained_folder(nlp, tmp_path):
    source = tiny.bert(seed=5)
    nlp_model(nlp, source.model).save_pretrained(str(tmp_path / "nlp"), safe_serialization=True)
    source.tokenizer.save(tmp_path / "nlp")
    loaded = pretrained.pretrained_bert(str(tmp_path / "nlp"), tiny.SINGLE, 16, 0, tmp_path)
    loaded.model.eval()
    assert close(logits(loaded.model, PADDED, PAIR_TYPES), logits(source.model, PADDED, PAIR_TYPES))


def test_a_bare_encoder_gets_a_fresh_classifier_that_the_seed_decides(tmp_path):
    folder = str(tiny.write_pretrained(tmp_path / "bert"))
    first, again, other = (
        layer_weights(pretrained.pretrained_bert(folder, tiny.SINGLE, 16, seed, tmp_path).model) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first["classifier.weight"], again["classifier.weight"])
    assert not np.array_equal(first["classifier.weight"], other["classifier.weight"])
    np.testing.assert_array_equal(first["bert.pooler.dense.weight"], other["bert.pooler.dense.weight"])
    np.testing.assert_array_equal(first["classifier.bias"], [0, 0])


def test_a_hugging_face_folder_of_a_bare_encoder_loads(tmp_path):
    source = tiny.bert(seed=3)
    folder = tiny.write_pretrained(tmp_path / "hf", seed=3)
    bare = {k.removeprefix("bert."): v for k, v in layer_weights(source.model).items() if k.startswith("bert.")}
    write_safetensors(folder / "model.safetensors", to_hugging_face(bare), tensor_format="pt")
    loaded = pretrained.pretrained_bert(str(folder), tiny.SINGLE, 16, 0, tmp_path)
    for name, value in layer_weights(source.model).items():
        if name.startswith("bert."):
            np.testing.assert_array_equal(layer_weights(loaded.model)[name], value, err_msg=name)


def test_hugging_face_names_there_and_back():
    weights = layer_weights(tiny.bert().model)
    there = to_hugging_face(weights)
    back = from_hugging_face(there)
    assert list(back) == list(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(back[name], value, err_msg=name)
    assert is_hugging_face(there)
    assert not is_hugging_face(weights)


def test_hugging_face_names_are_those_that_it_publishes():
    names = set(to_hugging_face(layer_weights(tiny.bert(num_hidden_layers=1).model)))
    layer = "bert.encoder.layer.0"
    stems = [
        "bert.embeddings.LayerNorm",
        "bert.pooler.dense",
        "classifier",
        f"{layer}.attention.output.LayerNorm",
        f"{layer}.attention.output.dense",
        *(f"{layer}.attention.self.{part}" for part in ("query", "key", "value")),
        f"{layer}.intermediate.dense",
        f"{layer}.output.LayerNorm",
        f"{layer}.output.dense",
    ]
    tables = [f"bert.embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")]
    assert names == {*tables, *(f"{stem}.{part}" for stem in stems for part in ("weight", "bias"))}


def test_hugging_face_linear_layers_are_transposed_and_embeddings_are_not():
    weights = layer_weights(tiny.bert().model)
    there = to_hugging_face(weights)
    np.testing.assert_array_equal(
        there["bert.encoder.layer.1.intermediate.dense.weight"], weights["bert.encoder.layers.1.linear1.weight"].T
    )
    np.testing.assert_array_equal(
        there["bert.embeddings.word_embeddings.weight"], weights["bert.embeddings.word_embeddings.weight"]
    )


def test_old_names_of_layer_norms_are_understood():
    old = {"bert.embeddings.LayerNorm.gamma": np.ones(2), "bert.embeddings.LayerNorm.beta": np.zeros(2)}
    assert list(from_hugging_face(old)) == ["bert.embeddings.layer_norm.weight", "bert.embeddings.layer_norm.bias"]


def test_prefix_is_added_to_a_bare_encoder_only():
    weights = dict.fromkeys(["embeddings.a", "encoder.b", "pooler.c", "classifier.d", "bert.encoder.e"], 0)
    assert list(to_ours(weights, "BertForSequenceClassification")) == [
        *("bert.embeddings.a", "bert.encoder.b", "bert.pooler.c", "classifier.d", "bert.encoder.e"),
    ]
    assert list(to_ours(dict.fromkeys(["bert.embeddings.a", "pooler.b"], 0), "BertModel")) == [
        "embeddings.a",
        "pooler.b",
    ]


def test_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="hidden_act 'swish': expected one of gelu, gelu_new, relu"):
        BertConfig.from_dict({"hidden_act": "swish"})


def test_heads_that_do_not_divide_the_hidden_size_are_refused():
    with pytest.raises(ValueError, match="hidden_size 16 is no multiple of 3 heads"):
        BertConfig.from_dict({"hidden_size": 16, "num_attention_heads": 3})


def test_labels_are_counted_where_a_config_names_them_only():
    assert BertConfig.from_dict({"id2label": {"0": "a", "1": "b", "2": "c"}}).num_labels == 3


def test_narrow_heads_compute_save_and_load(tmp_path):
    narrow = tiny.bert(head_size=3)  # 2 heads x 3 = 6 wide within a hidden size of 16
    assert list(narrow.model.bert.encoder.layers[0].self_attn.q_proj.weight.shape) == [16, 6]
    expected = logits(narrow.model, PADDED, PAIR_TYPES)
    assert expected.shape == (2, 2)
    model_folder.save(tmp_path / "narrow", narrow)
    again = model_folder.load(tmp_path / "narrow")
    assert again.model.config.head_size == 3
    np.testing.assert_array_equal(logits(again.model, PADDED, PAIR_TYPES), expected)


def test_narrow_heads_attend_as_wide_ones_whose_other_columns_are_zero():
    narrow, wide = tiny.bert(head_size=4), tiny.bert()
    weights = {k: v.copy() for k, v in layer_weights(narrow.model).items()}
    for name, value in layer_weights(narrow.model).items():
        if "self_attn" not in name or name.endswith("out_proj.bias"):
            continue
        axis = 0 if "out_proj" in name else value.ndim - 1
        parts = np.split(value, 2, axis)
        zeros = np.zeros_like(parts[0])
        weights[name] = np.concatenate([parts[0], zeros, parts[1], zeros], axis)
        if "q_proj" in name:
            weights[name] *= np.float32(8**0.5 / 4**0.5)  # the scale is 1 / sqrt(head size)
    set_weights(wide.model, weights, "widened")
    assert close(logits(wide.model, PADDED, PAIR_TYPES), logits(narrow.model, PADDED, PAIR_TYPES))


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5), extra=st.integers(0, 7))
def test_padding_does_not_change_logits(lengths, extra):
    model = SHARED.model
    width = max(lengths) + extra
    rng = np.random.default_rng(sum(lengths))
    ids = np.zeros((len(lengths), width), np.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = rng.integers(5, len(tiny.VOCAB), length)
    together = logits(model, ids, np.zeros_like(ids))
    for row, length in enumerate(lengths):
        alone = ids[row : row + 1, :length]
        assert close(together[row : row + 1], logits(model, alone, np.zeros_like(alone), has_padding=False))


SHARED = tiny.bert()


def test_too_long_for_the_positions_is_refused(tmp_path):
    folder = str(tiny.write_pretrained(tmp_path / "bert"))
    with pytest.raises(InputError, match="--max_seq_length 65: .* has 64 positions"):
        pretrained.pretrained_bert(folder, tiny.SINGLE, 65, 0, tmp_path)


def test_a_vocabulary_larger_than_the_model_is_refused(tmp_path):
    folder = tiny.write_pretrained(tmp_path / "bert")
    with open(folder / "vocab.txt", "a", encoding="utf-8") as file:
        file.write("onemore\n")
    with pytest.raises(InputError, match=r"vocab.txt has \d+ entries, the model only \d+"):
        pretrained.pretrained_bert(str(folder), tiny.SINGLE, 16, 0, tmp_path)


def test_building_takes_the_shape_from_the_config():
    model = BertForSequenceClassification(tiny.bert_config(vocab_size=100, num_hidden_layers=1, num_labels=3))
    # Embeddings (100 + 64 + 2) * 16 + 2 * 16 = 2688; a layer 4 * (16 * 16 + 16) + (16 * 32 + 32) + (32 * 16 + 16)
    # + 4 * 16 = 2224; pooler 16 * 16 + 16 = 272; classifier 16 * 3 + 3 = 51.
    assert sum(int(np.prod(p.shape)) for p in model.parameters()) == 5235


UNPATCHED = """
import paddle
from paddle import nn
layers = (nn.Linear, nn.LayerNorm, nn.Embedding, nn.MultiHeadAttention, nn.TransformerEncoderLayer, nn.LSTM, nn.Layer)
def state():
    return {f"{layer.__name__}.{name}": value for layer in layers for name, value in vars(layer).items()}
before, functions = state(), dict(vars(nn.functional))
import core.train, core.teacher, core.classifier, deploy.exporter, deploy.predictor, deploy.timing, models.pretrained
import distill_lstm.train, distill_lstm.student, distill_lstm.transfer, finetune.train, core.sweep, demo
assert state() == before
assert dict(vars(nn.functional)) == functions
print("unchanged")
"""


def test_importing_the_project_changes_nothing_in_paddle():
    done = tiny.run(["-c", UNPATCHED])
    assert done.stdout == "unchanged\n", done.stderr


# All architectures, both ways

HEADS = ["BertModel", "BertForSequenceClassification", "BertForMaskedLM", "BertForQuestionAnswering"]


def headed(architecture, seed=0):
    """A tiny BERT of an architecture with random weights."""
    config = tiny.bert_config(num_labels=2)
    rng = np.random.default_rng(seed)
    model = ARCHITECTURES[architecture](config)
    weights = initial_weights(config, rng, architecture)
    noisy = {name: value + rng.normal(0, 0.1, value.shape).astype(np.float32) for name, value in weights.items()}
    set_weights(model, noisy, "the test")
    model.eval()
    task = tiny.SINGLE if architecture == "BertForSequenceClassification" else None
    return LoadedModel(model, tiny.bert().tokenizer, task, 32)


def outputs_of(model, ids=PADDED, types=PAIR_TYPES):
    with paddle.no_grad():
        found = model(paddle.to_tensor(ids), paddle.to_tensor(types))
    found = found if isinstance(found, (tuple, list)) else (found,)
    return [value.numpy() for value in found]


@pytest.mark.parametrize("architecture", HEADS)
def test_a_saved_model_of_any_architecture_comes_back(tmp_path, architecture):
    before = headed(architecture)
    model_folder.save(tmp_path / "model", before)
    after = model_folder.load(tmp_path / "model")
    assert after.architecture == architecture
    for found, expected in zip(outputs_of(after.model), outputs_of(before.model), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("architecture", HEADS)
def test_paddlenlp_loads_every_architecture_and_agrees(nlp, tmp_path, architecture):
    ours = headed(architecture)
    model_folder.save(tmp_path / "model", ours)
    theirs = getattr(nlp, architecture).from_pretrained(str(tmp_path / "model"))
    theirs.eval()
    for found, expected in zip(outputs_of(ours.model), outputs_of(theirs), strict=False):
        assert close(found, expected)


@pytest.mark.parametrize("architecture", HEADS)
@pytest.mark.parametrize("pickled", [False, True])
def test_folders_of_paddlenlp_of_every_architecture_load(nlp, tmp_path, architecture, pickled):
    paddle.seed(7)
    config = nlp.BertConfig(**{k: v for k, v in dataclasses.asdict(tiny.bert_config()).items() if k != "head_size"})
    theirs = getattr(nlp, architecture)(config)
    theirs.eval()
    theirs.save_pretrained(str(tmp_path / "nlp"), safe_serialization=not pickled)
    tiny.bert().tokenizer.save(tmp_path / "nlp")
    task = tiny.SINGLE if architecture == "BertForSequenceClassification" else None
    loaded = pretrained.pretrained_bert(str(tmp_path / "nlp"), task, 16, 0, tmp_path, architecture=architecture)
    loaded.model.eval()
    for found, expected in zip(outputs_of(loaded.model), outputs_of(theirs), strict=False):
        assert close(found, expected)


@pytest.mark.parametrize("architecture", HEADS)
def test_folders_of_hugging_face_of_every_architecture_load(tmp_path, architecture):
    source = headed(architecture, seed=3)
    folder = tiny.write_pretrained(tmp_path / "hf")
    there = to_hugging_face(layer_weights(source.model), architecture)
    if architecture == "BertForMaskedLM":
        # What Hugging Face's files hold beside: the embedding once more, and the bias under two names.
        there["cls.predictions.decoder.weight"] = there["bert.embeddings.word_embeddings.weight"]
        there["cls.predictions.decoder.bias"] = there["cls.predictions.bias"]
    names = {
        "BertForQuestionAnswering": "qa_outputs.weight",
        "BertForMaskedLM": "cls.predictions.transform.dense.weight",
    }
    assert names.get(architecture, next(iter(there))) in there
    config = {k: v for k, v in source.model.config_dict().items() if k != "num_labels"}
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", there, tensor_format="pt")
    task = tiny.SINGLE if architecture == "BertForSequenceClassification" else None
    loaded = pretrained.pretrained_bert(str(folder), task, 16, 0, tmp_path, architecture=architecture)
    for name, value in layer_weights(source.model).items():
        np.testing.assert_array_equal(layer_weights(loaded.model)[name], value, err_msg=name)


@pytest.mark.parametrize("architecture", HEADS[1:])
def test_a_head_is_put_on_an_encoder_of_another_kind(tmp_path, architecture):
    for number, source in enumerate(HEADS):
        folder = tmp_path / str(number)
        model_folder.save(folder, headed(source, seed=number))
        task = tiny.SINGLE if architecture == "BertForSequenceClassification" else None
        loaded = pretrained.pretrained_bert(str(folder), task, 16, 0, tmp_path, architecture=architecture)
        before = {k.removeprefix("bert."): v for k, v in layer_weights(headed(source, seed=number).model).items()}
        after = {k.removeprefix("bert."): v for k, v in layer_weights(loaded.model).items()}
        np.testing.assert_array_equal(after["encoder.layers.1.norm2.weight"], before["encoder.layers.1.norm2.weight"])
        if source != architecture and architecture != "BertForMaskedLM":
            # Two labels and two ends of a span have classifiers of one shape, which mean other things.
            np.testing.assert_array_equal(after["classifier.bias"], [0, 0])


def test_masked_positions_alone_are_projected_on_the_vocabulary():
    model = headed("BertForMaskedLM").model
    ids, types = paddle.to_tensor(PADDED), paddle.to_tensor(PAIR_TYPES)
    whole = model.features(ids, types)["logits"].numpy()
    places = paddle.to_tensor([1, 4, 7])
    found = model.features(ids, types, masked_positions=places)["logits"].numpy()
    np.testing.assert_allclose(found, whole.reshape([12, -1])[[1, 4, 7]], rtol=1e-5, atol=1e-5)


def test_gradients_are_the_same_where_only_masked_positions_are_computed(monkeypatch):
    paddle.seed(3)
    model = BertForMaskedLM(tiny.bert_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    rng = np.random.default_rng(0)
    ids, types = paddle.to_tensor(rng.integers(5, 60, (3, 7))), paddle.zeros([3, 7], "int64")
    ids[1, 4:] = model.config.pad_token_id
    # Of a row none, one, several; out of order, and one twice.
    places, targets = paddle.to_tensor([15, 8, 20, 15]), paddle.to_tensor([7, 9, 11, 13])
    found = []
    for reads in (BertForMaskedLM.places_read, lambda self, **_: None):
        monkeypatch.setattr(BertForMaskedLM, "places_read", reads)
        model.clear_gradients()
        features = model.features(ids, types, masked_positions=places)
        assert features["last_hidden_state"].ndim == (3 if found else 2)
        loss = paddle.nn.functional.cross_entropy(features["logits"], targets)
        loss.backward()
        gradients = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
        found.append((float(loss), gradients))
    (one, ours), (other, whole) = found
    assert one == pytest.approx(other, rel=1e-6)
    assert ours.keys() == whole.keys() and len(ours) > 20
    for name, gradient in ours.items():
        np.testing.assert_allclose(gradient, whole[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_whoever_wants_states_gets_those_of_all_tokens():
    model = BertForMaskedLM(tiny.bert_config())
    model.eval()
    ids, types = paddle.to_tensor([[2, 9, 4, 11, 3]]), paddle.zeros([1, 5], "int64")
    found = model.features(ids, types, want=("hidden_states",), masked_positions=paddle.to_tensor([2]))
    assert found["hidden_states"][-1].shape == [1, 5, model.config.hidden_size]
    alone = model.features(ids, types, masked_positions=paddle.to_tensor([2]))
    np.testing.assert_allclose(found["logits"].numpy(), alone["logits"].numpy(), atol=1e-5)


def test_features_come_from_the_one_forward():
    model = tiny.bert().model
    ids, types = paddle.to_tensor(PADDED), paddle.to_tensor(PAIR_TYPES)
    found = model.features(ids, types, True, FEATURES)
    # Where nobody asks for features, the last layer is computed for the first token alone: other matrix shapes.
    np.testing.assert_allclose(found["logits"].numpy(), logits(model, PADDED, PAIR_TYPES), atol=1e-6)
    assert [len(found[name]) for name in FEATURES] == [3, 2, 2, 2, 2]
    np.testing.assert_array_equal(found["hidden_states"][-1].numpy(), found["last_hidden_state"].numpy())
    assert found["attention_scores"][0].shape == [2, 2, 6, 6]
    for name in ("queries", "keys", "values"):
        assert found[name][1].shape == [2, 2, 6, 8]
    # Scores are queries times keys, the mask added: -10,000 on the two tokens of padding.
    scores = paddle.matmul(found["queries"][0], found["keys"][0], transpose_y=True).numpy()
    np.testing.assert_allclose(found["attention_scores"][0].numpy()[0], scores[0], atol=1e-6)
    assert (found["attention_scores"][0].numpy()[1, :, :, 4:] < -9000).all()
    # What the layer makes of them is what the next state is made of.
    weights = paddle.nn.functional.softmax(found["attention_scores"][0])
    mixed = paddle.matmul(weights, found["values"][0]).transpose([0, 2, 1, 3]).reshape([2, 6, 16])
    layer = model.bert.encoder.layers[0]
    x = layer.norm1(found["hidden_states"][0] + layer.self_attn.out_proj(mixed))
    np.testing.assert_allclose(
        layer.norm2(x + layer.linear2(paddle.nn.functional.gelu(layer.linear1(x)))).numpy(),
        found["hidden_states"][1].numpy(),
        atol=1e-5,
    )


def test_features_that_nobody_wants_are_not_kept():
    model = tiny.bert().model
    found = model.features(paddle.to_tensor(PADDED), paddle.to_tensor(PAIR_TYPES), True, ("values",))
    assert found.keys() == {"values", "last_hidden_state", "pooler_output", "logits"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab_size": 400_000_000}, "vocab_size 400,000,000: expected at most 10,000,000"),
        ({"vocab_size": 9_000_000}, "word_embeddings.weight has the shape"),
        ({"num_hidden_layers": 10_000_000}, "num_hidden_layers 10,000,000: expected at most 1,000"),
        ({"num_hidden_layers": 999}, "num_hidden_layers 999: .* holds 2"),
        ({"intermediate_size": 900_000}, "linear1.weight has the shape"),
        ({"max_position_embeddings": 1_000_000}, "position_embeddings.weight has the shape"),
        ({"num_labels": 1_000_000}, r"classifier.weight has the shape \[16, 2\]"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps 'x': expected a number"),
        ({"pad_token_id": -3}, "pad_token_id -3: expected an id"),
    ],
)
def test_a_config_is_compared_with_the_weights_before_anything_is_built(tmp_path, monkeypatch, change, message):
    folder = tiny.write_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    monkeypatch.setattr(paddle.nn.Embedding, "__init__", lambda *_, **__: pytest.fail("nothing may be built"))
    with pytest.raises(InputError, match=message):
        model_folder.load(folder)


@pytest.mark.parametrize("change", [{"num_layers": 100}, {"hidden_size": 99_999}, {"vocab_size": 10**9}])
def test_so_is_that_of_a_bilstm(tmp_path, monkeypatch, change):
    folder = tiny.write_model(tmp_path / "model", tiny.bilstm())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    monkeypatch.setattr(paddle.nn.Embedding, "__init__", lambda *_, **__: pytest.fail("nothing may be built"))
    with pytest.raises(InputError, match=next(iter(change)) if "num_layers" in change else "shape|vocab_size"):
        model_folder.load(folder)


@pytest.mark.parametrize("made", [True, False])
def test_a_bilstm_that_aligns_pairs_is_told_from_one_that_does_not(tmp_path, made):
    folder = tiny.write_model(tmp_path / "model", tiny.bilstm(tiny.PAIR, pair_alignment=made))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pair_alignment": not made}))
    with pytest.raises(InputError, match=f"pair_alignment {not made}: .* holds another network"):
        model_folder.load(folder)


def test_the_last_layer_computes_what_the_pooled_state_needs():
    """Its other tokens are looked at and look at nothing: their queries and their feed-forward network are left out."""
    model = tiny.bert().model
    ids, types = paddle.to_tensor(PADDED), paddle.to_tensor(PAIR_TYPES)
    whole = model.features(ids, types, True, ("hidden_states",))
    for has_padding in (True, False):
        rows = slice(None) if has_padding else slice(0, 1)
        part = model.features(ids[rows], types[rows], has_padding)
        assert whole["last_hidden_state"].shape[1] == 6
        assert part["last_hidden_state"].shape[1] == 1
        for name in ("pooler_output", "logits"):
            np.testing.assert_allclose(part[name].numpy(), whole[name].numpy()[rows], atol=1e-6)


def test_gradients_do_not_depend_on_what_is_left_out():
    model = tiny.bert().model
    ids, types = paddle.to_tensor(PADDED), paddle.to_tensor(PAIR_TYPES)
    found = {}
    for want in ((), ("hidden_states",)):
        model.features(ids, types, True, want)["logits"].square().sum().backward()
        found[want] = {name: value.grad.numpy() for name, value in model.named_parameters()}
        model.clear_gradients()
    assert any(np.abs(gradient).max() > 0 for gradient in found[()].values())
    for name, gradient in found[()].items():
        np.testing.assert_allclose(gradient, found[("hidden_states",)][name], atol=1e-5, err_msg=name)


def test_heads_that_read_tokens_get_all_of_them():
    ids, types = paddle.to_tensor(PADDED), paddle.to_tensor(PAIR_TYPES)
    for architecture in (BertModel, BertForMaskedLM, BertForQuestionAnswering):
        made = architecture(tiny.bert().model.config)
        made.eval()
        assert made.features(ids, types)["last_hidden_state"].shape[1] == 6
