"""A model folder whose answers are judged; exports need none of what is imported here."""

from __future__ import annotations

import paddle

from core.distributed import choose_device
from core.evaluate import dygraph_forward, dygraph_spans, predict_logits
from core.spans import answered
from data.questions import Answer, Questions, Windows, encode, longest_answer
from data.tokenization import WordPieceTokenizer
from deploy.judged import Judged
from deploy.options import EvaluateOptions
from models.folder import load


def trained(folder: str, options: EvaluateOptions) -> Judged:
    """A model folder, ready to be asked.

    Raises:
        InputError: it is damaged, or holds a model without a task.
    """
    paddle.set_device(choose_device(options.device))
    loaded = load(folder)
    encoder, task = loaded.encoder, loaded.labelled

    def answers(asked: Questions) -> list[list[Answer]]:
        assert isinstance(loaded.tokenizer, WordPieceTokenizer)
        parts = encode(asked, loaded.tokenizer, Windows.of(task, loaded.max_seq_length))
        forward = dygraph_spans(loaded.model)  # type: ignore[arg-type]
        return answered(forward, asked, parts, encoder.pad_id, 1, longest_answer(task), options.batch_size)

    return Judged(
        folder,
        task,
        lambda texts: predict_logits(
            dygraph_forward(loaded.model), encoder.encode(texts), encoder.pad_id, options.batch_size
        ),
        answers,
    )
