"""Batch norm's running statistics, so that they do not depend on who computes which part of a batch."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNormStats:
    """The batch norms of a network, whose momentum is that of a step and not of a part of one.

    Args:
        network: each of its norms is updated once by every part.
    """

    def __init__(self, network: nn.Module) -> None:
        norms = (module for module in network.modules() if isinstance(module, _BatchNorm))
        self.norms = [(norm, norm.momentum) for norm in norms if norm.momentum]

    def weight_part(self, at: int, parts: int) -> None:
        """Let part number `at` of `parts` count as much in the step's update as each of the others.

        Updated one after another with the module's own momentum m, the last part would count most. Here
        the step as a whole counts m and each part m / parts, of which the later ones take away again:
        m_at (1 - m_at+1) ... (1 - m_last) = m / parts. It is linear, so that the mean over processes, each
        with its own parts, is what one process with all parts would have.
        """
        for norm, momentum in self.norms:
            each = momentum / parts
            norm.momentum = each / (1 - (parts - 1 - at) * each)
