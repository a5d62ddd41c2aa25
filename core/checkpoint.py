"""Where a run keeps what it has done: the output folder, its checkpoint, and the rules for going on.

A checkpoint is a folder that is published in one step. Weights that outlive it (the best so far, snapshots to be
averaged) are files beside it that its state names; files that no state names are removed after the next one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from args import Options
from console import InputError
from data.store import check_new_folder, file_checksum, new_folder, recover_folder, write_atomically
from models.weights import read_safetensors, write_safetensors

ARGUMENTS = "training_args.json"
METRICS = "metrics.json"
CHECKPOINT = "checkpoint"
KEPT = "kept"


@dataclass(frozen=True)
class RunFolder:
    """The output folder of a run.

    Attributes:
        path: the folder.
        finished: whether a run with the same options has ended here already.
    """

    path: Path
    finished: bool = False

    @classmethod
    def check(cls, script: str, options: Options) -> RunFolder:
        """Looks whether a run may use its ``--output_dir``; changes nothing.

        Raises:
            InputError: something is there and neither ``--resume`` nor ``--overwrite`` was given; or options differ
                from those of the run that is to go on; or ``--overwrite`` would remove what is not ours.
        """
        path = Path(options.output_dir)  # type: ignore[attr-defined]
        resume, overwrite = options.resume, options.overwrite  # type: ignore[attr-defined]
        check_new_folder(path, "--output_dir")
        if not path.is_dir() or not any(path.iterdir()):
            return cls(path)
        ours = (path / ARGUMENTS).is_file()
        if overwrite:
            if not ours:
                raise InputError(f"--overwrite: {path} has no {ARGUMENTS}, so no run of ours made it")
            if inside := inputs_inside(path, options):
                raise InputError(f"--overwrite: {path} holds {inside}, which this run reads; choose another folder")
            return cls(path)
        if not resume:
            raise InputError(f"--output_dir {path} is not empty; pass --resume to go on, --overwrite to replace it")
        if not ours:
            raise InputError(f"--resume: {path} has no {ARGUMENTS}, so there is no run to go on with")
        _refuse_changes(path, script, options)
        return cls(path, finished=(path / METRICS).is_file())

    def open(self, script: str, options: Options) -> None:
        """Makes the folder ready: call it when all inputs have been checked."""
        if options.overwrite and self.path.is_dir():  # type: ignore[attr-defined]
            shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / ARGUMENTS).is_file():
            record = {"script": script, "options": options.as_dict(), "state": options.state_dict()}
            write_atomically(self.path / ARGUMENTS, json.dumps(record, indent=1, ensure_ascii=False))

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Writes ``metrics.json``, the mark of a finished run."""
        write_atomically(self.path / METRICS, json.dumps(metrics, indent=1, ensure_ascii=False))

    def read_metrics(self) -> dict[str, Any]:
        """``metrics.json`` of a finished run."""
        return json.loads((self.path / METRICS).read_text(encoding="utf-8"))


def inputs_inside(folder: Path, options: Options, outputs: Sequence[str] = ("output_dir",)) -> str | None:
    """An option whose value is a file or folder inside ``folder``, with that value; None when there is none.

    Args:
        folder: about to be replaced.
        options: of the run.
        outputs: options that name what is written rather than read.
    """
    whole = folder.resolve()
    for name, value in vars(options).items():
        for word in value if isinstance(value, tuple) else (value,):
            if name in outputs or not isinstance(word, str) or not Path(word).exists():
                continue
            place = Path(word).resolve()
            if place == whole or whole in place.parents:
                return f"--{name} {word}"
    return None


def _refuse_changes(path: Path, script: str, options: Options) -> None:
    try:
        before = json.loads((path / ARGUMENTS).read_text(encoding="utf-8"))
        old_script, old = before["script"], before["state"]
    except (ValueError, KeyError) as error:
        raise InputError(f"--resume: {path / ARGUMENTS} is damaged ({error})") from error
    if old_script != script:
        raise InputError(f"--resume: {path} was made by {old_script}, not by {script}")
    now = options.state_dict()
    # A run that an earlier version began knows nothing of newer options: it ran with what are their defaults.
    old = {**{k: v for k, v in type(options).default_state().items() if k not in old}, **old}
    changed = [f"--{k} was {old.get(k)!r}, is {now.get(k)!r}" for k in sorted({*old, *now}) if old.get(k) != now.get(k)]
    if changed:
        raise InputError(f"--resume: options differ from those the run began with: {'; '.join(changed)}")


def save_checkpoint(
    folder: Path, weights: Mapping[str, np.ndarray], optimizer: Mapping[str, np.ndarray], state: Mapping[str, Any]
) -> None:
    """Publishes a checkpoint, then removes kept weights that its state does not name.

    Args:
        folder: the output folder.
        weights: of the model.
        optimizer: see :func:`core.optim.optimizer_state`.
        state: JSON values; ``kept`` lists the names of kept weights.
    """
    with new_folder(folder / CHECKPOINT) as temporary:
        write_safetensors(temporary / "model.safetensors", weights)
        write_safetensors(temporary / "optimizer.safetensors", optimizer)
        sums = {name: file_checksum(temporary / name) for name in ("model.safetensors", "optimizer.safetensors")}
        kept = {name: file_checksum(folder / KEPT / name) for name in state.get("kept", [])}
        write_atomically(temporary / "state.json", json.dumps({**state, "sha256": sums, "kept_sha256": kept}, indent=1))
    for path in (folder / KEPT).glob("*.safetensors"):
        if path.name not in state.get("kept", []):
            path.unlink()


def load_checkpoint(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, Any]] | None:
    """Reads what :func:`save_checkpoint` wrote: weights, optimiser, state; None when there is none.

    Raises:
        InputError: it is damaged.
    """
    checkpoint = folder / CHECKPOINT
    recover_folder(checkpoint)
    if not checkpoint.is_dir():
        return None
    try:
        state = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
        files = {
            **{checkpoint / k: v for k, v in state["sha256"].items()},
            **{folder / KEPT / k: v for k, v in state["kept_sha256"].items()},
        }
        for path, checksum in files.items():
            if file_checksum(path) != checksum:
                raise InputError(
                    f"{path}: the checkpoint is damaged (its checksum differs); start again with --overwrite"
                )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{checkpoint}: the checkpoint is damaged ({error}); start again with --overwrite") from error
    return (
        read_safetensors(checkpoint / "model.safetensors"),
        read_safetensors(checkpoint / "optimizer.safetensors"),
        state,
    )


def keep_weights(folder: Path, name: str, weights: Mapping[str, np.ndarray]) -> str:
    """Puts weights beside the checkpoint; returns the file's name for its state."""
    write_safetensors(folder / KEPT / f"{name}.safetensors", weights)
    return f"{name}.safetensors"


def kept_weights(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Reads what :func:`keep_weights` put there."""
    return read_safetensors(folder / KEPT / name)


def remove_checkpoints(folder: Path) -> None:
    """Removes what only resuming needs; for finished runs."""
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
    shutil.rmtree(folder / KEPT, ignore_errors=True)
    # What processes that were killed while they saved have left.
    for path in folder.glob(f".{CHECKPOINT}-*"):
        shutil.rmtree(path, ignore_errors=True)
