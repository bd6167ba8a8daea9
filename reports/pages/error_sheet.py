"""Contact sheets of the worst errors, of a user's own images only; no report contains them."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ...core.errors import UserError
from ...core.files import write_atomic
from ..analysis.influence_input import StoredPredictions, read_predictions
from ..analysis.load_report_input import load_report_input
from ..analysis.local_images import LocalImages, find_local_images
from ..analysis.report_input import LeaderboardRow, ReportInput
from ..statistics.influence import truth_of
from .board import BoardRequest, choose_rows_shown
from .predictions_csv import label_text

COLUMNS, ROWS, TILE, GAP, CAPTION = 8, 4, 128, 6, 30
"""Of a sheet: columns and rows of images, and pixels of an image, a gap and a caption."""


def write_error_sheets(run: Path, wanted: BoardRequest, folder: Path) -> tuple[list[Path], list[str]]:
    """Write a PNG per row (task, init, setting) with the images of the largest loss, mean over seeds.

    A caption has the image's place, as in the table of predictions, its label, and the mean probability of
    that label; never a file or a patient. Only rows with the largest share of the labels have a sheet.

    Returns:
        The files, and the tasks whose images are not the user's own, gone or changed.

    Raises:
        UserError: `folder` lies in a report, or there is no result that matches `wanted`.
    """
    if (run / "report").resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UserError(f"{folder} lies in a report, which may be published: name another folder.")
    results = choose_rows_shown(load_report_input([run]), wanted)
    largest = max((row.fraction for row in results.rows), default=0.0)
    written, without = [], dict[str, None]()
    for row in results.rows:
        if row.fraction == largest:
            path = folder / f"{_slug(row)}.png"
            if _write_sheet(results, row, path):
                written.append(path)
            else:
                without[row.task] = None
    return written, list(without)


def _slug(row: LeaderboardRow) -> str:
    parts = (row.task, row.init, row.protocol, row.arch, row.size, row.input_size, row.variant)
    return re.sub(r"[^a-z0-9]+", "-", "-".join(map(str, parts)).lower()).strip("-")


def _write_sheet(results: ReportInput, row: LeaderboardRow, path: Path) -> bool:
    stored = [read for key in row.keys if (read := read_predictions(results.prediction_files(key)))]
    facts, images = results.tasks.get(row.task), find_local_images(results, row)
    if not stored or facts is None or images is None:
        return False
    places = np.arange(len(stored[0].labels)) if stored[0].rows is None else stored[0].rows
    if len(images.rows) <= places.max(initial=-1):
        return False
    loss, right = mean_loss(stored)
    worst = np.argsort(-loss, kind="stable")[: COLUMNS * ROWS]
    names = label_text(stored[0].labels[worst], facts.classes)
    captions = [
        f"{places[at]}: {name or 'none'}\np {right[at]:.3f}" for at, name in zip(worst, names, strict=True)
    ]
    sheet = _draw(images, places[worst], captions)
    write_atomic(path, lambda file: sheet.save(file, "png"))
    return True


def mean_loss(stored: list[StoredPredictions]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the cross-entropy of each image, mean over seeds, and the mean probability of what is right.

    Of several labels both are means over labels.
    """
    truth = truth_of(stored[0].labels, stored[0].scores.shape[1])
    several = stored[0].labels.ndim == 2
    right = np.stack([_right(truth, each.scores.astype(float), several) for each in stored])
    loss = -np.log(np.clip(right, 1e-12, 1))
    return loss.mean(axis=(0, 2)), right.mean(axis=(0, 2))


def _right(truth: NDArray[np.bool_], scores: NDArray[np.float64], several: bool) -> NDArray[np.float64]:
    """Return the probability of what is right, [n, labels], or [n, 1] of a single label."""
    return np.where(truth, scores, 1 - scores) if several else scores[truth][:, None]


def _draw(images: LocalImages, places: NDArray[np.int64], captions: list[str]) -> Image.Image:
    rows = max(1, -(-len(places) // COLUMNS))
    size = (COLUMNS * (TILE + GAP) + GAP, rows * (TILE + CAPTION + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for (left, top), place, caption in zip(_corners(len(places)), places, captions, strict=True):
        sheet.paste(Image.fromarray(images.pixels(int(place))).resize((TILE, TILE)), (left, top))
        lines = "\n".join(line[:22] for line in caption.splitlines())
        draw.multiline_text((left, top + TILE + 1), lines, "black", font, spacing=1)
    return sheet


def _corners(count: int) -> Iterator[tuple[int, int]]:
    for at in range(count):
        down, right = divmod(at, COLUMNS)
        yield GAP + right * (TILE + GAP), GAP + down * (TILE + CAPTION + GAP)
