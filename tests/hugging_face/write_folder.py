"""Writes a small fine-tuned BERT, its Hugging Face export, and the logits it gives for a few texts.

python tests/hugging_face/write_folder.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from core.evaluate import dygraph_forward, predict_logits
from core.texts import parity_rows
from data.tasks import get_task
from deploy.exporter import export
from deploy.options import ExportOptions
from files import write_atomically
from models.folder import save
from models.pretrained import pretrained_bert


def main(folder: Path) -> None:
    """Writes ``model``, ``hf`` and ``expected.json`` below ``folder``."""
    task = get_task("sst-2")
    loaded = pretrained_bert("all-MiniLM-L6-v2", task, 128, 0, folder / "cache")
    loaded.model.eval()
    save(folder / "model", loaded)
    export(ExportOptions(model_dir=str(folder / "model"), output_dir=str(folder / "hf"), format="hf", overwrite=True))
    (texts,) = parity_rows(task, None, 64).columns
    columns = loaded.encoder.encode([texts])
    logits = predict_logits(dygraph_forward(loaded.model), columns, loaded.encoder.pad_id)
    write_atomically(folder / "expected.json", json.dumps({"texts": texts, "logits": logits.tolist()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
