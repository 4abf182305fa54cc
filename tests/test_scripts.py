"""What every script must keep, whatever it teaches.

New scripts are found by themselves; each adds its facts here.
"""
import ast
import collections
import glob
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tokenize

import nbformat
import pytest
from conftest import ROOT, Process, is_from_cpp
from nbclient import NotebookClient

SCRIPTS = sorted(os.path.basename(p) for p in glob.glob(os.path.join(ROOT, "*.py")))

# headings: those of the article, in its order
# short: flags of a run of a few seconds, in which no two sizes are equal
# lines: what each printed line matches
# leaves, where there is need: what a run leaves behind beside its picture
FACTS = {
    "echo_rnn.py": {
        "headings": [
            "Setup", "Generate data", "Building the computational graph",
            "Variables and placeholders", "Unpacking", "Forward pass",
            "Calculating loss", "Visualizing the training",
            "Running a training session",
        ],
        "short": "--num_epochs 2 --total_series_length 770 --batch_size 7"
        " --truncated_backprop_length 10 --stride 9 --state_size 3",
        "lines": r"New data, epoch \d|Step \d+ Loss \d\.\d+",
    },
    "rnn_internals.py": {
        "headings": [
            "RNN Architecture", "Processing a batch",
            "Processing a single line of input",
            "Coming back to the 2 lines of code", "Time-series forecasting",
        ],
        "short": "--num_epochs 2 --batch_size 4 --number_of_steps 6"
        " --number_of_features 2 --rnn_size 5",
        "lines": r"|The (batch|arrays|first line) .+|Time step t.*: x = .+|  .+"
        r"|Is it so\? .+|Epoch +\d+ loss \d\.\d+|Root mean square .+",
    },
    "char_rnn.py": {
        "headings": [
            "II. Char-RNN", "III. Backpropagation", "Forward pass",
            "IV. Char-RNN TF Implementation (no RNN abstractions)",
            "V. TF RNN Library Implementation",
        ],
        "short": "--num_epochs 1 --batch_size 400 --num_steps 40 --num_layers 2"
        " --num_hidden_units 9",
        "lines": r"Checkpoints in char_rnn_1|\d+ characters to learn from, \d+ to .+"
        r"|(guessing|single characters|pairs) +\d.+|Epoch  1  training .+|  \| .*",
        "leaves": ["char_rnn_1"],
    },
    "seq_classify.py": {
        "headings": [
            "Defining the Network", "Simulating Time Steps", "Sequence Classification",
        ],
        "short": "--num_epochs 2 --num_batches 3 --batch_size 4 --num_units 5"
        " --num_layers 2 --truncated_backprop_length 7",
        "lines": r"Epoch +\d error \S+% loss \S+, \d+ examples/s",
    },
    "seq_label.py": {
        "headings": [
            "Defining the Network", "Simulating Time Steps", "Sequence Labelling",
        ],
        "short": "--num_epochs 2 --num_batches 3 --batch_size 4 --num_units 5"
        " --num_layers 2 --truncated_backprop_length 6 --hidden_units 9",
        "lines": r"Epoch +\d error \S+%, of words \S+%, loss \S+, \d+ examples/s"
        r"|\S+% if padding were a letter that is always read right",
    },
    "char_rnn_cluster.py": {"headings": []},  # ours; tests/test_cluster.py runs it
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
    headings = FACTS[script]["headings"]
    assert [name for name in cells(read(script)) if name in headings] == headings


@each_script
def test_imports_only_python_and_what_requirements_name(script):
    required = {re.split(r"\W", line)[0] for line in requirements()}
    required.add("IPython")  # in a notebook only, where it is
    for node in ast.walk(ast.parse(read(script))):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in {n.split(".")[0] for n in names} - required:
            assert name + ".py" not in SCRIPTS
            origin = importlib.util.find_spec(name).origin or ""
            assert "site-packages" not in origin, f"{name} is in no requirements.txt"


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
OWN_IN_EACH = {"plot"}


@each_with_picture
def test_loading_lines_and_the_common_cell_are_the_same(script):
    first = read("echo_rnn.py")
    assert LOADING.findall(read(script)) == LOADING.findall(first) != []
    (common,) = [text for name, text in cells(first).items() if "same in every" in name]
    assert common in read(script)


def differing_functions(texts):
    """Return the names that stand for more than one text in [(script, text), ...]."""
    copies = collections.defaultdict(dict)
    for script, text in texts:
        for block in BLOCK.finditer(text + "\n"):
            copies[block.group(1)][script] = block.group(0).rstrip()
    return {
        name: sorted(by_script)
        for name, by_script in copies.items()
        if name not in OWN_IN_EACH and len(set(by_script.values())) > 1
    }


def test_functions_of_one_name_have_one_text():
    assert differing_functions([(s, read(s)) for s in SCRIPTS]) == {}
    text = read("echo_rnn.py")
    drifted = text.replace("self.interrupted = True", "self.interrupted = 1")
    found = differing_functions([("a", text), ("b", drifted)])
    assert found == {"LivePicture": ["a", "b"]}


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


def names_and_locals(run, script, flags):
    """Run a script; return its names, and each function's when it last returned."""
    local = {}

    def enter(frame, event, arg):
        if frame.f_code.co_filename != os.path.join(ROOT, script):
            return None
        frame.f_trace_lines = False
        return leave

    def leave(frame, event, arg):
        if event == "return":
            local[frame.f_code.co_name] = dict(frame.f_locals)
        return leave

    sys.settrace(enter)
    try:
        return vars(run(script, flags)), local
    finally:
        sys.settrace(None)


def wrong_shapes(text, names, local):
    """Return the shape comments that a run's names disprove."""
    comments = shape_comments(text)
    assert len(comments) > 1
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    wrong = []
    for line, name, each, sizes in comments:
        scope = dict(names)
        for function in functions:
            last = max(getattr(node, "lineno", 0) for node in ast.walk(function))
            if function.lineno <= line <= last:
                scope.update(local[function.name])
        expected = [eval(size, {}, scope) for size in sizes.split(",")]
        for value in scope[name] if each else [scope[name]]:
            shape = value.shape  # a tuple, or TensorFlow's with None for what may vary
            shape = shape.as_list() if hasattr(shape, "as_list") else shape
            fits = (real in (None, told) for real, told in zip(shape, expected))
            if len(shape) != len(expected) or not all(fits):
                wrong.append((line, name))
                break
    return wrong


@each_with_picture
def test_shape_comments_are_true(script, run):
    found = names_and_locals(run, script, FACTS[script]["short"] + " --plot p.png")
    assert wrong_shapes(read(script), *found) == []


def test_a_wrong_shape_comment_is_found(run):
    found = names_and_locals(run, "echo_rnn.py", FACTS["echo_rnn.py"]["short"])
    text = read("echo_rnn.py")
    for right, wrong, name in [
        ("# each [batch_size, state_size]", "# each [state_size, batch_size]",
         "states_series"),
        ("# [truncated_backprop_length, batch_size]\n",
         "# [batch_size, truncated_backprop_length]\n", "single_output_series"),
    ]:
        assert text.count(right) == 1
        disproved = wrong_shapes(text.replace(right, wrong), *found)
        assert [each for _, each in disproved] == [name]


# --- Flags and documents ---
@pytest.fixture
def take_flags(monkeypatch, tmp_path):
    """Return a function that runs a script's cells to the end of Setup; the flags."""
    monkeypatch.chdir(tmp_path)

    def take(script, flags):
        monkeypatch.setattr(sys, "argv", [script, *flags])
        text = read(script)
        end = re.search(r"^# %% Setup\n[^\0]*?(?=^# %% )", text, re.M).end()
        names = {"__doc__": ast.get_docstring(ast.parse(text)), "__name__": "__main__"}
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
def test_help_tells_each_flags_meaning_and_default(script, take_flags, capsys):
    defaults = vars(take_flags(script, []))
    with pytest.raises(SystemExit):
        take_flags(script, ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert {"num_epochs", "seed"} <= set(defaults)
    for name, value in defaults.items():
        if not isinstance(value, bool):
            default = re.escape(f"(default: {value})")
            pattern = rf"--{name} \S.{{10,250}}?{default}"
            assert re.search(pattern, text), name


@each_script
@pytest.mark.parametrize(
    "flags", ["--num_epochs 0", "--num_epochs x", "--seed -1", "--no_such_flag 1", "3"]
)
def test_bad_flags_get_one_line(script, flags, refused):
    assert flags.split()[0].lstrip("-") in refused(script, flags)


def test_each_picture_has_its_command_in_the_readme():
    text = read("README.md") + read("benchmarks/README.md").replace("](../", "](")
    made = re.findall(r"^python .* --plot (images/\S+\.png)$", text, re.M)
    made += [f"{p}.png" for p in re.findall(r"`python (images/\S+)\.py`", text)]
    there = glob.glob(os.path.join(ROOT, "images", "*.png"))
    assert set(made) == {os.path.relpath(path, ROOT) for path in there}
    assert set(made) == set(re.findall(r"\]\((images/\S+)\)", text))


# --- Wherever it is pasted ---
@each_with_picture
def test_stands_alone_and_prints_only_its_own_lines(script, tmp_path):
    shutil.copy(os.path.join(ROOT, script), str(tmp_path))
    status, out, err = Process(script, FACTS[script]["short"], tmp_path).end()
    assert (status, err) == (0, ""), err
    picture = script.replace(".py", ".png")
    for line in out.splitlines():
        pattern = FACTS[script]["lines"] + f"|Picture in {picture}"
        assert re.fullmatch(pattern, line), line
    left = [script, picture, *FACTS[script].get("leaves", [])]
    assert sorted(os.listdir(str(tmp_path))) == sorted(left)


@each_with_picture
def test_runs_on_standard_input(script, tmp_path):
    words = [sys.executable, "-", *FACTS[script]["short"].split()]
    env = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "MPLBACKEND")}
    done = subprocess.run(words, input=read(script).encode(), cwd=str(tmp_path),
                          env=env, capture_output=True)
    own = [e for e in done.stderr.decode().splitlines() if not is_from_cpp(e)]
    assert (done.returncode, own) == (0, [])
    assert (tmp_path / script.replace(".py", ".png")).exists()


def made_small(script):
    """Return its text with the numbers of its short run as defaults of its flags."""
    text, words = read(script), FACTS[script]["short"].split()
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
            book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
    finally:
        os.environ.update(environment)
    return [cell.outputs for cell in book.cells]


def pictures(outputs):
    return [o for o in outputs if "image/png" in o.get("data", {})]


@each_with_picture
def test_runs_cell_by_cell_in_a_notebook_and_again(script, tmp_path):
    sources = list(cells(made_small(script)).values())
    (graph,) = [i for i, s in enumerate(sources) if "tf.reset_default_graph()" in s]
    (training,) = [i for i, s in enumerate(sources)
                   if re.search("with .*picture, log:", s)]
    outputs = run_notebook(sources + sources[graph:], tmp_path)
    with_pictures = [i for i, each in enumerate(outputs) if pictures(each)]
    assert with_pictures == [training, training + len(sources) - graph]
    first, again = (pictures(outputs[i]) for i in with_pictures)
    assert len(first) == 1  # that one was live
    assert first[0]["data"] == again[0]["data"]  # the same seed, the same picture


@each_with_picture
def test_runs_whole_in_one_cell_and_by_percent_run(script, tmp_path):
    path, flags = os.path.join(ROOT, script), FACTS[script]["short"]
    sources = [made_small(script), f"%run {path} {flags} --seed 2 --plot p.png", "seed"]
    whole, by_run, seed = run_notebook(sources, tmp_path)
    assert len(pictures(whole)) == 1
    assert (tmp_path / "p.png").exists()  # %run keeps its flags
    assert not pictures(by_run)
    assert seed[0]["data"]["text/plain"] == "2"
