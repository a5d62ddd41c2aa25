"""Export folders: a static graph with tokenizer and description, checked against the model it was made from."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from console import InputError
from core.forms import FORMS, Graph, forms_of, open_form
from core.lost_accuracy import Validation, lost_accuracy
from core.onnx_graph import save_int8, save_onnx
from core.recorded import ARGUMENTS
from files import check_new_folder, file_checksum, is_plain_name, read_json, write_json

if TYPE_CHECKING:
    # Predicting reads export folders without the networks, whose import costs seconds.
    from models.folder import LoadedModel

EXPORT_CONFIG = "export.json"
EXPORT_FORMAT = "paddledistill-export-1"
# Rounding alone may reach a few 1e-5: a trained BERT differs as much from itself in batches of another size.
TOLERANCE = 1e-4


def write_export(
    loaded: LoadedModel,
    folder: Path,
    rows: list[list[str]],
    source: str | os.PathLike[str] | None = None,
    forms: Sequence[str] = ("paddle",),
    validation: Validation | None = None,
) -> dict[str, Any]:
    """Writes graphs, tokenizer and ``export.json`` into ``folder`` and checks the graphs against the model.

    Args:
        loaded: the model.
        folder: exists and is empty.
        rows: texts to check on, one list per text column.
        source: the model folder, so that the export can tell which weights it was made from.
        forms: of :data:`FORMS`, which are written.
        validation: what int8 is checked on; needed for it.

    Returns:
        What ``export.json`` holds. Of ``parity`` the largest difference of a logit in fp32, relative to
        max(1, |logit|).

    Raises:
        InputError: the difference is above :data:`TOLERANCE`, int8 loses too much, or the model has no task to serve.
    """
    from core.static_graph import save_graph
    from models.weights import WEIGHTS

    task = loaded.labelled
    loaded.tokenizer.save(folder)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # Everything is made from the static graph; what was not asked for stays behind.
        names = save_graph(loaded, Path(scratch))
        if set(forms) & {"onnx", "onnx-int8"}:
            save_onnx(scratch, scratch, names)
        if "onnx-int8" in forms:
            save_int8(scratch, scratch)
        for form in forms:
            for name in FORMS[form].files:
                (Path(scratch) / name).rename(folder / name)
        exact = open_form(folder if "paddle" in forms else scratch, "paddle", outputs=names)
        checked: dict[str, dict[str, Any]] = {}
        for form in forms:
            graph = exact if form == "paddle" else open_form(folder, form, outputs=names)
            if FORMS[form].precision == "fp32":
                checked[form] = {"largest_relative_difference": _difference(loaded, graph, rows, form)}
            else:
                assert validation is not None
                checked[form] = lost_accuracy(loaded, exact, graph, validation, form)
    sizes = {form: sum((folder / name).stat().st_size for name in FORMS[form].files) for form in forms}
    differences = [known["largest_relative_difference"] for known in checked.values() if len(known) == 1]
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
        "inputs": exact.inputs,
        "parameters": loaded.parameters,
        **({"weights": file_checksum(Path(source) / WEIGHTS)} if source is not None else {}),
        **({"parity": {"rows": len(rows[0]), "largest_relative_difference": max(differences)}} if differences else {}),
        "forms": {form: {"bytes": sizes[form], **checked[form]} for form in forms},
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": file_checksum(path)}
            for path in sorted(folder.iterdir())
        },
    }
    write_json(folder / EXPORT_CONFIG, record)
    return record


def _difference(loaded: LoadedModel, graph: Graph, rows: list[list[str]], form: str) -> float:
    """The largest difference of a logit between model and graph.

    Raises:
        InputError: it is above :data:`TOLERANCE`.
    """
    expected, found = _both_sides(loaded, graph, rows)
    largest = float((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max())
    if not largest <= TOLERANCE:
        what = "the static graph" if form == "paddle" else "the ONNX file"
        raise InputError(f"{what} differs from the model by {largest:.1e} of a logit, allowed is {TOLERANCE:.0e}")
    return largest


def _both_sides(loaded: LoadedModel, graph: Graph, rows: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
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
        forms_of(config)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not an {EXPORT_CONFIG} of ours ({error}); export again") from error
    return config


def _check_file(path: Path, known: Mapping[str, Any]) -> None:
    if not path.is_file() or path.stat().st_size != known["bytes"]:
        found = f"{path.stat().st_size:,}" if path.is_file() else "none"
        raise InputError(f"{path}: expected {known['bytes']:,} bytes, found {found}; export the model again")
    if file_checksum(path) != known["sha256"]:
        raise InputError(f"{path}: damaged (its checksum differs from the one written); export the model again")


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
