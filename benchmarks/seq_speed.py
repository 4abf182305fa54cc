"""Training speed of seq_classify.py against PyTorch and Keras, as Markdown.

    python benchmarks/seq_speed.py   # 7 rounds: ours, PyTorch, Keras, ours, …

The examples/s of the training steps alone. The second half of them counts, as the first
one warms up. Same sizes: 3 layers of 200 GRU units.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
import one

HERE = os.path.dirname(os.path.abspath(__file__))
parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--rounds", type=int, default=7, help="of all three, in turn")
parser.add_argument("--steps", type=int, default=100, help="training steps of ours")
chosen, run = one.parse(parser)

if run:
    x, y, rows = run["x_train"], run["y_train"], run["batch_size"]
    for _ in range(2):
        start = time.perf_counter()
        for _ in range(chosen.steps):
            batch = np.random.randint(len(x), size=rows)
            run["sess"].run([run["loss"], run["train_step"]], {
                run["data"]: x[batch], run["target"]: y[batch],
                run["dropout"]: 0.5, run["decayed_rate"]: 0.003})
        seconds = time.perf_counter() - start
        print(f"{chosen.steps * rows / seconds:.0f} examples/s")
    sys.exit()


def measure(program, *words):
    """Return the examples/s that the program prints last."""
    printed = subprocess.check_output(
        [sys.executable, os.path.join(HERE, program), *map(str, words)],
        stderr=subprocess.DEVNULL, universal_newlines=True)
    return int(re.findall(r"(\d+) examples/s", printed)[-1])


print("| batch | ours, examples/s | PyTorch | times faster (min to max) | Keras |"
      " times faster |\n|---|---|---|---|---|---|")
for batch_size, steps in (10, 100), (100, 20):
    ours = ("seq_speed.py", "--steps", steps, "--one",
            os.path.join(HERE, "../seq_classify.py"), "--num_epochs", 1,
            "--num_batches", 1, "--batch_size", batch_size,
            "--plot", os.path.join(tempfile.gettempdir(), "seq_speed.png"))
    speeds = [(measure(*ours), measure("peers/seq_torch.py", batch_size, steps),
               measure("peers/seq_keras.py", batch_size, steps))
              for _ in range(chosen.rounds)]
    ours, torch, keras = np.transpose(speeds)
    cells = [f"{batch_size}", f"{np.median(ours):.0f}"]
    for other in torch, keras:
        ratios = ours / other
        cells += [f"{np.median(other):.0f}", f"**{np.median(ratios):.2f}**"
                  f" ({ratios.min():.2f} to {ratios.max():.2f})"]
    print("|", " | ".join(cells), "|", flush=True)
