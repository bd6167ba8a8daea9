"""What the interval of a verdict covers, in words."""

FIXED = "for these two trained models"
"""Part of the estimand where there is one training of each."""
SHARED_FRACTION = 0.5
"""Two seeds share this part of their training images, on average, with this share of the labels."""
OWN, SHARED, NONE = "with their tuning", "with the tuning of one seed", ""
"""How hyper-parameters were chosen: by every seed, by one seed for all, or not at all."""


def describe_estimand(
    fraction: float,
    tuning: str,
    still: int = 0,
    grouped: bool = False,
    resampled: bool = False,
    cross_validated: bool = False,
) -> str:
    """Return what the interval covers beside the observed: test images, trainings, tuning, training images.

    Seeds estimate the variance of what differs between them, no more (Bouthillier et al. 2021). Trainings
    that share most of their images underestimate that of other training sets (Nadeau & Bengio 2003), also
    those of cross-validation, whose variance is corrected approximately, see `paired_difference`.

    Args:
        fraction: share of the labels.
        tuning: `OWN`, `SHARED` or `NONE`.
        still: number of inits, 0 to 2, whose seeds all give the same result.
        grouped: test images count as groups, such as patients.
        resampled: every seed trains on a resample of the training images.
        cross_validated: every seed is a repeat of a cross-validation.
    """
    images = "other groups of test images" if grouped else "other test images"
    if still == 2:
        return f"{images}, {FIXED}"
    trainings = " ".join(filter(None, ("other trainings", "of one init only" if still == 1 else "", tuning)))
    if cross_validated:
        return f"{images}, {trainings}, other partitions and, approximately, other training sets of this size"
    if resampled:
        return f"{images}, {trainings} and, approximately, other training images like these"
    if fraction >= SHARED_FRACTION:
        return f"{images}, {trainings}, for these training images"
    return f"{images}, {trainings}, other draws of the labels from this pool"
