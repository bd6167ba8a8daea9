"""A finished corpus on disk: what it is made of and where its parts stand."""

from pathlib import Path

import msgspec

from ...core.errors import UserError
from ...core.files import write_json
from ...tasks.task import Kind, Variant

CORPUS_FORMAT = 1
CORPUS, INDEX, SHARDS, PARTS = "corpus.json", "index.parquet", "shards", "parts"
DUPLICATES, PROBLEMS, SHEET = "duplicates.csv", "problems.csv", "contact-sheet.png"


class SourceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a corpus.

    The counts are those of the finished corpus: `images` that it holds, `duplicates` that were removed
    (of them `conflicts` with another label in the same label space), `problems` that could not be read,
    `capped` beyond `max_per_group`, and `groups` among the images that it holds.
    """

    name: str
    database: str = ""
    """Id in the catalog of databases, "" if it stands in none."""
    license: str
    source_group: str
    """Sources of one group never pretrain for each other's tasks."""
    parents: tuple[str, ...] = ()
    kind: Kind
    classes: tuple[str, ...]
    modality: str
    variant: Variant
    citation: str = ""
    splits: tuple[str, ...] = ()
    """Which of a task's splits were used; empty where the source knows no splits."""
    max_per_group: int = 0
    images: int = 0
    duplicates: int = 0
    conflicts: int = 0
    problems: int = 0
    capped: int = 0
    groups: int = 0


class Corpus(msgspec.Struct, frozen=True, kw_only=True):
    """A corpus; it is written last, so that a folder with this file is finished.

    Attributes:
        format: of the folder.
        variant: gray stores one channel, color three.
        side: the longest side in pixels that an image may have.
        sources: in the order in which they were named.
        identity: hash of the images that it holds, with their labels and sources; it depends on neither
            the machine nor the time.
        request: hash of the settings and of what the sources were when it was built.
        made: when, UTC.
    """

    format: int = CORPUS_FORMAT
    variant: Variant
    side: int
    sources: tuple[SourceFacts, ...]
    identity: str
    request: str
    made: str

    @property
    def images(self) -> int:
        """Count the images of all sources."""
        return sum(source.images for source in self.sources)


def read_corpus(folder: Path) -> Corpus:
    """Read what a corpus is made of.

    Raises:
        UserError: there is none, it is not finished, it is damaged, or of another format.
    """
    path = folder / CORPUS
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        if (folder / PARTS).is_dir():
            raise UserError(
                f"The corpus {folder} is not finished: run the same `corpus build` again to go on."
            ) from error
        raise UserError(f"{folder} holds no corpus: make one with `mednet-bench corpus build`.") from error
    except OSError as error:
        raise UserError(f"Cannot read {path} ({error.strerror}): correct the path or its rights.") from error
    try:
        found = msgspec.json.decode(content, type=dict)
        if found.get("format") != CORPUS_FORMAT:
            raise UserError(
                f"{folder} has the format {found.get('format')} instead of {CORPUS_FORMAT}: build it anew."
            )
        return msgspec.convert(found, Corpus)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise UserError(f"{path} is damaged ({error}): build the corpus anew.") from error


def write_corpus(folder: Path, corpus: Corpus) -> None:
    """Declare a corpus finished; errors as `write_atomic`."""
    write_json(folder / CORPUS, corpus)
