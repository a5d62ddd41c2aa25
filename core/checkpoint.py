"""Where a run keeps what it has done: the output folder, its checkpoint, and the rules for going on.

A checkpoint is a folder that is published in one step. Weights that outlive it (the best so far, snapshots to be
averaged) are files beside it that its state names; files that no state names are removed after the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from args import Options
from console import InputError
from core.recorded import ARGUMENTS
from files import (
    LOCK,
    PARTIAL,
    check_new_folder,
    clear_folder,
    file_checksum,
    new_folder,
    read_json,
    recover_folder,
    write_json,
)
from models.weights import WEIGHTS, check_safetensors, read_safetensors, write_safetensors

METRICS = "metrics.json"
CHECKPOINT = "checkpoint"
KEPT = "kept"
# What an unfinished run began with: its rows and teachers must not change before its end.
ROWS, TEACHERS = "rows.json", "teachers.json"
STATE = "state.json"


# What earlier versions left when they were killed while they opened a folder.
EARLIER_PARTIAL = re.compile(rf"\.{re.escape(ARGUMENTS)}-\w{{8}}")


@dataclass(frozen=True)
class Identity:
    """What tells one run from another.

    Attributes:
        script: that it runs.
        options: all, as plain values.
        state: those that change what it computes.
        defaults: of these, for records of versions that did not have them yet.
        given: names of the options that a user gave, for a command that does the same.
    """

    script: str
    options: Mapping[str, Any]
    state: Mapping[str, Any]
    defaults: Mapping[str, Any]
    given: tuple[str, ...] = ()

    @classmethod
    def of(cls, script: str, options: Options, **changes: Any) -> Identity:
        """That of options, some of which have other values in a part of a run."""
        state = {**options.state_dict(), **{k: v for k, v in changes.items() if k in options.state_dict()}}
        given = tuple(name for name in options.as_dict() if name in options.given)
        return cls(script, {**options.as_dict(), **changes}, state, options.default_state(), given)


@dataclass(frozen=True)
class RunFolder:
    """The output folder of a run.

    Attributes:
        path: the folder.
        identity: the run's.
        finished: whether the same run has ended here already.
    """

    path: Path
    identity: Identity
    finished: bool = False

    @classmethod
    def check(cls, path: Path, identity: Identity, resume: bool, overwrite: bool) -> RunFolder:
        """Looks whether a run may use a folder; changes nothing.

        Args:
            path: the folder.
            identity: compared with that of a run that is to go on.
            resume: whether a run may go on there.
            overwrite: whether one may be replaced.

        Raises:
            InputError: something is there and neither ``--resume`` nor ``--overwrite`` was given; or options differ
                from those of the run that is to go on; or ``--overwrite`` would remove what is not ours.
        """
        check_new_folder(path, "--output_dir")
        if not path.is_dir() or not any(not _is_left_behind(entry.name) for entry in path.iterdir()):
            return cls(path, identity)
        ours = (path / ARGUMENTS).is_file()
        if overwrite:
            if not ours:
                raise InputError(f"--overwrite: {path} has no {ARGUMENTS}, so no run of ours made it")
            if inside := inputs_inside(path, identity.options):
                raise InputError(f"--overwrite: {path} holds {inside}, which this run reads; choose another folder")
            return cls(path, identity)
        if not resume:
            raise InputError(f"--output_dir {path} is not empty; pass --resume to go on, --overwrite to replace it")
        if not ours:
            raise InputError(f"--resume: {path} has no {ARGUMENTS}, so there is no run to go on with")
        _refuse_changes(path, identity)
        finished = (path / METRICS).is_file()
        if finished:
            _refuse_damage(path)
        return cls(path, identity, finished)

    def open(self, overwrite: bool = False) -> None:
        """Makes the folder ready: call it when all inputs have been checked."""
        self.path.mkdir(parents=True, exist_ok=True)
        clear_folder(self.path)
        for left in self.path.iterdir():
            if EARLIER_PARTIAL.fullmatch(left.name):
                left.unlink()
        if overwrite:
            self._clear()
        if overwrite or not (self.path / ARGUMENTS).is_file():
            identity = self.identity
            record = {
                "script": identity.script,
                "options": identity.options,
                "state": identity.state,
                "given": identity.given,
            }
            write_json(self.path / ARGUMENTS, record)

    def _clear(self) -> None:
        """Removes a run. The mark of its end goes first and that of its beginning stays, wherever this is stopped."""
        (self.path / METRICS).unlink(missing_ok=True)
        # What the run began with is kept as long as there is something to go on from.
        last = (ROWS, TEACHERS)
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name in last):
            if entry.name in (ARGUMENTS, LOCK):
                continue
            if entry.is_dir() and not entry.is_symlink():
                # In one step: half a checkpoint is none that a run could go on from.
                aside = entry.with_name(f".{entry.name}-{secrets.token_hex(4)}.partial")
                os.rename(entry, aside)
                shutil.rmtree(aside)
            else:
                entry.unlink()

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Writes ``metrics.json``, the mark of a finished run."""
        write_json(self.path / METRICS, metrics)

    def read_metrics(self) -> dict[str, Any]:
        """``metrics.json`` of a finished run.

        Raises:
            InputError: it is damaged.
        """
        return read_metrics(self.path)


def read_metrics(folder: Path) -> dict[str, Any]:
    """``metrics.json`` of a run's folder.

    Raises:
        InputError: it is absent or damaged.
    """
    try:
        return read_json(folder / METRICS)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / METRICS}: damaged ({error}); train again with --overwrite") from error


def _is_left_behind(name: str) -> bool:
    return name == LOCK or PARTIAL.fullmatch(name) is not None or EARLIER_PARTIAL.fullmatch(name) is not None


def _refuse_damage(path: Path) -> None:
    """A finished run has its model."""
    try:
        check_safetensors(path / WEIGHTS)
    except InputError as error:
        raise InputError(
            f"--resume: {path} holds a finished run without its model ({error}); train again with --overwrite"
        ) from None


def inputs_inside(folder: Path, options: Mapping[str, Any], outputs: Sequence[str] = ("output_dir",)) -> str | None:
    """An option whose value is a file or folder inside ``folder``, with that value; None when there is none.

    Args:
        folder: about to be replaced.
        options: of the run, by name.
        outputs: options that name what is written rather than read.
    """
    whole = folder.resolve()
    for name, value in options.items():
        for word in value if isinstance(value, (tuple, list)) else (value,):
            if name in outputs or not isinstance(word, str) or not word or not _exists(word):
                continue
            place = Path(word).resolve()
            if place == whole or whole in place.parents:
                return f"--{name} {word}"
    return None


def _exists(word: str) -> bool:
    with contextlib.suppress(OSError):
        return Path(word).exists()
    return False


def _refuse_changes(path: Path, identity: Identity) -> None:
    try:
        before = read_json(path / ARGUMENTS)
        old_script, old = before["script"], before["state"]
        if not isinstance(old, dict):
            raise ValueError("expected the options by name")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--resume: {path / ARGUMENTS} is damaged ({error})") from error
    if old_script != identity.script:
        raise InputError(f"--resume: {path} was made by {old_script}, not by {identity.script}")
    now = identity.state
    # A run that an earlier version began knows nothing of newer options: it ran with what are their defaults.
    old = {**{k: v for k, v in identity.defaults.items() if k not in old}, **old}
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
        whole = {**state, "sha256": sums, "kept_sha256": kept}
        write_json(temporary / STATE, {**whole, "state_sha256": _checksum(whole)})
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
        state = read_json(checkpoint / STATE)
        # Those of earlier versions have none.
        if "state_sha256" in state and state.pop("state_sha256") != _checksum(state):
            raise InputError(
                f"{checkpoint / STATE}: the checkpoint is damaged (its checksum differs); start again with --overwrite"
            )
        if set(state["sha256"]) != {WEIGHTS, "optimizer.safetensors"} or set(state["kept_sha256"]) != set(
            state["kept"]
        ):
            raise ValueError("its list of files")
        files = {
            **{checkpoint / k: v for k, v in state["sha256"].items()},
            **{folder / KEPT / k: v for k, v in state["kept_sha256"].items()},
        }
        for path, checksum in files.items():
            if file_checksum(path) != checksum:
                raise InputError(
                    f"{path}: the checkpoint is damaged (its checksum differs); start again with --overwrite"
                )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{checkpoint}: the checkpoint is damaged ({error}); start again with --overwrite") from error
    return (
        read_safetensors(checkpoint / "model.safetensors"),
        read_safetensors(checkpoint / "optimizer.safetensors"),
        state,
    )


def _checksum(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


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
    for name in (ROWS, TEACHERS):
        (folder / name).unlink(missing_ok=True)
    clear_folder(folder)
    # What earlier versions left when they were killed while they saved.
    for path in folder.glob(f".{CHECKPOINT}-*"):
        shutil.rmtree(path, ignore_errors=True)
