"""Run the comparisons of benchmarks/README.md and write their tables there anew.

    python benchmarks/all.py          # an hour on 2 CPU cores
    python benchmarks/all.py seq      # only the commands with this in them

What a command prints takes the place of the tables that follow it, under the line that
begins with the name of the TensorFlow installed here.
"""
import argparse
import os
import re
import shlex
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
README = os.path.join(HERE, "README.md")
TABLES = r"(?:\|.*\n+)+"


def with_tables(text, command, tensorflow, tables):
    """Return the README's text with other tables for this command and TensorFlow."""
    shown = rf"(```sh\n{re.escape(command)}\n```\n(?:(?!```sh)[^\n]*\n)*?"
    shown += rf"{re.escape(tensorflow)}\b.*\n\n){TABLES}"
    return re.sub(shown, lambda found: found[1] + tables + "\n", text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="?", default="")
    only = parser.parse_args().only
    version = "import tensorflow as tf; print(*tf.__version__.split('.')[:2], sep='.')"
    version = subprocess.check_output(
        [sys.executable, "-c", version], universal_newlines=True,
        stderr=subprocess.DEVNULL,
    )
    with open(README, encoding="utf-8") as f:
        commands = re.findall(r"^```sh\n(python benchmarks/.*)\n```$", f.read(), re.M)
    for command in commands:
        if only not in command:
            continue
        print(command, flush=True)
        printed = subprocess.check_output(
            [sys.executable, *shlex.split(command)[1:]], universal_newlines=True,
            cwd=os.path.dirname(HERE), stderr=subprocess.DEVNULL,
        )
        tables = "\n".join(re.findall(TABLES, printed + "\n")).rstrip() + "\n"
        print(tables, flush=True)
        with open(README, encoding="utf-8") as f:
            text = f.read()
        with open(README, "w", encoding="utf-8") as f:
            f.write(with_tables(text, command, f"TensorFlow {version.strip()}", tables))
