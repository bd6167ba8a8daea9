"""Downloads from a real HTTP server on loopback that cuts, lies, refuses and ignores ranges."""

import hashlib
import multiprocessing
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mednet_bench.core.errors import UserError
from mednet_bench.core.files import DiskFullError
from mednet_bench.tasks import download as module
from mednet_bench.tasks.catalog import fetch_tasks
from mednet_bench.tasks.download import OfflineError, RetryPolicy, download_file
from mednet_bench.tasks.task import TASKS, DataLocations

CONTENT = bytes(range(256)) * 4096  # 1 MiB
MD5 = hashlib.md5(CONTENT).hexdigest()
QUICK = RetryPolicy(connect=60, read=60, tries=4, wait=0.01)


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


Act = Callable[[socket.socket], object]


@contextmanager
def answering(act: Act) -> Iterator[str]:
    """A server that speaks no proper HTTP: after each request it does `act`; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection = listening.accept()[0]
                except OSError:
                    return
                with connection, suppress(OSError):
                    if connection.recv(1 << 16):  # the first connection only looks whether there is a server
                        act(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def sending(*parts: bytes, pause: float = 0.0) -> Act:
    def act(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)

    return act


def refused(url: str, folder: Path, most: int = 0, **patience: float) -> str:
    """The one sentence of a download that must fail."""
    with pytest.raises(UserError) as caught:
        limits = RetryPolicy(**{"connect": 2, "read": 5, "tries": 2, "wait": 0.01, **patience})
        download_file(f"{url}/a.npz", folder / "a.npz", MD5, patience=limits, most=most)
    assert "\n" not in str(caught.value) and not (folder / "a.npz").exists()
    return str(caught.value)


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_file_arrives_whole_and_the_progress_is_reported(server, tmp_path):
    reports: list[tuple[str, int, int]] = []
    path = download_file(
        f"{server.url}/a.npz", tmp_path / "new" / "a.npz", MD5, lambda *what: reports.append(what), QUICK
    )
    assert path.read_bytes() == CONTENT and left_over(path.parent) == ["a.npz"]
    assert reports[-1] == ("a.npz", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in reports] == sorted({done for _, done, _ in reports})


def test_a_cut_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.cuts = [300_000, 200_000]
    download_file(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert (tmp_path / "a.npz").read_bytes() == CONTENT
    assert server.requests == ["", "bytes=300000-", "bytes=500000-"]


def test_the_next_run_goes_on_too(server, tmp_path):
    server.cuts = [100_000] + [0] * 9
    with pytest.raises(UserError, match=r"failed 4 times .*resumes where it stopped"):
        download_file(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert left_over(tmp_path) == [f"a.npz.{MD5[:8]}.part"]
    server.cuts, server.requests = [], []
    download_file(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert server.requests == ["bytes=100000-"] and left_over(tmp_path) == ["a.npz"]


def test_a_server_that_ignores_ranges_starts_again(server, tmp_path):
    server.cuts, server.ranges = [300_000], False
    download_file(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert (tmp_path / "a.npz").read_bytes() == CONTENT


def test_a_part_of_something_else_is_thrown_away(server, tmp_path):
    (tmp_path / f"a.npz.{MD5[:8]}.part").write_bytes(b"x" * 1000)
    download_file(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert (tmp_path / "a.npz").read_bytes() == CONTENT
    (tmp_path / f"b.npz.{MD5[:8]}.part").write_bytes(b"x" * (len(CONTENT) + 1))
    download_file(f"{server.url}/b.npz", tmp_path / "b.npz", MD5, patience=QUICK)
    assert (tmp_path / "b.npz").read_bytes() == CONTENT
    (tmp_path / f"c.npz.{MD5[:8]}.part").write_bytes(b"x" * (len(CONTENT) + 1))
    download_file(f"{server.url}/c.npz", tmp_path / "c.npz", MD5, patience=QUICK, most=len(CONTENT))
    assert (tmp_path / "c.npz").read_bytes() == CONTENT


def test_a_part_that_only_lacked_its_name_is_not_fetched_again(server, tmp_path):
    """The run was killed between the last byte and the rename."""
    (tmp_path / f"a.npz.{MD5[:8]}.part").write_bytes(CONTENT)
    reports: list[int] = []
    download_file(
        f"{server.url}/a.npz", tmp_path / "a.npz", MD5, lambda name, done, total: reports.append(done), QUICK
    )
    assert (tmp_path / "a.npz").read_bytes() == CONTENT and not reports


def test_wrong_bytes_never_get_the_name_of_the_file(server, tmp_path):
    server.content = b"<html>please log in</html>"
    with pytest.raises(UserError, match="serves another file than published"):
        download_file(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert left_over(tmp_path) == [] and len(server.requests) == 1


def test_a_missing_file_is_reported_at_once(server, tmp_path):
    server.status = [404]
    with pytest.raises(UserError, match="HTTP 404"):
        download_file(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert len(server.requests) == 1


def test_a_server_in_trouble_is_asked_again(server, tmp_path):
    server.status = [500, 503]
    download_file(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)
    assert len(server.requests) == 3
    server.status = [500] * 9
    with pytest.raises(UserError, match=r"failed 4 times \(HTTP 500\)"):
        download_file(f"{server.url}/b.npz", tmp_path / "b.npz", MD5, patience=QUICK)


def test_a_silent_server_counts_as_cut(server, tmp_path):
    server.pause = 60  # longer than the test waits
    with pytest.raises(UserError, match=r"failed 1 times \(.*timed out"):
        download_file(
            f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=RetryPolicy(connect=2, read=0.2, tries=1)
        )


def test_without_a_network_nothing_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", pytest.fail)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: no other process can answer
        with pytest.raises(OfflineError, match=r"Cannot reach 127\.0\.0\.1"):
            download_file(f"http://127.0.0.1:{free.getsockname()[1]}/a.npz", tmp_path / "a.npz", MD5)
    with pytest.raises(OfflineError, match=r"Cannot reach no-such-host\.invalid"):
        download_file("https://no-such-host.invalid/a.npz", tmp_path / "a.npz", MD5)
    # a resolver that never answers, and which no socket timeout reaches
    over = threading.Event()

    def never(*what: object, **how: object) -> None:
        over.wait()
        raise OSError

    monkeypatch.setattr(module.socket, "create_connection", never)
    with pytest.raises(OfflineError, match=r"no answer in 0\.2 s"):
        download_file(
            "https://example.invalid/a.npz", tmp_path / "a.npz", MD5, patience=RetryPolicy(connect=0.2)
        )
    over.set()


def test_a_full_disk_is_reported_before_the_transfer(server, tmp_path, monkeypatch):
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=len(CONTENT) - 1))
    with pytest.raises(DiskFullError, match="free some space"):
        download_file(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)


def test_a_folder_that_cannot_be_is_one_sentence(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot write"):
        download_file(f"{server.url}/a.npz", tmp_path / "file" / "a.npz", MD5, patience=QUICK)


def _download_in_process(url: str, target: Path) -> None:
    download_file(url, target, MD5, patience=QUICK)


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
    places = DataLocations((), tmp_path / "cache", mirror=f"{server.url}/medmnist/")
    fetch_tasks([task], 28, places)
    assert (tmp_path / "cache" / "breastmnist.npz").read_bytes() == server.content
    fetch_tasks([task], 28, places)
    assert len(server.requests) == 1
    assert len(task.source.load(28, places)["test"]) == 156


def test_a_root_that_can_be_written_receives_the_download(server, tmp_path, real):
    server.content = (real.roots[0] / "medmnist" / "breastmnist.npz").read_bytes()
    (tmp_path / "root" / "medmnist").mkdir(parents=True)
    places = DataLocations((tmp_path / "root",), tmp_path / "cache", mirror=server.url)
    TASKS["breastmnist"].source.load(28, places)  # loading fetches too
    assert (tmp_path / "root" / "medmnist" / "breastmnist.npz").is_file()


def test_what_is_missing_is_reported_when_the_network_is(tmp_path):
    places = DataLocations((tmp_path,), tmp_path / "cache", mirror="http://no-such-host.invalid")
    with pytest.raises(UserError) as caught:
        fetch_tasks([TASKS["bloodmnist"], TASKS["octmnist"]], 28, places)
    message = str(caught.value)
    assert message.startswith("Cannot reach no-such-host.invalid") and "--tasks phantom" in message
    assert "bloodmnist.npz (at most 40 MB), octmnist.npz (at most 86 MB)" in message
    assert f"put them into {tmp_path}" in message


HEAD = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "body": (HEAD + b"Content-Length: 900000\r\n\r\n", *[b"xx"] * 600),
    "header": (HEAD, *[b"X: y\r\n"] * 600),
    "size of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[b"0"] * 600),
}


@pytest.mark.parametrize("drip", DRIPS)
def test_a_server_that_drips_is_given_up(tmp_path: Path, drip: str):
    """Each byte comes long before the socket's timeout; in full this would take twelve seconds a try."""
    with answering(sending(*DRIPS[drip], pause=0.02)) as url:
        said = refused(url, tmp_path, window=0.3, pace=100_000)
    assert re.search(r"failed 2 times \(only [\d,]+ bytes in 0\.3 s\): .*resumes where it stopped", said)


def test_a_transfer_that_is_given_up_writes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given_up, transfers = threading.Event(), []
    receive = module._receive

    def note_thread(*what) -> None:
        transfers.append(threading.current_thread())
        receive(*what)

    def drip(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\nxx")
        given_up.wait()
        connection.sendall(b"xx")

    monkeypatch.setattr(module, "_receive", note_thread)
    with answering(drip) as url:
        refused(url, tmp_path, window=0.2, pace=100_000, tries=1, read=60)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        given_up.set()
        transfers[0].join()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_transfer_that_is_given_up_before_its_first_byte_empties_no_file(server, tmp_path, monkeypatch):
    """It wakes after its successor's sum was found right, and before the file gets its name."""
    checked, late = threading.Event(), []
    check_room, file_hash = module._check_room, module.file_hash

    def hold_first(part: Path, length: int) -> None:
        if not late:
            late.append(threading.current_thread())
            checked.wait()
        check_room(part, length)

    def wake_late(path: Path, algorithm: str) -> str:
        found = file_hash(path, algorithm)
        checked.set()
        late[0].join()
        return found

    monkeypatch.setattr(module, "_check_room", hold_first)
    monkeypatch.setattr(module, "file_hash", wake_late)
    patience = RetryPolicy(connect=60, read=60, tries=1000, wait=0, window=0.2, pace=1)
    path = download_file(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=patience)
    assert path.read_bytes() == CONTENT


def test_progress_that_is_lost_again_is_no_progress(server, tmp_path, monkeypatch):
    """Otherwise a server without ranges that sends much, then little, keeps one busy for ever."""
    monkeypatch.setattr(module, "_GROWTH", 100_000)
    server.ranges, server.cuts = False, [500_000, 10, 500_000, 10, 500_000, 10, 500_000, 10] * 3
    with pytest.raises(UserError, match="failed 4 times"):
        download_file(f"{server.url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK)


def test_a_body_without_end_stops_at_the_size_of_the_file(tmp_path: Path):
    def endless(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\n")
        for _ in range(400):
            connection.sendall(bytes(1 << 18))

    with answering(endless) as url:
        said = refused(url, tmp_path, most=1_000_000)
    assert "sends more than 1,000,000 bytes" in said and "MEDNET_BENCH_MIRROR" in said
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("length", "words"),
    [
        ("abc", "declares a length that is no number"),
        ("-7", "declares a length that is no number"),
        ("1e6", "declares a length that is no number"),
        ("\u0661".encode().decode("latin-1"), "declares a length that is no number"),
        ("3" * 5000, "a number of bytes with 5,000 digits, and the published file has at most 2,000,000"),
        (str(10**18), "sends 1,000,000,000,000,000,000 bytes, and the published file has at most 2,000,000"),
        ("2000001", "sends 2,000,001 bytes, and the published file has at most 2,000,000"),
    ],
)
def test_a_length_that_cannot_be_is_one_sentence(tmp_path: Path, length: str, words: str):
    head = HEAD + f"Content-Length: {length}\r\n\r\n".encode("latin-1")
    with answering(sending(head, b"x" * 100)) as url:
        assert words in refused(url, tmp_path, most=2_000_000)
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("ftp://example.invalid/a", "neither http nor https"),
        ("file:///etc/passwd", "neither http nor https"),
        ("/again", "redirects in a circle"),
        ("http://127.0.0.1:99999/a", "leads to something that is no address"),
        ("http://[/a", "leads to something that is no address"),
        (f"http://{'a' * 70}.invalid/", "leads to something that is no address"),
    ],
)
def test_a_redirect_to_nowhere_is_one_sentence(tmp_path: Path, target: str, words: str):
    head = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n"
    with answering(sending(head.encode())) as url:
        said = refused(url, tmp_path)
    assert words in said and "MEDNET_BENCH_MIRROR" in said


def test_a_redirect_to_another_http_server_is_followed(server, tmp_path):
    head = f"HTTP/1.1 302 Found\r\nLocation: {server.url}/b.npz\r\nContent-Length: 0\r\n\r\n"
    with answering(sending(head.encode())) as url:
        download_file(f"{url}/a.npz", tmp_path / "a.npz", MD5, patience=QUICK, most=len(CONTENT))
    assert (tmp_path / "a.npz").read_bytes() == CONTENT


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
def test_a_proxy_that_is_no_address_is_named_without_its_password(tmp_path, monkeypatch, variable):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv(variable, "http://me:secret@proxy.invalid:99999")
    said = refused("http://example.invalid", tmp_path)
    assert "http_proxy" in said and "secret" not in said
