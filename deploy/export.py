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

from args import Options, option, parse, positive
from console import InputError, run_script, say
from core.export import TOLERANCE, check_target, parity_rows, write_export
from data.store import new_folder, write_atomically

SCRIPT = "deploy.export"


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
    check_target(target, "--output_dir", options.overwrite)


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
