"""Candidate images in a folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mednet_bench.core.errors import UserError
from mednet_bench.tasks.from_files.folders import (
    class_folders,
    classes_in,
    empty_folders,
    files_below,
    images_below,
)


def test_images_are_found_at_any_depth_and_what_lies_beside_them_is_not(tmp_path: Path) -> None:
    for name in (
        "a/1.png",
        "a/deep/IM0",
        "a/at 3\u202fPM.png",
        "a/.x.png",
        "a/.git/x.png",
        "b/DICOMDIR",
        "b/T.DB",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "link").symlink_to(tmp_path / "a")
    assert class_folders(tmp_path) == ("a", "b")
    assert list(images_below(tmp_path)) == ["a/1.png", "a/at 3\u202fPM.png", "a/deep/IM0"]
    assert list(files_below(tmp_path, "b")) == ["b/DICOMDIR", "b/T.DB", "b/link"]


@pytest.mark.parametrize("tool", ["__MACOSX", ".ipynb_checkpoints", "@eaDir", "$RECYCLE.BIN", "lost+found"])
def test_folders_of_tools_are_neither_classes_nor_images(tmp_path: Path, tool: str) -> None:
    for name in ("grade 10", "grade 9", "empty", tool, f"grade 9/{tool}"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ("x.txt" if name == "empty" else "x.png")).touch()
    assert classes_in(tmp_path) == ("grade 10", "grade 9") and empty_folders(tmp_path) == 1
    assert list(images_below(tmp_path)) == ["grade 10/x.png", "grade 9/x.png"]


def test_names_and_folders_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Cannot read the folder"):
        list(images_below(tmp_path, "gone"))
    (tmp_path / os.fsdecode(b"\xe4.png")).touch()
    with pytest.raises(UserError, match="rename it, in UTF-8"):
        list(images_below(tmp_path))


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("gone"), lambda path: path.symlink_to(path)]
)
def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "odd.png")
    with pytest.raises(UserError, match=r"holds 'odd\.png', a link to nothing or no file at all: remove it"):
        list(images_below(tmp_path))
