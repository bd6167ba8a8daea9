"""Scores of two CSV files, matched by id, seed and task; messages name lines and never an id."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError, one_line
from ...tasks.from_files.table import COUNT_AS_NOTHING, read_table
from ...tasks.from_files.table_rows import LABEL_SEPARATOR
from ..statistics.metric_influence import find_metric
from ..statistics.paired import MARGIN
from ..statistics.verdict_terms import DoubtFlag
from .judge_scores import check_classes
from .score_verdict import PairedScores

if TYPE_CHECKING:
    import pandas as pd

MOST_LISTED_ROWS = 20
"""Line numbers, or names, in one sentence."""
_KEY = ["task", "seed", "id"]


@dataclass(frozen=True)
class ScoreFileOptions:
    """How two files are read and compared.

    Attributes:
        groups: name of the column of groups; "" for `group`, where a file has it.
        metric: a name of `JUDGED_METRICS`.
        margin: of equivalence.
        show_ids: name unmatched ids in the error.
    """

    groups: str = ""
    metric: str = "auc"
    margin: float = MARGIN
    show_ids: bool = False


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Rows of one file.

    Attributes:
        path: of the file.
        frame: columns id, label, task, group (text), seed (a whole number) and line (of the file).
        scores: [rows, columns], finite.
        classes: names, in the order of the columns; () for the single column `score`.
        has: which of the columns task, seed and group are in the file.
    """

    path: Path
    frame: "pd.DataFrame"
    scores: NDArray[np.float64]
    classes: tuple[str, ...]
    has: frozenset[str]

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "ScoreTable":
        """Return the table of these rows, in their order."""
        return replace(self, frame=self.frame[rows] if rows.dtype == bool else self.frame.iloc[rows],
                       scores=self.scores[rows])  # fmt: skip

    def refuse(self, wrong: NDArray[np.bool_], what: str, cure: str) -> None:
        """Raise an error that names the lines of the `wrong` rows, if there are any."""
        if wrong.any():
            lines = self.lines(wrong)
            raise UserError(f"{self.path}, {lines}: {what} ({wrong.sum():,} of {len(wrong):,} rows): {cure}.")

    def lines(self, chosen: NDArray[np.bool_]) -> str:
        """Write the line numbers of the chosen rows, e.g. "lines 3, 7"."""
        numbers = sorted(self.frame["line"].to_numpy()[chosen].tolist())
        return f"line{'s' * (len(numbers) > 1)} {_join(numbers)}"


def read_score_files(path_a: Path, path_b: Path, options: ScoreFileOptions) -> dict[str, PairedScores]:
    """Read two CSV files and pair their rows.

    Returns:
        Task -> its scores; the task is "" where the files have no such column.

    Raises:
        UserError: a file is no such table, a cell is wrong, or the two do not fit together.
    """
    metric = find_metric(options.metric)
    a, b, unpaired = _read_matching_tables(path_a, path_b, options)
    is_multilabel = any(
        each.frame["label"].str.contains(LABEL_SEPARATOR, regex=False).any() for each in (a, b)
    )
    kind = "multilabel" if is_multilabel else "binary" if len(a.classes) < 3 else "multiclass"
    if metric.needs_probabilities(kind):
        for each in (a, b):
            outside = np.any((each.scores < 0) | (each.scores > 1), axis=1)
            what = f"a score is outside of [0, 1], and {metric.title} needs probabilities"
            each.refuse(outside, what, "apply a sigmoid or softmax first")
    truth, other = (_read_truth(each, is_multilabel) for each in (a, b))
    _check_equal(a, b, (truth != other).any(axis=1), "Labels")
    pairs = {}
    for task, rows in a.frame.groupby("task").indices.items():
        name = str(task)
        pair = _pair_rows(a.take(rows), b.take(rows), truth[rows], kind)
        pair = replace(pair, metric=options.metric, margin=options.margin, flags=unpaired.get(name, ()))
        try:
            check_classes(pair, a.classes)
        except UserError as error:
            raise UserError(f"{a.path}{f', task {one_line(name)}' if name else ''}: {error}") from error
        pairs[name] = pair
    return pairs


def _read_matching_tables(
    path_a: Path, path_b: Path, options: ScoreFileOptions
) -> tuple[ScoreTable, ScoreTable, dict[str, tuple[DoubtFlag, ...]]]:
    """Return both tables with the same rows in the same order, and a flag per task that lost seeds.

    Both have the groups of the file that has them.
    """
    a, b = (_read_score_table(path, options.groups) for path in (path_a, path_b))
    if options.groups and "group" not in a.has | b.has:
        raise UserError(f"Neither file has the column '{options.groups}' of --groups: correct its name.")
    b = _order_classes(a, b)
    for name in ("task", "seed"):
        _check_both_have(name, a, b)
    _check_tasks(a, b)
    a, b, unpaired = _take_common_seeds(a, b)
    _check_ids(a, b, options.show_ids)
    a, b = (
        each.take(each.frame.reset_index(drop=True).sort_values(_KEY).index.to_numpy()) for each in (a, b)
    )
    if "group" in a.has & b.has:
        _check_equal(a, b, a.frame["group"].to_numpy() != b.frame["group"].to_numpy(), "Groups")
    elif "group" in b.has:
        a = replace(a, frame=a.frame.assign(group=b.frame["group"].to_numpy()), has=a.has | {"group"})
    return a, b, unpaired


def _pair_rows(a: ScoreTable, b: ScoreTable, truth: NDArray[np.bool_], kind: str) -> PairedScores:
    """Pair the rows of one task, sorted by seed and id."""
    seeds = a.frame["seed"].nunique()
    count = a.frame.groupby("id")["id"].transform("size").to_numpy()
    a.refuse(count < seeds, f"the id lacks one of the {seeds} seeds", "score every image with every seed")
    shape = (seeds, len(truth) // seeds)
    groups = a.frame["group"].to_numpy(dtype=object).reshape(shape)
    by_seed = truth.reshape(*shape, -1)  # [seeds, n, classes]
    changed = (by_seed != by_seed[0]).any(axis=(0, 2)) | (groups != groups[0]).any(axis=0)
    first = a.take(np.arange(shape[1]))
    first.refuse(changed, "the label or group of the id differs between seeds", "correct it")
    return PairedScores(
        kind,
        truth=by_seed[0],
        a=_with_both_classes(a.scores).reshape(*shape, -1),
        b=_with_both_classes(b.scores).reshape(*shape, -1),
        groups=np.unique(groups[0].astype(str), return_inverse=True)[1] if "group" in a.has else None,
    )


def _with_both_classes(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return scores [rows, classes]; a single column is that of class 1."""
    return np.hstack([1 - scores, scores]) if scores.shape[1] == 1 else scores


def _read_score_table(path: Path, groups: str) -> ScoreTable:
    import pandas as pd

    given = read_table(path)
    names, group = list(given.columns), groups or "group"
    for name in ("id", "label"):
        if name not in names:  # counted, not named: without a header they would be cells
            raise UserError(
                f"{path} has no column '{name}' among its {len(names)}: its first line must name id, label, "
                "and score or a score_CLASS per class."
            )
    columns = _score_columns(path, names)
    known = {"id", "label", "task", "seed", "group", group, *columns}
    if unknown := [one_line(name) for name in names if name not in known]:
        raise UserError(
            f"{path} has unknown columns ({_join(unknown)}): delete them, or name the column of groups with "
            "--groups."
        )
    has = {"task", "seed"} & {*names} | ({"group"} if group in names else set())
    frame = pd.DataFrame({name: given[name] for name in ("id", "label")})
    frame["task"] = given["task"] if "task" in has else ""
    frame["group"] = given[group] if "group" in has else ""
    frame["seed"] = pd.to_numeric(given["seed"], errors="coerce") if "seed" in has else 0
    frame["line"] = np.arange(2, len(given) + 2)  # the header is line 1
    scores = given[columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    classes = tuple(name.removeprefix("score_") for name in columns) if columns != ["score"] else ()
    table = ScoreTable(path, frame, scores, classes, frozenset(has))
    _check_cells(table)
    return table


def _score_columns(path: Path, names: list[str]) -> list[str]:
    columns = [name for name in names if name == "score" or name.startswith("score_")]
    if not columns:
        raise UserError(f"{path} has no column of scores: name it score, or one score_CLASS per class.")
    if "score" in columns and len(columns) > 1:
        raise UserError(f"{path} has the column score and {len(columns) - 1} score_CLASS: delete one kind.")
    if columns[0] != "score" and len(columns) == 1:
        raise UserError(f"{path} has scores of one class: name the column score, or add the other classes.")
    return columns


def _check_cells(table: ScoreTable) -> None:
    """Refuse empty ids and tasks, seeds and scores that are no numbers, and repeated rows."""
    frame = table.frame
    empty = (frame["id"] == "").to_numpy()
    table.refuse(empty, f"the id is empty; {COUNT_AS_NOTHING}", "fill it in, or delete the row")
    if "task" in table.has:
        table.refuse(
            (frame["task"] == "").to_numpy(), "the task is empty", "fill it in, or delete the column"
        )
    seeds = frame["seed"].to_numpy(dtype=np.float64)
    table.refuse(~(seeds % 1 == 0), "the seed is no whole number", "correct it, or delete the column")
    wrong = ~np.all(np.isfinite(table.scores), axis=1)
    table.refuse(wrong, "a score is empty, NaN, infinite or no number", "correct it, or delete the image")
    if "group" in table.has:
        cure = "give an image of unknown group one of its own"
        table.refuse((frame["group"] == "").to_numpy(), f"the group is empty; {COUNT_AS_NOTHING}", cure)
    again = frame.duplicated(_KEY, keep=False).to_numpy()
    cure = "keep one row of each, or add the column seed or task that tells them apart"
    table.refuse(again, "the same id more than once", cure)


def _order_classes(a: ScoreTable, b: ScoreTable) -> ScoreTable:
    """Return `b` with its classes in the order of `a`."""
    if {*a.classes} != {*b.classes}:
        raise UserError(
            f"{a.path} and {b.path} have other columns of scores ({_name_scores(a)}; {_name_scores(b)}): "
            "score the same classes in both."
        )
    if not a.classes:
        return b
    order = [b.classes.index(name) for name in a.classes]
    return replace(b, classes=a.classes, scores=b.scores[:, order])


def _name_scores(table: ScoreTable) -> str:
    return _join([one_line(f"score_{name}") for name in table.classes] or ["score"])


def _check_both_have(name: str, a: ScoreTable, b: ScoreTable) -> None:
    if name in a.has ^ b.has:
        having, lacking = (a, b) if name in a.has else (b, a)
        raise UserError(f"{having.path} has the column {name} and {lacking.path} not: add or delete it.")


def _check_tasks(a: ScoreTable, b: ScoreTable) -> None:
    tasks_a, tasks_b = ({*each.frame["task"]} for each in (a, b))
    for lacking, missing in ((b, tasks_a - tasks_b), (a, tasks_b - tasks_a)):
        if missing:
            names = _join([one_line(name) for name in sorted(missing)])
            raise UserError(
                f"{lacking.path} lacks the task {names} of the other file: add or delete its rows."
            )


def _take_common_seeds(
    a: ScoreTable, b: ScoreTable
) -> tuple[ScoreTable, ScoreTable, dict[str, tuple[DoubtFlag, ...]]]:
    """Return the rows whose seed both files have for the task, and a flag per task that lost seeds."""
    keep, flags = [np.zeros(len(each.frame), dtype=bool) for each in (a, b)], {}
    for task in sorted({*a.frame["task"]}):
        members = [(each.frame["task"] == task).to_numpy() for each in (a, b)]
        seeds = [{*each.frame["seed"][rows].astype(int)} for each, rows in zip((a, b), members, strict=True)]
        common = seeds[0] & seeds[1]
        if not common:
            where = f" of the task {one_line(task)}" if task else ""
            raise UserError(
                f"{a.path} has the seeds {_join(sorted(seeds[0]))}{where} and {b.path} "
                f"{_join(sorted(seeds[1]))}: compare trainings with the same seeds, or delete the column "
                "where there is one training of each."
            )
        for place, (each, rows) in enumerate(zip((a, b), members, strict=True)):
            keep[place] |= rows & each.frame["seed"].isin(common).to_numpy()
        if alone := sorted(seeds[0] ^ seeds[1]):
            reason = f"left out, since only one of the two has them: seeds {_join(alone)}"
            flags[task] = (DoubtFlag("unpaired", f"{reason}; used: seeds {_join(sorted(common))}"),)
    return a.take(keep[0]), b.take(keep[1]), flags


def _check_ids(a: ScoreTable, b: ScoreTable, show: bool) -> None:
    """Refuse rows without a partner; ids are named below the sentence only where `show` asks for it."""
    import pandas as pd

    keys = [pd.MultiIndex.from_arrays([each.frame[name] for name in _KEY]) for each in (a, b)]
    alone = [~own.isin(other) for own, other in (keys, reversed(keys))]
    if not any(each.any() for each in alone):
        return
    parts, ids = [], []
    for table, rows, other in ((a, alone[0], b), (b, alone[1], a)):
        if rows.any():
            own = list(dict.fromkeys(table.frame["id"].to_numpy()[rows].tolist()))
            count = f"{len(own):,} id{'s' * (len(own) > 1)} of {table.path} ({table.lines(rows)})"
            parts.append(f"{count} {'have' if len(own) > 1 else 'has'} no row in {other.path}")
            ids += [one_line(f"{table.path}: {each}") for each in own]
    hint = "" if show else "; --show-ids names them"
    raise UserError(
        f"{', and '.join(parts)}: score the same images with the same seeds in both{hint}.",
        "\n".join(ids) if show else "",
    )


def _check_equal(a: ScoreTable, b: ScoreTable, differ: NDArray[np.bool_], what: str) -> None:
    if count := int(differ.sum()):
        raise UserError(
            f"{what} differ in {count:,} row{'s' * (count > 1)} between {a.path} ({a.lines(differ)}) and "
            f"{b.path} ({b.lines(differ)}): correct them in one of the files."
        )


def _read_truth(table: ScoreTable, is_multilabel: bool) -> NDArray[np.bool_]:
    """Return booleans [rows, classes] from the labels."""
    labels = table.frame["label"]
    if not is_multilabel:
        cure = f"fill it in; classes of a multilabel task are separated by {LABEL_SEPARATOR}"
        table.refuse((labels == "").to_numpy(), f"the label is empty; {COUNT_AS_NOTHING}", cure)
    if not table.classes:
        known = labels.isin(["0", "1", "0.0", "1.0"]).to_numpy()
        cure = "write 1 for the positive class, or name a column score_CLASS per class"
        table.refuse(~known, "the label is not 0 or 1", cure)
        positive = labels.str.startswith("1").to_numpy()
        return np.stack([~positive, positive], axis=1)
    place = {name: at for at, name in enumerate(table.classes)}
    truth, wrong = np.zeros((len(labels), len(place)), dtype=bool), np.zeros(len(labels), dtype=bool)
    for row, label in enumerate(labels):
        words = [word.strip() for word in label.split(LABEL_SEPARATOR)] if is_multilabel else [label]
        known_words = [place[word] for word in words if word in place]
        truth[row, known_words] = True
        wrong[row] = len(known_words) < len([*filter(None, words)])
    names = _join([one_line(name) for name in table.classes])
    table.refuse(wrong, f"the label is none of the classes {names} of the score columns", "correct it")
    return truth


def _join(items: list[str] | list[int]) -> str:
    rest = f" and {len(items) - MOST_LISTED_ROWS:,} more" if len(items) > MOST_LISTED_ROWS else ""
    return ", ".join(map(str, items[:MOST_LISTED_ROWS])) + rest
