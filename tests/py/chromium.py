"""Headless Chromium through the DevTools protocol on a pipe; the standard library only.

    with Browser() as b:
        page = b.open("file:///.../report.html", width=390)
        page.run("document.title"); page.key("Tab"); page.shot("out.png"); page.pdf("out.pdf"); page.errors"""
import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

NAMES = ["chromium", "chromium-browser", "google-chrome"]
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


def find():
    """The browser's path, or None."""
    return next((p for p in map(shutil.which, NAMES) if p), None)


class Browser:
    def __init__(self, timeout=60):
        self.timeout, self.answers, self.pages, self.last = timeout, {}, {}, 0
        self.profile = tempfile.mkdtemp(prefix="tlt-chromium-")
        commands, self.to = os.pipe()
        self.of, events = os.pipe()
        self.rest = b""

        def descriptors():  # the protocol's are 3 and 4; neither may be overwritten before it is copied
            a, b = os.dup(commands), os.dup(events)
            high = [os.dup2(a, 100), os.dup2(b, 101)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [find(), "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update",
             f"--user-data-dir={self.profile}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False,
            preexec_fn=descriptors, start_new_session=True)
        os.close(commands)
        os.close(events)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self.to)
        os.close(self.of)
        shutil.rmtree(self.profile, ignore_errors=True)

    def message(self, until):
        """The next message, or None when the time is over."""
        while b"\0" not in self.rest:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.of], [], [], left)[0]:
                return None
            part = os.read(self.of, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self.rest += part
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def take(self, m):
        if "id" in m:
            self.answers[m["id"]] = m
        elif m.get("sessionId") in self.pages:
            self.pages[m["sessionId"]].event(m["method"], m["params"])

    def call(self, method, session=None, **params):
        self.last += 1
        mine = self.last
        m = {"id": mine, "method": method, "params": params} | ({"sessionId": session} if session else {})
        data = json.dumps(m).encode() + b"\0"
        while data:
            data = data[os.write(self.to, data):]
        until = time.monotonic() + self.timeout
        while mine not in self.answers:
            m = self.message(until)
            if m is None:
                raise TimeoutError(method)
            self.take(m)
        m = self.answers.pop(mine)
        if "error" in m:
            raise RuntimeError(f"{method}: {m['error']['message']}")
        return m["result"]

    def wait(self, seconds):
        until = time.monotonic() + seconds
        while (m := self.message(until)) is not None:
            self.take(m)

    def open(self, url, width=1400, height=900, dark=False, reduced=False, wait=True):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(domain + ".enable")
        page.call("Performance.enable", timeDomain="threadTicks")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        page.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if reduced else "no-preference"}])
        page.start = time.monotonic()
        page.call("Page.navigate", url=url)
        if wait:
            page.until(lambda: page.loaded, "load")
        return page


class Page:
    def __init__(self, browser, session, target):
        self.browser, self.session, self.target = browser, session, target
        self.errors, self.requests, self.loaded = [], [], None

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def event(self, method, p):
        if method == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(a.get("value", a.get("description"))) for a in p["args"]))
        elif method == "Runtime.exceptionThrown":
            d = p["exceptionDetails"]
            self.errors.append(d.get("exception", {}).get("description") or d["text"])
        elif method == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
            self.errors.append(p["entry"]["text"] + " " + p["entry"].get("url", ""))
        elif method == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = time.monotonic() - self.start

    def until(self, condition, what, seconds=60):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(what)
            self.browser.wait(0.02)

    def run(self, expression):
        """The value of a JavaScript expression (JSON), awaited."""
        r = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in r:
            raise RuntimeError(r["exceptionDetails"].get("exception", {}).get("description"))
        return r["result"].get("value")

    def cpu_seconds(self):
        """Processor time of the page's main thread so far."""
        metrics = self.call("Performance.getMetrics")["metrics"]
        return next(m["value"] for m in metrics if m["name"] == "TaskDuration")

    def drawn(self):
        """Wait until two frames are drawn."""
        self.run("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def key(self, name, times=1):
        p = {"key": name, "code": name, "windowsVirtualKeyCode": KEYS.get(name) or ord(name.upper())}
        if name == "Enter" or len(name) == 1:
            p["text"] = "\r" if name == "Enter" else name
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", **p)
            self.call("Input.dispatchKeyEvent", type="keyUp", **{k: v for k, v in p.items() if k != "text"})

    def shot(self, path, selector=None, whole=True):
        """A PNG of the whole page, of what is shown, or of one element."""
        self.drawn()
        options = {"captureBeyondViewport": whole}
        if selector:
            options["clip"] = self.run(f"(() => {{const r = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
                                       "return {x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height, scale: 1}})()")
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot", format="png", **options)["data"]))

    def pdf(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]))

    def close(self):
        self.browser.pages.pop(self.session, None)
        self.browser.call("Target.closeTarget", targetId=self.target)
