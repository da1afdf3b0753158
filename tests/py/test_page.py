"""The page of a run in headless Chromium: nothing on the console, no network, no sideways scrolling, hostile texts
shown as text, keys, print, 5,000 steps, damaged data; and the page of a real run with two workers.

Data is made up by page_data.py and put into the page by build/tests/unit/report/page_tool. What it looks like is for
people: tools/page-shots. Skipped without Chromium. The live page: test_page_live.py.
Run alone: TLT_BIN=build/tlt python -m pytest tests/py/test_page.py"""
import json
import os
import re
import subprocess

import chromium
import page_data
import pytest
from conftest import ROOT, TINY, run_tlt

TOOL = os.path.join(os.environ.get("TLT_BUILD", os.path.join(ROOT, "build")), "tests", "unit", "report", "page_tool")
SECTIONS = ["overview", "learning", "speculation", "time", "timeline", "answers", "keys", "setup"]
LOAD_SECONDS, PAGE_BYTES = 3, 10 << 20
HIDDEN = re.compile("[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


@pytest.fixture(scope="module")
def browser():
    if not chromium.find():
        pytest.skip("no Chromium here (apt-get install chromium)")
    with chromium.Browser() as b:
        yield b


@pytest.fixture()
def write(tmp_path):
    """Writes a page around data; returns its path."""
    if not os.access(TOOL, os.X_OK):
        pytest.skip(f"{TOOL} is not built")

    def page(data, name="page"):
        source, to = tmp_path / f"{name}.json", tmp_path / f"{name}.html"
        source.write_text(json.dumps(data), encoding="utf-8")
        subprocess.run([TOOL, source, to], check=True)
        return to

    return page


def show(browser, path, **look):
    page = browser.open(f"file://{path}", **look)
    page.drawn()
    return page


def clean(page, width):
    """What holds for every page."""
    assert page.errors == []
    assert [u for u in page.requests if not u.startswith(("file:", "data:"))] == []
    assert page.run("document.documentElement.scrollWidth") <= width


def drawn_charts(page):
    return page.run("[...document.querySelectorAll('canvas[role=img]')].filter((c) => c.offsetWidth && Chart.getChart(c)).length")


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("kind", ["small", "hostile", "one", "workers", "empty", "compare"])
def test_every_look(browser, write, kind, width):
    path = write(page_data.KINDS[kind]())
    for dark in (False, True) if kind in ("small", "hostile") else (False,):
        page = show(browser, path, width=width, dark=dark)
        clean(page, width)
        assert page.run("document.documentElement.dataset.theme") == ("dark" if dark else "light")
        if kind != "empty":
            assert drawn_charts(page) >= 8
        page.close()


def test_every_section_is_there(browser, write):
    page = show(browser, write(page_data.make(12)))
    assert page.run("[...document.querySelectorAll('main > section')].map((s) => s.id)") == SECTIONS
    assert page.run("[...document.querySelectorAll('nav a')].every((a) => document.querySelector(a.getAttribute('href')))")
    empty = page.run("[...document.querySelectorAll('.plot.empty figcaption')].map((e) => e.textContent)")
    assert empty == []


def test_hostile_texts_stay_texts(browser, write):
    page = show(browser, write(page_data.make(12, hostile=True)))
    assert "owned" not in page.run("document.title").replace('document.title="owned"', "").replace("document.title='owned'", "")
    assert page.run("document.querySelectorAll('main img, main script, main [style*=expression]').length") == 0
    assert page.run("document.scripts.length") == 3
    text = page.run("document.querySelector('main').textContent")
    assert not HIDDEN.search(text), HIDDEN.search(text)
    for seen in ['</script><script>document.title="owned"</script>', "U+202E", "NUL", "ESC", "DEL", "U+0085", "U+2028", "&lt;b&gt;"]:
        assert seen in text, seen
    isolated = page.run("[...document.querySelectorAll('.text, bdi, .symbol')].every((e) => getComputedStyle(e).unicodeBidi === 'isolate')")
    assert isolated
    assert not HIDDEN.search(page.run("document.title"))


def test_answers_keep_their_text(browser, write):
    data = page_data.make(12)
    page = show(browser, write(data))
    shown = page.run("[...document.querySelectorAll('.sample .text:not(.prompt)')].map((e) => e.textContent)")
    assert shown == ["".join(text for text, _ in s["pieces"]) for s in data["samples"]]
    marked = page.run("document.querySelectorAll('.sample .source').length")
    assert marked == sum(source != "." for s in data["samples"] for _, source in s["pieces"])


@pytest.mark.parametrize("kind", ["long", "unthinned"])
def test_five_thousand_steps(browser, write, kind):
    """The page's own thread may compute for that long, whatever else the machine does; on an idle one, that is how
    long loading may take."""
    path = write(page_data.KINDS[kind]())
    assert os.path.getsize(path) < PAGE_BYTES
    page = show(browser, path)
    clean(page, 1400)
    computed = page.cpu_seconds()
    print(f"{kind}: {os.path.getsize(path) / 1e6:.1f} MB, loaded in {page.loaded:.2f} s, computed for {computed:.2f} s")
    assert computed < LOAD_SECONDS
    assert page.loaded < LOAD_SECONDS or os.getloadavg()[0] > os.cpu_count() / 2


def members(value):
    """Paths into the data that are worth hurting."""
    return [(k,) for k in value] + [(k, inner) for k in ("run", "phases", "lengths", "timeline") for inner in value[k]]


def hurt(data, path, junk):
    data = json.loads(json.dumps(data))
    at = data
    for k in path[:-1]:
        at = at[k]
    if junk is ...:
        del at[path[-1]]
    else:
        at[path[-1]] = junk
    return data


JUNK = [..., None, 7, "x", [], {}, [None], [[]], [{}]]
ROUNDS = range(len(JUNK)) if os.environ.get("TLT_FULL") == "1" else [0]


@pytest.mark.parametrize("turn", ROUNDS)
def test_damaged_data_never_breaks_the_page(browser, write, turn):
    """A member missing or of another kind: the rest of the page stands, and nothing is said on the console. All
    turns together try everything everywhere."""
    data = page_data.make(5, timelines=2)
    pages = [(path, write(hurt(data, path, JUNK[(i + turn) % len(JUNK)]), "-".join(path)))
             for i, path in enumerate(members(data))]
    page = show(browser, pages[0][1])
    for path, file in pages:
        page.errors.clear()
        page.loaded = None
        page.call("Page.navigate", url=f"file://{file}")
        page.until(lambda: page.loaded, "load")
        assert page.errors == [], (path, page.errors)
        assert page.run("document.querySelectorAll('main > section').length") == len(SECTIONS), path


def test_charts_by_keyboard(browser, write):
    page = show(browser, write(page_data.make(12)))
    page.run("document.querySelector('#learning canvas[role=img]').focus()")
    page.key("Home")
    assert page.run("document.getElementById('said').textContent").startswith("step 1, mean reward")
    page.key("ArrowRight", 2)
    assert page.run("document.getElementById('said').textContent").startswith("step 3, mean reward")
    page.key("End")
    assert page.run("document.getElementById('said').textContent").startswith("step 12, ")
    page.key("Escape")
    assert page.run("Chart.getChart(document.querySelector('#learning canvas[role=img]')).getActiveElements().length") == 0


def test_everything_is_reached_by_tab(browser, write):
    """The first stop leads past the contents; each control and chart is a stop with a name, once."""
    page = show(browser, write(page_data.make(5)))
    page.key("Tab")
    assert page.run("document.activeElement.className") == "skip"
    page.run("""window.stops = []; document.addEventListener("focusin", (e) => stops.push(e.target))""")
    page.run("""window.wanted = [...document.querySelectorAll("main button, main select, main input, main summary, main canvas[tabindex]")]
        .filter((e) => e.offsetWidth && !e.disabled && e.tabIndex >= 0)""")
    page.key("Tab", page.run("wanted.length") + 40)
    missed = page.run("wanted.filter((e) => !stops.includes(e)).map((e) => e.outerHTML.slice(0, 80))")
    assert missed == []
    nameless = page.run("""stops.filter((e) => !(e.textContent || e.getAttribute("aria-label") || e.labels?.length)).map((e) => e.outerHTML)""")
    assert nameless == []
    outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_timeline_by_keyboard(browser, write):
    data = page_data.make(12)
    page = show(browser, write(data))
    detail = "document.querySelector('.timeline .detail').textContent"
    last = data["timeline"]["steps"][-1]
    assert page.run("document.getElementById('timeline-step').value") == str(last)
    page.run("document.querySelector('.timeline canvas[role=img]').focus()")
    page.key("ArrowRight")
    assert page.run(detail).startswith("decoding ")
    page.key("ArrowDown")
    assert "(worker 1, " in page.run(detail)
    page.key("End")
    begin, end, state, _ = data["timeline"]["data"][str(last)][1]["spans"][-1]
    assert page.run(detail).startswith(state) and f"from {begin:.3f} s to {end:.3f} s" in page.run(detail)
    page.key("+", 3)
    x = page.run("(() => { const {min, max} = Chart.getChart(document.querySelector('.timeline canvas[role=img]')).scales.x; return [min, max]; })()")
    assert x[0] <= begin and end <= x[1] + 1e-9 and x[1] - x[0] < 0.2 * end
    page.key("0")
    page.run("document.querySelector('.controls button').focus()")
    page.key("Enter")
    assert page.run("document.getElementById('timeline-step').value") == str(data["timeline"]["steps"][-2])
    assert page.errors == []


def test_timeline_by_pointer(browser, write):
    page = show(browser, write(page_data.make(12)), reduced=True)  # else scrolling takes its time
    page.run("document.querySelector('.timeline').scrollIntoView()")
    spot = page.run("""(() => { const c = document.querySelector(".timeline canvas[role=img]"), r = c.getBoundingClientRect(), k = Chart.getChart(c);
        return [r.x + k.scales.x.getPixelForValue(1), r.y + k.scales.y.getPixelForValue(0)]; })()""")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=spot[0], y=spot[1])
    assert page.run("document.querySelector('.timeline .detail').textContent").startswith("decoding ")


def test_any_key(browser, write):
    page = show(browser, write(page_data.make(12)))
    count = "document.querySelectorAll('#keys .plot').length"
    before = page.run(count)
    page.run("(() => { const f = document.getElementById('key-filter'); f.value = 'spec/accept_len'; f.dispatchEvent(new Event('input')); })()")
    assert page.run("[...document.querySelectorAll('.keys label')].map((e) => e.textContent)") == ["spec/accept_length", "spec/accept_length_drafted"]
    page.run("document.querySelector('.keys input').focus()")
    page.key("ArrowDown")
    page.key(" ")
    assert page.run(count) == before + 1
    page.key(" ")
    assert page.run(count) == before
    assert page.errors == []


def test_series_can_be_hidden_and_read_as_a_table(browser, write):
    page = show(browser, write(page_data.make(12)))
    page.run("(window.f = [...document.querySelectorAll('#learning .plot')][2]).querySelector('.key').click()")
    assert page.run("Chart.getChart(f.querySelector('canvas[role=img]')).isDatasetVisible(0)") is False
    page.run("f.querySelector('summary').click()")
    page.drawn()
    assert page.run("f.querySelectorAll('tbody tr').length") == 12


def test_theme_can_be_chosen(browser, write):
    page = show(browser, write(page_data.make(3)))
    page.run("document.getElementById('theme').click()")
    assert page.run("document.documentElement.dataset.theme") == "dark"
    again = show(browser, write(page_data.make(2), "again"))
    assert again.run("document.documentElement.dataset.theme") == "dark"
    again.run("document.getElementById('theme').click()")
    assert again.run("document.documentElement.dataset.theme") == "light"
    again.run("localStorage.clear()")
    assert page.errors == again.errors == []


def test_print(browser, write, tmp_path):
    """Light on paper also where the screen is dark; afterwards as before."""
    page = show(browser, write(page_data.make(12)), dark=True)
    page.run("""addEventListener("beforeprint", () => { window.printed = [document.documentElement.dataset.theme,
        Math.max(...[...document.querySelectorAll("canvas")].map((c) => c.offsetWidth))]; })""")
    page.pdf(tmp_path / "page.pdf")
    page.drawn()
    theme, widest = page.run("window.printed")
    assert theme == "light" and widest <= 688
    page.until(lambda: page.run("document.documentElement.dataset.theme") == "dark", "dark again", 10)
    pdf = (tmp_path / "page.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and 3 <= pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") <= 20
    clean(page, 1400)


def test_real_run(browser, tmp_path, tlt):
    """tlt report of two workers that speculate."""
    run = tmp_path / "run"
    config = tmp_path / "c.yaml"
    config.write_text(f"model: {TINY}\nsteps: 3\ndata: {{task: countdown, count: 60, seed: 7}}\n"
                      "eval: {every: 3, count: 8}\nrollout: {prompts: 4, samples: 4, max_tokens: 200}\nlog: {rollouts: all}\n")
    code, out, err = run_tlt("train", config, "--run", run, "--workers", 2)
    assert code == 0, err
    code, out, err = run_tlt("report", run)
    assert code == 0, err
    for width in (390, 1400):
        page = show(browser, run / "report.html", width=width)
        clean(page, width)
        assert drawn_charts(page) >= 12
        assert page.run("document.querySelectorAll('.sample').length") == 12
        page.close()
