"""Loads an exported folder in Hugging Face transformers and compares its logits with ours.

python tests/hugging_face/compare.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def main(folder: Path) -> None:
    """Exits with an error when a logit differs by more than 1e-5 of max(1, |logit|)."""
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(folder / "hf")
    model, report = AutoModelForSequenceClassification.from_pretrained(folder / "hf", output_loading_info=True)
    assert not report["missing_keys"], report["missing_keys"]
    model.eval()
    with torch.no_grad():
        found = model(**tokenizer(expected["texts"], padding=True, return_tensors="pt")).logits
    wanted = torch.tensor(expected["logits"])
    largest = ((found - wanted).abs() / wanted.abs().clamp(min=1)).max().item()
    print(f"{len(expected['texts'])} rows, largest difference {largest:.1e} of a logit; labels {model.config.id2label}")
    if largest > 1e-5:
        raise SystemExit("the exported model differs")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
