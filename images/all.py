"""Draw all pictures of the README anew, by the commands that stand in it.

    python images/all.py    # half an hour on 2 CPU cores, most of it echo_truncation.py
"""
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def commands():
    """Return the README's commands that write to images/, each a list of words."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        found = re.findall(r"^python (.*\bimages/.*\.(?:png|py))$", f.read(), re.M)
    return [shlex.split(words) for words in found]


if __name__ == "__main__":
    for words in commands():
        print("python", *words, flush=True)
        subprocess.run([sys.executable, *words], cwd=ROOT, check=True)
