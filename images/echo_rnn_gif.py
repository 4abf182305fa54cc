"""Draw echo_rnn.gif: the first 80 batches of echo_rnn.py, as its window shows them.

    python images/echo_rnn_gif.py    # half a minute on 2 CPU cores

The script's own cells are run up to there; only where its picture is drawn is another.
"""
import io
import os
import sys

from PIL import Image  # which matplotlib needs, too

HERE = os.path.dirname(os.path.abspath(__file__))
ECHO_RNN = os.path.join(os.path.dirname(HERE), "echo_rnn.py")
frames = []


def is_due(slow_motion):
    if len(names["loss_list"]) > 80:
        raise KeyboardInterrupt  # as Ctrl-C does, it ends the training
    return slow_motion


def keep_frame():
    if names.get("loss_list"):  # else it is the empty picture before the training
        image = io.BytesIO()
        picture.figure.savefig(image, dpi=75)
        frame = Image.open(image).convert("RGB")
        frames.append(frame.quantize(64, method=Image.Quantize.FASTOCTREE))


with open(ECHO_RNN, encoding="utf-8") as f:
    cells, heading, training = f.read().partition("# %% Running a training session")
sys.argv = [ECHO_RNN, "--plot", "unused.png"]
names = {"__file__": ECHO_RNN, "__doc__": __doc__}
exec(compile(cells, ECHO_RNN, "exec"), names)
picture = names["picture"]
picture.is_due, picture.draw = is_due, keep_frame
exec(compile(heading + training, ECHO_RNN, "exec"), names)

path = os.path.join(HERE, "echo_rnn.gif")
durations = [250] * (len(frames) - 1) + [4000]  # ms; the last one is looked at
frames[0].save(path, save_all=True, append_images=frames[1:], loop=0,
               duration=durations)
print(f"{len(frames)} frames, {os.path.getsize(path)} bytes")
