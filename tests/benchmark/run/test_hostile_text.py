"""Control characters in cards, files and arguments reach neither terminal nor run files."""

import json
import os
import pty
import re
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from hostile import CONTROL, LINE, left
from processes import CommandLine, Ended

EVIL = CONTROL + LINE
FACTS = ("title", "modality", "source_group", "license", "citation")
CARD = {
    "name": "cells",
    "kind": "binary",
    "variant": "gray",
    "classes": [f"none{EVIL}", f"cell{EVIL}"],
    "parents": [EVIL],
    "caveats": [f"caveat{EVIL}"],
    "subgroups": ["scanner"],
    "path": f"cells{CONTROL}.npz",
    **{key: f"{key}{EVIL}" for key in FACTS},
}
FOLDER = f"folder {EVIL}".replace("/", "")
SMALL = ["--inits", "imagenet,scratch", "--protocols", "quick", "--fractions", "1.0", "--seeds", "0..1"]
SMALL += ["--input-size", "32", "--device", "cpu"]


def toml(content: dict[str, object]) -> str:
    """Write plain data as TOML, which escapes strings as JSON does."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in content.items())


def harmless(ended: Ended, code: int = 0) -> Ended:
    assert ended.returncode == code, ended.stderr
    assert (left(ended.stdout), left(ended.stderr)) == ([], [])
    return ended


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Card whose every free text is hostile, in a folder of such a name."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    rng, arrays = np.random.default_rng(0), {}
    for split, n in (("train", 40), ("val", 24), ("test", 24)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{split}_labels"] = np.arange(n) % 2
        arrays[f"{split}_scanner"] = np.where(np.arange(n) % 4 < 2, "old\x1b[31m\x07\x9b\u202e\n!", "new")
    np.savez(folder / str(CARD["path"]), **arrays)
    path = folder / f"card{EVIL}.toml"
    path.write_text(toml(CARD))
    return path


@pytest.mark.slow
def test_a_card_s_control_characters_reach_no_terminal_and_no_file(
    mednet_bench: CommandLine, card: Path, tmp_path: Path
):
    shown = harmless(mednet_bench("info", "cells", "--task-file", card)).stdout
    assert all(f"{key}\ufffd[31mred" in shown for key in FACTS) and "caveat\ufffd" in shown
    harmless(mednet_bench("ls", "--task-file", card))
    harmless(mednet_bench("validate", card, "--out", "sheets"))
    harmless(mednet_bench("audit", "leakage", card))
    asked = ["--tasks", "cells", "--task-file", card, *SMALL, "--out", FOLDER]
    harmless(mednet_bench("plan", *asked))
    harmless(mednet_bench("run", *asked))
    harmless(mednet_bench("leaderboard", FOLDER, "--format", "csv"))
    harmless(mednet_bench("compare", FOLDER, FOLDER))
    harmless(mednet_bench("regress", FOLDER, "--against", f"b{CONTROL}.json", "--update"))
    harmless(mednet_bench("regress", FOLDER, "--against", f"b{CONTROL}.json"))
    written = [f for f in (card.parent.parent / FOLDER / "report").rglob("*") if f.is_file()]
    assert len(written) > 10 and "subgroups.csv" in {file.name for file in written}
    found = {f.name: left(f.read_bytes().decode(), f.suffix not in (".html", ".svg")) for f in written}
    assert {name: what for name, what in found.items() if what} == {}


def test_no_sentence_of_an_error_steers_the_terminal(mednet_bench: CommandLine, card: Path, tmp_path: Path):
    wrong = tmp_path / f"wrong{EVIL}.toml"
    for content in (
        toml({**CARD, EVIL.strip(): 1}).replace(EVIL.strip(), "key", 1),
        toml({**CARD, "kind": EVIL}),
        f'name = "{CONTROL}"\n',
        toml(CARD) + json.dumps(f"key{EVIL}") + " = 1",
    ):
        wrong.write_text(content)
        ended = harmless(mednet_bench("info", "cells", "--task-file", wrong), 2)
        assert ended.stderr.count("\n") == 1
    for arguments in (
        [EVIL],
        ["info", EVIL],
        ["run", "--tasks", EVIL],
        ["run", "--tasks", "phantom", f"--{CONTROL}"],
        ["run", "--tasks", "phantom", "--inits", f"{EVIL}=nowhere{EVIL}.toml", "--out", "x"],
        ["run", "--tasks", "phantom", "--config", f"nowhere{EVIL}.toml"],
        ["report", f"nowhere{EVIL}"],
        ["inspect-weights", f"nowhere{EVIL}"],
        ["validate", f"nowhere{EVIL}"],
        ["task", "new", f"nowhere{EVIL}"],
    ):
        assert harmless(mednet_bench(*arguments), 2).stderr.startswith("mednet-bench: ")


def test_what_a_server_says_does_not_steer_the_terminal(mednet_bench: CommandLine):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                with connection:
                    if connection.recv(1 << 16):
                        reason = f"not {CONTROL}".encode().replace("\x85".encode(), b"\x85")
                        connection.sendall(b"HTTP/1.1 403 " + reason + b"\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        mirror, asked = f"http://127.0.0.1:{server.getsockname()[1]}", ("run", "--tasks", "breastmnist")
        ended = mednet_bench(*asked, "--out", "x", MEDNET_BENCH_MIRROR=mirror)
        assert "answers HTTP 403 (not \ufffd[31mred" in harmless(ended, 2).stderr
        ended = mednet_bench(*asked, "--out", "x", MEDNET_BENCH_MIRROR=f"{mirror}/{CONTROL}")
        assert "no address" in harmless(ended, 2).stderr
        server.shutdown(socket.SHUT_RDWR)


def test_a_configuration_that_names_code_cannot_hide_it(mednet_bench: CommandLine, tmp_path: Path):
    code, config = f"own{EVIL}.py", tmp_path / f"run{EVIL}.toml"
    (tmp_path / code).write_text("")
    config.write_text(toml({"init-file": [code]}))
    ended = harmless(mednet_bench("plan", "--tasks", "phantom", "--config", config), 2)
    assert "names the init file own\ufffd[31mred" in ended.stderr


def test_the_example_below_an_error_keeps_its_lines(mednet_bench: CommandLine):
    stderr = mednet_bench("run", "--tasks", "phantom", "--inits", "a=b.toml", "--out", "x").stderr
    assert 'for example:\nname = "my-mednet"\npath' in stderr


def test_what_fails_unforeseen_is_clean_in_its_log_and_on_the_screen(
    mednet_bench: CommandLine, tmp_path: Path
):
    (tmp_path / "failing.py").write_text(
        "from mednet_bench.baselines.init import INITS\n"
        f"INITS.register('failing')(lambda need: 1 / 0 if need else None)\nEVIL = {EVIL!r}\n"
        "@INITS.register('raising')\ndef raising(need):\n    raise KeyError(EVIL) from ValueError(EVIL)\n"
    )
    ended = mednet_bench(
        "run", "--tasks", "phantom-organ", "--init-file", "failing.py", "--inits", "raising", "--out", "run"
    )
    assert ended.returncode != 0 and "two" in ended.stderr
    assert (left(ended.stdout), left(ended.stderr)) == ([], [])


def test_folders_and_files_of_hostile_names_are_drafted_and_prepared(
    mednet_bench: CommandLine, tmp_path: Path
):
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in ("b", "m"):
        folder = tmp_path / "scans" / f"{label}{CONTROL}"
        folder.mkdir(parents=True)
        for number in range(20):
            image = Image.fromarray(rng.integers(0, 256, (28, 28), np.uint8))
            image.save(folder / f"{number}{EVIL.replace(':', '')}.png")
    harmless(mednet_bench("task", "new", "scans"))
    made = mednet_bench("validate", "scans/scans.toml", "--out", "sheets")
    assert (left(made.stdout), left(made.stderr)) == ([], [])
    (next((tmp_path / "scans").glob("b*")) / f"broken{EVIL}.png").write_bytes(b"no image")
    broken = mednet_bench("validate", "scans/scans.toml", "--out", "sheets")
    assert broken.returncode == 2 and (left(broken.stdout), left(broken.stderr)) == ([], [])


def test_the_live_line_of_a_terminal_is_clean() -> None:
    from rich.console import Console

    from mednet_bench.core.progress import live_line

    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as screen:
        console = Console(file=screen, force_terminal=True, highlight=False, width=400)
        with live_line(console, lambda: f"[1/2] pretrain {EVIL}", lambda: 0.5):
            pass
        screen.flush()
        shown = b""
        while b"\x1b[?25h" not in shown:  # the cursor comes back when the line is done
            shown += os.read(reader, 1 << 16)
    text = shown.decode()
    assert "pretrain \ufffd[31mred\ufffd]0;title\ufffd" in text
    assert not any(sign in text for sign in ("\x07", "\x1b[31m", "\x1b]", "\x9b", "\u202e"))


def test_text_leaves_at_few_places() -> None:
    """A module that prints must clean what it prints, and be listed here."""
    packages = ("core", "tasks", "baselines", "benchmark", "reports", "mednet_bench")
    files = [file for name in packages for file in (Path(__file__).parents[3] / name).rglob("*.py")]
    calls = re.compile(r"\bclick\.echo\(|(?<![\w.])print\(|\.print\(|sys\.std(?:out|err)\.write\(")
    found = {file.stem for file in files if calls.search(file.read_text())}
    allowed = ["main", "command", "messages", "idc", "worker", "progress", "options", "executor"]
    assert found == set(allowed)
