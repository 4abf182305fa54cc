"""char_rnn_inside.py: what a saved run of char_rnn.py has learned."""
import os
import random
import re
import runpy
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, is_whole_png, leave_out_the_slow_parts, numpy_cell
from matplotlib.backends.backend_agg import FigureCanvasAgg

WORDS = ["ab ", '"cd ef" ', "no ", "the\n", "天地玄黃", "שלום ", "e\u0301", "😀", "\t",
         "_$x$ "]
TEXT = "".join(random.Random(1).choices(WORDS, k=6000))
FLAGS = ("--num_epochs 2 --batch_size 40 --num_steps 10 --num_hidden_units 12"
         " --learning_rate 0.01 --data text.txt --checkpoint_dir run --plot p.png ")
MORE = {"gru": " --dropout 0.5 --average_decay 0.9"}  # neither is to be seen inside


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return by model the folder of its run, and the names when it was looked into."""
    found = {}
    for model in ["manual", "gru", "lstm"]:
        folder = tmp_path_factory.mktemp(model)
        (folder / "text.txt").write_bytes(TEXT.encode())
        with pytest.MonkeyPatch.context() as patch:
            leave_out_the_slow_parts(patch)
            patch.chdir(folder)
            for script, flags in [
                    ("char_rnn.py", f"{FLAGS} --model {model} {MORE.get(model, '')}"),
                    ("char_rnn_inside.py", "--checkpoint_dir run")]:
                patch.setattr(sys, "argv", [script, *flags.split()])
                names = runpy.run_path(os.path.join(ROOT, script))
        found[model] = folder / "run", SimpleNamespace(**names)
    return found


@pytest.fixture
def look(run, runs, tmp_path):
    """Return a function that lets a model read a text; it returns the names."""
    def look_inside(model, text, *flags):
        (tmp_path / "new.txt").write_bytes(text.encode())
        words = ["--checkpoint_dir", str(runs[model][0]), "--text", "new.txt", *flags]
        return run("char_rnn_inside.py", words)

    return look_inside


def read_by_numpy(names, chars):
    """Return outputs, logits and losses of a row by the equations of two GRU layers."""
    with names.sess.graph.as_default():
        weights = names.sess.run(names.tf.trainable_variables())
    embedding, *cells, W, b = [np.array(w, float) for w in weights]
    states, outputs = [[np.zeros((1, 12))], [np.zeros((1, 12))]], []
    for char in chars[:-1]:
        x = embedding[[char]]
        for layer in range(2):
            x = numpy_cell("gru", cells[4 * layer : 4 * layer + 4], x, states[layer])[0]
            states[layer] = [x]
        outputs.append(x[0])
    logits = np.array(outputs) @ W + b
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[range(len(logits)), chars[1:]]
    return np.array(outputs), logits, losses


# --- The score ---
@pytest.mark.parametrize("length", [60, 2607])
def test_a_score_is_that_of_a_single_row_by_the_equations(look, capsys, length):
    """Without dropout, with averages; in one row, or in several."""
    names = look("gru", TEXT[5 : 5 + length], "--pattern", "zz$ $")
    nats = read_by_numpy(names, names.text_ids)[2].mean()
    assert names.nats == pytest.approx(nats, abs=2e-6)
    told = capsys.readouterr().out
    numbers = re.findall(r"best-\d: (.+) nats .+, (.+) bits, perplexity (.+)\n", told)
    assert [float(number) for number in numbers[0]] == pytest.approx(
        [nats, nats / np.log(2), np.exp(nats)], abs=2e-3)
    assert f"The lens, 8 characters back: {names.looks_back[8]:.2g}\n" in told
    assert "follows zz$ $, correlation 0.00\n" in told  # it matches nothing


def test_it_learns_from_each_window_once_that_is_scored(look, runs, capsys):
    folder = runs["lstm"][0]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    names = look("lstm", TEXT[:1207], "--learning_rate", "0.01")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert "best-2, learning on: " in capsys.readouterr().out

    chars, losses = np.append(names.text_ids, [0] * 4), []
    state = names.sess.run(names.initial_state, {names.X: [chars[:10]]})  # zeros
    for start in range(0, 1206, 10):
        feed = {names.X: [chars[start : start + 10]], names.lr: 0.01,
                names.y: [chars[start + 1 : start + 11]],
                **dict(zip(names.initial_state, state))}
        window, state = names.sess.run([names.losses, names.final_state], feed)
        losses.extend(window[0])
        names.sess.run(names.train_step, feed)
    assert len(losses) == 1210  # (what fills up the last window, the others do not see)
    assert names.nats == pytest.approx(np.mean(losses[:1206]), abs=2e-5)


# --- What is found ---
@pytest.mark.parametrize("model", ["manual", "gru", "lstm"])
def test_its_score_is_what_was_validated_its_lens_that_of_finite_differences(
        runs, model):
    """In a window that begins with the state in which the one before has ended."""
    _, names = runs[model]
    assert names.text == TEXT[len(TEXT) * 9 // 10 :]
    curve = names.saved["curves"]["validation"]
    assert names.nats == pytest.approx(min(loss for _, loss in curve), abs=2e-6)

    window = names.pieces[3, 10:20]
    _, state = names.read(names.pieces[3:4, :11])
    feed = {**dict(zip(names.initial_state, state)), names.X: [window]}
    pull, inputs = names.sess.run([names.pull, names.inputs], feed)

    def lead(moved):
        logits = names.sess.run(names.logits, {**feed, names.inputs: moved})[0, -1]
        return logits[best] - logits[second]

    second, best = np.argsort(names.sess.run(names.logits, feed)[0, -1])[-2:]
    found = []
    for t in range(10):
        step = np.zeros_like(inputs)
        step[0, t] = pull[0, t] / np.linalg.norm(pull[0, t])  # there it is steepest
        found.append((lead(inputs + 0.02 * step) - lead(inputs - 0.02 * step)) / 0.04)
    np.testing.assert_allclose(found, names.lengths[3, 10:20], rtol=0.02, atol=2e-4)
    for lag in range(10):
        assert names.looks_back[lag] == pytest.approx(
            names.lengths[:, 9 - lag :: 10].mean(), rel=1e-5)


def test_units_are_those_that_numpy_finds(runs):
    _, names = runs["gru"]
    assert names.pieces.shape == (20, 1211)
    known = read_by_numpy(names, names.pieces[7])[0]
    np.testing.assert_allclose(names.units[7], known, atol=1e-5)

    quoted, letter = [], []  # by plain loops
    for piece in names.pieces:
        text = "".join(names.vocabulary[idx] for idx in piece)
        inside = np.zeros(1211)
        for match in re.finditer(r'"[^"\n]*"', text):
            inside[match.start() : match.end()] = 1
        quoted.append(inside[:-1])
        letter.append([0])
        for char in text:
            letter[-1].append(letter[-1][-1] + 1 if char.isalpha() else 0)
    quoted, letter = np.array(quoted), np.array(letter)[:, 2:]
    correlations = [np.corrcoef(names.units[:, :, unit].ravel(), quoted.ravel())[0, 1]
                    for unit in range(12)]
    covariances, variances = np.zeros(12), np.zeros(12)
    for piece in names.units:
        moves = piece - piece.mean(axis=0)
        covariances += np.mean(moves[8:] * moves[:-8], axis=0)
        variances += np.mean(moves**2, axis=0)
    first = np.argmax(np.abs(correlations))
    second = np.argmax(np.where(np.arange(12) == first, -np.inf, covariances))
    part = covariances[second] / variances[second]
    assert names.found == [
        (first, f'Unit {first} follows {names.pattern}, correlation'
                f" {correlations[first]:.2f}"),
        (second, f"Unit {second} remembers: {part:.2f} of it is left after 8"
                 " characters")]

    for i, loss in zip(names.letters, names.by_letter):
        assert loss == pytest.approx(names.piece_losses[letter == i].mean(), rel=1e-5)
    known = [read_by_numpy(names, row)[2] for row in names.short_rows[:9]]
    np.testing.assert_allclose(names.short_losses[:9], known, atol=1e-5)


# --- The picture ---
def page_of(names, title):
    """Return the axes, signs by row and column, and colors of a page."""
    (page,) = [axes for axes in names.picture.figure.axes
               if axes.get_title("left").startswith(title)]
    signs = {(int(text.get_position()[1]), int(text.get_position()[0])): text
             for text in page.texts}
    return page, signs, page.images[0].get_array()


def test_each_sign_stands_on_its_own_column_on_the_color_of_its_unit(runs):
    _, names = runs["gru"]
    renderer = FigureCanvasAgg(names.picture.figure).get_renderer()
    (unit, title), _ = names.found
    page, signs, colors = page_of(names, title)
    assert names.shown > 0
    units, width = names.units[names.shown, :, unit], page.bbox.width / 78
    chars = set()
    for row, line in enumerate(names.lines):
        for column, place in enumerate(range(line.start, line.stop)):
            char = names.vocabulary[names.pieces[names.shown, place]]
            chars.add(char)
            known = names.plt.cm.RdBu_r(0.5 + 0.35 * units[place])
            np.testing.assert_allclose(colors[row, column], known, atol=1e-6)
            sign = signs[row, column]
            if char not in "天地玄黃שלום\u0301😀":
                assert sign.get_text() == {"\t": "→", "\n": "↵"}.get(char, char)
            box = sign.get_window_extent(renderer)
            left = page.bbox.x0 + column * width
            assert left - 1 < box.x0 and box.x1 < left + width + 1, repr(char)
            assert sign.get_text() != "\u0301"  # its box does not tell of its circle
    assert chars >= set('"天ש😀\u0301\t$')


def test_below_each_letter_stands_what_was_expected_there(runs):
    _, names = runs["gru"]
    page, signs, colors = page_of(names, "Below each letter")
    logits = read_by_numpy(names, names.pieces[names.shown])[1]
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for i, line in enumerate(names.lines[-4:]):
        for column, place in enumerate(range(line.start, line.stop)):
            best = np.argmax(chances[place - 1])
            chance = chances[place - 1, best]
            np.testing.assert_allclose(colors[4 * i + 1, column],
                                       names.plt.cm.Reds(0.7 * chance), atol=0.01)
            if chance > 0.051:
                assert signs[4 * i + 1, column].get_text() == names.signs[best]
    assert colors[0, 0].tolist() == [1, 1, 1, 1]


def test_it_draws_anew_as_soon_as_a_better_network_is_saved(
        runs, start, screen, tmp_path):
    """Ctrl-C ends it quietly, and keeps the picture."""
    folder = tmp_path / "char_rnn_1"
    shutil.copytree(str(runs["manual"][0]), str(folder))
    shutil.copy(str(runs["manual"][0].parent / "text.txt"), str(tmp_path))
    better = (folder / "best").read_text()
    assert 'path: "best-2"' in better.splitlines()[0]
    (folder / "best").write_text('model_checkpoint_path: "best-1"\n')
    (_, first), (_, second) = runs["manual"][1].saved["curves"]["validation"]
    process = start("char_rnn_inside.py", display=screen)
    assert f": {first:.4f} nats" in process.wait_for("char_rnn_1/best-1")
    (folder / "new").write_text(better)
    os.replace(str(folder / "new"), str(folder / "best"))  # as TensorFlow does it
    assert f": {second:.4f} nats" in process.wait_for("char_rnn_1/best-2")
    process.interrupt()
    code, out, err = process.end()
    assert (code, err) == (0, "") and out.endswith("Picture in char_rnn_inside.png\n")
    assert is_whole_png(tmp_path / "char_rnn_inside.png")


# --- What cannot be read ---
def test_what_is_no_saved_run_gets_one_line(runs, refused, tmp_path):
    assert "this folder holds no saved run" in refused("char_rnn_inside.py", "")
    for name, content in [("settings.json", b'{"flags": {'), ("settings.json", b"{}"),
                          ("best", b""), ("best-2.meta", b"half"),
                          ("best-2.index", b"half")]:
        shutil.copytree(str(runs["manual"][0]), "run")
        (tmp_path / "run" / name).write_bytes(content)
        told = refused("char_rnn_inside.py", "--checkpoint_dir run")
        assert re.search("run holds no saved run: .", told)
        shutil.rmtree("run")


def test_a_text_that_does_not_fit_gets_one_line(runs, refused, tmp_path):
    flags = ["--checkpoint_dir", str(runs["manual"][0]), "--text", "new.txt"]
    told = refused("char_rnn_inside.py", flags)
    assert "new.txt cannot be read: [Errno 2] No such file or directory" in told
    for content, told in [
            (b"ab no the \xce\xa9 ab " * 9, "new.txt: 'Ω' is not in the vocabulary"),
            (b"ab no the ab no th", "new.txt is too short: 18 characters"),
            (b"\xff\xfe" * 99, "new.txt cannot be read: 'utf-8' codec can't decode")]:
        (tmp_path / "new.txt").write_bytes(content)
        assert told in refused("char_rnn_inside.py", flags)
