"""Files with several images in every format, through one card: none lost, none separated."""

from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
from cards import CARD
from dicoms import write
from numpy.typing import NDArray
from PIL import Image

from mednet_bench.tasks.images.bit_depth import to_uint8
from mednet_bench.tasks.local_cards import local_task
from mednet_bench.tasks.task import DataLocations, Split

SIDE, PATIENTS = 16, 6
FRAMES = {"dcm": 3, "nii.gz": 5, "tif": 4, "npz": 2, "png": 1}
"""Suffix -> images of one file."""
FILES = '[files]\ntable = "labels.csv"\n'


def frames(gray: int, count: int) -> NDArray[np.uint8]:
    """Images of one gray but for a black and a white row, so that a window found by percentiles keeps it."""
    values = np.full((count, SIDE, SIDE), gray, np.uint8)
    values[:, 0], values[:, 1] = 0, 255
    return values


def save(path: Path, values: NDArray[np.uint8], patient: str) -> None:
    kind = path.name.partition(".")[2]
    if kind == "dcm":
        write(path, values, PatientID=patient)
    elif kind == "nii.gz":
        nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0), np.diag([1, 1, 3, 1])), path)
    elif kind == "npz":
        np.savez(path, values)
    else:
        pages = [Image.fromarray(value) for value in values]
        more = {"save_all": True, "append_images": pages[1:]} if kind == "tif" else {}
        pages[0].save(path, **more)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Six files of each format; the gray of an image is the number of its file times 8."""
    folder, lines = tmp_path / "mixed", ["path,label,patient,split"]
    folder.mkdir()
    for number, kind in enumerate(sorted(FRAMES) * PATIENTS):
        patient = number // len(FRAMES)
        name = f"{number}.{kind}"
        save(folder / name, frames(8 * number, FRAMES[kind]), f"P{patient}")
        split = ("train", "train", "train", "val", "test", "test")[patient]
        lines.append(f"{name},{('healthy', 'ill')[number % 2]},P{patient},{split}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def loaded(folder: Path, files: str) -> dict[str, Split]:
    (folder / "ward.toml").write_text(CARD + files)
    return dict(local_task(folder / "ward.toml").source.load(SIDE, DataLocations()))


def numbers(split: Split) -> Counter[int]:
    """Count the images of each file."""
    grays = np.median(to_uint8(split.images), axis=(1, 2))
    return Counter(np.rint(grays / 8).astype(int).tolist())


def groups(splits: dict[str, Split]) -> list[set[int]]:
    """Return the groups of each split."""
    return [set(split.groups.tolist()) for split in splits.values() if split.groups is not None]


def check_whole(splits: dict[str, Split]) -> None:
    """Every frame of every file is there, with the label of its file, and all in one split."""
    seen = [numbers(split) for split in splits.values()]
    assert sum(seen, Counter()) == {n: FRAMES[sorted(FRAMES)[n % len(FRAMES)]] for n in range(30)}
    assert sum(len(each) for each in seen) == 30
    for split in splits.values():
        grays = np.median(to_uint8(split.images), axis=(1, 2))
        assert (np.rint(grays / 8) % 2 == split.labels).all()


def test_files_of_every_format_stay_whole_whether_or_not_a_patient_is_known(mixed: Path) -> None:
    splits = loaded(mixed, FILES)  # only the DICOM files know their patients
    check_whole(splits)
    known = groups(splits)
    assert len(set.union(*known)) == 30 == sum(map(len, known))


def test_patients_keep_their_files_together_unless_the_card_splits_by_image(mixed: Path) -> None:
    shares = "[split]\nshares = [0.5, 0.25, 0.25]\n"
    by_patient = loaded(mixed, FILES + 'patient_column = "patient"\n' + shares)
    check_whole(by_patient)
    known = groups(by_patient)
    assert len(set.union(*known)) == 6 == sum(map(len, known))
    by_image = loaded(mixed, FILES + 'patient_column = "patient"\n' + shares + 'by = "image"\n')
    check_whole(by_image)  # a file is not cut apart even so
    assert sum(map(len, groups(by_image))) > 6


def test_given_splits_hold_for_every_frame(mixed: Path) -> None:
    splits = loaded(mixed, FILES + 'patient_column = "patient"\nsplit_column = "split"\n')
    check_whole(splits)
    files = {name: {number // 5 for number in numbers(split)} for name, split in splits.items()}
    assert files == {"train": {0, 1, 2}, "val": {3}, "test": {4, 5}}


@pytest.mark.parametrize(("rule", "each"), [('"middle"', [1, 1, 1, 1, 1]), ("2", [2, 2, 2, 1, 2])])
def test_the_frames_rule_holds_for_every_format(mixed: Path, rule: str, each: list[int]) -> None:
    splits = loaded(mixed, f"{FILES}[reader]\nframes = {rule}\n")
    seen = sum((numbers(split) for split in splits.values()), Counter())
    assert [seen[number] for number in range(5)] == each and sum(seen.values()) == 6 * sum(each)


@pytest.mark.parametrize("kind", ["dcm", "nii"])
def test_what_is_twice_as_wide_in_millimeters_is_so_in_the_square(tmp_path: Path, kind: str) -> None:
    lines = ["path,label"]
    for number in range(10):
        values = np.full((1, 20, 20), 255, np.uint8)
        name = f"{number}.{kind}"
        if kind == "dcm":
            write(tmp_path / name, values, PixelSpacing=[1.0, 2.0], PatientID=str(number))
        else:
            values[:, 0, number] = 0  # a window needs two values; equal images would be one group
            volume = nibabel.Nifti1Image(values.transpose(2, 1, 0), np.diag([2.0, 1.0, 5.0, 1.0]))
            nibabel.save(volume, tmp_path / name)
        lines.append(f"{name},{('healthy', 'ill')[number % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    image = to_uint8(loaded(tmp_path, FILES)["train"].images[0])
    assert (image[5:11, 1:15] > 200).all() and not image[:4].any() and not image[12:].any()
