"""`doctor --run`: two processes test a folder, and a folder that does not hold is refused."""

import os
from pathlib import Path

import msgspec
import pytest

from mednet_bench.core import shared_folder
from mednet_bench.core.errors import UserError
from mednet_bench.core.shared_folder import FolderFacts, file_system_type, probe_folder


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this machine's disk for one that other machines see."""
    monkeypatch.setattr(shared_folder, "file_system_type", lambda folder: "nfs4")


def test_a_folder_that_holds_may_be_shared_and_nothing_is_left_in_it(network: None, tmp_path: Path) -> None:
    facts = probe_folder(tmp_path / "run")
    assert facts.faults == () and facts.exclusive and facts.first_record and facts.renewed
    assert facts.verdict.startswith(f"Many nodes may share {tmp_path / 'run'}")
    assert abs(facts.clock_offset_seconds) < 60 and facts.free_gb > 0
    assert not list((tmp_path / "run").iterdir())


def test_a_disk_of_this_machine_is_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folder, "file_system_type", lambda folder: "ext4")
    verdict = probe_folder(tmp_path).verdict
    assert (
        verdict.startswith("Many nodes may not share") and "it is on a disk of this machine (ext4)" in verdict
    )


def test_creation_that_is_not_exclusive_and_times_that_are_not_set_are_found(
    network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(shared_folder.RACERS, "created", lambda path: True)  # in one of the two processes
    monkeypatch.setattr(os, "utime", lambda *arguments: None)
    monkeypatch.setattr(shared_folder, "server_time", lambda folder: 0.0)
    facts = probe_folder(tmp_path)
    assert not facts.exclusive and facts.first_record and not facts.renewed
    assert "two processes created the same file" in facts.faults[0] and len(facts.faults) == 2


def test_every_measured_fault_is_a_clause_of_the_verdict() -> None:
    facts = FolderFacts(
        folder="run", file_system="nfs4", exclusive=True, first_record=True, renewed=True,
        delay_seconds=0.0, clock_offset_seconds=900.0, free_gb=9.0, faults=(),
    )  # fmt: skip
    assert shared_folder._faults(facts) == [], "the clock of a client plays no part"
    for changes in ({"first_record": False}, {"delay_seconds": 31.0}, {"free_gb": 0.0}):
        assert len(shared_folder._faults(msgspec.structs.replace(facts, **changes))) == 1


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write .* choose another folder"):
        probe_folder(tmp_path / "file")


def test_the_type_of_a_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"23 22 0:40 / {tmp_path} rw shared:1 - xfs /dev/sdb1 rw\n"
        f"24 23 0:41 / {tmp_path} rw - nfs4 server:/home rw\n"
    )
    assert file_system_type(tmp_path / "run", tmp_path / "mountinfo") == "nfs4"
    assert file_system_type(Path("/nowhere"), tmp_path / "mountinfo") == "ext4"
    assert file_system_type(tmp_path, tmp_path / "none") == ""
