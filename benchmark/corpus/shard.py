"""Tar shards in WebDataset's layout; the same images give the same bytes."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import msgspec

HEADER = 512
"""Bytes of a tar header, before a member's content."""


class ShardWriter:
    """Writes images one after the other into an empty binary file."""

    def __init__(self, file: BinaryIO) -> None:
        # USTAR has one header per member, so that offsets are known; names have up to 100 characters
        self._tar = tarfile.TarFile(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)

    def add(self, key: str, image: bytes, facts: bytes) -> int:
        """Add an image and its JSON; returns the byte offset of the image in the shard."""
        offset = self._tar.offset + HEADER
        self._member(f"{key}.png", image)
        self._member(f"{key}.json", facts)
        return offset

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()

    def _member(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)  # its default time, owner and rights are the same on all machines
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))


def facts_json(source: str, label: Iterable[int], digest: str) -> bytes:
    """Return an image's JSON: label as in the index, source, hash of the pixels."""
    return msgspec.json.encode({"label": list(label), "source": source, "sha256": digest})


def copy_rows(shard: BinaryIO, keep: Iterable[bool], out: BinaryIO) -> None:
    """Copy to `out` the images whose entry in `keep` is true, in order, without decoding."""
    writer = ShardWriter(out)
    with tarfile.open(fileobj=shard, mode="r:") as tar:
        for stays, (image, facts) in zip(keep, _pairs(tar), strict=True):
            if stays:
                writer.add(image.name.removesuffix(".png"), _content(tar, image), _content(tar, facts))
    writer.close()


def image_offsets(shard: BinaryIO) -> list[int]:
    """List the byte offset of each image of a shard."""
    with tarfile.open(fileobj=shard, mode="r:") as tar:
        return [image.offset_data for image, _ in _pairs(tar)]


def _pairs(tar: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarInfo]]:
    members = iter(tar)
    return zip(members, members, strict=True)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None  # every member is a regular file
    return file.read()
