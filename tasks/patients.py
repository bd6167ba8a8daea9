"""The patient in a file's path, found by the pattern that a card gives."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from ..core.errors import UserError

T = TypeVar("T")
LIMIT = 10.0
"""Seconds for `AT_ONCE` paths, which usually take a tenth of one."""
AT_ONCE = 20_000
LONGEST = 1_000
"""Characters of a pattern: to compile a very long one takes seconds."""
_MATCHER = """
import json, re, signal, sys
limit, pattern, paths = json.load(sys.stdin)
getattr(signal, "alarm", int)(int(limit) + 2)  # it ends also where its parent was killed
found = map(re.compile(pattern).search, paths)
json.dump([match and match[1] or "" for match in found], sys.stdout)
"""
PROPOSALS = (r"([^/]+)/[^/]*$", r"^([^/]+)/", r"([^/_-]+)[_-][^/]*$", r"([^/]+)[_-][^/_-]*$")
"""Where a patient usually is: the folder of the file, the first folder, the first or last word but one."""
_PEOPLE = re.compile(
    r"(patient|subject|participant|person)(id|identifier|no|nr|num|number|key|code)?|(patient)?mrn|"
    r"medicalrecord(no|nr|num|number)"
)
"""What a column of patients is called, in lower case and without signs."""
_PLACEHOLDER = re.compile(
    r"[\W_]*|unknown|unk|missing|undefined|anonym(ous|i[sz]ed)|not (known|available|applicable)|"
    r"n[./]?a\.?|nan|none|null",
    re.IGNORECASE,
)
FEWEST_PATIENTS = 5
"""Patients that a column or pattern which names them has at least: fewer cannot be split."""
LEAST_SHARE = 0.1
"""Share of the patients that have several images, below which their names may number images: else one pair
that was entered twice would show that names are those of patients."""


def is_placeholder(cell: str) -> bool:
    """Tell whether a cell that should name a patient says that none is known, as "", "-" and "unknown" do."""
    return bool(_PLACEHOLDER.fullmatch(cell.strip()))


def names_patients(column: str, cells: Iterable[str]) -> bool:
    """Tell whether a column is called as patients are, in any spelling, and some value stands in two rows."""
    called = _PEOPLE.fullmatch(re.sub(r"[^a-z0-9]", "", column.lower()))
    known = [cell for cell in cells if not is_placeholder(cell)] if called else []
    return 1 < len(set(known)) < len(known)


def propose_pattern(paths: Sequence[str], classes: int) -> str:
    """Say in a clause how a card names the patients, with a pattern that fits the paths if one does.

    Args:
        paths: of the files.
        classes: how many there are: a pattern that finds no more may have found just these.
    """
    for pattern in PROPOSALS:
        found = [match[1] for match in map(re.compile(pattern).search, paths) if match]
        many = len(set(found))
        if (
            2 * len(found) > len(paths)
            and 3 * many <= 2 * len(found)
            and many >= max(FEWEST_PATIENTS, classes + 1)
        ):
            return f'if paths name patients, say in [files] group_pattern = "{pattern}", which finds {many:,}'
    return 'if paths name patients, say in [files] by what pattern, such as group_pattern = "^([^/]+)/"'


def few_have_several(several: int, patients: int) -> bool:
    """Tell whether so few of the patients have several images that their names may be those of images."""
    return several < LEAST_SHARE * patients


def count_misspelled(patients: Iterable[str]) -> int:
    """Count the names that differ from another one only by case, blanks, leading zeros or a final .0."""
    spellings = Counter(map(_plain_name, set(patients)))
    return sum(many for many in spellings.values() if many > 1)


def _plain_name(patient: str) -> str:
    """Return a name without all that spreadsheets and typists change, e.g. "p3" for "P 003.0"."""
    plain = re.sub(r"\.0+$", "", " ".join(patient.casefold().split()))
    return re.sub(r"(?<![0-9.])0+(?=[0-9])", "", re.sub(r"(?<![0-9]) | (?![0-9])", "", plain))


@dataclass(frozen=True)
class PatientMatcher:
    """Finds the patient in paths by a card's pattern, in a process that can be killed while it matches.

    Matching can take exponential time, as that of `^(a+)+$` in 40 letters, and `re` holds the interpreter
    meanwhile: no other thread can stop it, nor a signal on Windows.

    Attributes:
        pattern: a regular expression whose first parenthesis is the patient.
        key: which key of which card it is, for the message.
    """

    pattern: str
    key: str

    def __call__(self, paths: Sequence[str]) -> list[str]:
        """Return the patient in each path, "" where there is none.

        Raises:
            UserError: it takes more than `LIMIT` seconds.
        """
        asked = json.dumps([LIMIT, self.pattern, paths])  # no argument: those can be seen by other users
        command = (sys.executable, "-I", "-S", "-c", _MATCHER)
        try:
            done = subprocess.run(command, input=asked.encode(), capture_output=True, timeout=LIMIT)
        except subprocess.TimeoutExpired as error:
            raise UserError(self._timeout_message(len(paths))) from error
        if done.returncode:
            raise UserError(f"{self.key}: to match it with {len(paths):,} paths failed ({done.returncode}).")
        return json.loads(done.stdout)

    def _timeout_message(self, paths: int) -> str:
        return (
            f"{self.key}: it does not get done with {paths:,} paths in {LIMIT:g} seconds: write it without a "
            "repeat inside a repeat, as (a+)+ has, and with few of .* and .+"
        )


def compile_pattern(pattern: str, key: str) -> PatientMatcher | None:
    """Check a card's pattern, whose first parenthesis is the patient; None for "".

    Args:
        pattern: a regular expression.
        key: which key of which card it is, for the message.

    Raises:
        UserError: it is no regular expression, too long, or has no parenthesis.
    """
    if not pattern:
        return None
    if len(pattern) > LONGEST:
        raise UserError(f"{key}: it has {len(pattern):,} characters, and {LONGEST:,} may be: shorten it.")
    try:
        found = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UserError(f"{key}: it is no regular expression ({error}): correct it.") from error
    if not found.groups:
        raise UserError(f"{key}: put the patient into parentheses.")
    return PatientMatcher(pattern, key)


def pair_with_patients(
    things: Iterable[T], path_of: Callable[[T], str], find: PatientMatcher | None
) -> Iterator[tuple[T, str]]:
    """Yield each thing with the patient in its path, "" where there is none; errors as `PatientMatcher`."""
    if find is None:
        yield from ((thing, "") for thing in things)
        return
    things = iter(things)
    while some := list(islice(things, AT_ONCE)):
        yield from zip(some, find([path_of(thing) for thing in some]), strict=True)
