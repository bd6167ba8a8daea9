"""Contamination audit of one init on one task, stored as JSON for the report."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from ....core.errors import UserError
from ....core.files import read_regular, write_json

CONTAMINATION_FORMAT = 1
CONTAMINATION_FOLDER = "contamination"
"""Sub-folder of a run directory."""

FALSE_SHARE = 0.11
"""Largest share of false matches, measured on images that all look alike.

The worst source of docs/contamination.md, retinas, has 7 % false matches (95 % interval up to 10.3 %). A
share of matches whose interval includes `FALSE_SHARE` is no evidence that weights have seen the test set.
"""


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a search for a task's test images in a corpus.

    Attributes:
        corpus: identity of the corpus, or of the file of hashes.
        images: number of images in the corpus.
        checked: number of test images searched for.
        blank: number of test images without content, which are not `checked`.
        matched: rows of the test split with a copy.
        by: "pixels" if matches were confirmed by their details, "hash" if only hashes were available.
        interval: 95 % Clopper-Pearson interval of the share that matched.
    """

    corpus: str
    images: int
    checked: int
    blank: int
    matched: tuple[int, ...]
    by: Literal["pixels", "hash"]
    interval: tuple[float, float]

    @property
    def share(self) -> float:
        """Share of checked images that matched; 0 if none was checked."""
        return len(self.matched) / self.checked if self.checked else 0.0

    @property
    def contaminated(self) -> bool:
        """Whether there are more matches than look-alike images explain."""
        return self.interval[0] > FALSE_SHARE


class ContaminationAudit(msgspec.Struct, frozen=True, kw_only=True):
    """Audit of one init on one task.

    Attributes:
        identity: of its weights: the audit does not apply to other weights of the same name.
        size: side in pixels of the test images.
        corpora: corpora that the weights are declared to have seen.
        declared: strongest relation of these corpora to the task in the catalog.
        evidence: a sentence for each corpus that is not clean.
        unknown: corpora that are not in the catalog.
        measured: result of the search; None where there was nothing to search.
    """

    format: int = CONTAMINATION_FORMAT
    init: str
    identity: str
    task: str
    size: int
    corpora: tuple[str, ...]
    declared: Literal["clean", "possible", "declared"]
    evidence: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    measured: SearchResult | None = None
    made: str

    @property
    def contaminated(self) -> bool:
        """Whether contamination is declared or measured, which excludes verdicts."""
        return self.declared == "declared" or (self.measured is not None and self.measured.contaminated)

    @property
    def doubtful(self) -> bool:
        """Whether there is weak evidence of contamination, which does not exclude a verdict."""
        matched = self.measured.matched if self.measured else ()
        return not self.contaminated and (self.declared == "possible" or bool(matched))

    @property
    def sentence(self) -> str:
        """Findings as one sentence, without a full stop."""
        clauses = []
        if self.declared != "clean":
            clauses.append(f"the catalog calls {self.init} {self.declared}: {'; '.join(self.evidence)}")
        if self.measured and self.measured.matched:
            found = f"{len(self.measured.matched):,} of {self.measured.checked:,} test images"
            low, high = self.measured.interval
            by = {"pixels": "copies", "hash": "near-equal hashes"}[self.measured.by]
            where = f"among the {self.measured.images:,} images searched for {self.init}"
            clauses.append(f"{found} ({low:.1%} to {high:.1%}) have {by} {where}")
        return "; ".join(clauses) or f"nothing was found of what {self.init} has seen"


def write_audit(folder: Path, audit: ContaminationAudit) -> Path:
    """Write an audit into a folder; replaces one of the same init, weights and task."""
    weights = hashlib.sha256(audit.identity.encode()).hexdigest()[:8]
    plain = (re.sub(r"[^\w.+=-]", "_", name) for name in (audit.init, audit.task, weights))
    path = folder / f"{'--'.join(plain)}.json"
    write_json(path, audit)
    return path


def read_audits(run: Path) -> Iterator[ContaminationAudit]:
    """Read the audits of a run directory; `UserError` if one is damaged or of another format."""
    for path in sorted((run / CONTAMINATION_FOLDER).glob("*.json")):
        try:
            audit = msgspec.json.decode(read_regular(path), type=ContaminationAudit)
        except (OSError, msgspec.DecodeError) as error:
            raise UserError(
                f"Cannot read the audit {path} ({error}): remove it, or audit again with --run."
            ) from error
        if audit.format != CONTAMINATION_FORMAT:
            raise UserError(
                f"The audit {path} has the format {audit.format}, not {CONTAMINATION_FORMAT}: audit again."
            )
        yield audit
