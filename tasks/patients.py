"""Patient ids in file paths and table columns: patterns, placeholders, spelling."""

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
"""Timeout in seconds for `AT_ONCE` paths, which usually take a tenth of a second."""
AT_ONCE = 20_000
LONGEST = 1_000
"""Characters of a pattern; a very long one takes seconds to compile."""
_MATCHER = """
import json, re, signal, sys
limit, pattern, paths = json.load(sys.stdin)
getattr(signal, "alarm", int)(int(limit) + 2)  # ends the process if its parent was killed
found = map(re.compile(pattern).search, paths)
json.dump([match and match[1] or "" for match in found], sys.stdout)
"""
PROPOSALS = (r"([^/]+)/[^/]*$", r"^([^/]+)/", r"([^/_-]+)[_-][^/]*$", r"([^/]+)[_-][^/_-]*$")
"""Usual places of a patient id: the file's folder, the first folder, first or last word."""
_PEOPLE = re.compile(
    r"(patient|subject|participant|person)(id|identifier|no|nr|num|number|key|code)?|(patient)?mrn|"
    r"medicalrecord(no|nr|num|number)"
)
"""Column names for patients, in lower case without punctuation."""
_PLACEHOLDER = re.compile(
    r"[\W_]*|unknown|unk|missing|undefined|anonym(ous|i[sz]ed)|not (known|available|applicable)|"
    r"n[./]?a\.?|nan|none|null",
    re.IGNORECASE,
)
FEWEST_PATIENTS = 5
"""Minimum number of patients in a column or pattern that names them; fewer cannot be split."""
LEAST_SHARE = 0.1
"""Minimum share of patients with several images; below it the ids may number images.

One pair that was entered twice must not count as evidence for patient ids.
"""


def is_placeholder(cell: str) -> bool:
    """Whether a patient cell means "not known", as "", "-" and "unknown" do."""
    return bool(_PLACEHOLDER.fullmatch(cell.strip()))


def names_patients(column: str, cells: Iterable[str]) -> bool:
    """Whether a column is named for patients, in any spelling, and some value repeats."""
    called = _PEOPLE.fullmatch(re.sub(r"[^a-z0-9]", "", column.lower()))
    known = [cell for cell in cells if not is_placeholder(cell)] if called else []
    return 1 < len(set(known)) < len(known)


def propose_pattern(paths: Sequence[str], classes: int) -> str:
    """Return a clause that proposes a `group_pattern`, one that fits the paths if possible.

    A pattern with no more matches than there are classes may have found the classes.
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
    """Whether so few patients have several images that the ids may number images."""
    return several < LEAST_SHARE * patients


def count_misspelled(patients: Iterable[str]) -> int:
    """Count names that differ from another only by case, blanks, leading zeros or a final .0."""
    spellings = Counter(map(_plain_name, set(patients)))
    return sum(many for many in spellings.values() if many > 1)


def _plain_name(patient: str) -> str:
    """Normalize a name, e.g. "P 003.0" to "p3"."""
    plain = re.sub(r"\.0+$", "", " ".join(patient.casefold().split()))
    return re.sub(r"(?<![0-9.])0+(?=[0-9])", "", re.sub(r"(?<![0-9]) | (?![0-9])", "", plain))


@dataclass(frozen=True)
class PatientMatcher:
    """Finds patient ids in paths by a card's pattern, in a process that can be killed.

    Matching can take exponential time, e.g. `^(a+)+$` on 40 letters, and `re` holds the interpreter lock:
    neither another thread nor, on Windows, a signal can stop it. `key` names card and key in messages.
    """

    pattern: str
    key: str

    def __call__(self, paths: Sequence[str]) -> list[str]:
        """Return the patient id in each path or ""; `UserError` after `LIMIT` seconds."""
        request = json.dumps([LIMIT, self.pattern, paths])  # no argument: other users can see those
        command = (sys.executable, "-I", "-S", "-c", _MATCHER)
        try:
            done = subprocess.run(command, input=request.encode(), capture_output=True, timeout=LIMIT)
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"{self.key}: it does not get done with {len(paths):,} paths in {LIMIT:g} seconds: write it "
                "without a repeat inside a repeat, as (a+)+ has, and with few of .* and .+"
            ) from error
        if done.returncode:
            raise UserError(f"{self.key}: to match it with {len(paths):,} paths failed ({done.returncode}).")
        return json.loads(done.stdout)


def compile_pattern(pattern: str, key: str) -> PatientMatcher | None:
    """Check a card's pattern, whose first group is the patient; None for "".

    `key` names card and key in messages. `UserError` if the pattern is no regular expression, too long, or
    has no group.
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
    """Yield each item with the patient id in its path, or ""; errors as `PatientMatcher`."""
    if find is None:
        yield from ((thing, "") for thing in things)
        return
    things = iter(things)
    while some := list(islice(things, AT_ONCE)):
        yield from zip(some, find([path_of(thing) for thing in some]), strict=True)
