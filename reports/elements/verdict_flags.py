"""Flags of verdicts: meaning, number of comparisons, and every reason."""

from collections import Counter
from collections.abc import Sequence

from ..analysis.report_input import ReportInput
from ..analysis.verdicts import EXCLUDING, Verdict
from .format import format_percent, task_entry
from .section import Datum, Table, TableColumn, TableRow
from .verdict_format import flag_names, pair_name, pair_of

MEANINGS = {
    "test-in-train": "test images are also in train or val, equal in every pixel: `run --dedupe` drops them, "
    "`run --dedupe train` their copies",
    "mostly-in-train": "train or val contain more than half of the test images, near copies of them or "
    "their patients: not a test on new images",
    "groups-in-train": "test images are of patients or other groups that are also in train or val",
    "near-copies-in-train": "an audit found test images with an equal or near copy in train or val",
    "not-comparable": "the two inits differ in data, options, kind of device or test images",
    "no-evidence": "no AUC or predictions, too few test images, or none with an error: neither the "
    "difference nor its error can be judged",
    "phantom": "generated images: not evidence about real images",
    "contaminated": "the weights are declared, or were found, to have seen images of the task",
    "possibly-contaminated": "overlap is possible, or an audit found no more copies than look-alikes explain",
    "not-imagenet": "the weights called imagenet have seen other images too, or their data is not documented",
    "unpaired": "seeds that only one of the two inits has are left out",
    "single-seed": "one common seed: the variance between trainings is unknown",
    "identical-seeds": "every seed of an init gives the same result: other training sets are not covered",
    "fixed-models": "every seed gives the same result: the verdict is about these two trained models only",
    "uneven-seeds": "one training is far off, or one init spreads more than the other: false verdicts are "
    "more frequent than promised",
    "one-pretraining": "an init was pretrained once: the variance between pretrainings is unknown",
    "near-ceiling": "a score of .99 or more, whose errors are on very few images; equivalent at p < .001",
    "no-headroom": "both scores are so near to perfect that they cannot differ",
    "perfect": "a perfect score: check for a leak or a trivial task",
    "below-chance": "an AUC below chance, .5: check for inverted labels",
    "majority": "the accuracy of an init is not above that of predicting the most frequent class",
    "grid-edge": "an init chose a value at the edge of its grid: a wider grid might do better",
    "still-improving": "an init was best at its last validation: longer training might do better",
    "few-train": "a class has so few training images that chance decides",
    "few-test": "a class has so few test images that chance decides; never called equivalent",
    "few-groups": "the test images, or those of a class, are of so few patients, smears or lesions that "
    "chance decides; never called equivalent",
    "no-disagreement": "balanced accuracy: the two agree on all test images of a small class, whose error is "
    "then taken as 0; never called equivalent",
    "scratch-short": "better than random weights, but not shown to be when these are trained longer",
    "beats-longer-scratch": "better than random weights, also when these are trained longer",
    "labels-unused": "a training of less than one pass did not see all of its labels",
}
"""Flag -> meaning, the most serious first."""
FLAG_ROWS = 300
"""Reasons listed in the table; verdicts.json has all."""


def flag_summary(verdicts: Sequence[Verdict]) -> Table:
    """Count the comparisons with each flag."""
    touched = Counter(name for verdict in verdicts for name in flag_names(verdict))
    order = [*(name for name in MEANINGS if touched[name]), *sorted(set(touched) - set(MEANINGS))]
    rows: list[TableRow] = [
        (name, MEANINGS.get(name, ""), touched[name], "none given" if name in EXCLUDING else "given")
        for name in order
    ]
    columns = (
        TableColumn("Flag"),
        TableColumn("Meaning"),
        TableColumn("Comparisons", ",d", f"of {len(verdicts):,}"),
        TableColumn("Verdict"),
    )
    return Table(f"Flags: meaning and number of comparisons, of {len(verdicts):,}", columns, tuple(rows))


def flag_table(results: ReportInput, verdicts: Sequence[Verdict]) -> Table:
    """List every reason once per task, pair, protocol and fraction."""
    rows: dict[TableRow, None] = {}
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
    more = len(rows) > FLAG_ROWS
    cut = f" (the first {FLAG_ROWS} of {len(rows):,}; verdicts.json has all)" if more else ""
    return Table(f"Flags with their reasons{cut}", columns, tuple(list(rows)[:FLAG_ROWS]), folded=True)
