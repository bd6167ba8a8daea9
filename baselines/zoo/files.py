"""Files of public checkpoints: where they are on this machine, and their download."""

import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from ...core.errors import UserError
from ...core.files import cache_folder, read_regular, write_atomic, write_bytes
from ...tasks.download import DownloadProgress, RemoteFile, RetryPolicy, download_remote, with_published_hash
from ...tasks.hashes import file_hash
from ...tasks.task import DataLocations
from .card import FAMILY, ZooCard, zoo_cards

ARCHIVES = (".tar.gz", ".tgz")
WEIGHTS = (".pth", ".pt", ".safetensors", ".bin")


def hub_endpoint() -> str:
    """Return the address of the model hub, or of the mirror that HF_ENDPOINT names."""
    import huggingface_hub

    return (os.environ.get("HF_ENDPOINT") or huggingface_hub.constants.ENDPOINT).rstrip("/")


def page_of(card: ZooCard) -> str:
    """Return the page on which a person gets the checkpoint."""
    return card.page or (f"{hub_endpoint()}/{card.hub}" if card.hub else card.url)


def remote_file(card: ZooCard) -> RemoteFile | None:
    """Return the address of a checkpoint; None where it must be fetched by hand."""
    if card.access == "request" or not card.path or not (card.hub or card.url):
        return None
    by_hand = f"fetch the file by hand and pass {card.init}=FILE"
    if not card.hub:
        return RemoteFile(card.url, card.sha256, variable=f"the card of {card.init}", cure=by_hand)
    return RemoteFile(
        f"{hub_endpoint()}/{card.hub}/resolve/{card.revision}/{card.path}",
        card.sha256,
        token=_hub_token() if card.access == "gated" else "",
        variable="HF_ENDPOINT",
        cure=f"name a mirror of the hub in HF_ENDPOINT, or {by_hand}",
        denied=f"{card.init} is {gated_phrase(card)}.",
    )


def gated_phrase(card: ZooCard) -> str:
    """Say how to get a gated checkpoint."""
    return f"gated: accept its terms at {page_of(card)}, set HF_TOKEN to a token of yours, and try again"


def _hub_token() -> str:
    """Return the user's own token for the hub, from HF_TOKEN or the hub's login; "" for none."""
    import huggingface_hub

    return huggingface_hub.get_token() or ""


def find_weights(card: ZooCard, places: DataLocations) -> Path | None:
    """Return a checkpoint on this machine: in a data root, in the cache, or in the hub's own cache."""
    if not card.path:
        return None
    for folder in _folders(card, places):
        if (folder / card.path).is_file():
            return folder / card.path
    if not card.hub:
        return None
    import huggingface_hub

    cached = huggingface_hub.try_to_load_from_cache(card.hub, card.path, revision=card.revision)
    return Path(cached) if isinstance(cached, str) else None


def _folders(card: ZooCard, places: DataLocations) -> list[Path]:
    return [root / FAMILY / card.name for root in (*places.roots, cache_folder())]


def expected_hash(card: ZooCard, file: Path) -> str:
    """Return the published SHA-256, or that of the first download; "" where there was none."""
    note = _hash_note(file)
    if card.sha256 or not note.is_file():
        return card.sha256
    return read_regular(note).decode("ascii", "replace").strip()


def _hash_note(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def download_weights(
    card: ZooCard,
    places: DataLocations,
    progress: DownloadProgress | None = None,
    patience: RetryPolicy | None = None,
) -> Path:
    """Download a checkpoint unless it is here, verify it by every published hash, and note its SHA-256.

    Where no hash is published, later loads are checked against that of the first download.

    Raises:
        UserError: it must be fetched by hand, is gated, or as `download_remote`.
    """
    found = find_weights(card, places)
    if found:
        return found
    remote = remote_file(card)
    if remote is None:
        raise UserError(f"{missing_clause(card)}.")
    remote = with_published_hash(remote, patience)
    writable = (folder for folder in _folders(card, places) if os.access(folder.parents[1], os.W_OK))
    target = next(writable, _folders(card, places)[-1]) / card.path
    download_remote(remote, target, progress, patience)
    digest = remote.digest or file_hash(target, "sha256")  # the download has verified a published one
    write_bytes(_hash_note(target), digest.encode())
    return target


def unpacked(file: Path, card: ZooCard) -> Path:
    """Return the weights inside an archive, unpacked once into the cache; other files as they are.

    `UserError` where the archive is damaged or holds not exactly one file of weights.
    """
    if not file.name.endswith(ARCHIVES):
        return file
    folder = cache_folder() / FAMILY / card.name / file_hash(file, "sha256")[:16]
    if done := next((path for path in folder.glob("weights.*") if path.suffix in WEIGHTS), None):
        return done
    try:
        with tarfile.open(file) as archive:
            members = [each for each in archive if each.isfile() and Path(each.name).suffix in WEIGHTS]
            if len(members) != 1:
                raise UserError(
                    f"{file} holds {len(members)} files of weights instead of one: unpack it, and pass "
                    f"{card.init}=FILE."
                )
            target = folder / f"weights{Path(members[0].name).suffix}"
            content = archive.extractfile(members[0])
            assert content is not None  # it is a file
            write_atomic(target, lambda copy: shutil.copyfileobj(content, copy))
            return target
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{file} is a damaged archive ({error}): fetch it again.") from error


def missing_clause(card: ZooCard) -> str:
    """Say that a checkpoint is not here, and how to get it."""
    by_hand = f"pass {card.init}=FILE"
    if remote_file(card) is None:
        return f"{card.init} must be fetched by hand from {page_of(card)}: {by_hand}"
    if card.access == "gated":
        return f"{card.init} is {gated_phrase(card)}, or {by_hand}"
    return f"{card.init} is not on this machine: run `mednet-bench download {card.init}`, or {by_hand}"


def fetch_weights(
    names: Iterable[str], places: DataLocations, progress: DownloadProgress | None = None
) -> None:
    """Download the missing checkpoints of these cards that can be; names all others in one error.

    Nothing is downloaded before it is clear that every one can be had. `progress` None downloads nothing.
    """
    cards = [zoo_cards()[name] for name in dict.fromkeys(names)]
    missing = [card for card in cards if find_weights(card, places) is None]
    may_fetch = places.download and progress is not None
    refused = [card for card in missing if not may_fetch or not _can_fetch(card)]
    if refused:
        clauses = "; ".join(map(missing_clause, refused))
        raise UserError(f"{len(refused)} of {len(cards)} checkpoints are missing: {clauses}.")
    for card in missing:
        download_weights(card, places, progress)


def is_obtainable(card: ZooCard, places: DataLocations) -> bool:
    """Whether a checkpoint is on this machine, or `places` allow to download it without more ado."""
    return find_weights(card, places) is not None or (places.download and _can_fetch(card))


def _can_fetch(card: ZooCard) -> bool:
    remote = remote_file(card)
    return remote is not None and (card.access != "gated" or bool(remote.token))
