"""What an audit found of one init and one task: plain data in a file, which the report reads."""

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
"""Of the audits in a run directory."""

FALSE_SHARE = 0.11
"""The share of test images that an audit may find by error, among images that all look alike.

Of the retinas of docs/contamination.md, the worst source, 7 % are found that are not there (95 % interval
up to 10.3 %); a share of matches whose interval does not lie above it is no sign that weights have seen the
test set.
"""


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a search for a task's test images among a corpus found.

    Attributes:
        corpus: identity of the corpus, or of the file of hashes.
        images: how many images were searched.
        checked: test images that were looked for.
        blank: test images that show nothing and cannot be looked for; not among `checked`.
        matched: rows of the test split of which a copy was found.
        by: "pixels" where each match was confirmed by its details, "hash" where only hashes were at hand.
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
        """Matches per image that was checked; 0 where none was."""
        return len(self.matched) / self.checked if self.checked else 0.0

    @property
    def contaminated(self) -> bool:
        """Whether there are more matches than look-alikes explain."""
        return self.interval[0] > FALSE_SHARE


class ContaminationAudit(msgspec.Struct, frozen=True, kw_only=True):
    """An audit of one init on one task.

    Attributes:
        format: of the file.
        init: the init's name, as in tables.
        identity: of its weights: other weights under the same name are not judged by this audit.
        task: the task's name.
        size: side in pixels of the test images that were looked for.
        corpora: what the weights are declared to have seen.
        declared: what the catalog makes of these corpora: the strongest relation to the task.
        evidence: a sentence for each corpus that is not clean.
        unknown: corpora of which the catalog knows nothing.
        measured: what was found; None where there was nothing to search.
        made: when, UTC.
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
        """Whether no verdict shall rest on this init and task: declared, or measured."""
        return self.declared == "declared" or (self.measured is not None and self.measured.contaminated)

    @property
    def doubtful(self) -> bool:
        """Whether something speaks for contamination, although not enough to exclude a verdict."""
        matched = self.measured.matched if self.measured else ()
        return not self.contaminated and (self.declared == "possible" or bool(matched))

    @property
    def sentence(self) -> str:
        """What was found, without a full stop."""
        told = [f"the catalog calls {self.init} {self.declared}: {'; '.join(self.evidence)}"]
        told = told if self.declared != "clean" else []
        if self.measured and self.measured.matched:
            found = f"{len(self.measured.matched):,} of {self.measured.checked:,} test images"
            low, high = self.measured.interval
            by = {"pixels": "copies", "hash": "near-equal hashes"}[self.measured.by]
            where = f"among the {self.measured.images:,} images searched for {self.init}"
            told.append(f"{found} ({low:.1%} to {high:.1%}) have {by} {where}")
        return "; ".join(told) or f"nothing was found of what {self.init} has seen"


def write_audit(folder: Path, audit: ContaminationAudit) -> Path:
    """Write an audit into a folder; a later one of the same init, weights and task takes its place."""
    weights = hashlib.sha256(audit.identity.encode()).hexdigest()[:8]
    plain = (re.sub(r"[^\w.+=-]", "_", name) for name in (audit.init, audit.task, weights))
    path = folder / f"{'--'.join(plain)}.json"
    write_json(path, audit)
    return path


def read_audits(run: Path) -> Iterator[ContaminationAudit]:
    """Read the audits of a run directory, by name.

    Raises:
        UserError: a file is damaged or of another format: to pass over it would call the cell not audited.
    """
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
