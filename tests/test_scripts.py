"""What every script must keep, whatever it teaches.

New scripts are found by themselves; each adds its facts here.
"""
import ast
import collections
import contextlib
import glob
import importlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import sys
import tokenize

import pytest
from conftest import ROOT, Run

SCRIPTS = sorted(os.path.basename(p) for p in glob.glob(os.path.join(ROOT, "*.py")))
OWN_IN_EACH = {"build_graph", "make_plot", "plot", "train", "parse_flags", "main"}

# headings: those of the article that come with code, in its order
# short: flags of a run of a few seconds, in which no two sizes are equal
# lines: what each printed line matches
# where there is need: leaves, files that run leaves behind beside its picture; also,
# flags of further runs that show the rest of the functions at work
FACTS = {
    "echo_rnn.py": {
        "headings": [
            "Setup",
            "Generate data",
            "Building the computational graph",
            "Variables and placeholders",
            "Unpacking",
            "Forward pass",
            "Calculating loss",
            "Visualizing the training",
            "Running a training session",
        ],
        "short": "--num_epochs 2 --total_series_length 770 --batch_size 7"
        " --truncated_backprop_length 10 --stride 9 --state_size 3 --plot short.png",
        "lines": r"New data, epoch \d|Step \d+ Loss \d\.\d+|Picture in short\.png",
    },
    "char_rnn.py": {
        "headings": [
            "II. Char-RNN",
            "III. Backpropagation",
            "Forward pass",
            "IV. Char-RNN TF Implementation (no RNN abstractions)",
            "V. TF RNN Library Implementation",
            "Training",
        ],
        "short": "--num_epochs 1 --batch_size 400 --num_steps 40 --num_layers 2"
        " --num_hidden_units 9 --plot short.png",
        "lines": r"Checkpoints in char_rnn_1|\d+ characters to learn from, \d+ to .+"
        r"|(guessing|single characters|pairs) +\d.+|Epoch  1  training .+|  \| .*"
        r"|Picture in short\.png",
        "leaves": ["char_rnn_1"],
        "also": ["--check --num_steps 40 --num_hidden_units 9"],
    },
    "rnn_internals.py": {
        "headings": [
            "RNN Architecture",
            "Processing a batch",
            "Processing a single line of input",
            "Coming back to the 2 lines of code",
            "Time-series forecasting",
        ],
        "short": "--num_epochs 2 --batch_size 4 --number_of_steps 6"
        " --number_of_features 2 --rnn_size 5 --plot short.png",
        "lines": r"|The (batch|arrays|first line|forecast) .+|Time step t.*: x = .+"
        r"|  .+|Is it so\? .+|Step \d+ Loss \d\.\d+|Root mean square .+"
        r"|Picture in short\.png",
    },
    "seq_classify.py": {
        "headings": [
            "Defining the Network",
            "Simulating Time Steps",
            "Sequence Classification",
        ],
        "short": "--num_epochs 2 --num_batches 3 --batch_size 4 --num_units 5"
        " --num_layers 2 --truncated_backprop_length 7 --plot short.png",
        "lines": r"Epoch +\d error \S+% loss \S+, \d+ examples/s, \d+ s left"
        r"|Picture in short\.png",
    },
    "seq_label.py": {
        "headings": [
            "Defining the Network",
            "Simulating Time Steps",
            "Sequence Labelling",
        ],
        "short": "--num_epochs 2 --num_batches 3 --batch_size 4 --num_units 5"
        " --num_layers 2 --truncated_backprop_length 6 --hidden_units 9"
        " --plot short.png",
        "lines": r"Epoch +\d error \S+%, of words \S+%, loss \S+, \d+ examples/s,"
        r" \d+ s left|\S+% if padding were a letter that is always read right"
        r"|Picture in short\.png",
    },
}

each_script = pytest.mark.parametrize("script", SCRIPTS)


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


@each_script
def test_has_its_facts_here_and_a_row_in_the_readme(script):
    assert script in FACTS, f"add {script} to FACTS"
    assert re.search(rf"^\| \[?`{re.escape(script)}`", read("README.md"), re.M)


@each_script
def test_stands_alone_and_prints_only_its_own_lines(script, tmp_path):
    shutil.copy(os.path.join(ROOT, script), str(tmp_path))
    status, out, err = Run(script, FACTS[script]["short"], tmp_path).end()
    assert (status, err) == (0, ""), err
    for line in out.splitlines():
        assert re.fullmatch(FACTS[script]["lines"], line), line
    left = [script, "short.png", *FACTS[script].get("leaves", [])]
    assert sorted(os.listdir(str(tmp_path))) == sorted(left)


@each_script
def test_imports_only_python_and_what_requirements_name(script):
    required = {re.split(r"\W", line)[0] for line in requirements()}
    ours = {os.path.splitext(name)[0] for name in SCRIPTS}
    for node in ast.walk(ast.parse(read(script))):
        names = [a.name for a in getattr(node, "names", [])]
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module]
        elif not isinstance(node, ast.Import):
            continue
        for name in {n.split(".")[0] for n in names} - required:
            assert name not in ours
            origin = importlib.util.find_spec(name).origin or ""
            assert "site-packages" not in origin, f"{name} is in no requirements.txt"


LOADING = re.compile(
    r"^(?:if __name__|import tensorflow|warnings|tf|os\.environ)\b.*\n(?:    .*\n)*",
    re.M,
)


@each_script
def test_loading_lines_are_the_same(script):
    lines = LOADING.findall(read(script))
    assert len(lines) == 9
    assert lines == LOADING.findall(read(SCRIPTS[0]))


BLOCK = re.compile(r"^(?:def|class) (\w+).*\n(?:(?:[ \t)].*)?\n)*", re.M)


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
    text = read(SCRIPTS[0])
    drifted = text.replace("self.drawn = True", "self.drawn = 1")
    found = differing_functions([("a", text), ("b", drifted)])
    assert found == {"LivePicture": ["a", "b"]}


@each_script
def test_headings_are_the_articles_in_its_order(script):
    rulers = re.findall(r"^ *# --- (.+?)(?: -+)?$", read(script), re.M)
    assert rulers == FACTS[script]["headings"]


# --- Shape comments: `# [rows, columns]`, or for a list `# each [rows, columns]` ---
SHAPE = re.compile(r"#\s*(each )?\[([^\]]*)\]")


def shape_comments(text):
    """Return (line, name, each, sizes) of each comment on a name's shape.

    It stands in the statement, or on the line before it.
    """
    found, comments, names, line = [], [], [], None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments.append(SHAPE.match(token.string))
        elif token.type == tokenize.NAME:
            names.append(token.string)
            line = line or token.start[0]
        elif token.type == tokenize.NEWLINE:
            found += [(line, names[0], *c.groups()) for c in comments if c]
            comments, names, line = [], [], None
    return found


def last_locals(path, call):
    """Call it; return the locals with which functions last returned, by their line."""
    seen = {}

    def enter(frame, event, arg):
        if frame.f_code.co_filename != path:
            return None
        frame.f_trace_lines = False
        return leave

    def leave(frame, event, arg):
        if event == "return":
            seen[frame.f_code.co_firstlineno] = dict(frame.f_locals)
        return leave

    sys.settrace(enter)
    try:
        call()
    finally:
        sys.settrace(None)
    return seen


def function_at(tree, line):
    """Return the first line of the innermost function that holds the line."""
    holding = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
        and node.lineno <= line <= max(getattr(n, "lineno", 0) for n in ast.walk(node))
    ]
    return max(node.lineno for node in holding)


def wrong_shapes(path, flags, *also):
    """Return the shape comments of the script that runs with these flags disprove."""
    spec = importlib.util.spec_from_file_location("a_script", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with open(path, encoding="utf-8") as f:
        text = f.read()
    comments = shape_comments(text)
    assert len(comments) > 3
    flags, *also = (each.split() for each in [flags, *also])
    values = {}
    for other in [*also, flags]:
        values.update(last_locals(path, lambda other=other: module.main(other)))
    wrong = []
    for line, name, each, sizes in comments:
        scope = vars(module.parse_flags(flags))
        scope.update(values[function_at(ast.parse(text), line)])
        expected = [eval(size, {}, scope) for size in sizes.split(",")]
        for value in scope[name] if each else [scope[name]]:
            shape = value.shape  # a tuple, or TensorFlow's with None for what may vary
            shape = shape.as_list() if hasattr(shape, "as_list") else shape
            fits = (real in (None, told) for real, told in zip(shape, expected))
            if len(shape) != len(expected) or not all(fits):
                wrong.append((line, name))
                break
    return wrong


@each_script
def test_shape_comments_are_true(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = FACTS[script]
    path = os.path.join(ROOT, script)
    assert wrong_shapes(path, facts["short"], *facts.get("also", [])) == []


def test_a_wrong_shape_comment_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = read("echo_rnn.py")
    assert text.count("# each [batch_size, state_size]") == 1
    copy = tmp_path / "wrong.py"
    copy.write_text(
        text.replace("each [batch_size, state_size]", "each [state_size, batch_size]"),
        encoding="utf-8",
    )
    wrong = wrong_shapes(str(copy), FACTS["echo_rnn.py"]["short"])
    assert [name for _, name in wrong] == ["states_series"]


def commands(text):
    """Yield (script, flags) for every `python X.py …` in the text."""
    for name, flags in re.findall(r"python[\d.]* ([\w/]+\.py)([^`\n#|&;]*)", text):
        yield name, shlex.split(flags)


@pytest.mark.filterwarnings("ignore:`tf")
def test_documented_commands_are_accepted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def download(*args):
        raise ValueError("no download in a test")

    modules = {s: importlib.import_module(s[:-3]) for s in SCRIPTS}
    texts = {s: ast.get_docstring(ast.parse(read(s))) for s in SCRIPTS}
    texts["README.md"] = read("README.md")
    for script, module in modules.items():
        monkeypatch.setattr(module, "download", download, raising=False)
        monkeypatch.setattr(module, "server", str)  # none is there in a test
        if "leaves" in FACTS[script]:
            module.main(FACTS[script]["short"].split())
    for where, text in texts.items():
        found = list(commands(text))
        assert found, f"no command in {where}"
        for name, flags in found:
            assert os.path.exists(os.path.join(ROOT, name)), f"{where}: {name}"
            if name in SCRIPTS:
                capsys.readouterr()
                try:
                    modules[name].parse_flags(flags)
                except SystemExit:
                    err = capsys.readouterr().err
                    assert "no download in a test" in err, f"{where}: {flags}: {err}"


def test_each_picture_has_its_command_in_the_readme():
    text = read("README.md")
    made = re.findall(r"^python .* --plot (images/\S+\.png)$", text, re.M)
    made += [f"{p}.png" for p in re.findall(r"^python (images/\S+)\.py$", text, re.M)]
    there = glob.glob(os.path.join(ROOT, "images", "*.png"))
    assert set(made) == {os.path.relpath(path, ROOT) for path in there}
    assert set(made) == set(re.findall(r"\]\((images/\S+)\)", text))


@each_script
def test_help_tells_each_default(script, capsys):
    module = importlib.import_module(script[:-3])
    with contextlib.suppress(SystemExit):
        module.parse_flags(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name, value in vars(module.parse_flags([])).items():
        if type(value) in (int, float) and name != "stride":
            pattern = rf"--{name} [A-Z_]+ [^-]*\(default: {value}\)"
            assert re.search(pattern, text), name


def requirements():
    lines = read("requirements.txt").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@each_script
def test_inline_metadata_equals_requirements(script):
    (block,) = re.findall(r"^# /// script\n((?:#.*\n)+?)# ///$", read(script), re.M)
    block = re.sub(r"^# ?", "", block, flags=re.M)
    python, dependencies = re.fullmatch(
        r'requires-python = "(.+)"\ndependencies = (\[.*\])\n', block, re.S
    ).groups()
    assert python == ">=3.7,<3.14"
    dependencies = [d.replace("'", '"') for d in ast.literal_eval(dependencies)]
    assert dependencies == requirements()
