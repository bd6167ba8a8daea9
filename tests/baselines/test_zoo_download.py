"""Downloads of checkpoints from two HTTP servers on loopback that behave as a model hub and its store."""

import hashlib
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from mednet_bench.baselines.zoo.card import ZooCard, find_zoo_card
from mednet_bench.baselines.zoo.files import (
    download_weights,
    expected_hash,
    fetch_weights,
    find_weights,
    unpacked,
)
from mednet_bench.cli.main import cli
from mednet_bench.core.errors import UserError
from mednet_bench.tasks.download import RetryPolicy
from mednet_bench.tasks.task import DataLocations

CONTENT = bytes(range(256)) * 2048  # 512 KiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = RetryPolicy(connect=60, read=60, tries=3, wait=0.01)
TOKEN = "hf_of_a_user"
OPEN, GATED = "radio-dino-s16", "uni"


@dataclass
class Hub:
    """What the two servers do, and what they were asked."""

    content: bytes = CONTENT
    etag: str = SHA256
    gated: bool = False
    moved: bool = False
    """Whether the repository has another name now: a relative redirect comes first."""
    cuts: list[int] = field(default_factory=list)
    """After how many bytes of a body the store hangs up, request by request."""
    store: str = ""
    asked: list[str] = field(default_factory=list)
    """Server, method, path and Range of every request."""
    tokens: list[tuple[str, str]] = field(default_factory=list)
    """Server and Authorization of every request."""


def handler_of(hub: Hub, server: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            wanted = self.headers.get("Range", "")
            hub.asked.append(f"{server} {self.command} {self.path} {wanted}".strip())
            hub.tokens.append((server, self.headers.get("Authorization", "")))
            if server == "store":
                self.send_content(wanted, body)
            elif hub.moved and not self.path.startswith("/new/"):
                self.redirect(307, re.sub(r"^/[^/]+/", "/new/", self.path))
            elif hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.send_response(401)
                self.send_header("X-Error-Code", "GatedRepo")
                self.end_headers()
            else:
                linked = {"X-Linked-Etag": f'"{hub.etag}"', "X-Linked-Size": str(len(CONTENT))}
                self.redirect(302, f"{hub.store}/blobs/1", linked if hub.etag else {})

        def redirect(self, code: int, to: str, headers: dict[str, str] | None = None) -> None:
            self.send_response(code)
            for name, value in {"Location": to, "Content-Length": "0", **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()

        def send_content(self, wanted: str, body: bool) -> None:
            start = int(re.findall(r"\d+", wanted)[0]) if wanted else 0
            total = len(hub.content)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.send_header("ETag", f'"{hashlib.md5(hub.content).hexdigest()}"')
            self.send_header("Content-Length", str(total - start))
            self.end_headers()
            if body:
                rest = hub.content[start:]
                self.wfile.write(rest[: hub.cuts.pop(0)] if hub.cuts else rest)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.delenv("MEDNET_BENCH_DATA", raising=False)
    plan = Hub()
    with ExitStack() as stack:
        urls = {}
        for server in ("store", "hub"):
            http = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler_of(plan, server)))
            threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(http.shutdown)
            urls[server] = f"http://127.0.0.1:{http.server_address[1]}"
        plan.store = urls["store"]
        monkeypatch.setenv("HF_ENDPOINT", urls["hub"])
        yield plan


def download(name: str) -> Path:
    return download_weights(find_zoo_card(name), DataLocations(), patience=QUICK)


def test_a_file_comes_through_redirects_and_is_verified_by_the_hash_of_the_hub(
    hub: Hub, tmp_path: Path
) -> None:
    file = download(OPEN)
    assert file == tmp_path / "cache" / "zoo" / OPEN / "model.safetensors" and file.read_bytes() == CONTENT
    path = "/Snarcy/RadioDino-s16/resolve/main/model.safetensors"
    assert hub.asked == [f"hub HEAD {path}", "store HEAD /blobs/1", f"hub GET {path}", "store GET /blobs/1"]
    assert expected_hash(find_zoo_card(OPEN), file) == SHA256
    hub.asked.clear()
    assert download(OPEN) == file and not hub.asked  # it is here


def test_an_interrupted_download_resumes_in_the_next_command(hub: Hub) -> None:
    hub.cuts = [100_000, 1_000, 1_000]
    with pytest.raises(UserError, match="failed 3 times"):
        download(OPEN)
    assert find_weights(find_zoo_card(OPEN), DataLocations()) is None
    hub.asked.clear()
    assert download(OPEN).read_bytes() == CONTENT
    assert hub.asked[-1] == "store GET /blobs/1 bytes=102000-"


def test_other_bytes_than_the_hub_states_are_refused(hub: Hub) -> None:
    hub.content = CONTENT[::-1]
    with pytest.raises(UserError, match=f"SHA-256 .* instead of {SHA256}"):
        download(OPEN)
    assert find_weights(find_zoo_card(OPEN), DataLocations()) is None


def test_a_gated_file_needs_a_token_that_no_other_server_sees(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.gated = hub.moved = True
    sentence = "zoo/uni is gated: accept its terms at .*/MahmoodLab/UNI, set HF_TOKEN"
    for token in ("", "hf_of_another"):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(UserError, match=sentence):
            download(GATED)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.tokens.clear()
    assert download(GATED).read_bytes() == CONTENT
    assert set(hub.tokens) == {
        ("hub", f"Bearer {TOKEN}"),
        ("store", ""),
    }  # kept on the redirect within the hub


def test_without_a_published_hash_that_of_the_first_download_is_kept(hub: Hub) -> None:
    hub.etag = ""
    hub.cuts = [100_000]
    file = download(OPEN)
    assert file.read_bytes() == CONTENT and expected_hash(find_zoo_card(OPEN), file) == SHA256


def test_pieces_of_two_versions_are_not_joined(hub: Hub) -> None:
    hub.etag = ""
    hub.cuts = [100_000, 1_000, 1_000]
    with pytest.raises(UserError):
        download(OPEN)
    hub.content = CONTENT[::-1]
    assert download(OPEN).read_bytes() == CONTENT[::-1]


def test_a_group_is_fetched_only_if_every_member_can_be(hub: Hub) -> None:
    with pytest.raises(UserError) as error:
        fetch_weights([OPEN, GATED, "benchx-mrm"], DataLocations(), lambda *done: None)
    assert "2 of 3" in str(error.value) and "zoo/uni is gated" in str(error.value)
    assert "zoo/benchx-mrm must be fetched by hand" in str(error.value) and not hub.asked
    with pytest.raises(UserError, match="run `mednet-bench download zoo/radio-dino-s16`"):
        fetch_weights([OPEN], DataLocations(download=False), lambda *done: None)


def test_the_command_downloads_and_says_where(hub: Hub) -> None:
    result = CliRunner().invoke(cli, ["download", f"zoo/{OPEN}"])
    assert result.exit_code == 0 and f"available: zoo/{OPEN} in " in result.output
    refused = CliRunner().invoke(cli, ["download", "zoo/no-such"])
    assert isinstance(refused.exception, UserError) and "group 'no-such'" in str(refused.exception)


def archive(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            (path.parent / "x").write_bytes(CONTENT)
            tar.add(path.parent / "x", name)
    return path


def test_the_only_weights_of_an_archive_are_unpacked(hub: Hub, tmp_path: Path) -> None:
    card: ZooCard = find_zoo_card("radiologynet-resnet50")
    one = archive(tmp_path / "one.tar.gz", ["../../ResNet50/readme.txt", "../../ResNet50/best.pth"])
    file = unpacked(one, card)
    assert file.read_bytes() == CONTENT and file.is_relative_to(tmp_path / "cache") and file.suffix == ".pth"
    with pytest.raises(UserError, match="2 files of weights instead of one"):
        unpacked(archive(tmp_path / "two.tar.gz", ["a.pth", "b.pth"]), card)
    damaged = tmp_path / "damaged.tar.gz"
    damaged.write_bytes(one.read_bytes()[:500])
    with pytest.raises(UserError, match="damaged archive"):
        unpacked(damaged, card)
