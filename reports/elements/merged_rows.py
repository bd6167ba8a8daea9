"""What must be said where a report is made of several runs."""

from collections import defaultdict
from pathlib import Path

from ..analysis.results import Results
from .format import count_noun


def merged_notices(results: Results) -> list[str]:
    """Say which runs were merged, what they hold twice, and which of them share nothing comparable."""
    if len(results.folders) < 2:
        return []
    sizes = {
        folder: sum(folder in places for places in results.places.values()) for folder in results.folders
    }
    names = ", ".join(f"{folder} ({count_noun(size, 'record')})" for folder, size in sizes.items())
    told = [
        f"{len(sizes)} runs were merged: {names}. Seeds are averaged, and inits compared, across runs where "
        "data, protocol version, recipe, kind of device and weights allow it; the recipe that Provenance "
        f"shows is that of {results.folders[-1]}."
    ]
    twice = sum(len(places) > 1 for places in results.places.values())
    if twice:
        other = len(results.differing)
        clash = (
            f"; in {other} of them the scores differ from run to run, and the latest holds" if other else ""
        )
        told.append(
            f"{count_noun(twice, 'record')} stand in more than one of these runs and count once{clash}."
        )
    lonely = [str(folder) for folder in results.folders if not _shares(results, folder)]
    if lonely:
        told.append(
            f"Nothing in {', '.join(lonely)} can be compared with another of these runs: not the same task, "
            "sizes, architecture, protocol, fraction, data and recipe. Its rows only stand beside the others."
        )
    return told


def _shares(results: Results, folder: Path) -> bool:
    """Whether an average or a comparison of the report joins this run with another one."""
    blocks: dict[object, set[Path]] = defaultdict(set)
    for row in results.rows:
        for key in row.keys:
            blocks[row.block].update(results.places[key])
    return any(folder in folders and len(folders) > 1 for folders in blocks.values())
