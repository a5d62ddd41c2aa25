"""Training the embedding rows that occur, of BERTs: nothing else becomes of the others than decay."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import paddle
import pytest
import tiny

from core.optim import make_optimizer
from data.columns import token_ids
from data.ragged import Ragged
from finetune.train import finetune
from models.bert import BertForMaskedLM
from models.folder import LoadedModel, load
from models.occurring import occurring_rows
from models.weights import layer_weights

STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
ROWS = np.random.default_rng(3).choice(np.arange(5, len(tiny.VOCAB), 3), [6, 4, 5])


def trained(model, only_occurring: bool, optimizer: str, decay: float, rates: list[float]) -> dict[str, np.ndarray]:
    model.train()
    with occurring_rows(model, ROWS) if only_occurring else nullcontext():
        made = make_optimizer(optimizer, model, decay)
        for rate, batch in zip(rates, ROWS, strict=True):
            made.set_lr(rate)
            ids = paddle.to_tensor(batch)
            (model(ids, paddle.zeros_like(ids)) ** 2).mean().backward()
            made.step()
            made.clear_grad()
    return layer_weights(model)


@pytest.mark.parametrize(("optimizer", "decay"), [("adamw", 0.3), ("adamw", 0.0), ("adam", 0.0)])
def test_training_the_occurring_rows_alone_gives_the_same_weights(optimizer, decay):
    rates = [0.01, 0.02, 0.03, 0.02, 0.01, 0.005]
    whole, part = (
        trained(
            tiny.bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).model, only, optimizer, decay, rates
        )
        for only in (False, True)
    )
    assert whole.keys() == part.keys()
    for key, value in whole.items():
        np.testing.assert_allclose(part[key], value, atol=2e-5, err_msg=key)
    name = "bert.embeddings.word_embeddings.weight"
    before = layer_weights(tiny.bert().model)[name]
    never = np.setdiff1d(np.arange(len(before)), [0, *ROWS.flatten()])
    # Each step takes its share of what is there.
    factor = np.prod([1 - rate * decay for rate in rates])
    np.testing.assert_allclose(part[name][never], before[never] * factor, rtol=1e-5)
    assert (np.abs(part[name] - before * factor)[np.unique(ROWS)].max(1) > 1e-4).all()


def test_what_is_read_is_told_by_every_column_of_ids():
    columns = {
        "input_ids": Ragged.from_rows([[5, 7], [5]]),
        "input_ids_b": Ragged.from_rows([[9], [2]]),
        "labels": np.asarray([3, 4]),
        "lengths": np.asarray([2, 1]),
    }
    found = token_ids(12, columns, {"input_ids": Ragged.from_rows([[11]]).slice(0, 1)})
    assert found.tolist() == [2, 5, 7, 9, 11]


def test_a_masked_language_model_keeps_its_vocabulary():
    model = BertForMaskedLM(tiny.bert().model.config)
    with occurring_rows(model, np.asarray([5, 7])):
        assert model.bert.embeddings.word_embeddings.weight.shape[0] == len(tiny.VOCAB)


def test_a_fine_tuned_model_has_all_of_its_rows(tmp_path):
    """Rows that it has not met are those of the pre-trained model, but for the decay."""
    start = tiny.write_pretrained(tmp_path / "start")
    data = tiny.write_single(tmp_path / "data")
    options = tiny.finetune_options(tmp_path / "out", data, start, max_steps=4, weight_decay=0.0)
    finetune(options)
    loaded: LoadedModel = load(tmp_path / "out")
    name = "bert.embeddings.word_embeddings.weight"
    before, after = layer_weights(tiny.bert().model)[name], layer_weights(loaded.model)[name]
    assert before.shape == after.shape
    moved = (before != after).any(1)
    rows = options.rows()
    read = token_ids(len(before), loaded.encoder.encode(rows.train.texts))
    assert moved[read].any() and not moved[np.setdiff1d(np.arange(len(before)), read)].any()
