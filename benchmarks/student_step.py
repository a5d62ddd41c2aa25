"""How near the student's training step comes to the machine's matrix rate, and what takes the rest.

python -m benchmarks.student_step --data_dir DIR
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import Side, alternate, parser, work_dir, write_result
from console import run_script

MODULE = "benchmarks.sides"


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--turns", type=int, default=6)
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    from benchmarks.sides import prepare
    from data.transfer import load_transfer_set

    teacher_dir, transfer_dir = prepare(arguments.data_dir, work_dir(arguments.work_dir))
    occurring = np.unique(load_transfer_set(transfer_dir).columns[0].values).astype(np.int64)
    shared = {"teacher_dir": teacher_dir, "transfer_dir": transfer_dir, "seed": arguments.seed, "batches": 60}
    default = {"batch_size": 64, "optimizer_name": "adadelta"}
    sides = [
        Side("defaults", f"{MODULE}:student_steps", {**shared, **default}, dict(os.environ)),
        Side("adam_128", f"{MODULE}:student_steps", {**shared, "embedding_size": 384}, dict(os.environ)),
        Side("matrix", f"{MODULE}:matrix_product", {}, dict(os.environ)),
    ]
    rates = alternate(sides, arguments.turns)
    machine = rates["matrix"]["flops_per_second"]
    figures = {
        "matrix_gflops": machine / 1e9,
        **{
            name: {
                "rows_per_second": rates[name]["rows_per_second"],
                "gflops": rates[name]["flops_per_second"] / 1e9,
                "share_of_matrix_rate": rates[name]["flops_per_second"] / machine,
                "milliseconds": parts(occurring, **options),
            }
            for name, options in (("defaults", {**default, "width": 300}), ("adam_128", {"width": 384}))
        },
        "embedding_rows_that_occur": len(occurring),
        "turns": arguments.turns,
    }
    write_result("student_step", arguments, figures, time.perf_counter() - began)


def parts(
    occurring: np.ndarray, batch_size: int = 128, optimizer_name: str = "adam", width: int = 300, tokens: int = 13
) -> dict[str, float]:
    """Medians of the parts of a step, in milliseconds, for a batch without padding of the ids that occur."""
    import paddle

    from models.bilstm import BiLSTM, BiLSTMConfig
    from models.occurring import occurring_rows

    student = BiLSTM(BiLSTMConfig(30522, width))
    ids = paddle.to_tensor(np.random.default_rng(0).choice(occurring, [batch_size, tokens]))
    with occurring_rows(student, occurring):
        return _parts(student, ids, optimizer_name)


def _parts(student: Any, ids: Any, optimizer_name: str) -> dict[str, float]:
    import paddle

    from core.optim import make_optimizer

    batch_size, tokens = ids.shape
    width = student.config.embedding_size
    optimizer = make_optimizer(optimizer_name, student)
    embedded = paddle.randn([batch_size, tokens, width])
    embedded.stop_gradient = False
    targets = paddle.zeros([batch_size, 2])

    def whole_step() -> None:
        paddle.nn.functional.mse_loss(student(ids), targets).backward()
        optimizer.step()
        optimizer.clear_grad()

    def recurrent() -> None:
        student.lstm.sentences(embedded, None, last_only=True).sum().backward()
        student.lstm.clear_gradients()
        embedded.clear_gradient()

    def embedding() -> None:
        student.embedding(ids).sum().backward()
        student.embedding.clear_gradients()

    student.train()
    measured = {
        "whole_step": _median(whole_step),
        "lstm_forward_and_backward": _median(recurrent),
        "embedding_forward_and_backward": _median(embedding),
    }
    paddle.nn.functional.mse_loss(student(ids), targets).backward()
    measured["optimizer"] = _median(optimizer.step)
    return measured


def _median(work: Callable[[], object], turns: int = 15) -> float:
    times = []
    for _ in range(turns + 2):
        began = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - began))
    return round(statistics.median(times[2:]), 2)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
