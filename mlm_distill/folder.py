"""Folders of shards: what they were made from, which shards are there, and when all are."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console import InputError
from data.store import Store, StoreDamaged
from files import check_new_folder, clear_folder, read_json, write_json

SHARD, HELD_OUT = "shard", "held-out"


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

    def is_there(self, number: int) -> bool:
        """Whether a shard and what belongs to it are whole."""
        try:
            for part in (HELD_OUT, SHARD):
                Store(self.shard(number, part))
        except StoreDamaged:
            return False
        return True

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
        return record

    def begin(self, made_from: Mapping[str, Any], overwrite: bool, is_main: bool) -> dict[str, Any]:
        """Makes the folder ready; shards that were made from the same stay.

        Args:
            made_from: whatever decides what is in the shards.
            overwrite: whether shards of something else may go.
            is_main: whether this process is the one that removes them.

        Returns:
            The record.

        Raises:
            InputError: the folder is in use, or cannot be made.
        """
        check_new_folder(self.path, self.option)
        # As it will be read again.
        record = json.loads(json.dumps({"format": self.kind.format, "made_from": made_from}))
        known = self.known()
        is_same = known is not None and known["made_from"] == record["made_from"]
        if known is not None and not is_same and not overwrite:
            raise InputError(
                f"{self.option} {self.path}: made from something else or with other options; pass --overwrite or "
                "choose another"
            )
        if known is None and self.path.is_dir() and any(not name.startswith(".") for name in os.listdir(self.path)):
            raise InputError(f"{self.option} {self.path} is not empty; choose another")
        if known is not None and not is_same and is_main:
            self.clear()
        self.path.mkdir(parents=True, exist_ok=True)
        clear_folder(self.path)
        if not is_same:
            write_json(self.path / self.kind.record, record)
        return record

    def clear(self) -> None:
        """Removes record and shards."""
        (self.path / self.kind.record).unlink()
        for part in (SHARD, HELD_OUT):
            for path in self.path.glob(f"{part}-*"):
                shutil.rmtree(path)

    def end(self, record: Mapping[str, Any], **found: Any) -> dict[str, Any]:
        """Writes the whole record: all shards are there."""
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
