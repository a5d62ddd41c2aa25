"""Forms of one export: Paddle's static graph, ONNX and int8; what each costs to serve, and what it loses.

    python -m benchmarks.formats --data_dir DIR

The models are those of benchmarks.sst2 and benchmarks.tinybert that are there, a sub-network of
benchmarks.tinybert_ofa, and a Bi-LSTM that is distilled here, over 20,000 rows, where it is not there yet. BERTs are
quantised a second time, calibrated on training rows, to see which way keeps more of the accuracy.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import recipe
from benchmarks.common import benchmarked, parser, work_dir, write_result
from console import InputError, run_script, say
from demo import STUDENT

if TYPE_CHECKING:
    import numpy as np

FORMATS = "paddle,onnx,onnx-int8"
BILSTM = {"n_iter": 0, "max_train_rows": 20000, "max_epoch": 6, "eval_steps": 250, "seed": 1}
# Of the TinyBERT that learnt to be many widths: two thirds of it.
WIDTH, DEPTH = 2 / 3, 1.0
CALIBRATION_ROWS = 256


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--rows", type=int, default=256)
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    folder = work_dir(arguments.work_dir) / "sst-2"
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for name, source in models(folder, Path(place), arguments.data_dir).items():
            say(f"== {name}")
            target = Path(place) / name
            found[name] = measured(source, target, arguments.data_dir, arguments.rows, arguments.rounds)
    figures = {"models": found, "bilstm": {**STUDENT, **BILSTM}, "calibration_rows": CALIBRATION_ROWS}
    write_result("formats", arguments, figures, time.perf_counter() - began)


def models(folder: Path, place: Path, data_dir: str) -> dict[str, Path]:
    """The folders of the models that are measured, by name."""
    from models.folder import load
    from ofa_bert.shapes import make_shape
    from ofa_bert.sub_model import write_sub_model

    teacher, student = folder / "teacher", folder / "formats-bilstm"
    if not (teacher / "metrics.json").is_file():
        raise InputError(f"{teacher}: no teacher here yet; run python -m benchmarks.sst2 first")
    shared = {"task_name": "sst-2", "data_dir": data_dir, "cache_dir": str(folder / "cache"), "resume": True}
    own = {"teacher_dir": str(teacher), "output_dir": str(student)}
    recipe.run("distill_lstm.bert_distill", {**shared, **STUDENT, **BILSTM, **own}, jobs=1)
    found = {"bilstm": student, "teacher": teacher}
    for shape in ("4x312", "3x384"):
        known = folder / "tinybert" / f"{shape}-distilled-1"
        if (known / "metrics.json").is_file():
            found[f"tinybert-{shape}"] = known
    network = folder / "tinybert-network" / "width"
    if (network / "metrics.json").is_file():
        loaded = load(network)
        found["ofa-4x312-two-thirds"] = place / "sub-network"
        write_sub_model(loaded, make_shape(vars(loaded.model.config), WIDTH, DEPTH), place / "sub-network")
    return found


def measured(source: Path, target: Path, data_dir: str, rows: int, rounds: int) -> dict[str, Any]:
    """What every form of a model weighs, loses and costs, with one thread and with all."""
    from core.export import read_export_config
    from deploy.exporter import export
    from deploy.options import ExportOptions

    every = {"format": FORMATS, "max_accuracy_drop": 100.0, "data_dir": data_dir}
    export(ExportOptions(model_dir=str(source), output_dir=str(target), **every))
    config = read_export_config(target)
    speed: dict[str, dict[str, Any]] = {}
    for record in benchmarked([str(target)], data_dir, rows, rounds):
        kept = {k: v for k, v in record.items() if k not in ("model", "form", "texts", "threads")}
        speed.setdefault(str(record["threads"]), {})[record["form"]] = kept
    found = {"parameters": config["parameters"], "forms": config["forms"], "threads": speed}
    return {**found, **({"calibrated": calibrated(target, data_dir)} if config["model_type"] == "bert" else {})}


def calibrated(folder: Path, data_dir: str) -> dict[str, float]:
    """A BERT with activations quantised by scales that training rows gave: its accuracy, and its time per row."""
    import numpy as np
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    from core.onnx_graph import ONNX, OnnxGraph, quietly
    from core.texts import given_rows
    from data.sources import find_split, read_rows
    from deploy.predictor import Predictor

    model = Predictor(folder, 1, runtime="onnx", precision="fp32")
    train, _ = read_rows(find_split(data_dir, "train"), model.task)
    chosen = np.linspace(0, len(train) - 1, CALIBRATION_ROWS).astype(int)

    class Rows(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(chosen.tolist())

        def get_next(self) -> Mapping[str, np.ndarray] | None:
            row = next(self._left, None)
            if row is None:
                return None
            ids = model.encoder.encode([[train.texts[0][row]]])["input_ids"].padded(np.asarray([0]), 0)
            return {"input_ids": ids, "token_type_ids": np.zeros_like(ids)}

    dev, _ = given_rows(model.task, data_dir, None)
    path = folder / "calibrated.onnx"
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    with quietly():
        quantize_static(
            str(folder / ONNX),
            str(path),
            Rows(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            **kinds,
        )
    sides: Sequence[Any] = (Predictor(folder, 1, runtime="onnx", precision="int8").graph, OnnxGraph(path, 1))
    found: dict[str, float] = {}
    for name, graph in zip(("dynamic", "calibrated"), sides, strict=True):
        model.graph = graph
        model.logits(dev.texts, 1)
        began = time.perf_counter()
        for text in dev.texts[0][:100]:
            model.logits([[text]], 1)
        found[f"{name}_mean_ms"] = 10 * (time.perf_counter() - began)
        found[f"{name}_accuracy"] = float((model.logits(dev.texts).argmax(-1) == dev.labels).mean())
    return found


if __name__ == "__main__":
    raise SystemExit(run_script(main))
