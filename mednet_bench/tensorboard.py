"""Export of records to TensorBoard while a run computes them."""

from collections.abc import Callable
from os import PathLike

from .benchmark.schema.plan import Fold, budget_text
from .benchmark.schema.records import Record
from .core.optional import import_extra


def tensorboard_writer(folder: str | PathLike[str]) -> Callable[[Record], None]:
    """Return a callback for the argument `on_record` of `run` that writes event files.

    Every finished cell is one run of TensorBoard: its learning curve by step, its test metrics, and its task,
    init, arch, protocol, share of the labels and seed as hyper-parameters.

    Args:
        folder: for the event files, as ``tensorboard --logdir`` takes it.

    Raises:
        UserError: the package tensorboard is not installed.
    """
    import_extra("tensorboard", "tensorboard", "Export to TensorBoard")

    def write(record: Record) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if record.status != "ok":
            return
        cell = record.cell
        metrics = {f"test/{name}": value for name, value in record.metrics.items() if value is not None}
        with SummaryWriter(f"{folder}/{cell.step}-{record.key}") as writer:
            for point in record.curve:
                writer.add_scalar("train/loss", point.train_loss, point.step)
                writer.add_scalar("val/loss", point.val_loss, point.step)
                if point.val_score is not None:
                    writer.add_scalar("val/score", point.val_score, point.step)
            names = {
                "step": cell.step, "task": cell.task, "init": cell.init, "arch": cell.arch,
                "protocol": cell.protocol_label, "fraction": budget_text(cell.fraction), "seed": cell.seed,
                **({"fold": cell.view.index} if isinstance(cell.view, Fold) else {}),
            }  # fmt: skip
            writer.add_hparams(names, metrics, run_name=".")

    return write
