"""Training speed of seq_classify.py against PyTorch and Keras, as Markdown.

    python benchmarks/seq_speed.py   # 7 rounds: ours, PyTorch, Keras, ours, …

Each program runs as it is and prints its examples/s, of the training steps alone; the
second epoch's count, as the first one warms up. Same sizes: 3 layers of 200 GRU units.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--rounds", type=int, default=7, help="of all three, in turn")
rounds = parser.parse_args().rounds
picture = os.path.join(tempfile.gettempdir(), "seq_speed.png")


def measure(program, *flags):
    """Return the examples/s that the program prints last."""
    printed = subprocess.check_output(
        [sys.executable, os.path.join(HERE, program), *map(str, flags)],
        stderr=subprocess.DEVNULL, universal_newlines=True)
    return int(re.findall(r"(\d+) examples/s", printed)[-1])


print("| batch | ours, examples/s | PyTorch | times faster (min to max) | Keras |"
      " times faster |\n|---|---|---|---|---|---|")
for batch_size, num_batches in (10, 100), (100, 20):
    speeds = [
        (measure("../seq_classify.py", "--num_epochs", 2, "--num_batches", num_batches,
                 "--batch_size", batch_size, "--plot", picture),
         measure("peers/seq_torch.py", batch_size, num_batches),
         measure("peers/seq_keras.py", batch_size, num_batches))
        for _ in range(rounds)
    ]
    ours, torch, keras = np.transpose(speeds)
    cells = [f"{batch_size}", f"{np.median(ours):.0f}"]
    for other in torch, keras:
        ratios = ours / other
        cells += [f"{np.median(other):.0f}", f"**{np.median(ratios):.2f}**"
                  f" ({ratios.min():.2f} to {ratios.max():.2f})"]
    print("|", " | ".join(cells), "|", flush=True)
