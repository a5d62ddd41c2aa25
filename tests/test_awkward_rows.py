"""Rows that real files hold: very long, full-width, of mixed scripts, with an empty side; from file to prediction."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny

from console import InputError, run_script
from data.sources import Rows, read_rows
from data.tasks import get_task
from data.tokenization import InputEncoder, JiebaTokenizer, WordPieceTokenizer
from deploy import predict
from deploy.exporter import export
from deploy.options import ExportOptions
from models.folder import save

LONG = {"en": "a good film and a dull plot , " * 3334, "zh": "房间干净服务很好，" * 11112}
AWKWARD = {
    "a very long row": LONG["zh"],
    "full-width letters and digits": "ＡＢＣ１２３，房间很好！",
    "traditional and simplified": "這間酒店的房間干净，服務也很好",
    "no word that is known": "鱻麤龘",
    "emoji and joiners": "服务👩‍👩‍👧好\u200b\ufeff",
    "latin among characters": "wifi很好iPhone可用OK",
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export folders of a Chinese student, a student of English pairs, and a BERT of pairs."""
    folder = tmp_path_factory.mktemp("exported")
    made = {"zh": tiny.chinese_bilstm(), "pairs": tiny.bilstm(tiny.PAIR), "bert": tiny.bert(tiny.PAIR)}
    for name, loaded in made.items():
        save(folder / "models" / name, loaded)
        export(ExportOptions(model_dir=str(folder / "models" / name), output_dir=str(folder / name)))
    return folder


@pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD)
def test_chinese_rows_become_ids_of_the_vocabulary(text):
    tokenizer = tiny.chinese_bilstm().tokenizer
    encoded = InputEncoder(tokenizer, 128, "plain").encode([[text]])["input_ids"]
    assert 1 <= len(encoded.values) <= 128
    assert encoded.values.min() >= 0 and encoded.values.max() < len(tokenizer.vocab)


def test_an_unknown_word_falls_back_to_its_known_characters():
    tokenizer = JiebaTokenizer(["[PAD]", "[UNK]", "[MASK]", "房", "间", "房间"])
    # "房间" is known; "房屋" is a word of jieba's that is not, and only its first character is.
    assert tokenizer.encode(["房间房屋"])[0].tolist() == [5, 3, 1]


@pytest.mark.parametrize("side", [0, 1])
def test_a_very_long_side_leaves_room_for_the_other(side):
    texts = [["a good film"], ["the plot"]]
    texts[side] = [LONG["en"]]
    tokenizer = WordPieceTokenizer(tiny.VOCAB)
    row = InputEncoder(tokenizer, 32, "bert").encode(texts)
    assert len(row["input_ids"][0]) == 32
    assert set(row["token_type_ids"][0].tolist()) == {0, 1}
    assert (row["input_ids"][0] == tokenizer.token_id("[SEP]")).sum() == 2


@pytest.mark.parametrize(("first", "second"), [("", "b"), ("a", ""), ("a", " \u3000 ")])
def test_an_empty_side_is_a_bad_row(tmp_path, first, second):
    path = tmp_path / "a.tsv"
    path.write_text(f"question1\tquestion2\tis_duplicate\n{first}\t{second}\t1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a.tsv, line 2: the text in column 'question[12]' is empty"):
        read_rows(path, get_task("qqp"))


def test_a_missing_second_column_names_what_is_there(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("sentence1\tlabel\n你好\t1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 1: expected a column 'sentence2', the header has 'sentence1', 'label'"):
        read_rows(path, get_task("afqmc"))


def test_a_pair_of_one_empty_encoding_still_has_a_token():
    # A zero-width space is text to a reader of files, and nothing to a tokenizer.
    encoded = InputEncoder(WordPieceTokenizer(tiny.VOCAB), 16, "plain").encode([["\u200b"], ["a film"]])
    assert encoded["input_ids"].lengths.tolist() == [1]


@pytest.mark.parametrize("name", ["pairs", "bert"])
def test_pairs_are_predicted_from_a_file_with_awkward_rows(exported, tmp_path, name):
    rows = [("a good film", "the plot"), (LONG["en"], "a"), ("\u200b", "ＡＢＣ"), ("é́́", "🎬")]
    lines = ["question1\tquestion2", *("\t".join(row) for row in rows)]
    (tmp_path / "in.tsv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    words = ["--model_dir", exported / name, "--input_file", tmp_path / "in.tsv", "--output_file", tmp_path / "o.jsonl"]
    assert run_script(predict.main, list(map(str, words))) == 0
    found = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["question2"] for row in found] == [second for _, second in rows]
    assert np.isfinite([row["logits"] for row in found]).all()


def test_chinese_rows_are_predicted_alike_alone_and_together(exported):
    from deploy.predictor import Predictor

    predictor = Predictor(exported / "zh")
    rows = [(text,) for text in AWKWARD.values()]
    together = predictor.predict(rows)
    for row, prediction in zip(rows, together, strict=True):
        np.testing.assert_allclose(predictor.predict([row])[0].logits, prediction.logits, atol=1e-5)


def test_unlabelled_rows_in_two_scripts_are_read(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("text_a\n" + "\n".join(AWKWARD.values()) + "\n", encoding="utf-8")
    rows, _ = read_rows(path, get_task("chnsenticorp"), labelled=False)
    assert isinstance(rows, Rows) and len(rows) == len(AWKWARD)
