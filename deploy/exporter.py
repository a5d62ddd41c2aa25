"""From a model folder to a static graph that serves, or to a Hugging Face folder."""

from __future__ import annotations

from pathlib import Path

from console import InputError, say
from core.checkpoint import inputs_inside
from core.export import TOLERANCE, check_target, parity_rows, write_export
from deploy.options import ExportOptions
from files import new_folder, write_json
from models.bert_names import to_hugging_face
from models.folder import LoadedModel, load, model_config
from models.weights import layer_weights, write_safetensors


def export(options: ExportOptions) -> None:
    """Exports a model folder.

    Raises:
        InputError: the model or the output folder cannot be used, or graph and model disagree.
    """
    target = Path(options.output_dir)
    _check_target(target, options.model_dir, options.overwrite)
    loaded = load(options.model_dir)
    if options.format == "hf":
        _export_hugging_face(loaded, target)
        return
    rows = parity_rows(loaded.labelled, options.data_dir, options.parity_rows, options.dev_file, options.model_dir)
    with new_folder(target) as temporary:
        largest = write_export(loaded, temporary, rows.columns, options.model_dir)
    size = sum(path.stat().st_size for path in target.iterdir())
    say(
        f"exported to {target}: {size / 1e6:.1f} MB; parity on {len(rows.columns[0])} rows of "
        f"{rows.where}: largest difference {largest:.1e} of a logit (allowed {TOLERANCE:.0e})"
    )


def _check_target(target: Path, model_dir: str, overwrite: bool) -> None:
    if target.resolve() == Path(model_dir).resolve():
        raise InputError(f"--output_dir {target}: must not be the model folder itself")
    if inside := inputs_inside(target, {"model_dir": model_dir}):
        raise InputError(f"--output_dir {target}: holds {inside}, which is read; choose another folder")
    check_target(target, "--output_dir", overwrite)


def _export_hugging_face(loaded: LoadedModel, target: Path) -> None:
    if loaded.model.model_type != "bert":
        raise InputError(
            f"--format hf: only BERTs have a Hugging Face counterpart, this is a {loaded.model.model_type}"
        )
    if loaded.model.config.head_size is not None:
        raise InputError("--format hf: Hugging Face's BERT cannot hold a narrowed attention; export --format paddle")
    with new_folder(target) as temporary:
        loaded.tokenizer.save(temporary)
        weights = to_hugging_face(layer_weights(loaded.model), loaded.architecture)
        write_safetensors(temporary / "model.safetensors", weights, tensor_format="pt")
        write_json(temporary / "config.json", model_config(loaded))
    say(f"exported to {target} for Hugging Face transformers")
