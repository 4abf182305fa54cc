"""What --logdir writes, seen as a reader sees it: TensorBoard's pages in Chromium.

The tests of each script look at its curves and at the graph's names in the file itself.
"""
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
def test_curve_and_headings_are_seen(tensorboard, browser, tmp_path, run):
    flags = FACTS["echo_rnn.py"]["short"] + " --plot p.png --logdir log"
    run("echo_rnn.py", flags)
    url = tensorboard(tmp_path / "log")
    headings = {"Variables_and_placeholders", "Unpacking", "Forward_pass",
                "Calculating_loss"}
    assert not browser.wait_for(f"{url}#scalars&tagFilter=total_loss", {"total_loss"})
    assert not browser.wait_for(url + "#graphs", headings)
