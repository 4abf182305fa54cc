"""Time echo_rnn.py against the article's program, in turn.

    python benchmarks/echo_rnn_speed.py     # 5 minutes on 2 CPU cores

Each program runs as it is; the time is that from its first line to its last one, 10
epochs, of which both print every 100th batch. Without a display all of it runs under
xvfb-run.
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
OURS = [os.path.join(os.path.dirname(HERE), "echo_rnn.py"), "--num_epochs", "10"]
# The situation, matplotlib's backend, a flag for the article's program.
SITUATIONS = [("no picture, ours with one in a file", "Agg", ["no_drawing"]),
              ("window", "TkAgg", [])]


def measure(command, backend):
    """Return the seconds between a program's first line and its last one."""
    with tempfile.TemporaryDirectory() as folder:
        program = subprocess.Popen(
            [sys.executable, "-u", *command], cwd=folder, stdout=subprocess.PIPE,
            env=dict(os.environ, MPLBACKEND=backend), stderr=subprocess.DEVNULL,
            universal_newlines=True)
        epochs = start = 0
        while epochs < 10:
            line = program.stdout.readline()
            if line.startswith("New data"):
                start = start or time.perf_counter()
            elif line.startswith("Step 600"):
                epochs += 1
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
print("| situation | article, s | ours, s | times faster (min to max) |")
print("|---|---|---|---|")
for situation, backend, flags in SITUATIONS:
    pairs = [(measure(ARTICLE + flags, backend), measure(OURS, backend))
             for _ in range(rounds)]
    article, ours = np.transpose(pairs)
    ratios = article / ours
    print(f"| {situation} | {np.median(article):.1f} | {np.median(ours):.1f} |"
          f" **{np.median(ratios):.1f}** ({min(ratios):.1f} to {max(ratios):.1f}) |",
          flush=True)
