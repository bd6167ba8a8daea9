"""Write the results of a pretraining: weights, their card for `run`, and a model card."""

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
from .objective import OBJECTIVES
from .pretrain_result import PretrainResult

WEIGHTS, CARD, TEXT, PICTURE, CURVE, HASHES = (
    "weights.safetensors", "card.toml", "MODEL_CARD.md", "curve.png", "curve.csv", "hashes.npy",
)  # fmt: skip


def write_results(finished: PretrainResult, out: Path) -> Path:
    """Write all results of a pretraining into `out`, replacing files; returns the card's path.

    The card for `--inits mednet=...` is written last, so that a folder with a card is complete.

    Raises:
        DiskFullError, UserError: as `write_atomic`; or the corpus is missing.
    """
    write_tensors(out / WEIGHTS, finished.state, ("format", "pt"))
    write_curve(finished.curve, out / CURVE)
    draw_curve(finished.curve, out / PICTURE)
    if finished.corpus is not None:
        _write_hashes(finished, finished.corpus, out / HASHES)
    facts = source_facts(finished)
    card = init_card(finished, facts, sha256_file(out / WEIGHTS))
    write_bytes(out / TEXT, clean(model_card(CardContent(finished, facts, card, out / CARD))).encode())
    write_card(card, out / CARD, (f"{card.name}, made by mednet-bench pretrain; {TEXT} describes it.",))
    return out / CARD


def source_facts(finished: PretrainResult) -> dict[str, SourceFacts]:
    """Return the facts of the sources that were not excluded, by name; empty without a corpus.

    A source without images is included: other sources hold copies of all of its images. One without labels
    is excluded if the objective needs them.
    """
    if finished.corpus is None:
        return {}
    sources, unlabeled = read_corpus(finished.corpus).sources, _takes_unlabeled(finished)
    return {
        facts.name: facts
        for facts in sources
        if facts.name not in finished.left_out and (facts.classes or unlabeled)
    }


def _takes_unlabeled(finished: PretrainResult) -> bool:
    return OBJECTIVES[finished.settings.objective].takes_unlabeled


def init_card(finished: PretrainResult, facts: Mapping[str, SourceFacts], sha256: str) -> CheckpointCard:
    """Return the card of the weights, with the SHA-256 of their file."""
    settings = finished.settings
    seen = tuple(
        _seen_corpus(source.name, source.images, facts.get(source.name)) for source in finished.sources
    )
    origins = {word for each in facts.values() for word in words_of(each)}
    seen_before = finished.start.corpora if finished.start else ()
    arch_args = dict(finished.start.arch_args) if finished.start else {}
    backbone = build_backbone(settings.arch, settings.input_size, args=arch_args)
    backbone.load_state_dict(dict(finished.state))
    return CheckpointCard(
        name=f"{settings.variant}-mednet-{settings.arch}-{sha256[:8]}",
        path=WEIGHTS,
        sha256=sha256,
        arch=settings.arch,
        arch_args=arch_args,
        input=finished.contract,
        corpora=tuple(sorted({*origins, *seen_before, *(each.id for each in seen)})),
        corpus=seen,
        variant=settings.variant,
        objective=OBJECTIVES[settings.objective].label,
        images=sum(source.images for source in finished.sources),
        started_from=finished.start.name if finished.start else "scratch",
        images_of=settings.variant,  # type: ignore[arg-type]
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
    more = f"; and the terms of the initial weights, {start.label}" if start else ""
    return f"{implied_terms(each.license for each in seen)}{more}"


def _seen_corpus(name: str, images: int, facts: SourceFacts | None) -> SeenCorpus:
    database = facts.database if facts else ""
    return SeenCorpus(id=database or name, images=images, license=facts.license if facts else "")


def _training_facts(finished: PretrainResult) -> dict[str, object]:
    """Return hyper-parameters and results; unknown values are omitted, since TOML has no null."""
    shown = {source.name: source.draws for source in finished.sources}
    scores = {source.name: source.score for source in finished.sources if source.score is not None}
    held_out = {source.name: source.held_out for source in finished.sources}
    moved = finished.distance_from_start
    return {
        **msgspec.to_builtins(finished.settings),
        "corpus": read_corpus(finished.corpus).identity if finished.corpus else "",
        "left_out": list(finished.left_out),
        "images_shown": shown,
        "held_out_images": held_out,
        "held_out_auc": scores,
        **({} if moved is None else {"distance_from_start": round(moved, 6)}),
        "seconds": round(finished.seconds, 1),
        "processes": finished.processes,
        "device": finished.device,
        "commit": finished.commit,
        "dirty": finished.dirty,
    }


def _write_hashes(finished: PretrainResult, corpus: Path, path: Path) -> None:
    """Write the sorted perceptual hashes of all images that were not excluded, uint64 [n]."""
    table = rows_without(corpus, finished.left_out, read_index_columns(corpus, ["source", "phash"]))
    table = table.filter(np.isin(table["source"].to_numpy(), list(source_facts(finished))))
    hashes = np.sort(table["phash"].to_numpy())
    write_atomic(path, lambda file: np.save(file, hashes))
