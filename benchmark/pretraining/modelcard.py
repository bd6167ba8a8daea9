"""What a pretraining leaves behind: weights, the card by which a run takes them, and a text about them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
import numpy as np

from ...baselines.init import InitCard
from ...baselines.weights.archs import build_backbone
from ...baselines.weights.checkpoint import CheckpointCard, SeenCorpus, write_card
from ...baselines.weights.fingerprint import fingerprint
from ...baselines.weights.load_state_dict import write_tensors
from ...core.errors import clean
from ...core.files import sha256_file, write_atomic, write_bytes
from ...tasks.databases.licenses import implied_terms
from ..corpus.corpus import SourceFacts, read_corpus
from ..corpus.exact_duplicates import rows_without
from ..corpus.index import read_index_columns
from .cardtext import CardContent, model_card
from .curve_plot import draw_curve, write_curve
from .leave_out import words_of
from .pretrain_result import PretrainResult

WEIGHTS, CARD, TEXT, PICTURE, CURVE, HASHES = (
    "weights.safetensors", "card.toml", "MODEL_CARD.md", "curve.png", "curve.csv", "hashes.npy",
)  # fmt: skip


def write_results(finished: PretrainResult, out: Path) -> Path:
    """Write everything that a finished pretraining leaves behind.

    The card for `--inits mednet=...` is written last, so that a folder with one is whole.

    Args:
        finished: the result.
        out: folder; files of these names are replaced.

    Returns:
        the card's path.

    Raises:
        DiskFullError, UserError: as `write_atomic`; the corpus is gone.
    """
    write_tensors(out / WEIGHTS, finished.state, ("format", "pt"))
    write_curve(finished.curve, out / CURVE)
    draw_curve(finished.curve, out / PICTURE)
    if finished.corpus is not None:
        _write_hashes(finished.corpus, finished.left_out, out / HASHES)
    facts = source_facts(finished)
    card = init_card(finished, facts, sha256_file(out / WEIGHTS))
    described = CardContent(finished, facts, card, out / CARD)
    write_bytes(out / TEXT, clean(model_card(described)).encode())
    write_card(card, out / CARD, (f"{card.name}, made by mednet-bench pretrain; {TEXT} describes it.",))
    return out / CARD


def source_facts(finished: PretrainResult) -> dict[str, SourceFacts]:
    """Return what the corpus says of each source that was not left out, by name; empty without a corpus.

    A source of which no image stayed is among them: other sources hold copies of all of its images.
    """
    if finished.corpus is None:
        return {}
    sources = read_corpus(finished.corpus).sources
    return {facts.name: facts for facts in sources if facts.name not in finished.left_out}


def init_card(finished: PretrainResult, facts: Mapping[str, SourceFacts], sha256: str) -> CheckpointCard:
    """Describe the weights as `baselines.checkpoint` reads them back.

    Args:
        finished: the result.
        facts: of the corpus's sources, by name.
        sha256: of the weights' file.
    """
    settings = finished.settings
    seen = tuple(
        _seen_corpus(source.name, source.images, facts.get(source.name)) for source in finished.sources
    )
    origins = {word for each in facts.values() for word in words_of(each)}
    begun = finished.start.corpora if finished.start else ()
    backbone = build_backbone(settings.arch, settings.input_size)
    backbone.load_state_dict(dict(finished.state))
    return CheckpointCard(
        name=f"{settings.variant}-mednet-{settings.arch}-{sha256[:8]}",
        path=WEIGHTS,
        sha256=sha256,
        arch=settings.arch,
        input=finished.contract,
        corpora=tuple(sorted({*origins, *begun, *(each.id for each in seen)})),
        corpus=seen,
        variant=settings.variant,
        license=_license_text(seen, finished.start),
        citation="; ".join(dict.fromkeys(each.citation for each in facts.values() if each.citation)),
        input_size=settings.input_size,
        fingerprint=fingerprint(backbone, finished.contract, settings.input_size),
        hashes=HASHES if finished.corpus is not None else "",
        leave_out=finished.leave_out,
        label_spaces={source.name: list(source.classes) for source in finished.sources},
        training=_training_facts(finished),
    )


def _license_text(seen: Iterable[SeenCorpus], start: InitCard | None) -> str:
    own = f"; and the terms of what it began with, {start.label}" if start else ""
    return f"{implied_terms(each.license for each in seen)}{own}"


def _seen_corpus(name: str, images: int, facts: SourceFacts | None) -> SeenCorpus:
    database = facts.database if facts else ""
    return SeenCorpus(id=database or name, images=images, license=facts.license if facts else "")


def _training_facts(finished: PretrainResult) -> dict[str, object]:
    """Return hyper-parameters and circumstances; TOML has no null, so that what is not known is left away."""
    shown = {source.name: source.draws for source in finished.sources}
    scores = {source.name: source.score for source in finished.sources if source.score is not None}
    held_out = {source.name: source.held_out for source in finished.sources}
    return {
        **msgspec.to_builtins(finished.settings),
        "corpus": read_corpus(finished.corpus).identity if finished.corpus else "",
        "left_out": list(finished.left_out),
        "images_shown": shown,
        "held_out_images": held_out,
        "held_out_auc": scores,
        "seconds": round(finished.seconds, 1),
        "processes": finished.processes,
        "device": finished.device,
        "commit": finished.commit,
        "dirty": finished.dirty,
    }


def _write_hashes(corpus: Path, left_out: tuple[str, ...], path: Path) -> None:
    """Write the sorted perceptual hashes of all images that could be shown, uint64 [n]."""
    table = rows_without(corpus, left_out, read_index_columns(corpus, ["source", "phash"]))
    hashes = np.sort(table["phash"].to_numpy())
    write_atomic(path, lambda file: np.save(file, hashes))
