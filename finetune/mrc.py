"""Fine-tuning for reading comprehension: from a pre-trained BERT and questions to a model folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from console import InputError
from core.distributed import main_first
from core.evaluate import dygraph_spans
from core.losses import span_losses
from core.metrics import MAIN_METRIC, Selection
from core.run import Run, training_record
from core.spans import ENDS, answered, evaluated
from core.teacher import Teacher
from core.train import Losses
from data.batches import Batch
from data.columns import token_ids
from data.questions import Answer, Encoded, Questions, encode, find_questions, read_questions
from data.sources import HOLDOUT_SEED
from data.streams import generator
from data.tokenization import WordPieceTokenizer
from files import write_atomically
from finetune.options import MrcOptions
from models.bert import Bert
from models.folder import LoadedModel, check_length, load
from models.occurring import occurring_rows
from models.pretrained import pretrained_bert

SCRIPT = "finetune.run_mrc"
ARCHITECTURE = "BertForQuestionAnswering"


def finetune(options: MrcOptions) -> dict[str, Any]:
    """Fine-tunes a BERT and writes a model folder.

    Returns:
        What ``metrics.json`` holds, see :class:`core.run.RunRecord`.
    """
    with Run.start(SCRIPT, options) as run:
        test = read_questions(str(options.test_file), labelled=False) if options.do_predict else None
        if run.finished:
            return run.found(lambda loaded: _predict(run.path, loaded, test, options))
        train, dev, validation = _questions(options, run)
        task = options.task()
        run.say(
            f"{task.name}: {len(train):,} questions to learn from, {len(dev):,} for the evaluation"
            + (f"; {train.skipped + dev.skipped} ask nothing and are left out" if train.skipped + dev.skipped else "")
        )
        loaded = pretrained_bert(
            options.model_name_or_path,
            task,
            options.max_seq_length,
            options.seed,
            options.cache(),
            options.trust_pickle,
            ARCHITECTURE,
        )
        tokenizer = loaded.tokenizer
        assert isinstance(tokenizer, WordPieceTokenizer)
        teacher = _teacher(options, tokenizer) if options.teacher_model else None
        encoded = encode(train, tokenizer, options.windows(), labelled=True)
        judged = encode(validation, tokenizer, options.windows())
        run.open()
        if teacher is not None:
            run.taught_by([teacher])
        assert encoded.labels is not None
        columns = encoded.columns.with_(labels=encoded.labels)
        told = int((encoded.labels[:, 1] > 0).sum())
        run.say(
            f"student: {loaded.parameters / 1e6:.1f} M parameters; {columns.rows:,} windows, {told:,} with an answer"
        )
        if teacher is not None:
            with Teacher(teacher, options.cache(), precision=options.teacher_precision) as asked:
                said = main_first(run.world, lambda: asked.outputs_for(encoded.columns))
            columns = columns.with_(**{f"teacher_{name}": said.columns[name] for name in ENDS})
        with occurring_rows(loaded.model, token_ids(loaded.model.config.vocab_size, columns, judged.columns)):
            result = run.fit(
                loaded.model,
                run.batches(columns, options.batch_size, loaded.encoder.pad_id),
                _step(loaded.model, options),  # type: ignore[arg-type]
                lambda: evaluated(validation, _answers(loaded, validation, judged, options), task.language),
                Selection(MAIN_METRIC[task.metric]),
                options.num_train_epochs,
                options.learning_rate,
                options.optimizer,
            )
        # What chose checkpoints is encoded already.
        read = judged if validation is dev else encode(dev, tokenizer, options.windows())
        record: Any = {
            "task": task.name,
            "dev": evaluated(dev, _answers(loaded, dev, read, options), task.language),
            "dev_rows": len(dev),
            "train_rows": len(train),
            "learning_rows": columns.rows,
            "skipped_rows": train.skipped + dev.skipped,
            "selection_rows": len(validation),
            "selected_on": "dev" if validation is dev else "held-out training passages",
            "training": training_record(result),
            "processes": run.world.size,
        }
        return run.finish(loaded, record, lambda trained: _predict(run.path, trained, test, options))


def _questions(options: MrcOptions, run: Run) -> tuple[Questions, Questions, Questions]:
    """To learn from, to report on, and to choose checkpoints on."""
    if options.task_name:
        folder = str(options.data_dir)
        files = [find_questions(folder, split, options.task_name) for split in ("train", "dev")]
    else:
        files = [Path(str(options.train_file)), Path(str(options.dev_file))]
    if options.task_name and files[0].name.endswith("trial.json"):
        run.say(f"{files[0]}: learnt from, as there is no training file here")
    train, dev = (read_questions(path) for path in files)
    validation = dev
    if options.holdout:
        train, validation = train.passages(options.holdout, HOLDOUT_SEED)
    if options.max_train_rows and options.max_train_rows < len(train):
        drawn = generator(HOLDOUT_SEED, "training rows").permutation(len(train))[: options.max_train_rows]
        train = train.take(np.sort(drawn))
    return train, dev, validation


def _teacher(options: MrcOptions, tokenizer: WordPieceTokenizer) -> LoadedModel:
    """A teacher that reads the same tokens.

    Raises:
        InputError: no such teacher.
    """
    name = str(options.teacher_model)
    found = load(name)
    if found.architecture != ARCHITECTURE:
        raise InputError(f"--teacher_model {name}: expected a {ARCHITECTURE}, this is a {found.architecture}")
    if found.tokenizer.vocab != tokenizer.vocab or getattr(found.tokenizer, "lowercase", None) != tokenizer.lowercase:
        raise InputError(f"--teacher_model {name}: its vocabulary differs from its student's")
    check_length(options.max_seq_length, found.model.config, None, name)
    return dataclasses.replace(found, max_seq_length=options.max_seq_length)


def _step(model: Bert, options: MrcOptions):  # noqa: ANN202 - a step of core.train
    alpha = options.alpha if options.teacher_model else 1.0

    def step(batch: Batch) -> Losses:
        found = model.features_of(batch)
        teacher = [paddle.to_tensor(batch[f"teacher_{name}"]) for name in ENDS] if alpha < 1 else None
        return span_losses(
            [found[name] for name in ENDS],
            paddle.to_tensor(batch["lengths"]),
            paddle.to_tensor(batch["labels"]),
            teacher,
            alpha,
            options.temperature,
        )

    return step


def _answers(
    loaded: LoadedModel, asked: Questions, encoded: Encoded, options: MrcOptions, n_best: int = 1
) -> list[list[Answer]]:
    """The best answers of a model as it stands."""
    forward = dygraph_spans(loaded.model)  # type: ignore[arg-type]
    return answered(forward, asked, encoded, loaded.encoder.pad_id, n_best, options.max_answer_length)


def _predict(folder: Path, loaded: LoadedModel, test: Questions | None, options: MrcOptions) -> None:
    """Answers questions, as the tasks' scripts read them: an object of names and answers; beside it the n best."""
    if test is None:
        return
    assert isinstance(loaded.tokenizer, WordPieceTokenizer)
    encoded = encode(test, loaded.tokenizer, options.windows())
    found = _answers(loaded, test, encoded, options, options.n_best_size)
    name = options.task().name
    best = {key: known[0].text for key, known in zip(test.ids, found, strict=True)}
    every = {
        key: [{"text": one.text, "probability": one.probability, "start": one.start} for one in known]
        for key, known in zip(test.ids, found, strict=True)
    }
    target = folder / "predictions"
    write_atomically(target / f"{name}_nbest.json", json.dumps(every, ensure_ascii=False, indent=1))
    write_atomically(target / f"{name}.json", json.dumps(best, ensure_ascii=False, indent=1))
