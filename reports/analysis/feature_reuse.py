"""Speed and features of every fine-tuning, by task, network and share of the labels."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...benchmark.schema.records import Record
from ..statistics.influence import _Floats
from .convergence import ConvergencePace, convergence_paces
from .report_input import Block, LeaderboardRow, ReportInput

MAIN = "imagenet"
"""Init that the findings of the paper are about; they are tested on every other init too."""


@dataclass(frozen=True, eq=False)
class FinetunePlace:
    """Fine-tunings of one task, network and share of the labels, by init.

    Attributes:
        block: fields that they share, see `LeaderboardRow.block`.
        rows: init -> row, without contaminated or leaked rows and without inits that have two rows.
        paces: init -> convergence speed.
        records: init -> seed -> record.
    """

    block: Block
    rows: dict[str, LeaderboardRow]
    paces: dict[str, ConvergencePace]
    records: dict[str, dict[int, Record]]

    @property
    def task(self) -> str:
        """Target task."""
        return self.block[0]

    @property
    def arch(self) -> str:
        """Architecture."""
        return self.block[3]

    @property
    def fraction(self) -> float:
        """Share of the labels, 0 to 1."""
        return self.block[5]

    @property
    def rest(self) -> tuple[object, ...]:
        """Fields of the block without the share of the labels."""
        return (*self.block[:5], self.block[6])

    @property
    def labels(self) -> float:
        """Labeled training images, the fewest of any row."""
        return min(row.n_train for row in self.rows.values())

    @property
    def parameters(self) -> int:
        """Number of weights of the network; 0 where no record says."""
        return max(r.parameters for by_seed in self.records.values() for r in by_seed.values())

    def cka(self, init: str) -> tuple[list[str], _Floats]:
        """Return the stages, and CKA before and after training [seeds, stages], NaN if undefined."""
        stages = [r.similarity for r in self.records.get(init, {}).values() if r.similarity]
        names = [each.stage for each in stages[0]] if stages else []
        whole = [each for each in stages if len(each) == len(names)]
        values = [[np.nan if s.cka is None else s.cka for s in each] for each in whole]
        return names, np.array(values, dtype=float).reshape(len(values), len(names))


@lru_cache(maxsize=4)  # for the section and its answer
def finetune_places(results: ReportInput) -> tuple[FinetunePlace, ...]:
    """Gather the fine-tunings by place, on generated images only where there are no others.

    Only `finetune` lets features change everywhere: a frozen stage has CKA 1, and `lora` trains few weights.
    """
    paces = convergence_paces(results)
    curved = {pace.row: pace for pace in paces if pace.row.protocol_name == "finetune"}
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
    """Return the place with the most labels for each task and network."""
    best: dict[tuple[object, ...], FinetunePlace] = {}
    for place in found:
        if place.rest not in best or place.fraction > best[place.rest].fraction:
            best[place.rest] = place
    return list(best.values())


def learned_inits(found: Iterable[FinetunePlace]) -> list[str]:
    """Return the inits with learned weights, `MAIN` first."""
    rows = {init: row for place in found for init, row in place.rows.items()}
    inits = [init for init, row in rows.items() if not row.random and not row.derived_from]
    return sorted(inits, key=lambda init: init != MAIN)
