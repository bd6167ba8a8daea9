"""`mednet-bench pretrain`: train on a corpus and write weights and their card."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from ...baselines.init import InitCard, contract_of
from ...baselines.weights.archs import build_backbone, check_input_size
from ...core.errors import StoppedError, UserError
from ...core.leases import claim_lock
from ...tasks.task import DataLocations, Task
from ..corpus.corpus import Corpus, SourceFacts, read_corpus
from ..corpus.exact_duplicates import copies_in_other_sources
from ..schema.provenance import checkout_commit
from ..training.loop import DivergedError, is_short_memory
from .config import PretrainCallbacks, PretrainConfig, PretrainOutcome, StoppedAtError
from .curve_plot import write_curve
from .distributed import RankGroup, join_ranks
from .leave_out import check_start, related_sources
from .loader import ShardImages, corpus_pools, worker_death_as_error
from .modelcard import CARD, CURVE, write_results
from .objective import OBJECTIVES
from .pretrain_result import CurvePoint, PretrainResult, PretrainSettings, distance_text
from .progress import PretrainDisplay
from .resume_check import StoredConfig, check_resume, read_stored_config
from .sources import LoaderConfig
from .start import resolve_start
from .stopping import stop_on_signal
from .train_loop import run_training

_LOG = logging.getLogger(__name__)
CHECKPOINTS = "checkpoints"


@dataclass(frozen=True, eq=False)
class PretrainRequest:
    """Request of the command line.

    Attributes:
        settings: hyper-parameters; `start` is the value of `--from`, and `accumulate` 0 means the stored
            value of a resumed pretraining, else one part per process.
        workers: decoding processes for each process that trains.
        evaluate_every: steps; 0 validates ten times.
        minutes: limit after which it stops with a checkpoint; 0 is none.
    """

    settings: PretrainSettings
    corpus: Path
    out: Path
    leave_out: tuple[Task, ...]
    places: DataLocations
    device: str
    workers: int
    checkpoint_every: int
    evaluate_every: int
    minutes: float


def run_pretraining(request: PretrainRequest) -> Path:
    """Pretrain, or resume, and write the result; returns the card's path.

    Raises:
        UserError: the corpus, the settings or the folder do not fit.
        StoppedError: it was stopped on request, diverged, or ran out of memory.
    """
    if request.corpus.resolve() == request.out.resolve():
        raise UserError(f"--out is the corpus itself ({request.out}): choose another folder.")
    with join_ranks(request.device) as ranks:
        if not ranks.first:
            return _run_on_ranks(request, ranks, lambda: None)
        # restarted by torchrun, perhaps on another machine: the claim of the killed process ends soon
        restarted = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
        with claim_lock(request.out / ".lock", wait=restarted, watch=True) as mine:
            if not mine:
                raise UserError(
                    f"Another process is pretraining in {request.out}: wait, or choose another --out."
                )
            return _run_on_ranks(request, ranks, mine.check)


def _run_on_ranks(request: PretrainRequest, ranks: RankGroup, check: Callable[[], object]) -> Path:
    corpus = read_corpus(request.corpus)
    left_out = related_sources(corpus.sources, request.leave_out)
    request, start = _resolve_request(request, corpus, left_out, ranks)
    if (request.out / CARD).is_file():
        _log_on_first(f"{request.out} is finished: nothing to do.", ranks)
        return request.out / CARD
    for name, reason in left_out.items():
        _log_on_first(f"left out: {name}, for {reason}", ranks)
    if copies := copies_in_other_sources(request.corpus, left_out):
        _log_on_first(f"left out: {len(copies):,} images of other sources that equal one of these", ranks)
    if unused := [each.name for each in corpus.sources if not _is_used(each, request.settings)]:
        _log_on_first(f"not used, as they have no labels: {', '.join(unused)}", ranks)
    result = _train(request, start, frozenset(left_out), ranks, check)
    if ranks.first:
        if start and result.distance_from_start is not None:
            _LOG.info(distance_text(result.distance_from_start, start.name))
        check()
        write_results(_make_result(request, result, start, tuple(left_out), ranks), request.out)
    return request.out / CARD


def _resolve_request(
    request: PretrainRequest, corpus: Corpus, left_out: Mapping[str, str], ranks: RankGroup
) -> tuple[PretrainRequest, InitCard | None]:
    """Resolve and check a request, and compare it with the folder's configuration."""
    settings, out = request.settings, request.out
    if corpus.variant != settings.variant:
        raise UserError(f"{request.corpus} is a {corpus.variant} corpus: pass --variant {corpus.variant}.")
    kept = [source for source in corpus.sources if source.images and source.name not in left_out]
    if not corpus.images:
        raise UserError(f"{request.corpus} holds no image: see its problems.csv, and build it anew.")
    if not kept:
        raise UserError(
            f"No source of {request.corpus} is independent of what is left out: add others to the corpus, "
            "or leave fewer tasks out."
        )
    if OBJECTIVES[settings.objective].uses_labels and not any(source.classes for source in kept):
        raise UserError(
            f"No source of {request.corpus} that may be used has labels: pass --objective simclr."
        )
    _check_start_options(settings)
    sources = tuple(source.name for source in kept if _is_used(source, settings))
    earlier = read_stored_config(out)
    parts = settings.accumulate or (earlier.settings.accumulate if earlier else ranks.world)
    if parts % ranks.world or 2 * parts > settings.batch_size:  # batch norm needs two images to learn from
        raise UserError(
            f"{settings.batch_size} images in {parts} parts cannot be shared by {ranks.world} processes: "
            f"pass --accumulate with a multiple of {ranks.world}, at most half of --batch-size."
        )
    check_input_size(settings.arch, settings.input_size)  # before anything is stored in the folder
    start = resolve_start(settings, corpus, request.places)
    check_start(start, request.leave_out)
    settings = msgspec.structs.replace(
        settings, accumulate=parts, start=start.identity if start else "scratch"
    )
    if ranks.first:
        names = tuple(sorted(task.name for task in request.leave_out))
        check_resume(
            out, StoredConfig(settings=settings, corpus=corpus.identity, sources=sources, leave_out=names)
        )
    return replace(request, settings=settings), start


def _check_start_options(settings: PretrainSettings) -> None:
    """Check the options that keep initial weights; `UserError` where they do not fit."""
    if settings.start == "scratch" and (settings.anchor or settings.layer_decay != 1):
        raise UserError(
            "--anchor and --layer-decay keep what the initial weights know: pass --from, or leave them out."
        )
    if settings.layer_decay == 1:
        return
    if not hasattr(build_backbone(settings.arch, settings.input_size), "group_matcher"):
        raise UserError(f"{settings.arch}: --layer-decay: timm lists no layers of this network; pass 1.")


def open_corpus(
    request: PretrainRequest, start: InitCard | None, left_out: frozenset[str], ranks: RankGroup
) -> tuple[PretrainConfig, ShardImages]:
    """Open the corpus without the excluded sources; the caller closes the images."""
    settings, contract = request.settings, contract_of(start)
    loading = LoaderConfig(
        settings.input_size, contract.interpolation, ranks.device, request.workers, left_out, settings.seed,
        unlabeled=OBJECTIVES[settings.objective].takes_unlabeled,
    )  # fmt: skip
    pools, images = corpus_pools(request.corpus, loading)
    return PretrainConfig(settings, pools, images, ranks, start), images


def _train(
    request: PretrainRequest,
    start: InitCard | None,
    left_out: frozenset[str],
    ranks: RankGroup,
    check: Callable[[], object],
) -> PretrainOutcome:
    """Train; convert the reasons of an early stop to a `StoppedError` with the cure.

    Args:
        check: called before anything is written; what it raises ends the training.
    """
    settings, out = request.settings, request.out
    config, images = open_corpus(request, start, left_out, ranks)
    display = PretrainDisplay(settings.steps)

    def on_reading(point: CurvePoint) -> None:
        check()
        display.show(point)

    try:
        with (
            stop_on_signal(request.minutes) as should_stop,
            display.show_live(),
            worker_death_as_error(request.corpus),
        ):
            callbacks = PretrainCallbacks(
                folder=out / CHECKPOINTS,
                checkpoint_every=request.checkpoint_every,
                evaluate_every=request.evaluate_every or max(1, -(-settings.steps // 10)),
                should_stop=should_stop,
                on_reading=on_reading,
                on_row=lambda curve: write_curve(curve, out / CURVE),
            )
            return run_training(config, callbacks)
    except StoppedAtError as stopped:
        raise StoppedError(
            f"Stopped after step {stopped.step} of {settings.steps}; its checkpoint is in "
            f"{out / CHECKPOINTS}: run the same command again to resume."
        ) from stopped
    except DivergedError as error:
        raise StoppedError(f"{error}: pass a smaller --lr, and another --out.") from error
    except RuntimeError as error:
        if not is_short_memory(error):
            raise
        raise StoppedError(
            f"The memory of {ranks.device} is too small for {settings.batch_size} images in "
            f"{settings.accumulate} parts: pass --accumulate {2 * settings.accumulate}, and another --out."
        ) from error
    finally:
        images.close()


def _make_result(
    request: PretrainRequest,
    result: PretrainOutcome,
    start: InitCard | None,
    left_out: tuple[str, ...],
    ranks: RankGroup,
) -> PretrainResult:
    head, dirty = checkout_commit()
    return PretrainResult(
        state=result.state, settings=request.settings, sources=result.sources, curve=result.curve,
        leave_out=tuple(sorted(task.name for task in request.leave_out)), left_out=left_out,
        seconds=result.seconds, processes=ranks.world, device=ranks.device, commit=head, dirty=dirty,
        start=start, distance_from_start=result.distance_from_start, corpus=request.corpus,
    )  # fmt: skip


def _is_used(source: SourceFacts, settings: PretrainSettings) -> bool:
    """Whether the objective can learn from a source."""
    return bool(source.classes) or OBJECTIVES[settings.objective].takes_unlabeled


def _log_on_first(text: str, ranks: RankGroup) -> None:
    if ranks.first:
        _LOG.info(text)
