"""Fine-tunes a pre-trained BERT on a task: the teacher of every distillation.

python -m finetune.run_classifier --task_name sst-2 --data_dir DIR --output_dir outputs/teacher
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from typing import Any

from args import parse
from console import run_script, say
from finetune.options import FinetuneOptions

SCRIPT = "finetune.run_classifier"
# Beyond this share of unknown tokens a vocabulary does not fit the rows.
MANY_UNKNOWN = 0.2


def main(argv: list[str]) -> None:
    """Parses the command line and fine-tunes."""
    options = parse(FinetuneOptions, argv, __doc__ or "", f"python -m {SCRIPT}")
    if options.sweep:
        from finetune.sweep import sweep

        sweep(options)
    else:
        finetune(options)


def finetune(options: FinetuneOptions) -> dict[str, Any]:
    """Fine-tunes a BERT and writes a model folder.

    Returns:
        What ``metrics.json`` holds.
    """
    from core.classifier import finish, finished, label_step, load_data, train_classifier, training_world
    from core.train import LoopSettings
    from models.folder import pretrained_bert

    world, folder = training_world(SCRIPT, options)
    if folder.finished:
        return finished(folder, options)
    data = load_data(options, world)
    loaded = pretrained_bert(
        options.model_name_or_path,
        data.task,
        options.max_seq_length,
        options.seed,
        options.cache(),
        options.trust_pickle,
    )
    if world.is_main:
        folder.open(SCRIPT, options)
        say(f"teacher: {options.model_name_or_path}, {loaded.parameters / 1e6:.1f} M parameters")
    columns = {**loaded.encoder.encode(data.train.texts), "labels": data.train.labels}
    unknown = float((columns["input_ids"].values == loaded.tokenizer.token_id("[UNK]")).mean())
    if world.is_main and unknown > MANY_UNKNOWN:
        say(f"note: {unknown:.0%} of the training tokens are [UNK]; is this model's vocabulary of another language?")
    settings = LoopSettings(options.num_train_epochs, options.learning_rate, options.optimizer)
    metrics = train_classifier(loaded, columns, label_step(loaded.model), data, options, settings, world)
    return finish(folder, metrics, loaded, world, data)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
