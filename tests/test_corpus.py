"""Corpora of instances: nothing lost, the same from any number of workers, and safe to interrupt."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from args import parse
from console import InputError, run_script
from data import corpus as reading
from data.corpus import Reading, corpus_files, documents, layout, references, shares
from data.instances import Document, Masker, Windows, held_out, instances, tokenize
from data.masking import Masking
from data.ragged import Ragged
from data.segmentation import segmenter
from data.store import Store
from data.tokenization import SPECIAL_TOKENS, WordPieceTokenizer, read_vocab
from mlm_distill import corpus as room
from mlm_distill import create_pretraining_data, create_vocabulary
from mlm_distill import shards as workers
from mlm_distill.corpus import create
from mlm_distill.options import CorpusOptions

TOKENIZER = WordPieceTokenizer(tiny.VOCAB)
CLS, SEP, MASK = (TOKENIZER.token_id(token) for token in ("[CLS]", "[SEP]", "[MASK]"))


def text(count, seed=0, lines=3):
    """Documents of some lines."""
    rng = random.Random(seed)
    return [[tiny.sentence(rng, n % 2) for _ in range(rng.randint(1, lines))] for n in range(count)]


def write(path, made):
    path.write_text("\n\n".join("\n".join(lines) for lines in made) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def inputs(tmp_path):
    """Two plain files, JSON lines and a gzipped file of the same kind of text, and a vocabulary."""
    folder = tmp_path / "texts"
    (folder / "more").mkdir(parents=True)
    write(folder / "a.txt", text(30, 1))
    write(folder / "b.txt", text(20, 2))
    rows = [json.dumps({"text": "\n".join(lines), "source": "x"}) for lines in text(20, 3)]
    (folder / "c.jsonl").write_text("\n".join(rows) + "\n")
    with gzip.open(folder / "more" / "d.txt.gz", "wt") as file:
        file.write("\n\n".join("\n".join(lines) for lines in text(20, 4)))
    (folder / "notes.md").write_text("not read")
    (tmp_path / "vocab.txt").write_text("\n".join(tiny.VOCAB) + "\n")
    return tmp_path


def options(inputs, name="out", **changes):
    made = {
        "input_dir": (str(inputs / "texts"),), "vocab_file": str(inputs / "vocab.txt"),
        "output_dir": str(inputs / name),
        "language": "en", "max_seq_length": 16, "doc_stride": 8, "max_workers": 1, "dupe_factor": 2,
    }  # fmt: skip
    return CorpusOptions(**{**made, **changes})


@pytest.fixture
def small_shards(monkeypatch):
    """Shards of a kilobyte of text."""
    monkeypatch.setattr(room, "shares", lambda files, size, *more: shares(files, size >> 13, *more))


def columns(folder):
    """All shards, by the name of the shard and the column."""
    found = {}
    for path in sorted(folder.glob("shard-*")):
        store = Store(path)
        for name in store.columns:
            column = store[name]
            found[path.name, name] = column if isinstance(column, np.ndarray) else (column.values, column.offsets)
    return found


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, column in first.items():
        parts = [(one,) if isinstance(one, np.ndarray) else one for one in (column, second[name])]
        for a, b in zip(*parts, strict=True):
            np.testing.assert_array_equal(a, b)


# Reading


LINES = st.text("abc é", min_size=1).map(str.strip).filter(bool)


@given(st.lists(st.lists(LINES, min_size=1, max_size=4), max_size=12), st.integers(1, 60))
def test_shares_hold_every_document_once_whatever_their_size(tmp_path_factory, made, size):
    path = write(tmp_path_factory.mktemp("text") / "a.txt", made)
    found = list(shares([path], size))
    assert [document for share in found for document in documents(share)] == made
    assert all(share.size > 0 for share in found)
    with gzip.open(zipped := path.with_suffix(".txt.gz"), "wb") as file:
        file.write(path.read_bytes())
    assert [document for share in shares([zipped], size) for document in documents(share)] == made


@given(st.lists(LINES, min_size=1, max_size=60), st.integers(1, 40))
def test_text_without_blank_lines_is_cut_all_the_same(tmp_path_factory, lines, size):
    path = tmp_path_factory.mktemp("text") / "a.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "LONGEST_DOCUMENT", 50)
        found = list(shares([path], size))
    parts = [document for share in found for document in documents(share)]
    assert [line for document in parts for line in document] == lines
    # As long as it may be, and what was read of its last line.
    longest = max(len(line.encode()) + 1 for line in lines)
    assert all(share.size < max(50, size * 3 // 2) + longest for share in found)
    assert layout(found) == ("parts of documents" if path.stat().st_size >= max(50, size * 3 // 2) else "")


def test_small_files_are_read_together(inputs):
    folder = inputs / "many"
    folder.mkdir()
    made = text(60, 7, lines=2)
    for number, document in enumerate(made):
        write(folder / f"{number:02d}.txt", [document])
        (folder / f"{number:02d}.txt.ref").write_text(f"[{number}]\n" * len(document))
    files = corpus_files([str(folder)])
    told = [folder / f"{path.name}.ref" for path in files]
    size = 20 * max(path.stat().st_size for path in files)
    found = list(shares(files, size, told))
    assert 1 < len(found) < 20 and all(share.size <= size for share in found)
    assert [document for share in found for document in documents(share)] == made
    known = [positions for share in found for _, positions in references(share)]
    assert known == [[number] for number, document in enumerate(made) for _ in document]
    assert next(references(found[1]))[0].endswith(f"{found[1].parts[0].path.name}.ref, line 1")
    assert layout(found) == "several files"
    # Larger ones stay alone, and keep the order.
    write(large := folder / "30a.txt", text(200, 8))
    files = corpus_files([str(folder)])
    found = list(shares(files, size))
    assert [part.path for share in found for part in share.parts if part.start == 0] == files
    assert all(len(share.parts) == 1 for share in found if large in {part.path for part in share.parts})


def test_small_files_give_other_documents_as_random_next_parts(inputs):
    folder = inputs / "many"
    folder.mkdir()
    for number, document in enumerate(text(40, 7)):
        write(folder / f"{number:02d}.txt", [document])
    record = create(options(inputs, input_dir=(str(folder),), ramdom_next=True, max_seq_length=32, doc_stride=32))
    assert record["shards"] == 1 and record["made_from"]["shares"] == "several files"
    (_, kinds), *_ = (item for item in columns(inputs / "out").items() if item[0][1] == "next")
    assert set(kinds.tolist()) == {0, 1}


def test_what_was_cut_as_ever_is_the_same_corpus_as_ever(inputs):
    folder = inputs / "one"
    folder.mkdir()
    write(folder / "a.txt", text(30, 1))
    assert "shares" not in create(options(inputs, input_dir=(str(folder),)))["made_from"]


def test_records_without_text_are_passed_over(inputs):
    path = inputs / "r.jsonl"
    path.write_text('{"text": ""}\n{"text": "a film"}\n\n{"text": " \\n "}\n{"text": "the end"}\n')
    assert [document for share in shares([path], 5) for document in documents(share)] == [["a film"], ["the end"]]


def test_nothing_is_kept_of_a_command_whose_references_do_not_fit(inputs):
    (inputs / "short.ref").write_text("[]\n")
    with pytest.raises(InputError, match="1 lines, .*t.txt has more"):
        create(chinese(inputs, reference_file=(str(inputs / "short.ref"),)))
    create(chinese(inputs))


def test_a_killed_worker_is_one_line(inputs, small_shards, monkeypatch):
    class Dying:
        def __init__(self, *given):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *given):
            pass

        def submit(self, *given):
            raise workers.BrokenProcessPool("a child was killed")

    monkeypatch.setattr(workers, "ProcessPoolExecutor", Dying)
    with pytest.raises(InputError, match="a worker process was killed, .* smaller --max_workers or --shard_megabytes"):
        create(options(inputs, max_workers=2))


def test_files_of_all_kinds_are_found_by_name(inputs):
    names = [path.name for path in corpus_files([str(inputs / "texts"), str(inputs / "texts" / "a.txt")])]
    assert names == ["a.txt", "b.txt", "c.jsonl", "d.txt.gz"]
    whole = [document for share in shares(corpus_files([str(inputs / "texts")]), 500) for document in documents(share)]
    assert whole == [*text(30, 1), *text(20, 2), *text(20, 3), *text(20, 4)]


def test_files_without_an_ending_are_read_where_no_other_tells_that_it_is_text(tmp_path):
    (tmp_path / "AA").mkdir()
    (tmp_path / "AA" / ".hidden").write_text("no")
    (tmp_path / "AA" / "wiki_00").write_text("\ufeff" + json.dumps({"text": "a film\nthe end", "id": 1}) + "\n")
    (tmp_path / "AA" / "wiki_01").write_text("\nthe end\n\na film\n")
    found = corpus_files([str(tmp_path)])
    assert [path.name for path in found] == ["wiki_00", "wiki_01"]
    read = [document for share in shares(found, 500) for document in documents(share)]
    assert read == [["a film", "the end"], ["the end"], ["a film"]]
    (tmp_path / "LICENSE").write_text("no")
    write(tmp_path / "a.txt", [["good"]])
    assert [path.name for path in corpus_files([str(tmp_path)])] == ["a.txt"]
    assert [path.name for path in corpus_files([str(tmp_path / "AA" / "wiki_01")])] == ["wiki_01"]
    # Nobody writes into it: whoever opened it would wait.
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: no file that ends in .*, and none without an ending"):
        corpus_files([str(tmp_path / "pipe")])


@given(st.lists(st.lists(LINES, min_size=1, max_size=4), max_size=12), st.integers(1, 60))
def test_line_by_line_every_line_is_a_document(tmp_path_factory, made, size):
    path = write(tmp_path_factory.mktemp("text") / "a.txt", made)
    found = list(shares([path], size, (), Reading(by_line=True)))
    assert [document for share in found for document in documents(share)] == [
        [line] for lines in made for line in lines
    ]
    assert not any(part.ends_inside for share in found for part in share.parts)


def test_the_field_with_the_text_has_a_name(inputs, capsys):
    path = inputs / "news.json"
    path.write_text('\n{"title": "news", "content": "a film"}\n{"title": "none", "content": ""}\n')
    (share,) = shares([path], 500, (), Reading("content"))
    assert list(documents(share)) == [["a film"]]
    words = ["--input_dir", str(path), "--vocab_file", str(inputs / "vocab.txt"), "--output_dir", str(inputs / "out")]
    words += ["--language", "en", "--max_seq_length", "16", "--doc_stride", "8", "--max_workers", "1"]
    words += ["--held_out", "0"]
    assert run_script(create_pretraining_data.main, words) == 2
    told = capsys.readouterr().err
    assert "line 2: expected an object with a field 'text' that holds text" in told
    assert told.endswith("--text_field may name another: title, content\n")
    assert not (inputs / "out").exists()
    assert run_script(create_pretraining_data.main, [*words, "--text_field", "content"]) == 0


def test_how_text_is_read_tells_corpora_apart_and_leaves_earlier_ones_as_they_are(inputs):
    def record():
        return json.loads((inputs / "out" / "corpus.json").read_text())

    create(options(inputs))
    assert not {"text_field", "line_by_line"} & record()["made_from"]["options"].keys()
    rows = record()["rows"]
    with pytest.raises(InputError, match="overwrite"):
        create(options(inputs, line_by_line=True))
    create(options(inputs, line_by_line=True, overwrite=True))
    assert record()["made_from"]["options"]["line_by_line"] is True
    assert record()["rows"] > rows


# Windows


def plain(tokens, lines=(0,), first=100):
    ids = np.arange(first, first + tokens, dtype=np.int32)
    return Document(ids, np.ones(tokens, bool), np.asarray(lines))


@given(st.integers(1, 100), st.integers(4, 20), st.integers(1, 30), st.floats(0, 1), st.integers(0, 100))
def test_windows_hold_every_token_of_a_document(tokens, length, stride, short, seed):
    how = Windows(length, min(stride, length - 2), short)
    made = list(instances([plain(tokens)], how, TOKENIZER, seed))
    seen = set()
    for one in made:
        assert one.ids[0] == CLS and one.ids[-1] == SEP
        assert len(one.ids) <= length
        assert len(one.ids) == len(one.types) == len(one.starts)
        inside = one.ids[1:-1].tolist()
        assert inside == list(range(inside[0], inside[0] + len(inside)))
        seen |= set(inside)
    # The last token alone makes no window of its own.
    assert seen >= set(range(100, 100 + tokens - 1))


def test_windows_by_hand():
    # 20 tokens, 8 a window, 5 from one to the next: 0-8, 5-13, 10-18, 15-20.
    made = list(instances([plain(20)], Windows(10, 5, 0.0), TOKENIZER, 0))
    assert [(one.ids[1] - 100, len(one.ids) - 2) for one in made] == [(0, 8), (5, 8), (10, 8), (15, 5)]


def test_second_parts_follow_or_come_from_another_document():
    known = [plain(40, (0, 9, 17, 30), 1000 * number) for number in range(1, 30)]
    made = list(instances(known, Windows(24, 12, 0.1, random_next=True), TOKENIZER, 5))
    labels = [one.next for one in made]
    assert 0.35 < np.mean(labels) < 0.75
    for one in made:
        first, second = (one.ids[one.types == part] for part in (0, 1))
        assert first[0] == CLS and first[-1] == SEP and second[-1] == SEP
        assert len(one.ids) <= 24
        same = first[1] // 1000 == second[0] // 1000
        assert same == (one.next == 0)
        if one.next == 0:
            assert second[0] == first[-2] + 1


def test_chinese_words_are_jiebas_and_their_tokens_characters():
    (document,) = tokenize([["这部电影很好", "酒店服务干净"]], TOKENIZER, segmenter("jieba"))
    vocab = TOKENIZER.vocab
    words = []
    for token, start in zip(document.ids.tolist(), document.starts.tolist(), strict=True):
        words = [*words, vocab[token]] if start else [*words[:-1], words[-1] + vocab[token]]
    assert "电影" in words and "酒店" in words and "服务" in words
    assert document.lines.tolist() == [0, 6]


def test_english_words_are_those_of_their_pieces():
    (document,) = tokenize([["goodly film"]], TOKENIZER)
    assert document.starts.tolist()[0] and document.starts.tolist()[-1]
    assert (~document.starts).sum() == len(document.ids) - 2


def test_masks_keep_what_stood_there_and_spare_special_tokens():
    masker = Masker(Masking(0.5, 20), TOKENIZER)
    ids = np.asarray([CLS, *TOKENIZER.encode(["the film is good and the cast was lovely"])[0].tolist(), SEP])
    rows = Ragged.from_rows([ids, ids[:4]])
    found = masker(rows, Ragged(np.ones(len(ids) + 4, np.int8), rows.offsets), np.random.default_rng(0))
    # A row's positions count from its own beginning.
    assert all(0 < place < 4 for place in found[1][1])
    assert found[2][1].tolist() == ids[found[1][1]].tolist()
    made, places, stood = (part[0] for part in found)
    np.testing.assert_array_equal(ids[places], stood)
    assert 0 not in places and len(ids) - 1 not in places
    assert (made[places] == MASK).sum() > 1
    np.testing.assert_array_equal(np.delete(made, places), np.delete(ids, places))


# The script


def test_every_text_is_there_as_often_as_asked(inputs, small_shards):
    record = create(
        options(inputs, dupe_factor=3, doc_stride=14, short_seq_prob=0.0, dynamic_masking=True, held_out=0.0)
    )
    made = columns(inputs / "out")
    values = np.concatenate([ids for (_, name), (ids, _) in made.items() if name == "input_ids"])
    special = np.isin(values, [CLS, SEP])
    whole = [
        line for seed, count in ((1, 30), (2, 20), (3, 20), (4, 20)) for lines in text(count, seed) for line in lines
    ]
    expected = np.bincount(TOKENIZER.encode(whole).values, minlength=len(tiny.VOCAB)) * 3
    found = np.bincount(values[~special], minlength=len(tiny.VOCAB))
    # The last token alone makes no window.
    assert (found <= expected).all()
    assert found.sum() > 0.9 * expected.sum()
    assert record["tokens"] == len(values)
    assert record["shards"] > 4


def test_the_same_comes_from_any_number_of_workers_and_ranks(inputs, small_shards, monkeypatch):
    create(options(inputs, "one", ramdom_next=True))
    create(options(inputs, "two", ramdom_next=True, max_workers=2))
    assert_same(columns(inputs / "one"), columns(inputs / "two"))
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("PADDLE_TRAINER_ID", rank)
        record = create(options(inputs, "ranks", ramdom_next=True))
    assert_same(columns(inputs / "one"), columns(inputs / "ranks"))
    assert record == json.loads((inputs / "one" / "corpus.json").read_text())


def test_seeds_and_passes_differ(inputs):
    create(options(inputs, "one"))
    create(options(inputs, "other", random_seed=1))
    first, other = columns(inputs / "one"), columns(inputs / "other")
    name = ("shard-00000", "masked_positions")
    assert first[name][0].tolist() != other[name][0].tolist()


def test_an_interrupted_run_goes_on_at_the_next_shard(inputs, small_shards, monkeypatch):
    create(options(inputs, "whole"))
    made = []
    make = workers.make_shard

    def failing(plan, number, share, target):
        if number == 3:
            raise KeyboardInterrupt
        made.append(number)
        make(plan, number, share, target)

    monkeypatch.setattr(workers, "make_shard", failing)
    with pytest.raises(KeyboardInterrupt):
        create(options(inputs))
    assert made == [0, 1, 2]
    monkeypatch.setattr(workers, "make_shard", lambda *a: made.append(a[1]) or make(*a))
    # A shard that was damaged meanwhile is made again.
    next((inputs / "out" / "shard-00001").glob("input_ids*")).write_bytes(b"x")
    create(options(inputs))
    assert made[3:5] == [1, 3]
    assert_same(columns(inputs / "whole"), columns(inputs / "out"))
    count = len(made)
    create(options(inputs))
    assert len(made) == count


def test_other_options_or_text_need_another_folder(inputs):
    create(options(inputs))
    with pytest.raises(InputError, match="made from something else or with other options; pass --overwrite"):
        create(options(inputs, dupe_factor=3))
    with open(inputs / "texts" / "a.txt", "a") as file:
        file.write("\nmore\n")
    with pytest.raises(InputError, match="made from something else"):
        create(options(inputs))
    before = json.loads((inputs / "out" / "corpus.json").read_text())["rows"]
    assert create(options(inputs, overwrite=True, dupe_factor=3))["rows"] > before


def test_masks_hide_whole_words_of_the_share_that_is_asked(inputs):
    create(options(inputs, max_seq_length=64, doc_stride=32, masked_lm_prob=0.3))
    store = Store(inputs / "out" / "shard-00000")
    hidden = store["masked_positions"].lengths
    tokens = store["input_ids"].lengths - 2
    assert (hidden <= np.maximum(1, np.round(tokens * 0.3))).all()
    assert hidden.sum() > 0.2 * tokens.sum()
    for row in range(len(store)):
        for place, stood in zip(store["masked_positions"][row], store["masked_ids"][row], strict=True):
            if tiny.VOCAB[stood].startswith("##"):
                # What begins the word is hidden with it.
                assert place - 1 in store["masked_positions"][row]


def test_documents_are_held_out_whole(inputs, small_shards):
    create(options(inputs, "all", held_out=0.0, short_seq_prob=0.0))
    record = create(options(inputs, held_out=0.3, short_seq_prob=0.0, dynamic_masking=True))
    kept = [Store(path) for path in sorted((inputs / "out").glob("held-out-*"))]
    assert len(kept) == record["shards"]
    assert sum(map(len, kept)) == record["held_out_rows"] > 0
    # Its masks are stored whatever becomes of the others, so that every evaluation sees the same.
    assert all("masked_positions" in store.columns for store in kept)
    whole = [Store(path) for path in sorted((inputs / "all").glob("held-out-*"))]
    assert sum(map(len, whole)) == 0
    learnt = sum(len(Store(path)) for path in (inputs / "out").glob("shard-*"))
    assert learnt == record["rows"] < Store(inputs / "all" / "shard-00000").rows * record["shards"] * 2


def test_hand_made_documents_are_held_out():
    def document(*lines):
        ids = np.concatenate(lines).astype(np.int32)
        return Document(ids, np.ones(len(ids), bool), np.cumsum([0, *map(len, lines[:-1])]))

    many = [document([n] * 4) for n in range(10)]
    learn, kept = held_out(many, 0.25, np.random.default_rng(0))
    assert len(kept) == 3
    assert sorted(int(d.ids[0]) for d in [*learn, *kept]) == list(range(10))
    # One at least, and one at least stays.
    assert [len(part) for part in held_out(many[:2], 0.01, np.random.default_rng(0))] == [1, 1]
    # Of a single document the last lines.
    (learn,), (kept,) = held_out([document([1, 1], [2, 2, 2], [3])], 0.34, np.random.default_rng(0))
    assert learn.ids.tolist() == [1, 1]
    assert kept.ids.tolist() == [2, 2, 2, 3]
    assert kept.lines.tolist() == [0, 3]
    assert held_out([document([1, 2])], 0.5, np.random.default_rng(0))[1] == []
    assert held_out(many, 0.0, np.random.default_rng(0)) == (many, [])


CHINESE = "这部电影很好\n\n酒店服务干净\n书 good film 看错\n\n\n电脑屏幕差"


def chinese(inputs, name="out", **changes):
    (inputs / "zh").mkdir(exist_ok=True)
    (inputs / "zh" / "t.txt").write_text(CHINESE, encoding="utf-8")
    made = {"input_dir": (str(inputs / "zh"),), "language": "zh", "held_out": 0.0, "short_seq_prob": 0.0}
    return options(inputs, name, **{**made, **changes})


def test_a_reference_tells_the_words_that_a_segmenter_would(inputs):
    create(chinese(inputs, "jieba", dynamic_masking=True, write_reference=str(inputs / "ref")))
    lines = (inputs / "ref" / "t.txt.ref").read_text().splitlines()
    assert len(lines) == len(CHINESE.splitlines())
    # 这部 / 电影 / 很 / 好: positions of what goes on, [CLS] before them.
    assert lines[0] in ("[2, 4]", "[4]", "[2, 4, 6]")
    assert lines[1] == "[]"
    for name, told in (("folder", inputs / "ref"), ("file", inputs / "ref" / "t.txt.ref")):
        create(chinese(inputs, name, dynamic_masking=True, reference_file=(str(told),)))
        assert_same(columns(inputs / "jieba"), columns(inputs / name))
    # Written by hand: all of the first line is one word.
    lines[0] = "[2, 3, 4, 5, 6]"
    (inputs / "hand.ref").write_text("\n".join(lines))
    create(chinese(inputs, "hand", dynamic_masking=True, reference_file=(str(inputs / "hand.ref"),)))
    starts = Store(inputs / "hand" / "shard-00000")["word_starts"][0]
    assert starts[:8].tolist() == [1, 1, 0, 0, 0, 0, 0, 1]


def test_lines_that_are_blank_by_an_ideographic_space_have_a_reference_too(inputs):
    (inputs / "zh").mkdir()
    (inputs / "zh" / "t.txt").write_text("房间很好。\n　\n电影很好\n　\n", encoding="utf-8")
    made = {"input_dir": (str(inputs / "zh"),), "vocab_file": str(inputs / "vocab.txt"), "language": "zh"}
    made |= {"max_workers": 1, "dynamic_masking": True, "held_out": 0.0}
    create(CorpusOptions(**made, output_dir=str(inputs / "a"), write_reference=str(inputs / "ref")))
    create(CorpusOptions(**made, output_dir=str(inputs / "b"), reference_file=(str(inputs / "ref"),)))
    assert_same(columns(inputs / "a"), columns(inputs / "b"))


def test_a_rank_that_overwrites_first_does_not_keep_old_shards(inputs, small_shards, monkeypatch):
    create(options(inputs, "fresh", dupe_factor=4))
    create(options(inputs, dupe_factor=2))
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("PADDLE_TRAINER_ID", rank)
        create(options(inputs, dupe_factor=4, overwrite=True))
    assert_same(columns(inputs / "fresh"), columns(inputs / "out"))


def test_text_that_changed_at_the_same_size_is_another_text(inputs):
    create(options(inputs))
    path = inputs / "texts" / "a.txt"
    path.write_text(path.read_text().replace("good", "doog"))
    with pytest.raises(InputError, match="made from something else"):
        create(options(inputs))


def test_shards_of_a_longer_text_go(inputs, monkeypatch):
    monkeypatch.setattr(room, "shares", lambda files, size, *more: shares(files, size >> 13, *more))
    before = create(options(inputs))["shards"]
    monkeypatch.setattr(room, "shares", shares)
    after = create(options(inputs, dupe_factor=3, overwrite=True))["shards"]
    assert after < before
    assert len(list((inputs / "out").glob("shard-*"))) == len(list((inputs / "out").glob("held-out-*"))) == after


@pytest.mark.parametrize("position", [12, 40, 200])
def test_a_damaged_gzip_is_one_line(inputs, position):
    path = inputs / "texts" / "more" / "d.txt.gz"
    content = bytearray(path.read_bytes())
    for offset in range(8):
        content[position + offset] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="d.txt.gz: damaged or cut off|d.txt.gz, line"):
        create(options(inputs))


@pytest.mark.parametrize("name", ["dynamic_masking", "max_seq_length", "tokenizer", "rows", "shards"])
@pytest.mark.parametrize("value", [None, "x", [], -1, 1.5])
def test_a_record_of_other_types_is_damaged(inputs, name, value):
    create(options(inputs))
    path = inputs / "out" / "corpus.json"
    record = json.loads(path.read_text())
    for place in (record, record["made_from"], record["made_from"]["options"]):
        if name in place and not (name == "tokenizer" and value == "x"):
            place[name] = value
            path.write_text(json.dumps(record))
            with pytest.raises(InputError, match="corpus.json: damaged .*; remove the folder, or choose another"):
                create(options(inputs))


def test_references_of_shards_are_found_where_their_lines_are(inputs, monkeypatch):
    monkeypatch.setattr(room, "shares", lambda files, size, *more: shares(files, 20, *more))
    create(chinese(inputs, "jieba", dynamic_masking=True, write_reference=str(inputs / "ref")))
    record = create(chinese(inputs, "told", dynamic_masking=True, reference_file=(str(inputs / "ref"),)))
    assert record["shards"] > 1
    assert_same(columns(inputs / "jieba"), columns(inputs / "told"))


REFERENCES = [
    ("[]\n" * 5, "5 lines, .*t.txt has more"),
    ("[]\n" * 8, "more than the 7 lines of"),
    ("[99]\n" + "[]\n" * 6, "ref, line 1: position 99 of a line of 6 tokens"),
    ("[]\n[2]\n" + "[]\n" * 5, "line 2: names words of a blank line"),
    ("[]\nx\n" + "[]\n" * 5, r"line 2: expected a list of positions such as \[2, 3, 7\]"),
    ("{}\n" + "[]\n" * 6, "line 1: expected a list of positions"),
    (None, "ref: no such file"),
]


@pytest.mark.parametrize(("content", "message"), REFERENCES)
def test_a_reference_of_another_text_is_refused(inputs, capsys, content, message):
    if content is not None:
        (inputs / "ref").write_text(content)
    given = chinese(inputs, reference_file=(str(inputs / "ref"),))
    with pytest.raises(InputError, match=message):
        create(given)
    assert not list((inputs / "out").glob("shard-*"))


def test_references_go_with_lines_of_chinese(inputs):
    for changes, message in (
        ({"language": "en"}, "--reference_file goes with --language zh"),
        ({"input_dir": (str(inputs / "texts" / "c.jsonl"),)}, "c.jsonl holds records"),
        ({"input_dir": (str(inputs / "texts"),)}, "1 file.s. for 4 of text"),
        ({"segmenter": "ltp"}, "--segmenter goes with text whose words no --reference_file tells"),
    ):
        (inputs / "ref").write_text("[]\n" * 7)
        with pytest.raises(InputError, match=message):
            create(chinese(inputs, reference_file=(str(inputs / "ref"),), **changes))


def test_ltp_is_used_where_it_is_installed(inputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "ltp", None)
    with pytest.raises(InputError, match="--segmenter ltp: cannot be loaded .*; pip install ltp, or use jieba"):
        create(chinese(inputs, segmenter="ltp"))
    assert not (inputs / "out").exists()

    class LTP:
        """Every two characters are a word."""

        def __init__(self, model):
            assert model == "LTP/small"

        def pipeline(self, lines, tasks):
            assert tasks == ["cws"]
            assert all(line.strip() for line in lines)
            return SimpleNamespace(cws=[[line[n : n + 2] for n in range(0, len(line), 2)] for line in lines])

    monkeypatch.setitem(sys.modules, "ltp", SimpleNamespace(LTP=LTP))
    create(chinese(inputs, segmenter="ltp", dynamic_masking=True))
    assert Store(inputs / "out" / "shard-00000")["word_starts"][0][:8].tolist() == [1, 1, 0, 1, 0, 1, 0, 1]


def test_a_dry_run_writes_nothing_and_comes_near(inputs, small_shards, capsys):
    found = create(options(inputs, dry_run=True))
    assert not (inputs / "out").exists()
    assert "estimated" in capsys.readouterr().out
    real = create(options(inputs))
    assert found["rows"] == pytest.approx(real["rows"], rel=0.3)
    assert found["tokens"] == pytest.approx(real["tokens"], rel=0.3)
    assert found["shards"] == real["shards"]


CASES = [
    ({"input_dir": "nope"}, "--input_dir nope: no such file or folder"),
    ({"input_dir": "<empty>"}, "no file that ends in .txt"),
    ({"input_dir": "<latin>"}, r"l\.txt, line 2: expected UTF-8, found byte 0xe9"),
    ({"input_dir": "<json>"}, r"j\.jsonl, line 1: expected an object with a field 'text' that .* another: body$"),
    ({"input_dir": "<blank>"}, "no text in"),
    ({"input_dir": "<gzip>"}, r"g\.txt\.gz: damaged or cut off"),
    ({"vocab_file": "nope"}, "--vocab_file nope: no such file"),
    ({"vocab_file": None}, "give --vocab_file or --model_name, one of them"),
    ({"output_dir": "<gzip>"}, "is not empty; choose another"),
    ({"output_dir": "<texts>"}, "--output_dir .*texts: lies within --input_dir .*, and would be read as text"),
    ({"output_dir": "<texts/more/corpus>"}, "lies within --input_dir .*texts, and would be read as text"),
    ({"max_seq_length": "3"}, "--max_seq_length 3: must be at least 4"),
    ({"masked_lm_prob": "2"}, "--masked_lm_prob 2.0: must lie between 0 and 1"),
    ({"dynamic_masking": "", "masked_lm_prob": "0.3"}, "--masked_lm_prob goes with masks that are stored"),
    ({"max_workers": "0"}, "--max_workers 0: must lie between 1 and 256"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), CASES, ids=[message[:40] for _, message in CASES])
def test_bad_input_is_one_line(inputs, capsys, changes, message):
    for name, file, content in (
        ("latin", "l.txt", b"good\ncaf\xe9\n"), ("json", "j.jsonl", b'{"body": "x"}\n'), ("blank", "b.txt", b"\n \n"),
        ("gzip", "g.txt.gz", gzip.compress(b"good film\n" * 99)[:-9]), ("empty", "notes.md", b"x"),
    ):  # fmt: skip
        (inputs / name).mkdir()
        (inputs / name / file).write_bytes(content)
    made = {"input_dir": inputs / "texts", "vocab_file": inputs / "vocab.txt", "output_dir": inputs / "out"}
    made |= {"language": "en", "max_workers": "1"}
    for name, value in changes.items():
        made[name] = inputs / value[1:-1] if isinstance(value, str) and value.startswith("<") else value
    words = [part for name, value in made.items() if value is not None for part in (f"--{name}", *str(value).split())]
    assert run_script(create_pretraining_data.main, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not list((inputs / "out").glob("shard-*"))


def test_the_published_command_line_is_read():
    published = (
        "--input_dir d --output_dir o --vocab_file v --do_whole_word_mask=True --ramdom_next=True --max_seq_length=512 "
        "--max_predictions_per_seq=20 --random_seed=12345 --dupe_factor=5 --masked_lm_prob=0.15 --doc_stride=256 "
        "--max_workers=2 --short_seq_prob=0.1"
    )
    found = parse(CorpusOptions, published.split(), "")
    assert found.windows() == Windows(512, 256, 0.1, random_next=True)
    assert found.masking() == Masking(0.15, 20, True)
    assert parse(CorpusOptions, [*published.split(), "--random_next", "False"], "").ramdom_next is False


def test_leftovers_of_a_killed_run_go(inputs):
    create(options(inputs))
    reference = {path.name for path in (inputs / "out").iterdir()}
    shutil.rmtree(inputs / "out" / "shard-00000")
    create(options(inputs))
    assert {path.name for path in (inputs / "out").iterdir()} == reference


# Vocabularies


def vocabulary_words(inputs, **changes):
    made = {"input_dir": inputs / "words", "output_file": inputs / "made.txt", **changes}
    return [part for name, value in made.items() for part in (f"--{name}", *str(value).split())]


@pytest.fixture
def words(inputs):
    (inputs / "words").mkdir()
    (inputs / "words" / "a.txt").write_text("好好 the The a1\n\n好 the 坏 qr\n", encoding="utf-8")
    return inputs / "words"


def test_a_vocabulary_of_raw_text_has_what_occurs_often(inputs, words):
    # 好 3, the 3 (so t, h, e 3), a1 1, 坏 1, qr 1.
    assert run_script(create_vocabulary.main, vocabulary_words(inputs, min_count=3)) == 0
    made = (inputs / "made.txt").read_text(encoding="utf-8").splitlines()
    assert made[: len(SPECIAL_TOKENS)] == list(SPECIAL_TOKENS)
    assert made[len(SPECIAL_TOKENS) :] == ["e", "h", "t", "好", "##e", "##h", "##t", "the"]
    tokenizer = WordPieceTokenizer(read_vocab(inputs / "made.txt"))
    assert [tokenizer.vocab[number] for number in tokenizer.encode(["The het 好坏"]).values] == [
        "the", "h", "##e", "##t", "好", "[UNK]"
    ]  # fmt: skip


def test_words_of_a_vocabulary_are_the_commonest(inputs, words):
    assert run_script(create_vocabulary.main, vocabulary_words(inputs, min_count=1, max_words=1)) == 0
    made = (inputs / "made.txt").read_text(encoding="utf-8").splitlines()
    assert "the" in made
    assert not {"a1", "qr"} & set(made)
    assert {"坏", "q", "##r", "##1"} <= set(made)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_dir": "nope"}, "--input_dir nope: no such file or folder"),
        ({"min_count": "9"}, r"--input_dir: nothing occurs 9 times in 1 file\(s\)"),
        ({"min_count": "0"}, "--min_count 0: must be above 0"),
        ({"max_words": "-1"}, "--max_words -1: must not be below 0"),
        ({"output_file": "<vocab.txt>"}, r"vocab\.txt exists; pass --overwrite or choose another name"),
    ],
)
def test_bad_input_to_a_vocabulary_is_one_line(inputs, words, capsys, changes, message):
    before = (inputs / "vocab.txt").read_bytes()
    changes = {name: inputs / value[1:-1] if value.startswith("<") else value for name, value in changes.items()}
    assert run_script(create_vocabulary.main, vocabulary_words(inputs, **changes)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not (inputs / "made.txt").exists()
    assert (inputs / "vocab.txt").read_bytes() == before


def test_a_vocabulary_is_replaced_when_asked(inputs, words):
    (inputs / "made.txt").write_text("old")
    assert run_script(create_vocabulary.main, [*vocabulary_words(inputs, min_count=3), "--overwrite"]) == 0
    assert (inputs / "made.txt").read_text(encoding="utf-8").endswith("##t\nthe\n")


def test_references_of_another_run_stay(inputs):
    written = inputs / "ref"
    given = chinese(inputs, "jieba", dynamic_masking=True, write_reference=str(written))
    create(given)
    (there,) = [path for path in written.iterdir() if path.stat().st_size]
    known = there.read_text()
    there.write_text("[1]\n")
    for again in (given, given.replace(output_dir=str(inputs / "other"))):
        with pytest.raises(
            InputError, match=r"--write_reference .*\.ref: holds others; choose another folder, or --over"
        ):
            create(again)
        assert there.read_text() == "[1]\n"
    assert {path.name for path in written.iterdir()} == {there.name}
    create(given.replace(overwrite=True))
    assert there.read_text() == known
    # The run that wrote them goes on with them.
    create(given)


def test_a_vocabulary_reads_records_and_other_scripts(inputs):
    (inputs / "words").mkdir()
    rows = [json.dumps({"text": "привет мир 好", "source": "x"})] * 4
    (inputs / "words" / "a.jsonl").write_text("\n".join(rows) + "\n")
    assert run_script(create_vocabulary.main, vocabulary_words(inputs)) == 0
    vocab = read_vocab(inputs / "made.txt")
    assert {"好", "привет", "мир", "##р"} <= set(vocab)
    assert not {"{", "x", "source"} & set(vocab)
    tokenizer = WordPieceTokenizer(vocab)
    assert tokenizer.token_id("[UNK]") not in tokenizer.encode(["рим 好"]).values


@pytest.mark.parametrize("name", ["a.txt", "vocab.txt"])
def test_a_vocabulary_does_not_stand_where_text_is_read(inputs, words, capsys, name):
    before = {path.name: path.read_bytes() for path in words.iterdir()}
    given = [*vocabulary_words(inputs, min_count=1, output_file=words / name), "--overwrite"]
    assert run_script(create_vocabulary.main, given) == 2
    assert f"{name}: would be read as text; put it beside --input_dir" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in words.iterdir()} == before
