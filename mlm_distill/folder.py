"""Folders of shards: what they were made from, which shards are there, and when all are."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console import InputError
from data.store import Store, StoreDamaged
from data.tokenization import tokenizer_checksum
from files import check_new_folder, clear_folder, read_json, write_json
from models.folder import LoadedModel

SHARD, HELD_OUT = "shard", "held-out"
# Columns of shards: hidden places, and the likeliest pieces there with their probabilities.
PLACES, IDS, PROBABILITIES = "masked_positions", "teacher_ids", "teacher_probs"


@dataclass(frozen=True)
class Kind:
    """What a folder of shards holds.

    Attributes:
        record: the file that says what it was made from, and when all is there how much it is.
        format: what that file calls itself.
        script: that makes it.
    """

    record: str
    format: str
    script: str


CORPUS = Kind("corpus.json", "paddledistill-corpus-1", "mlm_distill.create_pretraining_data")
TEACHER_OUTPUTS = Kind(
    "teacher_outputs.json", "paddledistill-masked-outputs-1", "mlm_distill.create_teacher_output_data"
)


def corpus_of(kind: Kind, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the corpus behind a record was made from."""
    return record["made_from"] if kind == CORPUS else record["made_from"]["corpus"]


def mark_of(record: Mapping[str, Any]) -> str:
    """What a shard says of what it was made from, in its metadata."""
    return hashlib.sha256(json.dumps(record["made_from"], sort_keys=True).encode()).hexdigest()[:16]


def check_whole(folder: Path, mark: str, verify: bool = True) -> None:
    """Checks a store, ``verify``: by its checksums, and that it was made from what a mark tells.

    Raises:
        StoreDamaged: it is damaged, or another one.
    """
    if Store(folder, verify).metadata.get("made_from") != mark:
        raise StoreDamaged(f"{folder}: it was made from something else")


def is_whole(folder: Path, mark: str, verify: bool = True) -> bool:
    """The same as an answer."""
    try:
        check_whole(folder, mark, verify)
    except StoreDamaged:
        return False
    return True


def check_reads(loaded: LoadedModel, made_from: Mapping[str, Any], name: str) -> None:
    """Refuses a model that does not read what a corpus was made of.

    Args:
        loaded: the model.
        made_from: of the corpus's record.
        name: of the model, in errors.

    Raises:
        InputError: another vocabulary, or longer instances than it has positions.
    """
    if tokenizer_checksum(loaded.tokenizer) != made_from["tokenizer"]:
        raise InputError(f"{name}: the corpus was made with another vocabulary")
    longest = int(made_from["options"]["max_seq_length"])
    if longest > loaded.model.config.max_position_embeddings:
        raise InputError(
            f"{name}: has {loaded.model.config.max_position_embeddings} positions, the instances are up to {longest} "
            "tokens long"
        )


@dataclass(frozen=True)
class ShardFolder:
    """A folder of shards, each a store.

    Attributes:
        path: the folder.
        kind: what it holds.
        option: names it in errors.
    """

    path: Path
    kind: Kind
    option: str

    def shard(self, number: int, part: str = SHARD) -> Path:
        """Where a shard is, or what of its text is held out."""
        return self.path / f"{part}-{number:05d}"

    def is_there(self, number: int, mark: str, verify: bool = True) -> bool:
        """Whether a shard and what belongs to it are whole, and made from what :func:`mark_of` tells."""
        return all(is_whole(self.shard(number, part), mark, verify) for part in (HELD_OUT, SHARD))

    def known(self) -> dict[str, Any] | None:
        """The record, if there is one.

        Raises:
            InputError: damaged, or of something else.
        """
        path = self.path / self.kind.record
        try:
            record = read_json(path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise InputError(f"{path}: damaged ({error}); remove the folder, or choose another") from error
        if record.get("format") != self.kind.format or "made_from" not in record:
            raise InputError(f"{path}: not written by {self.kind.script}; choose another {self.option}")
        try:
            self._check(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{path}: damaged ({type(error).__name__}: {error}); remove the folder, or choose another"
            ) from error
        return record

    def _check(self, record: Mapping[str, Any]) -> None:
        """Refuses values that were never written: whoever reads the record trusts them.

        Raises:
            KeyError: one is missing.
            ValueError: one is of another type.
        """
        corpus = corpus_of(self.kind, record)
        expected = [
            (corpus["options"], {"dynamic_masking": bool, "do_whole_word_mask": bool, "masked_lm_prob": float}),
            (corpus["options"], {"max_seq_length": int, "max_predictions_per_seq": int}),
            (corpus, {"tokenizer": str}),
        ]
        if self.kind == TEACHER_OUTPUTS:
            expected.append((record["made_from"], {"truncation_factor": int}))
        if "shards" in record:
            expected.append((record, dict.fromkeys(("shards", "rows", "held_out_rows", "tokens"), int)))
        for values, types in expected:
            for name, kind in types.items():
                value = values[name]
                if type(value) is not kind and not (kind is float and type(value) is int):
                    raise ValueError(f"{name} {value!r}")
                if kind is int and not 0 <= value < 2**62:
                    raise ValueError(f"{name} {value!r}")

    def is_of(self, made_from: Mapping[str, Any]) -> bool:
        """Whether the folder holds, or is to hold, what is made from this."""
        known = self.known()
        return known is not None and known["made_from"] == json.loads(json.dumps(made_from))

    def begin(self, made_from: Mapping[str, Any], overwrite: bool) -> dict[str, Any]:
        """Makes the folder ready; shards that were made from the same stay, others are made anew one by one.

        Args:
            made_from: whatever decides what is in the shards.
            overwrite: whether shards of something else may go.

        Returns:
            The record.

        Raises:
            InputError: the folder is in use, or cannot be made.
        """
        check_new_folder(self.path, self.option)
        # As it will be read again.
        record = json.loads(json.dumps({"format": self.kind.format, "made_from": made_from}))
        known = self.known()
        if known is None and self.path.is_dir() and any(not name.startswith(".") for name in os.listdir(self.path)):
            # Another process of the same launch may have begun between the two looks.
            known = self.known()
            if known is None:
                raise InputError(f"{self.option} {self.path} is not empty; choose another")
        is_same = known is not None and known["made_from"] == record["made_from"]
        if known is not None and not is_same and not overwrite:
            # Where a folder is made on the way, --overwrite is another folder's.
            remedy = "pass --overwrite or choose another" if self.option == "--output_dir" else "choose another"
            raise InputError(f"{self.option} {self.path}: made from something else or with other options; {remedy}")
        self.path.mkdir(parents=True, exist_ok=True)
        clear_folder(self.path)
        if not is_same:
            write_json(self.path / self.kind.record, record)
        return record

    def clear(self, first: int = 0) -> None:
        """Removes shards from a number on; all of them, and the record behind them, from 0."""
        for part in (SHARD, HELD_OUT):
            for path in self.path.glob(f"{part}-*"):
                number = path.name.removeprefix(f"{part}-")
                if number.isdigit() and int(number) >= first:
                    shutil.rmtree(path)
        if first == 0:
            (self.path / self.kind.record).unlink()

    def end(self, record: Mapping[str, Any], **found: Any) -> dict[str, Any]:
        """Writes the whole record: all shards are there. Those of an earlier, longer text go."""
        self.clear(int(found["shards"]))
        whole = {**record, **found}
        write_json(self.path / self.kind.record, whole)
        return whole

    def finished(self) -> dict[str, Any]:
        """The record of a folder of which all shards are there.

        Raises:
            InputError: nothing of the kind, or unfinished.
        """
        if not self.path.is_dir():
            raise InputError(f"{self.option} {self.path}: no such folder")
        record = self.known()
        if record is None:
            raise InputError(f"{self.option} {self.path}: no {self.kind.record} here; make it with {self.kind.script}")
        if type(record.get("shards")) is not int:
            raise InputError(
                f"{self.option} {self.path}: not all of its shards are there; finish it with the same command first"
            )
        return record

    def stores(self, part: str = SHARD, verify: bool = False) -> list[Store]:
        """The shards of a finished folder.

        Raises:
            InputError: one is damaged.
        """
        try:
            return [Store(self.shard(number, part), verify) for number in range(int(self.finished()["shards"]))]
        except StoreDamaged as damage:
            raise InputError(
                f"{self.option}: {damage}; make it again with the same command of {self.kind.script}"
            ) from damage
