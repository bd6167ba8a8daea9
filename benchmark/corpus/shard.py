"""Tar shards in WebDataset's layout, byte for byte the same for the same images."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import msgspec

HEADER = 512
"""Bytes of a tar header: what stands between a member's start and its content."""


class ShardWriter:
    """Writes images one after the other into an open file.

    Args:
        file: binary, empty.
    """

    def __init__(self, file: BinaryIO) -> None:
        # USTAR has one header per member, so that offsets are known, and room for 100 characters of name
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)

    def add(self, key: str, image: bytes, facts: bytes) -> int:
        """Add an image and the JSON beside it; returns at which byte of the shard the image begins."""
        offset = self._tar.offset + HEADER
        self._member(f"{key}.png", image)
        self._member(f"{key}.json", facts)
        return offset

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()

    def _member(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)  # time, owner and rights stay the same everywhere
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))


def facts_json(source: str, label: Iterable[int], digest: str) -> bytes:
    """Return what stands beside an image: its label as in the index, its source, its pixels' hash."""
    return msgspec.json.encode({"label": list(label), "source": source, "sha256": digest})


def copy_rows(shard: BinaryIO, keep: Iterable[bool], out: BinaryIO) -> None:
    """Copy the images of a shard that are to be kept, in their order, without decoding them."""
    writer = ShardWriter(out)
    with tarfile.open(fileobj=shard, mode="r:") as tar:
        for kept, (image, facts) in zip(keep, _pairs(tar), strict=True):
            if kept:
                writer.add(image.name.removesuffix(".png"), _content(tar, image), _content(tar, facts))
    writer.close()


def image_offsets(shard: BinaryIO) -> list[int]:
    """List at which byte each image of a shard begins."""
    with tarfile.open(fileobj=shard, mode="r:") as tar:
        return [image.offset_data for image, _ in _pairs(tar)]


def _pairs(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarInfo]]:
    members = iter(tar)
    return zip(members, members, strict=True)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # every member is a regular file
    return file.read()
