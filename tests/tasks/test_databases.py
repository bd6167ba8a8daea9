"""Rows of the catalog are consistent, and kinship follows from them."""

import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest

from mednet_bench.baselines.sources.mednet import is_independent
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.databases import kinship, plans, tables
from mednet_bench.tasks.databases.licenses import LicenseTerms, terms_of
from mednet_bench.tasks.task import TASKS

FOLDER = Path(tables.__file__).parent
DATABASES = tables.databases()
EVERYTHING = {**DATABASES, **tables.sets_without_row()}


def test_ids_are_unique_and_plain() -> None:
    rows = tables.read_csv_rows("sources.csv", tables.ImageDatabase)
    assert len(rows) == len(DATABASES) == 176
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]*", id) for id in DATABASES)
    assert not DATABASES.keys() & tables.sets_without_row().keys()


@pytest.mark.parametrize("row", DATABASES.values(), ids=DATABASES)
def test_a_row_holds_together(row: tables.ImageDatabase) -> None:
    counts = (row.images, row.volumes, row.patients)
    assert all(number is None or number > 0 for number in counts)
    assert row.name and row.home and row.evidence and row.license and row.group_key
    assert 1990 < row.year < 2030
    assert [id for id in (*row.parents, *row.overlaps) if id not in EVERYTHING] == []
    assert row.id not in (*row.parents, *row.overlaps)
    assert bool(row.parents) == (row.parents_evidence is not None)
    assert row.parents or row.kind != "derived"
    # who claims to share images with this one is claimed by it too
    assert [id for id in row.overlaps if id in DATABASES and row.id not in DATABASES[id].overlaps] == []
    if "(recalled" in row.license:
        assert row.license_evidence == "memory"
    if re.search(r"\bNC\b|non-commercial", row.license):
        assert LicenseTerms.NON_COMMERCIAL in row.terms
    if row.verification == "recalled":
        assert "memory" in row.count_evidence or "memory" in row.license_evidence


def test_no_set_is_made_from_itself() -> None:
    assert [id for id in DATABASES if id in kinship.ancestors(id)] == []


def test_every_link_names_what_is_known() -> None:
    assert len(tables.contamination_links()) == 93
    for link in tables.contamination_links():
        assert {link.downstream, link.corpus} <= DATABASES.keys()
        assert link.parent == "" or link.parent in DATABASES[link.downstream].parents


def test_aliases_lead_to_databases_and_hide_none() -> None:
    aliases = tables.read_mapping("aliases.csv")
    assert set(aliases.values()) <= EVERYTHING.keys()
    assert not aliases.keys() & EVERYTHING.keys()
    assert all(tables.normalize_name(word) == word for word in aliases)
    names = [tables.normalize_name(row.name) for row in DATABASES.values()]
    assert len(set(names)) == len(names)
    assert all(tables.canonical_id(row.name) == id for id, row in DATABASES.items())


def test_every_set_outside_is_named_by_somebody() -> None:
    named = {id for row in DATABASES.values() for id in row.parents}
    assert {id for id in tables.sets_without_row() if id.startswith("ext:")} == {
        i for i in named if i[:4] == "ext:"
    }


def test_compositions_are_of_known_databases_and_sum_to_what_is_published() -> None:
    core = {"gray": 0, "color": 0}
    for share in tables.composition_shares():
        row = DATABASES.get(share.id)
        assert row or plans.collections_of(share), share.id
        assert share.images > 0 and share.rule
        core[share.variant] += share.images if share.part == "core" else 0
        if row:
            assert row.variant == share.variant and row.access in ("open", "registration")
            assert row.modality == share.modality or row.images is None
            # terms of the source that the composition's own words hide would be a license laundered
            hidden = (
                terms_of(row.license)
                - terms_of(share.license)
                - {LicenseTerms.UNKNOWN, LicenseTerms.ATTRIBUTION}
            )
            assert not hidden or share.part == "extra", (share.id, hidden)
            assert (plans.RECALLED in share.license) <= (row.license_evidence == "memory"), share.id
    assert core == {"gray": 3_048_595, "color": 3_258_409}


def test_collections_are_listed_once_and_hold_series_and_images() -> None:
    rows = tables.idc_collections()
    assert len({(row.collection, row.modality) for row in rows}) == len(rows) == 348
    assert all(row.patients > 0 and 0 < row.studies <= row.series <= row.instances for row in rows)
    assert all(row.use == "ok" or row.use == "non-commercial" or row.reason for row in rows)
    assert all("NC" not in row.license for row in rows if row.use == "ok")
    assert set(tables.collection_databases()) <= {row.collection for row in rows}


def test_no_file_names_a_registry_of_packages_or_a_tool() -> None:
    for path in FOLDER.glob("*.csv"):
        text = path.read_text(encoding="utf-8").casefold()
        hosts = "kaggle|huggingface|hf.co|pypi|npmjs|anaconda|find_string|file id|/work"
        assert re.findall(hosts, text) == [], path.name


def test_graph_and_list_of_contaminations_agree() -> None:
    """Two records of the same facts: a link that only one of them knew would be an error in one of them."""
    for link in tables.contamination_links():
        found = kinship.provenance_overlap({link.downstream, link.parent} - {""}, [link.corpus])
        sure = link.evidence == "read" and link.relation != "overlaps"
        assert found.level == ("declared" if sure else "possible"), (link, found.reasons)


@pytest.mark.parametrize(
    ("task", "corpora", "level", "words"),
    [
        (["chestmnist"], ["NIH ChestX-ray14"], "declared", "chestmnist derives from nih-chestxray14 (read)"),
        (["nih-chestxray14"], ["mednist"], "declared", "mednist derives from nih-chestxray14"),
        (["kermany-cxr"], ["covid19-radiography-db"], "possible", "(recalled)"),
        (["nih-chestxray14"], ["covidx-cxr"], "possible", "which derives from nih-chestxray14 (recalled)"),
        (["ham10000"], ["isic_archive"], "possible", "said to"),
        (["ham10000"], ["isic2019"], "declared", "isic-2019 derives from ham10000"),
        (["lidc-idri"], ["idc:lidc_idri"], "declared", "images are of lidc-idri"),
        (["tcga-ut"], ["kather-tcga-msi"], "possible", "both derive from tcga-wsi"),
        (["busi"], ["radimagenet", "imagenet-1k"], "clean", ""),
        (["pneumoniamnist", "kermany-cxr"], ["mednist", "nih-chestxray14"], "clean", ""),
        (["cells"], ["Cells"], "declared", "images are of cells"),
    ],
)
def test_relations_have_levels_and_evidence(task, corpora, level, words) -> None:
    found = kinship.provenance_overlap(task, corpora)
    assert found.level == level
    assert words in " ".join(map(str, found.reasons))


def test_the_worst_reason_comes_first_and_the_unknown_is_said() -> None:
    found = kinship.provenance_overlap(["busi"], ["openus-308k", "our-hospital", "medimeta"])
    assert [(r.corpus, r.level) for r in found.reasons] == [
        ("medimeta", "declared"),
        ("openus-308k", "possible"),
    ]
    assert found.level == "declared" and found.unknown == ("our-hospital",)


def test_a_relation_is_the_same_from_both_sides() -> None:
    related = [id for id, row in DATABASES.items() if row.parents or row.overlaps]
    for one, other in combinations(related, 2):
        there, back = kinship.provenance_overlap([one], [other]), kinship.provenance_overlap([other], [one])
        assert there.level == back.level, (one, other)


def test_a_crawl_of_the_web_is_possible_for_every_public_set_and_for_no_private_one() -> None:
    crawls = [id for id in tables.sets_without_row() if id.startswith(tables.CRAWL)]
    assert len(crawls) > 10
    for crawl in crawls:
        for word in (crawl, crawl.removeprefix(tables.CRAWL)):  # a card may name it either way
            assert (
                kinship.provenance_overlap(["busi"], [word]).level
                == kinship.provenance_overlap([word], ["busi"]).level
                == "possible"
            )
            assert kinship.provenance_overlap(["our-hospital", "phantom-nodule"], [word]).level == "clean"
    assert kinship.provenance_overlap(["our-hospital"], [kinship.UNDECLARED]).level == "possible"
    assert kinship.provenance_overlap(["busi"], ["imagenet-1k", "sa-1b", "coco"]).level == "clean"


def test_every_parent_of_a_medmnist_task_is_in_the_catalog() -> None:
    sets = {name: task for name, task in TASKS.items() if task.family == "medmnist"}
    assert len(sets) == 12
    for name, task in sets.items():
        assert set(task.parents) == set(DATABASES[name].parents), name
        assert set(task.parents) <= DATABASES.keys()
        assert DATABASES[name].variant == task.variant
        assert all(tables.is_known(word) for word in task.origin), name


def test_a_task_tells_declared_from_possible() -> None:
    task = TASKS["breastmnist"]
    assert task.overlap(["sa-med2d-20m", "MedIMeta", "MedMNIST"]) == ("MedIMeta", "MedMNIST")
    assert task.contamination(["sa-med2d-20m"]).level == "possible"
    assert task.contamination(["radimagenet"]).level == "clean"
    # a set whose only word in common is the other's group
    assert TASKS["pathmnist"].contamination(["nct-crc"]).level == "declared"


def test_a_set_that_may_hold_the_targets_images_does_not_pretrain_for_it() -> None:
    target = TASKS["breastmnist"]

    def serves(*parents: str) -> bool:
        return is_independent(
            replace(TASKS["octmnist"], name="own", source_group="own", parents=parents), target
        )

    assert serves("kermany-oct") and serves("our-hospital")
    assert not serves("medimeta")  # declared
    assert not serves("our-hospital", "openus-308k")  # only remembered


def test_plans_reach_three_million_from_what_is_open() -> None:
    for variant in ("gray", "color"):
        open_only = plans.compose(variant, plans.CompositionRules())
        assert open_only.images >= plans.TARGET
        assert {plans.access_of(share) for share in open_only.shares} == {"open"}
        assert all(
            max(terms_of(share.license)) <= LicenseTerms.ATTRIBUTION or share.id == "scin"
            for share in open_only.shares
        )
        # nothing that a downstream task is made of goes in
        assert not {share.id for share in open_only.shares} & plans.held_out_ids()
        whole = {row.collection for share in open_only.shares for row in plans.collections_of(share)}
        names = {share.id for share in open_only.shares} | {tables.canonical_id(name) for name in whole}
        assert {
            name: plans.contaminated_tasks(name) for name in names if plans.contaminated_tasks(name)
        } == {}


def test_rules_let_in_what_they_name() -> None:
    def ids(*rules: bool) -> set[str]:
        return {share.id for share in plans.compose("gray", plans.CompositionRules(*rules)).shares}

    assert "mrkr" not in ids() and "mrkr" in ids(True) and "chexpert" not in ids(True)
    assert "chexpert" not in ids(False, True) and "chexpert" in ids(True, True)
    filled, full = (
        plans.compose("gray", plans.CompositionRules()),
        plans.compose("gray", plans.CompositionRules(True)),
    )
    assert any(share.part == "fill" for share in filled.shares)
    assert not any(share.part == "fill" for share in full.shares) and full.images == 3_048_595


def test_what_is_thin_or_missing_is_computed() -> None:
    def lacks(variant) -> dict[str, str]:
        made = plans.compose(variant, plans.CompositionRules())
        found = {row.name: row.lack(made.images) for row in plans.count_modalities(made)}
        assert sum(row.images for row in plans.count_modalities(made)) == made.images
        return {name: lack for name, lack in found.items() if lack}

    assert lacks("gray").keys() == {"pet", "ultrasound", "mammography", "oct"}
    assert lacks("color").keys() == {"clinical-photo", "dermoscopy", "fundus", "cytology"}
    assert lacks("gray")["oct"] == lacks("color")["dermoscopy"] == "missing"


def test_traps_name_terms_memory_and_disagreement() -> None:
    found = {share.id: " ".join(plans.license_traps(share)) for share in tables.composition_shares()}
    assert "share-alike" in found["mrkr"] and "no-derivatives" in found["airogs"]
    assert "license from memory" in found["galar"] and "non-commercial" in found["chexpert"]
    assert "conflict" in found["idc-pt"] and found["nlst"] == ""


def test_a_word_that_is_nearly_right_is_suggested() -> None:
    with pytest.raises(UserError, match="no database 'ham1000'; did you mean 'ham10000'"):
        tables.find_database("ham1000")
