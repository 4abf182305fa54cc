"""Draw char_rnn_inside.gif: a unit begins to follow what stands in quotes.

    python images/char_rnn_inside_stages.py    # four minutes on 2 CPU cores

char_rnn.py learns, a quarter of Python's manual at a time, and char_rnn_inside.py looks
at it each time. In the end it is known which unit follows quotes best: that one is
drawn, as it was at each stage.
"""
import io
import os
import pydoc_data.topics
import runpy
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image  # which matplotlib needs, too

HERE = os.path.dirname(os.path.abspath(__file__))
CHAR_RNN = os.path.join(os.path.dirname(HERE), "char_rnn.py")
INSIDE = os.path.join(os.path.dirname(HERE), "char_rnn_inside.py")
os.environ["MPLBACKEND"] = "agg"

text = "\n".join(pydoc_data.topics.topics.values())
length = len(text) * 9 // 10 // 4
last = "".join(sorted(set(text))) + text[4 * length :][: length // 9]
stages = []
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for stage in range(1, 13):
        quarter = text[(stage - 1) % 4 * length :][:length]
        with open("part.txt", "w", encoding="utf-8") as f:
            f.write(quarter + last)  # to learn from, and to validate with
        flags = ["--resume"] if stages else ["--data", "part.txt", "--seed", "2"]
        subprocess.run([sys.executable, CHAR_RNN, *flags, "--num_epochs", str(stage),
                        "--plot", "unused.png"], check=True)
        sys.argv = [INSIDE, "--plot", "unused.png"]
        stages.append(runpy.run_path(INSIDE, run_name="__main__"))
    os.chdir(HERE)

unit = stages[-1]["found"][0][0]
frames = []
for stage, names in enumerate(stages, 1):
    units, shown = names["units"], names["shown"]
    correlation = np.corrcoef(units[:, :, unit].ravel(), names["in_pattern"].ravel())
    title = (f"The manual read {stage / 4:.2f} times, {names['nats']:.2f} nats:"
             f" unit {unit} follows quotes, correlation {correlation[0, 1]:.2f}")
    colors = names["plt"].cm.RdBu_r(0.5 + 0.35 * units[shown, :, unit])
    content = [(names["shown_signs"][line], colors[line]) for line in names["lines"]]
    figure = names["plt"].figure(figsize=(6.4, 3))
    names["write_page"](figure.add_axes([0.02, 0.02, 0.96, 0.88]), title, content)
    image = io.BytesIO()
    figure.savefig(image, dpi=125)
    frames.append(Image.open(image).convert("RGB").quantize(64))

path = os.path.join(HERE, "char_rnn_inside.gif")
durations = [700] * (len(frames) - 1) + [4000]  # ms; the last one is looked at
frames[0].save(path, save_all=True, append_images=frames[1:], loop=0,
               duration=durations)
print(f"{len(frames)} frames, {os.path.getsize(path)} bytes")
