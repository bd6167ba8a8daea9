"""The reasons to doubt a verdict: what each flag means, how many comparisons it touches, and where."""

from collections import Counter
from collections.abc import Sequence

from ..analysis.results import Results
from ..analysis.verdicts import EXCLUDING, Verdict
from .format import format_percent, task_entry
from .section import Datum, Table, TableColumn, TableEntry
from .verdict_format import flag_names, pair_name, pair_of

MEANINGS = {
    "test-in-train": "test images stand in train or val, equal in every pixel: `run --dedupe` drops them, "
    "`run --dedupe train` their copies",
    "mostly-in-train": "train or val hold more than half of the test images, near copies of them or their "
    "patients: no test of new images",
    "groups-in-train": "test images are of patients or other groups that also stand in train or val",
    "near-copies-in-train": "an audit found test images of which train or val hold a copy, or nearly one",
    "not-comparable": "the two inits did not meet the same data, options, device kind or test images",
    "no-evidence": "no predictions, too few test images or none with an error: nothing is known of the "
    "difference",
    "phantom": "generated images: not evidence about real images",
    "contaminated": "the weights are declared, or were found, to have seen images of the task",
    "possibly-contaminated": "a merely possible relation, or no more copies found than look-alikes explain",
    "not-imagenet": "the weights called imagenet have seen other images too, or nobody says which",
    "unpaired": "seeds that only one of the two inits has were left out",
    "single-seed": "one seed in common: how much trainings differ is unknown",
    "identical-seeds": "every seed of an init gives the same result: nothing is known of other training sets",
    "fixed-models": "every seed gives the same result: the verdict is about these two trained models only",
    "one-pretraining": "an init was pretrained once: what another pretraining would give is not known",
    "near-ceiling": "a score of .99 or more, whose errors rest on very few images; equivalent is never said",
    "no-headroom": "both are so near to a perfect score that they cannot differ",
    "perfect": "a perfect score: look for a leak, or for a task too easy",
    "below-chance": "an AUC below .5, that of chance: look for inverted labels",
    "majority": "the accuracy of an init is not above that of always giving the most frequent answer",
    "grid-edge": "an init chose from the edge of its grid: a wider grid might do better",
    "still-improving": "an init was best at its last validation: longer training might do better",
    "few-train": "a class has so few training images that chance decides",
    "few-test": "a class has so few test images that chance decides; equivalent is never said",
    "few-groups": "the test images come from so few patients, smears or lesions that chance decides; "
    "equivalent is never said",
}
"""Flag -> what it means, in the order of how much it weighs."""
FLAG_ROWS = 300
"""Reasons that are listed one by one; verdicts.json holds every one."""


def flag_summary(verdicts: Sequence[Verdict]) -> Table:
    """Count the comparisons that each flag touches."""
    touched = Counter(name for verdict in verdicts for name in flag_names(verdict))
    order = [*(name for name in MEANINGS if touched[name]), *sorted(set(touched) - set(MEANINGS))]
    rows: list[tuple[TableEntry, ...]] = [
        (name, MEANINGS.get(name, ""), touched[name], "none is given" if name in EXCLUDING else "stands")
        for name in order
    ]
    columns = (
        TableColumn("Flag"),
        TableColumn("Means"),
        TableColumn("Comparisons", ",d", f"of {len(verdicts):,}"),
        TableColumn("Verdict"),
    )
    return Table(
        f"Flags: what they mean, and how many of {len(verdicts):,} comparisons they touch",
        columns,
        tuple(rows),
    )


def flag_table(results: Results, verdicts: Sequence[Verdict]) -> Table:
    """List every reason once for each task, pair and fraction that it touches."""
    rows: dict[tuple[TableEntry, ...], None] = {}
    for verdict in verdicts:
        a, pair = verdict.a, pair_of(verdict)
        for flag in verdict.flags:
            entry = (
                task_entry(results, a.task),
                Datum(pair_name(pair), pair_name(pair), stands_for=pair),
                a.protocol,
                Datum(a.fraction, format_percent(a.fraction)),
                flag.name,
                flag.reason,
            )
            rows[entry] = None
    columns = (
        TableColumn("Task", facet="task"),
        TableColumn("Pair", facet="init"),
        TableColumn("Protocol", facet="protocol"),
        TableColumn("Labels", "g", facet="fraction"),
        TableColumn("Flag"),
        TableColumn("Reason"),
    )
    cut = (
        f" (the first {FLAG_ROWS} of {len(rows):,}; verdicts.json holds all)" if len(rows) > FLAG_ROWS else ""
    )
    return Table(f"Every flag with its reason{cut}", columns, tuple(list(rows)[:FLAG_ROWS]), folded=True)
