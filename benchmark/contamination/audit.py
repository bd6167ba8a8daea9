"""From an init and some tasks to their audits: what is declared, and what a search finds."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ...baselines.checkpoint import read_card
from ...tasks.catalog import catalog, fetch, require, select
from ...tasks.places import places_from
from ...tasks.task import Places, Task
from ..errors import UserError
from ..grid import build_grid, inits_of, stored_size
from ..records import Store
from ..request import Request
from .measured import Seen, measure, seen_in_corpus, seen_in_hashes
from .outcome import Audit


@dataclass(frozen=True)
class Wanted:
    """What is audited.

    Attributes:
        request: the tasks, one init, its arch, the stored side and where data are.
        run: a run directory whose weights of that init are meant; None where the request says which.
        corpus: what the weights have seen; None where the init's card names hashes, or nothing is at hand.
    """

    request: Request
    run: Path | None
    corpus: Path | None

    @property
    def init(self) -> str:
        """The init's name, without the path behind it."""
        return self.request.inits.partition("=")[0]

    @property
    def card(self) -> Path | None:
        """The init's card, where the user named one."""
        path = self.request.inits.partition("=")[2]
        return Path(path).expanduser().with_suffix(".toml") if path else None


@dataclass(frozen=True)
class _Weights:
    """Which weights an init means for one task, and what they declare to have seen."""

    identity: str
    corpora: tuple[str, ...]


def audits(wanted: Wanted) -> Iterator[Audit]:
    """Audit one init on each task.

    Raises:
        UserError: a name is unknown, data are missing, the run does not hold the init, or the corpus is none.
    """
    request = wanted.request
    if len(inits_of(request)) > 1:
        raise UserError(f"--init {request.inits} names several inits: audit one after the other.")
    places = places_from(Path(request.data_root) if request.data_root else None, request.download)
    known = catalog(places, [Path(path) for path in request.task_file])
    targets = select(request.tasks, known, places, request.size)
    fetch(targets, request.size, places)
    require(targets, request.size, places)
    if wanted.run and not wanted.card:
        weights = _of_run(wanted.run, wanted.init)
    else:
        weights = _of_grid(_with_arch(wanted), targets, known, places)
    seen = _seen(wanted)
    for task in targets:
        if task.name not in weights:
            raise UserError(f"{wanted.run} has no record of {wanted.init} on {task.name}: leave it out.")
        yield _audit(wanted.init, task, stored_size(task, request, places), places, weights[task.name], seen)


def _audit(init: str, task: Task, size: int, places: Places, weights: _Weights, seen: Seen | None) -> Audit:
    declared = task.contamination(weights.corpora)
    return Audit(
        init=init,
        identity=weights.identity,
        task=task.name,
        size=size,
        corpora=weights.corpora,
        declared=declared.level,
        evidence=tuple(f"{reason.corpus}: {reason}" for reason in declared.reasons),
        unknown=declared.unknown,
        measured=measure(task.source.load(size, places)["test"].images, seen) if seen else None,
        made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _of_run(run: Path, init: str) -> dict[str, _Weights]:
    """Return the weights of an init by task, as the records of a run name them."""
    records = [record for record in Store(run).read_all() if record.cell.init == init]
    found = {r.cell.task: _Weights(r.init.identity, r.init.corpora) for r in records if r.init}
    if not found:
        raise UserError(f"{run} holds no finished record of the init '{init}': name one that it compares.")
    return found


def _of_grid(
    request: Request, targets: tuple[Task, ...], known: dict[str, Task], places: Places
) -> dict[str, _Weights]:
    cards = build_grid(request, targets, tuple(known.values()), places).cards
    return {task: _Weights(card.identity, card.corpora) for (task, _, _), card in cards.items()}


def _with_arch(wanted: Wanted) -> Request:
    """Take the arch from the init's card, where there is one."""
    import msgspec

    card = wanted.card
    return msgspec.structs.replace(wanted.request, archs=read_card(card).arch) if card else wanted.request


def _seen(wanted: Wanted) -> Seen | None:
    """Return what can be searched: the corpus, else the hashes that the init's card names, else None."""
    if wanted.corpus:
        return seen_in_corpus(wanted.corpus)
    card = wanted.card
    hashes = read_card(card).hashes if card else ""
    return seen_in_hashes(card.parent / hashes) if card and hashes else None
