"""Draw the tasks of the five scripts side by side: what comes in, what goes out, when.

    python images/tasks.py    # writes images/tasks.png
"""
from pathlib import Path

import matplotlib.pyplot as plt

# Of each step: what comes in, and what is answered (" " is nothing).
TASKS = [
    ("echo_rnn.py", "many to many, three steps late", "10110", [*"   10"]),
    ("rnn_internals.py", "many to one: what comes next", "∿" * 5, [*"    ∿"]),
    ("char_rnn.py", "many to many: each next letter", "HELLO", list("ELLO…")),
    ("char_rnn.py --sample", "one to many: it reads itself", "H", list("ELLO…")),
    ("seq_classify.py", "many to one", ["row"] * 5, [*"    7"]),
    ("seq_label.py", "many to many, step by step", "cello", list("cello")),
]
arrow = {"arrowstyle": "-|>", "color": "black", "lw": 1, "shrinkA": 0, "shrinkB": 0}
center = {"ha": "center", "va": "center"}

figure, all_axes = plt.subplots(2, 3, figsize=(12, 4.4))
figure.subplots_adjust(0.01, 0.01, 0.99, 0.97, wspace=0.05, hspace=0.25)
for axes, (script, kind, inputs, answers) in zip(all_axes.flat, TASKS):
    axes.set(xlim=(-0.8, 5.2), ylim=(-0.9, 3.4))
    axes.axis("off")
    axes.text(-0.6, 3.1, script, family="monospace", size=11, weight="bold")
    axes.text(-0.6, 2.62, kind, size=10, color="dimgray")
    for step, answer in enumerate(answers):
        axes.add_patch(plt.Rectangle((step - 0.3, 0.6), 0.6, 0.6, fc="moccasin",
                                     ec="black"))
        if step < len(answers) - 1:
            axes.annotate("", (step + 0.7, 0.9), (step + 0.3, 0.9), arrowprops=arrow)
        if step < len(inputs):
            color = "tab:blue"
            axes.text(step, -0.45, inputs[step], color=color, size=12, **center)
            axes.annotate("", (step, 0.6), (step, -0.15), arrowprops=arrow)
        elif step < 5:  # the answer before is this step's input
            axes.annotate("", (step, 0.6), (step - 0.85, 2.0), arrowprops={
                **arrow, "color": "tab:green",
                "connectionstyle": "angle3,angleA=0,angleB=90"})
        if answer != " ":
            axes.text(step, 2.15, answer, color="tab:green", size=12, **center)
            axes.annotate("", (step, 1.85), (step, 1.2), arrowprops=arrow)
figure.savefig(Path(__file__).with_suffix(".png"), dpi=100)
