"""Exports a model folder: a static graph that serves, or a Hugging Face folder.

python -m deploy.export --model_dir outputs/student --output_dir outputs/exported
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from args import Options, option, parse, positive
from console import InputError, run_script, say
from data.sources import find_split, read_rows
from data.store import new_folder, write_atomically
from data.tasks import Task
from deploy.predictor import EXPORT_CONFIG, EXPORT_FORMAT

SCRIPT = "deploy.export"
TOLERANCE = 1e-5


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """Options of ``deploy.export``."""

    model_dir: str = option(help="the model folder")
    output_dir: str = option(help="folder that receives the export")
    format: str = option(
        "paddle", "a static graph for Paddle Inference, or a Hugging Face folder (BERTs only)", choices=("paddle", "hf")
    )
    data_dir: str | None = option(
        None, "folder of the task whose dev rows the export is checked on; else the built-in corpus"
    )
    parity_rows: int = option(64, "rows on which graph and model must agree", check=positive)
    overwrite: bool = option(False, "replace an earlier export in --output_dir")


def main(argv: list[str]) -> None:
    """Parses the command line and exports."""
    export(parse(ExportOptions, argv, __doc__ or "", f"python -m {SCRIPT}"))


def export(options: ExportOptions) -> None:
    """Exports a model folder.

    Raises:
        InputError: the model or the output folder cannot be used, or graph and model disagree.
    """
    from models.folder import load

    target = Path(options.output_dir)
    _check_target(target, options)
    loaded = load(options.model_dir)
    if options.format == "hf":
        _export_hugging_face(loaded, target)
        return
    rows = parity_rows(loaded.task, options.data_dir, options.parity_rows)
    with new_folder(target) as temporary:
        largest = write_export(loaded, temporary, rows)
    size = sum(path.stat().st_size for path in target.iterdir())
    say(
        f"exported to {target}: {size / 1e6:.1f} MB; parity on {len(rows[0])} rows: largest difference "
        f"{largest:.1e} of a logit (allowed {TOLERANCE:.0e})"
    )


def _check_target(target: Path, options: ExportOptions) -> None:
    if target.resolve() == Path(options.model_dir).resolve():
        raise InputError(f"--output_dir {target}: must not be the model folder itself")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not options.overwrite:
        raise InputError(f"--output_dir {target} is not empty; pass --overwrite or choose another folder")
    if not _is_export(target):
        raise InputError(f"--overwrite: {target} holds no export of ours; choose another folder")


def _is_export(folder: Path) -> bool:
    """Whether an earlier export may be replaced here; a model folder, which took hours, may not."""
    from models.folder import OURS, read_config

    if (folder / EXPORT_CONFIG).is_file():
        return True
    try:
        return OURS in read_config(folder) and not (folder / "training_args.json").exists()
    except InputError:
        return False


def write_export(loaded, folder: Path, rows: list[list[str]]) -> float:  # noqa: ANN001 - models.LoadedModel
    """Writes graph, tokenizer and ``export.json`` into ``folder`` and checks the graph against the model.

    Args:
        loaded: the model.
        folder: exists and is empty.
        rows: texts to check on, one list a text column.

    Returns:
        The largest difference of a logit, relative to max(1, |logit|).

    Raises:
        InputError: the difference is above 1e-5.
    """
    from core.evaluate import dygraph_forward, predict_logits
    from core.static_graph import StaticGraph, save_graph

    save_graph(loaded, folder)
    loaded.tokenizer.save(folder)
    graph = StaticGraph(folder)
    encoder = loaded.encoder
    columns = encoder.encode(rows)
    expected = predict_logits(dygraph_forward(loaded.model), columns, encoder.pad_id, 32)
    found = predict_logits(graph, columns, encoder.pad_id, 32)
    largest = float((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max())
    if not largest <= TOLERANCE:
        raise InputError(
            f"the static graph differs from the model by {largest:.1e} of a logit, allowed is {TOLERANCE:.0e}"
        )
    record = {
        "format": EXPORT_FORMAT,
        "model_type": loaded.model.model_type,
        "task": loaded.task.name,
        "language": loaded.task.language,
        "text_columns": loaded.task.text_columns,
        "labels": loaded.task.labels,
        "tokenizer": loaded.tokenizer.kind,
        "layout": loaded.model.layout,
        "max_seq_length": loaded.max_seq_length,
        "inputs": graph.inputs,
        "parameters": loaded.parameters,
        "parity": {"rows": len(rows[0]), "largest_relative_difference": largest},
    }
    write_atomically(folder / EXPORT_CONFIG, json.dumps(record, indent=1, ensure_ascii=False))
    return largest


def parity_rows(task: Task, data_dir: str | None, count: int) -> list[list[str]]:
    """Texts of a task: dev rows of ``data_dir``, or of the built-in corpus in the task's language."""
    if data_dir:
        rows, _ = read_rows(find_split(data_dir, "dev"), task, labelled=False)
        if len(rows) == 0:
            raise InputError(f"--data_dir {data_dir}: its dev file has no rows")
        return [column[:count] for column in rows.texts]
    from data.demo_corpus import chinese_sentiment, english_pairs, english_sentiment

    if task.is_pair and task.language == "en":
        texts = [row.texts for row in english_pairs(count, seed=0)]
    else:
        sentences = chinese_sentiment if task.language == "zh" else english_sentiment
        texts = [row.texts * len(task.text_columns) for row in sentences(count, seed=0)]
    return [list(column) for column in zip(*texts, strict=True)]


def _export_hugging_face(loaded, target: Path) -> None:  # noqa: ANN001 - models.LoadedModel
    from models.bert import to_hugging_face
    from models.folder import model_config
    from models.weights import layer_weights, write_safetensors

    if loaded.model.model_type != "bert":
        raise InputError(
            f"--format hf: only BERTs have a Hugging Face counterpart, this is a {loaded.model.model_type}"
        )
    if loaded.model.config.head_size is not None:
        raise InputError("--format hf: Hugging Face's BERT cannot hold a narrowed attention; export --format paddle")
    with new_folder(target) as temporary:
        loaded.tokenizer.save(temporary)
        weights = to_hugging_face(layer_weights(loaded.model))
        write_safetensors(temporary / "model.safetensors", weights, tensor_format="pt")
        write_atomically(temporary / "config.json", json.dumps(model_config(loaded), indent=1, ensure_ascii=False))
    say(f"exported to {target} for Hugging Face transformers")


if __name__ == "__main__":
    raise SystemExit(run_script(main))
