"""Provenance overlap of a task and a corpus, from parents, overlaps and known contamination."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Literal

from .tables import CRAWL, EvidenceKind, canonical_id, contamination_links, databases, is_known

Level = Literal["clean", "possible", "declared"]
STRENGTH: Mapping[Level, int] = {"clean": 0, "possible": 1, "declared": 2}
UNDECLARED = "unknown"
"""As a corpus: images that weights have seen and that are declared nowhere."""


@dataclass(frozen=True)
class OverlapReason:
    """Evidence that one corpus is not clean for a task.

    Attributes:
        corpus: the corpus as spelled by the caller.
        level: "declared" if one set contains the other by a source that was read. "possible" if that is
            recalled from memory, if both share an ancestor, if they are said to overlap, if a public set
            meets a web crawl, or if the corpus is undeclared.
        sentence: the evidence as text.
    """

    corpus: str
    level: Level
    sentence: str

    def __str__(self) -> str:
        """Return the evidence."""
        return self.sentence


@dataclass(frozen=True)
class ProvenanceOverlap:
    """Overlap of a task with the corpora that weights have seen.

    Attributes:
        level: the worst level of the reasons; "clean" without reasons.
        reasons: the strongest one per corpus; declared before possible.
        unknown: corpora that the catalog does not know; clean only as far as declared.
    """

    level: Level
    reasons: tuple[OverlapReason, ...] = ()
    unknown: tuple[str, ...] = ()


def provenance_overlap(
    task_ids: Iterable[str], corpus_ids: Iterable[str], family: Iterable[str] = (), recalled: bool = False
) -> ProvenanceOverlap:
    """Compare a task with corpora; exchanging the two gives the same level.

    Args:
        task_ids: the task's own name and its parents, in any spelling that the catalog knows.
        corpus_ids: corpora that the weights declare.
        family: lower-case names of the whole collection that the task belongs to.
        recalled: whether the list of corpora is from memory, so that nothing is more than possible.
    """
    mine = {canonical_id(word) for word in task_ids}
    words = sorted(set(corpus_ids))
    found = [reason for word in words if (reason := _strongest_overlap(mine, word, set(family)))]
    found = [_as_recalled(reason) for reason in found] if recalled else found
    reasons = tuple(sorted(found, key=lambda reason: -STRENGTH[reason.level]))
    unknown = (word for word in words if not is_known(word) and word not in {r.corpus for r in reasons})
    return ProvenanceOverlap(reasons[0].level if reasons else "clean", reasons, tuple(unknown))


def _as_recalled(reason: OverlapReason) -> OverlapReason:
    sentence = f"{reason.sentence}; that the weights have seen {reason.corpus} is recalled, not read"
    return replace(reason, level="possible", sentence=sentence) if reason.level == "declared" else reason


def _strongest_overlap(mine: set[str], word: str, family: set[str]) -> OverlapReason | None:
    if word.casefold() in family:
        return OverlapReason(word, "declared", f"{word} is the collection that the task belongs to")
    if word.casefold() == UNDECLARED:
        return OverlapReason(word, "possible", "the weights' training data are not fully declared")
    pairs = (_compare_ids(task, canonical_id(word)) for task in sorted(mine))
    found = [pair for pair in pairs if pair]
    if not found:
        return None
    level, sentence = max(found, key=lambda pair: STRENGTH[pair[0]])
    return OverlapReason(word, level, sentence)


@cache
def _compare_ids(task: str, corpus: str) -> tuple[Level, str] | None:
    """Return the strongest relation of two ids and its sentence, or None."""
    if task == corpus:
        return "declared", f"the task's images are of {task}"
    for child, parent in ((task, corpus), (corpus, task)):
        path = ancestors(child).get(parent)
        if path:
            return _level(path.evidence), f"{path} ({path.evidence})"
    for link in contamination_links():
        if {task, corpus} in ({link.downstream, link.corpus}, {link.parent, link.corpus}):
            verb = {"overlaps": "is said to overlap with"}.get(link.relation, "holds images of")
            level = "possible" if link.relation == "overlaps" else _level(link.evidence)
            return level, f"{link.corpus} {verb} {link.parent or link.downstream} ({link.evidence})"
    shared = sorted(ancestors(task).keys() & ancestors(corpus).keys())
    if shared:
        return "possible", f"{task} and {corpus} both derive from {shared[0]}"
    return _listed_overlap(task, corpus) or _crawl_overlap(task, corpus) or _crawl_overlap(corpus, task)


def _listed_overlap(task: str, corpus: str) -> tuple[Level, str] | None:
    """Find an overlap that the catalog lists between the two or their ancestors."""
    rows = databases()
    for one, other in product((task, *ancestors(task)), (corpus, *ancestors(corpus))):
        if any(b in rows[a].overlaps for a, b in ((one, other), (other, one)) if a in rows):
            return "possible", f"{one} and {other} are said to share images"
    return None


def _crawl_overlap(public: str, crawl: str) -> tuple[Level, str] | None:
    """Treat a web crawl as a possible overlap with every public set, as crawls are unsearched."""
    if crawl.startswith(CRAWL) and public in databases():
        return "possible", f"{crawl} is a crawl of the web and may contain images of {public}"
    return None


def _level(evidence: EvidenceKind) -> Level:
    return "declared" if evidence == "read" else "possible"


@dataclass(frozen=True)
class DerivationPath:
    """Ids from a child to its ancestor; evidence is "recalled" if that of any step is."""

    steps: tuple[str, ...]
    evidence: EvidenceKind

    def __str__(self) -> str:
        """Return a clause: "a derives from b, which derives from c"."""
        first, *rest = self.steps
        return f"{first} derives from {', which derives from '.join(rest)}"


@cache
def ancestors(id: str) -> Mapping[str, DerivationPath]:
    """Return all ancestors of a set, each by the best verified, then shortest path."""
    found: dict[str, DerivationPath] = {}
    queue = [DerivationPath((id,), "read")]
    for path in queue:  # grows during iteration; breadth first
        row = databases().get(path.steps[-1])
        for parent in row.parents if row else ():
            sure = path.evidence == "read" and row is not None and row.parents_evidence == "read"
            longer = DerivationPath((*path.steps, parent), "read" if sure else "recalled")
            old = found.get(parent)
            if old is None or (old.evidence == "recalled" and longer.evidence == "read"):
                found[parent] = longer
                queue.append(longer)
    return found
