"""`predictions`: the score of every test image by init and seed, as one table that stays on this machine."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...core.errors import UserError
from ..analysis.influence_input import StoredPredictions, read_predictions
from ..analysis.load_report_input import load_report_input
from ..analysis.local_images import find_local_images
from ..analysis.report_input import LeaderboardRow, ReportInput
from .board import BoardRequest, choose_rows_shown
from .csv_table import label_fields, spreadsheet_safe

PREDICTION_COLUMNS = (
    "task", "arch", "protocol", "size", "input_size", "fraction", "shots", "split", "image", "file", "label",
    "patient",
)  # fmt: skip
"""Columns before the scores."""


def predictions_csv(folder: Path, wanted: BoardRequest) -> str:
    """Return a line per test image and setting, with a column per init, seed and class.

    `image` is the place among the test images, or among all images of a cross-validated task; `file` is
    known of the user's own files that are unchanged. `label` is a class, of several labels joined by "|".
    `patient` is a salted number, below -1 where the patient is not known. Scores are probabilities: of a
    binary task that of the second class, otherwise that of each class.

    Raises:
        UserError: the folder has no readable record, or no result that matches `wanted`.
    """
    results = choose_rows_shown(load_report_input([folder]), wanted)
    blocks: dict[object, list[LeaderboardRow]] = defaultdict(list)
    for row in results.rows:
        blocks[row.block].append(row)
    frames = [frame for rows in blocks.values() if (frame := _block_frame(results, rows)) is not None]
    if not frames:
        raise UserError(f"{folder} has no predictions that can be read: run the same command again.")
    table = pd.concat(frames, ignore_index=True)
    table.columns = [spreadsheet_safe(str(name)) for name in table.columns]
    return table.to_csv(index=False, lineterminator="\n")


def _block_frame(results: ReportInput, rows: Sequence[LeaderboardRow]) -> pd.DataFrame | None:
    """Return the lines of one task and setting; None where no predictions can be read."""
    facts, first = results.tasks.get(rows[0].task), None
    scores: dict[str, NDArray[np.float64]] = {}
    folds: dict[str, NDArray[np.int64]] = {}
    for row in rows:
        for seed, key in zip(row.seeds, row.keys, strict=True):
            stored = read_predictions(results.prediction_files(key))
            if stored is None or (first and stored.images != first.images):
                continue
            first = first or stored
            if stored.folds is not None:  # the same of all inits: they follow from the seed
                folds[f"fold of seed {seed}"] = stored.folds + 1
            classes = facts.classes if facts else tuple(map(str, range(stored.scores.shape[1])))
            name = f"{row.init} seed {seed}" + (f" ({row.variant})" if row.ambiguous else "")
            scores |= _score_columns(name, stored, classes, bool(facts and facts.kind == "binary"))
    if first is None:
        return None
    known = dict(zip(PREDICTION_COLUMNS, _image_columns(results, rows[0], first), strict=True))
    return pd.DataFrame({**known, **folds, **scores})


def _score_columns(
    name: str, stored: StoredPredictions, classes: Sequence[str], binary: bool
) -> dict[str, NDArray[np.float64]]:
    exact = stored.scores.astype(float)  # a shorter text would break ties
    if binary:
        return {name: exact[:, 1]}
    return {f"{name}: {label}": exact[:, place] for place, label in enumerate(classes)}


def _image_columns(
    results: ReportInput, row: LeaderboardRow, stored: StoredPredictions
) -> tuple[object, ...]:
    """Return the values of `PREDICTION_COLUMNS`, each one for all images or [n]."""
    facts = results.tasks.get(row.task)
    classes = facts.classes if facts else tuple(map(str, range(stored.scores.shape[1])))
    image = np.arange(len(stored.labels)) if stored.rows is None else stored.rows
    local = find_local_images(results, row)
    known = local is not None and local.files is not None and len(local.files) > int(image.max(initial=-1))
    files = pd.Series(
        local.files[image] if local and known and local.files is not None else [""] * len(image)
    )
    risky = files.str.lstrip().str.startswith(("=", "+", "-", "@"))
    return (
        spreadsheet_safe(row.task), row.arch, row.protocol, row.size, row.input_size,
        *label_fields(row.fraction).values(), "test", image, files.where(~risky, "'" + files),
        label_text(stored.labels, classes), "" if stored.groups is None else stored.groups,
    )  # fmt: skip


def label_text(labels: NDArray[np.generic], classes: Sequence[str]) -> NDArray[np.object_]:
    """Return the class of each image, [n]; labels [n, classes] of 0 and 1 are joined by "|"."""
    names = np.array([spreadsheet_safe(name) for name in classes], object)
    if labels.ndim == 1:
        return names[labels.astype(int)]
    text = np.full(len(labels), "", object)
    for place, name in enumerate(names):
        text = np.where(labels[:, place] == 1, np.where(text == "", "", text + "|") + name, text)
    return text
