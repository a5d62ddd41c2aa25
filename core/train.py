"""The one training loop.

A recipe hands it a ``step(batch) -> losses`` function (or generator); the loop owns optimiser, schedule,
accumulation, precision, processes, logging, evaluation, checkpoints and resuming. Everything random in a step follows
from seed, step and rank, so a run that was killed and resumed ends with the same bits as one that was not (but for
fp16, the state of whose loss scaling is in no checkpoint).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn

from console import InputError, Interrupted, duration, say
from core.arithmetic import BF16
from core.checkpoint import keep_weights, kept_weights, load_checkpoint, save_checkpoint
from core.distributed import World, check_precision, current_device, sum_gradients, wait
from core.metrics import ADVICE, Diverged, Selection
from core.optim import clip_gradients, learning_rate, make_optimizer, optimizer_state, restore_optimizer
from core.options import RunOptions
from data.batches import Batch, Batches
from data.streams import derived_seed
from files import is_plain_name, write_atomically
from models.dropout import STREAM
from models.linear import bf16_products
from models.weights import layer_weights, set_weights

Losses = Mapping[str, paddle.Tensor]
# A step returns its losses, or yields them in parts: the gradients of the parts add up, and the memory of one is
# free before the next is computed.
Step = Callable[[Batch], Losses | Iterator[Losses]]
LOG = "metrics.jsonl"
# Seconds without a line on the screen.
SILENCE = 15.0


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """What the loop needs to know; see the options of the same names.

    Attributes:
        epochs: passes over the batches.
        learning_rate: at its peak.
        optimizer: see :data:`core.optim.OPTIMIZERS`.
        select_by: chooses checkpoints by an entry of the evaluation.
    """

    epochs: int
    learning_rate: float
    optimizer: str
    select_by: Selection
    seed: int = 42
    max_steps: int = 0
    eval_steps: int = 0
    save_steps: int = 0
    logging_steps: int = 100
    weight_decay: float = 0.0
    max_grad_norm: float = 0.0
    warmup_steps: int = 0
    warmup_proportion: float = 0.0
    lr_scheduler: str = "constant"
    gradient_accumulation_steps: int = 1
    precision: str = "fp32"
    average_checkpoints: int = 0
    early_stopping: int = 0

    @classmethod
    def of(cls, options: RunOptions, **own: Any) -> LoopSettings:
        """The settings that options of these names give, and a recipe's own."""
        names = {item.name for item in fields(cls)}
        return cls(**{**{name: value for name, value in options.as_dict().items() if name in names}, **own})


@dataclass
class LoopState:
    """Where a run stands; plain values that go into its checkpoint."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    rows: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    without_gain: int = 0
    done: bool = False
    snapshots: list[str] = field(default_factory=list)
    log_bytes: int = 0
    loss_sums: dict[str, float] = field(default_factory=dict)
    loss_steps: int = 0

    @property
    def kept(self) -> list[str]:
        """The weight files beside the checkpoint that are still needed."""
        return [*([f"best-{self.best_step}.safetensors"] if self.best is not None else []), *self.snapshots]


@dataclass(frozen=True)
class TrainingResult:
    """What came out of the loop; the model itself holds the chosen weights.

    Attributes:
        score: the selection metric of the chosen weights.
        chosen: ``best at step N`` or ``average of N``.
        steps: optimiser steps.
        rows: rows visited.
        seconds: spent in steps, over all sittings.
        figures: all that the evaluation of the chosen weights found; None when an earlier sitting made it.
    """

    score: float
    chosen: str
    steps: int
    rows: int
    seconds: float
    figures: Mapping[str, float] | None = None


class Updater:
    """One step of the optimiser after the other; knows nothing of epochs, evaluations and files.

    Args:
        model: trained in place.
        step: takes a batch, returns named losses that are means over what the batch counts; ``loss`` is minimised. A
            generator yields several such sets, whose sum is minimised.
        settings: of the recipe.
        total_steps: that the schedule goes by.
        world: the processes of the run.
    """

    def __init__(
        self, model: nn.Layer, step: Step, settings: LoopSettings, total_steps: int, world: World | None = None
    ) -> None:
        check_precision(settings.precision)
        self.model, self.step, self.settings = model, step, settings
        self.total_steps, self.world = total_steps, world or World()
        self.warmup = settings.warmup_steps or round(settings.warmup_proportion * total_steps)
        self.optimizer = make_optimizer(settings.optimizer, model, settings.weight_decay)
        self._scaler = paddle.amp.GradScaler() if settings.precision == "fp16" else None

    def update(self, group: Sequence[Batch], number: int) -> dict[str, float]:
        """Takes a step.

        Losses are means over all that the group's batches count, over all processes: of parts of different size the
        larger one weighs more.

        Args:
            group: this process's batches; several are accumulated.
            number: of the step, from 0.

        Returns:
            The losses, over all processes.

        Raises:
            Diverged: a loss is not finite.
        """
        sums: dict[str, float] = {}
        total = sum(int(batch["count"]) for batch in group)
        for place, batch in enumerate(group):
            STREAM.reseed(derived_seed(self.settings.seed, "dropout", number, place, self.world.rank))
            share = float(batch["weight"]) * (int(batch["count"]) / max(total, 1))
            for losses in self._parts(batch):
                loss = losses["loss"] * share
                (self._scaler.scale(loss) if self._scaler else loss).backward()
                for name, value in losses.items():
                    # A process without rows computes on one that does not count.
                    sums[name] = sums.get(name, 0.0) + (float(value) * share if share else 0.0)
        if self.world.size > 1:
            sums = sum_gradients(self.model.parameters(), sums)
        if bad := [f"{name} {value}" for name, value in sums.items() if not math.isfinite(value)]:
            raise Diverged(f"step {number + 1:,}: {', '.join(bad)}: {ADVICE}")
        self.optimizer.set_lr(self.rate(number))
        if self.settings.max_grad_norm:
            if self._scaler:
                self._scaler.unscale_(self.optimizer)
            clip_gradients(self.model.parameters(), self.settings.max_grad_norm)
        if self._scaler:
            self._scaler.step(self.optimizer)
            self._scaler.update()
        else:
            self.optimizer.step()
        self.optimizer.clear_grad()
        return sums

    def rate(self, number: int) -> float:
        """The learning rate of a step, from 0."""
        settings = self.settings
        return learning_rate(number, self.total_steps, settings.learning_rate, self.warmup, settings.lr_scheduler)

    def _parts(self, batch: Batch) -> Iterator[Losses]:
        """The losses of a batch, one set or several; only their computation runs in reduced precision."""
        with self._precision():
            found = self.step(batch)
        if isinstance(found, Mapping):
            yield found
            return
        while True:
            with self._precision():
                part = next(found, None)
            if part is None:
                return
            yield part

    def _precision(self) -> contextlib.AbstractContextManager:
        kind = {BF16: "bfloat16", "fp16": "float16"}.get(self.settings.precision)
        if kind is None:
            return contextlib.nullcontext()
        # On a CPU, Paddle's automatic casts are without effect.
        return paddle.amp.auto_cast(dtype=kind, level="O1") if current_device() == "gpu" else bf16_products()


class Loop:
    """Trains a model: epochs, evaluations, checkpoints, the log.

    Args:
        folder: receives checkpoints and log.
        model: trained in place.
        step: see :class:`Updater`.
        batches: this process's.
        evaluate: figures of the model as it stands, on the rows that choose checkpoints.
        settings: of the recipe.
        world: the processes of the run.
        resume: go on from the checkpoint in ``folder``, if there is one.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Layer,
        step: Step,
        batches: Batches,
        evaluate: Callable[[], Mapping[str, float]],
        settings: LoopSettings,
        world: World | None = None,
        resume: bool = False,
    ) -> None:
        self.folder, self.model, self.batches, self.evaluate = folder, model, batches, evaluate
        self.settings, self.world, self._resume = settings, world or World(), resume
        steps_per_epoch = -(-batches.steps_per_epoch // settings.gradient_accumulation_steps)
        total_steps = settings.epochs * steps_per_epoch
        if settings.max_steps:
            total_steps = min(total_steps, settings.max_steps)
        self.updater = Updater(model, step, settings, total_steps, self.world)
        self.total_steps = total_steps
        self.state = LoopState()
        self._figures: Mapping[str, float] | None = None
        self._log = _Log(folder, self.world.is_main)
        self._stopped_by: int | None = None

    def run(self) -> TrainingResult:
        """Trains to the end.

        Raises:
            Interrupted: Ctrl-C or SIGTERM came; a checkpoint is there.
            Diverged: a loss or a score is not finite.
        """
        if self._resume:
            self._restore()
        self.model.train()
        with self._signals(), self._log.opened(self.state):
            while not self.state.done and self.state.epoch < self.settings.epochs:
                self._epoch()
        return self._choose()

    def _epoch(self) -> None:
        state, settings = self.state, self.settings
        groups = _grouped(self.batches.epoch(state.epoch, state.batch), settings.gradient_accumulation_steps)
        for group in groups:
            began = time.perf_counter()
            losses = self.updater.update(group, state.step)
            state.seconds += time.perf_counter() - began
            state.step += 1
            state.rows += sum(int(batch["size"]) for batch in group)
            state.batch += len(group)
            ends_epoch = state.batch >= self.batches.steps_per_epoch
            if ends_epoch:
                state.epoch, state.batch = state.epoch + 1, 0
            state.done = state.step >= self.total_steps
            self._log.step(self, losses)
            due = state.step % settings.eval_steps == 0 if settings.eval_steps else ends_epoch
            if due or state.done:
                self._evaluate()
            saves = settings.save_steps and state.step % settings.save_steps == 0
            if due or saves or state.done or self._stopped_by is not None:
                self.save()
            if self._stopped_by is not None:
                raise Interrupted(
                    f"stopped at step {state.step:,} of {self.total_steps:,}; saved to {self.folder}: "
                    "give the same command with --resume to go on"
                )
            if state.done or ends_epoch:
                return

    def _evaluate(self) -> None:
        state, select_by = self.state, self.settings.select_by
        metrics = dict(self.evaluate())
        score = select_by.of(metrics)
        weights = layer_weights(self.model)
        if state.best is None or select_by.is_better(score, state.best):
            state.best, state.best_step, state.without_gain = score, state.step, 0
            self._figures = metrics
            if self.world.is_main:
                keep_weights(self.folder, f"best-{state.step}", weights)
        else:
            state.without_gain += 1
            patience = self.settings.early_stopping
            state.done = state.done or bool(patience and state.without_gain >= patience)
        if self.settings.average_checkpoints:
            if self.world.is_main:
                keep_weights(self.folder, f"snapshot-{state.step}", weights)
            state.snapshots.append(f"snapshot-{state.step}.safetensors")
            del state.snapshots[: -self.settings.average_checkpoints]
        self._log.evaluation(self, metrics)

    def save(self) -> None:
        """Publishes a checkpoint of the run as it stands."""
        if not self.world.is_main:
            return
        self.state.log_bytes = self._log.size()
        state = {**vars(self.state), "kept": self.state.kept}
        save_checkpoint(
            self.folder, layer_weights(self.model), optimizer_state(self.updater.optimizer, self.model), state
        )

    def _restore(self) -> None:
        found = load_checkpoint(self.folder)
        if found is None:
            if (self.folder / LOG).is_file():
                say(f"no checkpoint in {self.folder} yet: starting from the beginning")
            return
        weights, optimizer, state = found
        set_weights(self.model, weights, str(self.folder))
        restore_optimizer(self.updater.optimizer, self.model, optimizer)
        known = {name: value for name, value in state.items() if name in LoopState.__dataclass_fields__}
        if bad := [name for name, value in known.items() if not _is_like(value, getattr(LoopState(), name))]:
            raise InputError(
                f"{self.folder}: the checkpoint is damaged ({bad[0]} in its state); start again with --overwrite"
            )
        self.state = LoopState(**known)
        if self.state.batch >= self.batches.steps_per_epoch:
            raise InputError(
                f"{self.folder}: the checkpoint stands at batch {self.state.batch:,} of a pass of "
                f"{self.batches.steps_per_epoch:,}: the rows are others; start again with --overwrite"
            )
        say(f"going on from step {self.state.step:,} of {self.total_steps:,}")

    def _choose(self) -> TrainingResult:
        """Puts the weights that the selection rows prefer into the model."""
        state = self.state
        assert state.best is not None, "the last step always evaluates"
        wait(self.world)
        score, chosen, figures = state.best, f"best, at step {state.best_step:,}", self._figures
        best = kept_weights(self.folder, f"best-{state.best_step}.safetensors")
        if len(state.snapshots) > 1:
            set_weights(self.model, averaged(self.folder, state.snapshots), "averaged checkpoints")
            found = dict(self.evaluate())
            average = self.settings.select_by.of(found)
            if not self.settings.select_by.is_better(score, average):
                score, chosen, figures = average, f"average of the last {len(state.snapshots)}", found
                best = layer_weights(self.model)
        set_weights(self.model, best, "chosen checkpoint")
        # The main process removes the kept weights next: all must have read them.
        wait(self.world)
        self.model.eval()
        return TrainingResult(score, chosen, state.step, state.rows, state.seconds, figures)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Lets Ctrl-C and SIGTERM end the run after the step under way; a second one ends it at once."""

        def remember(number: int, _frame: object) -> None:
            if self._stopped_by is not None:
                raise KeyboardInterrupt
            self._stopped_by = number
            say("\nsaving after this step; once more stops at once")

        try:
            before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # Only the main thread may set handlers; elsewhere the caller's stay in force.
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_like(value: Any, usual: Any) -> bool:
    """Whether a value of a state that was read is one that a state can have; ``usual`` is that of a new one."""
    if usual is None:
        return value is None or (type(value) in (int, float) and math.isfinite(value))
    if type(usual) is float:
        return type(value) in (int, float) and 0 <= value < math.inf
    if type(usual) is int:
        return type(value) is int and 0 <= value < 1 << 62
    if type(usual) is dict:
        return type(value) is dict and all(type(part) in (int, float) for part in value.values())
    return type(value) is type(usual) and (type(usual) is not list or all(map(is_plain_name, value)))


def averaged(folder: Path, names: list[str]) -> dict[str, np.ndarray]:
    """The mean of kept weights, computed in double precision."""
    total: dict[str, np.ndarray] = {}
    for name in names:
        for key, value in kept_weights(folder, name).items():
            total[key] = total.get(key, 0.0) + value.astype(np.float64)
    return {key: (value / len(names)).astype(np.float32) for key, value in total.items()}


def _grouped(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    group: list[Batch] = []
    for batch in batches:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


class _Log:
    """Lines on the screen, ``metrics.jsonl``, and VisualDL scalars."""

    def __init__(self, folder: Path, active: bool) -> None:
        self._folder, self._active = folder, active
        self._file: Any = None
        self._board: Any = None
        self._said: float | None = None

    @contextlib.contextmanager
    def opened(self, state: LoopState) -> Iterator[None]:
        """Opens the log; what a killed run wrote after its last checkpoint is cut off."""
        if not self._active:
            yield
            return
        from visualdl import LogWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / LOG
        if path.exists():
            with open(path, "r+b") as file:
                file.truncate(min(state.log_bytes, os.path.getsize(path)))
        else:
            write_atomically(path, "")
        self._board = LogWriter(logdir=str(self._folder / "visualdl"))
        self._rows, self._seconds = state.rows, state.seconds
        with open(path, "a", encoding="utf-8") as self._file:
            try:
                yield
            finally:
                self._board.close()
        self._file = None

    def size(self) -> int:
        """Bytes of ``metrics.jsonl`` so far, all on the disk."""
        self._file.flush()
        return (self._folder / LOG).stat().st_size

    def step(self, loop: Loop, losses: Mapping[str, float]) -> None:
        """Adds a step up, and writes a line when one is due."""
        state = loop.state
        if not self._active:
            return
        # In the state, so that a run resumed between two lines writes the same means.
        for name, value in losses.items():
            state.loss_sums[name] = state.loss_sums.get(name, 0.0) + value
        state.loss_steps += 1
        if state.step % loop.settings.logging_steps and not state.done:
            self._sign_of_life(loop)
            return
        self._said = time.monotonic()
        means = {name: value / state.loss_steps for name, value in state.loss_sums.items()}
        state.loss_sums, state.loss_steps = {}, 0
        elapsed = max(state.seconds - self._seconds, 1e-9)
        rate = (state.rows - self._rows) / elapsed
        self._rows, self._seconds = state.rows, state.seconds
        left = (loop.total_steps - state.step) * state.seconds / state.step
        rate_used = float(loop.updater.optimizer.get_lr())
        shown = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        say(
            f"step {state.step:,}/{loop.total_steps:,}: {shown}, lr {rate_used:.3g}, "
            f"{rate:,.0f} rows/s, {duration(left)} left"
        )
        self._write(state.step, {**means, "lr": rate_used, "rows_per_second": rate}, "train")

    def _sign_of_life(self, loop: Loop) -> None:
        """Where no line is due for long, says how far the training is; on the screen alone, for it depends on time."""
        state = loop.state
        if self._said is None:
            self._said = time.monotonic()
        if time.monotonic() - self._said > SILENCE:
            self._said = time.monotonic()
            left = (loop.total_steps - state.step) * state.seconds / state.step
            say(f"step {state.step:,}/{loop.total_steps:,}: {duration(left)} left")

    def evaluation(self, loop: Loop, metrics: Mapping[str, float]) -> None:
        """Writes what an evaluation found."""
        if not self._active:
            return
        shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        mark = " (best so far)" if loop.state.best_step == loop.state.step else ""
        say(f"step {loop.state.step:,}: evaluation: {shown}{mark}")
        self._write(loop.state.step, metrics, "evaluation")

    def _write(self, step: int, values: Mapping[str, float], part: str) -> None:
        self._file.write(json.dumps({"step": step, "part": part, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(tag=f"{part}/{name}", step=step, value=value)
