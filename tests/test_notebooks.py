"""Notebooks and pages are the scripts, cell by cell, with what these print and draw."""
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


def test_each_script_has_its_page_and_notebook_but_the_cluster():
    scripts = {n[:-3] for n in os.listdir(ROOT) if n.endswith(".py")}
    made = os.listdir(PLACE)
    assert {n[:-6] for n in made if n.endswith(".ipynb")} == set(notebooks_all.SCRIPTS)
    pages = {n[:-3] for n in made if n.endswith(".md")} - {"systems"}
    assert pages == set(notebooks_all.SCRIPTS)
    assert set(notebooks_all.SCRIPTS) == scripts - {"char_rnn_cluster"}


def squeeze(text):
    return re.sub(r"\n+", "\n", re.sub("^# %% |^# ?", "", text, flags=re.M)).strip()


@each_notebook
def test_it_is_its_script_line_by_line_and_as_it_is_made_today(name):
    """Else: python notebooks/all.py"""
    made, there = notebooks_all.make(name), read(name)
    assert [(c.id, c.cell_type, c.source, c.metadata) for c in there.cells] == [
        (c.id, c.cell_type, c.source, c.metadata) for c in made.cells]
    parts = [re.sub("^## ", "", cell.source) for cell in there.cells[1:]
             if not cell.id.startswith("try-")]
    lesson = notebooks_all.read(name + ".py").partition("\n# %% ")[2]
    assert squeeze("\n".join(parts)) == squeeze(lesson)
    with open(os.path.join(PLACE, name + ".md"), encoding="utf-8") as f:
        assert f.read() == notebooks_all.page(there)


@each_notebook
def test_its_page_opens_with_its_picture_answers_as_it_goes_and_ends_with_what_to_try(
        name):
    page = notebooks_all.page(read(name))
    seen = re.sub("<details>.*?</details>", "", page, flags=re.S)
    opening, *cells = seen.split("\n## ")
    picture = re.search(r"!\[.+\]\(\.\./(.+)\)", opening)
    assert os.path.exists(os.path.join(ROOT, picture[1]))
    assert len(opening[picture.end() :].split()) > 60  # what to look at
    for cell in cells:  # each says what it is for before it shows code
        heading, prose = cell.split("```python")[0].split("\n", 1)
        assert "```python" not in cell or 5 < len(prose.split()) < 90 or heading in (
            "Write", "Your own data", "Your own image"), heading
    outputs = re.findall("^````text\n(.*?)\n````$", seen, flags=re.M | re.S)
    assert outputs and all(output.count("\n") < 40 for output in outputs)
    for machinery in "Imports", "A live picture":
        assert f"<summary>{machinery}" in page
    assert "\n## Predict, then run\n" in page
    _, _, today = page.partition("\n## And today\n")
    assert "\n## " not in today
    assert set(re.findall(r"\[\d\](?!:)", today)) == set(
        re.findall(r"\[\d\](?=: https://)", today))


@each_notebook
def test_it_has_been_run_and_holds_one_picture_and_no_path_or_warning(name):
    assert os.path.getsize(os.path.join(PLACE, name + ".ipynb")) < 10**6
    code = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    text = "".join(output.text for output in outputs if "text" in output)
    assert not re.search(r"/(root|tmp|usr|work)/|Warning|Error|0x[0-9a-f]{6}", text)


def test_what_does_not_belong_on_a_page_stops_the_making():
    core = "\nI0000 00:00:1 1 port.cc:153] oneDNN custom operations.\n"
    line = nbformat.v4.new_output("stream", name="stdout", text="a\n")
    more = nbformat.v4.new_output("stream", name="stdout", text="b\n")
    quiet = nbformat.v4.new_output("stream", name="stderr", text=core)
    picture = nbformat.v4.new_output("display_data", {"image/png": ""})
    place = nbformat.v4.new_output("display_data", {"text/html": ""})
    tidy = notebooks_all.tidy([place, line, quiet, more, picture])
    assert [tidy[0], tidy[1].text, len(tidy)] == [picture, "a\nb\n", 2]
    strange = nbformat.v4.new_output("stream", name="stderr", text=core + "UserWarning")
    value = nbformat.v4.new_output("execute_result", {"text/plain": "<at 0x7f>"})
    for output in strange, value:
        with pytest.raises(ValueError):
            notebooks_all.tidy([output])
