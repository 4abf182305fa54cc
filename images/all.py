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
commands = []  # of each page those of its first fence, which draw its picture
for page in sorted(glob.glob(os.path.join(ROOT, "notebooks", "try", "*.md"))):
    with open(page, encoding="utf-8") as f:
        fence = f.read().split("```sh\n")[1].split("```")[0]
    drawing = r"^((\w+)\.py.* --plot )(?=\2\.png)"
    for command in re.findall("^python (.*)$", fence, re.M):
        commands.append(re.sub(drawing, r"\1images/", command))
commands += [f"images/{name}.py" for name in
             ("echo_rnn_gif", "char_rnn_inside_stages", "echo_truncation")]
for command in commands:
    print("python", command, flush=True)
    subprocess.run([sys.executable, *shlex.split(command)], cwd=ROOT, check=True)
