"""The page while a run goes on: events change it, a lost server is said and found again, the end is said.

The server here is made up; that of `tlt train --watch` has tests of its own.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_page_live.py"""
import http.server
import json
import os
import queue
import random
import subprocess
import threading

import chromium
import page_data
import pytest
from test_page import TOOL, browser  # noqa: F401  (browser is a fixture)


class Server:
    """Serves one page and an event stream; send() puts events into it, stop() ends it."""

    def __init__(self, html, port=0):
        outer = self
        self.html, self.asked, self.streams = html, [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.asked.append((self.path, self.headers.get("Last-Event-ID")))
                if self.path.startswith("/events"):
                    return outer.stream(self)
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(outer.html)))
                self.send_header("Connection", "close")  # a thread that outlives stop() would answer on it
                self.end_headers()
                self.wfile.write(outer.html)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def stream(self, handler):
        events = queue.Queue()
        self.streams.append(events)
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b"retry: 200\n\n")
        handler.wfile.flush()
        while (event := events.get()) is not None:
            handler.wfile.write(event)
            handler.wfile.flush()
        handler.close_connection = True

    def send(self, name, value, number=1):
        text = value if isinstance(value, str) else json.dumps(value)
        for events in self.streams:
            events.put(f"id: r.{number}\nevent: {name}\ndata: {text}\n\n".encode())

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        for events in self.streams:
            events.put(None)


@pytest.fixture()
def live(browser, tmp_path):  # noqa: F811
    """A server and an open page of a run that is at step 10 of 40."""
    if not os.access(TOOL, os.X_OK):
        pytest.skip(f"{TOOL} is not built")
    data = page_data.make(10, state="running")
    data["run"]["steps"] = 40
    data |= {"live": True, "after": "r.0"}
    (tmp_path / "d.json").write_text(json.dumps(data), encoding="utf-8")
    subprocess.run([TOOL, tmp_path / "d.json", tmp_path / "p.html", "live"], check=True)
    server = Server((tmp_path / "p.html").read_bytes())
    page = browser.open(f"http://127.0.0.1:{server.port}/")
    page.until(lambda: server.streams, "event stream")
    yield server, page, data
    server.stop()
    page.close()


def line(step):
    return page_data.step_line(step, 40, 2, random.Random(step))


def becomes(page, expression, wanted, seconds=10):
    page.until(lambda: page.run(expression) == wanted, f"{expression} is {page.run(expression)}, expected {wanted}", seconds)


LAST = "Chart.getChart(document.querySelector('#learning canvas[role=img]')).data.datasets[0].data.at(-1).x"
STATE = "document.getElementById('state').textContent"


def test_steps_and_timelines_arrive(live):
    server, page, _ = live
    assert ("/events?after=r.0", None) in server.asked
    assert page.run(STATE) == "running" and page.run(LAST) == 10
    for step in (11, 12):
        server.send("step", line(step), step)
    server.send("timeline", {"step": 12, "workers": page_data.timeline_step(2, random.Random(1))})
    becomes(page, LAST, 12)
    becomes(page, "document.getElementById('timeline-step').value", "12")
    assert page.run("document.getElementById('about').textContent").startswith("step 12 of 40")
    assert "steps 0 to 12" in page.run("document.getElementById('time').textContent")
    assert page.errors == []


def test_chosen_timeline_stays(live):
    server, page, _ = live
    page.run("(() => { const s = document.getElementById('timeline-step'); s.value = '5'; s.dispatchEvent(new Event('change')); })()")
    server.send("timeline", {"step": 11, "workers": page_data.timeline_step(2, random.Random(1))})
    becomes(page, "document.getElementById('timeline-step').options.length", 11)
    assert page.run("document.getElementById('timeline-step').value") == "5"


def test_a_resumed_run_repeats_steps(live):
    server, page, _ = live
    server.send("step", line(11), 1)
    server.send("step", line(8), 2)
    becomes(page, LAST, 8)
    assert page.run("document.querySelectorAll('#learning .plot').length") == 6
    assert page.errors == []


def test_progress(live):
    server, page, _ = live
    server.send("progress", {"phase": "rollout", "step": 11, "steps": 40, "done": 32, "total": 128, "rate": 5123.4, "left": 95.2})
    becomes(page, "document.getElementById('progress').textContent", "step 11 of 40: rollout, 32 of 128, 5,123 tokens/s, 95 s left")
    server.send("progress", {"phase": "<b>", "step": 11, "steps": 40, "done": 0, "total": 0, "rate": 0})
    becomes(page, "document.getElementById('progress').textContent", "step 11 of 40: <b>")


def test_junk_is_passed_over(live):
    server, page, _ = live
    for name in ("step", "timeline", "progress"):
        for junk in ("{", "null", "7", "[]", "{}", '{"step": "x"}', '{"step": 11, "workers": 3}', '{"step": 11, "workers": [null, {}, {"spans": [7]}]}'):
            server.send(name, junk)
    server.send("step", {"step": 12, "__proto__": 1, "reward/mean": 0.5, "x": "text"})
    becomes(page, LAST, 12)
    assert page.errors == []


def test_the_end_is_said(live):
    server, page, _ = live
    server.send("end", {"state": "stopped", "reason": "SIGTERM <b>"})
    becomes(page, STATE, "stopped")
    assert page.run("document.getElementById('reason').textContent") == "SIGTERM <b>"
    before = len(server.streams)
    server.streams[0].put(None)
    page.browser.wait(1)
    assert len(server.streams) == before


def test_a_lost_server_is_found_again(live):
    server, page, _ = live
    server.send("step", line(11), 7)
    becomes(page, LAST, 11)
    port = server.port
    server.stop()
    page.until(lambda: page.run(STATE).startswith("no connection since"), "loss is said", 10)
    again = Server(server.html, port)
    try:
        page.until(lambda: again.streams, "the page comes back", 20)
        assert again.asked[0][1] == "r.7" or again.asked[0][0] == "/events?after=r.7"
        becomes(page, STATE, "running")
        again.send("step", line(12), 8)
        becomes(page, LAST, 12)
    finally:
        again.stop()


def test_missed_events_load_the_page_again(live):
    server, page, _ = live
    asked = len([p for p, _ in server.asked if p == "/"])
    server.send("reload", {})
    page.until(lambda: len([p for p, _ in server.asked if p == "/"]) > asked, "reload", 10)
