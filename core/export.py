"""Export folders: a static graph with tokenizer and description, checked against the model it was made from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from console import InputError
from core.recorded import ARGUMENTS, recorded_dev
from data.questions import Questions, find_questions, read_questions
from data.sources import Rows, find_split, read_rows
from data.tasks import Task
from files import check_new_folder, file_checksum, is_plain_name, read_json, write_json

if TYPE_CHECKING:
    # Predicting reads export folders without the networks, whose import costs seconds.
    from models.folder import LoadedModel

EXPORT_CONFIG = "export.json"
EXPORT_FORMAT = "paddledistill-export-1"
# Rounding alone may reach a few 1e-5: a trained BERT differs as much from itself in batches of another size.
TOLERANCE = 1e-4


def write_export(
    loaded: LoadedModel, folder: Path, rows: list[list[str]], source: str | os.PathLike[str] | None = None
) -> float:
    """Writes graph, tokenizer and ``export.json`` into ``folder`` and checks the graph against the model.

    Args:
        loaded: the model.
        folder: exists and is empty.
        rows: texts to check on, one list per text column.
        source: the model folder, so that the export can tell which weights it was made from.

    Returns:
        The largest difference of a logit, relative to max(1, |logit|).

    Raises:
        InputError: the difference is above :data:`TOLERANCE`, or the model has no task to serve.
    """
    from core.static_graph import StaticGraph, save_graph
    from models.weights import WEIGHTS

    task = loaded.labelled
    names = save_graph(loaded, folder)
    loaded.tokenizer.save(folder)
    graph = StaticGraph(folder, outputs=names)
    expected, found = _both_sides(loaded, graph, rows)
    largest = float((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max())
    if not largest <= TOLERANCE:
        raise InputError(
            f"the static graph differs from the model by {largest:.1e} of a logit, allowed is {TOLERANCE:.0e}"
        )
    record = {
        "format": EXPORT_FORMAT,
        "model_type": loaded.model.model_type,
        "task": task.name,
        "kind": task.kind,
        "metric": task.metric,
        "label_column": task.label_column,
        "windows": task.windows,
        "language": task.language,
        "text_columns": task.text_columns,
        "labels": task.labels or [],
        "tokenizer": loaded.tokenizer.kind,
        "layout": loaded.model.layout,
        "max_seq_length": loaded.max_seq_length,
        "inputs": graph.inputs,
        "parameters": loaded.parameters,
        **({"weights": file_checksum(Path(source) / WEIGHTS)} if source is not None else {}),
        "parity": {"rows": len(rows[0]), "largest_relative_difference": largest},
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": file_checksum(path)}
            for path in sorted(folder.iterdir())
        },
    }
    write_json(folder / EXPORT_CONFIG, record)
    return largest


def _both_sides(loaded: LoadedModel, graph: Any, rows: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
    """All numbers that model and graph put out for some rows."""
    from core.evaluate import dygraph_forward, dygraph_spans, predict_logits
    from core.spans import span_logits

    encoder = loaded.encoder
    columns = encoder.encode(rows)
    if loaded.labelled.kind == "span":
        sides = [
            np.concatenate([end.values for end in span_logits(forward, columns, encoder.pad_id)])
            for forward in (dygraph_spans(loaded.model), graph.run)  # type: ignore[arg-type]
        ]
        return sides[0], sides[1]
    forward = dygraph_forward(loaded.model)
    return predict_logits(forward, columns, encoder.pad_id, 32), predict_logits(graph, columns, encoder.pad_id, 32)


def read_export_config(folder: str | os.PathLike[str], option: str = "--model_dir") -> dict[str, Any]:
    """``export.json`` of an export folder, whose files are those that were written.

    Args:
        folder: the export folder.
        option: names it in errors.

    Raises:
        InputError: no such folder, not an export folder, or a file in it is damaged.
    """
    path = Path(folder) / EXPORT_CONFIG
    if not Path(folder).is_dir():
        raise InputError(f"{option} {folder}: no such folder")
    if not path.is_file():
        hint = "; export it first with deploy.export" if (Path(folder) / "model.safetensors").is_file() else ""
        raise InputError(f"{option} {folder}: no {EXPORT_CONFIG} here, so this is no export folder{hint}")
    try:
        config = read_json(path)
        if config["format"] != EXPORT_FORMAT:
            raise ValueError(f"format {config['format']!r}")
        files = config.get("files", {})
        if not isinstance(files, dict) or not all(map(is_plain_name, files)):
            raise ValueError("its list of files")
        # Exports of earlier versions list none.
        for name, known in files.items():
            _check_file(Path(folder) / name, known)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not an {EXPORT_CONFIG} of ours ({error}); export again") from error
    return config


def _check_file(path: Path, known: Mapping[str, Any]) -> None:
    if not path.is_file() or path.stat().st_size != known["bytes"]:
        found = f"{path.stat().st_size:,}" if path.is_file() else "none"
        raise InputError(f"{path}: expected {known['bytes']:,} bytes, found {found}; export the model again")
    if file_checksum(path) != known["sha256"]:
        raise InputError(f"{path}: damaged (its checksum differs from the one written); export the model again")


@dataclass(frozen=True)
class Texts:
    """Texts of a task.

    Attributes:
        columns: one list per text column.
        where: they stand, for the screen.
    """

    columns: list[list[str]]
    where: str


def parity_rows(
    task: Task,
    data_dir: str | None,
    count: int,
    dev_file: str | None = None,
    trained_in: str | os.PathLike[str] | None = None,
) -> Texts:
    """Texts that a model is checked or measured on.

    Args:
        task: of the model.
        data_dir: folder of the task, whose dev rows are taken.
        count: rows at most.
        dev_file: rows of one's own, instead.
        trained_in: where neither is given, a model folder whose run says which dev rows it read; after that, the
            built-in corpus in the task's language.

    Raises:
        InputError: a file is missing, or not as expected.
    """
    if dev_file or data_dir:
        return _given_rows(task, data_dir, count, dev_file)
    found = recorded_dev(trained_in, task, labelled=False) if trained_in is not None else None
    if found is not None:
        rows, where = found
        return Texts(_columns(rows, count), where)
    from data.demo_corpus import chinese_sentiment, english_pairs, english_sentiment

    if task.is_pair and task.language == "en":
        return _built_in([row.texts for row in english_pairs(count, seed=0)], "English questions")
    sentences, name = (
        (chinese_sentiment, "Chinese reviews") if task.language == "zh" else (english_sentiment, "English reviews")
    )
    return _built_in([row.texts * len(task.text_columns) for row in sentences(count, seed=0)], name)


def _given_rows(task: Task, data_dir: str | None, count: int, dev_file: str | None) -> Texts:
    if task.kind == "span":
        source = Path(dev_file) if dev_file else find_questions(data_dir or "", "dev", task.name)
        return Texts(_columns(read_questions(source, labelled=False), count), str(source))
    source = Path(dev_file) if dev_file else find_split(data_dir or "", "dev")
    rows, _ = read_rows(source, task, labelled=False)
    if len(rows) == 0:
        raise InputError(f"{source}: no rows")
    return Texts(_columns(rows, count), str(source))


def _columns(rows: Rows | Questions, count: int) -> list[list[str]]:
    if isinstance(rows, Questions):
        return [rows.questions[:count], [rows.contexts[number] for number in rows.context_of[:count]]]
    return [column[:count] for column in rows.texts]


def _built_in(rows: list[tuple[str, ...]], name: str) -> Texts:
    return Texts([list(column) for column in zip(*rows, strict=True)], f"the built-in {name}")


def check_target(target: Path, option: str, overwrite: bool) -> None:
    """Refuses to write an export over anything but an earlier one.

    Args:
        target: the folder that is to receive it.
        option: names the folder in errors.
        overwrite: whether an earlier export may be replaced.

    Raises:
        InputError: the folder is in use, or cannot be made.
    """
    check_new_folder(target, option)
    if not target.exists() or not any(target.iterdir()):
        return
    if not overwrite:
        raise InputError(f"{option} {target} is not empty; pass --overwrite or choose another folder")
    if not _is_export(target):
        raise InputError(f"--overwrite: {target} holds no export of ours; choose another folder")


def _is_export(folder: Path) -> bool:
    """Whether an earlier export may be replaced here; a model folder, which took hours, may not."""
    from models.folder import OURS, read_config

    if (folder / EXPORT_CONFIG).is_file():
        return True
    try:
        return OURS in read_config(folder) and not (folder / ARGUMENTS).exists()
    except InputError:
        return False
