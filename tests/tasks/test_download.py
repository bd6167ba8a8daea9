"""Downloads against a real HTTP server on loopback that cuts, lies, refuses and forgets about ranges."""

import hashlib
import multiprocessing
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mednet_bench.benchmark.errors import UserError
from mednet_bench.benchmark.files import DiskFullError
from mednet_bench.tasks import download as module
from mednet_bench.tasks.catalog import fetch
from mednet_bench.tasks.download import OfflineError, Patience, download
from mednet_bench.tasks.task import TASKS, Places

CONTENT = bytes(range(256)) * 4096  # 1 MiB
MD5 = hashlib.md5(CONTENT).hexdigest()
QUICK = Patience(connect=60, read=60, tries=4, wait=0.01)


@dataclass
class Server:
    """What the server does, and what it was asked; each list of acts is used up from the front."""

    url: str = ""
    content: bytes = CONTENT
    ranges: bool = True
    """Whether it answers a Range with 206; else it sends everything."""
    cuts: list[int] = field(default_factory=list)
    """After how many bytes of the body it hangs up, request by request."""
    status: list[int] = field(default_factory=list)
    """Errors to answer with, request by request."""
    pause: float = 0.0
    requests: list[str] = field(default_factory=list)
    """The Range header of every request, or ""."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")  # a proxy of the machine does not see its loopback
    plan = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            plan.requests.append(wanted)
            if plan.status:
                self.send_error(plan.status.pop(0))
                return
            start = int(re.findall(r"\d+", wanted)[0]) if wanted and plan.ranges else 0
            if start >= len(plan.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(plan.content)}")
                self.end_headers()
                return
            body = plan.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(plan.content) - 1}/{len(plan.content)}"
                )
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            time.sleep(plan.pause)
            self.wfile.write(body[: plan.cuts.pop(0)] if plan.cuts else body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        plan.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield plan
        http.shutdown()


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_arrives_whole_and_the_progress_is_told(server, tmp_path):
    told: list[tuple[str, int, int]] = []
    path = download(
        f"{server.url}/a.npz", tmp_path / "new" / "a.npz", MD5, lambda *what: told.append(what), QUICK
    )
    assert path.read_bytes() == CONTENT and left_over(path.parent) == ["a.npz"]
    assert told[-1] == ("a.npz", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted({done for _, done, _ in told})


def test_a_cut_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.cuts = [300_000, 200_000]
    download(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert (tmp_path / "a.npz").read_bytes() == CONTENT
    assert server.requests == ["", "bytes=300000-", "bytes=500000-"]


def test_the_next_run_goes_on_too(server, tmp_path):
    server.cuts = [100_000] + [0] * 9
    with pytest.raises(UserError, match=r"failed 4 times .*goes on where it stopped"):
        download(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert left_over(tmp_path) == [f"a.npz.{MD5[:8]}.part"]
    server.cuts, server.requests = [], []
    download(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert server.requests == ["bytes=100000-"] and left_over(tmp_path) == ["a.npz"]


def test_a_server_that_ignores_ranges_starts_again(server, tmp_path):
    server.cuts, server.ranges = [300_000], False
    download(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert (tmp_path / "a.npz").read_bytes() == CONTENT


def test_a_part_of_something_else_is_thrown_away(server, tmp_path):
    (tmp_path / f"a.npz.{MD5[:8]}.part").write_bytes(b"x" * 1000)
    download(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert (tmp_path / "a.npz").read_bytes() == CONTENT
    (tmp_path / f"b.npz.{MD5[:8]}.part").write_bytes(b"x" * (len(CONTENT) + 1))
    download(f"{server.url}/b.npz", tmp_path / "b.npz", MD5, patience=QUICK)
    assert (tmp_path / "b.npz").read_bytes() == CONTENT


def test_a_part_that_only_lacked_its_name_is_not_fetched_again(server, tmp_path):
    """The run was killed between the last byte and the rename."""
    (tmp_path / f"a.npz.{MD5[:8]}.part").write_bytes(CONTENT)
    told: list[int] = []
    download(
        f"{server.url}/a.npz", tmp_path / "a.npz", MD5, lambda name, done, total: told.append(done), QUICK
    )
    assert (tmp_path / "a.npz").read_bytes() == CONTENT and not told


def test_wrong_bytes_never_get_the_name_of_the_file(server, tmp_path):
    server.content = b"<html>please log in</html>"
    with pytest.raises(UserError, match="serves another file than published"):
        download(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert left_over(tmp_path) == [] and len(server.requests) == 1


def test_a_missing_file_is_told_at_once(server, tmp_path):
    server.status = [404]
    with pytest.raises(UserError, match="HTTP 404"):
        download(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert len(server.requests) == 1


def test_a_server_in_trouble_is_asked_again(server, tmp_path):
    server.status = [500, 503]
    download(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert len(server.requests) == 3
    server.status = [500] * 9
    with pytest.raises(UserError, match=r"failed 4 times \(HTTP 500\)"):
        download(f"{server.url}/b.npz", tmp_path / "b.npz", MD5, patience=QUICK)


def test_a_silent_server_counts_as_cut(server, tmp_path):
    server.pause = 60  # nobody waits for it
    with pytest.raises(UserError, match=r"failed 1 times \(.*timed out"):
        download(
            f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=Patience(connect=2, read=0.2, tries=1)
        )


def test_without_a_network_nothing_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", pytest.fail)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can answer here
        with pytest.raises(OfflineError, match=r"Cannot reach 127\.0\.0\.1"):
            download(f"http://127.0.0.1:{free.getsockname()[1]}/a.npz", tmp_path / "a.npz", MD5)
    with pytest.raises(OfflineError, match=r"Cannot reach no-such-host\.invalid"):
        download("https://no-such-host.invalid/a.npz", tmp_path / "a.npz", MD5)
    # a resolver that never answers, and which no socket timeout reaches
    over = threading.Event()

    def never(*what: object, **how: object) -> None:
        over.wait()
        raise OSError

    monkeypatch.setattr(module.socket, "create_connection", never)
    with pytest.raises(OfflineError, match=r"no answer in 0\.2 s"):
        download("https://example.invalid/a.npz", tmp_path / "a.npz", MD5, patience=Patience(connect=0.2))
    over.set()


def test_a_full_disk_is_told_before_the_transfer(server, tmp_path, monkeypatch):
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=len(CONTENT) - 1))
    with pytest.raises(DiskFullError, match="free some space"):
        download(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)


def test_a_folder_that_cannot_be_is_one_sentence(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"):
        download(f"{server.url}/a.npz", tmp_path / "file" / "a.npz", MD5, patience=QUICK)


def _download_in_process(url: str, target: Path) -> None:
    download(url, target, MD5, patience=QUICK)


def test_two_processes_take_turns_and_fetch_once(server, tmp_path):
    server.pause = 0.3
    spawn = multiprocessing.get_context("spawn")
    both = [
        spawn.Process(target=_download_in_process, args=(f"{server.url}/a.npz", tmp_path / "a.npz"))
        for _ in range(2)
    ]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert (tmp_path / "a.npz").read_bytes() == CONTENT and len(server.requests) == 1


def test_a_mirror_serves_what_a_task_lacks(server, tmp_path, real):
    task = TASKS["breastmnist"]
    server.content = (real.roots[0] / "medmnist" / "breastmnist.npz").read_bytes()
    places = Places((), tmp_path / "cache", mirror=f"{server.url}/medmnist/")
    fetch([task], 28, places)
    assert (tmp_path / "cache" / "breastmnist.npz").read_bytes() == server.content
    fetch([task], 28, places)
    assert len(server.requests) == 1
    assert len(task.source.load(28, places)["test"]) == 156


def test_a_root_that_can_be_written_receives_the_download(server, tmp_path, real):
    server.content = (real.roots[0] / "medmnist" / "breastmnist.npz").read_bytes()
    (tmp_path / "root" / "medmnist").mkdir(parents=True)
    places = Places((tmp_path / "root",), tmp_path / "cache", mirror=server.url)
    TASKS["breastmnist"].source.load(28, places)  # loading fetches too
    assert (tmp_path / "root" / "medmnist" / "breastmnist.npz").is_file()


def test_what_is_missing_is_told_when_the_network_is(tmp_path):
    places = Places((tmp_path,), tmp_path / "cache", mirror="http://no-such-host.invalid")
    with pytest.raises(UserError) as caught:
        fetch([TASKS["bloodmnist"], TASKS["octmnist"]], 28, places)
    message = str(caught.value)
    assert message.startswith("Cannot reach no-such-host.invalid") and "--tasks phantom" in message
    assert "bloodmnist.npz (at most 40 MB), octmnist.npz (at most 86 MB)" in message
    assert f"put them into {tmp_path}" in message
