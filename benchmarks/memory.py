"""Peak memory of a million rows through augmentation, encoding, teacher outputs and the first training steps.

python -m benchmarks.memory --data_dir DIR
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import resource
import shutil
import time
from typing import Any

from benchmarks.common import parser, work_dir, write_result
from console import InputError, run_script

GOAL_ROWS = 1_000_000
STEPS = 50


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--n_iter", type=int, default=32)
    made.add_argument("--rows", type=int, default=GOAL_ROWS)
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    write_result("memory", arguments, measure(arguments), time.perf_counter() - began)


def peak_gb() -> float:
    """The most memory this process has had resident so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def measure(arguments: Any) -> dict[str, Any]:
    """The peak after every stage; nothing is taken from a cache."""
    from core.classifier import distillation_step
    from core.metrics import Selection
    from core.teacher import Teacher
    from core.train import LoopSettings, Updater
    from data.augment import Augmentation
    from data.batches import Batches
    from data.sources import find_split, read_rows
    from data.tasks import get_task
    from data.transfer import build_transfer_set
    from models.bilstm import BiLSTMConfig
    from models.folder import load, new_bilstm

    work = work_dir(arguments.work_dir) / "sst-2"
    if not (work / "teacher" / "metrics.json").is_file():
        raise InputError(f"no fine-tuned teacher in {work}: run python -m benchmarks.sst2 first")
    scratch = work / "memory"
    shutil.rmtree(scratch, ignore_errors=True)
    peaks, seconds = {"start": peak_gb()}, {}
    teacher = load(work / "teacher")
    rows, _ = read_rows(find_split(arguments.data_dir, "train"), get_task("sst-2"))
    began = time.perf_counter()
    how = Augmentation(n_iter=arguments.n_iter)
    transfer = build_transfer_set(rows, teacher.tokenizer, how, 0, scratch / "transfer", whole_words=False)
    if len(transfer) < arguments.rows:
        raise InputError(
            f"--n_iter {arguments.n_iter} gave {len(transfer):,} rows; raise it to reach {arguments.rows:,}"
        )
    peaks["augmentation"], seconds["augmentation"] = peak_gb(), time.perf_counter() - began
    began = time.perf_counter()
    with Teacher(teacher, scratch / "cache") as asked:
        outputs = asked.outputs(transfer)
    peaks["teacher_outputs"], seconds["teacher_outputs"] = peak_gb(), time.perf_counter() - began
    student = new_bilstm(BiLSTMConfig(len(teacher.tokenizer.vocab)), teacher.tokenizer, teacher.task, 128, 0)
    columns = student.encoder.arrange(transfer.encode(teacher.tokenizer))
    peaks["encoding"] = peak_gb()
    steps = Batches(columns.with_(teacher_logits=outputs.logits, labels=transfer.labels), 128).epoch(0)
    settings = LoopSettings(epochs=1, learning_rate=1e-3, optimizer="adam", select_by=Selection("accuracy"))
    updater = Updater(student.model, distillation_step(student.model), settings, STEPS)
    student.model.train()
    for number in range(STEPS):
        updater.update([next(steps)], number)
    peaks["training"] = peak_gb()
    shutil.rmtree(scratch)
    return {"rows": len(transfer), "peak_gb_after": peaks, "peak_gb": peaks["training"], "seconds": seconds}


if __name__ == "__main__":
    raise SystemExit(run_script(main))
