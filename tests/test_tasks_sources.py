"""Tasks and the rows they are made of: nothing is lost or mislabelled, every fault names file, line and expectation."""

from __future__ import annotations

import csv
import io
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import InputError
from data.sources import (
    BadRow,
    Rows,
    TaskData,
    checked_text,
    decoded_lines,
    describe,
    download_rows,
    find_split,
    hold_out,
    label_order,
    load_task_data,
    read_rows,
)
from data.tasks import LANGUAGES, METRICS, TASKS, Task, custom_task, get_task

SINGLE = custom_task(["text"], "label")
PAIR = custom_task(["a", "b"], "label")
SST2 = get_task("sst-2")

# Anything but what ends a field, a line or a string; "\r" at the end of a line is a line end.
plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\0"), max_size=12)
texts = plain_text.map(lambda text: f"x{text}y")
labels = st.sampled_from(["0", "1", "neg", "pos", "-3", '"', "中"])
labelled_rows = st.lists(st.tuples(texts, labels), min_size=2, max_size=12).filter(
    lambda rows: len({label for _, label in rows}) > 1
)
line_ends = st.sampled_from(["\n", "\r\n"])
marks = st.sampled_from([b"", b"\xef\xbb\xbf"])


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read_back(path: Path, task=SINGLE) -> list[tuple[str, ...]]:
    rows, task = read_rows(path, task)
    assert rows.skipped == 0
    return [
        (*row, task.labels[label]) for *row, label in zip(*rows.texts, np.asarray(rows.labels).tolist(), strict=True)
    ]


def fault(path: Path, task=SST2, **settings) -> str:
    with pytest.raises(InputError) as caught:
        read_rows(path, task, **settings)
    return str(caught.value)


class TestRegistry:
    @pytest.mark.parametrize("name", ["sst-2", "SST-2", "sst2", "Sst2", " sst-2 "])
    def test_names_are_found_in_any_case_and_by_alias(self, name):
        assert get_task(name) is TASKS["sst-2"]

    def test_an_old_name_of_the_chinese_task_is_known(self):
        assert get_task("senta") is TASKS["chnsenticorp"]

    def test_an_unknown_name_lists_the_known_ones(self):
        with pytest.raises(InputError, match=r"no-such: no such task; known are afqmc, .*, qqp, rte, sst-2, sts-b,"):
            get_task("no-such")

    @pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
    def test_rows_of_the_registry_are_whole(self, task):
        assert task.name == task.name.lower()
        assert len(task.text_columns) in (1, 2)
        assert (task.metric in METRICS, task.language in LANGUAGES) == (True, True)
        if task.labels is not None:
            assert (
                len(task.labels)
                == len(set(task.labels))
                == {"mnli": 3, "ocnli": 3, "cmnli": 3, "sts-b": 0}.get(task.name, 2)
            )
        assert task.outputs == {"sts-b": 1}.get(task.name, len(task.labels or ()))
        assert task.hub
        assert not task.header or {*task.text_columns, task.label_column} <= set(task.header)

    def test_aliases_begin_with_the_own_name(self):
        assert get_task("qqp").aliases("is_duplicate") == ("is_duplicate", "labels", "label")
        assert get_task("sst-2").aliases("sentence") == ("sentence",)
        assert get_task("mrpc").aliases("sentence2") == ("sentence2", "#2 String")

    def test_a_pair_has_two_text_columns(self):
        assert get_task("qqp").is_pair
        assert not SST2.is_pair

    @pytest.mark.parametrize("columns", [[], ["a", "b", "c"]])
    def test_own_data_has_one_text_column_or_two(self, columns):
        with pytest.raises(InputError, match=r"expected one column or two, got"):
            custom_task(columns, "label")

    @pytest.mark.parametrize(("columns", "label"), [(["a", "a"], "label"), (["a"], "a")])
    def test_column_names_differ(self, columns, label):
        with pytest.raises(InputError, match="the names must differ"):
            custom_task(columns, label)


class TestRoundTrip:
    @given(labelled_rows, line_ends, marks, st.booleans())
    def test_tsv(self, tmp_path, rows, end, mark, ended):
        lines = ["text\tlabel", *("\t".join(row) for row in rows)]
        path = write(tmp_path, "rows.tsv", mark + (end.join(lines) + end * ended).encode())
        assert read_back(path) == [(text.strip(), label) for text, label in rows]

    @given(labelled_rows, line_ends, marks, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    def test_csv(self, tmp_path, rows, end, mark, quoting):
        buffer = io.StringIO(newline="")
        csv.writer(buffer, lineterminator=end, quoting=quoting).writerows([("label", "text"), *(r[::-1] for r in rows)])
        path = write(tmp_path, "rows.csv", mark + buffer.getvalue().encode())
        assert read_back(path) == [(text.strip(), label) for text, label in rows]

    @given(labelled_rows, line_ends, marks, st.booleans())
    def test_jsonl(self, tmp_path, rows, end, mark, ascii_only):
        lines = [json.dumps({"label": label, "text": text}, ensure_ascii=ascii_only) for text, label in rows]
        path = write(tmp_path, "rows.jsonl", mark + (end.join(lines) + end).encode())
        assert read_back(path) == [(text.strip(), label) for text, label in rows]

    @given(st.lists(st.tuples(texts, texts, st.sampled_from("01")), min_size=1, max_size=8))
    def test_pairs(self, tmp_path, rows):
        content = "\n".join(["b\tlabel\ta", *(f"{b}\t{label}\t{a}" for a, b, label in rows)])
        path = write(tmp_path, "rows.tsv", content)
        assert read_back(path, PAIR.with_labels("01")) == [(a.strip(), b.strip(), label) for a, b, label in rows]

    def test_csv_fields_may_hold_line_ends_commas_and_quotes(self, tmp_path):
        path = write(tmp_path, "rows.csv", 'text,label\n"a ""b"",\nc",0\nd,1\n')
        assert read_back(path) == [('a "b",\nc', "0"), ("d", "1")]

    def test_a_quote_is_a_character_in_tsv(self, tmp_path):
        path = write(tmp_path, "rows.tsv", 'text\tlabel\n"a\t0\nb" "c""\t1\n')
        assert read_back(path) == [('"a', "0"), ('b" "c""', "1")]

    def test_only_line_feeds_end_a_line(self, tmp_path):
        path = write(tmp_path, "rows.tsv", "text\tlabel\na\u2028b\x85c\x0bd\t0\ne\t1\n")
        assert read_back(path) == [("a\u2028b\x85c\x0bd", "0"), ("e", "1")]

    def test_json_labels_may_be_numbers(self, tmp_path):
        path = write(tmp_path, "rows.jsonl", '{"text": "a", "label": 0}\n{"text": "b", "label": "1"}\n')
        assert read_back(path) == [("a", "0"), ("b", "1")]

    def test_rows_without_labels(self, tmp_path):
        rows, task = read_rows(write(tmp_path, "rows.tsv", "x\ttext\n1\ta\n2\tb\n"), SINGLE, labelled=False)
        assert (rows.texts, rows.labels, task.labels) == ((["a", "b"],), None, None)

    def test_long_fields_are_read(self, tmp_path):
        long = "a" * 300_000
        assert read_back(write(tmp_path, "rows.csv", f"text,label\n{long},0\nb,1\n"))[0] == (long, "0")


class TestLabels:
    @pytest.mark.parametrize(
        ("found", "order"),
        [
            ({"10", "9", "-1"}, ["-1", "9", "10"]),
            ({"b", "a"}, ["a", "b"]),
            ({"10", "9", "x"}, ["10", "9", "x"]),
            ({"²", "--1"}, ["--1", "²"]),
        ],
    )
    def test_whole_numbers_go_by_value_others_by_spelling(self, found, order):
        assert label_order(found) == order

    @given(st.sets(labels | st.text(max_size=3), max_size=6))
    def test_any_labels_have_an_order(self, found):
        assert sorted(label_order(found)) == sorted(found)

    def test_ids_are_those_of_the_task(self, tmp_path):
        rows, _ = read_rows(write(tmp_path, "r.tsv", "text\tlabel\na\tyes\nb\tno\n"), SINGLE.with_labels(["yes", "no"]))
        assert rows.labels.tolist() == [0, 1]
        assert rows.labels.dtype == np.int64

    def test_dev_rows_get_the_ids_of_train(self, tmp_path):
        train = write(tmp_path, "t.tsv", "text\tlabel\na\tb\nc\ta\nd\tc\n")
        dev = write(tmp_path, "d.tsv", "text\tlabel\nx\tc\ny\tb\n")
        data = load_task_data(SINGLE, train_file=str(train), dev_file=str(dev))
        assert data.task.labels == ("a", "b", "c")
        assert data.train.labels.tolist() == [1, 0, 2]
        assert data.dev.labels.tolist() == [2, 1]
        assert data.validation is data.dev

    def test_a_label_that_train_does_not_have_is_unknown(self, tmp_path):
        train = write(tmp_path, "t.tsv", "text\tlabel\na\tb\nc\ta\n")
        dev = write(tmp_path, "d.tsv", "text\tlabel\nx\ta\ny\tz\n")
        with pytest.raises(InputError, match=r"d\.tsv, line 3: unknown label 'z'.*expected one of a, b"):
            load_task_data(SINGLE, train_file=str(train), dev_file=str(dev))

    def test_one_label_alone_is_no_task(self, tmp_path):
        text = fault(write(tmp_path, "t.tsv", "text\tlabel\na\tb\nc\tb\n"), SINGLE)
        assert "t.tsv: expected at least two different labels in column 'label', found ['b']" in text


HEADER = b"sentence\tlabel\n"
BAD_TSV = {
    "field missing": (b"b", "expected 2 fields as in the header (sentence, label), found 1"),
    "field too many": (b"b\t1\t2", "expected 2 fields as in the header (sentence, label), found 3"),
    "empty line": (b"", "the line is empty"),
    "empty text": (b"\t1", "the text in column 'sentence' is empty"),
    "blank text": (" \u3000\t1".encode(), "the text in column 'sentence' is empty"),
    "no label": (b"b\t", "expected a label in column 'label', found none"),
    "unknown label": (b"b\t2", "unknown label '2' in column 'label'; expected one of 0, 1"),
    "latin-1": (b"caf\xe9 \t1", "expected UTF-8, found byte 0xe9 at position 4"),
    "cut character": ("好".encode()[:2] + b"\t1", "expected UTF-8, found byte 0xe5 at position 1"),
    "surrogate": (b"\xed\xa0\x80\t1", "expected UTF-8, found byte 0xed at position 1"),
    "NUL": (b"b\0c\t1", "a NUL character in column 'sentence'"),
}
BAD_CSV = {
    "field missing": (b"b", "expected 2 fields as in the header (sentence, label), found 1"),
    "stray quote": (b'"b"c,1', "not valid CSV"),
    "latin-1": (b"caf\xe9,1", "expected UTF-8, found byte 0xe9 at position 4"),
    "NUL": (b"b\0c,1", "a NUL character"),
    "empty line": (b"", "the line is empty"),
    "empty text": (b'"",1', "the text in column 'sentence' is empty"),
    "unknown label": (b"b,good", "unknown label 'good'"),
}
BAD_JSON = {
    "empty line": (b"", "expected one JSON object a line"),
    "cut": (b'{"sentence": "b", "lab', "expected one JSON object a line"),
    "deep": (b"[" * 100_000, "expected one JSON object a line"),
    "huge number": (b'{"sentence": "b", "label": ' + b"9" * 5000 + b"}", "expected one JSON object a line"),
    "list": (b'["b", 1]', "expected a JSON object, found list"),
    "null": (b"null", "expected a JSON object, found NoneType"),
    "no text": (b'{"label": 1}', "missing field 'sentence'; found label"),
    "no label": (b'{"sentence": "b"}', "missing field 'label'; found sentence"),
    "no field": (b"{}", "missing field 'sentence'; found none"),
    "number": (b'{"sentence": 3, "label": 1}', "expected a text in column 'sentence', found 3"),
    "null text": (b'{"sentence": null, "label": 1}', "expected a text in column 'sentence', found None"),
    "blank": (b'{"sentence": " ", "label": 1}', "the text in column 'sentence' is empty"),
    "true": (b'{"sentence": "b", "label": true}', "expected a label in column 'label', found none"),
    "fraction": (b'{"sentence": "b", "label": 1.0}', "expected a label in column 'label', found none"),
    "unknown label": (b'{"sentence": "b", "label": 7}', "unknown label '7'"),
    "NUL": (b'{"sentence": "b\\u0000", "label": 1}', "a NUL character in column 'sentence'"),
    "surrogate": (b'{"sentence": "\\ud83d", "label": 1}', "half a surrogate pair in column 'sentence'"),
    "latin-1": (b'{"sentence": "\xe9", "label": 1}', "expected UTF-8, found byte 0xe9 at position 15"),
}
JSON_ROW = b'{"sentence": "%s", "label": %s}\n'


def in_table(name: str, header: bytes, good: bytes, cases: dict[str, tuple[bytes, str]]):
    return [
        pytest.param(
            name, header + good % (b"a", b"0"), bad + b"\n", good % (b"c", b"1"), text, id=f"{name[5:]} {what}"
        )
        for what, (bad, text) in cases.items()
    ]


every_bad_row = pytest.mark.parametrize(
    ("name", "before", "bad", "after", "text"),
    [
        *in_table("rows.tsv", HEADER, b"%s\t%s\n", BAD_TSV),
        *in_table("rows.csv", b"sentence,label\n", b"%s,%s\n", BAD_CSV),
        *in_table("rows.jsonl", b"", JSON_ROW, BAD_JSON),
    ],
)


class TestBadRows:
    @every_bad_row
    def test_a_bad_row_stops_the_reading_by_file_line_and_expectation(self, tmp_path, name, before, bad, after, text):
        path = write(tmp_path, name, before + bad + after)
        line = before.count(b"\n") + 1
        message = fault(path)
        assert message.startswith(f"{path}, line {line}: ")
        assert text in message
        assert message.endswith("; mend the row or pass --skip_bad_rows")
        assert "\n" not in message

    @every_bad_row
    def test_a_bad_row_can_be_skipped_and_is_counted(self, tmp_path, name, before, bad, after, text):
        rows, _ = read_rows(write(tmp_path, name, before + bad + after), SST2, skip_bad_rows=True)
        assert (rows.texts[0], rows.labels.tolist(), rows.skipped) == (["a", "c"], [0, 1], 1)

    @given(st.lists(st.sampled_from(["good", *BAD_TSV]), min_size=1, max_size=20))
    def test_of_many_bad_rows_each_is_counted(self, tmp_path, kinds):
        lines = [b"good\t1" if kind == "good" else BAD_TSV[kind][0] for kind in kinds]
        rows, _ = read_rows(write(tmp_path, "r.tsv", HEADER + b"\n".join(lines) + b"\n"), SST2, skip_bad_rows=True)
        assert (len(rows), rows.skipped) == (kinds.count("good"), len(kinds) - kinds.count("good"))

    def test_lines_are_counted_across_fields_with_line_ends(self, tmp_path):
        path = write(tmp_path, "r.csv", 'sentence,label\n"a\nb\nc",0\n"d\ne",7\nf,1\n')
        assert fault(path).startswith(f"{path}, line 5: unknown label '7'")

    def test_an_open_quote_at_the_end_of_a_csv_is_a_bad_row(self, tmp_path):
        path = write(tmp_path, "r.csv", 'sentence,label\na,0\n"b,1\nc,1\n')
        assert fault(path).startswith(f"{path}, line 3: not valid CSV")

    def test_carriage_returns_do_not_hide_the_line(self, tmp_path):
        path = write(tmp_path, "r.tsv", b"\xef\xbb\xbfsentence\tlabel\r\na\t0\r\n\r\nb\t1\r\n")
        assert fault(path).startswith(f"{path}, line 3: the line is empty")

    @pytest.mark.parametrize("text", [None, 3, "", "  ", "a\0", "\ud800"])
    def test_a_text_must_be_text(self, text):
        with pytest.raises(BadRow):
            checked_text(text, "text")

    def test_a_text_comes_without_the_space_around_it(self):
        assert checked_text(" a  b\n", "text") == "a  b"

    @given(st.binary(max_size=60), st.sampled_from(["r.tsv", "r.csv", "r.jsonl", "r.txt"]), st.booleans())
    def test_any_bytes_are_rows_or_bad_input(self, tmp_path, content, name, skip):
        path = write(tmp_path, name, content)
        try:
            rows, _ = read_rows(path, SINGLE, skip_bad_rows=skip)
        except InputError as error:
            assert str(path) in str(error)
        else:
            assert len(rows) == len(rows.labels) >= 2

    def test_reading_lines_of_a_stream(self):
        lines = dict(decoded_lines(io.BytesIO(b"\xef\xbb\xbfa\r\n\xff\nb")))
        assert (lines[1], lines[3]) == ("a", "b")
        assert str(lines[2]) == "expected UTF-8, found byte 0xff at position 1"


class TestBadFiles:
    def test_a_missing_file(self, tmp_path):
        assert fault(tmp_path / "no.tsv") == f"{tmp_path / 'no.tsv'}: no such file"

    def test_a_folder_is_no_file(self, tmp_path):
        assert fault(tmp_path).endswith(": no such file")

    @pytest.mark.parametrize("name", ["r.tsv", "r.csv"])
    def test_an_empty_table(self, tmp_path, name):
        assert "the file is empty; expected a header row" in fault(write(tmp_path, name, ""))

    def test_an_empty_json_file_has_no_labels(self, tmp_path):
        assert "expected at least two different labels" in fault(write(tmp_path, "r.jsonl", ""), SINGLE)

    @pytest.mark.parametrize(("name", "comma"), [("r.tsv", "\t"), ("r.csv", ",")])
    def test_a_missing_column(self, tmp_path, name, comma):
        path = write(tmp_path, name, f"text{comma}label\na{comma}0\n")
        assert fault(path) == f"{path}, line 1: expected a column 'sentence', the header has 'text', 'label'"

    def test_the_wrong_separator_shows_in_the_message(self, tmp_path):
        assert "expected a column 'sentence', the header has 'sentence,label'" in fault(
            write(tmp_path, "r.tsv", "sentence,label\na,0\n")
        )

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
    def test_utf_16(self, tmp_path, encoding):
        mark = "\ufeff" if encoding == "utf-16-be" else ""
        path = write(tmp_path, "r.tsv", (mark + "sentence\tlabel\na\t0\n").encode(encoding))
        assert fault(path) == f"{path}: this is UTF-16; save it as UTF-8"

    def test_a_header_that_is_not_utf_8(self, tmp_path):
        path = write(tmp_path, "r.tsv", b"caf\xe9\tlabel\n")
        assert fault(path) == f"{path}, line 1: expected UTF-8, found byte 0xe9 at position 4"

    def test_a_file_of_bad_rows_only_leaves_nothing_to_train_on(self, tmp_path):
        bad = write(tmp_path, "t.tsv", HEADER + b"a\t7\n")
        good = write(tmp_path, "d.tsv", HEADER + b"a\t1\n")
        with pytest.raises(InputError, match="no rows left to train on"):
            load_task_data(SST2, train_file=str(bad), dev_file=str(good), skip_bad_rows=True)
        with pytest.raises(InputError, match="no rows left to evaluate on"):
            load_task_data(SST2, train_file=str(good), dev_file=str(bad), skip_bad_rows=True)


class TestFolders:
    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(InputError, match=r"no: no such folder"):
            find_split(tmp_path / "no", "train")

    def test_a_missing_split_says_what_is_there(self, tmp_path):
        write(tmp_path, "other.tsv", "")
        with pytest.raises(InputError, match=r"expected dev\.tsv, \.csv, \.jsonl or \.json, found other\.tsv"):
            find_split(tmp_path, "dev")

    @pytest.mark.parametrize("name", ["dev.tsv", "dev.json", "validation.jsonl", "dev_matched.tsv"])
    def test_names_of_the_dev_split(self, tmp_path, name):
        write(tmp_path, name, "")
        assert find_split(tmp_path, "dev").name == name

    def test_glue_qqp_with_its_index_columns(self, tmp_path):
        header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
        write(tmp_path, "train.tsv", f'{header}7\t1\t2\tWhat is "it"?\tWhat?\t1\n8\t3\t4\tWho?\tWhere?\t0\n')
        write(tmp_path, "dev.tsv", f"{header}9\t5\t6\ta\tb\t0\n")
        data = load_task_data(get_task("qqp"), data_dir=str(tmp_path))
        assert data.train.texts == (['What is "it"?', "Who?"], ["What?", "Where?"])
        assert data.train.labels.tolist() == [1, 0]

    def test_clue_json_lines(self, tmp_path):
        row = '{"id": 3, "sentence1": "花呗怎么还", "sentence2": "怎么还花呗", "label": "%s"}\n'
        write(tmp_path, "train.json", row % 1 + row % 0)
        write(tmp_path, "dev.json", row % 1)
        task = custom_task(["sentence1", "sentence2"], "label", "zh")
        data = load_task_data(task, data_dir=str(tmp_path))
        assert data.train.texts[0] == ["花呗怎么还"] * 2
        assert (data.train.labels.tolist(), data.dev.labels.tolist()) == ([1, 0], [1])

    @pytest.mark.parametrize("header", ["label\ttext_a", "label\ttext", "qid\tlabel\ttext_a"])
    def test_headers_of_published_chnsenticorp_copies(self, tmp_path, header):
        row = "1\t房间很好" if header.startswith("label") else "5\t1\t房间很好"
        for split in ("train", "dev"):
            write(tmp_path, f"{split}.tsv", f"{header}\n{row}\n")
        data = load_task_data(get_task("chnsenticorp"), data_dir=str(tmp_path))
        assert (data.train.texts, data.train.labels.tolist()) == ((["房间很好"],), [1])

    def test_paddlenlp_column_names_of_qqp(self, tmp_path):
        for split in ("train", "dev"):
            write(tmp_path, f"{split}.jsonl", '{"sentence1": "a", "sentence2": "b", "labels": 1}\n')
        assert load_task_data(get_task("qqp"), data_dir=str(tmp_path)).dev.texts == (["a"], ["b"])


def numbered(count: int, distinct: int | None = None) -> Rows:
    return Rows(([f"text {i % (distinct or count)}" for i in range(count)],), np.arange(count) % 2)


class TestHoldOut:
    def test_a_share_of_0_holds_nothing_out(self):
        rows = numbered(10)
        assert hold_out(rows, 0, 1) == (rows, None)

    @given(st.integers(5, 60), st.floats(0.2, 0.8), st.integers(0, 5))
    def test_the_sides_are_disjoint_and_complete(self, count, share, seed):
        kept, held = hold_out(numbered(count), share, seed)
        assert set(kept.texts[0]).isdisjoint(held.texts[0])
        assert len(kept) + len(held) == count
        assert len(held) == round(share * count)

    def test_rows_of_one_text_stay_on_one_side(self):
        texts = ["Good film", "good film ", "bad", "worse", "GOOD FILM", "fine"]
        for seed in range(20):
            kept, held = hold_out(Rows((texts,), np.zeros(6, np.int64)), 0.25, seed)
            sides = [{text.strip().lower() for text in side.texts[0]} for side in (kept, held)]
            assert sides[0].isdisjoint(sides[1])

    def test_the_same_texts_and_seed_give_the_same_side(self):
        first, second = (hold_out(numbered(100, 40), 0.1, 7)[1] for _ in range(2))
        assert first.texts == second.texts
        assert hold_out(numbered(100, 40), 0.1, 8)[1].texts != first.texts

    def test_labels_go_with_their_texts_in_the_order_of_the_file(self):
        kept, held = hold_out(numbered(50), 0.3, 1)
        for side in (kept, held):
            numbers = [int(text.split()[1]) for text in side.texts[0]]
            assert side.labels.tolist() == [number % 2 for number in numbers]
            assert numbers == sorted(numbers)

    def test_the_two_texts_of_a_pair_count_together(self):
        rows = Rows((["a", "a", "b"], ["x", "y", "x"]), np.zeros(3, np.int64))
        assert len(hold_out(rows, 0.34, 0)[1]) == 1

    @pytest.mark.parametrize(("rows", "share"), [(numbered(3), 0.01), (numbered(3), 0.99), (numbered(9, 1), 0.5)])
    def test_no_side_may_be_empty(self, rows, share):
        with pytest.raises(InputError, match=r"--holdout .*leaves no rows on one side"):
            hold_out(rows, share, 0)

    def test_checkpoints_are_chosen_on_the_rows_held_out(self, tmp_path):
        content = HEADER + b"".join(b"text %d\t%d\n" % (i, i % 2) for i in range(20))
        for split in ("train", "dev"):
            write(tmp_path, f"{split}.tsv", content)
        data = load_task_data(SST2, data_dir=str(tmp_path), holdout=0.2)
        assert (len(data.train), len(data.validation), len(data.dev)) == (16, 4, 20)


class TestMaxTrainRows:
    def load(self, folder: Path, **settings) -> TaskData:
        content = HEADER + b"".join(b"text %d\t%d\n" % (i, i % 2) for i in range(50))
        for split in ("train", "dev"):
            write(folder, f"{split}.tsv", content)
        return load_task_data(SST2, data_dir=str(folder), **settings)

    def test_some_rows_are_drawn_by_the_seed(self, tmp_path):
        data = self.load(tmp_path, max_train_rows=10)
        assert (len(data.train), len(data.dev)) == (10, 50)
        assert self.load(tmp_path, max_train_rows=10).train.texts == data.train.texts
        assert self.load(tmp_path, max_train_rows=10, seed=1).train.texts != data.train.texts

    @pytest.mark.parametrize("count", [0, 50, 99])
    def test_0_or_many_means_all(self, tmp_path, count):
        assert len(self.load(tmp_path, max_train_rows=count).train) == 50

    def test_rows_held_out_do_not_depend_on_it(self, tmp_path):
        held = self.load(tmp_path, holdout=0.2).validation
        few = self.load(tmp_path, holdout=0.2, max_train_rows=5)
        assert few.validation.texts == held.texts
        assert set(few.train.texts[0]).isdisjoint(held.texts[0])


def stub_paddlenlp(monkeypatch, load_dataset):
    module = types.ModuleType("paddlenlp.datasets")
    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "paddlenlp", types.ModuleType("paddlenlp"))
    monkeypatch.setitem(sys.modules, "paddlenlp.datasets", module)


class Downloaded(list):
    """Rows as PaddleNLP gives them: labels are positions in a list."""

    def __init__(self, rows, label_list):
        super().__init__(rows)
        self.label_list = label_list


class TestPublishedLayouts:
    """Rows as the official archives of GLUE and CLUE write them."""

    def test_ocnli_names_its_training_rows_by_their_number(self, tmp_path):
        rows = '{"sentence1": "a", "sentence2": "b", "label": "neutral"}\n'
        for name in ("train.50k.json", "train.10k.json", "dev.json"):
            write(tmp_path, name, rows * (2 if name == "train.50k.json" else 1))
        assert len(load_task_data(get_task("ocnli"), data_dir=str(tmp_path)).train) == 2

    def test_a_test_file_without_header_and_labels(self, tmp_path):
        path = write(tmp_path, "test.tsv", "花呗怎么还\t花呗如何还\n花呗怎么开\t花呗怎么关\n")
        found, _ = read_rows(path, get_task("bq_corpus"), labelled=False)
        assert found.texts == (["花呗怎么还", "花呗怎么开"], ["花呗如何还", "花呗怎么关"])
        with pytest.raises(InputError, match="expected a column 'sentence1'"):
            read_rows(path, get_task("bq_corpus"))

    @pytest.mark.parametrize(
        ("task", "name", "content", "texts", "labels"),
        [
            ("cola", "train.tsv", "gj04\t0\t*\tThey drank the pub.\nbc01\t1\t\tHe left.\n",
             [["They drank the pub.", "He left."]], [0, 1]),
            ("mrpc", "train.tsv", "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tA \"b\" c\tA b\n",
             [['A "b" c'], ["A b"]], [1]),
            ("sts-b", "dev.tsv",
             "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
             "0\tm\tM\t2012\t1\tn\tn\tA plane.\tAn air plane.\t4.75\n", [["A plane."], ["An air plane."]], [4.75]),
            ("mnli", "dev_matched.tsv", "index\tsentence1\tsentence2\tlabel1\tgold_label\n"
             "0\tA\tB\tneutral\tneutral\n1\tC\tD\tneutral\t-\n2\tE\tF\tentailment\tcontradiction\n",
             [["A", "E"], ["B", "F"]], [2, 0]),
            ("qnli", "train.tsv", "index\tquestion\tsentence\tlabel\n0\tWho?\tHe.\tnot_entailment\n",
             [["Who?"], ["He."]], [1]),
            ("rte", "train.tsv", "index\tsentence1\tsentence2\tlabel\n0\tA\tB\tentailment\n", [["A"], ["B"]], [0]),
            ("lcqmc", "train.tsv", "你好吗\t你好不好\t1\n天气\t下雨\t0\n",
             [["你好吗", "天气"], ["你好不好", "下雨"]], [1, 0]),
            ("bq_corpus", "dev.tsv", "sentence1\tsentence2\tlabel\n你好\t好吗\t0\n", [["你好"], ["好吗"]], [0]),
            ("ocnli", "train.json", '{"level": "easy", "sentence1": "甲", "sentence2": "乙", "label": "-"}\n'
             '{"sentence1": "丙", "sentence2": "丁", "label": "neutral"}\n', [["丙"], ["丁"]], [2]),
            ("tnews", "train.json", '{"label": "108", "label_desc": "news_edu", "sentence": "上课", "keywords": ""}\n'
             '{"label": "104", "label_desc": "news_finance", "sentence": "商赢", "keywords": ""}\n',
             [["上课", "商赢"]], [1, 0]),
        ],
    )  # fmt: skip
    def test_a_file(self, tmp_path, task, name, content, texts, labels):
        path = write(tmp_path, name, content.encode())
        rows, _ = read_rows(path, get_task(task))
        assert [list(column) for column in rows.texts] == texts
        assert rows.labels.tolist() == labels
        assert rows.skipped == 0

    def test_the_shared_copies_of_tnews_and_afqmc(self, tmp_path):
        tnews = write(tmp_path, "a.tsv", "text_a\tlabel\n上课\tnews_edu\n商赢\tnews_finance\n".encode())
        assert read_rows(tnews, get_task("tnews"))[1].labels == ("news_edu", "news_finance")

    @pytest.mark.parametrize("number", ["high", "nan", "inf", ""])
    def test_a_score_must_be_a_number(self, tmp_path, number):
        path = write(tmp_path, "a.tsv", f"sentence1\tsentence2\tscore\na\tb\t{number}\n".encode())
        with pytest.raises(InputError, match=r"line 2: expected a (number|label) in column 'score'"):
            read_rows(path, get_task("sts-b"))

    def test_mnli_mismatched_is_read_beside_matched(self, tmp_path):
        head = "sentence1\tsentence2\tgold_label\n"
        for name in ("train", "dev_matched", "dev_mismatched"):
            write(tmp_path, f"{name}.tsv", f"{head}{name}\tb\tneutral\nc\td\tentailment\n".encode())
        data = load_task_data(get_task("mnli"), str(tmp_path))
        assert data.dev.texts[0][0] == "dev_matched"
        assert data.further_dev["dev_mismatched"].texts[0][0] == "dev_mismatched"


class TestDownload:
    def test_labels_go_by_name_where_the_orders_differ(self, monkeypatch):
        rows = [{"sentence1": "a", "sentence2": "b", "label": 1}, {"sentence1": "c", "sentence2": "d", "label": 0}]
        stub_paddlenlp(monkeypatch, lambda *_, splits: Downloaded(rows, ["entailment", "contradiction", "neutral"]))
        found, task = download_rows(get_task("ocnli"), "train")
        assert [task.labels[i] for i in found.labels] == ["contradiction", "entailment"]

    def test_labels_that_the_copies_name_differently_are_those_of_the_download(self, monkeypatch):
        rows = [{"sentence": "a", "label": 1, "label_desc": "news_culture"}, {"sentence": "b", "label": 0}]
        stub_paddlenlp(monkeypatch, lambda *_, splits: Downloaded(rows, ["100", "101", "102"]))
        data = load_task_data(get_task("tnews"))
        assert data.task.labels == ("100", "101", "102")
        assert data.train.labels.tolist() == data.dev.labels.tolist() == [1, 0]

    def test_numbers_to_predict(self, monkeypatch):
        rows = [{"sentence1": "a", "sentence2": "b", "labels": "3.25"}]
        stub_paddlenlp(monkeypatch, lambda *_, splits: Downloaded(rows, None))
        found, _ = download_rows(get_task("sts-b"), "train")
        assert (found.labels.dtype, found.labels.tolist()) == (np.float32, [3.25])

    def test_mnli_has_two_dev_sets(self, monkeypatch):
        calls = []

        def load_dataset(*names, splits):
            calls.append(splits)
            row = {"sentence1": splits, "sentence2": "b", "labels": 2}
            return Downloaded([row], ["contradiction", "entailment", "neutral"])

        stub_paddlenlp(monkeypatch, load_dataset)
        data = load_task_data(get_task("mnli"))
        assert calls == ["train", "dev_matched", "dev_mismatched"]
        assert data.further_dev["dev_mismatched"].texts[0] == ["dev_mismatched"]

    def test_rows_come_from_paddlenlp(self, monkeypatch):
        calls = []

        def load_dataset(*names, splits):
            calls.append((*names, splits))
            return Downloaded([{"sentence": " good ", "labels": 1}, {"sentence": "bad", "labels": 0}], ["0", "1"])

        stub_paddlenlp(monkeypatch, load_dataset)
        data = load_task_data(SST2)
        assert calls == [("glue", "sst-2", "train"), ("glue", "sst-2", "dev")]
        assert (data.train.texts, data.train.labels.tolist()) == ((["good", "bad"],), [1, 0])

    def test_without_a_network_one_line_says_what_to_do(self, monkeypatch):
        def load_dataset(*names, splits):
            raise ConnectionError("HTTPSConnectionPool(host='x'):\n  Max retries exceeded " + "y" * 500)

        stub_paddlenlp(monkeypatch, load_dataset)
        with pytest.raises(InputError) as caught:
            download_rows(SST2, "train")
        text = str(caught.value)
        assert text.startswith("task sst-2: the download through PaddleNLP failed (HTTPSConnectionPool(host='x'): Max")
        assert text.endswith("fetched elsewhere, with --data_dir")
        assert "\n" not in text
        assert len(text) < 300

    def test_without_paddlenlp_the_same(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "paddlenlp.datasets", None)
        with pytest.raises(InputError, match="fetched elsewhere, with --data_dir"):
            download_rows(SST2, "train")

    def test_dropped_labels_are_dropped_from_downloads_too(self, monkeypatch):
        rows = [{"sentence1": "a", "sentence2": "b", "label": label} for label in ("-", "neutral")]
        stub_paddlenlp(monkeypatch, lambda *_, splits: rows)
        found, _ = download_rows(get_task("ocnli"), "train")
        assert (len(found), found.labels.tolist()) == (1, [2])

    def test_a_download_without_a_list_of_labels_gives_those_of_its_rows(self, monkeypatch):
        rows = [{"sentence": "a", "label": "115"}, {"sentence": "b", "label": "100"}]
        stub_paddlenlp(monkeypatch, lambda *_, splits: Downloaded(rows, None))
        found, task = download_rows(get_task("tnews"), "train")
        assert (task.labels, found.labels.tolist()) == (("100", "115"), [1, 0])

    def test_a_damaged_download_names_the_row(self, monkeypatch):
        stub_paddlenlp(monkeypatch, lambda *_, splits: [{"sentence": "a", "label": 1}, {"sentence": "", "label": 1}])
        with pytest.raises(InputError, match=r"sst-2 dev as downloaded, row 2: the text in column 'sentence' is empty"):
            download_rows(SST2, "dev")

    def test_own_data_has_no_download(self):
        with pytest.raises(InputError, match="has no download: give --data_dir"):
            download_rows(SINGLE, "train")


def test_one_line_describes_the_data(tmp_path):
    train = write(tmp_path, "t.tsv", HEADER + b"a\t1\nb\t1\nc\t0\nd\n")
    data = load_task_data(SST2, train_file=str(train), dev_file=str(train), skip_bad_rows=True)
    assert describe(data) == "sst-2: 3 train (0 1, 1 2), 3 dev; 2 bad rows skipped"


def test_what_was_skipped_is_told_with_rows_held_out(tmp_path):
    train = write(tmp_path, "t.tsv", HEADER + b"a\t1\nb\t1\nc\t0\ne\t0\nd\n")
    data = load_task_data(SST2, train_file=str(train), dev_file=str(train), skip_bad_rows=True, holdout=0.25)
    assert describe(data).endswith("1 held out, 4 dev; 2 bad rows skipped")


@pytest.mark.parametrize("label", ["a\\tb", "a\\nb", "a\\u2028b", "a\\ud800b", "a\\u0000b"])
def test_labels_that_tables_cannot_hold_are_refused(tmp_path, label):
    task = custom_task(("text",), "label")
    (tmp_path / "rows.jsonl").write_text(f'{{"text": "x", "label": "{label}"}}\n' + '{"text": "y", "label": "b"}\n')
    with pytest.raises(InputError, match=r"rows.jsonl, line 1: the label .* in column 'label' holds"):
        read_rows(tmp_path / "rows.jsonl", task)


def test_numbers_beyond_float32_are_no_labels(tmp_path):
    task = custom_task(("text",), "label", metric="pearson_and_spearman")
    (tmp_path / "rows.tsv").write_text("text\tlabel\nx\t1e300\n")
    with pytest.raises(InputError, match="line 2: expected a number in column 'label', found '1e300'"):
        read_rows(tmp_path / "rows.tsv", task)


def test_a_line_that_would_fill_the_memory_is_a_bad_row(tmp_path, monkeypatch):
    monkeypatch.setattr("data.sources.LONGEST_LINE", 1000)
    task = custom_task(("text",), "label")
    (tmp_path / "rows.tsv").write_text(f"text\tlabel\ngood\t1\n{'x' * 5000}\t0\nbad\t0\n")
    with pytest.raises(InputError, match="rows.tsv, line 3: longer than"):
        read_rows(tmp_path / "rows.tsv", task)
    rows, _ = read_rows(tmp_path / "rows.tsv", task, skip_bad_rows=True)
    assert (rows.texts, rows.skipped) == ((["good", "bad"],), 1)


def test_tasks_come_back_from_plain_values_and_know_their_kind():
    for task in TASKS.values():
        known = task.with_labels(("a", "b")) if task.labels is None else task
        assert Task.from_dict(json.loads(json.dumps(known.as_dict()))) == known
    # Model folders of earlier versions say nothing of the kind.
    old = {k: v for k, v in TASKS["sts-b"].as_dict().items() if k != "kind"}
    assert Task.from_dict(old).kind == "regression"
    assert Task("cmrc", ("context", "question"), kind="span").outputs == 2


@pytest.mark.parametrize(
    "change", [{"kind": "shape"}, {"metric": "x"}, {"labels": [3]}, {"text_columns": []}, {"name": None}, {"labels": 5}]
)
def test_damaged_tasks_are_refused(change):
    with pytest.raises((TypeError, ValueError)):
        Task.from_dict({**TASKS["sst-2"].as_dict(), **change})


def test_submissions_are_what_the_servers_take():
    assert TASKS["mnli"].submission.files == {"test": "MNLI-m.tsv", "test_mismatched": "MNLI-mm.tsv"}
    assert TASKS["sst-2"].submission.text(["1", "0"]) == "index\tprediction\n0\t1\n1\t0\n"
    assert TASKS["tnews"].submission.files == {"test": "tnews11_predict.json"}
    assert TASKS["tnews"].submission.text(["news_edu"]) == '{"id": 0, "label": "108"}\n'
    assert TASKS["ocnli"].submission.files == {"test": "ocnli_50k_predict.json"}
    assert TASKS["chnsenticorp"].submission is None
