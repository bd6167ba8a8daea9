"""Running statistics of batch norm that do not depend on how a batch is cut into parts."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNormStats:
    """Batch norms of a network; their momentum applies to a step, not to each part of its batch."""

    def __init__(self, network: nn.Module) -> None:
        norms = (module for module in network.modules() if isinstance(module, _BatchNorm))
        self.norms = [(norm, norm.momentum) for norm in norms if norm.momentum]

    def weight_part(self, at: int, parts: int) -> None:
        """Set the momentum of part number `at`, so that all `parts` of a step count equally.

        With the module's own momentum m for each part, the last part would count most. Here the step counts
        m and each part m / parts after the decay by later parts: m_at (1 - m_at+1) ... (1 - m_last) =
        m / parts. The update is linear, so that the mean over processes, each with its own parts, equals the
        result of one process with all parts.
        """
        for norm, momentum in self.norms:
            each = momentum / parts
            norm.momentum = each / (1 - (parts - 1 - at) * each)
