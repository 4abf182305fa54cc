"""Make notebooks and pages from the scripts, with what these print and draw.

    python notebooks/all.py             # all, 3 minutes on 2 CPU cores
    python notebooks/all.py echo_rnn    # only one

NAME.ipynb is to be run, NAME.md to be read: there machinery and drawing are folded.
A script's docstring becomes the introduction, a line `# %% Heading` a heading, the
first comment below it the prose, and the rest a cell, line by line. Never edit these:
edit the script, and make them anew. Two times give the same bytes, but for speeds
(…/s).
"""
import ast
import os
import re
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPTS = ["echo_rnn", "rnn_internals", "char_rnn", "seq_classify", "seq_label"]
# Of what is folded the heading says so, but for these.
FOLDED = ["Imports", "Visualizing the training", "Units over a text",
          "Watching it learn", "The picture: Fig 02, Fig 03 and the forecast",
          "Validating and writing, whichever the program"]
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3",
                           "language": "python"},
            "language_info": {"name": "python"}}


def read(name):
    """Return the text of a file in the project's folder."""
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def split(text):
    """Return a script's docstring and its cells: heading, prose and source of each.

    The prose is a cell's first comment. Some cells have none, some nothing else.
    """
    _, *parts = re.split(r"^# %% ", text, flags=re.M)
    cells = []
    for part in parts:
        heading, comment, source = re.fullmatch(r"(.*)\n((?:#.*\n)*)((?s:.*))",
                                                part).groups()
        prose = re.sub("^# ?", "", comment, flags=re.M).strip()
        cells.append((heading, prose, source.strip("\n")))
    return ast.get_docstring(ast.parse(text)), cells


def is_folded(heading):
    return "Skip" in heading or heading in FOLDED


def introduction(name, docstring):
    """Return the docstring in Markdown: a title, links, and how to run it."""
    title, _, rest = docstring.partition("\n")
    rest = re.sub(r"https://\S+?(?=[.,;]?(\s|$))", r"<\g<0>>", rest)
    rest = re.sub(r"benchmarks/\w+\.py", r"[\g<0>](../\g<0>)", rest)
    return f"""# {title.rstrip(".")}
{rest}

This is [{name}.py](../{name}.py), cell by cell, with what it prints and draws: to be
read as a [page]({name}.md), to be run as a [notebook]({name}.ipynb), where a constant
is changed by its default in Setup. What is folded, or named "Skip it at first", is
for a second reading. What to try: [README](../README.md)."""


def make(name):
    """Return the notebook of a script, not yet run."""
    import nbformat.v4 as nbf
    docstring, cells = split(read(name + ".py"))
    made = [nbf.new_markdown_cell(introduction(name, docstring), id="introduction")]
    for heading, prose, source in cells:
        place = re.sub(r"\W+", "-", heading.lower())[:50].strip("-")
        above = f"## {heading}\n\n{prose}".strip()
        made.append(nbf.new_markdown_cell(above, id="to-" + place))
        if not source:
            continue
        made.append(nbf.new_code_cell(source, id=place))
        if is_folded(heading):
            made[-1].metadata["jupyter"] = {"source_hidden": True}
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


def shorten(text):
    """Return what is printed without its middle, if it is long."""
    lines = text.splitlines()
    if len(lines) > 34:
        lines[16:-14] = [f"… ({len(lines) - 30} lines more in the notebook)"]
    return "\n".join(lines)


def page(name, book):
    """Return a notebook that was run as a page in Markdown, its picture on top."""
    command = re.search(rf"^python {name}\.py.* --plot {name}\.png$",
                        read("README.md"), re.M)[0]
    parts = [book.cells[0].source,
             f"![What {name}.py draws](../images/{name}.png)",
             f"*Drawn by* `{command}`"]
    for cell in book.cells[1:]:
        if cell.cell_type == "markdown":
            above, _, prose = cell.source.partition("\n\n")
            heading = above[3:]
            if not is_folded(heading):
                parts.append(cell.source)
            continue
        code = f"```python\n{cell.source}\n```"
        if is_folded(heading):
            told = [f"<details><summary>{heading}</summary>", prose, code, "</details>"]
            code = "\n\n".join(part for part in told if part)
        parts.append(code)
        parts += [f"````text\n{shorten(output.text)}\n````" for output in cell.outputs
                  if output.output_type == "stream"]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    import nbformat
    for name in sys.argv[1:] or SCRIPTS:
        print(name, flush=True)
        book = make(name)
        run(book)
        place = os.path.join(ROOT, "notebooks", name)
        nbformat.write(book, place + ".ipynb")
        with open(place + ".md", "w", encoding="utf-8") as f:
            f.write(page(name, book))
