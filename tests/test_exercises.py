"""What pages ask to write and to paste: pasted as it stands, in short runs."""
import os
import re

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, ImageDraw

SEQ = "--plot p.png --num_epochs 1 --num_batches 2 --batch_size 4 --num_units 20 "


def code_under(script, heading):
    """Return the last block of Python under a heading of what ends a script's page."""
    path = os.path.join(ROOT, "notebooks", "try", script.replace(".py", ".md"))
    with open(path, encoding="utf-8") as file:
        part = file.read().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", part, re.S)[-1]


def write_with_solution(script, start, end):
    """Write the script, with the solution in place of all from start to end."""
    with open(os.path.join(ROOT, script), encoding="utf-8") as file:
        before, rest = file.read().split(start)
    with open(script, "w", encoding="utf-8") as file:
        file.write(before + code_under(script, "Write") + end + rest.split(end, 1)[1])


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
    exec(code_under("rnn_internals.py", "Write"), names)
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
    exec(code_under("char_rnn.py", "Write"), names)
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
    exec(code_under("seq_label.py", "Write"), names)
    ties, letters = names["ties"], np.log(np.random.dirichlet(np.ones(26), 3))
    sums = (letters[0][:, None, None] + letters[1][:, None] + letters[2]
            + ties[:, :, None] + ties)
    best = np.unravel_index(sums.argmax(), sums.shape)
    assert tuple(names["likeliest_word"](letters)) == best
    assert names["repaired"].shape == names["y_test"].shape


# --- Recipes for data of one's own, on files as people have them ---
def follow_recipe(script, said, is_good, capsys):
    """Run a page's recipe, which prints what is said, or ends with that; is_good."""
    recipe = code_under(script, "Your own data")
    if is_good:
        exec(recipe, {})
        assert said in capsys.readouterr().out
    else:
        with pytest.raises(SystemExit, match=re.escape(said)):
            exec(recipe, {})
    return is_good


def table(lines, names="x,y,z,activity"):
    return "\n".join([names, *lines]) + "\n"


SORTED = [f"{i},{i % 7},5,{'sit' if i < 300 else 'walk'}" for i in range(600)]


@pytest.mark.parametrize("text, said", [
    (table(SORTED), "Windows of 50 lines: 6 of sit, 6 of walk"),  # z never changes
    ("\ufeff" + table(SORTED), "6 of sit, 6 of walk"),  # from a spreadsheet
    (table(SORTED[:80]), "It takes two classes"),
    (table([*SORTED[:9], "1,n/a,3,sit"]), "sensors.csv, line 11: no number or no cla"),
    (table([*SORTED[:9], "1,nan,3,sit"]), "sensors.csv, line 11"),
    (table([*SORTED[:9], "1,2,3, "]), "sensors.csv, line 11"),
    (table(SORTED).replace(",", ";"), "sensors.csv, line 2"),
])
def test_a_table_becomes_a_file_for_seq_classify_or_its_line_is_named(
        text, said, run, tmp_path, capsys):
    (tmp_path / "sensors.csv").write_text(text, encoding="utf-8")
    if not follow_recipe("seq_classify.py", said, "6 of sit" in said, capsys):
        return
    made = np.load("own.npz")
    assert made["x_train"].shape == (10, 50, 3) and np.isfinite(made["x_train"]).all()
    assert sorted(made["y_test"]) == [0, 1]  # of each class, from a sorted table, too
    assert abs(made["x_train"]).max() < 4 and not made["x_train"][:, :, 2].any()
    if text == table(SORTED):
        assert run("seq_classify.py", SEQ + "--data own.npz").out_size == 2


@pytest.mark.parametrize("text, words, said", [
    ("a DET\ndog NOUN\n\nI PRO\nrun VERB\n", [2, 2], "only to test: PRO VERB"),
    ("\ufeffa D\ndog N\n\n\n \na D\ncat N\n\n", [2, 2], ""),  # lines of nothing
    ("a\tD\nNew York\tN\n\u00a0\nNew\u00a0York N\n", [2, 1], ""),
    ("a D\ndog\n", [], "tags.txt, line 2: a word or its tag is missing"),
    ("a D\ndog N\n", [], "has 1 sentences"),
])
def test_tags_become_a_file_for_seq_label_or_their_line_is_named(
        text, words, said, run, tmp_path, capsys):
    (tmp_path / "tags.txt").write_text(text, encoding="utf-8")
    if not follow_recipe("seq_label.py", said, words, capsys):
        return
    made = np.load("own.npz")
    assert [*made["length_train"], *made["length_test"]] == words
    if not said:
        run("seq_label.py", SEQ + "--data own.npz")


@pytest.mark.parametrize("ground", [(255, 255, 255, 255), (0, 0, 0, 0),
                                    (190, 180, 170, 255)])
def test_ones_own_image_is_ink_on_nothing_whatever_its_ground(
        ground, tmp_path, monkeypatch):
    """On paper, on a transparent ground, and as a photo has it."""
    image = Image.new("RGBA", (90, 120), ground)
    ImageDraw.Draw(image).line([(45, 20), (45, 100)], (40, 40, 60, 255), 12)
    image.save(str(tmp_path / "mine.png"))
    monkeypatch.chdir(tmp_path)
    prepare, answer = code_under("seq_classify.py", "Your own image").split("print(")
    names = {}
    exec(prepare, names)
    mine = names["mine"]
    assert "data: [mine]" in answer and mine.shape == (28, 28)
    assert mine[:, 13:15].max() > 0.9 and not mine[:, :9].any() and mine.mean() < 0.2
