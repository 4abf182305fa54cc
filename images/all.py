"""Draw all pictures of the READMEs anew, by the commands that stand in them.

    python images/all.py    # half an hour on 2 CPU cores, most of it echo_truncation.py
"""
import os
import re
import shlex
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
    commands = re.findall(r"^python ((\w+)\.py.* --plot )\2\.png$", f.read(), re.M)
commands = [f"{command}images/{name}.png" for command, name in commands]
commands += [f"images/{name}.py" for name in
             ("small", "tasks", "echo_rnn_gif", "echo_truncation")]
for command in commands:
    print("python", command, flush=True)
    subprocess.run([sys.executable, *shlex.split(command)], cwd=ROOT, check=True)
