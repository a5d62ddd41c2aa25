"""What each kind of student costs to serve: TinyBERT, once-for-all sub-networks of about its size, Bi-LSTM, teacher.

    python -m benchmarks.tinybert_serving --data_dir DIR

Speed depends on shapes, not on weights: those here are random, so that nothing has to be trained. The README's table
puts the accuracies of benchmarks.tinybert, benchmarks.ofa and benchmarks.sst2 beside them.
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.common import benchmarked, parser, write_result
from benchmarks.tinybert import SHAPES
from console import run_script

if TYPE_CHECKING:
    from models.folder import LoadedModel

# What figures of a form stand under, with as many threads.
TITLES = {"paddle": "{}", "onnx-int8": "{}, int8"}
TEACHER = {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12}
HALF = {**TEACHER, "num_hidden_layers": 3, "head_size": 32}
BERTS: dict[str, dict[str, int]] = {
    "teacher": TEACHER,
    **SHAPES,
    "ofa-0.6667x0.5": {**HALF, "num_attention_heads": 8, "intermediate_size": 1024},
    "ofa-0.5x0.5": {**HALF, "num_attention_heads": 6, "intermediate_size": 768},
}


def main(argv: list[str]) -> None:
    """Measures and writes the result."""
    made = parser(__doc__ or "")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--rows", type=int, default=256)
    arguments = made.parse_args(argv)
    began = time.perf_counter()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        exported, parameters = export_shapes(Path(place), arguments.data_dir)
        for record in benchmarked(exported, arguments.data_dir, arguments.rows, arguments.rounds):
            if title := TITLES.get(record["form"]):
                figures.setdefault(title.format(record["threads"]), {})[record["model"]] = record
    write_result("tinybert_serving", arguments, {**figures, "parameters": parameters}, time.perf_counter() - began)


def export_shapes(place: Path, data_dir: str) -> tuple[list[str], dict[str, int]]:
    """Exports a model of every shape; their folders, and how many weights each has."""
    from deploy.exporter import export
    from deploy.options import ExportOptions
    from models.folder import save

    folders, parameters = [], {}
    for name, loaded in models_of_all_shapes().items():
        save(place / "models" / name, loaded)
        folders.append(str(place / "exported" / name))
        parameters[name] = loaded.parameters
        # Random weights have nothing to lose.
        every = {"format": "paddle,onnx-int8", "max_accuracy_drop": 100.0, "data_dir": data_dir}
        export(ExportOptions(model_dir=str(place / "models" / name), output_dir=folders[-1], **every))
    return folders, parameters


def models_of_all_shapes() -> dict[str, LoadedModel]:
    """A model of every shape, with random weights."""
    from data.tasks import get_task
    from data.tokenization import WordPieceTokenizer
    from demo import STUDENT
    from models.bert import BertConfig, BertForSequenceClassification
    from models.bilstm import BiLSTMConfig
    from models.folder import LoadedModel, new_bilstm
    from models.pretrained import bundled_folder

    tokenizer, task = WordPieceTokenizer.load(bundled_folder()), get_task("sst-2")
    found = {}
    for name, shape in BERTS.items():
        model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer.vocab), **shape))
        model.eval()
        found[name] = LoadedModel(model, tokenizer, task, 128)
    config = BiLSTMConfig(vocab_size=len(tokenizer.vocab), embedding_size=int(STUDENT["embedding_size"]))  # type: ignore[call-overload]
    found["bilstm"] = new_bilstm(config, tokenizer, task, 128, 0)
    found["bilstm"].model.eval()
    return found


if __name__ == "__main__":
    raise SystemExit(run_script(main))
