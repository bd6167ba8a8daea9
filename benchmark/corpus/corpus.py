"""A finished corpus on disk: its sources, its files, reading and writing `corpus.json`."""

from pathlib import Path

import msgspec

from ...core.errors import UserError
from ...core.files import write_json
from ...core.toml_files import rename_keys
from ...tasks.task import Kind, Variant

CORPUS_FORMAT = 1
CORPUS, INDEX, SHARDS, PARTS = "corpus.json", "index.parquet", "shards", "parts"
DUPLICATES, PROBLEMS, SHEET = "duplicates.csv", "problems.csv", "contact-sheet.png"


class SourceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One source of a corpus.

    Counts of the finished corpus: `images` in it, `duplicates` removed (`conflicts` of them with another
    label in the same label space), `problems` that could not be read, images `capped` by `max_per_group`,
    and `groups` among the images.
    """

    name: str
    database: str = ""
    """Id in the catalog of databases, "" if it is not listed."""
    license: str
    source_group: str
    """Sources of one group never pretrain for each other's tasks."""
    parents: tuple[str, ...] = ()
    kind: Kind
    classes: tuple[str, ...]
    """Empty for a source without labels, whose kind then means nothing."""
    modality: str
    variant: Variant
    citation: str = ""
    splits: tuple[str, ...] = ()
    """Splits of a task that were used; empty where the source has no splits."""
    max_per_group: int = 0
    images: int = 0
    duplicates: int = 0
    conflicts: int = 0
    problems: int = 0
    capped: int = 0
    groups: int = 0


class Corpus(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `corpus.json`, which is written last: a folder that has it is finished.

    Attributes:
        variant: gray stores one channel, color three.
        side: the longest side in pixels that an image may have.
        sources: in the order of the command line.
        identity: hash of the images, their labels and sources; independent of machine and time.
        request: hash of the settings and of the sources' content at build time.
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
        """Number of images of all sources."""
        return sum(source.images for source in self.sources)


def read_corpus(folder: Path) -> Corpus:
    """Read `corpus.json`; `UserError` if missing, unfinished, damaged or of another format."""
    path = folder / CORPUS
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        if (folder / PARTS).is_dir():
            raise UserError(
                f"The corpus {folder} is not finished: run the same `corpus build` again to resume."
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
        return msgspec.convert(rename_keys(found), Corpus)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise UserError(f"{path} is damaged ({error}): build the corpus anew.") from error


def write_corpus(folder: Path, corpus: Corpus) -> None:
    """Write `corpus.json`, which marks a corpus as finished; errors as `write_atomic`."""
    write_json(folder / CORPUS, corpus)
