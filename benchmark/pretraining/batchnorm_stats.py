"""Running statistics of batch norm: of a batch in parts, and of a network that was trained without them."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
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


@torch.no_grad()
def fold_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give batch norm the statistics of `batches`, and weights and biases with which outputs stay the same.

    A network that was trained with other, frozen statistics would compute something else once it normalizes
    by those of its batches, as in fine-tuning. Norms without weights, or that are not used, stay as they are.

    Args:
        network: in eval mode; changed in place.
        batches: inputs of the network, at least one.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.affine]
    totals: dict[nn.Module, Tensor] = {}

    def count(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].transpose(0, 1).flatten(1).float()
        variance, mean = (part.cpu().double() for part in torch.var_mean(values, dim=1, correction=0))
        totals[norm] = totals.get(norm, 0) + values.shape[1] * torch.stack(
            [torch.ones_like(mean), mean, variance + mean.square()]
        )

    hooks = [norm.register_forward_pre_hook(count) for norm in norms]
    for batch in batches:
        network(batch)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        if norm.running_mean is None or norm.running_var is None or norm not in totals:
            continue
        number, *sums = totals[norm]
        mean, square = (total / number for total in sums)
        variance = (square - mean.square()).clamp(min=0)
        mean, variance = (part.to(norm.running_mean) for part in (mean, variance))
        slope = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias.add_(slope * (mean - norm.running_mean))
        norm.weight.copy_(slope * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
