"""Terms of the verdicts, explained once for the whole report."""

from ..analysis.report_input import ReportInput
from ..elements.format import NBSP


def how_to_read(results: ReportInput) -> tuple[str, ...]:
    """Return paragraphs that define difference, interval, the four verdicts and their neighbors."""
    margin = f"{results.margin:g}"
    return (
        "An init is what the weights start from: a pretraining, or random numbers (scratch). A protocol is "
        "how the network then meets the task: finetune trains all weights, linear and knn use frozen "
        "features. Labels are the share, or the number per class, of the training and validation labels.",
        "Each row compares two inits on the same test images and the same seeds. The difference is the test "
        "AUC of the first init minus that of the second, mean over seeds; above 0 favors the first. Its "
        f"95{NBSP}% interval covers only what the section Verdicts names above each table: seeds show the "
        "variance of what differs between them (Bouthillier et al. 2021), and trainings that share most of "
        "their images say little of other training sets (Nadeau and Bengio 2003).",
        "Better and worse: a true difference of 0 is rejected. Equivalent: a difference as large as the "
        f"margin, {margin} AUC, is rejected on both sides. Undecided: neither was shown, or a flag "
        "excludes the verdict (or the claim of equivalence); this is not the same as equal. Each kind of "
        f"claim is expected to be false in at most 5{NBSP}% of its calls over the tasks of one question "
        "(Benjamini and Hochberg): the same pair, protocol, network and share of labels, whose tasks also "
        "share what they show of the spread over seeds. P(better) is the probability that the true "
        "difference is above the margin; the note beside it is that of a difference within it. The interval "
        "is neither corrected nor one-sided, so it may exclude 0 for an undecided pair, and reach a little "
        "beyond the margin for an equivalent one.",
        "Detectable is the smallest true difference that this number of seeds and images would show with "
        f"80{NBSP}% probability. Seeds needed would show a difference as large as the present estimate; "
        "where no number of seeds would, even if the true difference were at the end of the interval, only "
        "more test images help.",
    )
