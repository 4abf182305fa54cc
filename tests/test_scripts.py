"""What every script must keep, whatever it teaches.

New scripts are found by themselves; each adds its facts here.
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
import unittest.mock

import nbformat
import numpy as np
import pytest
from conftest import (
    ROOT,
    is_of_the_start,
    is_whole_png,
    leave_out_the_slow_parts,
    users_environment,
)
from nbclient import NotebookClient

SCRIPTS = sorted(os.path.basename(p) for p in glob.glob(os.path.join(ROOT, "*.py")))

# headings: those of the article, in its order
# short: flags of a run of a few seconds, in which no two sizes are equal
# lines: what each printed line matches
# leaves, where there is need: what a run leaves behind beside its picture
# curves: those of TensorBoard, from the run's names; scopes: some of its graph's
FACTS = {
    "echo_rnn.py": {
        "headings": "Setup | Generate data | Building the computational graph"
        " | Variables and placeholders | Unpacking | Forward pass | Calculating loss"
        " | Visualizing the training | Running a training session",
        "curves": lambda run: {"total_loss": run.loss_list},
        "scopes": ["Unpacking", "Forward_pass", "Calculating_loss"],
        "short": "--num_epochs 2 --total_series_length 770 --batch_size 7"
        " --truncated_backprop_length 10 --stride 9 --state_size 3",
        "lines": r"New data, epoch \d|Step \d+ Loss \d\.\d+|(Inputs|Echoes)( \d)+"
        r"|23 numbers to learn|10 states, each \(7, 3\)"
        r"|Guessing costs ln 2 = 0.693147 nats"
        r"|An epoch's first batch costs 0\.\d+ nats at best",
    },
    "rnn_internals.py": {
        "headings": "RNN Architecture | Processing a batch"
        " | Processing a single line of input | Coming back to the 2 lines of code"
        " | Time-series forecasting",
        "curves": lambda run: {"loss": run.losses},
        "scopes": ["The_2_lines_of_code", "Time-series_forecasting"],
        "short": "--num_epochs 2 --batch_size 4 --number_of_steps 6"
        " --number_of_features 2 --rnn_size 5",
        "lines": r"|(The|After the) (batch|arrays|first line|last value) .+|  .+"
        r"|Time step t.*: x = .+"
        r"|Is it so\? .+|Epoch +\d+ loss \d\.\d+|Root mean square .+"
        r"|A series to learn from: .+\(4, 594, 3\)|It is scaled to .+ the mean",
    },
    "char_rnn.py": {
        "headings": "II. Char-RNN | III. Backpropagation | Forward pass"
        " | IV. Char-RNN TF Implementation (no RNN abstractions)"
        " | V. TF RNN Library Implementation",
        "curves": lambda run: {k: [y for _, y in v] for k, v in run.curves.items()},
        "scopes": ["Data_placeholders", "Training", "Sampling", "rnn_inputs"],
        "short": "--num_epochs 1 --batch_size 400 --num_steps 40 --num_layers 2"
        " --num_hidden_units 9",
        "lines": r"Reading python|\d+ characters to learn from, \d+ to .+"
        r"|(guessing|single characters|pairs) +\d.+|Epoch  1  training .+|  \| .*"
        r"|After epoch 1, at temperature (0.5|1.0):|Unit \d+ .+|An answer hangs on .+"
        r"|(Checkpoints|the network after epoch 1 is) in char_rnn_1"
        r"|.+ is nowhere in the text looked at|Validation begins below training.+"
        r"|in which it learned.+|The first [Xy] begins with .{11}:( \d+){9}"
        r"|Before training, section III's network costs 4\.6.+ = 4\.6\d+",
        "leaves": ["char_rnn_1"],
    },
    "seq_classify.py": {
        "headings": "Defining the Network | Simulating Time Steps"
        " | Sequence Classification",
        "curves": lambda run: {"loss": run.losses, "error": run.errors},
        "scopes": ["Simulating_Time_Steps", "Sequence_Classification"],
        "short": "--num_epochs 2 --num_batches 9 --batch_size 40 --num_units 50"
        " --num_layers 3 --truncated_backprop_length 7",
        "lines": r"Drawing digits|Epoch +\d error \S+% loss \S+, \d+ examples/s"
        r"|Without reading, always \d: error \S+%|Guessing costs 2\.30\d+ nats"
        r"|output: .+ \(\?, \?, 50\)|42660 weights to learn|First batch: loss \d\.\d+"
        r"|x_train \(10000, 28, 28\) y_train \(10000,\) x_test \(2000, 28, 28\)",
    },
    "seq_label.py": {
        "headings": "Defining the Network | Simulating Time Steps | Sequence Labelling",
        "curves": lambda run: {"loss": run.losses, "error": run.errors},
        "scopes": ["Simulating_Time_Steps", "Sequence_Labelling"],
        "short": "--num_epochs 2 --num_batches 9 --batch_size 40 --num_units 50"
        " --num_layers 3 --truncated_backprop_length 6 --hidden_units 10",
        "lines": r"Epoch +\d error \S+% \(known words \S+%, new \S+%\), of words \S+%,"
        r" loss \S+, \d+ examples/s|Without reading, always \w: error \S+%"
        r"|Drawing words|\S+% if padding were a letter that is always read right"
        r"|output: .+ \(\?, \?, 50\)|42066 weights to learn|First batch: loss \d\.\d+"
        r"|x_train \(720, 14, 128\) y_train \(720, 14\) x_test \(1000, 14, 128\)"
        r"|Guessing costs 2\.\d+ nats",
    },
    "char_rnn_cluster.py": {"headings": ""},  # ours; tests/test_cluster.py runs it
}
each_script = pytest.mark.parametrize("script", SCRIPTS)
each_with_picture = pytest.mark.parametrize(
    "script", [s for s in SCRIPTS if s != "char_rnn_cluster.py"]
)


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def cells(text):
    """Return the text's cells: {heading: text}; what stands before them is one, too."""
    parts = re.split(r"^(?=# %% )", text, flags=re.M)
    return {part.split("\n")[0][5:]: part for part in parts}


# --- What its text says ---
@each_script
def test_has_its_facts_here_and_a_row_in_the_readme(script):
    assert script in FACTS, f"add {script} to FACTS"
    assert re.search(rf"^\| \[?`{re.escape(script)}`", read("README.md"), re.M)


@each_script
def test_headings_are_the_articles_in_its_order(script):
    headings = FACTS[script]["headings"].split(" | ")
    assert [name for name in ["", *cells(read(script))] if name in headings] == headings


def requirements():
    lines = read("requirements.txt").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@each_script
def test_inline_metadata_is_what_requirements_say_for_new_pythons(script):
    (block,) = re.findall(r"^# /// script\n((?:#.*\n)+?)# ///$", read(script), re.M)
    python, needed = re.findall(r"^# ([\w-]+) = (.*)$", block, re.M)
    assert python == ("requires-python", '">=3.9,<3.14"')
    needed = set(ast.literal_eval(needed[1]))
    of_new = {re.sub(r";.*3\.9.*", "", requirement) for requirement in requirements()}
    assert {"tensorflow>=2.16,<3", "tf_keras>=2.16,<3"} <= needed <= of_new


LOADING = re.compile(r'^os\.environ\["TF_USE_.*?^tf\.enable_resource.*?$', re.M | re.S)
BLOCK = re.compile(r"^(?:def|class) (\w+).*\n(?:(?:[ \t)].*)?\n)*", re.M)


@each_with_picture
def test_loading_lines_and_the_common_cell_are_the_same(script):
    first = read("echo_rnn.py")
    assert LOADING.findall(read(script)) == LOADING.findall(first) != []
    common = [text for name, text in cells(first).items() if "same in every" in name]
    assert len(common) == 5
    for cell in common:
        assert cell.strip() in read(script)


@each_script
def test_the_lesson_comes_first_and_the_picture_directly_before_its_use(script):
    text = read(script)
    setup = text.index("# %% Setup")
    saved_run = "# %% A saved run" in text
    assert text[:setup].count("\n") < (98 if saved_run else 73)
    if script != "char_rnn_cluster.py":
        use = text.index("picture = LivePicture(")
        assert use - text.index("class LivePicture:") < 4650 < use - setup
        assert 'plot_file, (12, 6.3))' in text[use:]  # inches: it fits a small screen


def test_the_cluster_validates_with_the_part_that_char_rnn_takes():
    of_both = [re.findall(r"^validation = .+|^training, validation = .+", read(name),
                          re.M) for name in ("char_rnn.py", "char_rnn_cluster.py")]
    assert of_both[0] == of_both[1] and len(of_both[0]) == 2


def test_functions_of_one_name_have_one_text():
    copies = collections.defaultdict(set)
    for script in SCRIPTS:
        for block in BLOCK.finditer(read(script) + "\n"):
            copies[block.group(1)].add(block.group(0).rstrip())
    assert [name for name, texts in copies.items() if len(texts) > 1] == ["plot"]


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


@each_with_picture
def test_shape_comments_are_true(script, run):
    names = vars(run(script, FACTS[script]["short"] + " --plot p.png"))
    comments = [c for c in shape_comments(read(script)) if c[1] in names]
    assert len(comments) > 1
    for line, name, each, sizes in comments:
        expected = [eval(size, {}, names) for size in sizes.split(",")]
        for value in names[name] if each else [names[name]]:
            shape = value.shape  # a tuple, or TensorFlow's with None for what may vary
            shape = shape.as_list() if hasattr(shape, "as_list") else list(shape)
            assert len(shape) == len(expected), f"{name} in line {line}"
            fits = (real in (None, told) for real, told in zip(shape, expected))
            assert all(fits), f"{name} in line {line}"


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
        return names["parser"].parse_args(flags)

    return take


def commands(text):
    """Return (script, flags) of every `python X.py …` in the text."""
    found = re.findall(r"(?:python[\d.]*|uv run) ([\w/]+\.py)([^`\n#|&;]*)", text)
    return [(name, shlex.split(flags)) for name, flags in found]


def test_documented_commands_are_accepted(take_flags, run):
    run("char_rnn.py", FACTS["char_rnn.py"]["short"])  # for --sample and --resume
    texts = {s: ast.get_docstring(ast.parse(read(s))) for s in SCRIPTS}
    texts["README.md"] = read("README.md")
    texts["benchmarks/README.md"] = read("benchmarks/README.md")
    for where, text in texts.items():
        found = list(commands(text))
        assert found, f"no command in {where}"
        for name, flags in found:
            assert os.path.exists(os.path.join(ROOT, name)), f"{where}: {name}"
            if name in SCRIPTS:
                take_flags(name, flags)  # else it exits


@each_script
def test_help_is_whole(script, run, capsys):
    with pytest.raises(SystemExit) as ended:
        run(script, "--help")
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--num_epochs NUM_EPOCHS" in told and "(default: )" not in told
    assert ast.get_docstring(ast.parse(read(script))) in told


@pytest.mark.parametrize("optimized", ["", "-OO"])  # -OO: without docstrings
def test_help_comes_on_a_terminal_that_knows_ascii_only(optimized, tmp_path):
    if optimized and sys.version_info < (3, 8):
        pytest.skip("skipped: TensorFlow 1.15 itself does not load under -OO")
    path = os.path.join(ROOT, "seq_label.py")
    told = subprocess.check_output([sys.executable, *optimized.split(), path, "--help"],
                                   cwd=str(tmp_path), stderr=subprocess.DEVNULL,
                                   env=users_environment(PYTHONIOENCODING="ascii"))
    assert "classes 0, 1, 2, …" in re.sub(r"\s+", " ", told.decode("utf-8"))


@each_script
@pytest.mark.parametrize(
    "flags", ["--num_epochs 0", "--num_epochs x", "--seed -1", "--seed 4294967296",
              "--learning_rate inf", "--learning_rate nan", "--no_such_flag 1", "3"]
)
def test_bad_flags_get_one_line(script, flags, refused):
    assert flags.split()[0].lstrip("-") in refused(script, flags)


@each_with_picture
def test_a_place_that_cannot_be_written_to_gets_one_line(script, refused, tmp_path):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "folder.png").mkdir()
    for flags in ["--plot file/p.png", "--plot p.xyz", "--plot p", "--plot .png",
                  "--plot folder.png", "--logdir file", "--logdir file/log"]:
        assert flags in refused(script, flags)


@pytest.mark.parametrize("script", ["rnn_internals.py", "seq_classify.py",
                                    "seq_label.py"])
def test_a_place_for_predictions_is_tried_before_the_training(
        script, refused, tmp_path):
    (tmp_path / "folder.npz").mkdir()
    for flags in ["--predictions folder.npz", "--predictions p.csv",
                  "--predictions old.png/p.npz"]:
        assert flags in refused(script, flags)


def test_a_file_that_may_not_be_written_is_refused_and_a_folder_is_made(
        run, refused, tmp_path, monkeypatch):
    """As root all may be written: what open() says is made up."""
    real_open = open

    def open_but(file, mode="r", *args, **kwargs):
        if file == "old.png" and mode != "r":
            raise PermissionError(13, "Permission denied")
        return real_open(file, mode, *args, **kwargs)

    monkeypatch.setattr("builtins.open", open_but)
    assert "Permission denied" in refused("echo_rnn.py", "--plot old.png")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    flags = FACTS["echo_rnn.py"]["short"] + " --plot images/of/echo.PNG"
    run("echo_rnn.py", flags, whole=True)
    assert os.listdir("images/of") == ["echo.PNG"]
    assert is_whole_png("images/of/echo.PNG")


@pytest.mark.parametrize("script, files", [("char_rnn.py", ["p.png"]),
                                           ("seq_label.py", ["p.png", "n.npz"])])
def test_on_a_full_disk_training_goes_on_and_old_files_stay(
        script, files, start, tmp_path):
    """No file may have more than 5000 bytes here: writing more fails, as it does there.

    Each failure is told in one line, once. All scripts write by the same function.
    """
    resource = pytest.importorskip("resource", reason="skipped: not on Windows")
    for name in files:
        (tmp_path / name).write_bytes(b"precious")
    flags = FACTS[script]["short"] + " --plot p.png --logdir log"
    flags += " --predictions n.npz" * (len(files) > 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        training = start(script, flags)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    status, out, err = training.end()
    assert (status, err) == (0, "")
    for name in [*files, f"log/{script[:-3]}_1/events.out.tfevents"]:
        assert len(re.findall(rf"^{name}\S* is not written: ", out, re.M)) == 1, out
    for name in files:
        assert (tmp_path / name).read_bytes() == b"precious"
    assert not glob.glob(str(tmp_path / "*.part"))
    epochs = re.search("--num_epochs (.)", flags).group(1)
    assert f"poch  {epochs}" in out


@each_with_picture
def test_window_and_ctrl_c_wait_for_few_and_small_runs_of_the_session(script, run,
                                                                      tmp_path):
    """Between two answers of the picture at most four runs, as small as a step's.

    The rows that are fed count: those of a validation are no more than three batches.
    """
    made = "picture = LivePicture("
    before, after = read(script).split(made)
    line, rest = after.split("\n", 1)
    watched = f"""{before}{made}{line}
runs, flush, run_session = [[]], picture.flush_events, tf.Session.run
picture.flush_events = lambda: (runs.append([]), flush())


def run_noted(self, fetches, feed_dict=None, *args, **kwargs):
    fed = [np.shape(value) for value in (feed_dict or {{}}).values()]
    runs[-1].append(max((shape[0] for shape in fed if shape), default=0))
    return run_session(self, fetches, feed_dict, *args, **kwargs)


tf.Session.run = run_noted
{rest}
tf.Session.run = run_session
"""
    (tmp_path / script).write_text(watched, encoding="utf-8")
    flags = FACTS[script]["short"] + " --plot p.png"
    names = run(str(tmp_path / script), flags)
    batch_size = int(re.search(r"--batch_size (\d+)", flags).group(1))
    training = names.runs[1:-1]
    assert len(training) > 10
    if script == "rnn_internals.py":
        training = [each for each in training if len(each) < 72]  # it runs ahead
    assert max(map(len, training)) <= 4
    assert max(rows for each in training for rows in each) <= max(3 * batch_size, 50)


@each_script
@pytest.mark.parametrize("console", [
    "/opt/helpers/pydev/pydevconsole.py --mode=client --port=1",
    "/bin/ipython -i --simple-prompt", "/lib/ipykernel_launcher.py -f kernel-1.json",
    "-c 7", "",
])
def test_a_consoles_command_line_is_not_the_scripts(script, console, monkeypatch):
    """Pasted, a script has no file; run by cells in an editor, it may have one."""
    monkeypatch.setattr(sys, "argv", console.split() or [""])
    flags_cell = read(script).index("# %% The same in every script: a constant")
    start = read(script)[:read(script).index("\n# %%", flags_cell + 1)]
    for names in {}, {"__file__": "/home/" + script}:
        exec(compile(start, script, "exec"), names)
        assert names["argv"] == []


@pytest.mark.parametrize("script, flags, words", [
    ("echo_rnn.py", "--batch_size 7", "--batch_size must divide the 50000 time steps"),
    ("echo_rnn.py", "--truncated_backprop_length 10001", "a row of the data has 10000"),
    ("echo_rnn.py", "--echo_step 10000", "a row of the data has 10000 time steps"),
    ("echo_rnn.py", "--stride 16", "--stride is above --truncated_backprop_length"),
    ("rnn_internals.py", "--series_length 399", "--series_length 399 is not in [400"),
    ("rnn_internals.py", "--batch_size 2000", "2400 values to learn from do not fill"),
    ("char_rnn.py", "--num_steps 90000", "are too few for --batch_size 50 --num_steps"),
    ("char_rnn.py", "--dropout 1", "--dropout is below 1"),
    ("char_rnn.py", "--model numpy --num_layers 2", "--model numpy has 1 row"),
    ("char_rnn.py", "--model manual --dropout 0.5", "0 in III and IV"),
    ("char_rnn.py", "--prime Ω", "--prime: {'Ω'} not in the text"),
    ("char_rnn.py", "--resume", "this folder holds no saved run: train first"),
    ("char_rnn.py", "--score_learning_rate 0.1", "--score_learning_rate is for --sc"),
    ("char_rnn.py", "--sample 9", "this folder holds no saved run: train first"),
    ("char_rnn.py", "--pattern [a", "--pattern [a: unterminated character set"),
    ("seq_classify.py", "--dropout 1", "--dropout 1.0 is not in [0, 1)"),
    ("seq_classify.py", "--learning_rate nan", "--learning_rate nan is not"),
    ("seq_classify.py", "--shift -1", "--shift -1 is not in [0"),
    ("seq_classify.py", "--shift 14", "--shift 14 moves too much of 28 x 28"),
    ("seq_classify.py", "--truncated_backprop_length 29", "is above the 28 steps"),
    ("seq_label.py", "--split folds", "--split folds needs --data ocr"),
    ("seq_label.py", "--shift 4", "--shift 4 moves too much of 16 x 8"),
    ("seq_label.py", "--truncated_backprop_length 15", "is above the 14 steps"),
    ("seq_label.py", "--cell none --bidirectional 1", "--bidirectional needs a --cell"),
    ("seq_label.py", "--cell none --truncated_backprop_length 2", "that reads one way"),
    ("seq_label.py", "--bidirectional 1 --truncated_backprop_length 2", "one way"),
])
def test_flags_that_do_not_fit_get_one_line(script, flags, words, refused):
    assert words in refused(script, flags)


def test_each_picture_has_its_command_in_the_readme():
    text = read("README.md") + read("benchmarks/README.md").replace("](../", "](")
    made = re.findall(r"^python (\w+)\.py.* --plot \1\.png$", text, re.M)
    made += re.findall(r"`python images/(?!all)(\S+)\.py`", text)
    small = re.findall(r'^    "(\w+)": \(', read("images/small.py"), re.M)
    made += ["tasks", *(f"small_{name}" for name in small)]
    made = [f"images/{name}.png" for name in made]
    made += ["images/echo_rnn.gif"]  # by images/all.py, which the README names
    there = glob.glob(os.path.join(ROOT, "images", "*.[pg][ni][gf]"))
    assert set(made) == {os.path.relpath(path, ROOT) for path in there}
    assert set(made) == set(re.findall(r"\]\((images/\S+)\)", text))


# --- What it computes ---
@each_with_picture
def test_same_seed_same_losses_and_another_seed_others(script, run, monkeypatch):
    """Of whole runs, but for the picture."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: None)
    flags = FACTS[script]["short"] + " --plot p.png --seed "
    runs = [run(script, flags + seed, whole=True) for seed in ["3", "3", "4"]]
    first, again, other = map(FACTS[script]["curves"], runs)
    assert first == again
    assert first != other


@each_with_picture
def test_a_loss_that_is_not_finite_stops_the_run(script, run):
    flags = FACTS[script]["short"] + " --plot p.png --num_epochs 9 --learning_rate "
    rate = "1e38" if script != "echo_rnn.py" else "1e39"  # float32's infinity
    with pytest.raises(SystemExit, match="Loss (nan|inf): try a smaller --learning_r"):
        run(script, flags + rate)


@each_with_picture
def test_ctrl_c_in_training_keeps_the_picture_there_is(script, start, tmp_path):
    training = start(script, FACTS[script]["short"] + " --num_epochs 100000")
    for _ in range(2):
        training.wait_for("poch ")
    training.interrupt()
    status, _, err = training.end()
    assert (status, err) == (0, "")
    picture = script.replace(".py", ".png")
    left = [picture, *FACTS[script].get("leaves", [])]
    assert sorted(os.listdir(str(tmp_path))) == sorted(left)
    assert is_whole_png(tmp_path / picture)


# --- Output that arrives ---
@pytest.mark.parametrize("script", ["echo_rnn.py", "char_rnn.py"])  # all begin alike
def test_each_line_arrives_at_once_and_a_closed_pipe_ends_the_run(script, start):
    training = start(script, FACTS[script]["short"] + " --num_epochs 100000")
    pipe = training.process.stdout
    first = os.read(pipe.fileno(), 100000)  # as soon as there is something
    assert len(first) < 1000  # a buffer is 8192 bytes
    training.wait_for("poch ")
    pipe.close()
    training.process.stdout = None
    status, _, err = training.end()
    assert (status, err) == (-signal.SIGPIPE, "")


def test_greek_chinese_and_arabic_are_written_whatever_the_pipe(start, tmp_path):
    text = "μῆνιν ἄειδε θεά 道可道非常道 بسم الله\n" * 200
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    flags = FACTS["char_rnn.py"]["short"].replace("400", "20") + " --data text.txt"
    training = start("char_rnn.py", flags, PYTHONIOENCODING="ascii")
    status, out, err = training.end()
    assert (status, err) == (0, "")
    assert set("μῆνιν道常بس") <= set(out)


def test_what_is_written_to_a_closed_output_is_utf_8_all_the_same(tmp_path):
    (tmp_path / "text.txt").write_text("μῆνιν ἄειδε θεά\n" * 300, encoding="utf-8")
    flags = FACTS["char_rnn.py"]["short"].replace("400", "20") + " --data text.txt"
    words = ["sh", "-c", 'exec "$0" "$@" >&-', sys.executable,
             os.path.join(ROOT, "char_rnn.py"), *flags.split()]
    env = users_environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    done = subprocess.run(words, cwd=str(tmp_path), env=env, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "char_rnn_1" / "settings.json").exists()


def test_a_closed_standard_output_and_error_end_nothing(tmp_path):
    words = ["sh", "-c", 'exec "$0" "$@" >&- 2>&-', sys.executable,
             os.path.join(ROOT, "echo_rnn.py"), *FACTS["echo_rnn.py"]["short"].split()]
    done = subprocess.run(words, cwd=str(tmp_path), env=users_environment())
    assert done.returncode == 0
    assert is_whole_png(tmp_path / "echo_rnn.png")


@each_script
def test_datetime_is_there_before_numpys_c_code_loads_it(script):
    # A Ctrl-C in that moment became "PyCapsule_Import could not import", and no line.
    imports = cells(read(script))["Imports"]
    assert imports.index("\nimport datetime") < imports.index("sys.excepthook")


@each_script
def test_ctrl_c_while_tensorflow_loads_is_one_line(script, start):
    training = start(script)
    line = training.process.stderr.readline()
    assert line == "TensorFlow loads\n"
    training.interrupt()
    status, out, err = training.end()
    assert status in (-signal.SIGINT, 1)  # 1 is Python 3.7's
    assert (out, err.splitlines()[-1:]) == ("", ["Interrupted"])
    assert "Traceback" not in err


def test_tensorflow_is_told_to_warn_of_nothing_before_it_loads(run):
    """On Windows it warns of names that are deprecated, while it is imported."""
    import logging
    logger = logging.getLogger("tensorflow")
    run("echo_rnn.py", FACTS["echo_rnn.py"]["short"] + " --plot p.png")
    record = logger.makeRecord("", logging.WARNING, "", 0, "old", (), None)
    error = logger.makeRecord("", logging.ERROR, "", 0, "bad", (), None)
    assert not logger.filter(record) and logger.filter(error)
    for script in SCRIPTS:
        text = read(script)
        assert text.index("addFilter(") < text.index("import tensorflow.compat.v1")


# --- What is not installed ---
def test_a_backend_that_is_not_there_gets_one_line(start):
    training = start("echo_rnn.py", MPLBACKEND="module://no_such_backend")
    status, _, err = training.end()
    assert (status, err.count("\n")) == (1, 0)
    assert err.startswith("No window: No module named 'no_such_backend'. Try --plot")


def test_without_tf_keras_one_line_says_what_to_install(start, tmp_path):
    heading = "From TensorFlow 2.16 on, cells are in another package. Skip it at first."
    checks = {cells(read(s))[heading].strip() for s in SCRIPTS if s != "echo_rnn.py"}
    assert len(checks) == 1
    if sys.version_info < (3, 9):
        pytest.skip("skipped: this TensorFlow has its cells itself")
    (tmp_path / "tf_keras.py").write_text("raise ImportError")
    status, out, err = start("seq_label.py", PYTHONPATH=str(tmp_path)).end()
    assert (status, out, err.count("\n")) == (1, "", 0)
    assert err.endswith("cells need one more: python -m pip install tf_keras")


# --- TensorBoard ---
@each_with_picture
def test_logdir_holds_the_curves_and_a_graph_that_reads_like_the_article(script, run):
    names = run(script, FACTS[script]["short"] + " --plot p.png --logdir log")
    (path,) = glob.glob(f"log/{script[:-3]}_1/*tfevents*")
    events = list(names.tf.train.summary_iterator(path))
    curves = collections.defaultdict(list)
    for event in sorted(events, key=lambda event: event.step):
        for value in event.summary.value:
            curves[value.tag].append(value.simple_value)
    known = FACTS[script]["curves"](names)
    assert events[0].file_version == "brain.Event:2"
    assert curves.keys() == known.keys()
    for tag in known:
        np.testing.assert_allclose(curves[tag], known[tag], rtol=1e-6)
    graph = b"".join(event.graph_def for event in events)
    nodes = names.tf.GraphDef.FromString(graph).node
    assert set(FACTS[script]["scopes"]) <= {node.name.split("/")[0] for node in nodes}


def test_each_run_writes_curves_of_its_own_and_a_resumed_one_goes_on_in_its_own(run):
    flags = FACTS["char_rnn.py"]["short"] + " --num_batches 3 --plot p.png --logdir log"
    run("char_rnn.py", flags)
    run("char_rnn.py", flags)
    assert sorted(os.listdir("log")) == ["char_rnn_1", "char_rnn_2"]
    first, second = (f"--resume --checkpoint_dir char_rnn_{i}" for i in (1, 2))
    names = run("char_rnn.py", f"{first} --num_epochs 3 --logdir log --plot p.png")
    run("char_rnn.py", f"{second} --num_epochs 2 --plot p.png")  # no --logdir
    run("char_rnn.py", f"{second} --num_epochs 3 --plot p.png --logdir log")
    assert sorted(os.listdir("log")) == ["char_rnn_1", "char_rnn_2"]
    run("char_rnn.py", f"{second} --num_epochs 4 --plot p.png --logdir log2")
    assert os.listdir("log2") == ["char_rnn_1"]

    files = sorted(glob.glob("log/char_rnn_1/*tfevents*"))
    before, after = (list(names.tf.train.summary_iterator(path)) for path in files)
    steps = [max(e.step for e in before if e.HasField("summary"))]
    steps += [e.step for e in after if e.HasField("session_log")]
    steps += [min(e.step for e in after if e.HasField("summary"))]
    assert steps[0] < steps[1] <= steps[2]  # TensorBoard drops what is later than that


# --- Wherever it is pasted ---
@each_with_picture
def test_on_standard_input_it_stands_alone_and_prints_only_its_lines(script, tmp_path):
    words = [sys.executable, "-", *FACTS[script]["short"].split()]
    done = subprocess.run(words, input=read(script).encode(), cwd=str(tmp_path),
                          env=users_environment(), capture_output=True)
    own = [e for e in done.stderr.decode().splitlines() if not is_of_the_start(e)]
    assert (done.returncode, own) == (0, [])
    picture = script.replace(".py", ".png")
    for line in done.stdout.decode().splitlines():
        pattern = FACTS[script]["lines"] + f"|Picture in {picture}"
        assert re.fullmatch(pattern, line), line
    left = [picture, *FACTS[script].get("leaves", [])]
    assert sorted(os.listdir(str(tmp_path))) == sorted(left)


def test_started_by_a_notebook_with_an_exclamation_mark_it_draws_a_file(
        start, tmp_path):
    backend = "module://matplotlib_inline.backend_inline"  # which a process inherits
    started = start("echo_rnn.py", FACTS["echo_rnn.py"]["short"], MPLBACKEND=backend)
    status, out, err = started.end()
    assert (status, err) == (0, "")
    assert "Picture in echo_rnn.png" in out and is_whole_png(tmp_path / "echo_rnn.png")


def made_small(script, flags=None):
    """Return its text with the flags of a short run as their defaults."""
    text, words = read(script), (flags or FACTS[script]["short"]).split()
    for name, value in zip(words[::2], words[1::2]):
        pattern = rf'(flag\(\s*"{name[2:]}",\s*)[^,]+,'
        text, count = re.subn(pattern, rf"\g<1>{value},", text)
        assert count == 1, name
    return text


def run_notebook(sources, tmp_path):
    """Run cells in a kernel, as Jupyter does; return their outputs, a list for each."""
    book = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources]
    )
    environment = dict(os.environ)
    os.environ.pop("MPLBACKEND", None)  # the kernel chooses its own
    try:
        NotebookClient(
            book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
    finally:
        os.environ.update(environment)
    return [cell.outputs for cell in book.cells]


def pictures(outputs):
    return [o for o in outputs if "image/png" in o.get("data", {})]


@each_with_picture
def test_runs_in_a_notebook_by_cells_and_again(script, tmp_path):
    sources = list(cells(made_small(script)).values())
    (graph,) = [i for i, s in enumerate(sources) if "tf.reset_default_graph()" in s]
    (training,) = [i for i, s in enumerate(sources) if "\nwith picture" in s]
    leaks = """import gc
gc.collect()
sessions = [each for each in gc.get_objects() if isinstance(each, tf.Session)]
[sess.run(tf.trainable_variables()[0]).shape != (), len(sessions), plt.get_fignums()]
"""
    *outputs, left = run_notebook(sources + sources[graph:] + [leaks], tmp_path)
    assert left[0]["data"]["text/plain"] == "[True, 1, []]"
    with_pictures = [i for i, each in enumerate(outputs) if pictures(each)]
    assert with_pictures == [training, training + len(sources) - graph]
    # The live one's place is empty, and the last one stands at the end, where consoles
    # that know no updates show it.
    live = [o for o in outputs[training] if o.output_type == "display_data"]
    assert [dict(each.data) for each in live[:-1]] == [{"text/html": ""}]
    first, again = (pictures(outputs[i]) for i in with_pictures)
    assert len(first) == 1 and live[-1] is first[0]
    assert first[0]["data"] == again[0]["data"]  # the same seed, the same picture


@pytest.mark.parametrize("script", ["echo_rnn.py", "char_rnn.py"])
def test_runs_in_a_notebook_in_one_cell_and_by_percent_run(script, tmp_path):
    flags = FACTS[script]["short"] + " --seed 2 --plot p.png"
    by_run = f"%run {os.path.join(ROOT, script)} {flags}"
    whole, by_run, seed = run_notebook([made_small(script), by_run, "seed"], tmp_path)
    assert len(pictures(whole)) == 1 and not pictures(by_run)
    assert (tmp_path / "p.png").exists()  # %run keeps its flags
    assert seed[0]["data"]["text/plain"] == "2"


def test_with_a_notebooks_own_backend_it_is_drawn_as_inline_does(tmp_path):
    use = "import matplotlib\nmatplotlib.use('nbagg')\n"  # %matplotlib notebook
    (outputs,) = run_notebook([use + made_small("echo_rnn.py")], tmp_path)
    assert len(pictures(outputs)) == 1 and os.listdir(str(tmp_path)) == []


def test_ctrl_c_in_a_notebook_ends_with_its_last_picture(tmp_path):
    text = made_small("echo_rnn.py")
    there = "            loss_list.append("
    assert text.count(there) == 1
    text = text.replace(there, "            if batch_idx == 9: "
                        "os.kill(os.getpid(), signal.SIGINT)\n" + there)
    (outputs,) = run_notebook([text], tmp_path)
    assert outputs[-1] in pictures(outputs) and len(pictures(outputs)) == 1


def test_the_picture_is_seen_anew_where_updates_are_not_known(tmp_path):
    """As in Spyder's console and qtconsole: only what is displayed first is shown."""
    from jupyter_client.manager import start_new_kernel
    os.environ.pop("MPLBACKEND", None)
    manager, client = start_new_kernel(cwd=str(tmp_path))
    shown = []
    try:
        client.execute_interactive(
            made_small("echo_rnn.py"), timeout=600,
            output_hook=lambda message: shown.append(message))
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
        os.environ["MPLBACKEND"] = "agg"
    kinds = [m["msg_type"] for m in shown if "display_data" in m["msg_type"]]
    assert (kinds[0], kinds[-1], kinds.count("display_data")) == (
        "display_data", "display_data", 2)
    first, *_, last = [m["content"]["data"].get("image/png") for m in shown
                       if m["msg_type"] == "display_data"]
    assert first != last  # an empty one, and that of the end


@pytest.mark.parametrize("script, flags, least", [
    ("echo_rnn.py", "--num_epochs 1 --total_series_length 7500", 30),
    ("rnn_internals.py", "--num_epochs 20 --series_length 400", 20),
    ("seq_classify.py", "--num_epochs 2 --num_batches 100 --num_units 3", 10),
    ("seq_label.py", "--num_epochs 2 --num_batches 100 --num_units 3", 10),
])
def test_the_first_steps_are_in_slow_motion_in_a_notebook(
        script, flags, least, monkeypatch, tmp_path):
    """The pauses for the eye are counted."""
    pauses = []
    leave_out_the_slow_parts(monkeypatch)
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, *flags.split()])
    made = "picture = LivePicture("
    text = read(script).replace("self.start + 15", "self.start + 1000")
    before, after = text.split(made)
    line, rest = after.split("\n", 1)
    watched = f"""{before}{made}{line}
picture.notebook = True
picture.show = lambda: setattr(picture, "output", of_mock)
{rest}"""
    names = {"__file__": script, "__doc__": "", "__name__": "__main__",
             "of_mock": unittest.mock.Mock()}
    exec(compile(watched, script, "exec"), names)
    assert least <= len(pauses) <= least + 15
