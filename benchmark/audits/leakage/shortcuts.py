"""Test whether features apart from an image's content predict its split or its label.

The features of each family are cut into ten bins by quantiles, plus one for unknown values, for a ridge
regression in five folds. Ridge fits many targets at once, so that all permutations of the target are fitted
on the same folds at little cost; they give the AUC of chance on these images.
"""

import warnings
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.linear_model import Ridge
from sklearn.model_selection import StratifiedKFold

from ....tasks.task import Split
from ....tasks.trait_tests import FEWEST_IMAGES, ClassAssociation, class_associations
from .outcome import ShortcutHint
from .shortcut_features import Figures, _Images, feature_families, file_traits, shared_columns

PERMUTATIONS = 199
FOLDS = 5
MOST_IMAGES = 4_000
"""Images that are examined; more would find weaker hints, which matter less."""
_SEED = 0
_AT_ONCE = 25
"""Permutations whose scores are ranked together; bounds the memory."""


def draw_rows(units: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.int64]]:
    """Draw one image of each unit, `MOST_IMAGES` at most; returns the rows of each split.

    `units` is the independent unit of each image: its group, or its digest where groups are unknown.
    """
    rng = np.random.default_rng(_SEED)
    drawn = {name: _one_of_each(mine, rng) for name, mine in units.items()}
    share = MOST_IMAGES / max(1, sum(map(len, drawn.values())))
    if share < 1:
        drawn = {name: np.sort(rng.permutation(rows)[: max(FEWEST_IMAGES, round(share * len(rows)))])
                 for name, rows in drawn.items()}  # fmt: skip
    return drawn


def shortcut_hints(
    splits: Mapping[str, Split], images: Mapping[str, _Images], drawn: Mapping[str, NDArray[np.int64]]
) -> Iterator[ShortcutHint]:
    """Test every family of features on the split and on the label.

    Args:
        splits: by name; the last, which is test, is predicted against the others.
        images: of each, [n, h, w(, 3)].
        drawn: rows of each that are independent.
    """
    shown = np.concatenate([images[name][rows] for name, rows in drawn.items()])
    place = np.repeat(np.arange(len(drawn)), [len(rows) for rows in drawn.values()])
    truth = _truth(splits, drawn)
    for name, figures in feature_families(splits, shown, drawn).items():
        yield _make_hint("split", name, figures, (place == len(drawn) - 1)[:, None])
        yield _make_hint("label", name, figures, truth)


def label_associations(
    splits: Mapping[str, Split], drawn: Mapping[str, NDArray[np.int64]]
) -> tuple[ClassAssociation, ...]:
    """Test each file property and subgroup column against the label, exactly: also where files are few."""
    traits = {**shared_columns(splits, drawn), **file_traits(splits, drawn)}
    return class_associations(traits, _truth(splits, drawn))


def _truth(splits: Mapping[str, Split], drawn: Mapping[str, NDArray[np.int64]]) -> NDArray[np.bool_]:
    """Return whether each drawn image is of each class, [n, classes]."""
    labels = np.concatenate([splits[name].labels[rows] for name, rows in drawn.items()])
    return labels > 0 if labels.ndim == 2 else labels[:, None] == np.unique(labels)


def _one_of_each(units: NDArray[np.generic], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the row of one image of each unit; images of one patient are not independent."""
    order = rng.permutation(len(units))
    return np.sort(order[np.unique(units[order], return_index=True)[1]])


def _make_hint(target: str, name: str, figures: Figures, truth: NDArray[np.bool_]) -> ShortcutHint:
    """Predict the columns of `truth` [n, classes] from `figures` [n, k]."""
    usable = (truth.sum(axis=0) >= FEWEST_IMAGES) & ((~truth).sum(axis=0) >= FEWEST_IMAGES)
    facts = {"target": target, "features": name, "images": len(truth)}
    if not usable.any():
        return ShortcutHint(**facts, reason=f"fewer than two sides with {FEWEST_IMAGES} images")
    if np.all((figures == figures[0]) | (np.isnan(figures) & np.isnan(figures[0]))):
        return ShortcutHint(**facts, reason="the same in all images")
    aucs = _permutation_aucs(figures, truth[:, usable])
    return ShortcutHint(
        **facts,
        auc=round(float(aucs[0]), 4),
        chance=round(float(aucs[1:].max()), 4),
        p=round(float((aucs >= aucs[0]).mean()), 4),
        permutations=PERMUTATIONS,
    )


def _permutation_aucs(figures: Figures, truth: NDArray[np.bool_]) -> Figures:
    """Return the macro AUC of the target, then of its permutations: [1 + PERMUTATIONS]."""
    rng = np.random.default_rng(_SEED)
    orders = [np.arange(len(truth)), *(rng.permutation(len(truth)) for _ in range(PERMUTATIONS))]
    total = np.zeros(len(orders))
    strata = truth[:, 0] if truth.shape[1] == 1 else truth.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about combinations of labels that are rarer than the folds
        folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=_SEED).split(figures, strata))
    for train, test in folds:
        coded, asked = _bin_features(figures[train], figures[test])
        for start in range(0, len(orders), _AT_ONCE):
            some = np.stack(orders[start : start + _AT_ONCE])
            wanted = truth[some[:, train]].transpose(1, 0, 2)  # [train, permutations, classes]
            scores = Ridge(1.0).fit(coded, wanted.reshape(len(train), -1)).predict(asked)
            total[start : start + len(some)] += _macro_auc(scores, truth[some[:, test]])
    return total / FOLDS


def _bin_features(known: Figures, asked: Figures) -> tuple[Figures, Figures]:
    """Encode both one-hot by bins: quantiles of `known`, and one for unknown values."""
    parts = [_bin_feature(one, other) for one, other in zip(known.T, asked.T, strict=True)]
    ours, theirs = zip(*parts, strict=True)
    return np.concatenate(ours, axis=1), np.concatenate(theirs, axis=1)


def _bin_feature(known: NDArray[np.float64], asked: NDArray[np.float64]) -> tuple[Figures, Figures]:
    finite = known[np.isfinite(known)]
    cuts = np.unique(np.quantile(finite, np.linspace(0.1, 0.9, 9))) if len(finite) else finite
    bins = len(cuts) + 1 + int(np.isnan(known).any() or np.isnan(asked).any())

    def encode(figure: NDArray[np.float64]) -> Figures:
        place = np.where(np.isnan(figure), len(cuts) + 1, np.searchsorted(cuts, figure, "left"))
        return (place[:, None] == np.arange(bins)).astype(float)

    return encode(known), encode(asked)


def _macro_auc(scores: Figures, truth: NDArray[np.bool_]) -> Figures:
    """Return the mean one-vs-rest AUC of each permutation: scores [n, p * c], truth [p, n, c]."""
    ranks = rankdata(scores, axis=0).reshape(len(scores), len(truth), -1).transpose(1, 0, 2)
    positive = truth.sum(axis=1)
    negative = truth.shape[1] - positive
    won = (ranks * truth).sum(axis=1) - positive * (positive + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = np.where(positive * negative > 0, won / (positive * negative), 0.5)
    return auc.mean(axis=1)
