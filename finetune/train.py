"""Fine-tuning: from a pre-trained BERT and labelled rows to a model folder."""

from __future__ import annotations

from typing import Any

import numpy as np

from console import InputError
from core.classifier import found_again, label_step, read_data, train_classifier
from core.predictions import write_predictions
from core.run import Run
from data.columns import Columns
from data.sources import TaskData
from data.vocabulary import vocabulary_of
from finetune.options import SCRATCH, FinetuneOptions
from models.folder import LoadedModel
from models.pretrained import pretrained_bert, untrained_bert

SCRIPT = "finetune.run_classifier"
# Beyond these shares of unknown tokens a vocabulary hardly fits the rows, and does not.
MANY_UNKNOWN, MOST_UNKNOWN = 0.2, 0.5


def finetune(options: FinetuneOptions) -> dict[str, Any]:
    """Fine-tunes a BERT and writes a model folder.

    Returns:
        What ``metrics.json`` holds, see :class:`core.run.RunRecord`.
    """
    with Run.start(SCRIPT, options) as run:
        if run.finished:
            return found_again(run, options)
        data, test = read_data(run, options)
        loaded = beginning(options, data)
        encoded = loaded.encoder.encode(data.train.texts)
        unknown = unknown_share(loaded, encoded)
        if unknown > MOST_UNKNOWN:
            raise InputError(
                f"--model_name_or_path {options.model_name_or_path}: {unknown:.0%} of the training tokens are unknown "
                "to its vocabulary, which is probably of another language; name another model, or scratch"
            )
        run.open()
        run.say(f"teacher: {options.model_name_or_path}, {loaded.parameters / 1e6:.1f} M parameters")
        if unknown > MANY_UNKNOWN:
            run.say(
                f"note: {unknown:.0%} of the training tokens are [UNK]; is this model's vocabulary of another language?"
            )
        record = train_classifier(
            run,
            loaded,
            encoded.with_(labels=data.train.labels),
            label_step(loaded.model),
            data,
            options.batch_size,
            options.num_train_epochs,
            options.learning_rate,
            options.optimizer,
        )
        return run.finish(loaded, record, lambda trained: write_predictions(run.path, trained, test))


def unknown_share(loaded: LoadedModel, encoded: Columns) -> float:
    """The share of the tokens of encoded rows, beside [CLS] and [SEP], that a model's vocabulary does not know."""
    ids = np.asarray(encoded["input_ids"].values)
    own = ~np.isin(ids, [loaded.tokenizer.token_id(name) for name in ("[CLS]", "[SEP]")])
    return float((ids[own] == loaded.tokenizer.token_id("[UNK]")).mean()) if own.any() else 0.0


def beginning(options: FinetuneOptions, data: TaskData) -> LoadedModel:
    """The model before it learns: a pre-trained one, or one with random weights that reads what the rows hold."""
    length, seed = options.max_seq_length, options.seed
    if options.model_name_or_path == SCRATCH:
        vocabulary = vocabulary_of((text for column in data.train.texts for text in column), data.task.language)
        return untrained_bert(options.untrained_shape(), vocabulary, data.task, length, seed)
    return pretrained_bert(options.model_name_or_path, data.task, length, seed, options.cache(), options.trust_pickle)
