"""What the answers of the seq scripts hang on, over the seeds, as Markdown.

    python benchmarks/seq_inside.py seq_classify.py  # a quarter of an hour
    python benchmarks/seq_inside.py seq_label.py

The length of d (best logit - second) / d input: by row of the image, a mean of 500 test
digits, and by letters from the one that is asked for, a mean of 300 test words.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import one

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROWS = [1, 7, 14, 21, 28]
FLAGS = {"seq_classify.py": [""],
         "seq_label.py": ["", " --bidirectional 1", " --cell none"]}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("script", nargs="?", choices=FLAGS)
parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
chosen, run = one.parse(parser)

if run:
    if "seq_label" in sys.argv[0]:
        lengths = run["length_test"][:300]
        middles, letters = (lengths - 1) // 2, np.arange(len(lengths))
        pulls = run["sess"].run(run["pull"], {
            run["data"]: run["x_test"][:300], run["length"]: lengths,
            run["asked"]: middles})
        strengths = np.linalg.norm(pulls, axis=2)
        by_place = []
        for offset in range(-3, 4):
            inside = (middles + offset >= 0) & (middles + offset < lengths)
            by_place.append(
                strengths[letters[inside], (middles + offset)[inside]].mean())
    else:
        pulls = run["sess"].run(run["pull"], {run["data"]: run["x_test"][:500]})
        by_place = np.linalg.norm(pulls, axis=2).mean(axis=0)[np.subtract(ROWS, 1)]
    print("by place:", *np.round(by_place, 2))
    sys.exit()

places = ROWS if chosen.script == "seq_classify.py" else range(-3, 4)
print(f"| command | {' | '.join(map(str, places))} |")
print("|---" * (len(places) + 1) + "|")
for flags in FLAGS[chosen.script]:
    command, strengths = chosen.script + flags, []
    for seed in chosen.seeds:
        with tempfile.TemporaryDirectory() as folder:
            printed = subprocess.check_output(
                [sys.executable, os.path.abspath(__file__), "--one",
                 *os.path.join(ROOT, command).split(), "--seed", str(seed),
                 "--plot", "unused.png"],
                cwd=folder, stderr=subprocess.DEVNULL, universal_newlines=True)
        strengths.append(list(map(float, printed.splitlines()[-1].split()[2:])))
    ranges = zip(np.min(strengths, axis=0), np.max(strengths, axis=0))
    told = " | ".join(f"{low} to {high}" for low, high in ranges)
    print(f"| `{command}` | {told} |", flush=True)
