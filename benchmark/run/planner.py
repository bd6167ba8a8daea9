"""Planning: from a run's options to every cell with its key, and the cards that cells need."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import msgspec

from ...baselines.init import ABSENT, ArchArg, InitCard, InitRequest, MissingWeightsError
from ...baselines.init_file import read_init_files
from ...baselines.naming import ArchPairs, NamedInit, pair_with_archs, read_inits
from ...baselines.pretrain_options import USUAL_OPTIONS, PretrainOptions, resolve_pretrain_options
from ...baselines.weights.checkpoint import init_from_card
from ...baselines.weights.layout import LAYOUTS
from ...baselines.zoo.card import find_zoo_card
from ...baselines.zoo.files import is_obtainable
from ...core.errors import StoppedError, UserError
from ...tasks.data_paths import data_locations
from ...tasks.task import SPLITS, DataLocations, Split, Task, load_labels
from ..overlap.copies import data_identity
from ..pretraining.nested_images import PRETRAIN_SEED, check_nested_images, count_training_images
from ..pretraining.objective import OBJECTIVES
from ..schema.plan import Cell, Fold, Plan, PlannedCell, TrainingConfig, key_of
from ..schema.request import AUTO_FOLDS, RunConfig
from ..training.folds import fold_sizes, pool_splits
from ..training.protocol import PROTOCOLS, version_of
from ..training.protocol_options import cell_options, resolve_protocol_options
from .auto_folds import DEFAULT_FOLDS, small_tasks

LONGER, LONGER_SEEDS = 4.0, 3
"""Factor of the passes of the controls of random weights, and how many seeds have one."""

InitCards = dict[tuple[str, str, str], InitCard]
"""(task, arch, init) -> resolved init."""
Fingerprints = Mapping[tuple[str, int], str]
"""(task, stored size) -> fingerprint of the data of a target or pretraining source; part of cell keys."""
BuiltNetwork = tuple[str, int, tuple[tuple[str, ArchArg], ...]]
"""Arch, input size in pixels, and the arguments of timm that an init's card adds."""
PRETRAIN_FIELDS = ("pretrain_images", "pretrain_lr", "pretrain_batch", "weight_decay")


@dataclass(frozen=True)
class ResolvedPlan:
    """Plan with the target tasks, weights and data that its cells need."""

    request: RunConfig
    plan: Plan
    tasks: dict[str, Task]
    cards: InitCards
    places: DataLocations
    fingerprints: Fingerprints = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    """A sentence each about inits that do not fit every arch of the run."""
    val_shares: Mapping[str, float] = field(default_factory=dict)
    """Share of val in the train and val of a fold, by cross-validated task; empty without folds."""
    folds: int = 0
    """Number of folds of the tasks in `val_shares`."""
    fold_notes: tuple[str, ...] | None = None
    """A sentence on each small task, where folds were left to the data; None where `--folds` was given."""
    read: dict[tuple[str, int], Mapping[str, Split]] = field(default_factory=dict)
    """Splits without pixels that were read, by task and stored size."""

    def labels(self, task: Task, size: int) -> Mapping[str, Split]:
        """Return a task's splits at a stored size without pixels; they are read once."""
        return _labels_once(self.read, self.places, task, size)

    def load_pool(self, task: str, size: int) -> Split:
        """Return the labels, groups and columns of all images of a task, without pixels."""
        return pool_splits(self.labels(self.tasks[task], size))

    def split_sizes(self, task: str, size: int) -> tuple[int, int, int]:
        """Return the images of train, val and test of a task at a stored size.

        They are from the card, else from the labels. Those of a cross-validated task are the means over its
        folds.
        """
        if task in self.val_shares:
            return fold_sizes(len(self.load_pool(task, size)), self.folds, self.val_shares[task])
        card = self.tasks[task]
        if card.split_sizes:
            return card.split_sizes
        splits = self.labels(card, size)
        train, val, test = (len(splits[name]) for name in SPLITS)
        return train, val, test

    def check_unchanged(self, task: Task, size: int) -> str:
        """Return the fingerprint of a task's data; `StoppedError` where it is not that of the plan."""
        found = task.source.fingerprint(size, self.places)
        if found != self.fingerprints[task.name, size]:
            raise StoppedError(
                f"The data of {task.name} at {size} px changed after this run was planned: run the same "
                "command again, which plans anew; what is finished is kept."
            )
        return found

    def card(self, cell: Cell) -> InitCard:
        """Return the init of a score cell."""
        return self.cards[cell.task, cell.arch, cell.init]

    def network(self, cell: Cell) -> BuiltNetwork:
        """Return what a cell's network is built from."""
        card = self.card(cell) if cell.step == "score" else self.pretraining(cell)
        return cell.arch, cell.input_size, card.arch_args

    def pretraining(self, cell: Cell) -> InitCard:
        """Return the init whose weights a pretrain cell trains."""
        cards = (card.source for card in self.cards.values())
        return next(c for c in cards if c.pretraining and c.pretraining.identity == cell.pretraining)


def encode_fields(recipe: TrainingConfig, fields: Sequence[str]) -> str:
    """Encode the named fields of a training configuration as canonical JSON."""
    return msgspec.json.encode({name: getattr(recipe, name) for name in sorted(fields)}).decode()


def check_option_values(request: RunConfig) -> ArchPairs:
    """Pair inits with archs; `UserError` for an unknown init or protocol. Reads no data."""
    requested_options(request)
    paired = requested_pairs(request)
    requested_pretrain_options(request, [init for _, init in paired.pairs])
    return paired


def build_plan(
    request: RunConfig,
    targets: Sequence[Task],
    known: Sequence[Task],
    places: DataLocations,
    paired: ArchPairs | None = None,
) -> ResolvedPlan:
    """Build the plan of a run.

    Args:
        request: the options.
        targets: what is classified.
        known: all tasks, which may be sources of pretrainings.
        places: of data and weights.
        paired: result of `requested_pairs`, if known.

    Raises:
        UserError: a name is unknown, or an init is unavailable.
    """
    paired = paired or requested_pairs(request)
    read: dict[tuple[str, int], Mapping[str, Split]] = {}
    folds, val_shares, fold_notes = _choose_folds(request, targets, partial(_labels_once, read, places))
    options = requested_pretrain_options(request, [init for _, init in paired.pairs])
    cards = {
        (task.name, arch, init.name): _resolve_init(
            init, replace(_init_request(request, task, arch, known, places), options=options[init.name])
        )
        for task in targets
        for arch, init in paired.pairs
    }
    _check_pretraining_images(request, cards, places, read)
    fingerprints = _fingerprints(request, targets, cards, places)
    planned = _plan_cells(request, targets, cards, fingerprints, places, val_shares, folds, paired.pairs)
    cells = tuple(_unique_cells(planned))
    generated = tuple(task.name for task in targets if task.generated)
    plan = Plan(request=request.options, recipe=request.recipe, cells=cells, generated=generated)
    return ResolvedPlan(
        request,
        plan,
        {task.name: task for task in targets},
        cards,
        places,
        fingerprints,
        left_out=paired.left_out,
        val_shares=val_shares,
        folds=folds,
        fold_notes=fold_notes,
        read=read,
    )


def _labels_once(
    read: dict[tuple[str, int], Mapping[str, Split]], places: DataLocations, task: Task, size: int
) -> Mapping[str, Split]:
    if (task.name, size) not in read:
        read[task.name, size] = load_labels(task.source, size, places)
    return read[task.name, size]


def _choose_folds(
    request: RunConfig, targets: Sequence[Task], labels: Callable[[Task, int], Mapping[str, Split]]
) -> tuple[int, dict[str, float], tuple[str, ...] | None]:
    """Return the number of folds, the share of val of the tasks to cross-validate, and sentences by default.

    The sentences are None where `--folds` was given.

    Raises:
        UserError: folds were asked for, and every task has a test split of its own.
    """
    asked = ((task.name, getattr(task.source, "val_share", lambda: None)()) for task in targets)
    shares = {name: share for name, share in asked if share is not None}
    if request.folds == AUTO_FOLDS:
        chosen, notes = small_tasks(request, shares, targets, labels)
        return DEFAULT_FOLDS if chosen else 0, chosen, tuple(notes)
    if not request.folds:
        return 0, {}, None
    if not shares:
        raise UserError(
            f"--folds {request.folds}: every task here has a test split of its own, which stays: leave "
            "--folds out, or name a task of your own files without a test split."
        )
    return request.folds, shares, None


def _fingerprints(
    request: RunConfig, targets: Sequence[Task], cards: InitCards, places: DataLocations
) -> Fingerprints:
    used = [(task, stored_size(task, request, places)) for task in targets]
    for card in cards.values():
        if plan := card.source.pretraining:
            used += zip(plan.sources, plan.sizes, strict=True)
    once = {(task.name, size): task for task, size in used}
    return {(name, size): task.source.fingerprint(size, places) for (name, size), task in once.items()}


def requested_inits(request: RunConfig) -> list[NamedInit]:
    """Parse `--inits`; errors as in `read_inits` and `read_init_files`."""
    return read_inits(request.inits, read_init_files(request.init_file))


def requested_pairs(request: RunConfig) -> ArchPairs:
    """Pair `--inits` with `--archs`, without the members of groups whose files cannot be had.

    Raises:
        UserError: as in `requested_inits` and `pair_with_archs`; or no member of a group can be had.
    """
    paired = pair_with_archs(requested_inits(request), request.archs)
    places = data_locations(Path(request.data_root) if request.data_root else None, request.download)
    members = {init.name: init for _, init in paired.pairs if init.group and init.base not in init.paths}
    absent = [
        name for name, init in members.items() if not is_obtainable(find_zoo_card(init.zoo_name), places)
    ]
    if not absent:
        return paired
    pairs = tuple(pair for pair in paired.pairs if pair[1].name not in absent)
    sentence = (
        f"not on this machine and not to be downloaded as they are gated, by hand only or downloads are off: "
        f"{', '.join(absent)}; `mednet-bench info NAME` says how to get each."
    )
    if lost := {members[name].group for name in absent} - {init.group for _, init in pairs}:
        raise UserError(f"No checkpoint of {', '.join(sorted(lost))} can be had; {sentence}")
    return ArchPairs(pairs, (*paired.left_out, f"left out of their groups, {sentence}"))


def zoo_cards_to_fetch(paired: ArchPairs) -> list[str]:
    """Return the cards of the run's public checkpoints without a path of the user's."""
    inits = (init for _, init in paired.pairs if init.zoo_name)
    return list(dict.fromkeys(init.zoo_name for init in inits if init.base not in init.paths))


def check_zoo_layouts(paired: ArchPairs) -> None:
    """Raise `UserError` for public checkpoints whose tensor names cannot be read, before any download."""
    names = dict.fromkeys(init.zoo_name for _, init in paired.pairs if init.zoo_name)
    layouts = {card.init: card.layout for name in names if (card := find_zoo_card(name)).layout}
    unknown = [f"{init} ({layout})" for init, layout in layouts.items() if layout not in LAYOUTS]
    if unknown:
        raise UserError(
            f"The layouts of {', '.join(unknown)} cannot be read by this version ({', '.join(LAYOUTS)} can): "
            "leave these checkpoints out of --inits."
        )


def _resolve_init(init: NamedInit, wanted: InitRequest) -> InitCard:
    """Resolve an init; for an estimate, a stand-in for weights that are not on this machine."""
    try:
        return init(wanted)
    except MissingWeightsError:
        if wanted.places.assumed is None:
            raise
        return _absent_card(init)


def _absent_card(init: NamedInit) -> InitCard:
    """Return the stand-in of an init whose file is not here; of a public checkpoint its card is known."""
    identity, file = f"{ABSENT}{init.name}", Path(init.name)
    if init.zoo_name:
        known = init_from_card(find_zoo_card(init.zoo_name), init.name, file, "")
        return replace(known, label="not on this machine", identity=identity)
    return InitCard(init.name, "not on this machine", identity, file=file)


def _check_pretraining_images(
    request: RunConfig,
    cards: InitCards,
    places: DataLocations,
    read: dict[tuple[str, int], Mapping[str, Split]],
) -> None:
    """Raise `UserError` for a number of pretraining images (`mednet@4000`) that a task's sources lack.

    Sources without files, in an estimate before a download, are not counted.
    """
    limit = request.recipe.pretrain_images
    here = replace(places, assumed=None)
    for (target, _, _), card in cards.items():
        plan = card.source.pretraining
        if not plan or not plan.images:
            continue
        available = [
            count_training_images(task, _labels_once(read, places, task, size), limit, PRETRAIN_SEED, place)
            for place, (task, size) in enumerate(zip(plan.sources, plan.sizes, strict=True))
            if not task.source.missing(size, here)
        ]
        check_nested_images(card.source.name, target, plan, limit, available)


def _init_request(
    request: RunConfig, task: Task, arch: str, known: Sequence[Task], places: DataLocations
) -> InitRequest:
    return InitRequest(
        task=task,
        arch=arch,
        input_size=request.network_input_size,
        size=request.size,
        tasks=tuple(known),
        places=places,
        path=None,  # set by the init's name
        budget=encode_fields(request.recipe, PRETRAIN_FIELDS),
        pretrained=request.folder / "pretrained",
    )


def requested_options(request: RunConfig) -> dict[str, msgspec.Struct]:
    """Return the options of each protocol of the run; errors as in `resolve_protocol_options`."""
    return resolve_protocol_options(request.protocol_option, request.protocols)


def requested_pretrain_options(request: RunConfig, inits: Sequence[NamedInit]) -> dict[str, PretrainOptions]:
    """Return the options of each init's pretraining; errors as in `resolve_pretrain_options`."""
    # an init with a path is not pretrained here
    families = {init.name: "" if init.base in init.paths else init.parts.family for init in inits}
    found = resolve_pretrain_options(request.pretrain_option, set(families.values()), OBJECTIVES)
    return {name: found.get(family, USUAL_OPTIONS) for name, family in families.items()}


def stored_size(task: Task, request: RunConfig, places: DataLocations) -> int:
    """Return the size at which a task is read: the run's, or that of a local set's only file."""
    if task.sizes:
        if request.size not in task.sizes:
            sizes = ", ".join(map(str, task.sizes))
            raise UserError(
                f"{task.name} is not stored at {request.size} px: pass --size with one of {sizes}."
            )
        return request.size
    stored = task.source.sizes(places)
    return request.size if request.size in stored or not stored else stored[-1]


def _plan_cells(
    request: RunConfig,
    targets: Sequence[Task],
    cards: InitCards,
    data: Fingerprints,
    places: DataLocations,
    val_shares: Mapping[str, float],
    cut: int,
    pairs: Sequence[tuple[str, NamedInit]],
) -> Iterator[PlannedCell]:
    protocol_options, inits_per_arch = requested_options(request), Counter(arch for arch, _ in pairs)
    for task in targets:
        size = stored_size(task, request, places)
        folds = cut if task.name in val_shares else 0
        identity = data_identity(data[task.name, size], None if folds else request.dedupe)
        for arch, init in pairs:
            card = cards[task.name, arch, init.name]
            pretraining = tuple(_pretrain_cells(card, request, arch))
            yield from pretraining
            decisive = (identity, task.decisive, card.decisive)
            decisive += (f"val {val_shares[task.name]:g}",) if folds else ()
            base = Cell(
                task=task.name,
                size=size,
                input_size=request.network_input_size,
                arch=arch,
                init=init.name,
                resampled=request.resample or msgspec.UNSET,
            )
            for protocol, options in protocol_options.items():
                chosen = cell_options(protocol, options, arch)
                group = msgspec.structs.replace(base, protocol=protocol, protocol_options=chosen)
                needs = tuple(p.key for p in pretraining)
                repeats = PROTOCOLS[protocol].frozen and not (card.seeded or request.resample or folds)
                made = list(_group_cells(request, group, decisive, needs, folds, repeats))
                yield from made
                if card.random and inits_per_arch[arch] > 1:  # something is compared with it
                    yield from _longer_cells(request, made, decisive)


def _pretrain_cells(card: InitCard, request: RunConfig, arch: str) -> Iterator[PlannedCell]:
    if card.pretraining:
        cell = Cell(
            step="pretrain",
            task=card.pretraining.variant,
            pretraining=card.pretraining.identity,
            size=request.size,
            input_size=request.network_input_size,
            arch=arch,
            init=card.source.name,  # shared by an init and those derived from it
        )
        yield PlannedCell(cell=cell, key=key_of(cell, card.source.identity))


def _group_cells(
    request: RunConfig,
    group: Cell,
    identities: tuple[str, ...],
    needs: tuple[str, ...],
    folds: int,
    repeats: bool,
) -> Iterator[PlannedCell]:
    """Yield the cells of one (task, arch, init, protocol), for every label budget, seed and fold.

    With `repeats`, the seed decides the choice of labels only: where all are used, every further seed has the
    result of the first, and needs its record.
    """
    protocol = PROTOCOLS[group.protocol]
    decisive = (*identities, encode_fields(request.recipe_for(group), protocol.recipe_fields))
    for labels in request.label_budgets:
        first: tuple[str, ...] = ()
        for seed in request.repeat_seeds if folds else request.seeds:
            for view in [Fold(index=index, folds=folds) for index in range(folds)] or [msgspec.UNSET]:
                cell = msgspec.structs.replace(group, labels=labels, seed=seed, view=view)
                key = key_of(cell, *decisive, protocol_version=version_of(protocol))
                yield PlannedCell(cell=cell, key=key, needs=(*needs, *first))
                if repeats and labels == 1:
                    first = first or (key,)


def _longer_cells(
    request: RunConfig, made: Sequence[PlannedCell], identities: tuple[str, ...]
) -> Iterator[PlannedCell]:
    """Yield the controls of a group's cells: more passes, at the rate that the ordinary cell chose."""
    protocol = PROTOCOLS[made[0].cell.protocol]
    if "passes" not in protocol.recipe_fields:
        return
    budgets, seeds = (
        request.label_budgets[:: max(1, len(request.label_budgets) - 1)],
        request.seeds[:LONGER_SEEDS],
    )
    for planned in made:
        if planned.cell.labels in budgets and planned.cell.seed in seeds:
            cell = msgspec.structs.replace(planned.cell, longer=LONGER)
            decisive = encode_fields(request.recipe_for(cell), protocol.recipe_fields)
            key = key_of(cell, *identities, decisive, protocol_version=version_of(protocol))
            yield PlannedCell(cell=cell, key=key, needs=(planned.key,))


def _unique_cells(cells: Iterator[PlannedCell]) -> Iterator[PlannedCell]:
    """Drop repeated cells: tasks of one group share a pretraining."""
    seen: set[str] = set()
    for planned in cells:
        if planned.key not in seen:
            seen.add(planned.key)
            yield planned
