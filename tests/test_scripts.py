"""What every script must keep, whatever it teaches.

What is the same in all, a test holds to be the same, and tries it in one or two.
"""
import ast
import collections
import glob
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tokenize

import nbformat
import numpy as np
import pytest
from conftest import ROOT, is_of_the_start, is_whole_png, users_environment
from nbclient import NotebookClient

SCRIPTS = sorted(os.path.basename(p) for p in glob.glob(os.path.join(ROOT, "*.py")))

# lines: how many the script may have
# headings: those of the article, in its order
# short: flags of a run of a few seconds, in which no two sizes are equal
# curves: what a seed determines, those of TensorBoard where it writes some
# labels: the shape of y in a file of one's own
CHAR = ("--num_epochs 1 --batch_size 400 --num_steps 40 --num_layers 2"
        " --num_hidden_units 9")
SEQ = "--num_epochs 2 --num_batches 5 --batch_size 40 --num_units 30 --num_layers 2"
TEXT = os.path.join(ROOT, "benchmarks", "README.md")  # a short one
FACTS = {
    "echo_rnn.py": {
        "lines": 404,
        "headings": "Setup | Generate data | Building the computational graph"
        " | Variables and placeholders | Unpacking | Forward pass"
        " | Calculating loss | Visualizing the training"
        " | Running a training session",
        "short": "--num_epochs 2 --total_series_length 770 --batch_size 7"
        " --truncated_backprop_length 10 --state_size 3",
        "curves": lambda run: {"total_loss": run.loss_list},
    },
    "rnn_internals.py": {
        "lines": 460,
        "headings": "RNN Architecture | Processing a batch"
        " | Processing a single line of input | Coming back to the 2 lines of code"
        " | Time-series forecasting",
        "short": "--num_epochs 2 --batch_size 4 --number_of_steps 6"
        " --number_of_features 2 --rnn_size 5",
        "curves": lambda run: {"loss": run.losses},
    },
    "char_rnn_numpy.py": {
        "lines": 320,
        "headings": "II. Char-RNN | III. Backpropagation | Forward pass"
        " | Backward pass",
        "short": "--num_epochs 1 --num_steps 30 --num_hidden_units 9 --data " + TEXT,
        "curves": lambda run: {"loss": run.loss_list},
    },
    "char_rnn.py": {
        "lines": 660,
        "headings": "II. Char-RNN | Learning about shapes"
        " | IV. Char-RNN TF Implementation (no RNN abstractions)"
        " | Creating the RNN | V. TF RNN Library Implementation",
        "short": CHAR,
        "curves": lambda run: {k: [y for _, y in v] for k, v in run.curves.items()},
    },
    "char_rnn_inside.py": {"lines": 385, "headings": "", "short": ""},
    "seq_classify.py": {
        "lines": 538,
        "headings": "Defining the Network | Simulating Time Steps"
        " | Sequence Classification",
        "short": SEQ,
        "curves": lambda run: {"loss": run.losses},
        "labels": [90],
    },
    "seq_label.py": {
        "lines": 633,
        "headings": "Defining the Network | Simulating Time Steps | Sequence Labelling",
        "short": SEQ,
        "curves": lambda run: {"loss": run.losses},
        "labels": [90, 7],
    },
    "char_rnn_cluster.py": {"lines": 418, "headings": ""},  # tests/test_cluster.py
}
DRAWING = [script for script in FACTS if "short" in FACTS[script]]
LEARNING = [script for script in FACTS if "curves" in FACTS[script]]
each_script = pytest.mark.parametrize("script", SCRIPTS)
each_drawing = pytest.mark.parametrize("script", DRAWING)
each_learning = pytest.mark.parametrize("script", LEARNING)


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def cells(text):
    """Return the text's cells: {heading: text}; what stands before them is one, too."""
    parts = re.split(r"^(?=# %% )", text, flags=re.M)
    return {part.split("\n")[0][5:]: part for part in parts}


# --- What its text says ---
@each_script
def test_has_its_facts_here_a_row_in_the_readme_and_no_more_lines_than_it_may(script):
    assert script in FACTS, f"add {script} to FACTS"
    assert re.search(rf"^\| \[\w+\]\({re.escape(script)}\)", read("README.md"), re.M)
    assert read(script).count("\n") <= FACTS[script]["lines"]
    headings = FACTS[script]["headings"].split(" | ")
    assert [name for name in ["", *cells(read(script))] if name in headings] == headings


@each_script
def test_inline_metadata_is_what_requirements_say_for_new_pythons(script):
    block = read(script).split("# /// script\n")[1].split("# ///\n")[0]
    python, needed = re.findall(r"^# [\w-]+ = (.*)$", block, re.M)
    needed = set(ast.literal_eval(needed))
    assert python == '">=3.9,<3.14"'
    assert needed <= set(re.sub(r";.*3\.9.*", "", read("requirements.txt")).split("\n"))
    with_tensorflow = "import tensorflow" in read(script)
    assert ({"tensorflow>=2.16,<3", "tf_keras>=2.16,<3"} <= needed) == with_tensorflow


LOADING = re.compile(r'^os\.environ\["TF_USE_.*?^import tensorflow.*?$', re.M | re.S)
BEFORE_FLAGS = re.compile(r"^tf\.disable_v2_.*?^(?=# %% Flags)", re.M | re.S)
CELLS = re.compile(r"^# %% (?:Flags|A live picture).*?(?=^# %% )", re.M | re.S)
BLOCK = re.compile(r"^(?:def|class) (\w+).*\n(?:(?:[ \t)].*)?\n)*", re.M)


@each_script
def test_what_the_scripts_share_is_the_same_and_stands_before_its_use(script):
    text, first = read(script), read("echo_rnn.py")
    if "import tensorflow" in text:
        assert LOADING.findall(text) == LOADING.findall(first) != []
        assert BEFORE_FLAGS.findall(text) == BEFORE_FLAGS.findall(first) != []
    if script in DRAWING:
        assert CELLS.findall(text) == CELLS.findall(first)
        assert len(CELLS.findall(text)) == 2
        assert '"module:" in os.environ.get("MPLBACKEND"' in text
        assert "plt.rcdefaults()" in cells(text)["Imports"]
        headings = list(cells(text))
        live = [h.startswith("A live picture") for h in headings].index(True)
        use = cells(text)[headings[live + 1]]
        assert re.search(r'^picture = LivePicture\("\w+", \(12, 6\.3\)\)', use, re.M)


def test_functions_of_one_name_have_one_text():
    copies = collections.defaultdict(set)
    for script in SCRIPTS:
        for block in BLOCK.finditer(read(script) + "\n"):
            copies[block.group(1)].add(block.group(0).rstrip())
    own = {"plot", "sample", "read", "score", "rnn_inputs"}
    assert {name for name, texts in copies.items() if len(texts) > 1} <= own


def prepare(script):
    """Return flags of a short run; the seq scripts get data that need no drawing."""
    if "labels" not in FACTS[script]:
        return FACTS[script]["short"]
    x, y = np.random.rand(90, 7, 5), np.zeros(FACTS[script]["labels"], int)
    y[::2], y[::3] = 1, 2
    np.savez("own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return SEQ + " --data own.npz"


# --- Shape comments: `# [rows, columns]`, or of a list `# each [rows, columns]` ---
SHAPE = re.compile(r"#[^\[]*?(each )?\[(\w[^\]]*)\](?:$| and )")


def shape_comments(text):
    """Return (line, name, each, sizes) of each comment on a name's shape.

    It stands in the statement that binds the name, or on the line before it.
    """
    found, comments, names, line = [], [], [], None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append(SHAPE.search(token.string))
        elif token.type == tokenize.NAME:
            names.append(token.string)
            line = line or token.start[0]
        elif token.type == tokenize.NEWLINE:
            found += [(line, names[0], *c.groups()) for c in comments if c]
            comments, names, line = [], [], None
    return found


def check_shapes(script, names):
    comments = [c for c in shape_comments(read(script)) if c[1] in names]
    assert comments
    for line, name, each, sizes in comments:
        expected = [eval(size, {}, names) for size in sizes.split(",")]
        for value in names[name] if each else [names[name]]:
            shape = value.shape  # a tuple, or TensorFlow's with None for what may vary
            shape = shape.as_list() if hasattr(shape, "as_list") else list(shape)
            assert len(shape) == len(expected), f"{name} in line {line}"
            fits = (real in (None, told) for real, told in zip(shape, expected))
            assert all(fits), f"{name} in line {line}"


@each_learning
def test_a_run_has_the_shapes_it_says_writes_its_curves_and_can_be_repeated(
        script, run, monkeypatch):
    """Of whole runs, but for the picture; another seed has others."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
    curves, flags = FACTS[script]["curves"], prepare(script) + " --plot p.png"
    logdir = " --logdir log" * ('"logdir"' in read(script))
    names = run(script, flags + logdir + " --seed 3", whole=True)
    known = curves(names)
    assert curves(run(script, flags + " --seed 3", whole=True)) == known
    assert curves(run(script, flags + " --seed 4", whole=True)) != known
    check_shapes(script, vars(names))

    if logdir:
        names.writer.close()
        (path,) = glob.glob(f"log/{script[:-3]}_[0-9]*/*tfevents*")
        events = list(names.tf.train.summary_iterator(path))
        values = [value for event in events for value in event.summary.value]
        for tag in known:
            written = [value.simple_value for value in values if value.tag == tag]
            np.testing.assert_allclose(written, known[tag], rtol=1e-6)
        graph = b"".join(event.graph_def for event in events)
        scopes = {node.name.split("/")[0] for node in
                  names.tf.GraphDef.FromString(graph).node}
        headings = FACTS[script]["headings"].replace(" ", "_").split("_|_")
        assert scopes & {*headings, "Training"}  # the graph's parts are the article's


@each_learning
def test_a_loss_that_is_not_finite_ends_the_run(script, run):
    rate = "1e38" if script != "echo_rnn.py" else "1e39"  # float32's infinity
    with pytest.raises(SystemExit, match="Loss (nan|inf): try a smaller --learning_r"):
        run(script, prepare(script) + f" --num_epochs 9 --learning_rate {rate}")


# --- Flags and documents ---
@pytest.fixture
def take_flags(monkeypatch, tmp_path):
    """Return a function that runs a script's cells to the end of Setup; the flags."""
    monkeypatch.chdir(tmp_path)

    def take(script, flags):
        monkeypatch.setattr(sys, "argv", [script, *flags])
        text = read(script)
        end = re.search(r"^# %% Setup\n[^\0]*?(?=^# %% )", text, re.M).end()
        names = {"__doc__": ast.get_docstring(ast.parse(text)), "__name__": "__main__",
                 "__file__": script}
        exec(compile(text[:end], script, "exec"), names)

    return take


def documents():
    """Return {name: text} of all that tells a reader what to run."""
    names = ["README.md", "benchmarks/README.md",
             *(os.path.relpath(p, ROOT) for p in glob.glob(f"{ROOT}/notebooks/try/*"))]
    texts = {name: read(name) for name in names}
    texts.update((s, ast.get_docstring(ast.parse(read(s)))) for s in SCRIPTS)
    return texts


def test_documented_commands_are_accepted(take_flags, run):
    run("char_rnn.py", CHAR)  # for --sample and --resume
    command = re.compile(r"(?:python[\d.]*|uv run) ([\w/]+\.py)([^`\n#|&;<]*)")
    for where, text in documents().items():
        found = command.findall(text)
        assert found, f"no command in {where}"
        for name, flags in found:
            assert os.path.exists(os.path.join(ROOT, name)), f"{where}: {name}"
            if name in SCRIPTS:
                take_flags(name, shlex.split(flags))  # else it exits


def test_links_land_on_files_and_headings_that_are_there():
    for where, text in documents().items():
        folder = "notebooks" if "try/" in where else os.path.dirname(where)
        for link in re.findall(r"\]\((?!http)([^)\s]+)\)", text):
            name, _, anchor = link.partition("#")
            name = os.path.normpath(os.path.join(folder, name)) if name else where
            assert os.path.exists(os.path.join(ROOT, name)), f"{where}: {link}"
            if anchor:
                headings = re.findall("^#+ (.+)$", read(name), re.M)
                anchors = [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-")
                           for h in headings]
                assert anchor in anchors, f"{where}: {link}"


def test_each_picture_is_shown_and_has_its_command():
    texts = "\n".join(documents().values())
    made = re.findall(r"^python (\w+)\.py.* --plot \1\.png$", texts, re.M)
    made += re.findall(r"python images/(?!all)(\w+)\.py", texts)
    there = {os.path.basename(p) for p in glob.glob(f"{ROOT}/images/*.[pg][ni][gf]")}
    assert {name.split(".")[0] for name in there} == set(made)
    pages = {f"{name[:-3]}.png" for name in DRAWING}
    assert there == pages | set(re.findall(r"\]\((?:\.\./)?images/([^)]+)\)", texts))


@each_script
def test_help_is_whole(script, run, capsys):
    if script == "char_rnn_inside.py":
        run("char_rnn.py", CHAR)
    with pytest.raises(SystemExit) as ended:
        run(script, "--help")
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--learning_rate LEARNING_RATE" in told and "(default: )" not in told
    assert ast.get_docstring(ast.parse(read(script))) in told


def test_bad_flags_get_one_line(refused):
    for flags in ["--num_epochs 0", "--num_epochs x", "--num_epoch 3", "--seed -1",
                  "--seed 4294967296", "--learning_rate nan", "--no_such_flag 1"]:
        assert flags.split()[0].lstrip("-") in refused("echo_rnn.py", flags)


def test_a_consoles_command_line_is_not_the_scripts(monkeypatch):
    """Pasted, a script has no file; run by cells in an editor, it may have one."""
    start = read("echo_rnn.py").split("\n# %% Setup")[0]
    for console in ["/opt/pydevconsole.py --mode=client", "/bin/ipython -i", "-c 7", "",
                    "/lib/ipykernel_launcher.py -f kernel-1.json"]:
        monkeypatch.setattr(sys, "argv", console.split() or [""])
        for names in {}, {"__file__": "/home/echo_rnn.py"}:
            exec(compile(start, "echo_rnn.py", "exec"), names)
            assert names["argv"] == []


# --- As a reader runs it ---
@each_drawing
def test_on_standard_input_it_stands_alone_and_does_not_complain(
        script, run, tmp_path):
    """In Windows' encoding, and with a backend that a notebook hands on."""
    if script == "char_rnn_inside.py":
        run("char_rnn.py", CHAR + " --plot p.png")
    # seq_classify.py draws its data, by what is the same in both.
    flags = SEQ if script == "seq_classify.py" else prepare(script)
    before = os.listdir(str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-", *flags.split()],
        input=read(script).encode(), cwd=str(tmp_path), capture_output=True,
        env=users_environment(PYTHONIOENCODING="cp1252", MPLBACKEND="module://no.such"))
    own = [e for e in done.stderr.decode().splitlines() if not is_of_the_start(e)]
    assert (done.returncode, own) == (0, [])
    assert "arning" not in done.stdout.decode()
    picture = script.replace(".py", ".png")
    left = [picture, *before] + ["char_rnn_1"] * (script == "char_rnn.py")
    assert sorted(os.listdir(str(tmp_path))) == sorted(left)
    assert is_whole_png(tmp_path / picture)


def test_lines_arrive_at_once_and_ctrl_c_keeps_the_picture_there_is(start, tmp_path):
    training = start("echo_rnn.py", "--total_series_length 2000 --num_epochs 99999")
    first = os.read(training.process.stdout.fileno(), 100000)
    assert len(first) < 1000  # a buffer is 8192 bytes
    for _ in range(2):
        training.wait_for("poch ")
    training.interrupt()
    status, out, err = training.end()
    assert (status, err) == (0, "")
    assert out.endswith("Picture in echo_rnn.png\n")
    assert os.listdir(str(tmp_path)) == ["echo_rnn.png"]
    assert is_whole_png(tmp_path / "echo_rnn.png")


def test_a_place_that_cannot_be_written_to_ends_the_run_before_the_training(
        run, tmp_path, capsys):
    (tmp_path / "folder.png").mkdir()
    for flags in "--plot folder.png", "--plot p.xyz":
        with pytest.raises((OSError, ValueError)):
            run("echo_rnn.py", f"{FACTS['echo_rnn.py']['short']} {flags}", whole=True)
        assert "New data" not in capsys.readouterr().out


def test_a_users_configuration_changes_neither_numbers_nor_pictures(run, tmp_path):
    import matplotlib
    flags = FACTS["echo_rnn.py"]["short"] + " --plot images/p.png"
    made = []
    for changes in {}, {"font.weight": "bold", "text.usetex": True}:
        matplotlib.rcParams.update(changes)
        losses = run("echo_rnn.py", flags, whole=True).loss_list
        made.append((losses, (tmp_path / "images" / "p.png").read_bytes()))
    assert made[0] == made[1]


# --- The live picture ---
def test_drawing_takes_a_fifth_of_the_time_and_slow_motion_is_where_one_watches(
        run, monkeypatch):
    """By a clock that is ours, on which computing, and drawing, take 2 s each."""
    echo = run("echo_rnn.py", FACTS["echo_rnn.py"]["short"] + " --plot p.png")
    picture, clock, times = echo.picture, [0.0], []

    def pass_time(seconds):
        clock[0] += seconds

    def draw(*_, **__):
        times.append(clock[0])
        pass_time(2)

    monkeypatch.setattr(echo.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(echo.time, "sleep", pass_time)
    monkeypatch.setattr(picture.figure, "savefig", draw)
    picture.next_time = -1
    while clock[0] < 200:
        pass_time(0.1)
        if picture.is_due(slow_motion=True):  # there is none in a file
            pass_time(2)
            picture.draw()
    assert 9 <= len(times) <= 10 and min(np.diff(times)) > 20

    picture.output = type("Output", (), {"update": draw})()  # as in a notebook
    for _ in range(5):
        assert picture.is_due(slow_motion=True)
        picture.draw()
    assert min(np.diff(times)[-4:]) > 2.05  # time to see it


def test_ctrl_c_is_the_old_handlers_again_afterwards(run):
    noted = []
    old = signal.signal(signal.SIGINT, lambda *_: noted.append(1))
    try:
        echo = run("echo_rnn.py", FACTS["echo_rnn.py"]["short"])
        with echo.picture:
            os.kill(os.getpid(), signal.SIGINT)
            echo.picture.is_due()
            raise AssertionError("Ctrl-C was not heard")
        assert not noted
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, old)
    assert noted == [1]


def test_a_window_is_resized_and_closed_in_training_or_stays_until_closed(
        start, screen, tmp_path):
    def on_screen(*command):
        env = dict(os.environ, DISPLAY=screen)
        return subprocess.check_output(command, env=env, universal_newlines=True)

    for epochs, total, in_training in (4, 50000, True), (1, 1000, False):
        flags = f"--num_epochs {epochs} --total_series_length {total}"
        started = start("echo_rnn.py", flags, display=screen)
        window = on_screen("xdotool", "search", "--sync", "--name", "echo_rnn").split()
        if in_training:
            started.wait_for("Step 0")
            on_screen("xdotool", "windowsize", "--sync", window[-1], "900", "700")
            assert "900x700" in on_screen("xdotool", "getwindowgeometry", window[-1])
        else:
            started.wait_for("Picture in echo_rnn.png")
            time.sleep(1)
            assert started.process.poll() is None
        on_screen("wmctrl", "-i", "-c", window[-1])
        status, out, err = started.end()
        assert (status, err) == (0, "")
        assert not in_training or "New data, epoch 3" in out
        assert os.listdir(str(tmp_path)) == ["echo_rnn.png"]  # it is that of the end
        assert is_whole_png(tmp_path / "echo_rnn.png")


# --- In a notebook ---
NOTEBOOK = "--num_epochs 1 --total_series_length 250"


def made_small():
    """Return echo_rnn.py with the flags of a short run as their defaults."""
    text, words = read("echo_rnn.py"), NOTEBOOK.split()
    for name, value in zip(words[::2], words[1::2]):
        pattern = rf'(flag\(\s*"{name[2:]}",\s*)[^,]+,'
        text, count = re.subn(pattern, rf"\g<1>{value},", text)
        assert count == 1, name
    return text


def pictures(outputs):
    return [o for o in outputs if "image/png" in o.get("data", {})]


def test_a_notebook_runs_it_by_cells_again_whole_and_by_percent_run(tmp_path):
    """In one kernel, one after the other."""
    sources = list(cells(made_small()).values())
    (again,) = [i for i, s in enumerate(sources) if "to run cells again" in s]
    (training,) = [i for i, s in enumerate(sources) if "\nwith picture" in s]
    flags = NOTEBOOK + " --seed 2 --plot p.png"
    whole = [made_small(), f"%run {os.path.join(ROOT, 'echo_rnn.py')} {flags}", "seed"]
    book = nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_code_cell(source)
        for source in [*sources, *sources[again:], *whole]])
    environment = dict(os.environ)
    os.environ.pop("MPLBACKEND", None)  # the kernel chooses its own
    try:
        NotebookClient(book, timeout=600,
                       resources={"metadata": {"path": str(tmp_path)}}).execute()
    finally:
        os.environ.update(environment)
    *outputs, by_run, seed = [cell.outputs for cell in book.cells]

    # One picture, under the cell that trains, the same for the same seed. The live
    # one's place is empty, and the last one stands at the end, where consoles that
    # know no updates show it.
    with_pictures = [i for i, each in enumerate(outputs) if pictures(each)]
    retraining, whole = training + len(sources) - again, len(outputs) - 1
    assert with_pictures == [training, retraining, whole]
    first, second, _ = (pictures(outputs[i]) for i in with_pictures)
    assert len(first) == 1 and first[0]["data"] == second[0]["data"]
    live = [o for o in outputs[training] if o.output_type == "display_data"]
    assert [dict(each.data) for each in live[:-1]] == [{"text/html": ""}]
    assert not pictures(by_run) and is_whole_png(tmp_path / "p.png")
    assert seed[0]["data"]["text/plain"] == "2"  # %run keeps its flags
    assert sorted(os.listdir(str(tmp_path))) == ["echo_rnn.png", "p.png"]
