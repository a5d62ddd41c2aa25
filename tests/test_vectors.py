"""Word vectors from every format that is published, and what is said of broken ones."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console import InputError
from data.vectors import read_vectors

VECTORS = {"good": [1.0, -2.0, 0.5], "bad": [0.25, 3.0, -1.0], "电影": [2.0, 2.0, 2.0]}


def text(header: bool) -> bytes:
    lines = [f"{word} {' '.join(map(str, values))}" for word, values in VECTORS.items()]
    return "\n".join([*(["3 3"] if header else []), *lines, ""]).encode()


def binary(ending: bytes = b"") -> bytes:
    entries = (word.encode() + b" " + struct.pack("<3f", *values) + ending for word, values in VECTORS.items())
    return b"3 3\n" + b"".join(entries)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("glove.txt", text(False)),
        ("w2v.txt", text(True)),
        ("wiki.vec", text(True)),
        ("google.bin", binary()),
        ("google.bin", binary(b"\n")),
    ],
    ids=["glove", "word2vec text", "fastText", "word2vec binary", "binary with line ends"],
)
def test_every_format_gives_the_wanted_words(tmp_path, packed, name, content):
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
    found, width = read_vectors(path, ["good", "电影", "missing"])
    assert width == 3
    assert {word: values.tolist() for word, values in found.items()} == {w: VECTORS[w] for w in ("good", "电影")}
    assert all(values.dtype == np.float32 for values in found.values())


def test_words_with_blanks_and_words_given_twice(tmp_path):
    (tmp_path / "g.txt").write_text("a 1 2\n. . . 3 4\na 5 6\n", encoding="utf-8")
    found, _ = read_vectors(tmp_path / "g.txt", ["a", ". . ."])
    assert {word: values.tolist() for word, values in found.items()} == {"a": [1, 2], ". . .": [3, 4]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "no vectors in this file"),
        ("a.txt", b"good\n", "line 1: expected a word and its numbers"),
        ("a.txt", b"good 1 2\nbad 1\n", "line 2: expected a word and 2 numbers, found 1"),
        ("a.txt", b"good 1 x\n", "line 1: could not convert string to float"),
        ("a.txt", b"good 1 nan\n", "line 1: a number is not finite"),
        ("a.bin", b"hello", "expected word2vec's first line"),
        ("a.bin", b"3 999999999999\ngood " + b"x" * 30, "its first line tells of vectors of width 999,999,999,999"),
        ("a.bin", b"3 0\ngood ", "its first line tells of vectors of width 0"),
        ("a.bin", binary()[:-2], "cut off at word 3 of 3"),
        ("a.bin", b"2 3\n" + b"x" * 3000, "cut off or damaged at word 1 of 2"),
        ("a.txt", "4 ²\nword 1 2\n".encode(), "expected a word and its numbers"),
        ("a.txt", b"4 999999\nword 1 2\n", "vectors of width 999999"),
        ("a.txt.gz", gzip.compress(b"x" * (1 << 22), mtime=0), "longer than any word with its numbers"),
        ("a.bin", "4 ²\n".encode(), "expected word2vec's first line"),
        ("a.txt.gz", gzip.compress(text(True), mtime=0)[:-9], "damaged or cut off"),
        ("a.txt.gz", b"plain", "damaged or cut off"),
    ],
)
def test_a_broken_file_is_one_clear_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_vectors(tmp_path / name, ["good"])
    assert str(caught.value).startswith(f"--embedding_path {tmp_path / name}")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_vectors(tmp_path / "nope.vec", [])


@settings(max_examples=60)
@given(st.binary(max_size=80), st.sampled_from(["a.txt", "a.bin", "a.vec.gz"]))
def test_any_bytes_are_vectors_or_bad_input(tmp_path_factory, content, name):
    path = tmp_path_factory.mktemp("v") / name
    path.write_bytes(content)
    try:
        found, width = read_vectors(path, ["a"])
    except InputError:
        return
    assert all(len(values) == width for values in found.values())
