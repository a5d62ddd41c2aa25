"""A frozen masked language model that is asked for what it expects at hidden places, and at no others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from console import InputError
from core.distributed import current_device
from core.metrics import Diverged
from core.static_graph import StaticGraph, save_graph
from models.bert import BertForMaskedLM
from models.bert_names import to_ours
from models.folder import LoadedModel
from models.pretrained import pretrained_bert, resolve_pretrained
from models.weights import read_weights

HEAD = "cls.predictions.transform.weight"


class MaskedPlaces(nn.Layer):
    """A masked language model whose projection on the vocabulary, the costliest part of it, sees some places only.

    Args:
        model: in evaluation mode.
    """

    names = ("logits",)

    def __init__(self, model: BertForMaskedLM) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(
        self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor, positions: paddle.Tensor
    ) -> paddle.Tensor:
        """[places, vocabulary]; ``positions`` int64 [places], counted through all tokens of the batch."""
        return self.model.features(input_ids, token_type_ids, True, masked_positions=positions)["logits"]

    def input_spec(self) -> list[paddle.static.InputSpec]:
        """The inputs of the static graph."""
        return [*self.model.input_spec(), paddle.static.InputSpec([None], "int64", "positions")]


class MaskedLM:
    """Asks a masked language model by its static graph, which is made when it is first needed.

    Args:
        loaded: the model.
        folder: an empty folder for the graph.
    """

    def __init__(self, loaded: LoadedModel, folder: Path) -> None:
        self.loaded, self._folder = loaded, folder
        self._graph: StaticGraph | None = None

    def logits(self, inputs: Mapping[str, np.ndarray], rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """What the model expects, [places, vocabulary].

        Args:
            inputs: ``input_ids`` and ``token_type_ids``, [rows, tokens].
            rows: of the places.
            positions: of the places in their rows.

        Raises:
            Diverged: the model puts out numbers that are not finite.
        """
        if self._graph is None:
            names = save_graph(self.loaded, self._folder, wrap=MaskedPlaces)
            self._graph = StaticGraph(self._folder, device=current_device(), shapes=1, outputs=names)
        flat = rows * inputs["input_ids"].shape[1] + positions
        found = self._graph.run({**inputs, "positions": flat})["logits"]
        if not np.isfinite(found).all():
            raise Diverged("the masked language model puts out numbers that are not finite: its weights are worthless")
        return found


def load_masked_lm(name: str, option: str, seed: int, cache: Path) -> LoadedModel:
    """A masked language model that is to be asked.

    Args:
        name: a folder, or a name that PaddleNLP downloads.
        option: names it in errors.
        seed: of the run.
        cache: where a download is kept.

    Raises:
        InputError: cannot be had, or has no masked-LM head.
    """
    folder = resolve_pretrained(name, cache)
    if HEAD not in to_ours(read_weights(folder), "BertForMaskedLM"):
        raise InputError(f"{option} {name}: has no masked-LM head")
    # Its length is that of what is asked: three tokens every BERT has.
    found = pretrained_bert(name, None, 3, seed, cache, architecture="BertForMaskedLM")
    found.model.eval()
    return found


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """The places of the largest values of every row, the largest first; equal ones in their order.

    Args:
        values: [rows, columns].
        count: how many; all where there are no more.

    Returns:
        int64, [rows, at most count].
    """
    if count < values.shape[1]:
        chosen = np.sort(np.argpartition(-values, count - 1, axis=1)[:, :count], axis=1)
    else:
        chosen = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    order = np.argsort(-np.take_along_axis(values, chosen, 1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, 1)
