"""Masked-LM distillation end to end, tiny: students, trainings by three kinds of teacher, resuming, refusals."""

from __future__ import annotations

import json
import math
import random
import re
import shutil
import time

import numpy as np
import paddle
import pytest
import tiny
from test_corpus import write
from test_replacement import masked_lm

import models
from args import parse
from console import InputError, run_script
from core.distributed import World
from core.layer_loss import LayerLoss, Projections
from core.losses import hidden_states_loss, soft_cross_entropy_loss
from data.batches import Batches
from data.columns import Columns, JoinedColumns
from data.cooccurrence import neighbour_vectors, neighbours
from data.instances import Masker
from data.masking import Masking
from data.ragged import Ragged
from data.streams import generator
from data.tokenization import SPECIAL_TOKENS, WordPieceTokenizer
from mlm_distill import from_text, init_student, run_distill, stages, two_stage
from mlm_distill.corpus import create as create_corpus
from mlm_distill.folder import PLACES
from mlm_distill.from_text import Counted
from mlm_distill.options import (
    CorpusOptions,
    InitStudentOptions,
    RunDistillOptions,
    TeacherOutputOptions,
    TwoStageOptions,
)
from mlm_distill.student import init_student as make_student
from mlm_distill.student import other_embeddings
from mlm_distill.teacher_outputs import create as create_outputs
from mlm_distill.text import Hides, corpus_of_files, masked_places
from mlm_distill.train import LiveTeacher, MaskedStep, distill, judge
from mlm_distill.train import _inputs as train_inputs
from models.weights import layer_weights, read_safetensors

SHAPE = {"hidden_size": 24, "num_attention_heads": 4, "num_hidden_layers": 4, "intermediate_size": 32}
RUN = "mlm_distill.run_distill"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A corpus with masks, one without, a teacher and its stored answers, students."""
    root = tmp_path_factory.mktemp("inputs")
    rng = random.Random(0)
    write(root / "texts.txt", [[tiny.sentence(rng, n % 2) for n in range(3)] for _ in range(40)])
    tiny.write_model(root / "teacher", masked_lm(**SHAPE))
    made = {
        "input_dir": (str(root / "texts.txt"),), "model_name": str(root / "teacher"), "cache_dir": str(root / "cache"),
        "language": "en", "max_seq_length": 24, "doc_stride": 12, "max_workers": 1, "held_out": 0.1,
    }  # fmt: skip
    create_corpus(CorpusOptions(**made, output_dir=str(root / "corpus"), dupe_factor=2))
    create_corpus(CorpusOptions(**made, output_dir=str(root / "dynamic"), dynamic_masking=True))
    asked = {"teacher_dir": str(root / "teacher"), "truncation_factor": 6, "cache_dir": str(root / "cache")}
    create_outputs(TeacherOutputOptions(input_file=str(root / "corpus"), output_dir=str(root / "answers"), **asked))
    make_student(InitStudentOptions(teacher_dir=str(root / "teacher"), layers="0,3", output_dir=str(root / "student")))
    make_student(
        InitStudentOptions(
            teacher_dir=str(root / "teacher"), layers="0,3", hidden_size=16, num_attention_heads=2,
            intermediate_size=24, output_dir=str(root / "narrow"),
        )
    )  # fmt: skip
    return root


def write_stored(root):
    """A corpus with a teacher's stored answers, ``answers``, and a student for it, ``small``."""
    rng = random.Random(0)
    write(root / "few.txt", [[tiny.sentence(rng, n % 2) for n in range(3)] for _ in range(12)])
    tiny.write_model(root / "masked_teacher", masked_lm())
    made = {"model_name": str(root / "masked_teacher"), "language": "en", "max_seq_length": 24, "max_workers": 1}
    create_corpus(
        CorpusOptions(input_dir=(str(root / "few.txt"),), output_dir=str(root / "few"), dupe_factor=1, **made)
    )
    asked = {"teacher_dir": str(root / "masked_teacher"), "truncation_factor": 6, "cache_dir": str(root / "cache")}
    create_outputs(TeacherOutputOptions(input_file=str(root / "few"), output_dir=str(root / "answers"), **asked))
    made = {"teacher_dir": str(root / "masked_teacher"), "layers": "1"}
    make_student(InitStudentOptions(**made, output_dir=str(root / "small")))


def options(inputs, folder, **changes):
    made = {
        "input_file": str(inputs / "answers"), "student_model": str(inputs / "student"), "truncation_factor": 6,
        "output_dir": str(folder), "batch_size": 16, "num_train_epochs": 4, "learning_rate": 3e-3, "device": "cpu",
        "cache_dir": str(inputs / "cache"), "logging_steps": 1,
    }  # fmt: skip
    made |= changes
    return RunDistillOptions(**{name: value for name, value in made.items() if value is not None})


LIVE = {"input_file": "<dynamic>", "truncation_factor": None, "teacher": "<teacher>"}


def live(inputs, folder, **changes):
    made = {**LIVE, **changes}
    return options(
        inputs, folder, **{k: str(inputs / v[1:-1]) if str(v).startswith("<") else v for k, v in made.items()}
    )


# Students


def test_a_student_takes_the_named_layers_and_the_head(inputs):
    teacher, student = (layer_weights(models.load(inputs / name).model) for name in ("teacher", "student"))
    for mine, theirs in ((0, 0), (1, 3)):
        for name in ("linear1.weight", "self_attn.q_proj.bias", "norm2.weight"):
            ours = student[f"bert.encoder.layers.{mine}.{name}"]
            np.testing.assert_array_equal(ours, teacher[f"bert.encoder.layers.{theirs}.{name}"])
    for name in ("bert.embeddings.word_embeddings.weight", "cls.predictions.transform.weight"):
        np.testing.assert_array_equal(student[name], teacher[name])


def test_a_student_of_all_layers_says_what_its_teacher_says(inputs, tmp_path):
    made = make_student(
        InitStudentOptions(teacher_dir=str(inputs / "teacher"), layers="0,1,2,3", output_dir=str(tmp_path / "same"))
    )
    teacher = models.load(inputs / "teacher")
    batch = {"input_ids": np.asarray([[2, 9, 4, 11, 3]]), "token_type_ids": np.zeros((1, 5), np.int64)}
    ours, theirs = (found.model.from_batch(batch).numpy() for found in (made, teacher))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_a_narrow_student_has_the_shape_of_its_preset_and_loads_again(tmp_path):
    tiny.write_model(tmp_path / "teacher", masked_lm(hidden_size=288, num_attention_heads=8, num_hidden_layers=6))
    words = [
        "--teacher_dir",
        str(tmp_path / "teacher"),
        "--preset",
        "minirbt-h256",
        "--output_dir",
        str(tmp_path / "s"),
    ]
    # The teacher has 32 neurons, the preset 1,024: those that nobody gave say nothing at first.
    assert run_script(init_student.main, words) == 0
    shape = models.load(tmp_path / "s").model.config
    assert (shape.num_hidden_layers, shape.hidden_size, shape.intermediate_size, shape.num_attention_heads) == (
        6, 256, 1024, 8,
    )  # fmt: skip
    assert run_script(init_student.main, words) == 2
    assert run_script(init_student.main, [*words, "--overwrite"]) == 0


def test_a_teachers_layers_may_begin_to_read_another_vocabulary(inputs, tmp_path, capsys):
    pieces = [*SPECIAL_TOKENS, "新", "good", "词"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    words = ["--teacher_dir", str(inputs / "teacher"), "--layers", "0,1", "--vocab_file", str(tmp_path / "vocab.txt")]
    assert run_script(init_student.main, [*words, "--output_dir", str(tmp_path / "s")]) == 0
    assert "6 of the 8 pieces of its vocabulary" in capsys.readouterr().out
    made, teacher = models.load(tmp_path / "s"), models.load(inputs / "teacher")
    assert made.tokenizer.vocab == pieces and made.model.config.vocab_size == 8
    mine, theirs = layer_weights(made.model), layer_weights(teacher.model)
    embeddings = "bert.embeddings.word_embeddings.weight"
    for number in (0, 1, 2, 3, 4, 6):
        place = teacher.tokenizer.vocab.index(pieces[number])
        np.testing.assert_array_equal(mine[embeddings][number], theirs[embeddings][place])
    for name in mine:
        if "encoder.layers" in name or "position_embeddings" in name:
            np.testing.assert_array_equal(mine[name], theirs[name])
    for more, fault in (
        (["--head", "teacher"], "--head teacher: its words are those of the teacher's vocabulary"),
        (["--init", "random"], "--init random: reads nothing of a teacher"),
    ):
        assert run_script(init_student.main, [*words, *more, "--output_dir", str(tmp_path / "t")]) == 2
        assert fault in capsys.readouterr().err


def test_embeddings_of_new_pieces_are_spread_as_the_known_ones_are():
    # By hand: both columns have the mean 2; the first has the variance 1, the second follows it at four times that.
    known = np.asarray([[1, 0], [3, 4]], np.float32)
    wanted = [*(f"new{n}" for n in range(4000)), "b"]
    found, shared = other_embeddings(known, ["a", "b"], wanted, np.random.default_rng(0))
    assert shared == [4000]
    np.testing.assert_array_equal(found[4000], known[1])
    np.testing.assert_allclose(found[:4000].mean(0), [2, 2], atol=0.1)
    np.testing.assert_allclose(np.cov(found[:4000].T), [[1, 2], [2, 4]], atol=0.2)


@pytest.mark.parametrize("masks", ["stored", "on demand"])
def test_a_corpus_says_how_a_student_for_its_vocabulary_begins(tmp_path, capsys, masks):
    # Pieces of no teacher, in a text of three words; the teacher knows "good" and "film" of them.
    pieces = [*SPECIAL_TOKENS, *(f"新{n}" for n in range(30)), "good", "film", "rare", "dear", "never"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    write(tmp_path / "texts.txt", [["good film"] * 7 + ["rare film", "dear film"]] * 4)
    tiny.write_model(tmp_path / "teacher", masked_lm(**SHAPE))
    words = {
        "input_dir": (str(tmp_path / "texts.txt"),), "vocab_file": str(tmp_path / "vocab.txt"), "language": "en",
        "dupe_factor": 1, "held_out": 0.0, "short_seq_prob": 0.0, "max_workers": 1, "output_dir": str(tmp_path / "c"),
        "dynamic_masking": masks == "on demand", "max_seq_length": 24, "doc_stride": 22,
    }  # fmt: skip
    create_corpus(CorpusOptions(**words))
    text = Counted(tmp_path / "c", WordPieceTokenizer(pieces))
    count = dict(zip(pieces, text.tokens, strict=True))
    # By hand: four documents of nine lines, two of them rare ones. What is hidden counts as what it was.
    assert {name: count[name] for name in ("good", "film", "rare", "dear", "never", "[CLS]")} == {
        "good": 28, "film": 36, "rare": 4, "dear": 4, "never": 0, "[CLS]": 0,
    }  # fmt: skip
    given = ["--teacher_dir", str(tmp_path / "teacher"), "--layers", "0,1", "--vocab_file", words["vocab_file"]]
    given += ["--input_file", str(tmp_path / "c")]
    assert run_script(init_student.main, [*given, "--output_dir", str(tmp_path / "s")]) == 0
    assert "(2 more begin from what stands beside them), answers as often as pieces occur" in capsys.readouterr().out
    made, teacher = models.load(tmp_path / "s"), models.load(tmp_path / "teacher")
    bias = layer_weights(made.model)["cls.predictions.decoder.bias"]
    place = pieces.index
    # ln(37 / 29), ln(29 / 5), ln(5 / 1).
    for more, fewer, ratio in (("film", "good", 37 / 29), ("good", "rare", 29 / 5), ("rare", "never", 5)):
        assert bias[place(more)] - bias[place(fewer)] == pytest.approx(math.log(ratio), abs=1e-5)
    mine, theirs = (layer_weights(found.model)["bert.embeddings.word_embeddings.weight"] for found in (made, teacher))
    for known in ("good", "film"):
        np.testing.assert_array_equal(mine[place(known)], theirs[teacher.tokenizer.vocab.index(known)])
    # Pieces that do not occur are drawn as without a corpus.
    assert run_script(init_student.main, [*given[:-2], "--output_dir", str(tmp_path / "t")]) == 0
    drawn = layer_weights(models.load(tmp_path / "t").model)["bert.embeddings.word_embeddings.weight"]
    np.testing.assert_array_equal(mine[place("never")], drawn[place("never")])
    for new in ("rare", "dear"):
        assert not np.allclose(mine[place(new)], drawn[place(new)])
    for more, fault in (
        (["--head", "teacher"], "leave out --vocab_file$"),
        (["--layers", "0,9"], "--layers 0,9: the teacher's are 0 to 3"),
        (["--vocab_file", str(tmp_path / "teacher" / "vocab.txt")], "was made with another vocabulary"),
        (["--input_file", str(tmp_path / "none")], "--input_file .*none: no such folder"),
    ):
        assert run_script(init_student.main, [*given, *more, "--output_dir", str(tmp_path / "u")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert re.search(fault, line), line
        assert not (tmp_path / "u").exists()


def test_embeddings_that_follow_from_neighbours_are_found_again(inputs, tmp_path):
    """The alignment: hidden rows of what neighbours say, turned, stretched and moved, come back."""
    tokenizer = WordPieceTokenizer(tiny.VOCAB)
    text = Counted(inputs / "dynamic", tokenizer)
    # Text in which any piece may stand beside any other; its vectors as the product computes them.
    rng, size = np.random.default_rng(0), len(tiny.VOCAB)
    rows = Ragged.from_rows(rng.integers(5, size, (1000, 30)).tolist())
    text._blocks = lambda: iter([rows])
    vectors = neighbour_vectors(neighbours([rows], size), 8, generator(1, "initialisation", "neighbours"))
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    true = (3 * vectors @ turn + 2).astype(np.float32)
    new = np.arange(5, size, 5)
    known = np.setdiff1d(np.arange(5, size), new)
    given = true.copy()
    # As other_embeddings leaves them: spread alike, in no order.
    given[new] = true[rng.choice(known, len(new))]
    found, count = text.embeddings(given, known.tolist(), 1)
    assert count == len(new)
    np.testing.assert_array_equal(found[known], given[known])

    def alike(rows):
        middle = true[5:].mean(0)
        return np.mean([np.corrcoef(a - middle, b - middle)[0, 1] for a, b in zip(rows, true[new], strict=True)])

    # Not exactly: how rows are spread is estimated from those that are there.
    assert alike(found[new]) > 0.9 > 0.3 > alike(given[new])


def test_a_corpus_that_says_nothing_of_neighbours_leaves_embeddings_as_they_are(tmp_path):
    pieces = [*SPECIAL_TOKENS, "good", "film", *(f"新{n}" for n in range(30))]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    write(tmp_path / "texts.txt", [["good"]] * 40)
    tiny.write_model(tmp_path / "teacher", masked_lm(**SHAPE))
    words = {"input_dir": (str(tmp_path / "texts.txt"),), "vocab_file": str(tmp_path / "vocab.txt"), "language": "en"}
    create_corpus(
        CorpusOptions(**words, dynamic_masking=True, held_out=0.0, max_workers=1, output_dir=str(tmp_path / "c"))
    )
    given = ["--teacher_dir", str(tmp_path / "teacher"), "--layers", "0", "--vocab_file", words["vocab_file"]]
    more = ["--input_file", str(tmp_path / "c"), "--seed", str(2**40)]
    for folder, extra in (("s", more), ("t", ["--seed", str(2**40)])):
        assert run_script(init_student.main, [*given, *extra, "--output_dir", str(tmp_path / folder)]) == 0
    name = "bert.embeddings.word_embeddings.weight"
    mine, drawn = (layer_weights(models.load(tmp_path / folder).model)[name] for folder in ("s", "t"))
    np.testing.assert_array_equal(mine, drawn)


def test_of_a_long_corpus_a_part_is_counted(inputs, monkeypatch):
    whole = Counted(inputs / "dynamic", WordPieceTokenizer(tiny.VOCAB)).tokens
    monkeypatch.setattr(from_text, "MOST_TOKENS", int(whole.sum()) // 3)
    monkeypatch.setattr(from_text, "BLOCK", 5)
    part = Counted(inputs / "dynamic", WordPieceTokenizer(tiny.VOCAB)).tokens
    assert 0.1 < part.sum() / whole.sum() < 0.5 and (part <= whole).all()


def test_a_damaged_corpus_is_one_line(inputs, tmp_path, capsys):
    shutil.copytree(inputs / "dynamic", tmp_path / "c")
    (ids,) = (tmp_path / "c").glob("shard-00000/input_ids.bin")
    content = bytearray(ids.read_bytes())
    content[:4] = (1_000_000).to_bytes(4, "little")
    ids.write_bytes(content)
    words = ["--teacher_dir", str(inputs / "teacher"), "--layers", "0", "--head", "random"]
    words += ["--input_file", str(tmp_path / "c"), "--output_dir", str(tmp_path / "s")]
    assert run_script(init_student.main, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --input_file: ") and "make it again" in line
    assert not (tmp_path / "s").exists()


def test_a_padded_vocabulary_has_a_bias_for_its_padding(inputs, tmp_path):
    tiny.write_model(tmp_path / "teacher", masked_lm(**SHAPE, vocab_size=len(tiny.VOCAB) + 7))
    words = ["--teacher_dir", str(tmp_path / "teacher"), "--input_file", str(inputs / "dynamic")]
    for more in (["--layers", "0", "--head", "random"], ["--init", "random", "--num_hidden_layers", "1"]):
        folder = str(tmp_path / more[0].strip("-"))
        assert run_script(init_student.main, [*words, *more, "--output_dir", folder]) == 0
        bias = layer_weights(models.load(folder).model)["cls.predictions.decoder.bias"]
        assert len(bias) == len(tiny.VOCAB) + 7
        # What pads never occurs, as [CLS] never does.
        np.testing.assert_array_equal(bias[-7:], bias[2])


def test_a_random_head_begins_with_frequencies_too(inputs, tmp_path, capsys):
    words = ["--teacher_dir", str(inputs / "teacher"), "--layers", "0", "--input_file", str(inputs / "dynamic")]
    assert run_script(init_student.main, [*words, "--output_dir", str(tmp_path / "s")]) == 2
    assert "--input_file: the teacher's head has learnt how often pieces occur" in capsys.readouterr().err
    assert run_script(init_student.main, [*words, "--head", "random", "--output_dir", str(tmp_path / "s")]) == 0
    bias = layer_weights(models.load(tmp_path / "s").model)["cls.predictions.decoder.bias"]
    counted = Counted(inputs / "dynamic", WordPieceTokenizer(tiny.VOCAB)).tokens
    np.testing.assert_allclose(bias, np.log(counted + 1) - np.log(counted + 1).mean(), atol=1e-5)
    teacher = models.load(inputs / "teacher")
    name = "bert.embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(
        layer_weights(models.load(tmp_path / "s").model)[name], layer_weights(teacher.model)[name]
    )
    words = ["--vocab_file", str(inputs / "teacher" / "vocab.txt"), "--preset", "rbt4-h312", "--num_hidden_layers", "1"]
    words += ["--input_file", str(inputs / "dynamic"), "--output_dir", str(tmp_path / "t")]
    assert run_script(init_student.main, words) == 0
    np.testing.assert_array_equal(
        layer_weights(models.load(tmp_path / "t").model)["cls.predictions.decoder.bias"], bias
    )


def test_a_way_to_be_narrower_goes_with_narrower_students(inputs, tmp_path, capsys):
    words = ["--teacher_dir", str(inputs / "teacher"), "--layers", "0", "--hidden_init", "principal"]
    assert run_script(init_student.main, [*words, "--output_dir", str(tmp_path / "s")]) == 2
    assert "--hidden_init principal: goes with a student that is narrower than its teacher" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_a_student_of_random_weights_needs_a_vocabulary_alone(inputs, tmp_path):
    words = ["--vocab_file", str(inputs / "teacher" / "vocab.txt"), "--preset", "rbt4-h312", "--num_hidden_layers", "1"]
    assert run_script(init_student.main, [*words, "--output_dir", str(tmp_path / "s"), "--seed", "3"]) == 0
    first = models.load(tmp_path / "s")
    assert first.model.config.vocab_size == len(tiny.VOCAB)
    assert first.architecture == "BertForMaskedLM"
    assert run_script(init_student.main, [*words, "--output_dir", str(tmp_path / "t"), "--seed", "4"]) == 0
    name = "bert.encoder.layers.0.linear1.weight"
    assert not np.array_equal(layer_weights(first.model)[name], layer_weights(models.load(tmp_path / "t").model)[name])


def test_the_head_can_be_random_while_the_layers_are_not(inputs, tmp_path):
    base = {"teacher_dir": str(inputs / "teacher"), "layers": "0,3"}
    made = make_student(InitStudentOptions(**base, head="random", output_dir=str(tmp_path / "s")))
    known, teacher = layer_weights(made.model), layer_weights(models.load(inputs / "teacher").model)
    assert not np.array_equal(known["cls.predictions.transform.weight"], teacher["cls.predictions.transform.weight"])
    name = "bert.encoder.layers.1.linear1.weight"
    np.testing.assert_array_equal(known[name], teacher["bert.encoder.layers.3.linear1.weight"])


STUDENTS = [
    ({}, "give --teacher_dir or --vocab_file, or both"),
    ({"teacher_dir": "<teacher>", "layers": "0,9"}, "--layers 0,9: the teacher's are 0 to 3"),
    ({"teacher_dir": "<teacher>", "layers": "3,0"}, "--layers 3,0: expected numbers that rise"),
    ({"teacher_dir": "<teacher>", "layers": "0,x"}, "expected uniform, last, every_other, or numbers of layers"),
    ({"teacher_dir": "<teacher>", "layers": "0,1", "num_hidden_layers": "3"}, "--num_hidden_layers says another"),
    ({"teacher_dir": "<teacher>", "layers": "0,1", "preset": "rbt3"}, "--layers 0,1: 2 of them, rbt3 has 3"),
    ({"teacher_dir": "<teacher>", "preset": "rbt3"}, "hidden_size 768: more than the teacher has; use --init random"),
    ({"teacher_dir": "<teacher>", "preset": "rbt9"}, "--preset rbt9: expected one of rbt3, rbt4, rbt6, rbt4-h312"),
    ({"teacher_dir": "<teacher>", "num_attention_heads": "5"}, "--num_attention_heads 5: must divide --hidden_size 24"),
    ({"vocab_file": "nope", "preset": "rbt3"}, "--vocab_file nope: no such file"),
    ({"vocab_file": "nope"}, "--num_hidden_layers, --hidden_size, .*: required without --preset and --teacher_dir"),
    ({"vocab_file": "nope", "preset": "rbt3", "layers": "0,1"}, "--layers goes with --init teacher"),
    ({"teacher_dir": "<texts.txt>"}, "no such model folder"),
    ({"teacher_dir": "<no head>"}, "has no masked-LM head; pass --head random"),
    ({"teacher_dir": "<teacher>", "init": "random", "head": "teacher"}, "--head teacher: goes with --init teacher"),
    ({"teacher_dir": "<student/vocab.txt>"}, "no such model folder"),
]  # fmt: skip


def test_a_random_student_needs_no_head_of_its_teacher(inputs, tmp_path):
    tiny.write_pretrained(tmp_path / "bare")
    made = make_student(
        InitStudentOptions(teacher_dir=str(tmp_path / "bare"), init="random", output_dir=str(tmp_path / "s"))
    )
    assert (
        layer_weights(made.model).keys()
        == layer_weights(models.load(inputs / "teacher").model.__class__(made.model.config)).keys()
    )


def test_weights_are_named_by_their_file_too(inputs, tmp_path):
    named = str(inputs / "teacher" / "model.safetensors")
    made = make_student(InitStudentOptions(teacher_dir=named, layers="0,3", output_dir=str(tmp_path / "s")))
    ours, theirs = (layer_weights(found.model) for found in (made, models.load(inputs / "student")))
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])


@pytest.mark.parametrize(("given", "message"), STUDENTS)
def test_an_impossible_student_is_one_line(inputs, tmp_path, capsys, given, message):
    made = {**given, "output_dir": str(tmp_path / "s")}
    if not (inputs / "no head").exists():
        tiny.write_pretrained(inputs / "no head")
    words = [w for k, v in made.items() for w in (f"--{k}", str(inputs / v[1:-1]) if v.startswith("<") else v)]
    assert run_script(init_student.main, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not (tmp_path / "s").exists()


def test_hugging_face_folders_of_published_students_load(inputs, tmp_path):
    """As hfl/rbt3 and hfl/minirbt-* are published: Hugging Face's names, with a tied decoder and a second head."""
    from models.bert_names import to_hugging_face
    from models.weights import write_safetensors

    loaded = models.load(inputs / "teacher")
    folder = tmp_path / "rbt3"
    folder.mkdir()
    theirs = to_hugging_face(layer_weights(loaded.model), "BertForMaskedLM")
    theirs["cls.predictions.decoder.weight"] = theirs["bert.embeddings.word_embeddings.weight"]
    theirs["cls.seq_relationship.weight"] = np.zeros((2, 24), np.float32)
    theirs["bert.embeddings.position_ids"] = np.arange(64)[None]
    write_safetensors(folder / "model.safetensors", theirs)
    config = {**loaded.model.config_dict(), "architectures": ["BertForMaskedLM"], "directionality": "bidi"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(tiny.VOCAB) + "\n")
    made = make_student(InitStudentOptions(teacher_dir=str(folder), layers="0,1,2,3", output_dir=str(tmp_path / "s")))
    for name, value in layer_weights(loaded.model).items():
        if "pooler" not in name:
            np.testing.assert_allclose(layer_weights(made.model)[name], value, atol=1e-6, err_msg=name)


# Trainings


@pytest.mark.parametrize("kind", ["stored", "live answers", "layers", "narrow layers", "text", "head"])
def test_a_student_learns(inputs, tmp_path, kind):
    made = {
        "stored": lambda: options(inputs, tmp_path / "run"),
        "live answers": lambda: live(inputs, tmp_path / "run", loss="ce+cosine", truncation_factor=6),
        "layers": lambda: live(inputs, tmp_path / "run"),
        "narrow layers": lambda: live(inputs, tmp_path / "run", student_model="<narrow>", attention_weight=0.0),
        "text": lambda: live(inputs, tmp_path / "run", teacher="none"),
        "head": lambda: live(inputs, tmp_path / "run", teacher="none", trained="head"),
    }[kind]()
    before = layer_weights(models.load(made.student_model).model)
    record = distill(made)
    after = read_safetensors(tmp_path / "run" / "model.safetensors")
    moved = {name for name, value in before.items() if not np.array_equal(value, after[name])}
    assert "cls.predictions.transform.weight" in moved
    assert ("bert.encoder.layers.0.linear1.weight" in moved) == (kind != "head")
    assert not any("pooler" in name for name in moved)
    assert set(after) == set(before)
    log = [row for row in tiny.log_rows(tmp_path / "run") if row["part"] == "train"]
    assert log[-1]["loss"] < log[0]["loss"]
    found = record["dev"]
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert ("agreement" in found) == (kind not in ("text", "head"))
    assert 0 <= found["accuracy"] <= 1
    loaded = models.load(tmp_path / "run")
    assert loaded.architecture == "BertForMaskedLM"
    assert loaded.task is None


def test_a_distilled_student_teaches_stored_answers_again(inputs, tmp_path):
    distill(options(inputs, tmp_path / "run"))
    again = TeacherOutputOptions(
        input_file=str(inputs / "corpus"), output_dir=str(tmp_path / "more"), teacher_dir=str(tmp_path / "run"),
        truncation_factor=4, cache_dir=str(inputs / "cache"),
    )  # fmt: skip
    assert create_outputs(again)["places"] > 0


def test_agreement_is_full_with_the_teacher_itself(inputs, tmp_path):
    for name, made in (
        ("stored", options(inputs, tmp_path / "stored", student_model=str(inputs / "teacher"), learning_rate=1e-9)),
        ("live", live(inputs, tmp_path / "live", student_model="<teacher>", learning_rate=1e-9)),
    ):
        found = distill(made)["dev"]
        assert found["agreement"] == 1.0, name
    # Nothing is left to learn from the layers; the softened answers keep their entropy.
    first = tiny.log_rows(tmp_path / "live")[0]
    assert first["hidden"] < 1e-3
    assert first["embedding"] < 1e-3


def test_figures_of_the_evaluation_by_hand(inputs):
    loaded = models.load(inputs / "teacher")
    ids = np.asarray([2, 9, 4, 11, 3], np.int32)
    columns = Columns(
        {
            "input_ids": Ragged.from_rows([ids, ids[:3]]),
            "token_type_ids": Ragged.from_rows([[0] * 5, [0] * 3]),
            "masked_positions": Ragged.from_rows([[2, 3], []]),
            "masked_ids": Ragged.from_rows([[10, 11], []]),
            "teacher_best": Ragged.from_rows([[10, 12], []]),
        }
    )
    found = judge(loaded.model, Batches(columns, 4, 0, shuffle=False))
    logits = loaded.model.from_batch(
        {"input_ids": ids[None].astype(np.int64), "token_type_ids": np.zeros((1, 5), np.int64)}
    ).numpy()[0, [2, 3]].astype(np.float64)  # fmt: skip
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    loss = -(logs[0, 10] + logs[1, 11]) / 2
    best = logits.argmax(-1)
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-5)
    assert found["accuracy"] == ((best[0] == 10) + (best[1] == 11)) / 2
    assert found["agreement"] == ((best[0] == 10) + (best[1] == 12)) / 2


def test_places_of_a_batch_by_hand():
    batch = {"input_ids": np.zeros((2, 6), np.int64), "masked_positions": np.asarray([[2, 5], [1, 0]])}
    places, there = masked_places(batch)
    assert places.tolist() == [2, 5, 7]
    assert there.tolist() == [[True, True], [True, False]]


def test_other_tokens_are_hidden_in_every_pass():
    hides = Hides(Masker(Masking(0.3, 5), WordPieceTokenizer(tiny.VOCAB)), 7)
    rows = Ragged.from_rows([[2, *range(6, 18), 3]] * 4)
    table = Columns({"input_ids": rows, "word_starts": Ragged.from_rows([[1] * 14] * 4)})
    first, again, other = (hides(table, np.arange(4), epoch) for epoch in (0, 0, 1))
    assert first["masked_positions"].values.tolist() == again["masked_positions"].values.tolist()
    assert first["masked_positions"].values.tolist() != other["masked_positions"].values.tolist()
    assert "word_starts" not in first
    for row in range(4):
        where, stood = first["masked_positions"][row], first["masked_ids"][row]
        assert rows[row][where].tolist() == stood.tolist()
        kept = np.setdiff1d(np.arange(14), where)
        assert first["input_ids"][row][kept].tolist() == rows[row][kept].tolist()


def test_prepared_batches_count_what_they_hold_over_all_ranks():
    hides = Hides(Masker(Masking(0.5, 9), WordPieceTokenizer(tiny.VOCAB)), 7)
    lengths = (4, 9, 14, 6, 12)
    table = JoinedColumns(
        [
            Columns(
                {
                    "input_ids": Ragged.from_rows([[2, *range(6, 4 + n), 3] for n in part]),
                    "word_starts": Ragged.from_rows([[1] * n for n in part]),
                }
            )
            for part in (lengths[:2], lengths[2:])
        ]
    )
    alone = list(Batches(table, 5, 0, count_by="masked_positions", prepare=hides).epoch(1))
    parts = [
        list(Batches(table, 5, 0, count_by="masked_positions", prepare=hides, rank=r, world=2).epoch(1)) for r in (0, 1)
    ]
    whole = alone[0]
    assert float(whole["weight"]) == 1.0
    assert int(whole["count"]) == int(masked_places(whole)[1].sum())
    shares = [int(masked_places(part[0])[1].sum()) for part in parts]
    assert sum(shares) == int(whole["count"])
    for part, share in zip(parts, shares, strict=True):
        assert float(part[0]["weight"]) == pytest.approx(share / int(whole["count"]))
    assert sorted([*parts[0][0]["rows"], *parts[1][0]["rows"]]) == list(range(5))


def test_softened_answers_without_the_squared_temperature():
    mine, theirs = paddle.to_tensor([[1.0, 2.0, 0.5]]), paddle.to_tensor([[0.2, 1.0, 3.0]])
    scaled = float(soft_cross_entropy_loss(mine, theirs, 8.0))
    assert float(soft_cross_entropy_loss(mine, theirs, 8.0, scaled=False)) == pytest.approx(scaled / 64, rel=1e-6)


def test_rows_can_weigh_in_the_distance_of_states():
    mine, theirs = [paddle.ones([2, 3, 4])], [paddle.zeros([2, 3, 4])]
    theirs[0][1] = 3.0
    lengths = paddle.to_tensor([3, 2])
    # Squares are 1 in the first row and 4 in the second.
    assert float(hidden_states_loss(mine, theirs, lengths)) == pytest.approx(2.5)
    weighed = hidden_states_loss(mine, theirs, lengths, paddle.to_tensor([0.25, 0.75]))
    assert float(weighed) == pytest.approx(0.25 * 1 + 0.75 * 4)


# Resuming


@pytest.mark.parametrize("kind", ["stored", "layers"])
def test_a_killed_run_ends_with_the_same_bits(inputs, tmp_path, kind):
    rhythm = {"save_steps": 3, "eval_steps": 5, "num_train_epochs": 8, "average_checkpoints": 2}
    make = options if kind == "stored" else live
    distill(make(inputs, tmp_path / "whole", **rhythm))
    given = make(inputs, tmp_path / "run", **rhythm)
    tiny.kill(tiny.started_until(RUN, given, 6))
    assert run_script(run_distill.main, [*tiny.arguments(given), "--resume"]) == 0
    ours, theirs = (tmp_path / name / "model.safetensors" for name in ("run", "whole"))
    assert ours.read_bytes() == theirs.read_bytes()
    assert tiny.log_rows(tmp_path / "run") == tiny.log_rows(tmp_path / "whole")
    # And a finished run is found.
    before = ours.stat().st_mtime_ns
    assert run_script(run_distill.main, [*tiny.arguments(given), "--resume"]) == 0
    assert ours.stat().st_mtime_ns == before


def test_a_run_does_not_go_on_over_another_text(inputs, tmp_path):
    shutil.copytree(inputs / "dynamic", tmp_path / "corpus")
    given = live(inputs, tmp_path / "run", teacher="none", input_file=str(tmp_path / "corpus"), save_steps=1)
    tiny.kill(tiny.started_until(RUN, given, 2))
    record = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    record["made_from"]["options"]["random_seed"] += 1
    (tmp_path / "corpus" / "corpus.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="this run began with another text, or other answers to it; give that one"):
        distill(given.replace(resume=True))
    distill(given.replace(overwrite=True))


def test_a_changed_byte_in_a_shard_is_one_line(inputs, tmp_path):
    folder = shutil.copytree(inputs / "answers", tmp_path / "answers")
    path = next((folder / "shard-00000").glob("teacher_probs.bin"))
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="--input_file: .*checksum differs.*; make it again"):
        distill(options(inputs, tmp_path / "run", input_file=str(folder)))


# The command line


def test_the_published_command_lines_are_read(inputs):
    published = (
        "--bert_config_file=s/config.json --input_file=c --output_dir=o --init_checkpoint=s --truncation_factor=128 "
        "--max_seq_length=512 --max_predictions_per_seq=20 --do_train=True --do_eval=True --train_batch_size=384 "
        "--eval_batch_size=1024 --num_train_steps=1000000 --num_warmup_steps=20000"
    )
    found = parse(RunDistillOptions, published.split(), "")
    assert (found.loss, found.teacher, found.learning_rate) == ("ce+cosine", "stored", 5e-5)
    assert (found.max_steps, found.warmup_steps, found.batch_size, found.eval_batch_size) == (1000000, 20000, 384, 1024)
    assert found.warmup_proportion == 0.0
    distill_sh = (
        "--teacher_name_or_path t --do_lower_case --student_config s/config.json --matches L6h256_roberta_hidden_mse "
        "--do_train --max_seq_length 512 --train_batch_size 64 --random_seed 1337 --num_train_steps 100000 "
        "--ckpt_steps 20000 --learning_rate 4e-4 --official_schedule linear --output_dir o --data_files_json j.json "
        "--data_cache_dir c --preprocessing_num_workers 20 --gradient_accumulation_steps 8 --temperature 8 "
        "--output_encoded_layers true --fp16 --student_pretrained_weights s"
    )
    found = parse(RunDistillOptions, distill_sh.split(), "")
    assert (found.seed, found.lr_scheduler, found.preprocessing_num_workers) == (1337, "linear", 20)
    assert (found.loss, found.teacher, found.temperature, found.precision) == ("hidden+ce", "t", 8.0, "fp16")
    assert (found.save_steps, found.gradient_accumulation_steps, found.input_file) == (20000, 8, "c")


def test_text_files_become_a_corpus_on_the_way(inputs, tmp_path):
    (tmp_path / "files.json").write_text(json.dumps({"train": [str(inputs / "texts.txt")]}))
    given = live(
        inputs, tmp_path / "run", input_file=None, data_files_json=str(tmp_path / "files.json"), language="en",
        data_cache_dir=str(tmp_path / "cache"), max_seq_length=24, num_train_epochs=1,
    )  # fmt: skip
    distill(given)
    assert (tmp_path / "cache" / "corpus.json").is_file()
    assert (tmp_path / "run" / "metrics.json").is_file()


def test_a_list_of_files_in_minirbts_layout(inputs, tmp_path, monkeypatch):
    """References beside the text; places count from the list, or from where the command is given."""
    (tmp_path / "jsons").mkdir()
    (tmp_path / "texts").mkdir()
    for name in ("a.txt", "a.ref"):
        (tmp_path / "texts" / name).write_text("")
    (tmp_path / "jsons" / "b.txt").write_text("")
    monkeypatch.chdir(tmp_path)

    def found(train):
        (tmp_path / "jsons" / "data.json").write_text(json.dumps({"train": train, "dev": {}}))
        words = {"data_files_json": "jsons/data.json", "data_cache_dir": "c", "input_file": None}
        return corpus_of_files(live(inputs, tmp_path / "run", **words), models.load(inputs / "student"))

    one = found({"train_files": ["./texts/a.txt"], "train_ref_files": ["./texts/a.ref"]})
    assert (one.input_dir, one.reference_file) == (("./texts/a.txt",), ("./texts/a.ref",))
    assert found({"train_files": "b.txt"}).input_dir == ("jsons/b.txt",)
    assert found(["b.txt", "texts/a.txt"]).input_dir == ("jsons/b.txt", "texts/a.txt")
    # Of what is nowhere the place beside the list is told.
    assert found("c.txt").input_dir == ("jsons/c.txt",)
    for wrong in ({}, {"train_files": []}, {"train_files": [1]}, {"train_files": ["b.txt"], "train_ref_files": [1]}, 3):
        with pytest.raises(InputError, match="--data_files_json jsons/data.json: expected"):
            found(wrong)


def test_a_student_is_judged_as_it_stands(inputs, tmp_path, capsys):
    words = ["--input_file", str(inputs / "answers"), "--student_model", str(inputs / "student"), "--do_eval"]
    words += ["--device", "cpu", "--truncation_factor", "6", "--output_dir", str(tmp_path / "out")]
    assert run_script(run_distill.main, words) == 0
    found = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert set(found) == {"loss", "accuracy", "perplexity", "agreement", "rows"}
    assert f"{found['perplexity']:.4f}" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["eval.json"]


BAD = [
    ({"input_file": "nope"}, "--input_file nope: no such folder"),
    ({"input_file": "<corpus>"}, "holds no answers of a teacher; make them with mlm_distill.create_teacher"),
    ({"input_file": "<teacher>"}, "no corpus.json here; make it with mlm_distill.create_pretraining_data"),
    ({"truncation_factor": 7}, "--truncation_factor 7: .*answers holds 6 of a place"),
    ({"student_model": "nope/x/y"}, "nope/x/y: no such model folder"),
    ({"student_model": None}, "--student_model is required, or --student_config"),
    ({"student_model": "<other>"}, "the corpus was made with another vocabulary"),
    ({"student_model": "<short>"}, "has 16 positions, the instances are up to 24 tokens long"),
    ({"max_seq_length": 16}, "--max_seq_length 16: the instances were made with 24"),
    ({"max_predictions_per_seq": 3}, "--max_predictions_per_seq: .*answers holds masks, made with 20"),
    ({"eval_file": "<dynamic>"}, "--eval_file .*dynamic: made with --dynamic_masking: nothing is hidden"),
    ({"input_file": "<nothing>", "teacher": "none", "truncation_factor": None}, "no text was held out"),
    ({"loss": "hidden+ce", "truncation_factor": None}, "--loss hidden\\+ce needs a teacher to ask"),
    ({"temperature": 2.0}, "--temperature goes with --loss hidden\\+ce"),
    ({"teacher": "none", "loss": "ce+cosine"}, "--loss goes with a teacher"),
    ({"teacher": "none", "truncation_factor": None, "mlm_weight": 1.0}, "--mlm_weight goes with a teacher"),
    ({"do_train": False, "mlm_weight": 1.0}, "--mlm_weight goes with --do_train"),
    ({"trained": "head"}, "--trained head goes with --teacher none"),
    ({"teacher": "<student>", "output_encoded_layers": False, "truncation_factor": None}, "--output_encoded_layers"),
    ({"teacher": "<headless>", "truncation_factor": None}, "--teacher .*headless: has no masked-LM head"),
    ({"data_files_json": "x"}, "--data_files_json goes with --data_cache_dir"),
    ({"preprocessing_num_workers": 3}, "--preprocessing_num_workers goes with --data_files_json"),
    ({"do_lower_case": False}, "--do_lower_case False: leave it out"),
    ({"teacher": "<teacher>", "truncation_factor": None, "matches": "L6_attention_mse"}, "L6_attention_mse: exp"),
    ({"teacher": "<teacher>", "truncation_factor": None, "matches": "L6_hidden_mse", "layer_map": "2:1"}, "exclude"),
    ({"teacher": "<teacher>", "truncation_factor": None, "input_file": "<dynamic>", "matches": "L6_hidden_mse"},
     "--matches L6_hidden_mse: is for students of 6 layers, this one has"),
    ({"matches": "L6_hidden_mse"}, "--matches goes with --loss hidden"),
    ({"teacher": "none", "eval_file": "<elsewhere>", "truncation_factor": None}, "--eval_file .*another vocabulary"),
    ({"teacher": "none", "eval_file": "<longer>", "truncation_factor": None}, "--eval_file .*up to 80 tokens long"),
    ({"teacher": "<teacher>", "layer_map": "99:1", "truncation_factor": None, "input_file": "<dynamic>"}, "99"),
    ({"do_train": False, "learning_rate": 0.1}, "--learning_rate goes with --do_train"),
    ({"do_train": False, "student_model": "<headless>"}, "--student_model .*headless: has no masked-LM head"),
    ({"student_model": None, "student_config": "nope.json"}, "--student_config nope.json: no such file"),
    ({"student_model": None, "student_config": "<corpus/corpus.json>"}, "no vocab.txt beside it"),
    ({"do_train": False, "do_eval": False}, "at least one of them is needed"),
    ({"do_eval": False}, "--do_eval False: a training chooses its checkpoints by what it finds on held-out text"),
    ({"do_train": False, "precision": "bf16"}, "--precision goes with --do_train"),
    # The default, but given: the masks were made with another number.
    ({"input_file": "<fewer>", "max_predictions_per_seq": 20, "teacher": "none", "truncation_factor": None},
     "--max_predictions_per_seq: .*fewer holds masks, made with 3"),
    ({"student_model": "<step>/step_100.safetensors"}, r"step_100\.safetensors: its folder's weights are read from an"),
    ({"student_model": "<step>/nope.bin"}, r"--student_model .*nope\.bin: no such file"),
]  # fmt: skip


@pytest.fixture(scope="module")
def bad(inputs):
    tiny.write_model(inputs / "short", masked_lm(max_position_embeddings=16))
    tiny.write_pretrained(inputs / "headless")
    other = masked_lm()
    other.tokenizer = WordPieceTokenizer(tiny.VOCAB[::-1])
    tiny.write_model(inputs / "other", other)
    made = {
        "input_dir": (str(inputs / "texts.txt"),), "model_name": str(inputs / "teacher"), "max_workers": 1,
        "language": "en", "max_seq_length": 24, "doc_stride": 12, "held_out": 0.0,
    }  # fmt: skip
    create_corpus(CorpusOptions(**made, output_dir=str(inputs / "nothing")))
    longer = {**made, "max_seq_length": 80, "dupe_factor": 1}
    create_corpus(CorpusOptions(**longer, output_dir=str(inputs / "longer")))
    create_corpus(
        CorpusOptions(**made | {"held_out": 0.1}, output_dir=str(inputs / "fewer"), max_predictions_per_seq=3)
    )
    shutil.copytree(inputs / "student", inputs / "step")
    shutil.copy(inputs / "step" / "model.safetensors", inputs / "step" / "step_100.safetensors")
    elsewhere = {**made, "model_name": str(inputs / "other"), "dupe_factor": 1}
    create_corpus(CorpusOptions(**elsewhere, output_dir=str(inputs / "elsewhere")))
    return inputs


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_input_is_one_line_and_leaves_nothing(bad, tmp_path, capsys, changes, message):
    def told(value):
        if not isinstance(value, str) or not value.startswith("<"):
            return value
        place, _, rest = value[1:].partition(">")
        return str(bad / place) + rest

    made = {
        "input_file": str(bad / "answers"), "student_model": str(bad / "student"), "truncation_factor": 6,
        "output_dir": str(tmp_path / "run"), "device": "cpu", **{k: told(v) for k, v in changes.items()},
    }  # fmt: skip
    words = [word for name, value in made.items() if value is not None for word in (f"--{name}", str(value))]
    assert run_script(run_distill.main, words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line
    assert not (tmp_path / "run").exists()


def test_a_truncated_shard_is_one_line(inputs, tmp_path, capsys):
    folder = shutil.copytree(inputs / "answers", tmp_path / "answers")
    path = next((folder / "shard-00000").glob("teacher_probs*"))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="--input_file: .*expected .* bytes, found .*; make it again"):
        distill(options(inputs, tmp_path / "run", input_file=str(folder)))
    assert not (tmp_path / "run").exists()


# Two stages


def two_stage_config(inputs, **changes):
    distill = {
        "num_train_epochs": 2, "train_batch_size": 16, "learning_rate": 3e-3, "logging_steps": 1, "save_steps": 2,
    }  # fmt: skip
    made = {
        "teacher": str(inputs / "teacher"),
        "corpus": {
            "input_dir": [str(inputs / "texts.txt")], "language": "en", "max_seq_length": 24, "max_workers": 1,
            "doc_stride": 12, "dupe_factor": 1,
        },
        "assistant": {"init": {"layers": "0,1,3"}, "answers": {"truncation_factor": 5}, "distill": {
            **distill, "truncation_factor": 5,
        }},
        "student": {"init": {"layers": "0,2", "hidden_size": 16, "num_attention_heads": 2}, "distill": distill},
    }  # fmt: skip
    made |= changes
    return {name: value for name, value in made.items() if value is not None}


def write_config(path, config):
    path.write_text(json.dumps(config))
    return path


def test_a_stage_reads_as_many_answers_as_are_stored(inputs, tmp_path):
    def planned(answers, distill):
        config = two_stage_config(inputs, assistant=None)
        config["student"] = {"init": {"layers": "0,2"}, "answers": answers, "distill": {"max_steps": 1, **distill}}
        options = TwoStageOptions(config="c", output_dir=str(tmp_path))
        corpus, found = stages.planned(config, tmp_path, options)
        stages._check_stages(options, corpus, found, 4)
        return found[0].distill.truncation_factor

    assert planned({"truncation_factor": 16}, {}) == 16
    assert planned({"truncation_factor": 16}, {"truncation_factor": 8}) == 8
    with pytest.raises(InputError, match="student.distill: --truncation_factor 17: answers holds 16 of a place"):
        planned({"truncation_factor": 16}, {"truncation_factor": 17})


def test_what_has_not_begun_may_be_configured_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "is_of_other_text", lambda corpus: False)
    for name in ("corpus", "assistant_start", "assistant", "student_start", "student"):
        (tmp_path / name).mkdir()
    for name in ("corpus", "assistant_start"):
        (tmp_path / name / "made").write_text("x")
    # A run that was refused leaves no more than its lock.
    (tmp_path / "assistant" / ".lock").write_text("")
    stage = {"init": {"layers": "0"}, "distill": {"max_steps": 1}}
    known = {"teacher": "t", "corpus": {"a": 1}, "assistant": stage, "student": stage}

    def fits(**changes):
        return stages._begun_otherwise(tmp_path, known, {**known, **changes}, None) is None

    assert fits()
    assert fits(assistant={**stage, "distill": {"max_steps": 2}}, student={**stage, "init": {"layers": "1"}})
    assert fits(assistant={**stage, "answers": {}})
    assert not fits(assistant={**stage, "init": {"layers": "1"}})
    assert not fits(corpus={"a": 2}) and not fits(teacher="u")
    # The student may not learn from another one as soon as it has begun.
    (tmp_path / "student_start" / "made").write_text("x")
    assert not fits(assistant={**stage, "distill": {"max_steps": 2}})
    assert fits(student={**stage, "distill": {"max_steps": 2}})
    (tmp_path / "student" / "made").write_text("x")
    assert not fits(student={**stage, "distill": {"max_steps": 2}})
    monkeypatch.setattr(stages, "is_of_other_text", lambda corpus: True)
    assert stages._begun_otherwise(tmp_path, known, known, None) == "other text"


def test_a_head_of_its_own_begins_with_the_corpus_in_stages_too(inputs, tmp_path):
    for init, text in (({"layers": "0"}, None), ({"layers": "0", "head": "random"}, str(tmp_path / "corpus"))):
        config = {"teacher": str(inputs / "teacher"), "corpus": {"input_dir": ["texts"], "language": "en"}}
        config["student"] = {"init": init, "distill": {"max_steps": 1}}
        options = TwoStageOptions(config="c", output_dir=str(tmp_path))
        _, (stage,) = stages.planned(config, tmp_path, options)
        assert stage.init.input_file == text


def test_two_stages_go_from_teacher_to_student_and_resume(inputs, tmp_path, capsys):
    path = write_config(tmp_path / "c.json", two_stage_config(inputs))
    words = ["--config", str(path), "--cache_dir", str(inputs / "cache"), "--device", "cpu", "--output_dir"]
    assert run_script(two_stage.main, [*words, str(tmp_path / "whole")]) == 0
    whole = tmp_path / "whole"
    assert models.load(whole / "assistant").model.config.num_hidden_layers == 3
    student = models.load(whole / "student").model.config
    assert (student.num_hidden_layers, student.hidden_size) == (2, 16)
    # The student began as its assistant's layers, not the teacher's.
    start, assistant = (layer_weights(models.load(whole / name).model) for name in ("student_start", "assistant"))
    name = "cls.predictions.decoder.bias"
    np.testing.assert_array_equal(start[name], assistant[name])
    child = tiny.start("mlm_distill.two_stage", *words, str(tmp_path / "killed"))
    log = tmp_path / "killed" / "student" / "metrics.jsonl"
    for _ in range(30_000):
        if child.poll() is not None or (log.exists() and log.read_bytes().count(b"\n") >= 3):
            break
        time.sleep(0.01)
    tiny.kill(child)
    capsys.readouterr()
    assert run_script(two_stage.main, [*words, str(tmp_path / "killed")]) == 0
    assert "going on from step" in capsys.readouterr().out
    for part in ("assistant", "student"):
        ours, theirs = (tmp_path / name / part / "model.safetensors" for name in ("killed", "whole"))
        assert ours.read_bytes() == theirs.read_bytes()
    # Another configuration needs another folder, or permission.
    write_config(path, two_stage_config(inputs, assistant=None))
    assert run_script(two_stage.main, [*words, str(whole)]) == 2
    assert "begun with another configuration; pass --overwrite" in capsys.readouterr().err
    assert run_script(two_stage.main, [*words, str(whole), "--overwrite"]) == 0
    assert not (whole / "assistant").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": 3}, "corpus: expected an object with options"),
        ({"corpus": {"dry_run": True}}, "corpus: --dry_run: follows from the stage's place"),
        ({"student": {"distill": {"do_eval": True}}}, "student.distill: --do_eval: follows"),
        ({"student": {"init": {"layers": "2,9"}}}, "student.init: --layers 2,9: its teacher's are 0 to 2"),
        ({"student": {"init": {"num_hidden_layers": 4}}}, "student.init: 4 layers, its teacher has 3"),
        ({"corpus": {"dynamic_masking": True}}, "assistant.answers: need stored masks"),
    ],
)
def test_what_a_later_stage_would_stumble_over_is_told_before_any_work(inputs, tmp_path, capsys, change, message):
    config = two_stage_config(inputs)
    for name, value in change.items():
        if not isinstance(value, dict):
            config[name] = value
        elif name == "corpus":
            config[name] |= value
        else:
            for part, more in value.items():
                config[name][part] = {**config[name][part], **more}
                if "num_hidden_layers" in more:
                    del config[name][part]["layers"]
    path = write_config(tmp_path / "c.json", config)
    assert run_script(two_stage.main, ["--config", str(path), "--output_dir", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line, line
    assert not (tmp_path / "out").exists()


def test_a_student_does_not_replace_its_own_teacher(inputs, tmp_path, capsys):
    tiny.write_model(tmp_path / "t", masked_lm())
    words = ["--teacher_dir", str(tmp_path / "t"), "--layers", "0", "--output_dir", str(tmp_path / "t"), "--overwrite"]
    assert run_script(init_student.main, words) == 2
    assert "which is read; choose another folder" in capsys.readouterr().err
    assert models.load(tmp_path / "t").model.config.num_hidden_layers == 2


def test_one_fault_after_the_other_is_told_before_any_work(inputs, tmp_path, capsys):
    config = two_stage_config(inputs, extra=1, student={"init": {"preset": "rbt9"}, "distill": {"nope": 1}, "more": {}})
    config["corpus"]["max_seq_length"] = 0
    path = write_config(tmp_path / "c.json", config)
    assert run_script(two_stage.main, ["--config", str(path), "--output_dir", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    for part in (
        "extra: expected teacher, corpus", "corpus: --max_seq_length 0", "student.init: --preset rbt9",
        "student.distill: --nope: no such option", "student.more: expected init, answers or distill",
    ):  # fmt: skip
        assert part in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("[1]", "expected a JSON object, found list"),
        ('{"student": {"distill": {"output_dir": "x"}}}', "teacher: expected a folder or a name"),
        ('{"student": {"distill": {"teacher_dir": "x"}}}', "--teacher: follows from the stage's place"),
        (
            '{"teacher": "nope/x/y", "corpus": {"input_dir": ["x"]}, "student": {"init": {}, "distill": {}}}',
            "nope/x/y: no",
        ),
    ],
)
def test_a_wrong_configuration_is_one_line(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "c.json").write_text(content)
    assert run_script(two_stage.main, ["--config", str(tmp_path / "c.json"), "--output_dir", str(tmp_path / "o")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line, line


def test_starting_anew_keeps_what_it_reads(inputs, tmp_path, capsys):
    """Not even with --overwrite does a run remove its own teacher, text or configuration."""
    root = tmp_path / "out"
    only = two_stage_config(inputs, assistant=None)
    path = write_config(tmp_path / "c.json", only)
    words = ["--cache_dir", str(inputs / "cache"), "--device", "cpu", "--output_dir", str(root), "--config"]
    assert run_script(two_stage.main, [*words, str(path)]) == 0
    weights = (root / "student" / "model.safetensors").read_bytes()
    shutil.copy(inputs / "texts.txt", root / "texts.txt")
    inside = write_config(root / "c.json", {**only, "student": {**only["student"], "init": {"layers": "0"}}})
    (root / "v.txt").write_text("\n".join(tiny.VOCAB) + "\n")
    own_words = {"init": {**only["student"]["init"], "vocab_file": str(root / "v.txt")}, "distill": {}}
    for config, message in (
        ({**only, "student": own_words}, "--student.init.vocab_file"),
        ({**only, "teacher": str(root / "student"), "student": {"init": {"layers": "0"}, "distill": {}}}, "--teacher"),
        ({**only, "corpus": {**only["corpus"], "input_dir": [str(root / "texts.txt")]}}, "--corpus.input_dir"),
        (inside, "--config"),
    ):
        given = config if config == inside else write_config(path, config)
        assert run_script(two_stage.main, [*words, str(given), "--overwrite"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert re.search(f"--output_dir .*: holds {message} .*, which is read; choose another folder", line), line
    assert run_script(two_stage.main, [*words, str(root / "two_stage.json")]) == 2
    assert "is this folder's own record" in capsys.readouterr().err
    assert (root / "student" / "model.safetensors").read_bytes() == weights
    # Nor what is not its own.
    assert run_script(two_stage.main, [*words, str(write_config(path, only)), "--overwrite"]) == 0
    assert {"texts.txt", "v.txt", "c.json", "student"} <= {entry.name for entry in root.iterdir()}


def test_starting_anew_is_not_half_done_after_a_kill(inputs, tmp_path, monkeypatch, capsys):
    """Killed between two folders, the next start does not take the old student for the new one."""
    config = two_stage_config(inputs, assistant=None)
    words = ["--cache_dir", str(inputs / "cache"), "--device", "cpu", "--output_dir", str(tmp_path / "out"), "--config"]
    words.append(str(write_config(tmp_path / "c.json", config)))
    assert run_script(two_stage.main, words) == 0
    removed = []

    def killed(path, **how):
        removed.append(path)
        if len(removed) > 1:
            raise KeyboardInterrupt
        real(path, **how)

    real = shutil.rmtree
    monkeypatch.setattr(stages.shutil, "rmtree", killed)
    assert run_script(two_stage.main, [*words, "--overwrite"]) > 2
    monkeypatch.undo()
    capsys.readouterr()
    assert (tmp_path / "out" / "student" / "metrics.json").exists()
    assert run_script(two_stage.main, words) == 2
    assert "begun with another configuration; pass --overwrite" in capsys.readouterr().err
    assert run_script(two_stage.main, [*words, "--overwrite"]) == 0


def test_other_text_under_the_same_configuration_starts_anew_when_asked(inputs, tmp_path, capsys):
    text = tmp_path / "texts.txt"
    shutil.copy(inputs / "texts.txt", text)
    config = two_stage_config(inputs, assistant=None)
    config["corpus"]["input_dir"] = [str(text)]
    words = ["--cache_dir", str(inputs / "cache"), "--device", "cpu", "--output_dir", str(tmp_path / "out"), "--config"]
    words.append(str(write_config(tmp_path / "c.json", config)))
    assert run_script(two_stage.main, words) == 0
    text.write_text(text.read_text() + "\n\n" + tiny.sentence(random.Random(9), 1) + "\n")
    capsys.readouterr()
    assert run_script(two_stage.main, words) == 2
    assert "begun with other text; pass --overwrite" in capsys.readouterr().err
    assert run_script(two_stage.main, [*words, "--overwrite"]) == 0
    assert run_script(two_stage.main, words) == 0


def test_a_run_does_not_go_on_over_other_answers(inputs, tmp_path):
    answers = shutil.copytree(inputs / "answers", tmp_path / "answers")
    given = options(inputs, tmp_path / "run", input_file=str(answers), save_steps=1)
    tiny.kill(tiny.started_until(RUN, given, 2))
    record = json.loads((answers / "teacher_outputs.json").read_text())
    record["made_from"]["teacher"] = "0" * 64
    (answers / "teacher_outputs.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="this run began with another text, or other answers to it"):
        distill(given.replace(resume=True))


def test_a_run_does_not_go_on_with_another_teacher(inputs, tmp_path):
    teacher = shutil.copytree(inputs / "teacher", tmp_path / "teacher")
    given = live(inputs, tmp_path / "run", teacher=str(teacher), save_steps=1)
    tiny.kill(tiny.started_until(RUN, given, 2))
    shutil.rmtree(teacher)
    tiny.write_model(teacher, masked_lm(seed=5, **SHAPE))
    with pytest.raises(InputError, match="this run began with another teacher; give that one"):
        distill(given.replace(resume=True))


@pytest.mark.parametrize("loss", ["hidden+ce", "ce+cosine"])
def test_vocabularies_may_be_filled_up_to_other_sizes(inputs, tmp_path, loss):
    """Rows of an embedding beyond the vocabulary are no pieces: students and teachers have other numbers of them."""
    tiny.write_model(tmp_path / "padded", masked_lm(vocab_size=len(tiny.VOCAB) + 5, **SHAPE))
    truncation = {"truncation_factor": 6} if loss == "ce+cosine" else {}
    for teacher, student in (("padded", "student"), ("teacher", "padded")):
        names = {"teacher": teacher, "student_model": student}
        places = {name: str((tmp_path if what == "padded" else inputs) / what) for name, what in names.items()}
        run = live(inputs, tmp_path / f"{teacher}-{loss}", loss=loss, max_steps=2, **truncation, **places)
        assert distill(run)["dev"]["perplexity"] > 1


def step_of(given, tmp_path):
    """A student without dropout, its step, and a batch."""
    student, teacher, text = train_inputs(given, World())
    student.model.eval()
    layers = LayerLoss.of(given, teacher.model.config, student.model.config) if teacher else None
    asked = LiveTeacher(teacher, tmp_path / "graph", layers) if teacher else None
    width = teacher.model.config.hidden_size if teacher else 1
    projections = Projections(np.zeros((width, width), np.float32), [0, 1, 2], False) if layers else None
    step = MaskedStep(student.model, given, asked, projections)
    batch = next(Batches(text.rows, 4, 0, shuffle=False, count_by=PLACES, prepare=text.hides).epoch(0))
    return student, step, batch


KINDS = {
    "stored": (options, {}),
    "layers": (live, {}),
    "text": (live, {"teacher": "none"}),
    "stored and text": (options, {"mlm_weight": 0.5}),
    "layers and text": (live, {"mlm_weight": 0.5}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_share_without_a_hidden_place_has_the_usual_losses(inputs, tmp_path, kind):
    """Processes add up what they have by its place: every one of them must have as many."""
    make, more = KINDS[kind]
    student, step, batch = step_of(make(inputs, tmp_path / "run", **more), tmp_path)
    usual = step(batch)
    nothing = {
        name: value[:, :0] if name in (PLACES, "masked_ids", "teacher_ids", "teacher_probs") else value
        for name, value in batch.items()
    }
    found = step(nothing)
    assert list(found) == list(usual)
    assert [float(value) for value in found.values()] == [0.0] * len(usual)
    found["loss"].backward()
    gradient = student.model.bert.embeddings.word_embeddings.weight.grad
    assert not np.any(gradient.numpy())


@pytest.mark.parametrize("make", [options, live])
def test_what_the_text_says_is_added_by_its_weight(inputs, tmp_path, make):
    losses = {}
    for weight in (0.0, 0.5, 2.0):
        student, step, batch = step_of(make(inputs, tmp_path / "run", mlm_weight=weight), tmp_path / str(weight))
        losses[weight] = {name: float(value) for name, value in step(batch).items()}
    assert "mlm" not in losses[0.0]
    places, there = masked_places(batch)
    logits = student.model.from_batch(batch).numpy()
    logits = logits.reshape(-1, logits.shape[-1])[places].astype(np.float64)
    chosen = logits[np.arange(len(places)), batch["masked_ids"][there]]
    expected = (np.log(np.exp(logits).sum(1)) - chosen).mean()
    for weight in (0.5, 2.0):
        assert losses[weight]["mlm"] == pytest.approx(expected, rel=1e-4)
        assert losses[weight]["loss"] == pytest.approx(losses[0.0]["loss"] + weight * expected, rel=1e-4)
