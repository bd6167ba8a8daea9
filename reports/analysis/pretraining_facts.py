"""Facts of two inits' pretrainings: the one in which they differ, and all that differs with it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ...baselines.timm_tags import is_imagenet
from ...benchmark.schema.records import InitFacts
from ...tasks.databases.licenses import restriction_of
from ...tasks.task import UNDECLARED

CORPUS, OBJECTIVE, IMAGES, START, INPUT = "corpus", "objective", "number of images", "start", "input"
FACTS = (CORPUS, OBJECTIVE, IMAGES, START, INPUT)
"""Facts that have effects: data sets, training objective, number of different images of the same data sets,
weights that the pretraining continued, and the input specification of one file of weights."""
UNKNOWN = ("", "unknown")
"""Values of a text fact that is not stated."""
RECALLED: Mapping[str, str] = {
    "corpora": "data sets",
    "objective": "objective",
    "images": "number of images",
    "started_from": "start",
    "input": "input",
    "arch": "network",
    "arch_args": "network arguments",
}
"""Keys of a card that decide an effect -> words for a sentence."""


@dataclass(frozen=True)
class NamedFacts:
    """Facts of an init, its name in the run, and its arch."""

    init: str
    arch: str
    facts: InitFacts


@dataclass(frozen=True)
class FactDifference:
    """The one fact in which the inits `a` and `b` differ; the effect is that of `a` minus `b`.

    Attributes:
        fact: one of `FACTS`.
        words: the difference, e.g. "medical images (tcga-wsi) instead of ImageNet (imagenet-1k)".
        same: the facts that are equal, e.g. "same objective (supervised)".
        besides: what else differs with it, e.g. "number of images: 19,000,000 instead of 1,281,167".
        unsure: facts that the cards do not state, or that are from memory.
        licenses: restrictions of the two licenses.
    """

    fact: str
    a: str
    b: str
    words: str
    same: tuple[str, ...]
    besides: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        """The difference with the facts that are equal, in one phrase."""
        return ", ".join((self.words, *self.same))


def find_single_difference(one: NamedFacts, other: NamedFacts) -> FactDifference | None:
    """Return the only stated fact in which two inits differ; None if there is none, or more than one.

    Other data sets come with another number of images, and an input specification belongs to its weights:
    both are listed in `besides`, not counted. An unknown objective, or unknown data sets, give None. A start
    that is not stated counts as random weights, and is listed in `unsure`.
    """
    fact = _single_fact(one, other)
    if not fact:
        return None
    a, b = (other, one) if _is_reversed(fact, one, other) else (one, other)
    return FactDifference(
        fact,
        a.init,
        b.init,
        WORDS[fact](a, b),
        tuple(_same_facts(fact, a, b)),
        tuple(_differences_besides(fact, a, b)),
        tuple(_unsure_facts(fact, a, b)),
        tuple(_license_clauses(a, b)),
    )


def _single_fact(one: NamedFacts, other: NamedFacts) -> str:
    """Return the only fact that differs, or ""."""
    a, b = one.facts, other.facts
    if one.arch != other.arch or network_arguments(a) != network_arguments(b):
        return ""
    if a.identity == b.identity:
        return INPUT if a.contract != b.contract and a.arch_args == b.arch_args else ""
    if not (_is_stated(a) and _is_stated(b)):
        return ""
    if _continues(one, other) or _continues(other, one):
        return START if objective_kind(a) == objective_kind(b) else ""
    differing = [fact for fact, value in COMPARED.items() if value(a) != value(b)]
    if CORPUS not in differing and _images_differ(a, b):  # other data sets have other numbers of images
        differing.append(IMAGES)
    return differing[0] if len(differing) == 1 and _are_declared(a, b, differing[0]) else ""


def _are_declared(a: InitFacts, b: InitFacts, fact: str) -> bool:
    """Whether the declared data sets show that they are other ones, or else the same.

    The undeclared images of two inits may be the same, or not.
    """
    if fact == CORPUS:
        return set(a.corpora) - {UNDECLARED} != set(b.corpora) - {UNDECLARED}
    return UNDECLARED not in a.corpora


def _is_stated(facts: InitFacts) -> bool:
    """Whether the facts are known without which nothing can be compared."""
    known = facts.objective not in UNKNOWN and set(facts.corpora) - {UNDECLARED}
    return bool(known) and not facts.random and not facts.derived_from


def objective_kind(facts: InitFacts) -> str:
    """Return the kind of an objective: what follows a comma ("..., federated") only qualifies it."""
    return facts.objective.partition(",")[0].strip().casefold()


def network_arguments(facts: InitFacts) -> dict[str, object]:
    """Return timm's arguments without `img_size`: tables of positions are resampled to the run's input."""
    return {name: value for name, value in facts.arch_args.items() if name != "img_size"}


def _start_of(facts: InitFacts) -> str:
    """Return the weights that a pretraining continued; "" for random weights, and where none are stated."""
    return "" if facts.started_from in (*UNKNOWN, "scratch") else facts.started_from


COMPARED: Mapping[str, Callable[[InitFacts], object]] = {
    CORPUS: lambda facts: frozenset(facts.corpora),
    OBJECTIVE: objective_kind,
    START: _start_of,
}


def _continues(one: NamedFacts, other: NamedFacts) -> bool:
    """Whether the pretraining of `one` continued the weights of `other`."""
    return one.facts.started_from == other.init


def _images_differ(a: InitFacts, b: InitFacts) -> bool:
    """Whether both state a number of images, and not the same."""
    known = a.pretraining_images and b.pretraining_images
    return bool(known) and a.pretraining_images != b.pretraining_images


def _is_reversed(fact: str, one: NamedFacts, other: NamedFacts) -> bool:
    """Whether `other` comes first: medical, not plainly supervised, more images, or continued."""
    rank: Mapping[str, Callable[[InitFacts], float]] = {
        CORPUS: lambda facts: images_group(facts) == "medical images",
        OBJECTIVE: lambda facts: objective_kind(facts) != "supervised",
        IMAGES: lambda facts: facts.pretraining_images,
        START: lambda facts: bool(_start_of(facts)),
        INPUT: lambda facts: 0,
    }
    if fact == START and (_continues(one, other) or _continues(other, one)):
        return _continues(other, one)
    return rank[fact](other.facts) > rank[fact](one.facts)


def images_group(facts: InitFacts) -> str:
    """Return "ImageNet", "natural images" or "medical images"; "" where that is not stated."""
    if all(map(is_imagenet, facts.corpora)):
        return "ImageNet"
    if not facts.images_of:
        return ""
    return "natural images" if facts.images_of == "natural" else "medical images"


def _corpus_words(a: NamedFacts, b: NamedFacts) -> str:
    groups = [images_group(side.facts) for side in (a, b)]
    named = [_corpora(side.facts) for side in (a, b)]
    if groups[0] == groups[1]:
        what = "" if groups[0] == "ImageNet" else f"{groups[0] or 'images'} of "
        return f"{what}{named[0]} instead of {named[1]}"
    first, second = (f"{group or 'images'} ({ids})" for group, ids in zip(groups, named, strict=True))
    return f"{first} instead of {second}"


def _corpora(facts: InitFacts) -> str:
    return ", ".join("undeclared images" if id == UNDECLARED else id for id in facts.corpora)


def _objective_words(a: NamedFacts, b: NamedFacts) -> str:
    return f"{a.facts.objective} instead of {b.facts.objective}"


def _images_words(a: NamedFacts, b: NamedFacts) -> str:
    more, fewer = (side.facts.pretraining_images for side in (a, b))
    return f"{more:,} images instead of {fewer:,} ({_corpora(a.facts)})"


def _start_words(a: NamedFacts, b: NamedFacts) -> str:
    if _continues(a, b):
        return f"continued on {_corpora(a.facts)} instead of {b.init} as it is"
    before = _start_of(b.facts) or b.facts.started_from
    other = {"": "from a start that is not stated", "scratch": "from random weights"}.get(before, before)
    return f"continued from {_start_of(a.facts)} instead of {other}"


def _input_words(a: NamedFacts, b: NamedFacts) -> str:
    return f"input {'; '.join(_input_changes(a.facts, b.facts))}"


WORDS: Mapping[str, Callable[[NamedFacts, NamedFacts], str]] = {
    CORPUS: _corpus_words,
    OBJECTIVE: _objective_words,
    IMAGES: _images_words,
    START: _start_words,
    INPUT: _input_words,
}


def _same_facts(fact: str, a: NamedFacts, b: NamedFacts) -> Iterator[str]:
    if fact == INPUT:
        yield "same file of weights"
    else:
        if fact != OBJECTIVE:
            yield f"same objective ({a.facts.objective.partition(',')[0]})"
        if fact in (OBJECTIVE, START) and not _continues(a, b):
            yield f"same data sets ({_corpora(a.facts)})"
    yield f"same network ({a.arch})"


def _differences_besides(fact: str, one: NamedFacts, other: NamedFacts) -> Iterator[str]:
    """Yield what differs beside the fact, as "name: X instead of Y"."""
    a, b = one.facts, other.facts
    if fact == INPUT:
        return
    if _continues(one, other) and a.pretraining_images:
        yield f"number of further images: {a.pretraining_images:,}"
    elif fact != IMAGES and _images_differ(a, b):
        yield f"number of images: {a.pretraining_images:,} instead of {b.pretraining_images:,}"
    colors = [side.images_of for side in (a, b)]
    if images_group(a) == images_group(b) == "medical images" and colors[0] != colors[1]:
        yield f"color of the images: {colors[0]} instead of {colors[1]}"
    if fact != OBJECTIVE and a.objective != b.objective:
        yield f"objective in full: {a.objective} instead of {b.objective}"
    if a.arch_args.get("img_size") != b.arch_args.get("img_size"):
        sizes = (facts.arch_args.get("img_size", "the arch's own") for facts in (a, b))
        yield "input side of the positions as stored: {} instead of {}".format(*sizes)
    yield from (f"input {change}" for change in _input_changes(a, b))


def _input_changes(a: InitFacts, b: InitFacts) -> Iterator[str]:
    for name in sorted({*a.contract, *b.contract}):
        ours, theirs = (_plain(facts.contract.get(name)) for facts in (a, b))
        if ours != theirs:
            yield f"{name} {ours} instead of {theirs}"


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(map(_plain, value)) + ")"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _unsure_facts(fact: str, a: NamedFacts, b: NamedFacts) -> Iterator[str]:
    """Yield the facts that are not stated, not fully declared, or from memory, with the inits."""
    if fact == INPUT:  # one training, whatever the cards say about it
        yield from _named("input from memory", [s.init for s in (a, b) if "input" in s.facts.recalled])
        return
    missing: Mapping[str, Callable[[InitFacts], bool]] = {
        "data sets not fully declared": lambda facts: UNDECLARED in facts.corpora,
        "number of images not stated": lambda facts: not facts.pretraining_images,
        "starting weights not stated": lambda facts: facts.started_from in UNKNOWN,
    }
    recalled = {f"{words} from memory": key for key, words in RECALLED.items()}
    for text, lacks in missing.items():
        yield from _named(text, [side.init for side in (a, b) if lacks(side.facts)])
    for text, key in recalled.items():
        yield from _named(text, [side.init for side in (a, b) if key in side.facts.recalled])


def _named(text: str, inits: list[str]) -> Iterator[str]:
    if inits:
        yield f"{text} ({', '.join(inits)})"


def _license_clauses(a: NamedFacts, b: NamedFacts) -> Iterator[str]:
    for side in (a, b):
        own = side.facts.origin == "card" and not side.facts.license  # the user knows
        if clause := "" if own else restriction_of(side.facts.license):
            yield f"{side.init}: {clause}"
