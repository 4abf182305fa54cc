"""Make the notebooks from the scripts, run them, and keep what they print and draw.

    python notebooks/all.py             # all, 3 minutes on 2 CPU cores
    python notebooks/all.py echo_rnn    # only one

A script's docstring becomes the page's introduction, a line `# %% Heading` a heading,
and what stands below it a cell, line by line. Never edit a notebook: edit its script,
and make it anew. Two times give the same bytes, but for speeds (…/s).
"""
import ast
import os
import re
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPTS = ["echo_rnn", "rnn_internals", "char_rnn", "seq_classify", "seq_label"]
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3",
                           "language": "python"},
            "language_info": {"name": "python"}}
# Folded up in Jupyter; on a page that cannot fold, the heading says it.
FOLDED = {"jupyter": {"source_hidden": True}}


def split(text):
    """Return a script's docstring and its cells: pairs of heading and source."""
    _, *parts = re.split(r"^# %% ", text, flags=re.M)
    cells = [part.partition("\n")[::2] for part in parts]
    return (ast.get_docstring(ast.parse(text)),
            [(heading, source.strip("\n")) for heading, source in cells])


def introduction(name, docstring):
    """Return the docstring in Markdown: a title, links, and how to run it."""
    title, _, rest = docstring.partition("\n")
    rest = re.sub(r"https://\S+?(?=[.,;]?(\s|$))", r"<\g<0>>", rest)
    rest = re.sub(r"benchmarks/\w+\.py", r"[\g<0>](../benchmarks/README.md)", rest)
    return f"""# {title.rstrip(".")}
{rest}

This page is [{name}.py](../{name}.py), cell by cell, with what it prints and draws.
Cells named "Skip it at first" are machinery of ours and no part of the lesson. To
change a constant, change its default in Setup, and run all cells again. What to try:
[README](../README.md)."""


def make(name):
    """Return the notebook of a script, not yet run."""
    import nbformat.v4 as nbf
    with open(os.path.join(ROOT, name + ".py"), encoding="utf-8") as f:
        docstring, cells = split(f.read())
    made = [nbf.new_markdown_cell(introduction(name, docstring), id="introduction")]
    for heading, source in cells:
        place = re.sub(r"\W+", "-", heading.lower())[:50].strip("-")
        made.append(nbf.new_markdown_cell("## " + heading, id="to-" + place))
        is_folded = "Skip" in heading or heading == "Imports"
        made.append(nbf.new_code_cell(source, id=place,
                                      metadata=FOLDED if is_folded else {}))
        if heading == "Setup":  # papermill puts other constants behind it
            made[-1].metadata["tags"] = ["parameters"]
    return nbf.new_notebook(cells=made, metadata=METADATA)


def is_of_the_start(line):
    """Tell whether it is of TensorFlow's start: ours, or its core's."""
    return line == "TensorFlow loads" or line.startswith(
        "WARNING: All log messages before absl::") or (
        line[:1] in "IWE" and line[1:5].isdigit() or not line.strip())


def tidy(outputs):
    """Return a cell's outputs: pictures, then all that it printed, in one piece.

    In how many pieces that came depends on how fast the machine was. Anything else,
    such as a warning, raises ValueError.
    """
    pictures, printed = [], []
    for output in outputs:
        if output.output_type == "display_data":
            if "image/png" in output.data:  # not the empty place of the live one
                pictures.append(output)
        elif output.output_type == "stream" and output.name == "stdout":
            printed.append(output)
        elif output.output_type != "stream" or not all(
                map(is_of_the_start, output.text.splitlines())):
            raise ValueError(f"This does not belong on a page: {output}")
    for output in printed[1:]:
        printed[0].text += output.text
    return pictures + printed[:1]


def run(book):
    """Run all cells, each as Jupyter does, in an empty folder; keep their outputs."""
    from nbclient import NotebookClient
    os.environ.pop("MPLBACKEND", None)  # the kernel chooses its own
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(book, timeout=3600, record_timing=False,
                       resources={"metadata": {"path": folder}}).execute()
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = tidy(cell.outputs)
    book.metadata = METADATA  # not the version of this Python


if __name__ == "__main__":
    import nbformat
    for name in sys.argv[1:] or SCRIPTS:
        print(name, flush=True)
        book = make(name)
        run(book)
        nbformat.write(book, os.path.join(ROOT, "notebooks", name + ".ipynb"))
