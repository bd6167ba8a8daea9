"""`idc:COLLECTION` of the NCI Imaging Data Commons: plan, and download after confirmation."""

import difflib
import importlib
import importlib.util
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pandas as pd

from ....core.errors import UserError, clean, unknown_name_error
from ....core.files import write_bytes
from ....tasks.databases.tables import collection_databases, idc_collections
from ....tasks.task import DataLocations
from ..source import SOURCES, SourceCard, SourceKind
from .dicom import DicomSource, open_dicom

if TYPE_CHECKING:
    import pandas as pd

IDC_MODALITIES = {
    "CR": "x-ray", "DX": "x-ray", "RF": "x-ray", "XA": "x-ray", "MG": "mammography", "CT": "ct", "MR": "mri",
    "PT": "pet", "NM": "nuclear medicine", "US": "ultrasound", "SM": "histopathology", "XC": "photograph",
    "OP": "fundus", "ES": "endoscopy",
}  # fmt: skip
"""DICOM modalities that are images; reports and segmentations of a collection do not count."""
COLOR_MODALITIES = {"SM", "XC", "OP", "ES"}
IDC_COLUMNS = ("SeriesInstanceUID", "PatientID", "Modality", "BodyPartExamined", "instanceCount")
IDC_LABELS = ("BodyPartExamined", "Modality")
SLICES = 16
"""Slices per series: neighbors look alike, and there are thousands of series."""
DONE = ".downloaded"
"""File in the folder of a collection that marks a complete download."""


@dataclass(frozen=True)
class CollectionPlan:
    """Content of a collection.

    Attributes:
        lines: one sentence for each modality.
        gigabytes: size of the download.
        modality: the DICOM modality of most images.
        label: the header field with two or more values, "" if there is none.
    """

    collection: str
    lines: tuple[str, ...]
    gigabytes: float
    licenses: tuple[str, ...]
    modality: str
    label: str


def open_collection(name: str, places: DataLocations, agreed: bool) -> DicomSource:
    """Open a collection as a source whose labels are body parts, or else modalities.

    A missing collection is downloaded, after confirmation, to `idc/COLLECTION` in the data root.

    Args:
        places: data roots, and whether downloads are allowed.
        agreed: whether the user has already agreed to the download.

    Raises:
        UserError: idc-index is not installed, the collection does not exist, the download was not
            confirmed, or the collection has a single body part and modality, and so no labels.
    """
    plan = plan_of(name)
    folder = (places.roots[0] if places.roots else Path()) / "idc" / name
    if not (folder / DONE).exists():
        click.echo(clean(describe_collections(plan, folder)), err=True)
        _confirm_download(plan, folder, places.download, agreed)
        _download(name, folder)
    if not plan.label:
        raise UserError(
            f"All of idc:{name} has one body part and one modality, which teaches nothing: write a source "
            f"card of the kind dicom with path '{folder}' and the labels of a CSV (docs/build-a-mednet.md)."
        )
    database = collection_databases().get(name, "")
    card = SourceCard(
        name=name.replace("_", "-"),
        kind="dicom",
        path=str(folder.resolve()),
        variant="color" if plan.modality in COLOR_MODALITIES else "gray",
        modality=IDC_MODALITIES[plan.modality],
        license=", ".join(plan.licenses),
        source_group=database or name,
        database=database,
        labels_from=plan.label,
        slices_per_series=SLICES,
    )
    return open_dicom(card, Path())


def plan_of(name: str) -> CollectionPlan:
    """Summarize a collection from the index of idc-index, without any download.

    Raises:
        UserError: idc-index is not installed (with the catalog's numbers), or there is no such collection.
    """
    if importlib.util.find_spec("idc_index") is None:
        raise UserError(
            f"idc:{name} needs a package: pip install mednet-bench[idc]. {_catalog_summary(name)}"
        )
    index = _read_series(name)
    if index.empty:
        near = difflib.get_close_matches(name, {row.collection for row in idc_collections()}, n=5, cutoff=0.4)
        raise unknown_name_error("collection of the Imaging Data Commons", name, near)
    lines = []
    for modality, part in index.groupby("Modality", sort=True):
        kind = "" if modality in IDC_MODALITIES else ", which are no images"
        lines.append(
            f"{modality}: {len(part):,} series of {part['PatientID'].nunique():,} patients, "
            f"{int(part['instanceCount'].sum()):,} files, {part['series_size_MB'].sum() / 1000:.1f} GB{kind}"
        )
    images = index[index["Modality"].isin(list(IDC_MODALITIES))]
    if images.empty:
        raise UserError(f"idc:{name} holds no images but {', '.join(sorted(set(index['Modality'])))}.")
    return CollectionPlan(
        name,
        tuple(lines),
        float(index["series_size_MB"].sum()) / 1000,
        tuple(sorted(index["license_short_name"].dropna().unique())),
        str(images.groupby("Modality")["instanceCount"].sum().idxmax()),
        next((field for field in IDC_LABELS if len(set(_known_texts(images[field].tolist()))) > 1), ""),
    )


def _known_texts(values: list[object]) -> list[str]:
    """Return the values that are present; pandas writes a missing text as NaN."""
    return [value for value in values if isinstance(value, str)]


def describe_collections(plan: CollectionPlan, folder: Path) -> str:
    """Return the plan as text, with the command that downloads the collection."""
    return "\n".join(
        [
            f"idc:{plan.collection} ({', '.join(plan.licenses) or 'license not stated'})",
            *(f"  {line}" for line in plan.lines),
            f"  in all {plan.gigabytes:.1f} GB into {folder}, by",
            f"  {_download_command(plan.collection, folder)}",
        ]
    )


def _download_command(name: str, folder: Path) -> str:
    words = ("--collection-id", name, "--analysis-results", "exclude", "--download-dir", str(folder))
    return shlex.join(("idc", "download-from-selection", *words))


def _confirm_download(plan: CollectionPlan, folder: Path, allowed: bool, agreed: bool) -> None:
    """Ask for the download, unless agreed before; `UserError` if refused or not allowed."""
    if not allowed:
        raise UserError(f"idc:{plan.collection} is not in {folder}, and downloads are switched off.")
    if agreed or (
        sys.stdin.isatty() and click.confirm(f"Download {plan.gigabytes:.1f} GB?", default=False, err=True)
    ):
        return
    raise UserError(
        f"Nothing was downloaded of idc:{plan.collection}: repeat with --yes to download "
        f"{plan.gigabytes:.1f} GB."
    )


def _read_series(name: str) -> "pd.DataFrame":
    """Read the series of a collection, without analysis results that were derived from it."""
    data = importlib.import_module("idc_index_data")  # by name: the packages of the extra need not be there

    more = ["license_short_name", "series_size_MB", "analysis_result_id"]
    index = pd.read_parquet(
        data.IDC_INDEX_PARQUET_FILEPATH,
        columns=[*IDC_COLUMNS, *more],
        filters=[("collection_id", "==", name)],
    )
    return index.loc[index["analysis_result_id"].isna()]


def _download(name: str, folder: Path) -> None:
    """Download a collection by idc-index, which resumes an interrupted download."""
    folder.mkdir(parents=True, exist_ok=True)
    importlib.import_module("idc_index").IDCClient().download_from_selection(
        downloadDir=str(folder), collection_id=name, analysis_results="exclude", use_s5cmd_sync=True
    )
    write_bytes(folder / DONE, b"")


def _catalog_summary(name: str) -> str:
    """Return a sentence on the collection from the catalog."""
    parts = [
        f"{row.modality}: {row.series:,} series of {row.patients:,} patients, {row.instances:,} files, "
        f"{row.gigabytes:,} GB, {row.license}"
        for row in idc_collections()
        if row.collection == name
    ]
    return f"The catalog says: {'; '.join(parts)}." if parts else "The catalog knows no such collection."


def _refuse_card(card: SourceCard, folder: Path) -> DicomSource:
    raise UserError(f"The card of '{card.name}': name the collection as idc:COLLECTION on the command line.")


SOURCES.add("idc", SourceKind(_refuse_card, named=open_collection))
