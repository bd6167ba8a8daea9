"""Published runs: the verdicts of the run, without its paths and identifiers, whole or not at all."""

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic import Grid, write_run

from mednet_bench.benchmark.audits.contamination.outcome import (
    CONTAMINATION_FOLDER,
    ContaminationAudit,
    SearchResult,
    write_audit,
)
from mednet_bench.benchmark.audits.leakage.match_types import NearCopies, NearestCopy
from mednet_bench.benchmark.audits.leakage.outcome import (
    LEAKAGE_FOLDER,
    ImagePair,
    LeakageAudit,
    write_leakage,
)
from mednet_bench.benchmark.schema.plan import read_plan
from mednet_bench.benchmark.schema.records import Record, RecordStore
from mednet_bench.core.errors import UserError
from mednet_bench.core.files import sha256_file
from mednet_bench.reports.pages.build import build_report
from mednet_bench.reports.published import manifest, publish
from mednet_bench.reports.published.clean_records import refuse_paths

changed = msgspec.structs.replace
ONE = Grid(tasks=("breastmnist",), fractions=(1.0,), seeds=(0, 1))
FOLDED = replace(ONE, protocols=("linear",), inits=("imagenet", "scratch"), folds=4)
SECRETS = ("miller", "hospital", "scan_17", "node3", "731000")


def salted(groups: np.ndarray) -> np.ndarray:
    """Replace patients by numbers of no order; every tenth one is not known."""
    names = np.array([int(hashlib.md5(str(each).encode()).hexdigest()[:12], 16) for each in groups])
    return np.where(groups % 10 == 0, -2 - groups, names)


def change_records(folder: Path, change: Callable[[Record], Record], groups: Callable | None = None) -> None:
    """Write every record anew, with other groups in its predictions."""
    store = RecordStore(folder)
    for record in list(store.read_all()):
        arrays = store.read_predictions(record.key) if store.predictions_of(record.key).exists() else None
        if arrays and groups and "groups" in arrays:
            arrays["groups"] = groups(arrays["groups"])
        store.write(change(record), arrays)


def near_audit(images: int) -> LeakageAudit:
    """A leakage audit that shows pictures, with near copies of so many of 300 test images in train."""
    matches = tuple(
        NearestCopy(row=row, other=row, correlation=0.99, exact=False, conflict=False)
        for row in range(images)
    )
    near = NearCopies(split="test", against="train", checked=300, matches=matches, interval=(0.6, 0.7))
    picture = ImagePair(left=("test", 0), right=("train", 0), png="c2Nhbl8xNw", width=1, height=1)
    return LeakageAudit(
        task="breastmnist", size=28, data="sha256:breastmnist28", exact=(), near=(near,), shared=(),
        constant={}, blank={}, hints=(), pictures=(picture,), made="2026",
        images={"train": 546, "val": 78, "test": 300},
    )  # fmt: skip


def contamination() -> ContaminationAudit:
    found = SearchResult(
        corpus="mine", images=9, checked=300, blank=0, matched=(1, 2), by="pixels", interval=(0.5, 0.6)
    )
    return ContaminationAudit(
        init="imagenet", identity="imagenet:1", task="breastmnist", size=28, corpora=("mine",),
        declared="possible", evidence=("it was found in /home/miller/scan_17.png",), measured=found, made="2",
    )  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file by path; of archives those of every member, unpacked."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found[path.relative_to(folder).as_posix()] = path.read_bytes()
        if path.suffix == ".npz":
            with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
                found |= {f"{path.name}/{name}": archive.read(name) for name in archive.namelist()}
    return found


def verdicts(folders: list[Path], out: Path) -> bytes:
    build_report(folders, out)
    assert (out / "verdicts.csv").read_text().count("\n") > 1
    return (out / "verdicts.csv").read_bytes()


def plain(folder: Path) -> None:
    write_run(folder, replace(ONE, tasks=("breastmnist", "retinamnist"), fail=lambda cell: cell.seed == 1))


def with_patients(folder: Path) -> None:
    write_run(folder, FOLDED)
    change_records(folder, lambda record: record, salted)


def with_audits(folder: Path) -> None:
    write_run(folder, ONE)
    write_audit(folder / CONTAMINATION_FOLDER, contamination())
    write_leakage(folder / LEAKAGE_FOLDER, near_audit(200))


@pytest.mark.parametrize("write", [plain, with_patients, with_audits])
def test_the_verdicts_are_those_of_the_run(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "run")
    publish.publish_runs([tmp_path / "run"], tmp_path / "out")
    before = verdicts([tmp_path / "run"], tmp_path / "a")
    assert verdicts([tmp_path / "out"], tmp_path / "b") == before
    if write is with_patients:
        assert (tmp_path / "a" / "verdicts_by_patient.csv").read_bytes() == (
            tmp_path / "b" / "verdicts_by_patient.csv"
        ).read_bytes()


def test_several_runs_become_one_with_the_verdicts_of_both(tmp_path: Path) -> None:
    write_run(tmp_path / "a", ONE)
    write_run(tmp_path / "b", replace(ONE, seeds=(1, 2), tasks=("breastmnist", "retinamnist")))
    first = next(r for r in RecordStore(tmp_path / "a").read_all() if r.cell.seed == 1 and r.status == "ok")
    RecordStore(tmp_path / "a").write(changed(first, status="failed", error="no", finished="2027-01-01"))
    runs = [tmp_path / "a", tmp_path / "b"]
    publish.publish_runs(runs, tmp_path / "out")
    assert verdicts([tmp_path / "out"], tmp_path / "c") == verdicts(runs, tmp_path / "d")
    cells = {planned.key for run in runs for planned in read_plan(run).cells}
    assert {planned.key for planned in read_plan(tmp_path / "out").cells} == cells


def soil(folder: Path) -> None:
    """Put names of people, files and machines wherever a run may have them."""
    write_run(folder, replace(FOLDED, fail=lambda cell: cell.seed == 1 and cell.view.index == 0))
    notes = ("/home/miller/scans was read", "scan_17.png has no header", "kept epoch 3 of 10")

    def change(record: Record) -> Record:
        error = record.error and "FileNotFoundError: no file '/data/hospital/miller/scan_17.dcm' on node3"
        init = record.init and changed(record.init, label="file /home/miller/w.pth")
        return changed(record, notes=notes, error=error, undefined={"x": "see scan_17.dcm"}, init=init)

    change_records(folder, change, lambda groups: groups + 731000)
    store = RecordStore(folder)
    for record in list(store.read_all()):
        if record.status == "ok":
            arrays = store.read_predictions(record.key)
            many = len(arrays["labels"])
            more = {"column site": np.full(many, "hospital"), "scores, x": np.full(many, "scan_17.png")}
            more["ids"] = np.arange(many)
            store.write(record, {**arrays, **more})
    write_audit(folder / CONTAMINATION_FOLDER, contamination())
    write_leakage(folder / LEAKAGE_FOLDER, near_audit(3))
    plan = read_plan(folder)
    request = {
        "out": str(folder), "data_root": "/data/hospital", "task_file": ["/home/miller/a.toml"],
        "init_file": ["miller.py"], "config": "/home/miller/run.toml", "device": "node3", "seeds": [0, 1],
        "inits": ["imagenet=/home/miller/w.pth", "scratch"],
    }  # fmt: skip
    changed(plan, request=request).write(folder)
    for name in (
        "models/a.safetensors",
        "logs/a.txt",
        "locks/a.owner",
        "subsets/a.json",
        "report/report.html",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("miller on node3")


def test_no_byte_names_a_person_a_file_or_a_machine(tmp_path: Path) -> None:
    soil(tmp_path / "miller")
    assert all(any(secret.encode() in each for each in content(tmp_path / "miller").values())
               for secret in SECRETS if secret != "731000")  # fmt: skip
    publish.publish_runs([tmp_path / "miller"], tmp_path / "out")
    published = content(tmp_path / "out")
    for secret in (*SECRETS, "c2Nhbl8xNw", str(tmp_path)):
        wanted = (secret.encode(), "".join(f"{letter}\0\0\0" for letter in secret).encode())
        assert [name for name, each in published.items() if any(word in each for word in wanted)] == []
    folders = {name.partition("/")[0] for name in published if "/" in name and ".npz" not in name}
    assert folders == {"records", "contamination", "leakage"}
    arrays = {name.partition("/")[2] for name in published if ".npz/" in name and "/labels" not in name}
    assert arrays == {"scores.npy", "rows.npy", "groups.npy"}
    (kept,) = {record.notes[2] for record in RecordStore(tmp_path / "out").read_all()}
    assert kept == "kept epoch 3 of 10"
    assert read_plan(tmp_path / "out").request == {"seeds": [0, 1], "inits": ["imagenet", "scratch"]}
    failed = next(r for r in RecordStore(tmp_path / "out").read_all() if r.status == "failed")
    assert failed.error.startswith("FileNotFoundError: ")


def test_groups_are_numbered_and_stay_the_same_groups(tmp_path: Path) -> None:
    with_patients(tmp_path / "run")
    publish.publish_runs([tmp_path / "run"], tmp_path / "out")
    pairs = set()
    for record in RecordStore(tmp_path / "run").read_all():
        before, after = (
            RecordStore(tmp_path / name).read_predictions(record.key)["groups"] for name in ("run", "out")
        )
        pairs |= set(zip(before.tolist(), after.tolist(), strict=True))
    old, new = zip(*sorted(pairs), strict=True)
    assert len(set(old)) == len(set(new)) == len(pairs) == 150, "one number for each group, in all folds"
    assert [each for each in new if each >= 0] == list(range(135)), "the order stays"
    assert [each for each in new if each < 0] == list(range(-16, -1)), "not known stays not known"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("/home/x", True), ("in (/mnt/x)", True), ("C:\\Users\\x", True), ("~/x", True), ("\\\\srv\\x", True),
        ("file:///x", True), ("../x", True), ("and/or", False), ("https://a.org/b", False), ("zoo/x", False),
        ("1/2, or 1 / 2", False), ("~5/10", False), ("sha256:1a/2b", False), ("s3://x", False),
    ],
)  # fmt: skip
def test_a_path_is_told_from_other_slashes(text: str, refused: bool) -> None:
    if refused:
        with pytest.raises(UserError, match=r"Field 'a\.b' of it looks like a path"):
            refuse_paths("it", {"a": {"b": [text]}})
    else:
        refuse_paths("it", {"a": {"b": [text]}})


def test_a_path_in_a_fact_is_refused_with_its_field_and_nothing_is_written(tmp_path: Path) -> None:
    write_run(tmp_path / "run", ONE)

    def change(record: Record) -> Record:
        return changed(record, task=record.task and changed(record.task, citation="see /home/miller/a.bib"))

    change_records(tmp_path / "run", change)
    with pytest.raises(UserError, match=r"Field 'task\.citation' of record \w+") as caught:
        publish.publish_runs([tmp_path / "run"], tmp_path / "out")
    assert "miller" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_the_same_runs_give_the_same_bytes_and_publishing_again_changes_nothing(tmp_path: Path) -> None:
    with_audits(tmp_path / "run")
    for source, target in (("run", "a"), ("run", "b"), ("a", "c")):
        publish.publish_runs([tmp_path / source], tmp_path / target)
    assert content(tmp_path / "a") == content(tmp_path / "b") == content(tmp_path / "c")


def test_the_manifest_has_every_hash_and_says_what_is_unknown(tmp_path: Path) -> None:
    write_run(tmp_path / "run", replace(ONE, tasks=("breastmnist", "phantom-x", "ours")))
    publish.publish_runs([tmp_path / "run"], tmp_path / "out")
    found = manifest.check_published(tmp_path / "out")
    files = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    assert found.files == {
        name: sha256_file(path) for name, path in files.items() if name != "published.json"
    }
    tasks = {task.task: task for task in found.tasks}
    assert tasks["breastmnist"].license == "CC BY 4.0" and "BUSI" not in tasks["ours"].source
    assert [tasks[name].source for name in ("ours", "phantom-x")] == ["unknown", "drawn by mednet-bench"]
    assert tasks["breastmnist"].test_images == (300,) and "MedMNIST" in tasks["breastmnist"].source
    inits = {init.init: init for init in found.inits}
    assert inits["imagenet"].license == "unknown" and inits["imagenet"].corpora == {"imagenet-1k": "unknown"}
    assert inits["mednet"].source == "pretrained by the publisher of the records"


def test_a_foreign_folder_is_refused_and_an_older_publication_replaced(tmp_path: Path) -> None:
    write_run(tmp_path / "run", ONE)
    before = content(tmp_path / "run")
    for folder in (tmp_path / "run", tmp_path):
        with pytest.raises(UserError, match=r"exists and has no published\.json: name a new folder"):
            publish.publish_runs([tmp_path / "run"], folder)
    assert content(tmp_path / "run") == before
    publish.publish_runs([tmp_path / "run"], tmp_path / "out")
    write_run(tmp_path / "other", replace(ONE, seeds=(5,)))
    publish.publish_runs([tmp_path / "other"], tmp_path / "out")
    assert {record.cell.seed for record in RecordStore(tmp_path / "out").read_all()} == {0, 5}
    assert {path.name for path in tmp_path.iterdir()} == {"run", "other", "out"}


@pytest.mark.parametrize("older", [True, False])
def test_a_kill_half_way_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: bool
) -> None:
    write_run(tmp_path / "run", ONE)
    if older:
        publish.publish_runs([tmp_path / "run"], tmp_path / "out")
    before = content(tmp_path / "out")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publish, "hash_files", stop)  # after the records
    with pytest.raises(KeyboardInterrupt):
        publish.publish_runs([tmp_path / "run"], tmp_path / "out")
    assert content(tmp_path / "out") == before and (tmp_path / "out").exists() == older


def test_damaged_predictions_and_records_are_not_published(tmp_path: Path) -> None:
    write_run(tmp_path / "run", ONE)
    change_records(tmp_path / "run", lambda record: record)
    scored = [path.stem for path in sorted((tmp_path / "run" / "predictions").glob("*.npz"))]
    for path in (
        RecordStore(tmp_path / "run").predictions_of(scored[0]),
        RecordStore(tmp_path / "run").path(scored[1]),
    ):
        whole = path.read_bytes()
        path.write_bytes(whole[:-9])
        with pytest.raises(UserError, match=rf"{path.stem}\.json or its predictions are damaged"):
            publish.publish_runs([tmp_path / "run"], tmp_path / "out")
        path.write_bytes(whole)
    publish.publish_runs([tmp_path / "run"], tmp_path / "out")
