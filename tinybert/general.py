"""General distillation: a student learns the layers of a pre-trained encoder on raw text (Jiao et al. 2019)."""

from __future__ import annotations

from typing import Any

from core.distributed import main_first
from core.layer_loss import LayerLoss
from core.run import Run
from core.teacher_features import TeacherFeatures
from data.columns import columns_checksum
from data.raw_text import raw_text_store, text_files
from models.pretrained import pretrained_bert
from tinybert.options import GeneralDistillOptions
from tinybert.student import build_student
from tinybert.train import fit_layers

SCRIPT = "tinybert.general_distill"
TEXT = "text.json"


def distill_on_text(options: GeneralDistillOptions) -> dict[str, Any]:
    """Distils on raw text and writes the student as a bare encoder, which ``tinybert.task_distill`` starts from.

    Returns:
        What ``metrics.json`` holds, see :class:`core.run.RunRecord`.
    """
    with Run.start(SCRIPT, options) as run:
        if run.finished:
            return run.found()
        files = text_files(options.text)
        teacher = pretrained_bert(
            options.teacher_model,
            None,
            options.max_seq_length,
            options.seed,
            options.cache(),
            options.trust_pickle,
            architecture="BertModel",
        )
        teacher.model.eval()
        student = build_student(options, teacher, options.seed, options.cache())
        loss = LayerLoss.of(options, teacher.model.config, student.loaded.model.config)
        language = options.language if options.split_sentences else None
        encoder, cache = student.loaded.encoder, options.cache()
        rows, held_out = main_first(
            run.world, lambda: raw_text_store(files, encoder, cache, options.held_out, options.seed, language)
        )
        run.open()
        run.began_with(TEXT, {"sha256": [columns_checksum(part) for part in (rows, held_out)]}, "text")
        run.taught_by([teacher])
        tokens = int(rows.costs.sum())
        run.say(f"{len(files)} file(s): {rows.rows:,} sequences, {tokens:,} tokens; {held_out.rows:,} held out")
        run.say(f"student: {student.loaded.parameters / 1e6:.1f} M parameters; starts from {student.start}")
        with TeacherFeatures(teacher, options.cache(), loss.wanted(0), precision=options.teacher_precision) as features:
            record: Any = fit_layers(
                run,
                student,
                features,
                loss,
                rows,
                held_out,
                options,
                options.batch_size,
                options.num_train_epochs,
                options.learning_rate,
                options.optimizer,
            )
        record |= {"learning_rows": rows.rows, "selected_on": "held-out sequences"}
        return run.finish(student.loaded, record)
