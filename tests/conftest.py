"""What the tests share: scripts run in this process or in their own, a screen."""
import http.server
import os
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ["MPLBACKEND"] = "agg"  # no window for a script that is run in this process


def load_tensorflow():
    """Import it as the scripts do, whatever warnings a first import gives."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow.compat.v1 as tf
    return tf


def leave_out_the_slow_parts(patch):
    """Draw no file, and run graphs as they are built, until the patch is undone.

    They take most of a short run: before a session first runs a graph, it writes
    another, faster one.
    """
    tf = load_tensorflow()
    start_session = tf.Session.__init__

    def start(session, target="", graph=None, config=None):
        config = config or tf.ConfigProto()
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        start_session(session, target, graph, config)

    patch.setattr(tf.Session, "__init__", start)
    patch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a script here; it returns the script's names.

    name: of a script here, or a path; flags: one string, or a list of words; whole: as
    a reader's run, else without the slow parts.
    """
    monkeypatch.chdir(tmp_path)

    def run_script(name, flags="", whole=False):
        path = os.path.join(ROOT, name)
        words = flags.split() if isinstance(flags, str) else flags
        monkeypatch.setattr(sys, "argv", [path, *words])
        with pytest.MonkeyPatch.context() as patch:
            if not whole:
                leave_out_the_slow_parts(patch)
            return SimpleNamespace(**runpy.run_path(path, run_name="__main__"))

    return run_script


@pytest.fixture
def refused(run, tmp_path, capsys):
    """Return a function that gives a script bad flags and returns its one line on them.

    It must end with status 2 and leave what is in the folder as it was.
    """
    (tmp_path / "old.png").write_bytes(b"precious")

    def refuse(name, flags):
        before = sorted(os.listdir("."))
        with pytest.raises(SystemExit) as ended:
            run(name, flags)
        err = capsys.readouterr().err
        assert (ended.value.code, err.count("\n")) == (2, 1), err
        assert sorted(os.listdir(".")) == before
        assert (tmp_path / "old.png").read_bytes() == b"precious"
        return err

    return refuse


def users_environment(**environment):
    """Return that of a terminal without a display, where nobody has set anything."""
    unset = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND", "PYTHONUNBUFFERED",
             "PYTHONIOENCODING", "PYTHONUTF8")
    env = {k: v for k, v in os.environ.items() if k not in unset}
    return dict(env, **environment)


class Process:
    """A script in a process of its own, as in a terminal without a display.

    flags: one string; display: an X display's name; start_in: the working folder.
    """

    def __init__(self, script, flags, start_in, display=None, **environment):
        if display:
            environment["DISPLAY"] = display
        self.process = subprocess.Popen(
            [sys.executable, script, *flags.split()], cwd=str(start_in),
            env=users_environment(**environment), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, universal_newlines=True, encoding="utf-8",
        )

    def wait_for(self, text):
        """Read its output up to the first line that holds the text; return that."""
        for line in self.process.stdout:
            if text in line:
                return line
        raise AssertionError(f"ended without {text!r}: {self.process.stderr.read()}")

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def kill(self):
        self.process.kill()
        return self.process.communicate()[0]

    def end(self, seconds=300):
        """Wait; return exit status, standard output, standard error but for C++'s."""
        out, err = self.process.communicate(timeout=seconds)
        own = [line for line in err.splitlines() if not is_of_the_start(line)]
        return self.process.returncode, out, "\n".join(own)


def is_of_the_start(line):
    """Tell whether the line is of TensorFlow's core, as it starts."""
    return line.startswith("WARNING: All log messages before absl::") or (
        line[:1] in "IWE" and line[1:5].isdigit() or not line)


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a script in a process of its own.

    What still runs at the end of the test is killed.
    """
    started = []

    def start_script(name, flags="", start_in=tmp_path, **environment):
        path = os.path.join(ROOT, name)
        started.append(Process(path, flags, start_in, **environment))
        return started[-1]

    yield start_script
    for each in started:
        each.kill()


def is_whole_png(path):
    with open(str(path), "rb") as f:
        content = f.read()
    return content[:8] == b"\x89PNG\r\n\x1a\n" and content[-8:-4] == b"IEND"


@pytest.fixture
def screen():
    """Yield the name of a virtual display that has a window manager."""
    pytest.importorskip("tkinter", reason="skipped: needs Python's tkinter")
    for program in ("Xvfb", "xdotool", "openbox", "wmctrl"):
        if not shutil.which(program):
            pytest.skip(f"skipped: needs {program}")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1500x1000x24"],
        pass_fds=[write], stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        name = ":" + pipe.readline().strip()
    manager = subprocess.Popen(["openbox"], env=dict(os.environ, DISPLAY=name),
                               stderr=subprocess.DEVNULL)
    yield name
    for process in (manager, server):
        process.terminate()
        process.wait()


@pytest.fixture
def serve(tmp_path):
    """Yield a server's address for tmp_path / "served", and what it was asked for."""
    (tmp_path / "served").mkdir()
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path):
            asked.append(path)
            return str(tmp_path / "served") + path

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    server.server_close()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_cell(kind, w, x, state):
    """Return what TensorFlow's cells make of rows of inputs: their [h], or [c, h]."""
    h = state[-1]
    if kind == "rnn":
        return [np.tanh(np.hstack([x, h]) @ w[0] + w[1])]
    if kind == "gru":
        r, u = np.split(sigmoid(np.hstack([x, h]) @ w[0] + w[1]), 2, axis=1)
        return [u * h + (1 - u) * np.tanh(np.hstack([x, r * h]) @ w[2] + w[3])]
    i, j, f, o = np.split(np.hstack([x, h]) @ w[0] + w[1], 4, axis=1)
    c = sigmoid(f + 1) * state[0] + sigmoid(i) * np.tanh(j)
    return [c, sigmoid(o) * np.tanh(c)]
