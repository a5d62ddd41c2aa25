"""Masked-LM distillation to MiniRBT-H256: training steps by stored answers against steps that ask the teacher.

    python -m benchmarks.mlm_step --data_dir DIR_WITH_TEXT

The teacher has the size of BERT-base and random weights: what it says does not change what it costs. Both sides learn
by the same loss over the same instances, whose answers the stored side reads from its shards. Two further sides are as
the published code works: PaddleNLP's student and teacher in dygraph, both projected on the vocabulary at every token.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.common import Side, Turn, compare, stock_environment, work_dir
from benchmarks.encoders import write_vocabulary
from console import run_script

MODULE = "benchmarks.mlm_step"
LENGTH, ROWS, KEPT = 128, 32, 128
SMALL_TEXT = "reviews_takeaway.txt"
OPTIMIZER = {"learning_rate": 1e-4, "weight_decay": 0.01, "max_grad_norm": 1.0}


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    compare("mlm_step", __doc__ or "", argv, sides, figures)


def sides(arguments: argparse.Namespace) -> list[Side]:
    """Stored, asked, and stock twice, over the same text."""
    place = prepared(arguments)
    options = {"place": str(place), "seed": arguments.seed, "batches": 2}
    return [
        Side("stored", f"{MODULE}:our_step", {**options, "batches": 6, "is_stored": True}, dict(os.environ)),
        Side("asked", f"{MODULE}:our_step", {**options, "is_stored": False}, dict(os.environ)),
        Side("stock", f"{MODULE}:stock_step", options, stock_environment(kernels=False)),
        Side("stock_tuned", f"{MODULE}:stock_step", options, stock_environment(kernels=True)),
    ]


def figures(rates: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Steps a second, and stored ones in those of the others."""
    steps = {name: rate["steps_per_second"] for name, rate in rates.items()}
    return {
        "steps_per_second": steps,
        "instances_per_step": ROWS,
        "tokens_per_instance": LENGTH,
        "bytes_per_place": KEPT * 4,
        "ratio_to_asked": steps["stored"] / steps["asked"],
        "ratio_to_stock": steps["stored"] / steps["stock"],
        "ratio_to_stock_with_matrix_kernels": steps["stored"] / steps["stock_tuned"],
        "asked_to_stock_with_matrix_kernels": steps["asked"] / steps["stock_tuned"],
    }


def prepared(arguments: argparse.Namespace) -> Path:
    """Teacher, student, corpus and stored answers, made once."""
    from core.shapes import SHAPES
    from mlm_distill.corpus import create as create_corpus
    from mlm_distill.options import CorpusOptions, InitStudentOptions, TeacherOutputOptions
    from mlm_distill.student import init_student
    from mlm_distill.teacher_outputs import create as create_answers

    place = work_dir(arguments.work_dir) / "mlm_step"
    place.mkdir(parents=True, exist_ok=True)
    vocabulary, text = place / "vocab.txt", Path(arguments.data_dir) / SMALL_TEXT
    if not vocabulary.is_file():
        write_vocabulary(arguments.data_dir, place)
    # A few hundred instances are enough to read from.
    some = place / "some.txt"
    some.write_text("".join(text.read_text(encoding="utf-8").splitlines(keepends=True)[:4000]).replace("\n\n", "\n"))
    for name, preset in (("teacher", "bert-base"), ("student", "minirbt-h256")):
        if not (place / name).is_dir():
            shape = {"preset": preset} if preset != "bert-base" else SHAPES["bert-base"]
            options: Any = {"vocab_file": str(vocabulary), "seed": arguments.seed, **shape}
            init_student(InitStudentOptions(**options, output_dir=str(place / name)))
    corpus = {"max_seq_length": LENGTH, "doc_stride": LENGTH, "short_seq_prob": 0.0, "dupe_factor": 1}
    create_corpus(
        CorpusOptions(
            input_dir=(str(some),),
            vocab_file=str(vocabulary),
            output_dir=str(place / "corpus"),
            max_workers=1,
            **corpus,
        )
    )
    create_answers(
        TeacherOutputOptions(
            input_file=str(place / "corpus"),
            teacher_dir=str(place / "teacher"),
            output_dir=str(place / "answers"),
            truncation_factor=KEPT,
        )
    )
    return place


def our_step(place: str, batches: int, seed: int, is_stored: bool) -> Turn:
    """Steps of ``mlm_distill.run_distill --loss ce+cosine``, by stored answers or with the teacher asked."""
    import tempfile

    from benchmarks.sides import _endless, _our_turn
    from core.masked_lm import load_masked_lm
    from data.batches import Batches
    from files import cache_folder
    from mlm_distill.options import RunDistillOptions
    from mlm_distill.student import student_of
    from mlm_distill.text import PLACES, read_text
    from mlm_distill.train import LiveTeacher, MaskedStep

    given: Any = {} if is_stored else {"teacher": f"{place}/teacher", "loss": "ce+cosine"}
    options = RunDistillOptions(
        input_file=f"{place}/answers", student_model=f"{place}/student", output_dir="unused", **given
    )
    student = student_of(options, None)
    text = read_text(options, student)
    live = None
    if not is_stored:
        teacher = load_masked_lm(options.teacher, "--teacher", seed, cache_folder())
        live = LiveTeacher(teacher, Path(tempfile.mkdtemp()), None)
    step = MaskedStep(student.model, options, live, None)  # type: ignore[arg-type]
    stream = _endless(Batches(text.rows, ROWS, student.encoder.pad_id, seed=seed, count_by=PLACES))
    turn = _our_turn(student.model, step, stream, batches, "adamw", **OPTIMIZER)

    def steps() -> Mapping[str, float]:
        return {**turn(), "steps": batches}

    return steps


def stock_step(place: str, batches: int, seed: int) -> Turn:
    """PaddleNLP's models in dygraph, random batches; of the teacher's answers the same number is compared."""
    import numpy as np
    import paddle
    from paddle.nn import functional as F  # noqa: N812 - the field's own name
    from paddlenlp.transformers import BertConfig as NlpConfig
    from paddlenlp.transformers import BertForMaskedLM as NlpMaskedLM

    from data.batches import Batches
    from mlm_distill.options import RunDistillOptions
    from mlm_distill.student import student_of
    from mlm_distill.text import masked_places, read_text
    from models.folder import load

    options = RunDistillOptions(input_file=f"{place}/answers", student_model=f"{place}/student", output_dir="unused")
    text = read_text(options, student_of(options, None))

    def stock(name: str) -> Any:
        shape = load(f"{place}/{name}").model.config_dict()
        return NlpMaskedLM(NlpConfig(**{k: v for k, v in shape.items() if k not in ("architectures", "model_type")}))

    learns, teaches = stock("student"), stock("teacher")
    teaches.eval()
    optimizer = paddle.optimizer.AdamW(
        1e-4,
        parameters=learns.parameters(),
        weight_decay=0.01,
        grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
    )
    plan = (
        batch
        for epoch in count()
        for batch in Batches(text.rows, ROWS, 0, seed=seed, by_length=False, workers=0).epoch(epoch)
    )

    def turn() -> Mapping[str, float]:
        for _ in range(batches):
            batch = next(plan)
            ids, types = paddle.to_tensor(batch["input_ids"]), paddle.to_tensor(batch["token_type_ids"])
            mask = (ids != 0).astype("float32").unsqueeze([1, 2])
            places = paddle.to_tensor(masked_places(batch)[0])
            mask = (1 - mask) * -1e4
            with paddle.no_grad():
                said = teaches(ids, types, attention_mask=mask)
                said = paddle.gather(said.reshape([-1, said.shape[-1]]), places)
                probabilities, kept = F.softmax(said).topk(KEPT)
            mine = learns(ids, types, attention_mask=mask)
            mine = paddle.gather(mine.reshape([-1, mine.shape[-1]]), places)
            found = paddle.take_along_axis(F.softmax(mine), kept, axis=-1)
            loss = -(probabilities * paddle.log(found + 1e-9)).sum(-1).mean()
            loss += (1 - F.cosine_similarity(found, probabilities, axis=-1)).mean()
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
        assert np.isfinite(float(loss))
        return {"rows": batches * ROWS, "steps": batches}

    return turn


if __name__ == "__main__":
    raise SystemExit(run_script(main))
