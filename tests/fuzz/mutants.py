"""Mutants of real files: flipped bytes, and content that is well formed but wrong."""

import csv
import io
import json
import re
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

Rng = np.random.Generator


def limit_memory() -> None:
    """Limit this process to 4 GiB beyond the address space of its loaded libraries."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 4 * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


TOML_VALUES = (
    '""', "0", "-1", "nan", "inf", "1e308", "9" * 19, "true", "[]", "{}", '"\\u0000"', "1979-05-27",
    '"../.."', '["a", "a"]', "[1, 2]", '[""]', '"/"', '"no-such-word"', "[[]]", '"\U0001f480"', "[" * 3000,
    "{a=" * 2000,
)  # fmt: skip
"""Replacement values of TOML keys."""
CELLS = (
    "", "nan", "NaN", "inf", "-1", "\0", '"', "|", "a" * 200_000, "../../etc/passwd", "none", "1e309",
    "\ufeff",
)  # fmt: skip
LEAVES = (None, True, -1, 0, 1e308, 2**63, 2**64 - 1, "", "\0", "nan", [], {}, [[]], {"": None})
SHAPES = (
    "(4000000000, 28, 28)", "(-1,)", "()", "(2**62,)", "(1,) * 99", "(99999999999999999999,)", "(0, 0, 0)",
)  # fmt: skip
DTYPES = ("|O", "<f8", "|u1", "<U9", "<M8[s]", "|V4", "<c16", ">i8", "|b1", "no type")


def flip_bytes(content: bytes, rng: Rng) -> bytes:
    """Flip bytes, inflate lengths, truncate, repeat or remove pieces, mostly in the header."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        near = min(len(data), 1024) if rng.random() < 0.6 else len(data)
        at = int(rng.integers(near)) if near else 0
        match int(rng.integers(6)):
            case 0:
                data[at : at + 1] = rng.bytes(1)
            case 1:
                data[at : at + 4] = (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0")[rng.integers(3)]
            case 2:
                data[at : at + 1] = b"\0"
            case 3:
                del data[at : at + int(rng.integers(1, 64))]
            case 4:
                data[at:at] = data[at : at + int(rng.integers(1, 64))]
            case _:
                del data[max(at, len(data) // 4) :]
    return bytes(data)


def toml(content: bytes, rng: Rng) -> bytes:
    """Change the value of a key, delete or repeat a line, or open a nested table."""
    lines = content.decode().splitlines()
    at = int(rng.integers(len(lines)))
    match int(rng.integers(8)):
        case 0:
            del lines[at]
        case 1:
            lines.insert(at, lines[at])
        case 2:
            lines.insert(at, f"[{'a.' * int(rng.integers(1, 3000))}a]")
        case _:
            value = TOML_VALUES[rng.integers(len(TOML_VALUES))]
            lines[at] = re.sub(r"=.*", lambda _: f"= {value}", lines[at])
    return "\n".join(lines).encode()


def table(content: bytes, rng: Rng) -> bytes:
    """Change a cell, a row or a column of a CSV."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    row, column = int(rng.integers(len(rows))), int(rng.integers(len(rows[0])))
    match int(rng.integers(7)):
        case 0:
            rows[row] = []
        case 1:
            rows[row] += ["more"]
        case 2:
            rows.insert(row, rows[row])
        case 3:
            for each in rows:
                del each[column]
        case 4:
            return ("\n".join(map(",".join, rows[:row])) + '\n"open').encode()
        case 5:
            return content.decode().encode(("utf-16", "latin-1", "utf-8-sig")[rng.integers(3)])
        case _:
            rows[row][column] = CELLS[rng.integers(len(CELLS))]
    return "\n".join(map(",".join, rows)).encode()


def tree(content: bytes, rng: Rng) -> bytes:
    """Replace a value in a JSON document, or return a far too deeply nested one."""
    if rng.random() < 0.05:
        return b"[" * 100_000
    document = json.loads(content)
    places: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                visit(node[key])

    visit(document)
    node, key = places[rng.integers(len(places))]
    node[key] = LEAVES[rng.integers(len(LEAVES))]
    return json.dumps(document).encode()


def arrays(content: bytes, rng: Rng) -> bytes:
    """Replace an array of an npz by one of the wrong kind or with a false header."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        members = {name: old.read(name) for name in old.namelist()}
    name = list(members)[rng.integers(len(members))]
    array = npy.read_array(io.BytesIO(members[name]))
    match int(rng.integers(6)):
        case 0:
            del members[name]
        case 1:
            nans, empty = array.astype(float) * np.nan, array[:0]
            wrong = (nans, array.astype(object), array.astype("U9"), empty, array.T)
            members[name] = npy_bytes(np.asarray(wrong[rng.integers(len(wrong))]))
        case 2:
            shape, dtype = SHAPES[rng.integers(len(SHAPES))], DTYPES[rng.integers(len(DTYPES))]
            members[name] = forge_npy(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}")
        case 3:
            members[name] = forge_npy("[" * int(rng.integers(1, 5000)))
        case 4:
            members[name] = npy_bytes(np.zeros((30_000, 28, 28), np.uint8))  # a small file that unpacks large
        case _:
            members[name] = flip_bytes(members[name], rng)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for each, data in members.items():
            new.writestr(each, data)
    return packed.getvalue()


def workbook(content: bytes, rng: Rng) -> bytes:
    """Flip bytes of a member of an Excel file, whose checksums stay right, or leave it out."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        members = {name: old.read(name) for name in old.namelist()}
    name = list(members)[rng.integers(len(members))]
    changed = flip_bytes(members.pop(name), rng)
    if rng.random() < 0.9:
        members[name] = changed
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as new:
        for each, data in members.items():
            new.writestr(each, data)
    return packed.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    """Return an array as .npy bytes, pickled if it has objects."""
    file = io.BytesIO()
    npy.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def forge_npy(header: str) -> bytes:
    """Return .npy bytes with an arbitrary header and 100 zero bytes."""
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header.encode() + bytes(100)


def tensors(content: bytes, rng: Rng) -> bytes:
    """Change the JSON header of a safetensors file and adapt its length."""
    (length,) = struct.unpack("<Q", content[:8])
    header = tree(content[8 : 8 + length], rng)
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


BY_SUFFIX: dict[str, Callable[[bytes, Rng], bytes]] = {
    ".toml": toml, ".csv": table, ".xlsx": workbook, ".json": tree, ".npz": arrays, ".safetensors": tensors,
}  # fmt: skip


def mutate_file(suffix: str, content: bytes, rng: Rng) -> bytes:
    """Mutate the content of a file, by its format or as bytes."""
    if suffix in BY_SUFFIX and rng.random() < 0.7:
        return BY_SUFFIX[suffix](content, rng)
    return flip_bytes(content, rng)
