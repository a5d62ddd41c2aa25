"""Which sub-networks a network has: whole heads, whole neurons, and the layers that stay at a depth.

Training, evaluation, search and export all ask here, so that they speak of the same sub-network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from console import InputError
from files import read_json, write_json

RECORD = "ofa.json"
# A multiplier counts as whole heads (or layers) when it is this near, in heads (or layers).
NEAR = 0.01
LAYER_RULES = ("keep_last", "keep_first")


@dataclass(frozen=True)
class Shape:
    """A sub-network.

    Attributes:
        width: share of the heads and neurons of every layer.
        depth: share of the layers.
        heads: attention heads of every layer: the first that many.
        neurons: feed-forward neurons of every layer: the first that many.
        layers: numbers of the layers that stay.
    """

    width: float
    depth: float
    heads: int
    neurons: int
    layers: tuple[int, ...]

    @property
    def name(self) -> str:
        """Width and depth as users read them, such as ``0.667 x 0.5``."""
        return f"{self.width:.4g} x {self.depth:.4g}"


def whole(multiplier: float, count: int, what: str) -> int:
    """How many of ``count`` heads or layers a multiplier keeps.

    Raises:
        InputError: no whole number from 1 to ``count``; the message lists the multipliers that work.
    """
    kept = round(multiplier * count)
    if not 1 <= kept <= count or abs(multiplier * count - kept) > NEAR:
        possible = ", ".join(f"{n / count:.4g}" for n in range(count, 0, -1))
        raise InputError(f"{what} {multiplier:g} of {count} keeps no whole number; these do: {possible}")
    return kept


def kept_layers(total: int, kept: int, rule: str = "keep_last") -> tuple[int, ...]:
    """The numbers of the layers that stay when ``kept`` of ``total`` do; dropped ones are spread evenly.

    Args:
        total: layers of the whole network.
        kept: from 1 to ``total``.
        rule: ``keep_last`` keeps floor(i total/kept) - 1 for i from 1, as Paddle's published export does: the last
            layer always stays. ``keep_first`` keeps floor(i total/kept) for i from 0, as the code published with the
            DynaBERT paper does: the first layer always stays.
    """
    if rule == "keep_first":
        return tuple(i * total // kept for i in range(kept))
    return tuple(i * total // kept - 1 for i in range(1, kept + 1))


def make_shape(config: Mapping[str, Any], width: float, depth: float, rule: str = "keep_last") -> Shape:
    """The sub-network of a BERT at a width and a depth.

    Args:
        config: its ``config.json``.
        width: a whole number of heads; neurons are rounded.
        depth: a whole number of layers.
        rule: one of :data:`LAYER_RULES`.

    Raises:
        InputError: the width or the depth does not fit this network.
    """
    heads = whole(width, config["num_attention_heads"], "width")
    total = config["num_hidden_layers"]
    layers = kept_layers(total, whole(depth, total, "depth"), rule)
    # The share of whole heads, so that 0.83 and 0.8333333333333334 mean the same network.
    share = heads / config["num_attention_heads"]
    neurons = max(1, round(share * config["intermediate_size"]))
    return Shape(share, len(layers) / total, heads, neurons, layers)


def make_shapes(
    config: Mapping[str, Any], widths: Iterable[float], depths: Iterable[float], rule: str = "keep_last"
) -> list[Shape]:
    """All sub-networks of widths x depths, the largest first, each once."""
    found = {make_shape(config, width, depth, rule): None for width in widths for depth in depths}
    return sorted(found, key=lambda shape: (-shape.depth, -shape.width))


@dataclass(frozen=True)
class OfaRecord:
    """``ofa.json``: what a trained network's weights are good for.

    Attributes:
        widths: that were trained.
        depths: that were trained.
        rule: which layers stay at a depth.
        stage: the last stage of the training.
    """

    widths: tuple[float, ...]
    depths: tuple[float, ...]
    rule: str
    stage: str

    def save(self, folder: Path) -> None:
        """Writes the file into a model folder."""
        write_json(folder / RECORD, vars(self))

    @classmethod
    def load(cls, folder: Path) -> OfaRecord:
        """Reads it.

        Raises:
            InputError: this is no folder of a once-for-all network, or the file is damaged.
        """
        path = folder / RECORD
        if not path.is_file():
            raise InputError(f"{folder}: no {RECORD} here; expected a folder that ofa_bert.run_glue_ofa wrote")
        try:
            values = read_json(path)
            record = cls(
                _numbers(values["widths"]), _numbers(values["depths"]), str(values["rule"]), str(values["stage"])
            )
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: damaged ({type(error).__name__}: {error})") from error
        if not record.widths or not record.depths:
            raise InputError(f"{path}: damaged (no widths or no depths)")
        if record.rule not in LAYER_RULES:
            raise InputError(f"{path}: rule {record.rule!r}: expected one of {', '.join(LAYER_RULES)}")
        return record


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if not all(0 < number <= 1 for number in numbers):
        raise ValueError(f"expected numbers above 0 and up to 1, got {numbers}")
    return numbers
