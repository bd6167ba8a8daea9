"""Fields of a record besides the results: task, init, counts, hashes, provenance."""

import hashlib
from collections.abc import Iterator

import msgspec

from ...baselines.init import InitCard
from ...baselines.timm_tags import beyond_imagenet
from ...core.clock import utc_now
from ...tasks.task import Task
from ..pretraining.mednet_cache import read_pretrain_facts
from ..schema.plan import PlannedCell, record_version
from ..schema.provenance import current_provenance
from ..schema.records import ContentHashes, HyperparameterChoice, ImageCounts, InitFacts, Record, TaskFacts
from ..training.protocol import PROTOCOLS, EvalContext, version_of
from ..training.subsets import one_hot
from .planner import PRETRAIN_FIELDS, ResolvedPlan, encode_fields


def new_record(resolved: ResolvedPlan, planned: PlannedCell, device: str) -> Record:
    """Return a cell's record with the fields that are known before computing."""
    cell = planned.cell
    recipe = resolved.request.recipe_for(cell)
    if cell.step == "pretrain":
        task, init, fields, version = None, None, PRETRAIN_FIELDS, 1
    else:
        task = resolved.tasks[cell.task]
        init, protocol = resolved.card(cell), PROTOCOLS[cell.protocol]
        fields, version = protocol.recipe_fields, version_of(protocol)
    return Record(
        key=planned.key,
        cell=cell,
        status="ok",
        protocol_version=record_version(version),
        recipe_hash=hashlib.sha256(encode_fields(recipe, fields).encode()).hexdigest()[:12],
        task=task_facts(task) if task else None,
        init=init_facts(init, task) if init else None,
        provenance=current_provenance(device),
        finished=utc_now(),
        seconds=0.0,
        peak_memory_mb=0.0,
    )


def add_job_facts(
    record: Record, job: EvalContext, choices: tuple[HyperparameterChoice, ...], weights: str = ""
) -> Record:
    """Add counts, hashes and choices; `weights` is "" where several networks were trained."""
    width = len(job.task.classes)
    per_class = [one_hot(job.labels(split), width).sum(axis=0).tolist() for split in ("train", "val")]
    return msgspec.structs.replace(
        record,
        choices=choices,
        counts=ImageCounts(
            train=len(job.subset.train),
            val=len(job.subset.val),
            test=len(job.data.splits["test"]),
            train_per_class=tuple(per_class[0]),
            val_per_class=tuple(per_class[1]),
        ),
        hashes=ContentHashes(
            data=job.data.fingerprint,
            card=hashlib.sha256(job.task.decisive.encode()).hexdigest()[:12],
            subset=job.subset.digest,
            weights=weights,
        ),
        copies=job.data.copies,
    )


def task_facts(task: Task) -> TaskFacts:
    """Return the fields of a task's card that a report needs."""
    return msgspec.convert(task, TaskFacts, from_attributes=True)


def init_facts(card: InitCard, task: Task | None) -> InitFacts:
    """Return the origin of an init's weights and their overlap with the task."""
    facts = read_pretrain_facts(card.file) if card.pretraining and card.file else None
    label = facts.label(card.pretraining.variant) if facts and card.pretraining else card.source.label
    label = card.transform.describe(label) if card.transform else label
    repeated = task is not None and task.variant == "gray" and card.contract.channels != "gray"
    return InitFacts(
        label=label,
        identity=card.identity,
        contract=msgspec.to_builtins(card.contract),
        adapted=("1 channel repeated to 3",) if repeated else (),
        corpora=card.corpora,
        overlap=task.overlap(card.corpora, card.corpora_recalled) if task else (),
        possible=tuple(_possible_contamination(card, task)) if task else (),
        objective=facts.objective if facts else card.objective,
        license=card.license,
        pretraining_images=sum(facts.images.values()) if facts else card.pretraining_images,
        started_from=(facts.start or "scratch") if facts else card.started_from,
        images_of=card.pretraining.variant if facts and card.pretraining else card.images_of,  # type: ignore[arg-type]
        arch_args=dict(card.arch_args),
        recalled=card.recalled,
        random=card.random,
        derived_from=card.source.name if card.transform else "",
        source_identity=card.source.identity if card.transform else "",
        origin=card.origin,
        not_imagenet=beyond_imagenet(card.source.name, card.corpora),
    )


def _possible_contamination(card: InitCard, task: Task) -> Iterator[str]:
    """Yield reasons why the weights may have seen the task; declaring no corpus is one."""
    if card.file is not None and not card.corpora:
        yield "its card names no data set that the weights have seen"
    for reason in task.contamination(card.corpora, card.corpora_recalled).reasons:
        if reason.level == "possible":
            yield f"{reason.corpus}: {reason}"
