"""A teacher's features: equal to those of its forward pass, stored or asked, and safe on the disk."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

from console import InputError
from core import teacher_features as room
from core.features import all_entries, feature_names, token_vectors
from core.metrics import Diverged
from core.teacher_features import TeacherFeatures, packed, unpacked_squares
from data.batches import Batches
from data.store import StoreDamaged, StoreWriter
from files import size_in_bytes

TEXTS = ["a good film", "bad", "the plot was very dull and the cast was weak", "a story", "good " * 12, "it is fine"]
WANTED = {"hidden_states": (0, 2), "attention_scores": (1,), "queries": (1,), "values": ()}
NAMES = ("hidden_states.0", "hidden_states.2", "attention_scores.1", "queries.1", "values.0", "values.1")


@pytest.fixture(scope="module")
def loaded():
    return tiny.bert()


@pytest.fixture(scope="module")
def encoded(loaded):
    return loaded.encoder.encode([TEXTS])


def forward(loaded, batch):
    found = loaded.model.features_of(batch, ("hidden_states", "attention_scores", "queries", "values"))
    return {
        f"{name}.{entry}": token_vectors(name, found[name][entry]).numpy()
        for name, entries in all_entries(WANTED, 2).items()
        for entry in entries
    }


def check(features, columns, loaded, atol):
    rows = 0
    for batch in Batches(columns, 4, loaded.encoder.pad_id, seed=3).epoch(0):
        found, expected = features.of(batch), forward(loaded, batch)
        assert set(found) == set(expected) == set(NAMES)
        for name, value in found.items():
            for row, length in enumerate(batch["lengths"]):
                at = (row, slice(None), slice(length), slice(length)) if "scores" in name else (row, slice(length))
                np.testing.assert_allclose(value.numpy()[at], expected[name][at], atol=atol, err_msg=name)
        rows += len(batch["rows"])
    assert rows == len(TEXTS)


def test_names_of_single_entries():
    assert feature_names(all_entries(WANTED, 2)) == NAMES
    assert all_entries({"hidden_states": ()}, 2) == {"hidden_states": (0, 1, 2)}


def test_asked_features_are_those_of_the_forward_pass(loaded, encoded, tmp_path):
    with TeacherFeatures(loaded, tmp_path, WANTED) as features:
        columns = features.columns(encoded, 0)
        assert list(columns) == list(encoded)
        check(features, columns, loaded, 1e-4)
    assert list((tmp_path / "graphs").iterdir()) == []
    assert not (tmp_path / "teacher_features").exists()


def test_stored_features_are_the_same_in_half_precision(loaded, encoded, tmp_path):
    with TeacherFeatures(loaded, tmp_path, WANTED) as features:
        columns = features.columns(encoded.with_(labels=np.arange(len(TEXTS))), 1 << 30)
        # Every row is there once, with what belongs to it.
        assert sorted(columns["labels"].tolist()) == list(range(len(TEXTS)))
        for place, row in enumerate(columns["labels"].tolist()):
            assert columns["input_ids"][place].tolist() == encoded["input_ids"][row].tolist()
        check(features, columns, loaded, 2e-2)
    stored = sum(
        path.stat().st_size for path in (tmp_path / "teacher_features").rglob("*.bin") if ".off" not in path.name
    )
    assert stored - 8 * len(TEXTS) == features.bytes_for(encoded)
    assert not list((tmp_path / "teacher_features").glob("*.parts/*"))


def test_what_does_not_fit_is_asked(loaded, encoded, tmp_path, capsys):
    with TeacherFeatures(loaded, tmp_path, WANTED) as features:
        needed = features.bytes_for(encoded)
        asked = features.columns(encoded, needed - 1)
        assert "computed anew for every batch" in capsys.readouterr().out
        stored = features.columns(encoded, needed)
        assert "kept on the disk" in capsys.readouterr().out
    assert set(stored) - set(asked) == set(NAMES)
    # Batches hold the same rows in both cases.
    for name in ("input_ids", "token_type_ids"):
        np.testing.assert_array_equal(asked[name].values, stored[name].values)


def test_a_full_disk_is_seen_beforehand(loaded, encoded, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(room.shutil, "disk_usage", lambda path: type("U", (), {"free": 1000})())
        with TeacherFeatures(loaded, tmp_path, WANTED) as features, pytest.raises(InputError, match="give a smaller"):
            features.columns(encoded, 1 << 40)
    with TeacherFeatures(loaded, tmp_path, WANTED) as features:
        features.columns(encoded, 1 << 40)


def test_stored_features_are_found_again_and_damaged_ones_computed_again(
    loaded, encoded, tmp_path, monkeypatch, capsys
):
    with TeacherFeatures(loaded, tmp_path, WANTED) as features:
        first = features.columns(encoded, 1 << 30)
    asked = []
    ask = TeacherFeatures._ask
    monkeypatch.setattr(TeacherFeatures, "_ask", lambda self, inputs: asked.append(1) or ask(self, inputs))
    with TeacherFeatures(loaded, tmp_path, WANTED) as features:
        again = features.columns(encoded, 1 << 30)
        assert not asked
        np.testing.assert_array_equal(first["hidden_states.2"].values, again["hidden_states.2"].values)
    (folder,) = (tmp_path / "teacher_features").iterdir()
    path = next(folder.glob("values.1*bin"))
    path.write_bytes(path.read_bytes()[:-2])
    with TeacherFeatures(loaded, tmp_path, WANTED) as features:
        mended = features.columns(encoded, 1 << 30)
    assert asked
    assert "the stored features are damaged and are computed again" in capsys.readouterr().out
    np.testing.assert_array_equal(first["values.1"].values, mended["values.1"].values)
    # Another teacher, or another question, is another entry.
    with TeacherFeatures(tiny.bert(seed=1), tmp_path, WANTED) as features:
        features.columns(encoded, 1 << 30)
    assert len(list((tmp_path / "teacher_features").iterdir())) == 2


def test_an_interrupted_pass_goes_on(loaded, encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(room, "PART_BYTES", 1)
    with TeacherFeatures(loaded, tmp_path / "whole", WANTED) as features:
        whole = features.columns(encoded, 1 << 30)
    asked = []
    ask = TeacherFeatures._ask

    def failing(self, inputs):
        asked.append(1)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return ask(self, inputs)

    monkeypatch.setattr(TeacherFeatures, "_ask", failing)
    with pytest.raises(KeyboardInterrupt), TeacherFeatures(loaded, tmp_path, WANTED) as features:
        features.columns(encoded, 1 << 30)
    with TeacherFeatures(loaded, tmp_path, WANTED) as features:
        found = features.columns(encoded, 1 << 30)
    assert len(asked) == 4 + len(TEXTS) - 3
    for name in NAMES:
        np.testing.assert_array_equal(found[name].values, whole[name].values)


def test_a_store_of_other_rows_is_refused(loaded, encoded, tmp_path):
    with TeacherFeatures(loaded, tmp_path, WANTED) as features:
        features.columns(encoded, 1 << 30)
        (folder,) = (tmp_path / "teacher_features").iterdir()
        with pytest.raises(StoreDamaged, match="these are no features of these rows"):
            features._read(folder, encoded.take(np.arange(3)))
        longer = loaded.encoder.encode([[f"{text} good" for text in TEXTS]])
        with pytest.raises(StoreDamaged, match="is not that of these rows|no features of these rows"):
            features._read(folder, longer)


def test_a_part_of_something_else_is_computed_again(loaded, encoded, tmp_path):
    with TeacherFeatures(loaded, tmp_path / "whole", WANTED) as features:
        whole = features.columns(encoded, 1 << 30)
    with TeacherFeatures(loaded, tmp_path, WANTED) as features:
        parts = tmp_path / "teacher_features" / f"{features._key(encoded)}.parts"
        with StoreWriter(parts / "part-00000") as writer:
            order = np.argsort(-encoded.costs, kind="stable")
            writer.append(row=order, **{"hidden_states.0": np.zeros((len(TEXTS), 16), np.float16)})
        found = features.columns(encoded, 1 << 30)
    np.testing.assert_array_equal(found["hidden_states.2"].values, whole["hidden_states.2"].values)


def test_a_worthless_teacher_is_named(encoded, tmp_path):
    broken = tiny.bert()
    for layer in broken.model.bert.encoder.layers:
        layer.norm2.weight.set_value(np.full(16, 3e38, np.float32))
    with TeacherFeatures(broken, tmp_path, WANTED) as features, pytest.raises(Diverged, match="are not finite"):
        features.columns(encoded, 1 << 30)


def test_squares_are_packed_and_unpacked():
    values = np.arange(2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)
    lengths = np.array([4, 2])
    flat = packed("attention_scores.0", values, lengths)
    assert flat.lengths.tolist() == [3 * 16, 3 * 4]
    back = unpacked_squares(flat.padded(np.arange(2), 0), lengths, 3, 5)
    np.testing.assert_array_equal(back[0, :, :4, :4], values[0])
    np.testing.assert_array_equal(back[1, :, :2, :2], values[1, :, :2, :2])
    assert back[1, :, 2:].sum() == back[1, :, :, 2:].sum() == back[0, :, 4].sum() == 0


def test_numbers_beyond_half_precision_are_cut():
    found = packed("hidden_states.0", np.asarray([[[1e6], [-1e6]]], np.float32), np.array([2]))
    assert found.values.tolist() == [[65504.0], [-65504.0]]


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20e9), ("500 mb", 5e8), ("0", 0), ("1.5KB", 1500), ("7", 7), ("2TB", 2e12), ("8B", 8)]
)
def test_sizes_on_the_disk(text, size):
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "nan", "1PB", "inf", "twenty", "1GBGB", "1e30TB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="expected a size such as 20GB"):
        size_in_bytes(text)
