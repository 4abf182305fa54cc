"""Time echo_rnn.py against the article's program, in turn.

    python benchmarks/echo_rnn_speed.py     # 5 minutes on 2 CPU cores

Each program runs as it is; the time is that from its first epoch to batch 600 of its
last one. Without a display all of it runs under xvfb-run.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ARTICLE = [os.path.join(HERE, "peers", "echo_rnn_article.py")]
OURS = [os.path.join(os.path.dirname(HERE), "echo_rnn.py"), "--num_epochs"]
# The situation, matplotlib's backend, epochs, a flag for the article's program.
SITUATIONS = [("no picture, ours with one in a file", "Agg", 10, ["no_drawing"]),
              ("window", "TkAgg", 10, []), ("window", "TkAgg", 100, [])]


def measure(command, backend, num_epochs):
    """Return the seconds between a program's first line and its last one."""
    with tempfile.TemporaryDirectory() as folder:
        program = subprocess.Popen(
            [sys.executable, "-u", *command], cwd=folder, stdout=subprocess.PIPE,
            env=dict(os.environ, MPLBACKEND=backend), stderr=subprocess.DEVNULL,
            universal_newlines=True)
        start, line = 0, ""
        while line != f"New data, epoch {num_epochs - 1}\n":
            line = program.stdout.readline()
            if line == "New data, epoch 0\n":
                start = time.perf_counter()
        while not line.startswith("Step 600"):
            line = program.stdout.readline()
        seconds = time.perf_counter() - start
        program.kill()  # a window would wait until it is closed
        program.communicate()
    return seconds


if sys.platform == "linux" and "DISPLAY" not in os.environ:
    screen = ["xvfb-run", "-a", "-s", "-screen 0 1280x1024x24"]
    os.execvp(screen[0], screen + [sys.executable] + sys.argv)
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--rounds", type=int, default=5, help="pairs for a row")
rounds = parser.parse_args().rounds
print("| situation | epochs | article, s | ours, s | times faster (min to max) |")
print("|---|---|---|---|---|")
for situation, backend, num_epochs, flags in SITUATIONS:
    article_command = [*ARTICLE, str(num_epochs), *flags]
    our_command = [*OURS, str(num_epochs)]
    pairs = [(measure(article_command, backend, num_epochs),
              measure(our_command, backend, num_epochs)) for _ in range(rounds)]
    article, ours = np.transpose(pairs)
    ratios = article / ours
    print(f"| {situation} | {num_epochs} | {np.median(article):.1f} |"
          f" {np.median(ours):.1f} | **{np.median(ratios):.1f}** ({min(ratios):.1f} to"
          f" {max(ratios):.1f}) |", flush=True)
