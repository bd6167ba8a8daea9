"""Counts operations that make a host wait for its GPU, on a CPU as well."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch.utils._python_dispatch import TorchDispatchMode

from mednet_bench.benchmark.training.loop import ValidationResult

HOST = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "lift_fresh"}
"""Operations that read a value back, or bring one from the host (`torch.tensor(...)` is a lift_fresh)."""


class Waits(TorchDispatchMode):
    """Keeps the names of operations that make the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.watching = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        moved = name == "_to_copy" and kwargs.get("device") is not None  # .to("cpu"), .cuda()
        if self.watching and (name in HOST or moved):
            self.seen.append(name)
        return func(*args, **kwargs)


@contextmanager
def watched() -> Iterator[tuple[Waits, Callable[[Callable], Callable]]]:
    """Watch everything but validations; those may, and must, wait."""
    waits = Waits()

    def pausing(validate: Callable[[], ValidationResult]) -> Callable[[], ValidationResult]:
        def paused() -> ValidationResult:
            waits.watching = False
            try:
                return validate()
            finally:
                waits.watching = True

        return paused

    with waits:
        waits.watching = True
        yield waits, pausing
