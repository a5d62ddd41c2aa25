"""What every run has around its training: processes, output folder, record, opening, resuming, finishing."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

from paddle import nn

from console import InputError, is_first_process, say, table
from core import distributed
from core.arithmetic import BF16, bf16_fault
from core.checkpoint import METRICS, ROWS, TEACHERS, Identity, RunFolder, remove_checkpoints
from core.distributed import World
from core.metrics import Selection
from core.options import OptimizerOptions, RunOptions, TeacherPassOptions
from core.teacher import weights_checksum
from core.train import Loop, LoopSettings, Step, TrainingResult
from data.batches import Batches
from data.columns import Column, columns_checksum
from data.tokenization import tokenizer_checksum
from files import FolderLock, read_json, real_place, write_json
from models.folder import LoadedModel, load, save


class TrainingRecord(TypedDict):
    """How a training went; :class:`core.train.TrainingResult` as it stands in ``metrics.json``."""

    score: float
    chosen: str
    steps: int
    rows: int
    seconds: float


class RunRecord(TypedDict, total=False):
    """``metrics.json``, the mark of a finished run. No number in it is NaN or infinite: what is not defined is null.

    Attributes:
        task: the task's name.
        dev: the task's metrics on dev; further evaluation sets of a task (``dev_mismatched``) have entries like it.
        dev_rows: rows of dev.
        train_rows: labelled rows that were learnt from.
        skipped_rows: rows that could not be read and were left out.
        selection_rows: rows on which checkpoints were chosen.
        selected_on: ``dev`` or ``held-out training rows``; of a once-for-all network also by what, where that is not
            the task's metric.
        training: steps, rows visited, seconds, which checkpoint was chosen, and its score there.
        processes: that worked together.
        parameters: number of weights of the model that was written.
        teacher: of a distillation: rows that the teacher computed, and the seconds it took.
        transfer_rows: rows of the transfer set.
        skipped_unlabeled_rows: rows without labels that could not be read.
        dev_with_teacher: how near the student's answers on dev come to its teacher's.
        stages: of a training in stages, their names.
        learning_rows: rows that a stage learnt from.
        sub_networks: of a once-for-all network, shape and metrics of every part.
        layers: distance of a student's layers from its teacher's, on the rows that choose checkpoints.
        note: why the model is worth nothing, where it is not.
    """

    task: str
    dev: dict[str, float]
    dev_rows: int
    train_rows: int
    skipped_rows: int
    selection_rows: int
    selected_on: str
    note: str
    training: TrainingRecord
    processes: int
    parameters: int
    teacher: dict[str, float]
    transfer_rows: int
    skipped_unlabeled_rows: int
    dev_with_teacher: dict[str, float]
    stages: list[str]
    learning_rows: int
    sub_networks: list[dict[str, Any]]
    layers: dict[str, float]


class _Together(nn.Layer):
    """What is served, and what is trained beside it."""

    def __init__(self, served: nn.Layer, beside: nn.Layer) -> None:
        super().__init__()
        self.served, self.beside = served, beside


@dataclass(frozen=True)
class Run:
    """One run of a training script.

    Attributes:
        world: its processes.
        folder: its output folder.
        options: what all of its trainings share.
        resume: whether it may go on where an earlier one stopped.
        overwrite: whether it replaces an earlier one.
        lock: on its folder; None of a part of a run.
    """

    world: World
    folder: RunFolder
    options: RunOptions
    resume: bool
    overwrite: bool
    lock: FolderLock | None = None

    @classmethod
    @contextlib.contextmanager
    def start(cls, script: str, options: RunOptions) -> Iterator[Run]:
        """Checks output folder, device and precision, and joins the other processes; changes nothing yet.

        The folder is this run's alone from :meth:`open` to the end of the block.

        Args:
            script: its name, for the record.
            options: of the run, and of its optimiser where it has one.

        Raises:
            InputError: the folder is in use, or device or precision cannot be had.
        """
        path = real_place(options.output_dir)
        lock = FolderLock(path, f"--output_dir {options.output_dir}")
        if is_first_process():
            lock.check()
        folder = RunFolder.check(path, Identity.of(script, options), options.resume, options.overwrite)
        world = distributed.start(options.device)
        if isinstance(options, OptimizerOptions):
            distributed.check_precision(options.precision)
        asks_bf16 = isinstance(options, TeacherPassOptions) and options.teacher_precision == BF16
        # The device that was left to choose is known now.
        if asks_bf16 and (fault := bf16_fault(distributed.current_device())):
            raise InputError(f"--teacher_precision {BF16}: {fault}")
        try:
            yield cls(world, folder, options, options.resume, options.overwrite, lock)
        finally:
            lock.release()

    @property
    def path(self) -> Path:
        """The output folder."""
        return self.folder.path

    @property
    def finished(self) -> bool:
        """Whether the same run has ended here already."""
        return self.folder.finished

    def say(self, message: str) -> None:
        """Prints a line, once for all processes."""
        if self.world.is_main:
            say(message)

    def open(self) -> None:
        """Makes the output folder ready: call it when all inputs have been checked."""
        if not self.world.is_main:
            return
        if self.lock is not None:
            self.lock.acquire()
            # Another process may have come and gone since the first look.
            now = RunFolder.check(self.path, self.folder.identity, self.resume, self.overwrite)
            if now.finished and not self.finished:
                raise InputError(f"--output_dir {self.path}: another process has finished this run meanwhile")
        self.folder.open(self.overwrite)

    def began_with(self, name: str, record: Mapping[str, Any], what: str) -> None:
        """Refuses to go on with other inputs than the run began with: its steps would be others. Call it after opening.

        Args:
            name: of the file in the output folder that keeps the record.
            record: changes with the inputs.
            what: these are, in the error.

        Raises:
            InputError: they have changed.
        """
        if self.world.is_main:
            path = self.path / name
            try:
                is_same = not path.is_file() or read_json(path) == json.loads(json.dumps(record))
            except ValueError as error:
                raise InputError(f"{path}: damaged ({error}); start anew with --overwrite") from error
            if not is_same:
                raise InputError(
                    f"{self.path}: this run began with another {what}; give that one, or start anew with --overwrite"
                )
            write_json(path, record)
        distributed.wait(self.world)

    def taught_by(self, teachers: Sequence[LoadedModel]) -> None:
        """Refuses to go on with other teachers than the run began with. Call it after opening.

        Raises:
            InputError: they have changed.
        """
        known = [
            {
                "weights": weights_checksum(each),
                "shape": each.model.config_dict(),
                "tokenizer": tokenizer_checksum(each.tokenizer),
                "max_seq_length": each.max_seq_length,
            }
            for each in teachers
        ]
        self.began_with(TEACHERS, {"teachers": known}, "teacher")

    def stage(self, name: str, **changes: Any) -> Run:
        """A part of this run, in a folder of its own below; it is found again, or goes on from its checkpoint.

        Args:
            name: of the folder.
            changes: options that have other values there, for its record.
        """
        changes |= {"output_dir": str(self.path / name), "resume": True, "overwrite": False}
        identity = Identity.of(self.folder.identity.script, self.options, **changes)
        folder = RunFolder.check(self.path / name, identity, resume=True, overwrite=False)
        # All look before the main process begins to write.
        distributed.wait(self.world)
        return Run(self.world, folder, self.options, resume=True, overwrite=False)

    def batches(
        self, columns: Mapping[str, Column], batch_size: int, pad_id: int, count_by: str = "rows", prepare: Any = None
    ) -> Batches:
        """This process's share of batches, in the order that the run's seed gives; see :class:`Batches`."""
        return Batches(
            columns,
            batch_size,
            pad_id,
            seed=self.options.seed,
            rank=self.world.rank,
            world=self.world.size,
            workers=self.options.num_workers,
            count_by=count_by,
            prepare=prepare,
        )

    def fit(
        self,
        module: nn.Layer,
        batches: Batches,
        step: Step,
        evaluate: Callable[[], Mapping[str, float]],
        select_by: Selection,
        epochs: int,
        learning_rate: float,
        optimizer: str,
        beside: nn.Layer | None = None,
    ) -> TrainingResult:
        """Trains; the module then holds the chosen weights.

        Args:
            module: what the run is for: what is saved and served.
            batches: this process's.
            step: from a batch to named losses; see :class:`core.train.Updater`.
            evaluate: figures of the module as it stands.
            select_by: the figure that chooses between checkpoints.
            epochs: passes over the batches.
            learning_rate: at its peak.
            optimizer: see :data:`core.optim.OPTIMIZERS`.
            beside: what is trained with the module, kept in checkpoints, and not served: projections of hidden states,
                for one.

        Raises:
            InputError: the run began with other rows.
            Interrupted: Ctrl-C or SIGTERM came; a checkpoint is there.
            Diverged: a loss or a score is not finite.
        """
        settings = LoopSettings.of(
            self.options, epochs=epochs, learning_rate=learning_rate, optimizer=optimizer, select_by=select_by
        )
        # With other rows the batches that are still to come would be others.
        self.began_with(ROWS, {"sha256": columns_checksum(batches.columns)}, "set of rows to learn from")
        trained = module if beside is None else _Together(module, beside)
        return Loop(self.path, trained, step, batches, evaluate, settings, self.world, self.resume).run()

    def finish(
        self, loaded: LoadedModel, record: RunRecord, also: Callable[[LoadedModel], object] | None = None
    ) -> dict[str, Any]:
        """Writes the model folder and ``metrics.json``, removes checkpoints, and says what came out.

        Args:
            loaded: what is served.
            record: of the run.
            also: writes more, such as predictions, before the run counts as finished.

        Returns:
            What ``metrics.json`` holds.
        """
        metrics = finite({**record, "parameters": loaded.parameters})
        if self.world.is_main:
            save(self.path, loaded)
            if also is not None:
                also(loaded)
            self.folder.write_metrics(metrics)
            remove_checkpoints(self.path)
        self.say(f"\n{summary(self.path, metrics)}")
        return metrics

    def earlier_metrics(self) -> dict[str, Any]:
        """``metrics.json`` of a finished run; what was left behind by a kill right after its end is removed."""
        metrics = self.folder.read_metrics()
        try:
            summary(self.path, metrics)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{self.path / METRICS}: damaged ({type(error).__name__}: {error}); train again with --overwrite"
            ) from error
        if self.world.is_main:
            remove_checkpoints(self.path)
        return metrics

    def found(self, also: Callable[[LoadedModel], object] | None = None) -> dict[str, Any]:
        """What a run left that had ended before; ``also`` as for :meth:`finish`."""
        if self.lock is not None and self.world.is_main:
            self.lock.acquire()
        if also is not None and self.world.is_main:
            also(load(self.path))
        metrics = self.earlier_metrics()
        self.say(f"{self.path}: this run had finished")
        self.say(f"\n{summary(self.path, metrics)}")
        return metrics


def finite(value: Any) -> Any:
    """A value for JSON: numbers that are not finite, which it does not know, become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(part) for part in value]
    return value


def training_record(result: TrainingResult) -> TrainingRecord:
    """A training for ``metrics.json``."""
    known = asdict(result)
    return TrainingRecord(**{name: known[name] for name in TrainingRecord.__annotations__})


def summary(folder: Path, metrics: Mapping[str, Any]) -> str:
    """A table of what came out of a run."""
    evaluated = [part for part in metrics if part.startswith("dev") and isinstance(metrics[part], dict)]
    rows = [
        (f"{part} {name}", "–" if value is None else f"{value:.4f}")
        for part in evaluated
        for name, value in metrics[part].items()
    ]
    training = metrics["training"]
    rows += [("chosen", training["chosen"]), ("parameters", f"{metrics['parameters']:,}")]
    rows += [
        ("rows visited", f"{training['rows']:,}"),
        ("rows/s", f"{training['rows'] / max(training['seconds'], 1e-9):,.0f}"),
    ]
    return table(("", str(folder)), rows)
