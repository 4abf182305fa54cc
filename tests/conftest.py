"""What the tests share: the scripts as modules, runs of them, a screen."""
import importlib
import os
import shutil
import signal
import subprocess
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)


@pytest.fixture
def load():
    """Return a function that imports a script by its name."""
    return lambda name: importlib.import_module(name)


class Run:
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
def run(tmp_path):
    """Return a function that starts a script; what still runs at the end is killed."""
    started = []

    def start(name, flags="", start_in=tmp_path, **environment):
        started.append(Run(os.path.join(ROOT, name), flags, start_in, **environment))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Return a function that gives main() bad flags and returns its one line on them.

    It must end with status 2 and leave what is in the folder as it was.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.png").write_bytes(b"precious")

    def refuse(main, flags):
        before = sorted(os.listdir("."))
        with pytest.raises(SystemExit) as ended:
            main(flags)
        out, err = capsys.readouterr()
        assert (ended.value.code, out, err.count("\n")) == (2, "", 1), err
        assert sorted(os.listdir(".")) == before
        assert (tmp_path / "old.png").read_bytes() == b"precious"
        return err

    return refuse


def read_log(tf, folder):
    """Return what --logdir wrote there: the values, and the graph's outer scopes."""
    (name,) = os.listdir(folder)
    events = list(tf.train.summary_iterator(os.path.join(folder, name)))
    (graph,) = [tf.GraphDef.FromString(e.graph_def) for e in events if e.graph_def]
    scopes = {node.name.split("/")[0] for node in graph.node}
    return [v.simple_value for e in events for v in e.summary.value], scopes


@pytest.fixture
def screen():
    """Yield the name of a virtual display that has a window manager if there is one."""
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
