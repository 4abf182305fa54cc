"""What the tests share: scripts run in this process or in their own, a screen."""
import os
import runpy
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ["MPLBACKEND"] = "agg"  # no window for a script that is run in this process


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a script as a reader does; it returns its names.

    name: of a script here, or a path; flags: one string, or a list of words.
    """
    monkeypatch.chdir(tmp_path)

    def run_script(name, flags=""):
        path = os.path.join(ROOT, name)
        words = flags.split() if isinstance(flags, str) else flags
        monkeypatch.setattr(sys, "argv", [path, *words])
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
        out, err = capsys.readouterr()
        assert (ended.value.code, out, err.count("\n")) == (2, "", 1), err
        assert sorted(os.listdir(".")) == before
        assert (tmp_path / "old.png").read_bytes() == b"precious"
        return err

    return refuse


class Process:
    """A script in a process of its own, as in a terminal without a display.

    flags: one string; display: an X display's name; start_in: the working folder.
    """

    def __init__(self, script, flags, start_in, display=None, **environment):
        unset = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
        env = {k: v for k, v in os.environ.items() if k not in unset}
        env.update({"DISPLAY": display} if display else {}, **environment)
        self.process = subprocess.Popen(
            [sys.executable, "-u", script, *flags.split()], cwd=str(start_in), env=env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True,
        )

    def wait_for(self, text):
        """Read its output up to the first line that holds the text; return that."""
        for line in self.process.stdout:
            if text in line:
                return line
        raise AssertionError(f"ended without {text!r}: {self.process.stderr.read()}")

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def end(self, seconds=120):
        """Wait; return exit status, standard output, standard error but for C++'s."""
        out, err = self.process.communicate(timeout=seconds)
        own = [line for line in err.splitlines() if not is_from_cpp(line)]
        return self.process.returncode, out, "\n".join(own)


def is_from_cpp(line):
    """Tell whether TensorFlow's core wrote the line before Python could quiet it."""
    return line.startswith("WARNING: All log messages before absl::") or (
        line[:1] in "IWE" and line[1:5].isdigit()
    )


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
        each.process.kill()
        each.process.communicate()


def read_log(tf, folder):
    """Return what --logdir wrote: {tag: its values}, and the graph's outer scopes."""
    (name,) = os.listdir(folder)
    events = list(tf.train.summary_iterator(os.path.join(folder, name)))
    (graph,) = [tf.GraphDef.FromString(e.graph_def) for e in events if e.graph_def]
    curves = {}
    for event in sorted(events, key=lambda event: event.step):
        for value in event.summary.value:
            curves.setdefault(value.tag, []).append(value.simple_value)
    return curves, {node.name.split("/")[0] for node in graph.node}


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
