"""What --logdir writes, seen as a reader sees it: TensorBoard's pages in Chromium."""
import importlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import pytest
from test_scripts import FACTS

pytestmark = pytest.mark.filterwarnings("ignore:`tf")

# By script: the curves, and the graph's boxes, which are the article's headings.
SEEN = {
    "echo_rnn.py": (
        ["Calculating_loss/total_loss"],
        ["Variables_and_placeholders", "Unpacking", "Forward_pass", "Calculating_loss"],
    ),
    "char_rnn.py": (
        ["loss", "validation_loss"],
        ["Data_placeholders", "Training", "Optimization", "Validation", "Sampling"],
    ),
    "rnn_internals.py": (
        ["Time-series_forecasting/loss"],
        ["RNN_Architecture", "The_2_lines_of_code", "Time-series_forecasting"],
    ),
    "seq_classify.py": (
        ["Sequence_Classification/loss", "error"],
        ["Defining_the_Network", "Simulating_Time_Steps", "Sequence_Classification"],
    ),
    "seq_label.py": (
        ["Sequence_Labelling/loss", "error"],
        ["Defining_the_Network", "Simulating_Time_Steps", "Sequence_Labelling"],
    ),
}
# All text on a page, that of its components, too, which innerText does not give.
ALL_TEXT = """
function text(node) {
    if (["STYLE", "SCRIPT", "TEMPLATE"].includes(node.nodeName)) return "";
    const inside = [...(node.shadowRoot ? [node.shadowRoot] : []), ...node.childNodes];
    return (node.nodeType == 3 ? node.data + "\\n" : "") + inside.map(text).join("");
}
return text(document.body)
"""
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    " --disable-background-networking --disable-component-update"
    " --window-size=1400,1000"
)


def started(words, pattern, **where):
    """Start a server that says where it listens; return it and what pattern finds."""
    server = subprocess.Popen(words, universal_newlines=True, **where)
    for line in server.stdout or server.stderr:
        if re.search(pattern, line):
            return server, re.search(pattern, line).group(1)
    raise AssertionError(f"{words[0]} ended")


class Browser:
    """Chromium, driven by chromedriver over HTTP (W3C WebDriver)."""

    def __init__(self):
        self.driver, port = started(
            ["chromedriver", "--port=0"], r"successfully on port (\d+)",
            stdout=subprocess.PIPE,
        )
        self.url = f"http://127.0.0.1:{port}/session"
        options = {"goog:chromeOptions": {"args": OPTIONS.split()}}
        session = self.ask("", capabilities={"alwaysMatch": options})
        self.url += "/" + session["sessionId"]

    def ask(self, command, **data):
        request = urllib.request.Request(
            self.url + command, json.dumps(data).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def wait_for(self, url, words):
        """Go there; return which words the page has not shown within a minute."""
        self.ask("/url", url="about:blank")
        self.ask("/url", url=url)
        end = time.time() + 60
        missing = words
        while missing and time.time() < end:
            time.sleep(0.5)
            lines = self.ask("/execute/sync", script=ALL_TEXT, args=[]).split("\n")
            lines = [line.strip() for line in lines]
            # A name too long for its box ends in dots.
            cut = re.compile(r"([\w-]{5,})[.…]+")
            starts = tuple(m.group(1) for m in map(cut.fullmatch, lines) if m)
            missing = {
                word for word in words
                if word not in lines and not word.startswith(starts)
            }
        return missing

    def quit(self):
        urllib.request.urlopen(urllib.request.Request(self.url, method="DELETE"))
        self.driver.terminate()
        self.driver.wait()


@pytest.fixture
def browser():
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            pytest.skip(f"skipped: needs {program}")
    browser = Browser()
    yield browser
    browser.quit()


@pytest.fixture
def tensorboard():
    """Return a function that starts TensorBoard on a folder and gives its address."""
    servers = []

    def start(folder):
        server, url = started(
            [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder),
             "--host", "127.0.0.1", "--port", "0"],
            r"TensorBoard .* at (http\S+)", stderr=subprocess.PIPE,
        )
        servers.append(server)
        return url

    yield start
    for server in servers:
        server.terminate()
        server.wait()


@pytest.mark.skipif(
    not importlib.util.find_spec("tensorboard"), reason="skipped: needs tensorboard"
)
@pytest.mark.parametrize("script", SEEN)
def test_curves_and_headings_are_seen(
    script, tensorboard, browser, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    flags = FACTS[script]["short"] + " --logdir log"
    importlib.import_module(script[:-3]).main(flags.split())
    url = tensorboard(tmp_path / "log")
    curves, headings = map(set, SEEN[script])
    assert not browser.wait_for(f"{url}#scalars&tagFilter={'|'.join(curves)}", curves)
    assert not browser.wait_for(url + "#graphs", headings)


def test_every_script_is_looked_at():
    assert SEEN.keys() == FACTS.keys()
