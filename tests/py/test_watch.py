"""`tlt train --watch`: the live page, its events and Prometheus text during real runs, and clients of every kind.

Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_watch.py"""
import http.client
import json
import os
import random
import re
import signal
import socket
import threading
import time
from urllib.parse import urlsplit

import chromium
import pytest
from conftest import TINY, read_jsonl, run_tlt
from worker_run import Run, assert_same, soon

CONFIG = """
model: {model}
seed: 3
steps: {steps}
data: {{task: countdown, count: 12, seed: 5}}
eval: {{every: 4, count: 6, samples: 1}}
rollout: {{prompts: 4, samples: 4, max_tokens: 80, batch: 16}}
speculation: {{draft: suffix}}
checkpoint: {{every: 2, keep: 2}}
log: {{rollouts: all}}
"""


def write_config(path, steps=8):
    path.write_text(CONFIG.format(model=TINY, steps=steps))
    return path


class Watched(Run):
    """A run with --watch, once it says where."""

    def __init__(self, config, directory, *flags, watch="0"):
        super().__init__(config, directory, "--watch", watch, *flags)
        self.url = soon(self.announced, 60, "the address")
        self.port = urlsplit(self.url).port

    def announced(self):
        found = re.search(r"^watch: (http://\S+:\d+/)$", self.errors(), re.M)
        assert found or self.p.poll() is None, self.errors()
        return found and found[1]

    def get(self, path, method="GET", **headers):
        """(status, headers, body) on a connection of its own."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            c.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read().decode()
        finally:
            c.close()

    def good(self):
        """Another request is answered, and soon."""
        start = time.monotonic()
        assert self.get("/health")[::2] == (200, '{"status":"ok"}\n')
        assert time.monotonic() - start < 4


class Events(threading.Thread):
    """Everything /events says until the connection ends or `enough` events have come."""

    def __init__(self, run, path="/events", enough=None, **headers):
        super().__init__(daemon=True)
        self.events, self.comments, self.error, self.enough = [], 0, None, enough
        self.connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=60)
        self.connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        self.start()

    def run(self):
        try:
            self.listen()
        except Exception as e:  # judged by whoever joins
            self.error = e
        finally:
            self.connection.close()

    def listen(self):
        answer = self.connection.getresponse()
        assert answer.status == 200 and answer.getheader("Content-Type").startswith("text/event-stream")
        fields = {}
        for line in answer:
            line = line.decode().rstrip("\n")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                assert name in ("id", "event", "data", "retry") and name not in fields, line
                fields[name] = value
            elif "event" in fields:
                self.events.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
                fields = {}
                if self.enough and len(self.events) >= self.enough:
                    return
            else:
                fields = {}

    def all(self, seconds=90):
        self.join(seconds)
        assert not self.is_alive(), "the events do not end"
        assert not self.error, self.error
        return self.events

    def of(self, kind):
        return [data for name, data, _ in list(self.events) if name == kind]


@pytest.fixture(scope="module", autouse=True)
def built(tlt, tiny):
    pass


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Configuration, and the outcome of a run that nobody watches."""
    top = tmp_path_factory.mktemp("plain")
    config = write_config(top / "c.yaml")
    run = Run(config, top / "run")
    try:
        assert run.wait(120) == 0, run.errors()
        return config, run.outcome()
    finally:
        run.end()


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """A run that goes on for as long as the tests need it."""
    top = tmp_path_factory.mktemp("long")
    run = Watched(write_config(top / "c.yaml", 100000), top / "run")
    try:
        soon(lambda: run.saved() >= 2, 60, "two steps")
        yield run
    finally:
        run.end()


# ---- what a run says -------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_everything_is_told_and_nothing_changes(tmp_path, plain, workers):
    config, want = plain
    run = Watched(config, tmp_path / "run", *(["--workers", workers] if workers > 1 else []))
    try:
        listeners = [Events(run), Events(run)]
        gone = Events(run, enough=3)
        assert run.wait(120) == 0, run.errors()
        run.wait_until_gone(5)
        assert_same(run.outcome(), want)
        lines = read_jsonl(os.path.join(run.directory, "metrics.jsonl"))
        gone.all()
        for listener in listeners:
            events = listener.all()
            steps = listener.of("step")
            assert steps == lines[-len(steps):] and len(steps) >= len(lines) - 1
            timelines = listener.of("timeline")
            assert [t["step"] for t in timelines] == [s["step"] for s in steps]
            for t, line in zip(timelines, steps):
                check_timeline(t, line, workers)
            check_progress(listener.of("progress"))
            assert events[-1][:2] == ("end", {"state": "done", "reason": None})
            ids = [int(i.split(".")[1]) for _, _, i in events]
            assert ids == sorted(set(ids)) and len({i.split(".")[0] for _, _, i in events}) == 1
    finally:
        run.end()


def check_timeline(timeline, line, workers):
    """The spans of each worker lie end to end and add up to the metrics."""
    assert [w["worker"] for w in timeline["workers"]] == list(range(workers))
    for w in timeline["workers"]:
        spans = w["spans"]
        assert spans and all(abs(a[1] - b[0]) < 2e-6 for a, b in zip(spans, spans[1:]))
        assert abs(spans[-1][1] - w["seconds"]) < 1e-3 and all(p[1] >= 0 for p in w["points"])
        idle = sum(s[1] - s[0] for s in spans if s[2] == "idle")
        if f"workers/{w['worker']}/idle" in line:
            assert abs(idle - line[f"workers/{w['worker']}/idle"]) < 0.05, (w, line)


def check_progress(all_of_it):
    assert {p["phase"] for p in all_of_it} >= {"rollout", "update"}
    for p in all_of_it:
        assert set(p) - {"left"} == {"phase", "step", "steps", "done", "total", "rate"}, p
        assert 0 <= p["step"] <= p["steps"] == 8 and 0 <= p["done"] <= max(p["total"], p["done"] * (p["total"] == 0)), p


def test_a_reconnecting_browser_gets_what_it_missed(long_run):
    first = Events(long_run, enough=12).all()
    kind, _, last = first[-1]
    soon(lambda: read_step(long_run) >= max(d["step"] for k, d, _ in first if k == "step") + 3, 60, "three steps")
    for path, headers in (("/events", {"Last_Event_ID": last}), (f"/events?after={last}", {}),
                          ("/events?after=0.0", {"Last_Event_ID": last})):
        second = Events(long_run, path, 12, **headers).all()
        seen = [d["step"] for k, d, _ in first + second if k == "step"]
        assert seen == list(range(seen[0], seen[-1] + 1)) and len(seen) > 3
        assert not any(k == "reload" for k, _, _ in second)


@pytest.mark.parametrize("last", ["0.5", "x", "", "1.2.3", "\x7f", "9" * 300])
def test_ids_of_another_run_ask_for_the_page_again(long_run, last):
    events = Events(long_run, enough=2, Last_Event_ID=last).all()
    assert events[0][0] == "reload"


def read_step(run):
    return json.loads(run.get("/metrics")[2].split("\ntlt_run_step ")[1].split("\n")[0])


# ---- Prometheus ------------------------------------------------------------------------------------

NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf'^({NAME})(?:\{{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\}})? (\S+)$')


def parse_prometheus(text):
    """Exposition format 0.0.4, strictly: {(name, labels): value}."""
    assert text.endswith("\n") and not text.endswith("\n\n")
    samples, helped, typed, family, finished = {}, set(), set(), None, set()
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            _, what, name, rest = line.split(" ", 3)
            assert re.fullmatch(NAME, name) and what in ("HELP", "TYPE") and rest, line
            if what == "HELP":
                assert name not in helped and name not in finished, line
                helped.add(name)
            else:
                assert name in helped and name not in typed and rest == "gauge", line
                typed.add(name)
                finished.add(family)
                family = name
            continue
        m = SAMPLE.match(line)
        assert m and m[1] == family and family not in finished, line
        assert (m[1], m[2] or "") not in samples, line
        samples[m[1], m[2] or ""] = float(m[3])
    assert helped == typed
    return samples


def test_prometheus(long_run):
    status, headers, text = long_run.get("/metrics")
    assert status == 200 and headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = parse_prometheus(text)
    lines = {line["step"]: line for line in read_jsonl(os.path.join(long_run.directory, "metrics.jsonl"))}
    line = lines[int(samples["tlt_step", ""])]
    numbers = {k: v for k, v in line.items() if isinstance(v, (int, float))}
    assert len(samples) >= len(numbers)
    assert samples["tlt_reward_mean", ""] == line["reward/mean"]
    assert samples["tlt_worker_seconds", 'worker="0",state="decoding"'] == line["workers/0/decoding"]
    assert samples["tlt_run_steps", ""] == 100000
    run_info = [labels for name, labels in samples if name == "tlt_run_info"]
    assert len(run_info) == 1 and f'run="{long_run.directory}"' in run_info[0]


# ---- who asks --------------------------------------------------------------------------------------


def test_requests(long_run):
    assert long_run.get("/")[0] == 200
    status, headers, body = long_run.get("/", method="HEAD")
    assert status == 200 and body == "" and int(headers["content-length"]) > 10000
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert "access-control-allow-origin" not in headers
    assert long_run.get("/events", method="HEAD")[0] == 200
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, _ = long_run.get("/", method=method)
        assert status == 405 and headers["allow"] == "GET, HEAD"
    for path in ("/none", "/metrics.jsonl", "/../etc/passwd", "//", "/%2e%2e/", "/events/", "/index.html"):
        assert long_run.get(path)[0] == 404
    for host in ("evil.example", "localhost.evil.example", "192.0.2.1", "localhost@evil.example"):
        for path in ("/", "/events", "/metrics", "/health"):
            assert long_run.get(path, Host=host)[0] == 403, host
    for host in ("localhost", f"localhost:{long_run.port}", "127.0.0.1:9", "[::1]:80"):
        assert long_run.get("/metrics", Host=host)[0] == 200, host
    long_run.good()


def raw(run, data, wait=2.0):
    with socket.create_connection(("127.0.0.1", run.port), timeout=wait) as s:
        try:
            s.sendall(data)
            return s.recv(1 << 16)
        except (TimeoutError, ConnectionError):
            return b""


@pytest.mark.parametrize("what", ["header", "headers", "target", "body"])
def test_too_much_of_something(long_run, what):
    host = b"Host: localhost\r\n"
    data = {"header": b"GET / HTTP/1.1\r\n" + host + b"A: " + b"x" * 300000 + b"\r\n\r\n",
            "headers": b"GET / HTTP/1.1\r\n" + host + b"".join(b"A%d: x\r\n" % i for i in range(5000)) + b"\r\n",
            "target": b"GET /" + b"x" * 100000 + b" HTTP/1.1\r\n" + host + b"\r\n",
            "body": b"POST / HTTP/1.1\r\n" + host + b"Content-Length: 1000000000\r\n\r\n" + b"x" * 100000}[what]
    answer = raw(long_run, data)
    assert not answer or re.match(rb"HTTP/1.1 4(00|13|14|31) ", answer), answer[:100]
    long_run.good()


def test_garbage_in_random_pieces(long_run):
    rng = random.Random(11)
    seed = b"GET /events?after=1.1 HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 1.1\r\n\r\n" * 4
    for _ in range(150):
        data = bytearray(seed)
        for _ in range(rng.randint(1, 30)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with socket.create_connection(("127.0.0.1", long_run.port), timeout=5) as s:
            try:
                at = 0
                while at < len(data):
                    n = rng.randint(1, 80)
                    s.sendall(data[at:at + n])
                    at += n
            except OSError:
                pass  # the server has heard enough
    long_run.good()


def test_readers_that_do_not_read(long_run):
    """They neither hold up the run nor others, and cost no memory that grows."""
    sockets = []
    try:
        for path in ["/events", "/", "/metrics"] * 8:
            s = socket.create_connection(("127.0.0.1", long_run.port), timeout=5)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            sockets.append(s)
        before, step = memory(long_run), read_step(long_run)
        soon(lambda: read_step(long_run) >= step + 10, 60, "ten steps")
        assert memory(long_run) - before < 64 << 20
        long_run.good()
    finally:
        for s in sockets:
            s.close()


def memory(run):
    with open(f"/proc/{run.p.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_many_connections(long_run):
    sockets, step = [], read_step(long_run)
    try:
        for i in range(300):
            s = socket.create_connection(("127.0.0.1", long_run.port), timeout=5)
            s.sendall([b"", b"GET", b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"][i % 3])
            sockets.append(s)
            if i % 60 == 0:
                long_run.good()
        long_run.good()
        soon(lambda: read_step(long_run) >= step + 2, 60, "two steps")
        files = len(os.listdir(f"/proc/{long_run.p.pid}/fd"))
        assert files < 200, files
    finally:
        for s in sockets:
            s.close()
    soon(lambda: len(os.listdir(f"/proc/{long_run.p.pid}/fd")) < 60, 20, "descriptors closed")
    long_run.good()


# ---- ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_with_watchers(tmp_path, plain, workers):
    config, want = plain
    flags = ["--workers", workers] if workers > 1 else []
    run = Watched(config, tmp_path / "run", *flags)
    try:
        listener = Events(run)
        silent = [socket.create_connection(("127.0.0.1", run.port)) for _ in range(5)]
        soon(lambda: len(listener.of("step")) >= 2, 60, "two steps")
        os.kill(run.p.pid, signal.SIGINT)
        assert run.wait(30) == 75, run.errors()
        run.wait_until_gone(5)
        name, end, _ = listener.all()[-1]
        assert name == "end" and end["state"] == "stopped" and "--resume" in end["reason"]
        assert "--resume" in run.errors()
        for s in silent:
            s.close()
    finally:
        run.end()
    again = Watched(config, tmp_path / "run", "--resume")
    try:
        assert again.wait(120) == 0, again.errors()
        assert_same(again.outcome(), want)
    finally:
        again.end()


def test_a_failure_is_told(tmp_path):
    config = write_config(tmp_path / "c.yaml", 1000)
    run = Watched(config, tmp_path / "run", "--set", "reward.command=sleep 0.2; exit 1")
    try:
        listener = Events(run)
        assert run.wait(60) == 6, run.errors()
        name, end, _ = listener.all()[-1]
        assert name == "end" and end["state"] == "failed" and end["reason"] in run.errors()
    finally:
        run.end()


# ---- where -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["x", "", "70000", "localhost", "1.2.3.4.5:80", "::1:80", "[::1]", "-1", "host:"])
def test_bad_addresses(tmp_path, where):
    code, _, err = run_tlt("train", write_config(tmp_path / "c.yaml"), "--run", tmp_path / "run", f"--watch={where}")
    assert code == 2 and err.startswith("tlt: --watch: ") and len(err.strip().splitlines()) == 1, err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_in_use(tmp_path, workers):
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
        code, _, err = run_tlt("train", write_config(tmp_path / "c.yaml"), "--run", tmp_path / "run", "--watch", port,
                               *(["--workers", workers] if workers > 1 else []))
    assert code == 2 and f"port {port}" in err and len(err.strip().splitlines()) == 1, err
    assert not (tmp_path / "run").exists()


def test_everywhere_is_a_warning(tmp_path):
    run = Watched(write_config(tmp_path / "c.yaml", 2), tmp_path / "run", watch="0.0.0.0:0")
    try:
        assert run.wait(60) == 0
        assert len([x for x in run.errors().splitlines() if x.startswith("warning: --watch")]) == 1
    finally:
        run.end()
    run = Watched(write_config(tmp_path / "c.yaml", 2), tmp_path / "other")
    try:
        assert run.wait(60) == 0
        assert "warning" not in run.errors()
    finally:
        run.end()


# ---- the page --------------------------------------------------------------------------------------


STATE = "(document.getElementById('state') || {}).textContent"
REWARD = ("Chart.getChart(document.querySelector('#learning canvas[role=img]')).data.datasets[0].data"
          ".filter((p) => p.y !== null && p.x > 0).map(({x, y}) => ({x, y}))")


@pytest.mark.skipif(not chromium.find(), reason="Chromium is not installed")
def test_the_page_follows_a_run(tmp_path):
    run = Watched(write_config(tmp_path / "c.yaml", 12), tmp_path / "run", "--workers", 2)
    try:
        with chromium.Browser() as browser:
            page = browser.open(run.url)
            page.until(lambda: page.run(STATE) == "running", "a run in the page")
            page.until(lambda: page.run(STATE) != "running", "the end of the run", 90)
            assert run.wait(30) == 0, run.errors()
            browser.wait(1)
            lines = read_jsonl(os.path.join(run.directory, "metrics.jsonl"))[1:]
            shown = page.run(REWARD)
            assert [p["x"] for p in shown] == [line["step"] for line in lines], shown
            assert all(abs(p["y"] - line["reward/mean"]) < 1e-6 for p, line in zip(shown, lines)), shown
            assert page.run("document.getElementById('timeline-step').options.length") >= 10
            assert not page.errors, page.errors
            assert all(u.startswith((run.url, "data:", "blob:")) for u in page.requests), page.requests
    finally:
        run.end()
