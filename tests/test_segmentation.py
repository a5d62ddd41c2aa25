"""Chinese words, cut in one process or in several."""

from __future__ import annotations

import subprocess
import time

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from data import segmentation
from data.demo_corpus import chinese_sentiment
from data.segmentation import jieba_words, many_words, segment
from data.tokenization import JiebaTokenizer

TEXTS = [
    "房间很干净",
    "服务 [MASK] 好",
    "",
    "书的内容 很精彩\u2028,看得 很失望",
    "  ",
    "English and 中文",
    '"引号"\t制表',
] * 700


def test_words_leave_white_space_out_and_keep_the_mask():
    assert jieba_words("服务 [MASK] 很好") == ["服务", "[MASK]", "很", "好"]


def test_several_processes_cut_as_one_does(monkeypatch):
    started = []
    start = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(1) or start(*a, **k))
    expected = [jieba_words(text) for text in TEXTS]
    assert list(segment(TEXTS, processes=2)) == expected
    assert len(started) == 2
    assert list(segment(TEXTS)) == expected
    assert len(started) == 2, "few texts are not worth a process"


def test_large_sets_are_shared_out(monkeypatch):
    monkeypatch.setattr(segmentation, "PARALLEL_FROM", 1000)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2})
    assert list(segment(TEXTS)) == [jieba_words(text) for text in TEXTS]
    tokenizer = JiebaTokenizer.from_texts(TEXTS, 100)
    assert [row.tolist() for row in tokenizer.encode(TEXTS[:7])] == [
        [i for word in jieba_words(text) for i in tokenizer.word_ids(word)] for text in TEXTS[:7]
    ]


def test_a_package_of_the_same_name_where_it_is_started_does_no_harm(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").write_text("raise RuntimeError('not mine')")
    monkeypatch.chdir(tmp_path)
    assert list(segment(TEXTS, processes=2)) == [jieba_words(text) for text in TEXTS]


def test_no_more_processes_than_blocks():
    assert list(segment(["房间很干净"], processes=4)) == [jieba_words("房间很干净")]
    assert list(segment([], processes=4)) == []


def test_a_process_that_dies_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(segmentation.sys, "executable", "false")
    with pytest.raises((RuntimeError, BrokenPipeError)):
        list(segment(TEXTS, processes=2))


def test_nothing_is_left_running_when_the_caller_stops_early():
    words = segment(TEXTS, processes=2)
    assert next(words) == jieba_words(TEXTS[0])
    words.close()
    done = tiny.run(["-c", "import data.segmentation as s; print(next(s.segment(['很好'] * 9000, processes=2)))"])
    assert (done.returncode, done.stdout.strip()) == (0, "['很', '好']")


def test_a_long_run_of_one_character_does_not_take_the_square_of_its_length():
    jieba_words("好")
    began = time.process_time()
    words = jieba_words("哈" * 40_000)
    assert "".join(words) == "哈" * 40_000
    # All at once it takes ten times as long; the bound is far from both.
    assert time.process_time() - began < 5


def test_marks_part_long_texts_where_jieba_does():
    text = "房间很干净，服务也不错。" * 400
    assert jieba_words(text) == jieba_words("房间很干净，服务也不错。") * 400


def test_the_cache_of_jieba_is_in_our_folder(tmp_path):
    code = "from data.segmentation import jieba_words; jieba_words('房间很干净')"
    assert tiny.run(["-c", code], XDG_CACHE_HOME=str(tmp_path), TMPDIR=str(tmp_path / "tmp")).returncode == 0
    assert [path.name for path in (tmp_path / "paddledistill" / "jieba").iterdir()] == ["jieba.cache"]
    assert not (tmp_path / "tmp").exists()


def test_many_lines_are_cut_as_single_ones_are():
    lines = [row.texts[0] for row in chinese_sentiment(300, seed=3)]
    lines += [
        "",
        " ",
        "[MASK] 房间",
        "www.51xyb.cn客服邮箱a_b@qq.com",
        "支持iOS7以上，3.5%的--价格",
        "１２３ｱ한국어 ñandú",
        "一" * 4500,
    ]
    lines += ["abc", "。。。", "😀好", "好\u3000的\u00a0吧", "C++和C#"]
    assert many_words(lines) == [jieba_words(line) for line in lines]
    assert many_words([]) == []


@given(st.lists(st.text(alphabet="房间很好的酒店 a1.-%。，[MASK]\n", max_size=12), max_size=6))
def test_no_character_is_lost_and_words_do_not_cross_white_space(lines):
    found = many_words(lines)
    assert ["".join(words) for words in found] == ["".join(line.split()) for line in lines]
