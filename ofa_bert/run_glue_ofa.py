"""Trains one BERT of many widths and depths, taught by a fine-tuned teacher (DynaBERT, Hou et al. 2020).

python -m ofa_bert.run_glue_ofa --task_name sst-2 --data_dir DIR --model_name_or_path outputs/teacher --output_dir DIR
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from args import parse
from console import InputError, run_script, say, table
from ofa_bert.options import OfaOptions
from ofa_bert.shapes import NEAR

if TYPE_CHECKING:
    from core.classifier import World
    from core.train import Losses
    from data.batches import Batch, Columns
    from data.sources import Rows, TaskData
    from models.folder import LoadedModel
    from ofa_bert.shapes import OfaRecord, Shape

SCRIPT = "ofa_bert.run_glue_ofa"


def main(argv: list[str]) -> None:
    """Parses the command line and trains."""
    train(parse(OfaOptions, argv, __doc__ or "", f"python -m {SCRIPT}"))


def train(options: OfaOptions) -> dict[str, Any]:
    """Trains stage after stage, each in a folder of its own below ``output_dir``, which receives the last one's model.

    Returns:
        What ``metrics.json`` holds.
    """
    from core.checkpoint import RunFolder
    from core.classifier import finish, finished, load_data, training_world
    from core.distributed import wait
    from models.folder import bert_shape, load
    from ofa_bert.shapes import OfaRecord

    world, folder = training_world(SCRIPT, options)
    if folder.finished:
        return finished(folder, options)
    start = Path(options.model_name_or_path)
    if options.stages[0] != "width":
        _check_record(options, OfaRecord.load(start))
    shapes_of(options, vars(bert_shape(start)))
    data = load_data(options, world)
    loaded = starting_network(options, data, world)
    columns = rows_to_learn_from(options, data, loaded, world)
    if world.is_main:
        folder.open(SCRIPT, options)
    wait(world)
    metrics: dict[str, Any] = {}
    for stage in options.stages:
        # Every stage is found again when it has ended, and goes on from its checkpoint when it was interrupted.
        place = folder.path / stage
        inner = replace(options, stage=stage, output_dir=str(place), do_predict=False, resume=True, overwrite=False)
        part = RunFolder.check(SCRIPT, inner)
        # All look before the main process begins to write.
        wait(world)
        if part.finished:
            metrics = part.read_metrics()
            loaded = replace(load(place), task=loaded.task)
            say(f"{place}: this stage had finished")
            continue
        metrics = train_stage(stage, loaded, columns[stage], data, inner, part, world)
        wait(world)
        loaded = load(place)
    if world.is_main:
        OfaRecord(options.width_mult_list, trained_depths(options), options.layer_rule, options.stages[-1]).save(
            folder.path
        )
    return finish(folder, {**metrics, "stages": list(options.stages)}, loaded, world, data)


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


def trained_depths(options: OfaOptions) -> tuple[float, ...]:
    """The depths that the last stage trains."""
    return options.depth_mult_list if options.stages[-1] != "width" else (1.0,)


def shapes_of(options: OfaOptions, config: dict[str, Any]) -> list[Shape]:
    """All sub-networks that the options ask for, of a BERT of that shape."""
    from ofa_bert.shapes import make_shapes

    return make_shapes(config, options.width_mult_list, options.depth_mult_list, options.layer_rule)


def starting_network(options: OfaOptions, data: TaskData, world: World) -> LoadedModel:
    """The teacher with its heads and neurons in the order of their importance; or the network to go on with."""
    from core.classifier import load_teacher
    from core.distributed import from_main
    from models.folder import LoadedModel, build, check_length, model_config
    from models.weights import layer_weights, set_weights
    from ofa_bert.importance import Importance, measure_importance, reordered

    found = load_teacher(options.model_name_or_path, data.task, "--model_name_or_path")
    check_length(options.max_seq_length, found.model.config, data.task, options.model_name_or_path)
    weights = layer_weights(found.model)
    if options.stages[0] == "width":
        if world.is_main:
            say(f"importance of heads and neurons on {len(data.select):,} rows")
        measured = measure_importance(found, data.select)
        # One order for all processes: the last digit may differ between machines, and decide between equals.
        agreed = Importance(from_main(world, measured.heads), from_main(world, measured.neurons))
        weights = reordered(found.model.config, weights, agreed)
    model = build(model_config(found))
    set_weights(model, weights, "the teacher")
    model.eval()
    return LoadedModel(model, found.tokenizer, data.task, options.max_seq_length)


def rows_to_learn_from(options: OfaOptions, data: TaskData, loaded: LoadedModel, world: World) -> dict[str, Columns]:
    """What every stage learns from, encoded.

    Width and depth stage: the training rows, and those of ``--transfer_set`` or the rows without labels that are not
    among them; with the teacher's logits where those are enough. Final stage: the rows of both that have a label.
    """
    import numpy as np

    from core.distributed import current_device, main_first
    from core.teacher import teacher_outputs
    from data.augment import row_hashes
    from data.pairs import more_rows, with_unlabeled
    from data.ragged import Ragged
    from data.transfer import in_memory, transfer_set_from_path

    sets = [in_memory(data.train, loaded.tokenizer)]
    if options.transfer_set:
        sets.append(
            transfer_set_from_path(options.transfer_set, data.task, loaded.tokenizer, False, options.skip_bad_rows)
        )
    elif options.unlabeled_file or options.repair_pairs:
        rows = with_unlabeled(data.train, data.task, options, options.seed, options.skip_bad_rows)
        if world.is_main:
            say(more_rows(data.train, rows))
        sets.append(in_memory(rows.take(np.arange(len(data.train), len(rows))), loaded.tokenizer))
    encoded = [loaded.encoder.arrange(rows.encode(loaded.tokenizer)) for rows in sets]
    if "width" in options.stages and not options.lambda_rep:
        for rows, columns in zip(sets, encoded, strict=True):
            answers = main_first(
                world, lambda rows=rows: teacher_outputs(loaded, rows, options.cache(), current_device())
            )
            columns["teacher_logits"] = answers.logits
    for rows, columns in zip(sets, encoded, strict=True):
        # Rows without labels: -1 among classes, not-a-number among numbers.
        numbers = data.task.is_regression and not np.issubdtype(rows.labels.dtype, np.floating)
        columns["labels"] = np.full(len(rows), np.nan, np.float32) if numbers else rows.labels
    columns = encoded[0]
    if len(sets) > 1:
        known = row_hashes((encoded[0]["input_ids"],))
        new = np.flatnonzero(~np.isin(row_hashes((encoded[1]["input_ids"],)), known))
        columns = {
            name: Ragged.concat([column, encoded[1][name].take(new)])
            if isinstance(column, Ragged)
            else np.concatenate([column, encoded[1][name][new]])
            for name, column in encoded[0].items()
        }
        if world.is_main:
            say(f"more rows: {len(sets[1]):,}, {len(new):,} of them not among the training rows")
    labels = columns["labels"]
    labelled = np.flatnonzero(np.isfinite(labels) if data.task.is_regression else labels >= 0)
    final = {
        name: column.take(labelled) if isinstance(column, Ragged) else column[labelled]
        for name, column in columns.items()
    }
    return {"width": columns, "depth": columns, "final": final}


def train_stage(
    stage: str,
    start: LoadedModel,
    columns: Columns,
    data: TaskData,
    options: OfaOptions,
    folder: Any,
    world: World,
) -> dict[str, Any]:
    """Trains one stage and writes its model folder.

    Args:
        stage: ``width``, ``depth`` or ``final``.
        start: where it starts from, and who teaches: the teacher, or the network of the stage before.
        columns: encoded rows.
        data: gives the rows that choose checkpoints, and dev.
        options: of this stage.
        folder: of this stage.
        world: the processes of the run.

    Returns:
        Its metrics.
    """
    from core.classifier import finish, train_classifier
    from core.train import LoopSettings
    from models.folder import model_config
    from ofa_bert.shapes import OfaRecord, make_shapes
    from ofa_bert.supernet import elastic

    network = elastic(start, (options.hidden_dropout_prob, options.attention_probs_dropout_prob))
    depths = (1.0,) if stage == "width" else options.depth_mult_list
    shapes = make_shapes(model_config(start), options.width_mult_list, depths, options.layer_rule)
    if world.is_main:
        folder.open(SCRIPT, options)
        say(f"\n{stage} stage: {len(shapes)} sub-networks, {options.epochs_of(stage)} epoch(s)")
    settings = LoopSettings(options.epochs_of(stage), options.rate_of(stage), options.optimizer)

    def judge(select: Columns) -> dict[str, float]:
        return averaged_metrics(evaluate_shapes(network, shapes, data.select, select))

    make_step = {"width": width_step, "depth": depth_step, "final": final_step}[stage]
    metrics = train_classifier(
        network,
        columns,
        make_step(network, start, shapes, options),
        data,
        options,
        settings,
        world,
        evaluate=judge,
    )
    parts = evaluate_shapes(network, shapes, data.dev)
    metrics["learning_rows"] = len(columns["labels"])
    metrics["sub_networks"] = [{**vars(shape), "dev": part} for shape, part in zip(shapes, parts, strict=True)]
    if world.is_main:
        OfaRecord(options.width_mult_list, depths, options.layer_rule, stage).save(folder.path)
        say(table(("width x depth", *parts[0]), [_row(shape, part) for shape, part in zip(shapes, parts, strict=True)]))
    return finish(folder, metrics, network, world)


def _row(shape: Shape, metrics: dict[str, float]) -> tuple[str, ...]:
    return (shape.name, *(f"{value:.4f}" for value in metrics.values()))


def evaluate_shapes(
    network: LoadedModel, shapes: Sequence[Shape], rows: Rows, encoded: Columns | None = None
) -> list[dict[str, float]]:
    """The task's metrics of every sub-network.

    Args:
        network: holds an :class:`ofa_bert.supernet.ElasticBert`.
        shapes: the sub-networks.
        rows: with labels.
        encoded: the rows as the model reads them, when that is known already.
    """
    from core.evaluate import evaluate_model

    found = []
    for shape in shapes:
        with network.model.at(shape):
            found.append(evaluate_model(network, rows, encoded=encoded))
    return found


def averaged_metrics(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of every figure over the sub-networks."""
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


def width_step(
    network: LoadedModel, teacher: LoadedModel, shapes: Sequence[Shape], options: OfaOptions
) -> Callable[[Batch], Iterator[Losses]]:
    """Every width in turn, the widest first, learns from the teacher, who speaks once a batch."""
    import paddle

    def step(batch: Batch) -> Iterator[Losses]:
        if "teacher_logits" in batch:
            targets, states = paddle.to_tensor(batch["teacher_logits"]), None
        else:
            with paddle.no_grad():
                targets, states = teacher.model.with_states(batch)
        for shape in shapes:
            yield distance(network, shape, batch, targets, states, options.lambdas_of("width"))

    return step


def depth_step(
    network: LoadedModel, teacher: LoadedModel, shapes: Sequence[Shape], options: OfaOptions
) -> Callable[[Batch], Iterator[Losses]]:
    """Every depth of a width learns from the width-adaptive network at the same width (the published code: at full
    width), which speaks once a batch and width."""
    import paddle

    from ofa_bert.supernet import elastic

    guide = elastic(teacher)
    full = {shape.width: shape for shape in shapes if shape.depth == 1}
    by_width = {width: [shape for shape in shapes if shape.width == width] for width in full}

    def step(batch: Batch) -> Iterator[Losses]:
        for width, group in by_width.items():
            with paddle.no_grad(), guide.model.at(full[width]):
                targets, states = guide.model.outputs(batch)
            for shape in group:
                yield distance(network, shape, batch, targets, states, options.lambdas_of("depth"))

    return step


def final_step(
    network: LoadedModel, teacher: LoadedModel, shapes: Sequence[Shape], options: OfaOptions
) -> Callable[[Batch], Iterator[Losses]]:
    """Every sub-network in turn learns from the labels."""
    import paddle

    from core.losses import hard_label_loss

    del teacher, options

    def step(batch: Batch) -> Iterator[Losses]:
        labels = paddle.to_tensor(batch["labels"])
        for shape in shapes:
            with network.model.at(shape):
                loss = hard_label_loss(network.model.from_batch(batch), labels)
            yield {"loss": loss}

    return step


def distance(
    network: LoadedModel, shape: Shape, batch: Batch, targets: Any, states: Any, lambdas: tuple[float, float]
) -> Losses:
    """How far a sub-network is from its teacher: soft cross-entropy of the logits and squared error of the states.

    A sub-network's state before its i-th layer is compared with the teacher's before layer floor(i total/kept), its
    last with the teacher's last (Hou et al. 2020, eq. 4 and 5). A number to predict is compared by squared error.
    """
    import paddle

    from core.losses import hidden_states_loss, logit_mse_loss, soft_cross_entropy_loss

    with network.model.at(shape):
        logits, mine = network.model.outputs(batch)
    close = logit_mse_loss if network.task.is_regression else soft_cross_entropy_loss
    soft = close(logits, targets)
    of_logits, of_states = lambdas
    if not of_states:
        return {"loss": of_logits * soft, "logits": soft}
    chosen = [states[i] for i in state_numbers(len(states) - 1, len(shape.layers))]
    hidden = hidden_states_loss(mine, chosen, paddle.to_tensor(batch["lengths"]))
    return {"loss": of_logits * soft + of_states * hidden, "logits": soft, "hidden": hidden}


def state_numbers(total: int, kept: int) -> list[int]:
    """Which of a teacher's total + 1 states the kept + 1 states of a shallower network are compared with."""
    return [i * total // kept for i in range(kept + 1)]


if __name__ == "__main__":
    raise SystemExit(run_script(main))
