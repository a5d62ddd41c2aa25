"""From a model folder to a static graph that serves, or to a Hugging Face folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from console import InputError, say
from core.checkpoint import inputs_inside
from core.export import TOLERANCE, check_target, write_export
from core.lost_accuracy import validation_rows
from core.onnx_graph import onnx_converter, onnx_runtime
from core.texts import parity_rows
from deploy.options import ExportOptions
from files import new_folder, write_json
from models.bert_names import to_hugging_face
from models.folder import LoadedModel, load, model_config
from models.weights import layer_weights, write_safetensors

FEW = "; so few rows tell little: name more with --dev_file"


def export(options: ExportOptions) -> None:
    """Exports a model folder.

    Raises:
        InputError: the model or the output folder cannot be used, or graph and model disagree.
    """
    target = Path(options.output_dir)
    _check_target(target, options.model_dir, options.overwrite)
    if any("onnx" in form for form in options.forms):
        # Told before anything is read.
        onnx_runtime()
        onnx_converter()
    loaded = load(options.model_dir)
    if options.format == "hf":
        _export_hugging_face(loaded, target, options.overwrite)
        return
    forms = options.forms
    rows = parity_rows(loaded.labelled, options.data_dir, options.parity_rows, options.dev_file, options.model_dir)
    validation = None
    if "onnx-int8" in forms:
        most = options.max_accuracy_drop
        validation = validation_rows(loaded.labelled, options.data_dir, most, options.dev_file, options.model_dir)
    with new_folder(target, options.overwrite) as temporary:
        record = write_export(loaded, temporary, rows.columns, options.model_dir, forms, validation)
    size = sum(path.stat().st_size for path in target.iterdir())
    if "parity" in record:
        parity = record["parity"]
        say(
            f"exported to {target}: {size / 1e6:.1f} MB; parity on {parity['rows']} rows of {rows.where}: largest "
            f"difference {parity['largest_relative_difference']:.1e} of a logit (allowed {TOLERANCE:.0e})"
        )
    else:
        say(f"exported to {target}: {size / 1e6:.1f} MB")
    if validation is not None:
        say(_told(record["forms"]["onnx-int8"], validation.where))


def _told(checked: Mapping[str, Any], where: str) -> str:
    """What int8 came to."""
    if checked["metric"] == "agreement":
        # Without labels the most that it may have lost.
        return (
            f"onnx-int8: {checked['int8']:.2%} of {checked['rows']:,} rows of {where} get the label that they get in "
            "fp32 (no labelled rows of the task are at hand; name some with --dev_file)"
        )
    return (
        f"onnx-int8: {checked['metric']} {checked['int8']:.4f}, in fp32 {checked['fp32']:.4f}, on {checked['rows']:,} "
        f"rows of {where}{FEW if checked['rows'] < 100 else ''}"
    )


def _check_target(target: Path, model_dir: str, overwrite: bool) -> None:
    if target.resolve() == Path(model_dir).resolve():
        raise InputError(f"--output_dir {target}: must not be the model folder itself")
    if inside := inputs_inside(target, {"model_dir": model_dir}):
        raise InputError(f"--output_dir {target}: holds {inside}, which is read; choose another folder")
    check_target(target, "--output_dir", overwrite)


def _export_hugging_face(loaded: LoadedModel, target: Path, overwrite: bool) -> None:
    if loaded.model.model_type != "bert":
        raise InputError(
            f"--format hf: only BERTs have a Hugging Face counterpart, this is a {loaded.model.model_type}"
        )
    if loaded.model.config.head_size is not None:
        raise InputError("--format hf: Hugging Face's BERT cannot hold a narrowed attention; export --format paddle")
    with new_folder(target, overwrite) as temporary:
        loaded.tokenizer.save(temporary)
        weights = to_hugging_face(layer_weights(loaded.model), loaded.architecture)
        write_safetensors(temporary / "model.safetensors", weights, tensor_format="pt")
        write_json(temporary / "config.json", model_config(loaded))
    say(f"exported to {target} for Hugging Face transformers")
