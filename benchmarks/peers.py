"""PyTorch with transformers, which a user would pick instead, against ours: the sides take turns on the same rows.

    python -m benchmarks.peers --data_dir DIR

PyTorch stands in an environment of its own (``make test-hf`` makes it, from requirements-hf.txt). Its sides are as
quick as their users know how to make them: batches of rows of similar length, fused optimisers, inference mode, packed
sequences, ``torch.compile``, dynamic int8; bf16 where the processor has it. ``--parts`` measures some topics alone;
what others have come to before stays in the result, which says of each when and how.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import RESULTS, ROOT, Side, Turn, alternate, parser, read_result, work_dir, write_result
from console import InputError, run_script, say
from core.arithmetic import FP32, PRECISIONS, processor_fault
from process import without_tuning

if TYPE_CHECKING:
    from data.batches import Batches

PARTS = ("fine-tuning", "teacher", "student", "distillation", "serving")
HERE, THERE = "benchmarks.peers", "benchmarks.peers_torch"
# Passes of the student over rows that the teacher has answered once, as in benchmarks.sst2.
PASSES = 3
SERVED = {"paddle": (None, None), "onnx": ("onnx", "fp32"), "onnx-int8": ("onnx", "int8")}


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--turns", type=int, default=6, help="turns of every side")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    made.add_argument("--torch", default=str(ROOT / ".venv-hf/bin/python"), help="the Python that has PyTorch")
    arguments = made.parse_args(argv)
    if not Path(arguments.torch).is_file():
        raise InputError(f"--torch {arguments.torch}: not there; make test-hf makes that environment")
    began = time.perf_counter()
    place = prepare(arguments)
    found: dict[str, Any] = kept(read_result("peers")) if (RESULTS / "peers.json").is_file() else {}
    found["pytorch"] = torch_versions(arguments.torch)
    for part in arguments.parts:
        for topic, sides in sides_of(part, arguments, place).items():
            say(f"== {topic}")
            rates = alternate(sides, arguments.turns)
            rows = {name: rate["rows_per_second"] for name, rate in rates.items()}
            ours, theirs = ({n: r for n, r in rows.items() if n.startswith("ours") is own} for own in (True, False))
            found[topic] = {
                "rows_per_second": rows,
                "ratio_to_best": max(ours.values()) / max(theirs.values()),
                **({"ratio_to_fp32": max(ours.values()) / theirs["fp32"]} if "fp32" in theirs else {}),
                "turns": arguments.turns,
            }
        # A part at a time: each takes minutes.
        write_result("peers", arguments, {**found, "has_bf16": has_bf16()}, time.perf_counter() - began)


def kept(earlier: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a result, each topic with the command that measured it, the day and the processor."""
    how = f"`{earlier['command']}`, {earlier['date']}, {earlier['machine']['processor']}"
    return {
        name: {"measured": how, **value} if "rows_per_second" in value else value
        for name, value in earlier["figures"].items()
        if isinstance(value, dict)
    }


def has_bf16() -> bool:
    """Whether the processor computes in bf16; where it does not, PyTorch's bf16 is slower than its fp32."""
    return processor_fault() is None


def torch_versions(python: str) -> dict[str, str]:
    """Of PyTorch and transformers."""
    code = (
        "import json, torch, transformers;"
        "print(json.dumps({'torch': torch.__version__, 'transformers': transformers.__version__}))"
    )
    return json.loads(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout)


def prepare(arguments: argparse.Namespace) -> Path:
    """Rows encoded once for both sides, and the teacher and a Bi-LSTM in every form that is served."""
    import numpy as np
    from safetensors.numpy import save_file

    from benchmarks.sides import _encoded
    from data.sources import find_split, read_rows
    from data.tasks import get_task
    from deploy.exporter import export
    from deploy.options import ExportOptions
    from models.bilstm import BiLSTMConfig
    from models.folder import new_bilstm, save

    teacher = work_dir(arguments.work_dir) / "sst-2" / "teacher"
    if not (teacher / "metrics.json").is_file():
        raise InputError(f"{teacher}: no teacher here yet; run python -m benchmarks.sst2 first")
    place = work_dir(arguments.work_dir) / "peers"
    place.mkdir(parents=True, exist_ok=True)
    columns, tokenizer = _encoded(arguments.data_dir)
    ids = columns["input_ids"].compact()
    known = {"values": ids.values, "offsets": ids.offsets, "labels": columns["labels"]}
    save_file({**known, "vocab_size": np.asarray(len(tokenizer.vocab))}, place / "rows.safetensors")
    dev, _ = read_rows(find_split(arguments.data_dir, "dev"), get_task("sst-2"))
    (place / "texts.txt").write_text("\n".join(dev.texts[0]) + "\n", encoding="utf-8")
    # Speed depends on the shape alone.
    student = new_bilstm(BiLSTMConfig(len(tokenizer.vocab), 300), tokenizer, get_task("sst-2"), 128, 0)
    student.model.eval()
    save(place / "bilstm", student)
    every = {"format": ",".join(SERVED), "max_accuracy_drop": 100.0, "overwrite": True, "data_dir": arguments.data_dir}
    for name, source in (("bert", teacher), ("bilstm", place / "bilstm")):
        export(ExportOptions(model_dir=str(source), output_dir=str(place / f"{name}-static"), **every))
    export(ExportOptions(model_dir=str(teacher), output_dir=str(place / "hf"), format="hf", overwrite=True))
    return place


def sides_of(part: str, arguments: argparse.Namespace, place: Path) -> dict[str, list[Side]]:
    """The sides of every topic of a part."""
    seed = arguments.seed
    # Both may use all cores; what else makes our process quick is ours.
    plain = {**without_tuning(os.environ), "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}

    def ours(name: str, maker: str, **options: Any) -> Side:
        return Side(name, maker, options, dict(os.environ))

    def theirs(name: str, maker: str, **options: Any) -> Side:
        return Side(name, f"{THERE}:{maker}", {"place": str(place), **options}, plain, arguments.torch)

    precisions = PRECISIONS if has_bf16() else PRECISIONS[:1]

    def ours_in_each(maker: str, **options: Any) -> list[Side]:
        names = [f"ours {name}" for name in precisions] if len(precisions) > 1 else ["ours"]
        return [ours(name, maker, **options, precision=p) for name, p in zip(names, precisions, strict=True)]

    def theirs_in_each(maker: str, **options: Any) -> list[Side]:
        return [theirs(p, maker, **options, seed=seed, precision=p) for p in precisions]

    shared = {"place": str(place), "seed": seed}
    if part == "fine-tuning":
        mine = ours_in_each("benchmarks.sides:our_finetuning", data_dir=arguments.data_dir, batches=20, seed=seed)
        return {part: [*mine, *theirs_in_each("finetuning", batches=20)]}
    if part == "teacher":
        others = theirs_in_each("teacher", rows=2048)
        others.append(theirs("compiled", "teacher", rows=2048, seed=seed, precision=precisions[-1], compiled=True))
        return {part: [*ours_in_each(f"{HERE}:our_teacher", **shared, rows=2048), *others]}
    if part == "student":
        mine = ours_in_each(f"{HERE}:our_student", **shared, batches=40)
        return {part: [*mine, *theirs_in_each("student", batches=40)]}
    if part == "distillation":
        live = {"batches": 24, "live_teacher": True}
        mine = ours_in_each(f"{HERE}:our_distillation", **shared, batches=60)
        # As the published recipes cut batches: in random order.
        at_random = theirs("fp32, random batches", "student", **live, seed=seed, by_length=False)
        return {part: [*mine, *theirs_in_each("student", **live), at_random]}
    topics = {}
    for kind in ("bert", "bilstm"):
        for batch_size, rows in ((1, 100), (32, 256)):
            common: dict[str, Any] = {
                "kind": kind,
                "rows": rows,
                "batch_size": batch_size,
                "threads": len(os.sched_getaffinity(0)),
            }
            topics[f"serving {kind}, batch {batch_size}"] = [
                *(
                    ours(f"ours {form}", f"{HERE}:our_serving", place=str(place), form=form, **common)
                    for form in SERVED
                ),
                *(theirs(form, "serving", form=form, **common) for form in ("eager", "compiled", "int8")),
            ]
    return topics


def _rows(place: str) -> dict[str, Any]:
    from safetensors.numpy import load_file

    from data.ragged import Ragged

    known = load_file(Path(place) / "rows.safetensors")
    return {
        "input_ids": Ragged(known["values"], known["offsets"]),
        "labels": known["labels"],
        **{"vocab_size": int(known["vocab_size"])},
    }


def our_teacher(place: str, rows: int, seed: int, precision: str = FP32) -> Turn:
    """The exported graph over rows sorted by length, as :mod:`core.teacher` asks it; a turn takes a random part."""
    import numpy as np

    from core.static_graph import StaticGraph
    from data.batches import TOKENS_PER_BATCH, token_parts

    graph, ids = StaticGraph(Path(place) / "bert-static", shapes=1, precision=precision), _rows(place)["input_ids"]
    lengths, rng = ids.lengths, np.random.default_rng(seed)

    def turn() -> Mapping[str, float]:
        part = rng.permutation(len(lengths))[:rows]
        for batch in token_parts(lengths, part[np.argsort(-lengths[part], kind="stable")], TOKENS_PER_BATCH):
            padded = ids.padded(batch, 0)
            graph.run({"input_ids": padded, "token_type_ids": np.zeros_like(padded)})
        return {"rows": len(part)}

    return turn


def our_student(place: str, batches: int, seed: int, precision: str = FP32) -> Turn:
    """Training steps as ``distill_lstm.bert_distill`` takes them, on stored answers: batches of 128, Adam."""
    import contextlib

    import numpy as np

    from benchmarks.sides import _endless, _our_turn
    from core.classifier import distillation_step
    from data.batches import Batches
    from models.bilstm import BiLSTM, BiLSTMConfig
    from models.occurring import occurring_rows

    known = _rows(place)
    student = BiLSTM(BiLSTMConfig(known.pop("vocab_size"), 300))
    stack = contextlib.ExitStack()
    stack.enter_context(occurring_rows(student, np.unique(known["input_ids"].values)))
    answers = np.zeros((len(known["labels"]), 2), np.float32)
    stream: Batches = _endless(Batches({**known, "teacher_logits": answers}, 128, seed=seed))  # type: ignore[assignment]
    step = distillation_step(student)
    turn = _our_turn(student, step, stream, batches, "adam", learning_rate=1e-3, seed=seed, precision=precision)  # type: ignore[arg-type]

    def kept(stack: contextlib.ExitStack = stack) -> Mapping[str, float]:
        # The turn holds on to the stack, or the embedding would be made whole again.
        return {"rows": turn()["rows"]}

    return kept


def our_distillation(place: str, batches: int, seed: int, precision: str = FP32) -> Turn:
    """The teacher once over a part of the rows, and the student so often over as many."""
    student = our_student(place, batches, seed, precision)
    teacher = our_teacher(place, 128 * batches // PASSES, seed, precision)

    def turn() -> Mapping[str, float]:
        teacher()
        return student()

    return turn


def our_serving(place: str, kind: str, form: str, rows: int, batch_size: int, threads: int) -> Turn:
    """Text in, label out, from an export folder; see :func:`benchmarks.peers_torch.serving`."""
    from itertools import count

    from deploy.predictor import Predictor

    runtime, precision = SERVED[form]
    model = Predictor(Path(place) / f"{kind}-static", threads, runtime=runtime, precision=precision)
    texts, at = (Path(place) / "texts.txt").read_text(encoding="utf-8").splitlines(), count()

    def turn() -> Mapping[str, float]:
        start = rows * next(at)
        part = [texts[(start + number) % len(texts)] for number in range(rows)]
        if batch_size > 1:
            model.logits([part], batch_size).argmax(-1).tolist()
        else:
            for text in part:
                model.logits([[text]], 1).argmax(-1).tolist()
        return {"rows": rows}

    return turn


if __name__ == "__main__":
    raise SystemExit(run_script(main))
