"""Sub-networks as models of their own: plain BERTs with narrow weights, which need nothing of this recipe."""

from __future__ import annotations

from pathlib import Path

from console import InputError, say
from core.checkpoint import inputs_inside
from core.export import TOLERANCE, check_target, write_export
from core.texts import parity_rows
from files import new_folder
from models.bert import BertForSequenceClassification, narrowed
from models.folder import LoadedModel, bert_shape, check_length, load, save
from models.weights import layer_weights, set_weights
from ofa_bert.options import SubModelOptions
from ofa_bert.shapes import OfaRecord, Shape, make_shape

PARITY_ROWS = 64


def cut(loaded: LoadedModel, shape: Shape, max_seq_length: int | None = None) -> LoadedModel:
    """The sub-network of a shape, in evaluation mode.

    Args:
        loaded: the whole network.
        shape: which heads, neurons and layers stay.
        max_seq_length: its longest input; the whole network's when left out.
    """
    config, weights = narrowed(
        loaded.model.config, layer_weights(loaded.model), shape.heads, shape.neurons, shape.layers
    )
    model = BertForSequenceClassification(config)
    set_weights(model, weights, "the sub-network")
    model.eval()
    return LoadedModel(model, loaded.tokenizer, loaded.task, max_seq_length or loaded.max_seq_length)


def encoder_parameters(loaded: LoadedModel) -> int:
    """Number of weights without the embeddings: what a sub-network can be smaller in."""
    return sum(value.size for name, value in layer_weights(loaded.model).items() if ".embeddings." not in name)


def export_model(options: SubModelOptions) -> None:
    """Writes the sub-model of a width and a depth.

    Raises:
        InputError: no once-for-all network, a width or depth that it does not have, or folders that are in use.
    """
    source, target = Path(options.model_name_or_path), Path(options.sub_model_output_dir)
    static = Path(options.static_sub_model) if options.static_sub_model else None
    record = OfaRecord.load(source)
    shape = make_shape(vars(bert_shape(source)), options.width_mult, options.depth_mult, record.rule)
    targets = {"sub_model_output_dir": target, "static_sub_model": static}
    for option, folder in targets.items():
        if folder is None:
            continue
        check_target(folder, f"--{option}", options.overwrite)
        if inside := inputs_inside(folder, options.as_dict(), tuple(targets)):
            raise InputError(f"--{option} {folder}: holds {inside}, which is read; choose another folder")
    if static is not None and (_contains(static, target) or _contains(target, static)):
        raise InputError(f"--static_sub_model {static}: must be apart from --sub_model_output_dir")
    loaded = load(source)
    length = options.max_seq_length
    if length:
        check_length(length, loaded.model.config, loaded.task, source)
    if not is_trained(shape, record):
        known = f"widths that were: {_list(record.widths)}; depths: {_list(record.depths)}"
        say(f"note: {shape.name} was not trained; {known}")
    rows = parity_rows(loaded.labelled, options.data_dir, PARITY_ROWS, None, source) if static is not None else None
    part, largest = write_sub_model(loaded, shape, target, static, length, rows.columns if rows else None)
    share = encoder_parameters(part) / encoder_parameters(loaded)
    say(
        f"{target}: {shape.heads} heads, {shape.neurons} neurons, layers {' '.join(map(str, shape.layers))}; "
        f"{part.parameters / 1e6:.2f} M parameters, {share:.0%} of the network's outside the embeddings"
    )
    if rows is not None:
        say(
            f"{static}: static graph; parity on {len(rows.columns[0])} rows of {rows.where}: largest difference "
            f"{largest:.1e} of a logit (allowed {TOLERANCE:.0e})"
        )


def _contains(outer: Path, inner: Path) -> bool:
    """Whether a folder is another one or holds it: writing it anew would remove that."""
    return outer.resolve() == inner.resolve() or outer.resolve() in inner.resolve().parents


def is_trained(shape: Shape, record: OfaRecord) -> bool:
    """Whether width and depth are among those that the network was trained for."""
    near = 1e-2
    return all(
        min(abs(value - known) for known in trained) < near
        for value, trained in ((shape.width, record.widths), (shape.depth, record.depths))
    )


def _list(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def write_sub_model(
    loaded: LoadedModel,
    shape: Shape,
    target: Path,
    static: Path | None = None,
    max_seq_length: int | None = None,
    rows: list[list[str]] | None = None,
) -> tuple[LoadedModel, float]:
    """Cuts a sub-network and writes its model folder, and its export folder when one is named.

    Args:
        loaded: the whole network.
        shape: of the sub-network.
        target: receives the model folder.
        static: receives the export folder.
        max_seq_length: its longest input; the whole network's when left out.
        rows: texts that the graph is checked on, one list per text column; the built-in corpus when left out.

    Returns:
        The sub-model, and the largest relative difference of a logit between it and its graph (0 without one).
    """
    part, largest = cut(loaded, shape, max_seq_length), 0.0
    # One within the other: when either cannot be made, neither is there.
    with new_folder(target) as temporary:
        save(temporary, part)
        if static is not None:
            with new_folder(static) as graph:
                texts = rows or parity_rows(part.labelled, None, PARITY_ROWS).columns
                largest = write_export(part, graph, texts, temporary)["parity"]["largest_relative_difference"]
    return part, largest
