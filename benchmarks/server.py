"""What deploy.serve answers a second: one client, many, and many whose requests may not share batches.

    python -m benchmarks.server --data_dir DIR

A request holds one row. Clients are threads of another process on the same cores; each keeps its connection and asks
again when it is answered. Speed depends on shapes, not on weights: those here are random.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import argparse
import atexit
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, Side, Turn, alternate, parser, write_result
from benchmarks.tinybert_serving import models_of_all_shapes
from console import run_script

MODELS = ("bilstm", "teacher")
FORMS = {"paddle": ("paddle", "fp32"), "onnx-int8": ("onnx", "int8")}
# Rows of a batch, and whether many clients ask.
WAYS = {"one client": (32, False), "many clients": (32, True), "many clients, apart": (1, True)}


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--turns", type=int, default=5, help="turns of every side")
    made.add_argument("--clients", type=int, default=16, help="that ask at the same time")
    made.add_argument("--rows", type=int, default=400, help="rows of a turn")
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folders = exported(Path(place), arguments.data_dir)
        rates = alternate(sides(arguments, folders), arguments.turns)
    found = {
        model: {form: {way: rates[f"{model}, {form}, {way}"]["rows_per_second"] for way in WAYS} for form in FORMS}
        for model in MODELS
    }
    figures = {"models": found, "clients": arguments.clients, "turns": arguments.turns}
    write_result("server", arguments, figures, time.perf_counter() - began)


def exported(place: Path, data_dir: str) -> dict[str, str]:
    """Exports of the models, with random weights."""
    from deploy.exporter import export
    from deploy.options import ExportOptions
    from models.folder import save

    models, folders = models_of_all_shapes(), {}
    for name in MODELS:
        save(place / "models" / name, models[name])
        folders[name] = str(place / "exported" / name)
        # Random weights have nothing to lose.
        every = {"format": ",".join(FORMS), "max_accuracy_drop": 100.0, "data_dir": data_dir}
        export(ExportOptions(model_dir=str(place / "models" / name), output_dir=folders[name], **every))
    return folders


def sides(arguments: argparse.Namespace, folders: Mapping[str, str]) -> list[Side]:
    """A server for every model, form and way of asking, each with its clients."""
    found = []
    for (model, folder), (form, (runtime, precision)), (way, (batch, many)) in product(
        folders.items(), FORMS.items(), WAYS.items()
    ):
        options = {
            "words": ["--model_dir", folder, "--runtime", runtime, "--precision", precision, "--batch_size", batch],
            "clients": arguments.clients if many else 1,
            "data_dir": arguments.data_dir,
            "rows": arguments.rows,
        }
        found.append(Side(f"{model}, {form}, {way}", "benchmarks.server:asking", options, dict(os.environ)))
    return found


def asking(words: Sequence[Any], clients: int, data_dir: str, rows: int) -> Turn:
    """A server of its own, and clients that ask it as many times a turn as there are rows."""
    from data.sources import find_split, read_rows
    from data.tasks import get_task

    known, _ = read_rows(find_split(data_dir, "dev"), get_task("sst-2"))
    texts = list(known.texts[0][:rows])
    command = [sys.executable, "-m", "deploy.serve", "--port", "0", *map(str, words)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    atexit.register(server.terminate)
    assert server.stdout
    port = int(server.stdout.readline().rsplit(":", 1)[1].split("/")[0])
    connections = [HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(clients)]
    pool = ThreadPoolExecutor(clients)

    def ask(client: int) -> int:
        answered = 0
        for text in texts[client::clients]:
            connections[client].request("POST", "/predict", json.dumps([text]))
            with connections[client].getresponse() as answer:
                answered += len(json.load(answer)["predictions"])
        return answered

    return lambda: {"rows": sum(pool.map(ask, range(clients)))}


if __name__ == "__main__":
    raise SystemExit(run_script(main))
