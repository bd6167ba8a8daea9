"""Notices for a report of several runs."""

import itertools
from collections import defaultdict
from pathlib import Path

from ..analysis.report_input import ReportInput, fold_keys
from .format import count_noun


def merged_notices(results: ReportInput) -> list[str]:
    """List the merged runs, their duplicate records, and runs without anything comparable."""
    if len(results.folders) < 2:
        return []
    places = results.places.values()
    sizes = {folder: sum(folder in of for of in places) for folder in results.folders}
    names = ", ".join(f"{folder} ({count_noun(size, 'record')})" for folder, size in sizes.items())
    notices = [
        f"{len(sizes)} runs were merged: {names}. Seeds are averaged, and inits compared, across runs with "
        "equal data, protocol version, recipe, kind of device and weights; Provenance shows the recipe of "
        f"{results.folders[-1]}."
    ]
    twice = sum(len(of) > 1 for of in places)
    if twice:
        other = len(results.differing)
        clash = f"; in {other} of them the scores differ, and the latest is used" if other else ""
        notices.append(
            f"{count_noun(twice, 'record')} {'is' if twice == 1 else 'are'} in more than one of these runs, "
            f"counted once{clash}."
        )
    separate = [str(folder) for folder in results.folders if not _is_comparable(results, folder)]
    if separate:
        notices.append(
            f"Nothing in {', '.join(separate)} can be compared with another of the runs: not the same task, "
            "sizes, architecture, protocol, fraction, data and recipe. Its rows are only listed."
        )
    return notices


def _is_comparable(results: ReportInput, folder: Path) -> bool:
    """Whether an average or a comparison uses this run together with another."""
    blocks: dict[object, set[Path]] = defaultdict(set)
    for row in results.rows:
        for key in itertools.chain.from_iterable(map(fold_keys, row.keys)):
            blocks[row.block].update(results.places[key])
    return any(folder in folders and len(folders) > 1 for folders in blocks.values())
