"""Publications that `parity` can repeat."""

from dataclasses import dataclass
from pathlib import Path

from ...core.errors import unknown_name_error
from .facts import StudyFacts, read_facts

HERE = Path(__file__).parent


@dataclass(frozen=True)
class ParityStudy:
    """A publication and the protocol that repeats it.

    Attributes:
        name: of the study and of its protocol.
        input_size: of the networks, in pixels.
        light: default tasks: short enough for two CPU cores.
        more: further default tasks with a GPU.
    """

    name: str
    init: str
    arch: str
    input_size: int
    light: tuple[str, ...] = ("breastmnist",)
    more: tuple[str, ...] = ("pneumoniamnist", "retinamnist")

    @property
    def facts(self) -> StudyFacts:
        """Published values of the study."""
        return read_facts(HERE / f"{self.name.replace('-', '_')}.toml")


STUDIES = {
    study.name: study
    for study in (
        ParityStudy("medmnist-v2", init="scratch", arch="resnet18_cifar", input_size=28),
        ParityStudy("medmnist-plus", init="imagenet", arch="resnet18", input_size=224),
    )
}


def study_of(name: str) -> ParityStudy:
    """Return a study; `UserError` for an unknown name."""
    if name not in STUDIES:
        raise unknown_name_error("study", name, STUDIES)
    return STUDIES[name]
