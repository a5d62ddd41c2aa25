"""What a once-for-all network learns in a step of each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import paddle

from core.layer_map import uniform_layer_map
from core.losses import hard_label_loss, hidden_states_loss, logit_mse_loss, soft_cross_entropy_loss
from core.train import Losses
from data.batches import Batch
from data.streams import generator
from models.bert import BertForSequenceClassification
from ofa_bert.shapes import Shape
from ofa_bert.supernet import ElasticBert

StageStep = Callable[[Batch], Iterator[Losses]]


@dataclass(frozen=True)
class Draw:
    """Which sub-networks learn from a batch: all, or by the sandwich rule (Yu and Huang 2019, arXiv 1903.05134) the
    largest, the smallest and some between. The largest has every weight, so that none goes without a gradient.

    Attributes:
        shapes: all of them, the largest first and the smallest last.
        count: how many learn from a batch; 0 means all.
        seed: of the run. What is drawn follows from it, the epoch and the batch's first row: a resumed run draws the
            same, and so do all processes.
    """

    shapes: Sequence[Shape]
    count: int = 0
    seed: int = 0

    def of(self, batch: Batch) -> list[Shape]:
        """Those of a batch, in their order."""
        if not self.count or self.count >= len(self.shapes):
            return list(self.shapes)
        random = generator(self.seed, "sub-networks", int(batch["epoch"]), int(batch["first"]))
        between = random.permutation(len(self.shapes) - 2)[: self.count - 2] + 1
        return [self.shapes[i] for i in sorted({0, *between.tolist(), len(self.shapes) - 1})]


def width_step(
    network: ElasticBert,
    teacher: BertForSequenceClassification,
    draw: Draw,
    lambdas: tuple[float, float],
    is_regression: bool = False,
) -> StageStep:
    """The widths in turn, the widest first, learn from the teacher, who speaks once a batch.

    Args:
        network: learns.
        teacher: in evaluation mode; not asked where the batch has ``teacher_logits``.
        draw: the widths, and which of them learn.
        lambdas: weights of logits and hidden states.
        is_regression: whether numbers are predicted.
    """

    def step(batch: Batch) -> Iterator[Losses]:
        if "teacher_logits" in batch:
            targets, states = paddle.to_tensor(batch["teacher_logits"]), None
        else:
            with paddle.no_grad():
                said = teacher.features_of(batch, ("hidden_states",))
            targets, states = said["logits"], said["hidden_states"]
        for shape in draw.of(batch):
            yield distance(network, shape, batch, targets, states, lambdas, is_regression)

    return step


def depth_step(
    network: ElasticBert,
    guide: ElasticBert,
    draw: Draw,
    lambdas: tuple[float, float],
    is_regression: bool = False,
    same_width: bool = True,
) -> StageStep:
    """Every depth of a width learns from the width-adaptive network, as it was before this stage.

    Args:
        network: learns.
        guide: in evaluation mode.
        draw: the sub-networks, and which of them learn.
        lambdas: weights of logits and hidden states.
        is_regression: whether numbers are predicted.
        same_width: the guide speaks at the width that learns, once a batch and width (Hou et al. 2020); otherwise once
            a batch, at full width, as in the published code.
    """
    full = {shape.width: shape for shape in draw.shapes if shape.depth == 1}
    guides = full if same_width else {max(full): full[max(full)]}

    def step(batch: Batch) -> Iterator[Losses]:
        drawn = draw.of(batch)
        # Width after width, the widest first: it is always among those that are drawn.
        for width in full:
            group = [shape for shape in drawn if shape.width == width]
            if group and width in guides:
                with paddle.no_grad(), guide.at(guides[width]):
                    said = guide.features_of(batch, ("hidden_states",))
            for shape in group:
                yield distance(network, shape, batch, said["logits"], said["hidden_states"], lambdas, is_regression)

    return step


def final_step(network: ElasticBert, draw: Draw) -> StageStep:
    """The sub-networks in turn learn from the labels."""

    def step(batch: Batch) -> Iterator[Losses]:
        labels = paddle.to_tensor(batch["labels"])
        for shape in draw.of(batch):
            with network.at(shape):
                loss = hard_label_loss(network.from_batch(batch), labels)
            yield {"loss": loss}

    return step


def distance(
    network: ElasticBert,
    shape: Shape,
    batch: Batch,
    targets: paddle.Tensor,
    states: Any,
    lambdas: tuple[float, float],
    is_regression: bool = False,
) -> Losses:
    """How far a sub-network is from its teacher: soft cross-entropy of the logits and squared error of the states.

    Which states are compared says :func:`core.layer_map.uniform_layer_map` (Hou et al. 2020, eq. 4 and 5). A number to
    predict is compared by squared error.
    """
    with network.at(shape):
        mine = network.features_of(batch, ("hidden_states",))
    close = logit_mse_loss if is_regression else soft_cross_entropy_loss
    soft = close(mine["logits"], targets)
    of_logits, of_states = lambdas
    if not of_states:
        return {"loss": of_logits * soft, "logits": soft}
    chosen = [states[i] for i in uniform_layer_map(len(states) - 1, len(shape.layers))]
    hidden = hidden_states_loss(mine["hidden_states"], chosen, paddle.to_tensor(batch["lengths"]))
    return {"loss": of_logits * soft + of_states * hidden, "logits": soft, "hidden": hidden}
