"""Masked-LM distillation: a student learns a teacher's answers at hidden places, its layers, or what the text says."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle.nn import functional as F  # noqa: N812 - the field's own name

from console import InputError, say, table
from core.arithmetic import FP32
from core.distributed import World, choose_device, from_main, main_first
from core.layer_loss import LayerLoss, LayerStep, Projections, frozen
from core.losses import kept_outputs_losses, soft_cross_entropy_loss
from core.masked_lm import MaskedLM, largest, load_masked_lm
from core.metrics import Selection, softmax
from core.run import Run, finite, training_record
from core.train import Losses
from data.batches import Batch, Batches
from data.columns import Columns
from data.ragged import Ragged
from data.tokenization import WordPieceTokenizer
from files import check_new_folder, scratch_folder, write_json
from mlm_distill.corpus import create as create_corpus
from mlm_distill.folder import IDS, PLACES, PROBABILITIES, check_reads
from mlm_distill.options import RunDistillOptions
from mlm_distill.student import student_of
from mlm_distill.text import BEST, TARGETS, Text, corpus_of_files, masked_places, read_text
from models.bert import BertForMaskedLM, inputs_of
from models.dropout import dropout_of
from models.folder import LoadedModel
from models.weights import folder_of

SCRIPT = "mlm_distill.run_distill"
# Rows on which the first projections are fitted.
FITTED_ROWS = 64
EVALUATION, TEXT = "eval.json", "text.json"


def distill(options: RunDistillOptions) -> dict[str, Any]:
    """Trains a student and writes its model folder.

    Returns:
        What ``metrics.json`` holds, see :class:`core.run.RunRecord`.
    """
    with Run.start(SCRIPT, options) as run, contextlib.ExitStack() as stack:
        if run.finished:
            return run.found()
        student, teacher, text = _inputs(options, run.world)
        layers = _loss_of_layers(options, student, teacher) if teacher is not None else None
        run.open()
        run.began_with(TEXT, text.record, "text, or other answers to it")
        if teacher is not None:
            run.taught_by([teacher])
        tokens = int(text.rows.costs.sum())
        run.say(f"{text.rows.rows:,} instances, {tokens:,} tokens; {text.held_out.rows:,} instances judge")
        run.say(f"student: {student.parameters / 1e6:.1f} M parameters")
        live = None
        if teacher is not None:
            graph = stack.enter_context(scratch_folder(options.cache() / "graphs", "masked-lm"))
            live = LiveTeacher(teacher, graph, layers, options.teacher_precision)
            text = live.judging(text, options.eval_batch_size)
        record = _train(run, student, text, live, options)
        return run.finish(student, record)


def _inputs(options: RunDistillOptions, world: World) -> tuple[LoadedModel, LoadedModel | None, Text]:
    """Student, teacher where one is asked, and text; all of it checked."""
    teacher = None
    if options.is_live:
        name = folder_of(options.teacher, "--teacher")
        teacher = load_masked_lm(name, "--teacher", options.seed, options.cache(), options.trust_pickle)
    student = student_of(options, teacher)
    if options.data_files_json:
        made = corpus_of_files(options, student)
        main_first(world, lambda: create_corpus(made, "--data_cache_dir", is_alone=True))
    assert isinstance(student.tokenizer, WordPieceTokenizer)
    text = read_text(options, student)
    if teacher is not None:
        check_reads(teacher, text.made_from, f"--teacher {options.teacher}")
    return student, teacher, text


def _loss_of_layers(options: RunDistillOptions, student: LoadedModel, teacher: LoadedModel) -> LayerLoss | None:
    if options.loss != "hidden+ce":
        return None
    layers = student.model.config.num_hidden_layers
    for name in options.matches:
        # They are named after the student's layers: L6_hidden_mse.
        if name[1] != str(layers):
            raise InputError(f"--matches {name}: is for students of {name[1]} layers, this one has {layers}")
    return LayerLoss.of(options, teacher.model.config, student.model.config)


class LiveTeacher:
    """A masked language model that is asked at every step, by its static graph.

    Args:
        loaded: the teacher.
        folder: an empty folder for the graph.
        layers: what of its layers is compared; None where only its answers are.
        precision: in which it runs, see :mod:`core.arithmetic`.
    """

    def __init__(self, loaded: LoadedModel, folder: Path, layers: LayerLoss | None, precision: str = FP32) -> None:
        self._asked = MaskedLM(loaded, folder, layers.wanted(0) if layers else None, precision)
        self._pad_id, self.width = loaded.encoder.pad_id, loaded.model.config.hidden_size
        self.layers = layers

    def answers(self, batch: Batch, places: np.ndarray) -> dict[str, np.ndarray]:
        """``logits`` [places, vocabulary] and features by names such as ``hidden_states.3``."""
        return self._asked.ask({name: batch[name] for name in ("input_ids", "token_type_ids")}, places)

    def of(self, batch: Batch) -> dict[str, paddle.Tensor]:
        """The features alone, for :class:`core.layer_loss.LayerStep`."""
        found = self.answers(batch, np.zeros(1, np.int64))
        return {name: paddle.to_tensor(value) for name, value in found.items() if name != "logits"}

    def judging(self, text: Text, batch_size: int) -> Text:
        """The same text, whose held-out part knows this teacher's likeliest pieces."""
        best = self.best(text.held_out, batch_size)
        return dataclasses.replace(text, held_out=text.held_out.with_(**{BEST: best}))

    def best(self, rows: Columns, batch_size: int) -> Ragged:
        """The likeliest piece of every hidden place."""
        places = rows[PLACES]
        assert isinstance(places, Ragged)
        places = places.compact()
        found = np.zeros(len(places.values), np.int32)
        for batch in Batches(rows, batch_size, self._pad_id, shuffle=False).epoch(0):
            where, there = masked_places(batch)
            if len(where):
                starts = places.offsets[batch["rows"]]
                own = (starts[:, None] + np.arange(there.shape[1]))[there]
                found[own] = self.answers(batch, where)["logits"].argmax(-1)
        return Ragged(found, places.offsets)


class MaskedStep:
    """A training step on hidden places.

    Args:
        student: learns.
        options: say by what.
        live: the teacher, where one is asked.
        projections: of the student's states, where layers are compared.
    """

    def __init__(
        self,
        student: BertForMaskedLM,
        options: RunDistillOptions,
        live: LiveTeacher | None,
        projections: Projections | None,
    ) -> None:
        self._student, self._options, self._live, self._projections = student, options, live, projections
        self._layers = live.layers if live else None

    def __call__(self, batch: Batch) -> Losses:
        places, there = masked_places(batch)
        if len(places):
            return self._losses(batch, places, there)
        # Of rows in which no word fits: one place is computed, and counts nothing. Its losses have the usual names:
        # processes add theirs up together.
        one = {
            name: np.pad(batch[name], [(0, 0), (0, 1)] + [(0, 0)] * (batch[name].ndim - 2))
            for name in (PLACES, TARGETS, IDS, PROBABILITIES)
            if name in batch
        }
        if PROBABILITIES in one:
            one[PROBABILITIES][:] = 1
        there = np.zeros(one[PLACES].shape, bool)
        there[0, 0] = True
        losses = self._losses({**batch, **one}, np.zeros(1, np.int64), there)
        return {name: value * 0.0 for name, value in losses.items()}

    def _losses(self, batch: Batch, places: np.ndarray, there: np.ndarray) -> Losses:
        want = tuple(self._layers.wanted(1)) if self._layers else ()
        found = self._student.features(*self._inputs(batch), want, masked_positions=paddle.to_tensor(places))
        if self._options.teacher == "none":
            return {"loss": self._of_text(batch, found, there)}
        if self._layers is not None:
            losses = self._hidden(batch, found, places, there)
        else:
            ids, probabilities = self._kept(batch, places, there)
            parts = kept_outputs_losses(found["logits"], paddle.to_tensor(ids), paddle.to_tensor(probabilities))
            losses = {"loss": parts["ce"] + parts["cosine"], **parts}
        if not self._options.mlm_weight:
            return losses
        mlm = self._of_text(batch, found, there)
        return {**losses, "loss": losses["loss"] + self._options.mlm_weight * mlm, "mlm": mlm}

    def _of_text(self, batch: Batch, found: Mapping[str, Any], there: np.ndarray) -> paddle.Tensor:
        """Cross-entropy with the pieces that were hidden."""
        return F.cross_entropy(found["logits"], paddle.to_tensor(batch[TARGETS][there]))

    def _inputs(self, batch: Batch) -> tuple[paddle.Tensor, paddle.Tensor, bool]:
        return inputs_of(batch, self._student.config.pad_token_id)

    def _kept(self, batch: Batch, places: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The teacher's likeliest pieces of every place, int64 and float32, [places, kept]."""
        if self._live is None:
            return batch[IDS][there], batch[PROBABILITIES][there].astype(np.float32)
        logits = self._live.answers(batch, places)["logits"]
        best = largest(logits, self._options.truncation_factor)
        return best, np.take_along_axis(softmax(logits), best, 1)

    def _hidden(self, batch: Batch, found: Mapping[str, Any], places: np.ndarray, there: np.ndarray) -> Losses:
        assert self._live is not None and self._layers is not None and self._projections is not None
        theirs = {name: paddle.to_tensor(value) for name, value in self._live.answers(batch, places).items()}
        # Rows count by their hidden places, as the answers do: so any number of processes gives the same.
        weights = paddle.to_tensor((there.sum(1) / there.sum()).astype(np.float32))
        layers = self._layers.losses(found, theirs, paddle.to_tensor(batch["lengths"]), self._projections, weights)
        pieces = theirs["logits"].shape[1]
        ce = soft_cross_entropy_loss(
            found["logits"][:, :pieces], theirs["logits"], self._options.temperature, scaled=False
        )
        return {**layers, "loss": layers["loss"] + self._options.ce_weight * ce, "ce": ce}


def judge(model: BertForMaskedLM, batches: Batches) -> dict[str, float]:
    """How well hidden tokens are told, over all hidden places.

    Returns:
        ``loss`` (mean cross-entropy), ``accuracy``, ``perplexity``; and ``agreement`` with the teacher's likeliest
        pieces, where these are known.
    """
    sums = {"loss": 0.0, "accuracy": 0.0, "agreement": 0.0}
    count, was_training, has_teacher = 0, model.training, BEST in batches.columns
    model.eval()
    with paddle.no_grad():
        for batch in batches.epoch(0):
            places, there = masked_places(batch)
            if not len(places):
                continue
            inputs = inputs_of(batch, model.config.pad_token_id)
            logits = model.features(*inputs, masked_positions=paddle.to_tensor(places))["logits"]
            targets = batch[TARGETS][there]
            best = logits.numpy().argmax(-1)
            count += len(places)
            sums["loss"] += float(F.cross_entropy(logits, paddle.to_tensor(targets), reduction="sum"))
            sums["accuracy"] += float((best == targets).sum())
            if has_teacher:
                sums["agreement"] += float((best == batch[BEST][there]).sum())
    if was_training:
        model.train()
    if not count:
        raise InputError("the instances that judge hide no token; hold more text out")
    means = {name: value / count for name, value in sums.items()}
    found = {"loss": means["loss"], "accuracy": means["accuracy"], "perplexity": math.exp(min(means["loss"], 700))}
    return {**found, "agreement": means["agreement"]} if has_teacher else found


def _train(run: Run, student: LoadedModel, text: Text, live: LiveTeacher | None, options: RunDistillOptions) -> Any:
    model, pad_id = student.model, student.encoder.pad_id
    assert isinstance(model, BertForMaskedLM)
    layers = live.layers if live else None
    projections = None
    if layers is not None:
        start = np.zeros((model.config.hidden_size, live.width), np.float32)  # type: ignore[union-attr]
        projections = Projections(start, [state for _, state in layers.states], options.projection == "shared")
    batches = run.batches(text.rows, options.batch_size, pad_id, count_by=PLACES, prepare=text.hides)
    judged = Batches(text.held_out, options.eval_batch_size, pad_id, shuffle=False)
    if projections is not None and layers is not None and layers.states:
        # Which direction of the student's space is which of the teacher's nobody knows: least squares on some rows.
        some = text.rows.slice(0, FITTED_ROWS)
        step = LayerStep(model, live, layers, projections)  # type: ignore[arg-type]
        fitted = step.fit_projections(Batches(some, options.eval_batch_size, pad_id, shuffle=False))
        projections.set({state: from_main(run.world, matrix) for state, matrix in fitted.items()})
    with _frozen(model, options.trained == "head"), dropout_of(model, options.dropout_prob):
        result = run.fit(
            model,
            batches,
            MaskedStep(model, options, live, projections),
            lambda: judge(model, judged),
            Selection("loss", lower_is_better=True),
            options.num_train_epochs,
            options.learning_rate,
            options.optimizer,
            beside=projections,
        )
    return {
        "task": "masked-lm",
        "dev": judge(model, judged),
        "dev_rows": text.held_out.rows,
        "learning_rows": text.rows.rows,
        "selection_rows": text.held_out.rows,
        "selected_on": "held-out text",
        "training": training_record(result),
        "processes": run.world.size,
    }


@contextlib.contextmanager
def _frozen(model: BertForMaskedLM, all_but_head: bool) -> Iterator[None]:
    """What no loss reaches is not trained: the pooler; on demand nothing but the head is."""
    parts = [model.bert] if all_but_head else [model.bert.pooler]
    with frozen([parameter for part in parts for parameter in part.parameters()]):
        # The vocabulary's projection is the word embedding, which stays where the encoder does.
        yield


def evaluate_only(options: RunDistillOptions) -> dict[str, float]:
    """Judges a student as it stands, and writes ``eval.json`` into the output folder.

    Raises:
        InputError: student, text or folder cannot be used.
    """
    target = Path(options.output_dir)
    check_new_folder(target, "--output_dir")
    there = {path.name for path in target.iterdir()} if target.is_dir() else set()
    if there - {EVALUATION} or (there and not options.overwrite):
        raise InputError(f"--output_dir {target} is not empty; choose another, or --overwrite an earlier {EVALUATION}")
    paddle.set_device(choose_device(options.device))
    student, teacher, text = _inputs(options, World())
    assert isinstance(student.model, BertForMaskedLM)
    if teacher is not None:
        with scratch_folder(options.cache() / "graphs", "masked-lm") as graph:
            text = LiveTeacher(teacher, graph, None, options.teacher_precision).judging(text, options.eval_batch_size)
    batches = Batches(text.held_out, options.eval_batch_size, student.encoder.pad_id, shuffle=False)
    found = judge(student.model, batches)
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / EVALUATION, finite({**found, "rows": text.held_out.rows}))
    rows = [(name, f"{value:.4f}") for name, value in found.items()]
    say(table(("", str(options.student_model or options.student_config)), rows))
    return found
