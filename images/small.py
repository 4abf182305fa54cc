"""Cut the README's three small pictures out of its larger ones.

    python images/small.py    # after these: it writes images/small_….png
"""
from pathlib import Path

import matplotlib.pyplot as plt

FOLDER = Path(__file__).resolve().parent
# Left, top, right and bottom in pixels of the picture of 2400 x 1260.
PARTS = {
    "rnn_internals": (1360, 705, 2395, 1250),
    "char_rnn": (40, 752, 690, 1090),
    "seq_label": (755, 574, 1460, 934),
}
for name, (left, top, right, bottom) in PARTS.items():
    picture = plt.imread(FOLDER / f"{name}.png")
    plt.imsave(FOLDER / f"small_{name}.png", picture[top:bottom, left:right])
