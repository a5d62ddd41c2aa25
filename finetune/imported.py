"""Classifiers that were fine-tuned elsewhere, taken as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from console import InputError, say
from core.checkpoint import inputs_inside
from core.classifier import always_the_same
from core.evaluate import evaluate_model
from core.export import check_target
from data.sources import describe
from data.tasks import Task
from files import new_folder
from finetune.options import ImportOptions
from models.folder import LoadedModel, read_config, save
from models.pretrained import output_names, pretrained_bert, resolve_pretrained

READ = ("model_name_or_path", "data_dir", "train_file", "dev_file")


def import_classifier(options: ImportOptions) -> tuple[LoadedModel, dict[str, Any]]:
    """Judges a classifier on a task's dev rows and writes it as a model folder.

    Returns:
        The model, and the task's metrics on dev, with a ``note`` where it knows nothing of the task.

    Raises:
        InputError: not a classifier of as many labels, labels in an order that nothing tells, or a folder in use.
    """
    target = Path(options.output_dir)
    check_target(target, "--output_dir", options.overwrite)
    if inside := inputs_inside(target, {name: getattr(options, name) for name in READ}):
        raise InputError(f"--output_dir {target}: holds {inside}, which is read; choose another folder")
    data = options.rows()
    say(describe(data))
    source, cache = options.model_name_or_path, options.cache()
    config = read_config(resolve_pretrained(source, cache, options.trust_pickle))
    if config.get("problem_type") == "multi_label_classification":
        raise InputError(f"{source}: a text has several labels at once there; expected a classifier that gives one")
    outputs = outputs_of(output_names(config), options.label_order, data.task, source)
    loaded = pretrained_bert(source, data.task, options.max_seq_length, 0, cache, options.trust_pickle, outputs=outputs)
    loaded.model.eval()
    metrics: dict[str, Any] = dict(evaluate_model(loaded, data.dev))
    # What has come there meanwhile is another's.
    check_target(target, "--output_dir", options.overwrite)
    with new_folder(target, options.overwrite) as temporary:
        save(temporary, loaded)
    figures = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    named = f"; its outputs mean {', '.join(outputs)}, in this order" if outputs else ""
    say(f"{target}: {source} as it came, {loaded.parameters / 1e6:.1f} M parameters{named}; dev {figures}")
    note = always_the_same(data.dev, data.task, metrics) if "accuracy" in metrics else ""
    if note:
        say(f"{note}; or its outputs mean the labels in another order (--label_order)")
        metrics["note"] = note
    return loaded, metrics


def outputs_of(names: Sequence[str], given: Sequence[str], task: Task, source: str) -> list[str]:
    """The labels that a classifier's outputs stand for, in their order; none where a number is predicted.

    Args:
        names: what the classifier calls its outputs; none where it does not say.
        given: the labels in the order of the outputs, by the user; none where the names decide.
        task: of the rows.
        source: the classifier, in errors.

    Raises:
        InputError: the labels are others.
    """
    labels = list(task.labels or ())
    if not labels:
        if given:
            raise InputError("--label_order: the task has no labels but numbers to predict")
        return []
    shown = " ".join(labels)
    if given:
        if sorted(given) != sorted(labels):
            raise InputError(f"--label_order {' '.join(given)}: expected the labels {shown}, each once, in some order")
        return list(given)
    if sorted(names) == sorted(labels):
        return list(names)
    if list(names) == [f"LABEL_{number}" for number in range(len(labels))] or not names:
        return labels
    # POSITIVE and positive are one label, unless rows tell them apart.
    folded = {label.casefold(): label for label in labels}
    if sorted(name.casefold() for name in names) == sorted(folded) and len(folded) == len(labels):
        return [folded[name.casefold()] for name in names]
    raise InputError(
        f"{source}: its outputs are called {', '.join(names)}, your labels {', '.join(labels)}; name your labels in "
        f"the order of these outputs: --label_order {shown}, or another order"
    )
