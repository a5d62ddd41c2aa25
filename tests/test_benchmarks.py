"""The arithmetic and the records of the measurements."""

from __future__ import annotations

import argparse
import json
import os

import pytest

from benchmarks import common
from benchmarks.sides import bert_flops, lstm_flops
from models.bert import BertConfig
from models.bilstm import BiLSTMConfig


def test_flops_of_a_bert_by_hand():
    config = BertConfig(hidden_size=4, num_attention_heads=2, intermediate_size=8, num_hidden_layers=3)
    # One row of 5 tokens, a layer: projections 4 * 4 * 4 = 64 and feed-forward 2 * 4 * 8 = 64 weights, each used once a
    # token: 128 * 5 = 640; scores and mixing 2 * 4 * 25 = 200. Twice (multiply and add), three layers: 2 * 3 * 840.
    assert bert_flops(config, tokens=5, squared_tokens=25) == 5040


def test_flops_of_a_bilstm_by_hand():
    # Two directions, four gates of 3 units over 3 + 2 inputs: 2 * 4 * 3 * 5 = 120 weights, twice, 10 tokens.
    assert lstm_flops(BiLSTMConfig(vocab_size=7, embedding_size=2, hidden_size=3), tokens=10) == 2400


def test_stock_environment_takes_the_tuning_away(monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "7")
    plain, kernels = common.stock_environment(kernels=False), common.stock_environment(kernels=True)
    assert "MALLOC_TOP_PAD_" not in plain and "MKL_DEBUG_CPU_TYPE" not in plain
    assert "MALLOC_TOP_PAD_" not in kernels and kernels["MKL_DEBUG_CPU_TYPE"] == "7"


def test_a_result_names_no_path_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    arguments = argparse.Namespace(data_dir=os.fspath(tmp_path), work_dir=None, seed=3, turns=2)
    common.write_result("sst2", arguments, {"rows": 1}, seconds=120)
    record = json.loads((tmp_path / "sst2.json").read_text(encoding="utf-8"))
    assert record["command"] == "python -m benchmarks.sst2 --seed 3 --turns 2"
    assert record["minutes"] == 2 and record["seed"] == 3 and record["figures"] == {"rows": 1}


def test_sides_take_turns_and_medians_are_taken():
    sides = [
        common.Side(
            name, "tests_sides:counted", {"rows": rows}, {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
        )
        for name, rows in (("one", 1), ("two", 2))
    ]
    rates = common.alternate(sides, turns=3)
    assert rates.keys() == {"one", "two"}
    assert all(rate["turns"] == 3 and rate["rows_per_second"] > 0 for rate in rates.values())


def test_a_side_that_fails_is_not_waited_for():
    side = common.Side("broken", "no_such_module:maker", {}, dict(os.environ))
    with pytest.raises(RuntimeError, match="ended early"):
        common.alternate([side], turns=1)
