"""What derived inits are compared by: the speed and the features of every fine-tuning, place by place."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...benchmark.schema.records import Record
from ..statistics.influence import _Floats
from .convergence import ConvergencePace, convergence_paces
from .results import BASELINE, Block, LeaderboardRow, Results

MAIN = "imagenet"
"""The source that the findings of the paper are about; they are asked of every other too."""


@dataclass(frozen=True, eq=False)
class FinetunePlace:
    """The fine-tunings of one task, network and share of the labels, by init.

    Attributes:
        block: what they share, as `LeaderboardRow.block` has it.
        rows: init -> its row; contaminated or leaked rows and those that stand twice are left out.
        paces: init -> how fast it converged.
        records: init -> seed -> record.
    """

    block: Block
    rows: dict[str, LeaderboardRow]
    paces: dict[str, ConvergencePace]
    records: dict[str, dict[int, Record]]

    @property
    def task(self) -> str:
        """The target."""
        return self.block[0]

    @property
    def arch(self) -> str:
        """The network."""
        return self.block[3]

    @property
    def fraction(self) -> float:
        """Share of the labels."""
        return self.block[5]

    @property
    def rest(self) -> tuple[object, ...]:
        """What two places share that differ in the labels only."""
        return (*self.block[:5], self.block[6])

    @property
    def labels(self) -> float:
        """Labeled training images."""
        return min(row.n_train for row in self.rows.values())

    @property
    def parameters(self) -> int:
        """Weights of the network; 0 where no record says."""
        return max(r.parameters for held in self.records.values() for r in held.values())

    def cka(self, init: str) -> tuple[list[str], _Floats]:
        """Return the stages, and CKA of before against after [seeds, stages]; NaN where undefined."""
        held = [r.similarity for r in self.records.get(init, {}).values() if r.similarity]
        names = [each.stage for each in held[0]] if held else []
        values = [
            [np.nan if s.cka is None else s.cka for s in each] for each in held if len(each) == len(names)
        ]
        return names, np.array(values, dtype=float).reshape(len(values), len(names))


@lru_cache(maxsize=4)  # the section and its answer ask
def finetune_places(results: Results) -> tuple[FinetunePlace, ...]:
    """Gather every place where something was fine-tuned: on real images, where there are any."""
    curved = {pace.row: pace for pace in convergence_paces(results)}
    records = {record.key: record for record in results.counted}
    blocks: dict[Block, list[LeaderboardRow]] = {}
    for row in curved:
        blocks.setdefault(row.block, []).append(row)
    found = []
    for block, rows in blocks.items():
        names = [row.init for row in rows]
        clean = {row.init: row for row in rows if not row.inconclusive and names.count(row.init) == 1}
        if clean:
            of = {i: dict(zip(r.seeds, (records[k] for k in r.keys), strict=True)) for i, r in clean.items()}
            found.append(FinetunePlace(block, clean, {i: curved[r] for i, r in clean.items()}, of))
    real = [place for place in found if not results.generated(place.task)]
    return tuple(real or found)


def most_labels(found: Iterable[FinetunePlace]) -> list[FinetunePlace]:
    """Return of each task and network the place with the most labels."""
    best: dict[tuple[object, ...], FinetunePlace] = {}
    for place in found:
        if place.rest not in best or place.fraction > best[place.rest].fraction:
            best[place.rest] = place
    return list(best.values())


def learned_inits(found: Iterable[FinetunePlace]) -> list[str]:
    """Return the inits with learned weights, `MAIN` first."""
    rows = {init: row for place in found for init, row in place.rows.items()}
    kept = [init for init, row in rows.items() if init != BASELINE and not row.derived_from]
    return sorted(kept, key=lambda init: init != MAIN)
