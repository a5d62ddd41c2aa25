"""``distill_lstm.augment_data``: a transfer set that other runs take as a table or as a store."""

from __future__ import annotations

import numpy as np
import pytest
import tiny

from console import InputError
from data.store import StoreWriter
from data.tasks import get_task
from data.tokenization import WordPieceTokenizer
from data.transfer import transfer_set_from_path
from distill_lstm.options import AugmentDataOptions
from distill_lstm.transfer import augment

SST2, QQP = get_task("sst-2"), get_task("qqp")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    tiny.write_single(folder / "data")
    tiny.write_pairs(folder / "pairs")
    tiny.write_chinese(folder / "chinese")
    # No two texts share a word.
    tiny.write_pairs(folder / "apart")
    rows = [f"{n}\t{n}\t{n}\tword{n}\tother{n}\t{n % 2}" for n in range(8)]
    header = (folder / "apart" / "train.tsv").read_text(encoding="utf-8").splitlines()[0]
    (folder / "apart" / "train.tsv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(tiny.VOCAB) + "\n", encoding="utf-8")
    return folder


def options(inputs, output, data="data", **changes):
    values = {"task_name": "sst-2", "vocab_path": str(inputs / "vocab.txt"), "n_iter": 3, "seed": 1}
    return AugmentDataOptions(**{"data_dir": str(inputs / data), "output_file": str(output), **values, **changes})


def read(path, task=SST2):
    found = transfer_set_from_path(path, task, WordPieceTokenizer(tiny.VOCAB), whole_words=False)
    return list(found.texts(0, len(found))), found.labels


def test_a_table_and_a_store_hold_the_same_rows(inputs, tmp_path):
    assert augment(options(inputs, tmp_path / "t.tsv")) == augment(options(inputs, tmp_path / "store"))
    (rows, labels), (same_rows, same_labels) = read(tmp_path / "t.tsv"), read(tmp_path / "store")
    assert rows == same_rows and np.array_equal(labels, same_labels)
    assert set(labels[:60].tolist()) == {0, 1} and set(labels[60:].tolist()) == {-1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "t.tsv"]


def test_words_of_the_same_part_of_speech_are_drawn(inputs, tmp_path):
    augment(options(inputs, tmp_path / "t.tsv", p_pos=0.5, p_mask=0.0, p_ngram=0.0))
    rows, _ = read(tmp_path / "t.tsv")
    assert len(rows) > 120 and not any("[MASK]" in text for (text,) in rows)


def test_pairs_are_made_anew(inputs, tmp_path):
    augment(options(inputs, tmp_path / "t.tsv", "pairs", task_name="qqp", n_iter=0, repair_pairs=2))
    rows, labels = read(tmp_path / "t.tsv", QQP)
    assert len(rows) > 60 and set(labels[60:].tolist()) == {-1}


def test_new_pairs_are_of_texts_that_share_words(inputs, tmp_path):
    made = {"task_name": "qqp", "n_iter": 0, "repair_pairs": 4}
    augment(options(inputs, tmp_path / "near.tsv", "pairs", **made, repair_with="nearest"))
    augment(options(inputs, tmp_path / "rare.tsv", "pairs", **made))

    def sharing(name):
        new = read(tmp_path / name, QQP)[0][60:]
        return np.mean([bool(set(a.split()) & set(b.split())) for a, b in new])

    assert sharing("near.tsv") == 1 > sharing("rare.tsv")


def test_chinese_rows_are_of_words(inputs, tmp_path):
    augment(options(inputs, tmp_path / "store", "chinese", task_name="chnsenticorp", p_pos=0.2))
    found = transfer_set_from_path(tmp_path / "store", get_task("chnsenticorp"), WordPieceTokenizer(tiny.VOCAB), True)
    assert found.unit == "word" and len(found) > 120


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repair_pairs": 1}, "--repair_pairs: the rows of sst-2 are single texts"),
        (
            {"data": "apart", "task_name": "qqp", "repair_pairs": 3, "repair_with": "nearest"},
            "--repair_pairs 3: no text has another one to meet; leave the option out",
        ),
        ({"unlabeled_file": ("nope.txt",)}, "nope.txt: no such file"),
        ({"vocab_path": "nope"}, "nope: no vocabulary here"),
        ({"output_file": "rows.txt"}, "--output_file rows.txt: expected a name that ends in .tsv, or the name of"),
        ({"p_pos": 0.1, "pos_tagger": "jieba"}, "--pos_tagger jieba: it reads zh, the rows are en"),
    ],
)
def test_what_cannot_be_used_leaves_nothing(inputs, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        augment(options(inputs, tmp_path / "t.tsv", **changes))
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_unless_told_otherwise(inputs, tmp_path):
    (tmp_path / "t.tsv").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"t.tsv exists; pass --overwrite or choose another name"):
        augment(options(inputs, tmp_path / "t.tsv"))
    assert (tmp_path / "t.tsv").read_text(encoding="utf-8") == "mine"
    augment(options(inputs, tmp_path / "t.tsv", overwrite=True))
    assert len(read(tmp_path / "t.tsv")[0]) > 60
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(InputError, match="a table and a folder cannot replace each other"):
        augment(options(inputs, tmp_path / "folder.tsv", overwrite=True))


def test_overwrite_replaces_transfer_sets_alone(inputs, tmp_path):
    """Not a folder of models whose name somebody gives by mistake, and nothing that is read."""
    (tmp_path / "runs" / "teacher").mkdir(parents=True)
    (tmp_path / "runs" / "teacher" / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(InputError, match="runs: holds something else than a transfer set; choose another"):
        augment(options(inputs, tmp_path / "runs", overwrite=True))
    assert (tmp_path / "runs" / "teacher" / "model.safetensors").read_bytes() == b"weights"
    with StoreWriter(tmp_path / "store", {"kind": "raw-text"}) as writer:
        writer.append(x=np.zeros(1))
    with pytest.raises(InputError, match="holds something else"):
        augment(options(inputs, tmp_path / "store", overwrite=True))
    assert augment(options(inputs, tmp_path / "made"))
    assert augment(options(inputs, tmp_path / "made", overwrite=True))
    # A damaged one is what most needs to be replaced; one beside which somebody has put a file is not.
    column = next((tmp_path / "made").glob("*.bin"))
    column.write_bytes(column.read_bytes()[:-4])
    assert augment(options(inputs, tmp_path / "made", overwrite=True))
    (tmp_path / "made" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        augment(options(inputs, tmp_path / "made", overwrite=True))
    more = tmp_path / "more.tsv"
    more.write_text("sentence\na good film\n")
    with pytest.raises(InputError, match=r"holds --unlabeled_file .*more\.tsv, which is read; choose another"):
        augment(options(inputs, more, overwrite=True, unlabeled_file=(str(more),)))
    assert more.read_text() == "sentence\na good film\n"
