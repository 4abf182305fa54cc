"""Make notebooks and pages from the scripts, with what these print and draw.

    python notebooks/all.py             # all, 6 minutes on 2 CPU cores
    python notebooks/all.py echo_rnn    # only one

NAME.ipynb is to be run, NAME.md to be read: there machinery and drawing are folded.
A script's docstring becomes the introduction, a line `# %% Heading` a heading, the
first comment below it the prose, and the rest a cell, line by line. What stands under
the picture, and what ends the page, is try/NAME.md. Never edit what is made: edit
these, and make it anew. Two times give the same bytes, but for speeds (…/s).
"""
import ast
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPTS = ["echo_rnn", "rnn_internals", "char_rnn_numpy", "char_rnn", "char_rnn_inside",
           "seq_classify", "seq_label"]
# Cells that are folded: those whose heading begins so, or has "Skip" in it.
FOLDED = ("Imports", "Flags", "A live picture", "Visualizing the training",
          "Watching it learn", "The picture")
# What is run in the same folder before: char_rnn_inside.py looks into a saved run.
BEFORE = {"char_rnn_inside": ["char_rnn.py", "--num_epochs", "4", "--plot", "run.png"]}
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3",
                           "language": "python"},
            "language_info": {"name": "python"}}


def read(name):
    """Return the text of a file in the project's folder."""
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def split(text):
    """Return a script's docstring and its cells: heading, prose and source of each.

    The prose is a cell's first comment.
    """
    _, *parts = re.split(r"^# %% ", text, flags=re.M)
    cells = []
    for part in parts:
        heading, comment, source = re.fullmatch(r"(.*)\n((?:#.*\n)*)((?s:.*))",
                                                part).groups()
        prose = re.sub("^# ?", "", comment, flags=re.M).strip()
        cells.append((heading, prose, source.strip("\n")))
    return ast.get_docstring(ast.parse(text)), cells


def split_try(name):
    """Return what stands under the picture, and the parts that end the page."""
    text = re.sub(r"<!--.*?-->\n", "", read(f"notebooks/try/{name}.md"), flags=re.S)
    above, *parts = re.split(r"^(?=## )", text, flags=re.M)
    return above.strip(), [part.strip() for part in parts]


def is_folded(heading):
    return heading.startswith(FOLDED) or "Skip" in heading


def introduction(name, docstring):
    """Return title, picture, what to look at, and the docstring, in Markdown."""
    title, _, rest = docstring.partition("\n")
    rest = re.sub(r"https://\S+?(?=[.,;]?(\s|$))", r"<\g<0>>", rest)
    rest = re.sub(r"benchmarks/\w+\.py", r"[\g<0>](../\g<0>)", rest)
    above, _ = split_try(name)
    return f"""# {title.rstrip(".")}

![What {name}.py draws](../images/{name}.png)

{above}
{rest}

This is [{name}.py](../{name}.py), cell by cell, with what it prints and draws: to be
read as a [page]({name}.md), to be run as a [notebook]({name}.ipynb), where a constant
is changed by its default in Setup. What is folded is for a second reading. What to try
is at the end."""


def name_of(kind, heading):
    return kind + re.sub(r"\W+", "-", heading.lower())[:50].strip("-")


def make(name):
    """Return the notebook of a script, not yet run."""
    import nbformat.v4 as nbf
    docstring, cells = split(read(name + ".py"))
    made = [nbf.new_markdown_cell(introduction(name, docstring), id="introduction")]
    for heading, prose, source in cells:
        above = f"## {heading}\n\n{prose}".strip()
        made.append(nbf.new_markdown_cell(above, id=name_of("to-", heading)))
        made.append(nbf.new_code_cell(source, id=name_of("", heading)))
        if is_folded(heading):
            made[-1].metadata["jupyter"] = {"source_hidden": True}
    for part in split_try(name)[1]:
        heading = part.partition("\n")[0]
        made.append(nbf.new_markdown_cell(part, id=name_of("try-", heading[3:])))
    return nbf.new_notebook(cells=made, metadata=METADATA)


def is_of_the_start(line):
    """Tell whether it is of TensorFlow's core, as it starts."""
    return line.startswith("WARNING: All log messages before absl::") or (
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


def run(name, book):
    """Run all cells, each as Jupyter does, in an empty folder; keep their outputs."""
    from nbclient import NotebookClient
    os.environ.pop("MPLBACKEND", None)  # the kernel chooses its own
    with tempfile.TemporaryDirectory() as folder:
        if name in BEFORE:
            script, *flags = BEFORE[name]
            words = [sys.executable, os.path.join(ROOT, script), *flags]
            subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
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


def page(book):
    """Return a notebook that was run as a page in Markdown.

    Cells that are folded and stand side by side become one fold.
    """
    parts, folded = [], []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            heading, _, prose = cell.source[3:].partition("\n\n")
            if is_folded(heading):
                folded.append((heading, prose))
            else:
                parts += fold(folded) + [cell.source]
                folded = []
            continue
        code = f"```python\n{cell.source}\n```"
        printed = [f"````text\n{shorten(output.text)}\n````" for output in cell.outputs
                   if output.output_type == "stream"]
        if not folded:
            parts += [code, *printed]
        else:
            folded[-1] += (code,)
            if printed:
                parts += fold(folded) + printed
                folded = []
    return "\n\n".join(parts) + "\n"


def fold(folded):
    """Return the parts of one fold; folded: heading, prose and code of each cell."""
    if not folded:
        return []
    headings = ", then ".join(heading for heading, *_ in folded)
    inside = [text for _, *texts in folded for text in texts if text]
    return [f"<details><summary>{headings}</summary>", *inside, "</details>"]


if __name__ == "__main__":
    import nbformat
    for name in sys.argv[1:] or SCRIPTS:
        print(name, flush=True)
        book = make(name)
        run(name, book)
        place = os.path.join(ROOT, "notebooks", name)
        nbformat.write(book, place + ".ipynb")
        with open(place + ".md", "w", encoding="utf-8") as f:
            f.write(page(book))
