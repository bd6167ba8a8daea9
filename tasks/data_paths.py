"""Where data are looked for and put: the data roots, medmnist's cache, the mirror."""

import os
import urllib.parse
from pathlib import Path

from ..core.errors import UserError
from .task import DataLocations


def data_locations(data_root: Path | None = None, download: bool = True) -> DataLocations:
    """Return the places that the command line and the environment name.

    Args:
        data_root: `--data-root`; looked in before MEDNET_BENCH_DATA.
        download: whether missing files may be fetched, from MEDNET_BENCH_MIRROR where it is set.

    Raises:
        UserError: a folder that was named does not exist, or the mirror is no http address, or has a
            password.
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
        # without what stands before the host: it may be a password
        raise UserError(f"MEDNET_BENCH_MIRROR is '{mirror.rpartition('@')[2]}': {fault}.")
    return DataLocations(tuple(roots), mirror=mirror, download=download)


def _fault_of_mirror(mirror: str) -> str:
    """Say what is wrong with a mirror's address, "" where it can be used."""
    if not mirror.startswith(("http://", "https://")):
        return "it must start with http:// or https://"
    try:
        address = urllib.parse.urlsplit(mirror)
        named, port = address.hostname, address.port  # checked only when they are asked for
    except ValueError:
        return "it is no address; correct host and port (1 to 65535)"
    if not named or port == 0:
        return "it is no address; correct host and port (1 to 65535)"
    if "@" in address.netloc:
        return (
            "a user name or password before the host is not supported and would be shown in messages; leave "
            "it out, or download the files by hand into a data folder"
        )
    return "it must end with a folder, without ? and #" if address.query or address.fragment else ""


def data_folders(places: DataLocations) -> tuple[Path, ...]:
    """List every folder in which a published file may stand, in the order of search."""
    inside = [folder for root in places.roots for folder in (root, root / "medmnist")]
    return (*inside, places.medmnist_cache)


def find_file(name: str, places: DataLocations) -> Path | None:
    """Return where the file `name` stands, or None."""
    for folder in data_folders(places):
        if (folder / name).is_file():
            return folder / name
    return None


def download_folder(places: DataLocations) -> Path:
    """Return the folder for downloads: the first data root if one can write there, else medmnist's cache."""
    for root in places.roots[:1]:
        inside = root / "medmnist"
        folder = inside if inside.is_dir() else root
        if os.access(folder, os.W_OK):
            return folder
    return places.medmnist_cache
