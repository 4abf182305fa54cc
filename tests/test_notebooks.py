"""Notebooks and pages are the scripts, cell by cell, with what these print and draw."""
import ast
import importlib.util
import os
import re

import nbformat
import pytest
from conftest import ROOT

PLACE = os.path.join(ROOT, "notebooks")
spec = importlib.util.spec_from_file_location("notebooks_all", PLACE + "/all.py")
notebooks_all = importlib.util.module_from_spec(spec)
spec.loader.exec_module(notebooks_all)
each_notebook = pytest.mark.parametrize("name", notebooks_all.SCRIPTS)


def read(name):
    return nbformat.read(os.path.join(PLACE, name + ".ipynb"), as_version=4)


def test_each_script_has_its_notebook_but_the_cluster():
    scripts = {n[:-3] for n in os.listdir(ROOT) if n.endswith(".py")}
    made = os.listdir(PLACE)
    there = {n[:-6] for n in made if n.endswith(".ipynb")}
    assert there == {n[:-3] for n in made if n.endswith(".md")}
    assert there == set(notebooks_all.SCRIPTS) == scripts - {"char_rnn_cluster"}


def lesson(name):
    """Return the script from its first cell on, without empty lines."""
    return squeeze(notebooks_all.read(name + ".py").partition("\n# %% ")[2])


def squeeze(text):
    return re.sub(r"\n+", "\n", re.sub("^# %% |^# ?", "", text, flags=re.M)).strip()


@each_notebook
def test_it_is_its_script_line_by_line(name):
    """Else: python notebooks/all.py"""
    parts = [re.sub("^## ", "", cell.source) for cell in read(name).cells[1:]]
    assert squeeze("\n".join(parts)) == lesson(name)


@each_notebook
def test_its_page_is_its_script_line_by_line_and_what_the_notebook_holds(name):
    with open(os.path.join(PLACE, name + ".md"), encoding="utf-8") as f:
        there = f.read()
    assert there == notebooks_all.page(name, read(name))
    _, cells = there.split("\n*Drawn by* ")
    cells = re.sub("^````text\n.*?\n````$", "", cells.partition("\n")[2],
                   flags=re.M | re.S)
    cells = re.sub("^```python$|^```$|^## |</?details>|</?summary>", "", cells,
                   flags=re.M)
    assert squeeze(cells) == lesson(name)


@each_notebook
def test_its_page_is_a_lesson_of_a_few_screens_that_answers_as_it_goes(name):
    with open(os.path.join(PLACE, name + ".md"), encoding="utf-8") as f:
        page = f.read()
    seen = re.sub("<details>.*?</details>", "", page, flags=re.S)
    picture = re.search(r"!\[.+\]\(\.\./(.+)\)", seen)
    assert picture.start() < seen.index("\n## ")
    assert os.path.exists(os.path.join(ROOT, picture[1]))
    _, *cells = seen.split("\n## ")
    for cell in cells:  # each says what it is for before it shows code
        heading, prose = cell.split("```")[0].split("\n", 1)
        assert len(prose.split()) > 5, heading
        assert len(prose) < 500 or heading == "And today", heading
    assert heading == "And today" and len(re.findall(r"\. |\.$", prose)) in range(3, 8)
    assert set(re.findall(r"\[\d\](?!:)", prose)) == set(
        source[:-1] for source in re.findall(r"\[\d\]:(?= https://)", prose))
    outputs = re.findall("^````text\n(.*?)\n````$", seen, flags=re.M | re.S)
    assert len(outputs) > 3 and all(output.count("\n") < 40 for output in outputs)
    assert len(seen) < 0.75 * len(page), "machinery and drawing are folded"


@each_notebook
def test_its_page_is_as_it_is_made_today(name):
    made, there = notebooks_all.make(name), read(name)
    assert there.metadata == made.metadata
    assert [(c.id, c.cell_type, c.source, c.metadata) for c in there.cells] == [
        (c.id, c.cell_type, c.source, c.metadata) for c in made.cells]


@each_notebook
def test_it_has_been_run_and_holds_one_picture_and_short_output(name):
    path = os.path.join(PLACE, name + ".ipynb")
    assert os.path.getsize(path) < 10**6
    code = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    kinds = {output.output_type for output in outputs}
    assert kinds == {"display_data", "stream"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    texts = [output.text for output in outputs if output.output_type == "stream"]
    assert all(text.count("\n") < 100 for text in texts)
    for text in [*texts, str([o.metadata for o in outputs if "metadata" in o])]:
        assert not re.search(r"/(home|root|tmp|usr|work)/|Warning|Error|0x[0-9a-f]{6}",
                             text)


def test_what_does_not_belong_on_a_page_stops_the_making():
    core = "TensorFlow loads\nI0000 00:00:1 1 port.cc:153] oneDNN custom operations.\n"
    line = nbformat.v4.new_output("stream", name="stdout", text="a\n")
    more = nbformat.v4.new_output("stream", name="stdout", text="b\n")
    quiet = nbformat.v4.new_output("stream", name="stderr", text=core)
    picture = nbformat.v4.new_output("display_data", {"image/png": ""})
    place = nbformat.v4.new_output("display_data", {"text/html": ""})
    tidy = notebooks_all.tidy([place, line, quiet, more, picture])
    assert [tidy[0], tidy[1].text, len(tidy)] == [picture, "a\nb\n", 2]
    for strange in "Traceback (most recent call last)\n", core + "UserWarning: no\n":
        with pytest.raises(ValueError):
            notebooks_all.tidy(
                [nbformat.v4.new_output("stream", name="stderr", text=strange)])
    value = nbformat.v4.new_output("execute_result", {"text/plain": "<at 0x7f>"})
    with pytest.raises(ValueError):
        notebooks_all.tidy([value])


@each_notebook
def test_constants_that_papermill_puts_behind_setup_are_what_it_runs_with(name):
    """Setup has nothing but constants: what follows from them comes later."""
    (setup,) = [c for c in read(name).cells if c.metadata.get("tags") == ["parameters"]]
    assert setup.source.startswith("num_") or "flag(" in setup.source.split("\n")[0]
    for node in ast.parse(setup.source).body:
        names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        assert "flag" in names or "III" in names
