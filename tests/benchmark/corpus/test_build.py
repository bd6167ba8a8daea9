"""A corpus holds its sources' images: lossless, once, in order, without patient names."""

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from corpora import GRAY, SALT, card, folder, made, npz, picture, table
from PIL import Image

from mednet_bench.benchmark.corpus.corpus import read_corpus
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.images.perceptual_hash import perceptual_hash


def test_every_pixel_and_label_of_an_npz_comes_back(tmp_path: Path) -> None:
    built = made(tmp_path / "out", npz(tmp_path, "set", range(20)))
    rows = built.rows
    assert [row["key"] for row in rows] == [f"set-{n // 7:05d}{n % 7:06d}" for n in range(20)]
    for number, row in enumerate(rows):
        image = picture(number)
        assert np.array_equal(built.pixels(row), image)
        assert row["label"] == [number % 2]
        assert row["sha256"] == hashlib.sha256(b"32x32" + image.tobytes()).hexdigest()
        assert row["phash"] == perceptual_hash(image)
        assert (row["height"], row["width"]) == (32, 32)
    (facts,) = built.corpus.sources
    assert (facts.images, facts.groups, facts.splits, facts.kind) == (20, 2, ("train",), "binary")


def test_webdataset_reads_the_shards(tmp_path: Path) -> None:
    import webdataset

    built = made(tmp_path / "out", folder(tmp_path, "wards", range(9)))
    shards = [str(path) for path in sorted((built.folder / "shards").iterdir())]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == [row["key"] for row in built.rows]
    assert [sample["json"]["label"] for sample in samples] == [[0]] * 5 + [[1]] * 4
    assert np.array_equal(np.asarray(samples[5]["png"].convert("L")), picture(1))


@pytest.mark.parametrize(
    ("shape", "stored"), [((300, 100), (64, 21)), ((40, 64), (40, 64)), ((16, 20), (16, 20))]
)
def test_images_are_shrunk_to_the_side_and_never_enlarged(
    shape: tuple[int, int], stored: tuple[int, int], tmp_path: Path
) -> None:
    source = folder(tmp_path, "wards", range(2))
    image = np.tile(np.linspace(0, 255, shape[1]).astype(np.uint8), (shape[0], 1))
    Image.fromarray(image).save(tmp_path / "wards" / "benign" / "a.png")
    (row,) = (row for row in made(tmp_path / "out", source).rows if (row["height"], row["width"]) != (32, 32))
    assert (row["height"], row["width"]) == stored


def test_a_gray_corpus_has_one_channel_and_a_color_corpus_three(tmp_path: Path) -> None:
    for variant, shape in (("gray", (32, 32)), ("color", (32, 32, 3))):
        source = folder(tmp_path, f"w-{variant}", range(2), variant=variant)
        place = tmp_path / f"w-{variant}" / "benign" / "rgb.png"
        Image.fromarray(picture(50)).convert("RGB").save(place)  # gray that was saved as color
        built = made(tmp_path / variant, source, settings=replace(GRAY, variant=variant))
        assert {built.pixels(row).shape for row in built.rows} == {shape}
        gray = picture(50) if variant == "gray" else np.repeat(picture(50)[..., None], 3, axis=2)
        assert any(np.array_equal(built.pixels(row), gray) for row in built.rows)


def test_the_first_source_keeps_what_several_hold(tmp_path: Path) -> None:
    first, second = folder(tmp_path, "zebra", range(20)), folder(tmp_path, "apple", range(10, 30))
    built = made(tmp_path / "out", first, second)
    zebra, apple = built.corpus.sources
    assert (zebra.images, zebra.duplicates, apple.images, apple.duplicates) == (20, 0, 10, 10)
    assert len({row["sha256"] for row in built.rows}) == len(built.rows) == 30
    assert [row["key"] for row in built.rows] == sorted(row["key"] for row in built.rows)
    lines = built.lines("duplicates.csv")
    assert {(line["source"], line["of source"], line["labels"]) for line in lines} == {
        ("apple", "zebra", "agree")
    }
    names: list[str] = []
    for path in (built.folder / "shards").iterdir():
        with tarfile.open(path) as tar:
            names += tar.getnames()
    assert sorted(names) == sorted(f"{row['key']}.{end}" for row in built.rows for end in ("png", "json"))
    for row in built.rows:  # the offsets are those of the shards that were written anew
        assert hashlib.sha256(b"32x32" + built.pixels(row).tobytes()).hexdigest() == row["sha256"]


def test_equal_images_with_other_labels_are_reported(tmp_path: Path) -> None:
    source = folder(tmp_path, "wards", range(10))
    (tmp_path / "wards" / "malignant" / "copy.png").write_bytes(
        (tmp_path / "wards" / "benign" / "PATIENT0-004.png").read_bytes()
    )
    other = [
        ("path", "label"),
        ("wards/benign/PATIENT0-002.png", "cat"),
        ("wards/benign/PATIENT0-006.png", "dog"),
    ]
    built = made(tmp_path / "out", source, table(tmp_path, "pets", other, root="."))
    assert sorted(line["labels"] for line in built.lines("duplicates.csv")) == [
        "conflict", "not comparable", "not comparable",
    ]  # fmt: skip
    assert [facts.conflicts for facts in built.corpus.sources] == [1, 0]


def test_what_cannot_be_read_is_listed_and_counted(tmp_path: Path) -> None:
    source = folder(tmp_path, "wards", range(9))
    place = tmp_path / "wards" / "benign"
    whole = (place / "PATIENT0-000.png").read_bytes()
    (place / "cut.png").write_bytes(whole[: len(whole) // 2])
    (place / "empty.png").write_bytes(b"")
    (place / "notes.txt").write_text("not an image")
    Image.fromarray(picture(60)[:8]).save(place / "flat.png")
    built = made(tmp_path / "out", source)
    assert (built.corpus.images, built.corpus.sources[0].problems) == (9, 4)
    lines = built.lines("problems.csv")
    assert [line["file"].split("/")[1] for line in lines] == ["cut.png", "empty.png", "flat.png", "notes.txt"]
    assert all(len(line["reason"]) > 5 and str(tmp_path) not in line["reason"] for line in lines)


def test_no_patient_and_no_path_is_anywhere_in_the_corpus(tmp_path: Path) -> None:
    first = folder(tmp_path, "wards", range(20))
    rows = [("path", "label", "patient")]
    for number in range(20, 40):
        place = tmp_path / "SECRETWARD" / f"MUELLER{number}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(picture(number)).save(place)
        rows.append((f"SECRETWARD/MUELLER{number}.png", "ab"[number % 2], f"HANS{number // 4}"))
    built = made(tmp_path / "out", first, table(tmp_path, "clinic", rows))
    assert built.corpus.sources[1].groups == 5
    content = b"".join(path.read_bytes() for path in built.folder.rglob("*") if path.is_file())
    content += repr(built.rows).encode()  # parquet compresses
    for word in (b"PATIENT", b"SECRETWARD", b"MUELLER", b"HANS", str(tmp_path).encode(), SALT):
        assert word not in content


def test_groups_are_salted_and_no_two_sources_share_one(tmp_path: Path) -> None:
    cards = folder(tmp_path, "wards", range(20)), folder(tmp_path, "clinic", range(100, 120))
    Image.fromarray(picture(99)).save(tmp_path / "wards" / "benign" / "unknown.png")
    rows = made(tmp_path / "out", *cards).rows
    again = made(tmp_path / "again", *cards, settings=replace(GRAY, salt=bytes(32))).rows
    groups = {row["group"] for row in rows}
    assert len(groups) == 5  # two patients in each, and -1 for the image without one
    assert groups & {row["group"] for row in again} == {-1}
    assert sum(row["group"] == -1 for row in rows) == 1


def test_no_patient_gives_more_images_than_the_card_allows(tmp_path: Path) -> None:
    built = made(tmp_path / "out", folder(tmp_path, "wards", range(25), max_per_group=4))
    (facts,) = built.corpus.sources
    assert (facts.images, facts.capped, facts.groups) == (12, 13, 3)
    _, counts = np.unique([row["group"] for row in built.rows], return_counts=True)
    assert list(counts) == [4, 4, 4]


def test_a_shard_with_a_flipped_bit_is_found(tmp_path: Path) -> None:
    from mednet_bench.benchmark.corpus.check import check_corpus

    built = made(tmp_path / "out", folder(tmp_path, "wards", range(20)))
    assert check_corpus(built.folder) == []
    row = built.rows[3]
    path = built.folder / "shards" / row["shard"]
    content = bytearray(path.read_bytes())
    content[row["offset"] + row["size"] // 2] ^= 1
    path.write_bytes(content)
    (built.folder / "shards" / built.rows[-1]["shard"]).unlink()
    broken, gone = check_corpus(built.folder)
    assert row["key"] in broken
    assert built.rows[-1]["shard"] in gone


def test_a_finished_corpus_is_left_and_another_is_refused(tmp_path: Path) -> None:
    source = folder(tmp_path, "wards", range(9))
    built = made(tmp_path / "out", source)
    assert made(tmp_path / "out", source).corpus == built.corpus
    with pytest.raises(UserError, match="other sources or settings"):
        made(tmp_path / "out", source, settings=replace(GRAY, side=32))
    Image.fromarray(picture(70)).save(tmp_path / "wards" / "benign" / "later.png")
    with pytest.raises(UserError, match="other sources or settings"):
        made(tmp_path / "out", source)
    assert read_corpus(tmp_path / "out") == built.corpus


def test_a_source_of_the_other_variant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'wards' is gray"):
        made(tmp_path / "out", folder(tmp_path, "wards", range(2)), settings=replace(GRAY, variant="color"))


def test_the_json_beside_an_image_is_its_row(tmp_path: Path) -> None:
    built = made(tmp_path / "out", folder(tmp_path, "wards", range(3)))
    with tarfile.open(built.folder / "shards" / "wards-00000.tar") as tar:
        facts = [json.load(tar.extractfile(name)) for name in tar.getnames() if name.endswith(".json")]  # type: ignore[arg-type]
        images = [tar.extractfile(name).read() for name in tar.getnames() if name.endswith(".png")]  # type: ignore[union-attr]
    assert facts == [{key: row[key] for key in ("label", "source", "sha256")} for row in built.rows]
    assert [np.asarray(Image.open(io.BytesIO(image))).shape for image in images] == [(32, 32)] * 3


def test_a_card_of_another_kind_of_file_says_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no kind of source 'folders'; did you mean 'folder'"):
        made(tmp_path / "out", card(tmp_path / "wards.toml", kind="folders"))


def test_a_corpus_of_version_0_1_is_read_and_not_built_again(tmp_path: Path) -> None:
    source = npz(tmp_path, "set", range(20))
    before = made(tmp_path / "out", source).corpus
    described = tmp_path / "out" / "corpus.json"
    described.write_text(described.read_text().replace('"license"', '"licence"'))
    assert read_corpus(tmp_path / "out") == before
    assert made(tmp_path / "out", source).corpus == before
    assert '"licence"' in described.read_text()  # nothing was written
