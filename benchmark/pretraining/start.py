"""Resolve the initial weights of a pretraining from the value of `--from`."""

from ...baselines.init import InitCard, InitRequest
from ...baselines.naming import read_inits
from ...core.errors import UserError
from ...core.files import cache_folder
from ...tasks.task import DataLocations, Task
from ..corpus.corpus import Corpus
from .pretrain_result import PretrainSettings


def resolve_start(settings: PretrainSettings, corpus: Corpus, places: DataLocations) -> InitCard | None:
    """Return the init that `settings.start` names; None for random weights.

    `UserError` for an unknown name, unavailable weights, or weights for another color.
    """
    word = settings.start
    if word == "scratch":
        return None
    facts = corpus.sources[0]
    task = Task(  # inits are requested for a task: this one has the corpus's color
        name="corpus", title="", kind=facts.kind, classes=facts.classes, modality=facts.modality,
        variant=corpus.variant, source_group="", parents=(), license="", citation="",
        source=None,  # type: ignore[arg-type]  # nothing is loaded for it
    )  # fmt: skip
    named, *others = read_inits([word])
    if others:
        raise UserError(f"--from {word}: it names a group: pass one of its checkpoints.")
    if named.parts.family not in ("imagenet", "zoo") and named.base not in named.paths:
        raise UserError(
            f"--from {word}: it names no weights: pass scratch, imagenet, zoo/NAME or NAME=CARD.toml."
        )
    size = settings.input_size
    return named(InitRequest(task, settings.arch, size, size, (), places, None, "", cache_folder()))
