"""The README's exercises: their solutions, pasted as they stand, in short runs."""
import os
import re

import numpy as np
import pytest
from conftest import ROOT

SEQ = "--plot p.png --num_epochs 1 --num_batches 2 --batch_size 4 --num_units 20 "


def solution(script):
    """Return the code that is folded away in the README's section on the script."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        section = file.read().split(f"\n## {script}")[1].split("\n## ")[0]
    (code,) = re.findall(r"<details><summary>A solution.*?```python\n(.*?)```", section,
                         re.S)
    return code


def write_with_solution(script, start, end):
    """Write the script, with the solution in place of all from start to end."""
    with open(os.path.join(ROOT, script), encoding="utf-8") as file:
        before, rest = file.read().split(start)
    with open(script, "w", encoding="utf-8") as file:
        file.write(before + solution(script) + end + rest.split(end, 1)[1])


def test_echo_rnn_adds(run):
    run("echo_rnn.py", "--num_epochs 1 --total_series_length 400 --plot p.png")
    write_with_solution("echo_rnn.py", "def generateData():\n", "\n\nnp.random.seed")
    echo = run(os.path.abspath("echo_rnn.py"), "--num_epochs 1 --plot p.png"
               " --total_series_length 400 --state_size 8")
    for x, y in zip(echo.x, echo.y):
        place = 2 ** np.arange(60)  # of the sums' first 60 bits
        assert place @ y[:60] == place @ x[:60] % 2**60
    assert set(echo.x.ravel()) == {0, 1, 2}


def test_an_lstm_by_hand_is_tensorflows(run, capsys):
    names = vars(run("rnn_internals.py", "--num_epochs 1 --plot p.png"))
    capsys.readouterr()
    exec(solution("rnn_internals.py"), names)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 6
    for line in told:
        assert float(line.split()[0]) < 1e-6 and line.split()[1] == "yes"


def test_triples_are_chances_and_know_more_than_pairs(run, tmp_path):
    letters = np.random.RandomState(0).choice(list("ab"), 9000)
    for i in range(2, len(letters)):  # what a letter is hangs on the last two
        letters[i] = "a" if letters[i - 1] == letters[i - 2] == "b" else "b"
        if i % 7 == 0:
            letters[i] = "c"
    (tmp_path / "text.txt").write_text("".join(letters))
    names = vars(run("char_rnn.py", "--data text.txt --num_epochs 1 --plot p.png"
                     " --num_hidden_units 5"))
    exec(solution("char_rnn.py"), names)
    for a, b in (0, 1), (1, 1), (2, 0):
        assert sum(names["chance"](a, b, c) for c in range(3)) == pytest.approx(1)
    assert names["baselines"]["triples"] < names["baselines"]["pairs"] - 0.1


def test_every_real_step_is_asked_in_training(run):
    np.savez("own.npz", x_train=np.random.randn(9, 6, 3), y_train=np.arange(9) % 3,
             x_test=np.random.randn(9, 6, 3), y_test=np.arange(9) % 3,
             length_train=np.full(9, 6), length_test=np.arange(9) % 6 + 1)
    write_with_solution("seq_classify.py", "    loss = tf.losses.sparse_softmax",
                        "    decayed_rate = ")
    seq = run(os.path.abspath("seq_classify.py"), SEQ + "--data own.npz")
    feed = {seq.data: seq.x_test, seq.length: seq.length_test, seq.target: seq.y_test}
    chances, loss = seq.sess.run([seq.reading, seq.loss], feed)
    asked = [chances[i, t, seq.y_test[i]]
             for i, end in enumerate(seq.length_test) for t in range(end)]
    assert loss == pytest.approx(-np.mean(np.log(asked)), rel=1e-5)


def test_the_mended_word_is_the_likeliest_of_all(run):
    many = " --num_batches 60 --batch_size 40"  # that each letter comes in some word
    names = vars(run("seq_label.py", SEQ + "--cell none" + many))
    exec(solution("seq_label.py"), names)
    ties, letters = names["ties"], np.log(np.random.dirichlet(np.ones(26), 3))
    sums = (letters[0][:, None, None] + letters[1][:, None] + letters[2]
            + ties[:, :, None] + ties)
    best = np.unravel_index(sums.argmax(), sums.shape)
    assert tuple(names["likeliest_word"](letters)) == best
    assert names["repaired"].shape == names["y_test"].shape
