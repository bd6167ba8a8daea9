"""Results that a further seed of a frozen network repeats, taken from the run directory."""

from collections.abc import Sequence

import msgspec
import numpy as np

from ..schema.records import PredictionArrays, Record, RecordStore
from ..training.protocol import EvalContext

SAME_RESULT_NOTE = (
    "the seed changes nothing here: same labels and same weights as another seed, whose result is repeated"
)
RESULT_FIELDS = (
    "metrics",
    "undefined",
    "metric_facts",
    "per_class",
    "val_metrics",
    "thresholds",
    "beside",
    "curve",
    "similarity",
    "parameters",
    "passes",
)
"""Fields of a record that follow from the predictions and the training."""


def find_same_result(
    job: EvalContext, needs: Sequence[Record], store: RecordStore
) -> tuple[Record, PredictionArrays] | None:
    """Return record and predictions of another seed with this result, or None.

    Args:
        needs: the records that the cell needs; the planner adds that of the first seed where a seed only
            chooses labels and all are used. Another process may have computed it.
        store: of the run directory; damaged or absent predictions are not repeated.
    """
    for record in needs:
        same_cell = msgspec.structs.replace(record.cell, seed=job.cell.seed) == job.cell
        same_content = (record.hashes.subset, record.hashes.data) == (job.subset.digest, job.data.fingerprint)
        if not (record.status == "ok" and same_cell and same_content and store.has_predictions(record)):
            continue
        predictions = store.read_predictions(record.key)
        if np.array_equal(predictions["labels"], job.data.splits["test"].labels):
            return record, predictions
    return None


def repeat_result(record: Record, twin: Record) -> Record:
    """Return a record with the result of its twin, and the note that says so."""
    result = {name: getattr(twin, name) for name in RESULT_FIELDS}
    return msgspec.structs.replace(record, **result, notes=(SAME_RESULT_NOTE, *twin.notes))
