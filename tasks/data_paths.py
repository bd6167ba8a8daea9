"""Data roots, medmnist's cache, the mirror: where files are searched and downloaded to."""

import os
import urllib.parse
from pathlib import Path

from ..core.errors import UserError
from .task import DataLocations


def data_locations(data_root: Path | None = None, download: bool = True) -> DataLocations:
    """Return the locations that `--data-root` and the environment give, in search order.

    Raises:
        UserError: a folder does not exist, or the mirror is no http address or contains a password.
    """
    roots: list[Path] = []
    for origin, given in (
        ("--data-root", data_root),
        ("MEDNET_BENCH_DATA", os.environ.get("MEDNET_BENCH_DATA")),
    ):
        if not given:
            continue
        root = Path(given).expanduser()
        if not root.is_dir():
            raise UserError(f"The data folder {root} ({origin}) does not exist: make it or correct its name.")
        if root.resolve() not in {known.resolve() for known in roots}:
            roots.append(root)
    mirror = os.environ.get("MEDNET_BENCH_MIRROR", "")
    if mirror and (fault := _fault_of_mirror(mirror)):
        # without the part before the host: it may be a password
        raise UserError(f"MEDNET_BENCH_MIRROR is '{mirror.rpartition('@')[2]}': {fault}.")
    return DataLocations(tuple(roots), mirror=mirror, download=download)


def _fault_of_mirror(mirror: str) -> str:
    """Return why a mirror's address cannot be used, or ""."""
    if not mirror.startswith(("http://", "https://")):
        return "it must start with http:// or https://"
    try:
        address = urllib.parse.urlsplit(mirror)
        host, port = address.hostname, address.port  # these attributes raise ValueError on a bad address
    except ValueError:
        return "it is no address; correct host and port (1 to 65535)"
    if not host or port == 0:
        return "it is no address; correct host and port (1 to 65535)"
    if "@" in address.netloc:
        return (
            "a user name or password before the host is not supported and would be shown in messages; leave "
            "it out, or download the files by hand into a data folder"
        )
    return "it must end with a folder, without ? and #" if address.query or address.fragment else ""


def data_folders(places: DataLocations) -> tuple[Path, ...]:
    """List every folder that may hold a published file, in search order."""
    inside = [folder for root in places.roots for folder in (root, root / "medmnist")]
    return (*inside, places.medmnist_cache)


def find_file(name: str, places: DataLocations) -> Path | None:
    """Return the path of the file `name`, or None."""
    for folder in data_folders(places):
        if (folder / name).is_file():
            return folder / name
    return None


def download_folder(places: DataLocations) -> Path:
    """Return the first data root if it is writable, else medmnist's cache."""
    for root in places.roots[:1]:
        inside = root / "medmnist"
        folder = inside if inside.is_dir() else root
        if os.access(folder, os.W_OK):
            return folder
    return places.medmnist_cache
