"""Run the comparisons of benchmarks/README.md and write their tables there anew.

    python benchmarks/all.py          # all but --minutes
    python benchmarks/all.py seq      # only the commands with this in them

What a command prints takes the place of the table that follows it, under the line that
begins with the name of the TensorFlow installed here.
"""
import re
import shlex
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent / "README.md"
TABLE = r"(?:\|.*\n)+"


def ask(*words):
    """Return what Python prints when it is called with these words."""
    return subprocess.check_output(
        [sys.executable, *words], universal_newlines=True, stderr=subprocess.DEVNULL,
        cwd=README.parent.parent)


text = README.read_text(encoding="utf-8")
commands = re.findall(r"^```sh\n(python benchmarks/.*)\n```$", text, re.M)
version = ask("-c", "import tensorflow as tf; print(tf.__version__)").split(".")
tensorflow = re.escape("TensorFlow " + ".".join(version[:2]))
for command in commands:
    if sys.argv[1:] and sys.argv[1] not in command:
        continue
    if not sys.argv[1:] and "--minutes" in command:
        continue
    print(command, flush=True)
    (table,) = re.findall(TABLE, ask(*shlex.split(command)[1:]))
    print(table, flush=True)
    text = README.read_text(encoding="utf-8")
    place = rf"(```sh\n{re.escape(command)}\n```\n(?:(?!```sh)[^\n]*\n)*?"
    place += rf"{tensorflow}\b.*\n\n){TABLE}"
    README.write_text(re.sub(place, r"\g<1>" + table, text), encoding="utf-8")
