"""Training of once-for-all networks, stage after stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from console import InputError, say, table
from core.classifier import found_again, read_data, train_classifier
from core.distributed import World, from_main, main_first, wait
from core.evaluate import dygraph_forward, predict_logits
from core.metrics import Selection, agreement, compute_metrics
from core.predictions import write_predictions
from core.run import Run
from core.teacher import Teacher, load_teacher
from data.augment import row_hashes
from data.columns import IDS, Column, Columns
from data.learning import rows_with_more
from data.sources import Rows, TaskData
from data.streams import generator
from data.tasks import Task
from data.transfer import labelled_rows, learning_columns, with_labels_only
from models.folder import LoadedModel, bert_shape, build, check_length, load, model_config
from models.weights import layer_weights, set_weights
from ofa_bert.importance import Importance, measure_importance, reordered
from ofa_bert.options import OfaOptions
from ofa_bert.shapes import NEAR, OfaRecord, Shape, make_shapes
from ofa_bert.steps import Draw, StageStep, depth_step, final_step, width_step
from ofa_bert.sub_model import cut
from ofa_bert.supernet import elastic

SCRIPT = "ofa_bert.run_glue_ofa"
# Rows without labels that choose checkpoints: with more, every evaluation takes longer and says the same.
CHOOSING_ROWS = 2000


@dataclass(frozen=True)
class Choice:
    """Rows on which sub-networks are compared with the teacher, to choose checkpoints.

    A metric of a few hundred rows moves in steps that are larger than what a stage still gains; the distance of
    probabilities does not, and needs no labels.

    Attributes:
        columns: encoded rows: those of the task that choose, then rows without labels.
        answers: the teacher's logits, [rows, labels].
        of_task: how many are the task's.
    """

    columns: Columns
    answers: np.ndarray
    of_task: int

    @staticmethod
    def select_by(task: Task) -> Selection:
        """Which of the figures chooses."""
        return Selection("mse" if task.is_regression else "kl", lower_is_better=True)

    def figures(
        self, network: LoadedModel, shapes: Sequence[Shape], labels: np.ndarray | None
    ) -> list[dict[str, float]]:
        """The task's metrics on its own rows and :func:`core.metrics.agreement` on all, of every sub-network."""
        assert labels is not None
        task = network.labelled
        return [
            {
                **compute_metrics(task.metric, logits[: self.of_task], labels),
                **agreement(logits, self.answers, task.is_regression),
            }
            for logits in shape_logits(network, shapes, self.columns)
        ]


def train(options: OfaOptions) -> dict[str, Any]:
    """Trains stage after stage, each in a folder of its own below ``output_dir``, which receives the last one's model.

    Returns:
        What ``metrics.json`` holds, see :class:`core.run.RunRecord`.
    """
    with Run.start(SCRIPT, options) as run:
        if run.finished:
            return found_again(run, options)
        start, stages = Path(options.model_name_or_path), options.stages
        if stages[0] != "width":
            _check_record(options, OfaRecord.load(start))
        # Before anything is read: the heads and layers may not divide into these shares.
        make_shapes(vars(bert_shape(start)), options.width_mult_list, options.depth_mult_list, options.layer_rule)
        data, test = read_data(run, options)
        loaded = starting_network(options.model_name_or_path, options.max_seq_length, stages[0], data, run.world)
        columns, choice = rows_to_learn_from(options, data, loaded, run.world)
        run.open()
        run.taught_by([load(start)])
        metrics: Mapping[str, Any] = {}
        for name in stages:
            # Every stage is found again when it has ended, and goes on from its checkpoint when it was interrupted.
            stage = run.stage(name, stage=name, do_predict=False)
            if stage.finished:
                metrics = stage.earlier_metrics()
                run.say(f"{stage.path}: this stage had finished")
            else:
                metrics = train_stage(name, stage, loaded, columns[name], data, options, choice)
            wait(run.world)
            loaded = replace(load(stage.path), task=loaded.task)
        if run.world.is_main:
            depths = depths_of(stages[-1], options)
            OfaRecord(options.width_mult_list, depths, options.layer_rule, stages[-1]).save(run.path)
        whole: Any = {**metrics, "stages": list(stages)}
        return run.finish(loaded, whole, lambda trained: write_predictions(run.path, trained, test))


def _check_record(options: OfaOptions, record: OfaRecord) -> None:
    """A network is gone on with at the widths that it was trained for, a final time at its depths too, by its rule."""
    source = options.model_name_or_path
    if record.stage != "width" and record.rule != options.layer_rule:
        raise InputError(f"--layer_rule {options.layer_rule}: {source} was trained with {record.rule}")
    asked = {"width": (options.width_mult_list, record.widths)}
    if options.stages[0] == "final":
        asked["depth"] = (options.depth_mult_list, record.depths)
    for what, (wanted, known) in asked.items():
        for value in wanted:
            if min(abs(value - other) for other in known) > NEAR:
                raise InputError(
                    f"--{what}_mult_list {value:g}: {source} was trained for {', '.join(f'{k:.4g}' for k in known)}"
                )


def depths_of(stage: str, options: OfaOptions) -> tuple[float, ...]:
    """The depths that a stage trains."""
    return (1.0,) if stage == "width" else options.depth_mult_list


def starting_network(
    folder: str, max_seq_length: int, stage: str, data: TaskData, world: World | None = None
) -> LoadedModel:
    """The network that a training begins with.

    Args:
        folder: of the teacher, or of the network to go on with.
        max_seq_length: its longest input.
        stage: the first one. The width stage begins with the teacher's heads and neurons in the order of their
            importance, which is made once.
        data: gives the task, and the rows on which importance is measured.
        world: the processes of the run.
    """
    world = world or World()
    found = load_teacher(folder, data.task, "--model_name_or_path")
    check_length(max_seq_length, found.model.config, data.task, folder)
    weights = layer_weights(found.model)
    if stage == "width":
        if world.is_main:
            say(f"importance of heads and neurons on {len(data.validation):,} rows")
        measured = measure_importance(found, data.validation)
        # One order for all processes: the last digit may differ between machines, and decide between equals.
        agreed = Importance(from_main(world, measured.heads), from_main(world, measured.neurons))
        weights = reordered(found.model.config, weights, agreed)
    model = build(model_config(found))
    set_weights(model, weights, "the teacher")
    model.eval()
    return LoadedModel(model, found.tokenizer, data.task, max_seq_length)


def rows_to_learn_from(
    options: OfaOptions, data: TaskData, loaded: LoadedModel, world: World
) -> tuple[dict[str, Columns], Choice | None]:
    """What every stage learns from, encoded, and what chooses checkpoints by the teacher if it is to.

    Width and depth stage: the training rows, and those of ``--transfer_set`` or the rows without labels that are not
    among them; with the teacher's logits where those are enough. Final stage: the rows of both that have a label.
    """
    _, sets, note = rows_with_more(
        data,
        loaded.tokenizer,
        options.transfer_set,
        options.unlabeled(),
        options.seed,
        options.skip_bad_rows,
    )
    if world.is_main and note:
        say(note)
    encoded = [loaded.encoder.arrange(rows.encode(loaded.tokenizer)) for rows in sets]
    if "width" in options.stages and not options.lambda_rep:
        with Teacher(loaded, options.cache()) as teacher:
            answers = [main_first(world, lambda rows=rows: teacher.outputs(rows).logits) for rows in sets]
        encoded = [part.with_(teacher_logits=logits) for part, logits in zip(encoded, answers, strict=True)]
    columns, new = learning_columns(sets, encoded, data.task.is_regression)
    if world.is_main and len(sets) > 1:
        say(f"more rows: {len(sets[1]):,}, {new:,} of them not among the training rows")
    choice = None
    if options.choose_by == "teacher":
        columns, choice = parted_for_choice(columns, data, loaded, options, world)
        if world.is_main:
            say(f"checkpoints are chosen by the teacher's answers on {choice.columns.rows:,} rows")
    return {"width": columns, "depth": columns, "final": with_labels_only(columns)}, choice


def parted_for_choice(
    columns: Columns, data: TaskData, loaded: LoadedModel, options: OfaOptions, world: World
) -> tuple[Columns, Choice]:
    """Parts rows without labels from those to learn from; with the task's rows, they choose checkpoints.

    Args:
        columns: encoded rows, with labels.
        data: gives the task's rows.
        loaded: answers.
        options: give the share, and the seed that draws.
        world: the processes of the run.

    Returns:
        The others in their order, and the choice.
    """
    of_task = loaded.encoder.encode(data.validation.texts)
    hashes, unlabelled = row_hashes((columns[IDS],)), ~labelled_rows(columns)  # type: ignore[arg-type]
    # What is the same to the model stays on one side: nothing that chooses is learnt from.
    known = np.isin(hashes, row_hashes((of_task[IDS],))) & unlabelled  # type: ignore[arg-type]
    different, first = np.unique(hashes[unlabelled & ~known], return_index=True)
    wanted = min(round(options.holdout * len(different)), CHOOSING_ROWS)
    drawn = np.sort(generator(options.seed, "choose_by").permutation(len(different))[:wanted])
    parted = np.isin(hashes, different[drawn]) & unlabelled
    places = np.flatnonzero(unlabelled & ~known)[first[drawn]]
    asked = Columns.concat([of_task, Columns({name: columns[name] for name in of_task}).take(places)])
    with Teacher(loaded, options.cache()) as teacher:
        answers = main_first(world, lambda: teacher.outputs_for(asked).logits)
    return columns.take(np.flatnonzero(~(parted | known))), Choice(asked, answers, of_task.rows)


def train_stage(
    name: str,
    stage: Run,
    start: LoadedModel,
    columns: Columns,
    data: TaskData,
    options: OfaOptions,
    choice: Choice | None = None,
) -> dict[str, Any]:
    """Trains one stage and writes its model folder.

    Args:
        name: ``width``, ``depth`` or ``final``.
        stage: its part of the run.
        start: where it starts from, and who teaches: the teacher, or the network of the stage before.
        columns: encoded rows.
        data: gives the rows that choose checkpoints, and dev.
        options: of the recipe.
        choice: chooses checkpoints in place of the task's metric, except in the final stage.

    Returns:
        Its metrics.
    """
    network = elastic(start, (options.hidden_dropout_prob, options.attention_probs_dropout_prob))
    depths, epochs = depths_of(name, options), options.epochs_of(name)
    shapes = make_shapes(model_config(start), options.width_mult_list, depths, options.layer_rule)
    stage.open()
    stage.say(f"\n{name} stage: {len(shapes)} sub-networks, {epochs} epoch(s)")

    if name == "final":
        choice = None

    def figures(validation: Columns) -> dict[str, float]:
        if choice is not None:
            return averaged_metrics(choice.figures(network, shapes, data.validation.labels))
        return averaged_metrics(evaluate_shapes(network, shapes, data.validation, validation))

    record: Any = train_classifier(
        stage,
        network,
        columns,
        stage_step(name, network, start, shapes, options),
        data,
        options.batch_size,
        epochs,
        options.rate_of(name),
        options.optimizer,
        evaluate=figures,
        choosing=choice.columns if choice else None,
        select_by=choice.select_by(data.task) if choice else None,
    )
    if choice is not None:
        record["selected_on"] += ", and rows without labels" if choice.columns.rows > choice.of_task else ""
        record["selected_on"] += ", by the distance to the teacher's answers"
    parts = evaluate_shapes(network, shapes, data.dev)
    record["learning_rows"] = columns.rows
    record["sub_networks"] = [
        {**vars(shape), "parameters": cut(network, shape).parameters, "dev": part}
        for shape, part in zip(shapes, parts, strict=True)
    ]
    if stage.world.is_main:
        OfaRecord(options.width_mult_list, depths, options.layer_rule, name).save(stage.path)
        say(table(("width x depth", *parts[0]), [_row(shape, part) for shape, part in zip(shapes, parts, strict=True)]))
    return stage.finish(network, record)


def stage_step(
    name: str, network: LoadedModel, start: LoadedModel, shapes: Sequence[Shape], options: OfaOptions
) -> StageStep:
    """The training step of a stage; see :mod:`ofa_bert.steps`."""
    numbers, lambdas = network.labelled.is_regression, options.lambdas_of(name)
    draw = Draw(shapes, options.sub_networks_per_step, options.seed)
    if name == "width":
        return width_step(network.model, start.model, draw, lambdas, numbers)  # type: ignore[arg-type]
    if name == "depth":
        guide, same_width = elastic(start).model, options.depth_guide == "same"
        return depth_step(network.model, guide, draw, lambdas, numbers, same_width)  # type: ignore[arg-type]
    return final_step(network.model, draw)  # type: ignore[arg-type]


def _row(shape: Shape, metrics: dict[str, float]) -> tuple[str, ...]:
    return (shape.name, *(f"{value:.4f}" for value in metrics.values()))


def evaluate_shapes(
    network: LoadedModel, shapes: Sequence[Shape], rows: Rows, encoded: Mapping[str, Column] | None = None
) -> list[dict[str, float]]:
    """The task's metrics of every sub-network.

    Args:
        network: holds an :class:`ofa_bert.supernet.ElasticBert`.
        shapes: the sub-networks.
        rows: with labels.
        encoded: the rows as the model reads them, when that is known already.
    """
    assert rows.labels is not None
    columns = network.encoder.encode(rows.texts) if encoded is None else encoded
    metric = network.labelled.metric
    return [compute_metrics(metric, logits, rows.labels) for logits in shape_logits(network, shapes, columns)]


def shape_logits(network: LoadedModel, shapes: Sequence[Shape], columns: Mapping[str, Column]) -> list[np.ndarray]:
    """The logits of every sub-network, each [rows, labels].

    Args:
        network: holds an :class:`ofa_bert.supernet.ElasticBert`.
        shapes: the sub-networks.
        columns: encoded rows.
    """
    found = []
    for shape in shapes:
        with network.model.at(shape):  # type: ignore[union-attr]
            found.append(predict_logits(dygraph_forward(network.model), columns, network.encoder.pad_id))
    return found


def averaged_metrics(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of every figure over the sub-networks."""
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
