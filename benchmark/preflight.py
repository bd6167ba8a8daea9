"""Everything that can be known to be wrong before the first cell: device, sizes, weights."""

from .errors import UserError
from .grid import Grid
from .plan import Planned


def resolve_device(wanted: str) -> str:
    """Return the device as torch calls it; "auto" takes a GPU where there is one.

    Raises:
        UserError: the device does not exist here.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"The device '{wanted}' cannot be used ({reason}): pass --device cpu or auto."
        ) from error
    return wanted


def check(grid: Grid, waiting: list[Planned]) -> None:
    """Load every checkpoint strictly and run every arch once, as far as the waiting cells need them.

    Raises:
        UserError: what does not fit, and the cure.
    """
    from ..baselines.archs import check_size
    from ..baselines.load import load_backbone

    used = {(planned.cell.arch, planned.cell.input_size) for planned in waiting}
    for arch, side in sorted(used):
        check_size(arch, side)
    proven: set[tuple[str, str]] = set()
    for planned in waiting:
        cell = planned.cell
        if cell.step == "pretrain":
            continue
        card = grid.card(cell)
        if card.file and not card.pretraining and (cell.arch, card.identity) not in proven:
            load_backbone(card, cell.arch, cell.input_size, seed=0)
            proven.add((cell.arch, card.identity))
