"""Running text is cut where a reader would cut it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.sentences import split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One film. Two films! Three?", ["One film.", "Two films!", "Three?"]),
        ("no stop at the end", ["no stop at the end"]),
        ('He said "stop." Then he left.', ['He said "stop."', "Then he left."]),
        (
            "It drags to the last page.The best book is another.",
            ["It drags to the last page.", "The best book is another."],
        ),
        ("A fine film.<br /><br />I liked it.", ["A fine film.", "I liked it."]),
        ("Mr. Smith met Dr. Who, e.g. here. J. K. wrote it.", ["Mr. Smith met Dr. Who, e.g. here.", "J. K. wrote it."]),
        ("It cost 3.50 at v1.2 of example.com today. Fine.", ["It cost 3.50 at v1.2 of example.com today.", "Fine."]),
        ("Well... no. !!! ??", ["Well...", "no."]),
        ("", []),
        ("... --- ...", []),
    ],
)
def test_english(text, expected):
    assert list(split_sentences(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("房间很大。服务不错！下次还来吗？", ["房间很大。", "服务不错！", "下次还来吗？"]),
        ("他说：“很好。”我同意", ["他说：“很好。”", "我同意"]),
        ("房间很大，很干净", ["房间很大，很干净"]),
    ],
)
def test_chinese(text, expected):
    assert list(split_sentences(text, "zh")) == expected


@pytest.mark.parametrize("piece", [".", "a. ", '."', "Mr. ", "!?", "a.B"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_long_rows_take_steps_in_proportion_to_their_length(piece, language):
    # Quadratic steps would take minutes here, and the suite's patience ends before.
    text = piece * 100_000 + "a"
    found = list(split_sentences(text, language))
    assert "".join("".join(found).split()).count("a") == text.count("a")


@given(st.text(alphabet="ab .!?…\"')Z好。！”\n<>/", max_size=60), st.sampled_from(["en", "zh"]))
def test_no_letter_is_lost_and_none_is_added(text, language):
    from data.sentences import MARKUP

    found = list(split_sentences(text, language))
    assert all(sentence == sentence.strip() and any(map(str.isalnum, sentence)) for sentence in found)
    assert [c for s in found for c in s if c.isalnum()] == [c for c in MARKUP.sub(" ", text) if c.isalnum()]
