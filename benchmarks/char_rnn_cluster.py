"""char_rnn_cluster.py on machines that are processes here: its speed and learning.

    python benchmarks/char_rnn_cluster.py             # speed; needs Linux's taskset
    python benchmarks/char_rnn_cluster.py --learning # from data/shakespeare.txt

Each worker has one core. Speeds are those printed for the second epoch, when all have
joined: characters a second of all workers together.
"""
import argparse
import json
import os
import pydoc_data.topics
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(flags, workers, pinned=True):
    """Return what the chief printed; workers 0: char_rnn.py alone."""
    hosts = [f"127.0.0.1:{20000 + i}" for i in range(workers + 1)]
    tasks = [("worker", i) for i in range(workers)] + [("ps", 0)]
    script, more = "char_rnn_cluster.py", "--checkpoint_dir saved"
    if not workers:
        tasks, more = [("worker", 0)], "--plot picture.png"
        script = f"benchmarks/char_rnn_speed.py --one {ROOT}/char_rnn.py"
    started = []
    with tempfile.TemporaryDirectory() as folder:
        for job, i in tasks:
            config = {"cluster": {"ps": hosts[:1], "worker": hosts[1:]},
                      "task": {"type": job, "index": i}}
            command = [sys.executable, *f"{ROOT}/{script} {flags} {more}".split()]
            if pinned and job == "worker":
                command = ["taskset", "-c", str(i), *command]
            place = os.path.join(folder, f"{job}{i}")
            os.mkdir(place)
            started.append(subprocess.Popen(
                command, cwd=place, env=dict(os.environ, TF_CONFIG=json.dumps(config)),
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                universal_newlines=True))
        out = started[0].stdout.read()
        for each in started:
            if each.wait():
                sys.exit(f"{' '.join(each.args)} ended with {each.returncode}: {out}")
    return out


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--rounds", type=int, default=5, help="of all three in turn")
parser.add_argument("--learning", action="store_true", help="losses, not speeds")
chosen = parser.parse_args()
if chosen.learning:
    print("| seed | 1 worker | 2 workers | more |\n|---|---|---|---|")
    for seed in 1, 2, 3:
        flags = f"--data shakespeare --num_epochs 5 --seed {seed}"
        one, two = [
            float(re.findall(r"validation (\S+) nats", run(flags, workers, False))[-1])
            for workers in (1, 2)]
        print(f"| {seed} | {one:.4f} | {two:.4f} | {two - one:+.4f} |", flush=True)
else:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "text.txt")
        text = "\n".join(pydoc_data.topics.topics.values())[:200000]
        Path(path).write_text(text, encoding="utf-8")
        flags = f"--num_hidden_units 256 --num_epochs 2 --data {path}"
        speeds = np.array([
            [int(re.findall(r"(?:nats|training) +(\d+) char", run(flags, workers))[-1])
             for workers in (0, 1, 2)]
            for _ in range(chosen.rounds)])
    print("| | characters/s | times the line above (min to max) |\n|---|---|---|")
    names = ["char_rnn.py", "1 worker, 1 parameter server", "2 workers"]
    for i, name in enumerate(names):
        ratios = speeds[:, i] / speeds[:, max(i - 1, 0)]
        print(f"| {name} | {np.median(speeds[:, i]):.0f} | **{np.median(ratios):.2f}**"
              f" ({ratios.min():.2f} to {ratios.max():.2f}) |")
