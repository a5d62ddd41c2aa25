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


def main(argv: list[str]) -> None:
    """Parses the command line and fine-tunes."""
    finetune(parse(FinetuneOptions, argv, __doc__ or "", f"python -m {SCRIPT}"))


def finetune(options: FinetuneOptions) -> dict[str, Any]:
    """Fine-tunes a BERT and writes a model folder.

    Returns:
        What ``metrics.json`` holds.
    """
    from core.classifier import evaluate_fully, finish, load_data, training_world
    from core.evaluate import evaluate_model
    from core.losses import hard_label_loss
    from core.train import Loop, LoopSettings
    from data.batches import Batches
    from models.folder import pretrained_bert

    world, folder = training_world(SCRIPT, options)
    if folder.finished:
        return finish(folder, None)
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
    encoder = loaded.encoder
    train, select = encoder.encode(data.train.texts), encoder.encode(data.select.texts)
    batches = Batches(
        {**train, "labels": data.train.labels},
        options.batch_size,
        encoder.pad_id,
        seed=options.seed,
        rank=world.rank,
        world=world.size,
        workers=options.num_workers,
    )

    def step(batch):  # noqa: ANN001, ANN202
        import paddle

        return {"loss": hard_label_loss(loaded.model.from_batch(batch), paddle.to_tensor(batch["labels"]))}

    loop = Loop(
        loaded.model,
        step,
        batches,
        lambda: evaluate_model(loaded, data.select, encoded=select),
        LoopSettings(options.num_train_epochs, options.learning_rate, options.optimizer),
        options,
        options,
        world,
    )
    result = loop.run()
    return finish(folder, evaluate_fully(loaded, data, result, world), loaded, world)


if __name__ == "__main__":
    raise SystemExit(run_script(main))
