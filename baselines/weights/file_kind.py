"""Recognition of files that are no checkpoints by their first bytes, with the cure."""

import codecs
import zipfile
from pathlib import Path

HEAD_BYTES = 1024
_MAGIC = {
    b"\x1f\x8b": "is a gzip archive: unpack it and name the checkpoint inside",
    b"BZh": "is a bzip2 archive: unpack it and name the checkpoint inside",
    b"\xfd7zXZ": "is an xz archive: unpack it and name the checkpoint inside",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive: unpack it and name the checkpoint inside",
    b"Rar!": "is a RAR archive: unpack it and name the checkpoint inside",
    b"\x89HDF": "is an HDF5 file, as Keras writes them, which is not read: export the weights with PyTorch",
    b"%PDF": "is a PDF document and no checkpoint: fetch the checkpoint itself",
}
_LFS = (b"version https://git-lfs", b"version https://hawser")


def file_kind(path: Path) -> str:
    """Return a phrase such as "is a PDF document: CURE" for an existing file; "" if unknown.

    None of the file's content is repeated.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:  # the reader has reported why
        return ""
    if not head.strip(b"\0"):
        reason = "nothing but zeros" if head else "it is empty"
        return f"is damaged ({reason}), as after a broken download: fetch it again"
    for magic, phrase in _MAGIC.items():
        if head.startswith(magic):
            return phrase
    if head[257:262] == b"ustar":
        return "is a tar archive: unpack it and name the checkpoint inside"
    if head.startswith(b"PK\x03\x04"):
        return _zip_kind(path)
    if path.suffix != ".safetensors" and _is_safetensors(head, path.stat().st_size):
        return "is a safetensors file under another name: let its name end in .safetensors"
    return _text_kind(head)


def _zip_kind(path: Path) -> str:
    """Return the phrase for a foreign or truncated zip archive; "" for a torch file."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "is damaged (the end of the archive is missing or broken): fetch it again"
    if "constants.pkl" in names:
        return (
            "is a TorchScript program, which is not run: load it with torch.jit.load and save its state_dict"
        )
    if "data.pkl" in names:
        misnamed = path.suffix == ".safetensors"
        return "is a file of torch.save under another name: let its name end in .pth" if misnamed else ""
    return "is a ZIP archive that torch.save did not write: unpack it and name the checkpoint inside"


def _is_safetensors(head: bytes, size: int) -> bool:
    """Whether a file begins with the length of a header and a header in JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def _text_kind(head: bytes) -> str:
    """Distinguish a pointer, a web page and a server's answer; "" if the file is no text."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head)  # the last letter may be cut
    except UnicodeDecodeError:
        return ""
    if any(ord(letter) < 32 and letter not in "\t\n\r\f" for letter in text):
        return ""
    begin = text.lstrip().lower()
    if head.startswith(_LFS):
        return "is a Git LFS pointer and not the weights: run `git lfs pull`, or download the file itself"
    if begin.startswith(("/annex/objects/", "../.git/annex/", ".git/annex/")):
        return "is a git-annex pointer and not the weights: run `git annex get`"
    if begin.startswith("<") and "html" in begin:
        return (
            "is a web page, which a server sent in place of the weights (a login, a warning or an error): "
            "open the address in a browser and download the file itself"
        )
    if begin.startswith("<"):
        return "is an XML text, which a server sent in place of the weights: download the file itself"
    if begin.startswith(("{", "[")):
        return "is a JSON text, such as an index or a server's error: download the weights themselves"
    return "is a text and not the weights: download the file itself"
