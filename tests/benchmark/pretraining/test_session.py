"""`mednet-bench pretrain`: resume, report differing options, exclude related sources."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from small_corpus import make_corpus
from small_training import start
from torch import Tensor

from mednet_bench.baselines.weights.checkpoint import CheckpointCard, read_checkpoint_card
from mednet_bench.benchmark.corpus.corpus import read_corpus, write_corpus
from mednet_bench.benchmark.pretraining.leave_out import related_sources
from mednet_bench.benchmark.pretraining.resume_check import read_stored_config
from mednet_bench.benchmark.pretraining.stopping import stop_on_signal
from mednet_bench.benchmark.pretraining.trainer import PretrainTrainer
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import StoppedError, UserError
from mednet_bench.tasks.catalog import catalog
from mednet_bench.tasks.task import DataLocations

ARCH = ("--arch", "test_efficientnet", "--input-size", "32", "--batch-size", "8", "--device", "cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder)
    return folder


def command(corpus: Path, out: Path, *more: str) -> list[str]:
    folders = ("--corpus", str(corpus), "--out", str(out))
    return ["pretrain", "--variant", "gray", *folders, *ARCH, "--workers", "0", *more]


def run(*arguments: str) -> None:
    cli.main([*arguments], standalone_mode=False)


def as_leader(arguments: list[str], stderr: Path) -> None:
    """Run a command as the leader of a process group, as a shell would."""
    os.setpgrp()
    sys.stderr = stderr.open("w", buffering=1)
    sys.argv = ["mednet-bench", *arguments]
    from mednet_bench.cli.main import main

    main()


@pytest.mark.slow
def test_a_signal_to_the_group_leaves_a_checkpoint_and_the_same_command_goes_on(
    corpus: Path, tmp_path: Path
) -> None:
    out, stderr = tmp_path / "out", tmp_path / "stderr"
    arguments = command(corpus, out, "--steps", "100000", "--checkpoint-every", "100000", "--workers", "1")
    (process,) = start(as_leader, arguments, stderr)
    assert process.pid is not None
    while not (stderr.exists() and "loss" in stderr.read_text()):  # the first reading
        assert process.is_alive(), stderr.read_text()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)  # the processes that decode hear it too
    process.join()
    assert process.exitcode == 1, stderr.read_text()
    assert "run the same command again to resume" in stderr.read_text()
    (kept,) = (out / "checkpoints").iterdir()
    with pytest.raises(StoppedError, match="Stopped after step") as stopped:
        run(*arguments, "--minutes", "0.0001", "--workers", "0")
    (later,) = sorted((out / "checkpoints").iterdir())[1:]
    assert int(kept.stem[5:]) < int(later.stem[5:]) and str(int(later.stem[5:])) in str(stopped.value)
    with pytest.raises(
        UserError, match=r"started with --steps 100000 and not 5; --lr 0.001 and not 0.01: pass"
    ):
        run(*arguments, "--steps", "5", "--lr", "0.01")
    with pytest.raises(UserError, match="started with --leave-out nothing and not bloodmnist"):
        run(*arguments, "--leave-out", "bloodmnist")


@pytest.mark.slow
def test_torchrun_restarts_a_killed_rank_and_the_weights_are_those_without_a_kill(
    corpus: Path, tmp_path: Path
) -> None:
    def start_ranks(out: Path) -> subprocess.Popen[bytes]:
        torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
        program = ["--no-python", sys.executable, "-c", "from mednet_bench.cli.main import main; main()"]
        arguments = command(corpus, out, "--steps", "200", "--checkpoint-every", "20")
        settings = os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # as in docs/build-a-mednet.md
        return subprocess.Popen([sys.executable, "-m", *torchrun, *program, *arguments], env=settings)

    with start_ranks(tmp_path / "whole") as ranks:
        assert ranks.wait() == 0
    with start_ranks(tmp_path / "killed") as ranks:
        while not list(tmp_path.glob("killed/checkpoints/[!.]*")):
            assert ranks.poll() is None
            time.sleep(0.01)
        children = Path(f"/proc/{ranks.pid}/task/{ranks.pid}/children").read_text().split()
        killed = next(
            int(pid) for pid in children if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes()
        )
        os.kill(killed, signal.SIGKILL)
        assert ranks.wait() == 0
    whole, again = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == again


def test_a_pretraining_that_another_process_has_taken_over_writes_nothing_more(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = PretrainTrainer.step

    def overtaken(self: PretrainTrainer, number: int, images: Iterator[Tensor]) -> None:
        step(self, number, images)
        if number == 6:
            (tmp_path / "out" / ".lock").write_text("of another process")

    monkeypatch.setattr(PretrainTrainer, "step", overtaken)
    with pytest.raises(StoppedError, match=r"Another process has taken over .*out.*run the same command"):
        run(*command(corpus, tmp_path / "out", "--steps", "20", "--checkpoint-every", "5"))
    (kept,) = (tmp_path / "out" / "checkpoints").iterdir()
    assert int(kept.stem[5:]) == 5 and not (tmp_path / "out" / "weights.safetensors").exists()


def test_what_is_finished_is_not_made_again(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(corpus, tmp_path, "--steps", "4", "--leave-out", "pneumoniamnist,bloodmnist")
    run(*arguments)
    made = (tmp_path / "card.toml").read_bytes()
    stored = read_stored_config(tmp_path)
    assert stored and stored.leave_out == ("bloodmnist", "pneumoniamnist") and "scans" in stored.sources
    capsys.readouterr()
    run(*arguments)
    assert "is finished: nothing to do" in capsys.readouterr().err
    assert (tmp_path / "card.toml").read_bytes() == made


def test_a_source_that_may_hold_images_of_a_task_is_not_read(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = catalog(DataLocations(medmnist_cache=Path("/nonexistent"), download=False))
    sources = read_corpus(corpus).sources
    found = related_sources(sources, [known["pathmnist"], known["dermamnist"]])
    assert set(found) == {"cells"} and "dermamnist" in found["cells"]  # its card names ham10000 as parent
    with pytest.raises(UserError, match="There is no task 'dermamnits'; did you mean 'dermamnist'"):
        run(*command(corpus, tmp_path, "--steps", "2", "--leave-out", "dermamnits"))
    run(*command(corpus, tmp_path, "--steps", "2", "--leave-out", "dermamnist"))
    assert "left out: cells, for dermamnist" in capsys.readouterr().err
    stored = read_stored_config(tmp_path)
    assert stored and stored.sources == ("findings", "scans")
    assert '"cells"' not in (tmp_path / "card.toml").read_text().partition("[training]")[0]


def test_only_objectives_that_need_no_labels_use_images_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "corpus"
    make_corpus(corpus, unlabeled=True)
    found: dict[str, tuple[set[str], CheckpointCard, str]] = {}
    for objective in ("supervised", "simclr", "mixed"):
        out = tmp_path / objective
        run(*command(corpus, out, "--steps", "3", "--objective", objective))
        card = read_checkpoint_card(out / "card.toml")
        said = "not used, as they have no labels: scans" in capsys.readouterr().err
        assert said == (objective == "supervised")
        found[objective] = ({each.id for each in card.corpus}, card, (out / "MODEL_CARD.md").read_text())
        assert len(np.load(out / "hashes.npy")) == 40 * len(card.corpus)
        assert card.started_from == "scratch" and card.images_of == "gray"
    assert found["supervised"][0] == {"cells", "findings"}
    assert found["simclr"][0] == found["mixed"][0] == {"cells", "findings", "scans"}
    facts = {name: (card.objective, card.training["augmentation"]) for name, (_, card, _) in found.items()}
    assert facts == {
        "supervised": ("supervised", "standard"),
        "simclr": ("self-supervised SimCLR", "strong"),
        "mixed": ("supervised + self-supervised SimCLR", "strong"),
    }
    assert "scans" not in found["supervised"][1].corpora
    assert "trained without labels on" in found["simclr"][2] and "| no labels " in found["simclr"][2]
    assert "no hue" in found["mixed"][2] and "trained with labels" in found["mixed"][2]


def test_a_corpus_without_any_label_is_for_simclr(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    make_corpus(corpus, unlabeled=True)
    found = read_corpus(corpus)
    write_corpus(corpus, msgspec.structs.replace(found, sources=found.sources[2:]))
    with pytest.raises(UserError, match="has labels: pass --objective simclr"):
        run(*command(corpus, tmp_path / "out", "--steps", "2", "--objective", "mixed"))
    assert not (tmp_path / "out" / "settings.json").exists()


def test_a_request_that_cannot_be_carried_out_says_why(corpus: Path, tmp_path: Path) -> None:
    for more, reason in (
        (("--variant", "color"), "is a gray corpus: pass --variant gray"),
        (("--from", "mednet"), "it names no weights: pass scratch, imagenet, zoo/NAME or NAME=CARD.toml"),
        (("--objective", "simclrr"), "no objective 'simclrr'; did you mean 'simclr'"),
        (("--anchor", "0.1"), "--anchor and --layer-decay keep what the initial weights know: pass --from"),
        (("--accumulate", "5"), "8 images in 5 parts cannot be shared by 1 processes"),
        (
            ("--arch", "nonsense"),
            r"no architecture 'nonsense'; known: [\d,]+ others, such as \w+, \w+, \w+\.$",
        ),
        (("--out", str(corpus)), "--out is the corpus itself"),
    ):
        with pytest.raises(UserError, match=reason):
            run(*command(corpus, tmp_path, "--steps", "2", *more))
    assert not (tmp_path / "settings.json").exists()
    with pytest.raises(StoppedError, match=r"was not a number by step .* pass a smaller --lr"):
        run(*command(corpus, tmp_path, "--steps", "40", "--lr", "1e30"))


def test_a_second_interrupt_is_not_held_back() -> None:
    before = signal.getsignal(signal.SIGTERM)  # of another test's command line, perhaps
    with stop_on_signal() as asked:
        assert not asked()
        assert signal.getsignal(signal.SIGTERM) != before
        os.kill(os.getpid(), signal.SIGINT)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before
