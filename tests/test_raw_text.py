"""Running text as sequences: nothing lost, nothing twice, documents apart."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from console import InputError
from data import raw_text
from data.raw_text import raw_text_store, sequences, text_files
from data.tokenization import InputEncoder, WordPieceTokenizer


@pytest.fixture(scope="module")
def encoder():
    return InputEncoder(WordPieceTokenizer(tiny.VOCAB), 12, "bert")


@given(
    st.lists(st.one_of(st.none(), st.lists(st.integers(0, 9), max_size=30)), max_size=30),
    st.integers(1, 12),
    st.booleans(),
)
def test_sequences_hold_every_token_once_and_documents_apart(lines, longest, join):
    # Every token carries the number of its document.
    document, given_lines, expected = 0, [], []
    for line in lines:
        document += line is None
        ids = None if line is None else np.asarray([10 * document + token for token in line], np.int32)
        given_lines.append(ids)
        expected += [] if ids is None else ids.tolist()
    found = list(sequences(iter(given_lines), longest, join))
    assert [token for part in found for token in part.tolist()] == expected
    for part in found:
        assert len(part) <= longest
        assert len({token // 10 for token in part.tolist()}) <= 1
    if not join:
        pieces = [line for line in given_lines if line is not None]
        assert sum(len(part) > 0 for part in found) == sum(-(-len(line) // longest) for line in pieces)


def test_lines_that_fit_together_are_one_sequence():
    lines = [np.arange(3), np.arange(4), np.arange(2), None, np.arange(1), np.arange(7)]
    assert [len(part) for part in sequences(iter(lines), 7, True)] == [7, 2, 1, 7]
    assert [len(part) for part in sequences(iter(lines), 7, False)] == [3, 4, 2, 1, 7]


def write(folder, name, lines):
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_files_of_a_folder_by_name_and_each_once(tmp_path):
    b, a = write(tmp_path, "b.txt", ["x"]), write(tmp_path, "a.txt", ["x"])
    write(tmp_path, "notes.md", ["x"])
    assert text_files([str(tmp_path), str(b)]) == [a, b]
    with pytest.raises(InputError, match="--text .*nope: no such file or folder"):
        text_files([str(tmp_path / "nope")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.txt file in this folder"):
        text_files([str(tmp_path / "empty")])


def test_all_text_is_in_one_of_the_two_parts(tmp_path, encoder, monkeypatch):
    monkeypatch.setattr(raw_text, "LINES", 7)
    files = [
        write(tmp_path, f"{n}.txt", [tiny.sentence(__import__("random").Random(10 * n + i), i % 2) for i in range(40)])
        for n in range(3)
    ]
    learnt, held_out = raw_text_store(files, encoder, tmp_path / "cache", 0.2, 1)
    assert 5 < held_out.rows < learnt.rows
    cls, sep = (tiny.VOCAB.index(token) for token in ("[CLS]", "[SEP]"))
    rows = [part["input_ids"][i].tolist() for part in (learnt, held_out) for i in range(part.rows)]
    assert all(row[0] == cls and row[-1] == sep and len(row) <= 12 for row in rows)
    whole = [t for path in files for t in encoder.tokenizer.encode(path.read_text().splitlines()).values.tolist()]
    assert sorted(t for row in rows for t in row[1:-1]) == sorted(whole)
    # Found again, and the same with the same seed; another seed holds others out.
    again = raw_text_store(files, encoder, tmp_path / "cache", 0.2, 1)
    assert again[1]["input_ids"].compact().values.tolist() == held_out["input_ids"].compact().values.tolist()
    other = raw_text_store(files, encoder, tmp_path / "cache", 0.2, 2)
    assert other[1]["input_ids"].compact().values.tolist() != held_out["input_ids"].compact().values.tolist()


def test_sentences_stand_alone_on_demand(tmp_path, encoder):
    path = write(tmp_path, "a.txt", ["It was good. The cast was weak! A fine end."] * 30)
    learnt, held_out = raw_text_store([path], encoder, tmp_path / "cache", 0.1, 0, "en")
    assert learnt.rows + held_out.rows == 90


def test_a_damaged_store_is_read_again(tmp_path, encoder, capsys):
    path = write(tmp_path, "a.txt", ["a good film"] * 50)
    first, _ = raw_text_store([path], encoder, tmp_path / "cache", 0.2, 0, "en")
    values = np.array(first["input_ids"].compact().values)
    (folder,) = (p for p in (tmp_path / "cache" / "raw_text").iterdir() if p.is_dir() and ".made" not in p.name)
    (folder / "manifest.json").write_text("{}")
    again, _ = raw_text_store([path], encoder, tmp_path / "cache", 0.2, 0, "en")
    assert "damaged and is read again" in capsys.readouterr().out
    np.testing.assert_array_equal(again["input_ids"].compact().values, values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"good\ncaf\xe9\n", r"a\.txt, line 2: expected UTF-8, found byte 0xe9"),
        (b"\n\n", "no text in this file"),
        (b"good\n", "--held_out 0.5: leaves no rows on one side of 1"),
        (b"a\x00b\n", "line 1: a NUL character"),
    ],
    ids=["latin", "empty", "short", "nul"],
)
def test_text_that_cannot_be_read_is_named_and_nothing_is_kept(tmp_path, encoder, content, message):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        raw_text_store([path], encoder, tmp_path / "cache", 0.5, 0)
    kept = [p.name for p in (tmp_path / "cache" / "raw_text").iterdir() if ".made" not in p.name]
    assert kept == []


def test_long_lines_are_read_to_their_end(tmp_path, encoder):
    # More tokens than a text of a task may have.
    path = write(tmp_path, "a.txt", ["good film " * 60_000, "x" * 25_000])
    learnt, held_out = raw_text_store([path], encoder, tmp_path / "cache", 0.1, 0)
    tokens = int(learnt.costs.sum() + held_out.costs.sum()) - 2 * (learnt.rows + held_out.rows)
    # The word without blanks is cut into three, each unknown.
    assert tokens == 120_000 + 3


@given(st.text(alphabet="ab ", max_size=60), st.integers(1, 12))
def test_pieces_hold_the_whole_text(text, longest):
    found = list(raw_text.pieces_of(text, longest))
    assert all(0 < len(piece) <= longest for piece in found)
    assert "".join(found).replace(" ", "") == text.replace(" ", "")
