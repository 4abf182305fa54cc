"""Draw all pictures of README and pages anew, by the commands that stand there.

    python images/all.py    # half an hour on 2 CPU cores, most of it echo_truncation.py
"""
import glob
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
commands = []
for page in sorted(glob.glob(os.path.join(ROOT, "notebooks", "try", "*.md"))):
    with open(page, encoding="utf-8") as f:
        found = re.findall(r"^python ((\w+)\.py.* --plot )\2\.png$", f.read(), re.M)
    commands += [f"{command}images/{name}.png" for command, name in found]
commands += [f"images/{name}.py" for name in
             ("echo_rnn_gif", "char_rnn_inside_stages", "echo_truncation")]
for command in commands:
    print("python", command, flush=True)
    subprocess.run([sys.executable, *shlex.split(command)], cwd=ROOT, check=True)
