"""A frozen masked language model that is asked for what it expects at hidden places, and at no others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from console import InputError
from core.arithmetic import FP32
from core.distributed import current_device
from core.features import Wanted, all_entries, feature_names, token_vectors
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
        wanted: features that are put out too.
    """

    def __init__(self, model: BertForMaskedLM, wanted: Wanted | None = None) -> None:
        super().__init__()
        self.model = model
        self._wanted = all_entries(wanted or {}, model.config.num_hidden_layers)
        self.names = ("logits", *feature_names(self._wanted))
        self.eval()

    def forward(
        self, input_ids: paddle.Tensor, token_type_ids: paddle.Tensor, positions: paddle.Tensor
    ) -> paddle.Tensor | tuple[paddle.Tensor, ...]:
        """[places, vocabulary]; ``positions`` int64 [places], counted through all tokens of the batch."""
        found = self.model.features(input_ids, token_type_ids, True, tuple(self._wanted), masked_positions=positions)
        features = [token_vectors(name, found[name][entry]) for name, all in self._wanted.items() for entry in all]
        return (found["logits"], *features) if features else found["logits"]

    def input_spec(self) -> list[paddle.static.InputSpec]:
        """The inputs of the static graph."""
        return [*self.model.input_spec(), paddle.static.InputSpec([None], "int64", "positions")]


class MaskedLM:
    """Asks a masked language model by its static graph, which is made when it is first needed.

    Args:
        loaded: the model.
        folder: an empty folder for the graph.
        wanted: features that :meth:`ask` gives too.
        precision: in which it runs, see :mod:`core.arithmetic`.
    """

    def __init__(self, loaded: LoadedModel, folder: Path, wanted: Wanted | None = None, precision: str = FP32) -> None:
        self.loaded, self._folder, self._wanted, self._precision = loaded, folder, wanted, precision
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
        return self.ask(inputs, rows * inputs["input_ids"].shape[1] + positions)["logits"]

    def ask(self, inputs: Mapping[str, np.ndarray], places: np.ndarray) -> dict[str, np.ndarray]:
        """``logits`` [places, pieces of the tokenizer], and features by names such as ``hidden_states.3``.

        Args:
            inputs: ``input_ids`` and ``token_type_ids``, [rows, tokens].
            places: int64, counted through all tokens of the batch.

        Raises:
            Diverged: the model puts out numbers that are not finite.
        """
        if self._graph is None:
            names = save_graph(self.loaded, self._folder, wrap=lambda model: MaskedPlaces(model, self._wanted))
            self._graph = StaticGraph(
                self._folder, device=current_device(), shapes=1, outputs=names, precision=self._precision
            )
        found = self._graph.run({**inputs, "positions": places})
        # Rows of the embedding beyond the vocabulary, which fill it up to a round number, are no pieces.
        found["logits"] = found["logits"][:, : len(self.loaded.tokenizer.vocab)]
        if not np.isfinite(found["logits"]).all():
            raise Diverged("the masked language model puts out numbers that are not finite: its weights are worthless")
        return found


def load_masked_lm(name: str, option: str, seed: int, cache: Path, trust_pickle: bool = False) -> LoadedModel:
    """A masked language model that is to be asked.

    Args:
        name: a folder, or a name that PaddleNLP downloads.
        option: names it in errors.
        seed: of the run.
        cache: where a download is kept.
        trust_pickle: whether pickled weights may hold more than numbers.

    Raises:
        InputError: cannot be had, or has no masked-LM head.
    """
    check_head(name, option, cache, trust_pickle)
    # Its length is that of what is asked: three tokens every BERT has.
    found = pretrained_bert(name, None, 3, seed, cache, trust_pickle, "BertForMaskedLM")
    found.model.eval()
    return found


def check_head(name: str, option: str, cache: Path, trust_pickle: bool = False, hint: str = "") -> None:
    """Refuses a model without a masked-LM head.

    Args:
        name: a folder, or a name that PaddleNLP downloads.
        option: names it in errors.
        cache: where a download is kept.
        trust_pickle: whether pickled weights may hold more than numbers.
        hint: ends the error.

    Raises:
        InputError: it has none.
    """
    weights = read_weights(resolve_pretrained(name, cache, trust_pickle), trust_pickle)
    if HEAD not in to_ours(weights, "BertForMaskedLM"):
        raise InputError(f"{option} {name}: has no masked-LM head{hint}")


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
