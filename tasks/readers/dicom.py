"""DICOM files, decoded frame by frame by pydicom and its optional plugins."""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread, uid
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import get_expected_length

from ..images.dicom_codestream import declared_size
from ..images.dicom_gray import GrayValues, gray_values
from ..images.dicom_numbers import (
    bits_stored,
    element_number,
    element_numbers,
    element_text,
    element_value,
    tag_of,
)
from ..images.dicom_traits import header_traits
from ..images.reader import (
    LARGEST_FILE,
    READERS,
    FormatReader,
    ReaderTable,
    ReadImage,
    UnreadableError,
    check_declared_size,
)
from ..images.window import GrayWindow
from ..patients import is_placeholder

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.pixels.decoders.base import Decoder
    from pydicom.uid import UID

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
KEYS = {"patient": "PatientID", "study": "StudyInstanceUID", "series": "SeriesInstanceUID"}
"""From the widest to the narrowest."""
GRAY = ("MONOCHROME1", "MONOCHROME2")
COLOR_INTERPRETATIONS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
"""Transfer syntaxes of uncompressed little-endian values."""
DEFLATED = b"1.2.840.10008.1.2.1.99"
PER_FRAME, SHARED = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")
"""The last gives only a ratio, and is present only if the others are not."""
BESIDE_SLIDE = ("LABEL", "OVERVIEW", "THUMBNAIL")
"""Words of ImageType for pictures beside those of a slide's tissue; a label may name the patient."""


def read_dicom(path: Path, reading: ReaderTable) -> Iterator[ReadImage]:
    """Yield the selected frames of a file; errors as `read_images`."""
    dataset = load_dataset(path)
    facts = _check_header(dataset)
    decoder = _find_decoder(dataset)
    facts = {"format": "DICOM", "syntax": decoder.UID.name, **facts}
    frames = _count_frames(dataset)
    chosen = reading.frame_indices(frames)
    group, traits = group_of(dataset, reading.group_by), header_traits(dataset)
    patient_known = knows_patient(dataset, reading.group_by)
    for frame, stored in zip(chosen, _decode_frames(dataset, decoder, chosen, frames), strict=True):
        shown = _gray_or_rgb(dataset, frame, stored, reading)
        yield ReadImage(
            shown.values, shown.window, shown.deep, frame, spacing_of(dataset, frame), group,
            {**facts, **shown.facts}, traits, patient_known,
        )  # fmt: skip


def load_dataset(path: Path, pixels: bool = True) -> "Dataset":
    """Read the header, and undecoded pixel data if `pixels`.

    Raises:
        UnreadableError: not DICOM, or larger than memory. Broken bytes raise any exception.
    """
    with path.open("rb") as file:
        head = file.read(4096)
        prefixed = head[128:132] == b"DICM"
        # files of older machines begin with their first element, of group 0002 or 0008
        if not prefixed and head[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08"):
            raise UnreadableError("it has no DICOM prefix: it is not DICOM, or its beginning is lost")
        if DEFLATED in head:
            _check_inflated(file.read(), head)
        file.seek(0)
        return dcmread(file, force=not prefixed, stop_before_pixels=not pixels)


def group_of(dataset: "Dataset", group_by: str) -> str:
    """Return the raw patient, study or series id, or the next narrower one that the header has."""
    names = list(KEYS)
    values = (element_text(dataset, KEYS[name]) for name in names[names.index(group_by) :])
    return next((value for value in values if not is_placeholder(value)), "")


def knows_patient(dataset: "Dataset", group_by: str) -> bool:
    """Whether `group_of` is a patient, not a study or series."""
    return group_by == "patient" and not is_placeholder(element_text(dataset, KEYS["patient"]))


def spacing_of(dataset: "Dataset", frame: int) -> tuple[float, float] | None:
    """Return the millimeters per pixel (down, right), or only their ratio, or None."""
    measured = functional_group(dataset, frame, "PixelMeasuresSequence")
    for holder in (dataset,) if measured is dataset else (measured, dataset):
        for name in SPACINGS:
            pair = element_numbers(holder, name)
            if len(pair) == 2 and min(pair) > 0:
                return pair
    return None


def functional_group(dataset: "Dataset", frame: int, name: str) -> "Dataset":
    """Return a frame's functional group of an enhanced file, else the dataset itself."""
    for groups, at in ((PER_FRAME, frame), (SHARED, 0)):
        items = element_value(dataset, groups) or ()
        found = items[at].get(name) if at < len(items) else None
        if found:
            return found[0]
    return dataset


def _check_header(dataset: "Dataset") -> dict[str, str]:
    """Refuse unsupported images before any allocation; return the declared facts."""
    if not any(tag_of(name) in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise UnreadableError("it holds no pixel data")
    rows, columns = element_number(dataset, "Rows"), element_number(dataset, "Columns")
    if rows is None or columns is None:
        raise UnreadableError("its header lacks the number of rows or columns")
    check_declared_size(int(rows), int(columns))
    photometric = element_text(dataset, "PhotometricInterpretation")
    samples = element_number(dataset, "SamplesPerPixel", 1)
    if photometric not in (*GRAY, *COLOR_INTERPRETATIONS, "PALETTE COLOR"):
        raise UnreadableError("its photometric interpretation is missing, or is none that can be read")
    if samples != (3 if photometric in COLOR_INTERPRETATIONS else 1):
        raise UnreadableError(f"it declares {samples:g} samples per pixel with {photometric}")
    _check_bits(dataset)
    if element_text(dataset, "Modality") == "SM" and any(
        word in element_text(dataset, "ImageType").upper() for word in BESIDE_SLIDE
    ):
        raise UnreadableError("it is the label, overview or thumbnail of a slide: leave it out")
    sign = "signed" if element_number(dataset, "PixelRepresentation", 0) else "unsigned"
    return {"photometric": photometric, "stored": f"{bits_stored(dataset)}-bit {sign}"}


def _check_bits(dataset: "Dataset") -> None:
    """Refuse bits that contradict each other, and colors with a sign."""
    allocated, stored = (element_number(dataset, name) for name in ("BitsAllocated", "BitsStored"))
    if allocated and stored and not stored - 1 <= _high_bit(dataset) < allocated:
        raise UnreadableError("its header declares more bits than a value has")
    if element_number(dataset, "SamplesPerPixel") == 3 and element_number(dataset, "PixelRepresentation"):
        raise UnreadableError("it declares colors with a sign, which have no meaning")


def _high_bit(dataset: "Dataset") -> int:
    """Return the place of the highest stored bit, from 0."""
    last = bits_stored(dataset) - 1
    high = element_number(dataset, "HighBit")
    return last if high is None else int(high)


def _count_frames(dataset: "Dataset") -> int:
    """Return the declared number of frames; 1 if undeclared."""
    try:
        frames = int(element_value(dataset, "NumberOfFrames") or 1)
    except (TypeError, ValueError):
        frames = 0
    if frames < 1:
        raise UnreadableError("its number of frames is no number from 1")
    return frames


def _find_decoder(dataset: "Dataset") -> "Decoder":
    """Return the decoder of the transfer syntax; `UnreadableError` names a missing plugin."""
    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    if syntax is None:
        implicit, little = dataset.original_encoding
        plain = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        syntax = uid.ImplicitVRLittleEndian if implicit else plain
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        what = "an unknown transfer syntax" if syntax.name == syntax else syntax.name
        raise UnreadableError(f"it is stored as {what}, which cannot be decoded: convert it") from None
    if not decoder.is_available:
        raise UnreadableError(_missing_plugin_reason(syntax))
    return decoder


def _check_content(dataset: "Dataset", decoder: "Decoder", frames: int) -> None:
    """Compare the pixel data with the header."""
    if "PixelData" not in dataset:
        return  # floats are never compressed, and pydicom compares their length
    pixels = dataset.PixelData
    if not decoder.is_encapsulated:
        _check_length(pixels, get_expected_length(dataset))
        return
    for frame in generate_frames(pixels, number_of_frames=frames):
        size = declared_size(frame)
        if size is not None and size != (dataset.Rows, dataset.Columns):
            raise UnreadableError("a compressed frame declares another size than the header")


def _decode_frames(
    dataset: "Dataset", decoder: "Decoder", chosen: Sequence[int], frames: int
) -> Iterator[NDArray[Any]]:
    """Yield the stored values of the selected frames, [h, w] or [h, w, 3]; YBR becomes RGB."""
    bits, samples = element_number(dataset, "BitsAllocated"), element_number(dataset, "SamplesPerPixel", 1)
    if decoder.UID in UNCOMPRESSED and bits in (8, 16) and samples == 1 and tag_of("PixelData") in dataset:
        yield from _iterate_uncompressed(dataset, int(bits), chosen, frames)
        return
    _check_content(dataset, decoder, frames)
    if tag_of("PixelData") in dataset and _high_bit(dataset) != bits_stored(dataset) - 1:
        raise UnreadableError(
            "its values do not end at the lowest bit, and only uncompressed gray is read so"
        )
    # without `indices` pydicom walks through the compressed frames once, without a search for each
    indices = None if 1 < frames == len(chosen) else chosen
    views = not decoder.is_encapsulated  # of the file's bytes: nothing to copy
    try:
        for values, about in decoder.iter_array(dataset, indices=indices, view_only=views):
            if values.ndim == 3 and about["photometric_interpretation"] not in ("RGB", "YBR_ICT", "YBR_RCT"):
                raise UnreadableError("its colors could not be converted to RGB")
            yield values
    except RuntimeError:  # all installed plugins failed
        if any(plugin.startswith("pylibjpeg") for plugin in decoder.missing_dependencies):
            raise UnreadableError(_missing_plugin_reason(decoder.UID)) from None
        raise UnreadableError("its compressed pixel data are broken") from None


def _iterate_uncompressed(
    dataset: "Dataset", bits: int, chosen: Sequence[int], frames: int
) -> Iterator[NDArray[Any]]:
    """Yield uncompressed gray values as views, as pydicom does in twice the time."""
    rows, columns = (int(element_number(dataset, side) or 0) for side in ("Rows", "Columns"))
    kind = np.dtype(f"<{'i' if element_number(dataset, 'PixelRepresentation') else 'u'}{bits // 8}")
    size, pixels = rows * columns * kind.itemsize, dataset.get_item(tag_of("PixelData")).value
    _check_length(pixels, size * frames)
    above, unused = bits - 1 - _high_bit(dataset), bits - bits_stored(dataset)
    for frame in chosen:
        values = np.frombuffer(pixels, kind, rows * columns, frame * size)
        # clear the unused bits on both sides and extend the sign of the used ones
        values = values << above >> unused if unused else values
        yield values.reshape(rows, columns)


def _check_length(pixels: bytes | None, expected: int) -> None:
    """Refuse pixel data that are shorter than the header declares."""
    if expected > len(pixels or b""):
        raise UnreadableError(f"its pixel data are cut off: {len(pixels or b''):,} of {expected:,} bytes")


def _missing_plugin_reason(syntax: "UID") -> str:
    cure = "pip install mednet-bench[dicom]"
    return f"it is compressed as {syntax.name}, which needs optional packages: {cure}"


def _gray_or_rgb(dataset: "Dataset", frame: int, stored: NDArray[Any], reading: ReaderTable) -> GrayValues:
    """Convert stored values (gray, palette or RGB) to gray or RGB with a window."""
    if stored.ndim == 2 and element_text(dataset, "PhotometricInterpretation") in GRAY:
        voi = functional_group(dataset, frame, "FrameVOILUTSequence")
        transformation = functional_group(dataset, frame, "PixelValueTransformationSequence")
        return gray_values(dataset, stored, transformation, voi, reading)
    bits = bits_stored(dataset)
    if stored.ndim == 2:
        from pydicom.pixels.processing import apply_color_lut

        stored = apply_color_lut(stored, dataset)[..., :3]
        bits = 8 * stored.dtype.itemsize
    window = GrayWindow(0.0, float(2**bits - 1), "none: as stored")
    profile = {"profile": "ICC, not applied"} if tag_of("ICCProfile") in dataset else {}
    return GrayValues(stored, window, bits > 8, {"window": window.origin, **profile})


def _check_inflated(rest: bytes, head: bytes) -> None:
    """Refuse a deflated file that would fill the memory; other files are left to pydicom."""
    # the group length, always the first element, gives the offset of the compressed part
    begin = 144 + int.from_bytes(head[140:144], "little")
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    waiting, size = (head + rest)[begin:], 0
    try:
        while waiting and size <= LARGEST_FILE:
            size += len(inflater.decompress(waiting, 2**24))
            waiting = inflater.unconsumed_tail
    except zlib.error:
        return
    if size > LARGEST_FILE:
        raise UnreadableError(f"it inflates to more than the {LARGEST_FILE:,} bytes that are read")


READERS.add("DICOM", FormatReader(DICOM_SUFFIXES, lambda head: head[128:132] == b"DICM", read_dicom))
