"""Cuts a sub-model out of a once-for-all network: a model folder, and on demand its static graph.

python -m ofa_bert.export_model --model_name_or_path outputs/ofa --width_mult 0.6667 --sub_model_output_dir outputs/sub
"""

from __future__ import annotations

if __name__ == "__main__":
    import process

    process.tune()

from pathlib import Path
from typing import TYPE_CHECKING

from args import parse
from console import InputError, run_script, say
from ofa_bert.options import SubModelOptions

if TYPE_CHECKING:
    from models.folder import LoadedModel
    from ofa_bert.shapes import Shape

SCRIPT = "ofa_bert.export_model"
PARITY_ROWS = 64


def main(argv: list[str]) -> None:
    """Parses the command line and exports."""
    export_model(parse(SubModelOptions, argv, __doc__ or "", f"python -m {SCRIPT}"))


def export_model(options: SubModelOptions) -> None:
    """Writes the sub-model of a width and a depth.

    Raises:
        InputError: no once-for-all network, a width or depth that it does not have, or folders that are in use.
    """
    from core.checkpoint import inputs_inside
    from core.export import TOLERANCE, check_target, parity_rows
    from models.folder import bert_shape, check_length, load
    from ofa_bert.shapes import OfaRecord, make_shape
    from ofa_bert.sub_model import encoder_parameters

    source, target = Path(options.model_name_or_path), Path(options.sub_model_output_dir)
    static = Path(options.static_sub_model) if options.static_sub_model else None
    record = OfaRecord.load(source)
    shape = make_shape(vars(bert_shape(source)), options.width_mult, options.depth_mult, record.rule)
    targets = {"sub_model_output_dir": target, "static_sub_model": static}
    for option, folder in targets.items():
        if folder is None:
            continue
        check_target(folder, f"--{option}", options.overwrite)
        if inside := inputs_inside(folder, options, tuple(targets)):
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
    rows = parity_rows(loaded.task, options.data_dir, PARITY_ROWS) if static is not None else None
    part, largest = write_sub_model(loaded, shape, target, static, length, rows)
    share = encoder_parameters(part) / encoder_parameters(loaded)
    say(
        f"{target}: {shape.heads} heads, {shape.neurons} neurons, layers {' '.join(map(str, shape.layers))}; "
        f"{part.parameters / 1e6:.2f} M parameters, {share:.0%} of the network's outside the embeddings"
    )
    if static is not None:
        say(f"{static}: static graph; largest difference {largest:.1e} of a logit (allowed {TOLERANCE:.0e})")


def _contains(outer: Path, inner: Path) -> bool:
    """Whether a folder is another one or holds it: writing it anew would remove that."""
    return outer.resolve() == inner.resolve() or outer.resolve() in inner.resolve().parents


def is_trained(shape: Shape, record) -> bool:  # noqa: ANN001 - ofa_bert.shapes.OfaRecord, loaded late
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
        rows: texts that the graph is checked on, one list a text column; the built-in corpus when left out.

    Returns:
        The sub-model, and the largest relative difference of a logit between it and its graph (0 without one).
    """
    from core.export import parity_rows, write_export
    from data.store import new_folder
    from models.folder import save
    from ofa_bert.sub_model import cut

    part, largest = cut(loaded, shape, max_seq_length), 0.0
    # One within the other: when either cannot be made, neither is there.
    with new_folder(target) as temporary:
        save(temporary, part)
        if static is not None:
            with new_folder(static) as graph:
                largest = write_export(part, graph, rows or parity_rows(part.task, None, PARITY_ROWS))
    return part, largest


if __name__ == "__main__":
    raise SystemExit(run_script(main))
