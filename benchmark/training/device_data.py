"""A task's splits in memory, and each split on the device at most once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ...tasks.task import Split
from ..schema.split_overlap import SplitOverlap
from .tensors import as_stored


@dataclass(eq=False)
class TaskData:
    """The data of one (task, size).

    Attributes:
        splits: by name, as loaded.
        fingerprint: of the content.
        device: where `images` puts them.
        copies: equal images across splits; None where nobody looked.
    """

    splits: Mapping[str, Split]
    fingerprint: str
    device: str
    copies: SplitOverlap | None = None
    _images: dict[str, Tensor] = field(default_factory=dict)

    def images(self, split: str) -> Tensor:
        """Return a whole split on the device, [n, 1 or 3, h, w]; see `as_stored`."""
        if split not in self._images:
            self._images[split] = as_stored(self.splits[split], self.device)
        return self._images[split]
