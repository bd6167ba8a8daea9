"""Records, plans, predictions and audits without paths, file names and identifiers of patients."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...benchmark.audits.contamination.outcome import ContaminationAudit
from ...benchmark.audits.leakage.outcome import LeakageAudit
from ...benchmark.schema.plan import TRAINING, Plan
from ...benchmark.schema.records import PredictionArrays, Record
from ...benchmark.schema.request import COMPARED, RunConfig
from ...core.config_fields import config_fields
from ...core.errors import UserError, one_line

LEFT_OUT = "left out at publication"
_replace = msgspec.structs.replace
_PATH = re.compile(
    r"(?<![^\s\"'`(\[{<=,;:|])(?:/[\w.]|~([a-z]\w*)?/|\\\\\w|\.\.?[/\\])|(?<![a-z])[a-z]:[\\/](?!/)|file:/",
    re.I,
)
"""Start of an absolute path, or of one from the home or the working folder; no address of the web."""
_FILE = re.compile(
    r"\w\.(?:png|jpe?g|gif|bmp|webp|tiff?|svs|dcm|dicom|nii|nrrd|mh[ad]|np[yz]|csv|tsv|xlsx?|parquet|toml|json"
    r"|txt|zip|pth?|ckpt|safetensors)\b", re.I
)  # fmt: skip


def clean_record(record: Record) -> Record:
    """Return a record without messages of errors, and without notes that name a file.

    Raises:
        UserError: another text looks like a path.
    """
    kind, colon, _ = record.error.partition(": ")
    named = f"{kind}: " if colon and kind.isidentifier() else ""
    init = record.init and _replace(record.init, label=_without_path(record.init.label))
    cleaned = _replace(
        record,
        error=f"{named}message {LEFT_OUT}" if record.error else "",
        notes=tuple(map(_without_file, record.notes)),
        undefined={name: _without_file(reason) for name, reason in record.undefined.items()},
        init=init,
    )
    refuse_paths(f"record {record.key}", cleaned)
    return cleaned


def clean_plan(plan: Plan) -> Plan:
    """Return a plan whose request has what was compared and how it was trained; weights without files."""
    kept = {name for name, field in config_fields(RunConfig).items() if field.extra["group"] in SCIENCE}
    request = {name: value for name, value in plan.request.items() if name in kept}
    inits = request.get("inits")
    if isinstance(inits, (list, tuple)):
        request["inits"] = [str(init).partition("=")[0] for init in inits]
    cleaned = _replace(plan, request=request)
    refuse_paths("plan.json", cleaned)
    return cleaned


SCIENCE = (COMPARED, TRAINING)
"""Groups of the options that a published plan keeps."""


def clean_contamination(audit: ContaminationAudit) -> ContaminationAudit:
    """Return an audit whose evidence names no file."""
    cleaned = _replace(audit, evidence=tuple(map(_without_file, audit.evidence)))
    refuse_paths(f"contamination audit of {audit.init} on {audit.task}", cleaned)
    return cleaned


def clean_leakage(audit: LeakageAudit) -> LeakageAudit:
    """Return an audit without pictures of its images."""
    cleaned = _replace(audit, pictures=())
    refuse_paths(f"leakage audit of {audit.task}", cleaned)
    return cleaned


def clean_predictions(arrays: PredictionArrays, names: NDArray[Any] | None) -> PredictionArrays:
    """Return labels, scores, places in the pool, and groups by number; drop columns of attributes.

    Args:
        arrays: as stored.
        names: of every group of the task, unique and ascending; None where groups are not known.

    A group becomes its rank: order, and with it every sum over groups, stays; its name cannot be found again.
    As stored, numbers below -1 are of images whose patient is not known.
    """
    kept = {name for name in arrays if name in ("labels", "scores", "rows") or name.startswith("scores, ")}
    cleaned = {name: arrays[name] for name in sorted(kept) if arrays[name].dtype.kind in "biuf"}
    refuse_paths("predictions", [*cleaned])
    if names is not None and "groups" in arrays:
        unknown = int((names < 0).sum()) if names.dtype.kind in "if" else 0
        rank = np.searchsorted(names, arrays["groups"]) - unknown
        cleaned["groups"] = np.where(rank < 0, rank - 1, rank).astype(np.int64)
    return cleaned


def group_names(predictions: Iterable[tuple[Any, PredictionArrays]]) -> Mapping[Any, NDArray[Any]]:
    """Return the unique groups, ascending, of all (test set, predictions), by test set."""
    found: dict[Any, NDArray[Any]] = {}
    for test, arrays in predictions:
        if "groups" in arrays:
            before = [found[test]] if test in found else []
            found[test] = np.unique(np.concatenate([*before, arrays["groups"]]))
    return found


def refuse_paths(where: str, content: object) -> None:
    """Raise `UserError` that names the first field of `content` with a text that looks like a path."""
    for field, text in _texts(msgspec.to_builtins(content), ""):
        if _PATH.search(text):
            raise UserError(
                f"Field '{one_line(field)}' of {one_line(where)} looks like a path, which is not published: "
                "correct the card or option that it comes from, and run the cell again."
            )


def _texts(content: Any, field: str) -> Iterator[tuple[str, str]]:
    """Yield (field, text) for every text and key; the field of a key is that of its mapping."""
    if isinstance(content, str):
        yield field, content
    elif isinstance(content, dict):
        for key, value in content.items():
            yield field or "name", str(key)
            yield from _texts(value, f"{field}.{key}".lstrip(".") if not _PATH.search(str(key)) else field)
    elif isinstance(content, (list, tuple)):
        for item in content:
            yield from _texts(item, field)


def _without_path(text: str) -> str:
    return f"text {LEFT_OUT}" if _PATH.search(text) else text


def _without_file(text: str) -> str:
    return f"text {LEFT_OUT}" if _PATH.search(text) or _FILE.search(text) else text
