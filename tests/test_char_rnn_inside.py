"""char_rnn_inside.py: what a saved run of char_rnn.py has learned."""
import json
import math
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
from matplotlib.colors import to_rgba

WORDS = ["ab ", '"cd ef" ', "no ", "the\n", "天地玄黃", "שלום ", "e\u0301", "😀", "\t",
         "_$x$ "]
TEXT = "".join(random.Random(1).choices(WORDS, k=1600))
FLAGS = ("--num_epochs 2 --batch_size 4 --num_steps 10 --num_hidden_units 12"
         " --num_batches 90 --learning_rate 0.01 --plot p.png --model ")
MORE = {"gru": " --dropout 0.5 --average_decay 0.9"}  # neither is to be seen inside


def run_in(folder, script, words):
    """Run a script in a folder, without the slow parts; return its names."""
    with pytest.MonkeyPatch.context() as patch:
        leave_out_the_slow_parts(patch)
        patch.chdir(folder)
        patch.setattr(sys, "argv", [script, *map(str, words)])
        return SimpleNamespace(**runpy.run_path(os.path.join(ROOT, script)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that returns the folder run of a model; text.txt is beside."""
    folders = {}

    def train(model):
        if model not in folders:
            folders[model] = folder = tmp_path_factory.mktemp(model)
            (folder / "text.txt").write_bytes(TEXT.encode())
            flags = (FLAGS + model + MORE.get(model, "")).split()
            run_in(folder, "char_rnn.py", ["--data", folder / "text.txt",
                                           "--checkpoint_dir", folder / "run", *flags])
        return folders[model] / "run"

    return train


@pytest.fixture(scope="module")
def seen(trained):
    """Return a function that returns the names when a model has read the text."""
    found = {}

    def see(model="gru"):
        if model not in found:
            found[model] = run_in(trained(model).parent, "char_rnn_inside.py", [
                "--checkpoint_dir", "run", "--text", "text.txt"])
        return found[model]

    return see


@pytest.fixture
def look(run, trained, tmp_path):
    """Return a function that lets a model read a text; it returns the names."""
    def look_inside(model, text, flags=()):
        (tmp_path / "new.txt").write_bytes(text.encode())
        words = ["--checkpoint_dir", str(trained(model)), "--text", "new.txt", *flags]
        return run("char_rnn_inside.py", words)

    return look_inside


def read_plainly(names, chars, fetches):
    """Return the fetches of each window of a single row, the state carried."""
    state, found = None, []
    for start in range(0, len(chars) - 1, names.num_steps):
        window = chars[start : start + names.num_steps + 1]
        feed = {names.X: [window[:-1]], names.y: [window[1:]]}
        if state is not None:
            feed.update(zip(names.initial_state, state))
        values, state = names.sess.run([fetches, names.final_state], feed)
        found.append(values)
    return found


def padded(names, chars):
    """Return the characters, and so many more that the windows are whole."""
    steps = math.ceil((len(chars) - 1) / names.num_steps) * names.num_steps
    return np.concatenate([chars, np.zeros(steps + 1 - len(chars), int)])


def numpy_losses(names, chars):
    """Return the losses of a single row by the equations of two layers of GRU."""
    with names.sess.graph.as_default():
        weights = names.sess.run(names.tf.trainable_variables())
    embedding, *cells, W, b = [np.array(w, float) for w in weights]
    states, losses = [[np.zeros((1, 12))], [np.zeros((1, 12))]], []
    for char, following in zip(chars, chars[1:]):
        x = embedding[[char]]
        for layer in range(2):
            x = numpy_cell("gru", cells[4 * layer : 4 * layer + 4], x, states[layer])[0]
            states[layer] = [x]
        logits = (x @ W + b)[0]
        losses.append(np.log(np.exp(logits).sum()) - logits[following])
    return np.array(losses)


# --- The score ---
@pytest.mark.parametrize("length", [60, 1000, 1007, 2600])
def test_a_score_is_that_of_a_single_row_by_the_equations(look, capsys, length):
    """Without dropout, with averages; in one row, or in several."""
    names = look("gru", TEXT[5 : 5 + length])
    nats = numpy_losses(names, names.ids).mean()
    assert names.nats == pytest.approx(nats, abs=2e-6)
    told = re.findall(r"best-\d: (.+) nats .+, (.+) bits, perplexity (.+)\n",
                      capsys.readouterr().out)[0]
    assert [float(number) for number in told] == pytest.approx(
        [nats, nats / np.log(2), np.exp(nats)], abs=2e-3)


@pytest.mark.parametrize("model", ["manual", "gru", "lstm"])
def test_a_score_is_the_loss_that_was_validated(run, trained, model):
    """Also where a part of a long text was enough to validate with."""
    names = run("char_rnn_inside.py", ["--checkpoint_dir", str(trained(model))])
    assert names.text == TEXT[len(TEXT) * 9 // 10 :][: 10 * 4 * 10 + 1]
    curve = names.saved["curves"]["validation"]
    assert names.nats == pytest.approx(min(loss for _, loss in curve), abs=2e-6)


def test_it_learns_from_each_window_once_that_is_scored(look, trained):
    folder = trained("lstm")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    names = look("lstm", TEXT[:1207], ["--learning_rate", "0.01"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    learned = names.nats

    names.saver.restore(names.sess, names.path)
    chars, state, losses = padded(names, names.ids), None, []
    for start in range(0, 1206, 10):
        feed = {names.X: [chars[start : start + 10]], names.lr: 0.01,
                names.y: [chars[start + 1 : start + 11]]}
        if state is not None:
            feed.update(zip(names.initial_state, state))
        window, state = names.sess.run([names.losses, names.final_state], feed)
        losses.extend(window[0])
        names.sess.run(names.train_step, feed)
    # (The windows before hardly see what fills up the last one.)
    assert learned == pytest.approx(np.mean(losses[:1206]), abs=2e-5)
    assert len(losses) == 1210


# --- The lens ---
@pytest.mark.parametrize("model", ["manual", "gru", "lstm"])
def test_the_lens_is_that_of_finite_differences(seen, model):
    """In a window that begins with the state in which the one before has ended."""
    names = seen(model)
    window, state = names.pieces[3, 10:20], None
    _, state = names.read(names.pieces[3:4, :11])
    feed = dict(zip(names.initial_state, state))
    feed[names.X] = [window]
    inputs = names.sess.run(names.inputs, feed)

    def lead(moved):
        logits = names.sess.run(names.logits, {**feed, names.inputs: moved})[0, -1]
        return logits[best] - logits[second]

    second, best = np.argsort(names.sess.run(names.logits, feed)[0, -1])[-2:]
    found = []
    for t in range(10):
        pull = names.pulls[3, 10 + t]
        step = np.zeros_like(inputs)
        step[0, t] = pull / np.linalg.norm(pull)  # along it the slope is its length
        found.append((lead(inputs + 0.02 * step) - lead(inputs - 0.02 * step)) / 0.04)
    lengths = np.linalg.norm(names.pulls[3, 10:20], axis=1)
    np.testing.assert_allclose(found, lengths, rtol=0.02, atol=2e-4)

    pulls = names.pulls.reshape(-1, 10, names.pulls.shape[2])
    for lag in range(10):
        known = np.mean([np.linalg.norm(each[9 - lag]) for each in pulls])
        assert names.by_lag[lag] == pytest.approx(known, rel=1e-5)


# --- Units, and what a memory and a word are worth ---
def test_units_are_those_that_numpy_finds(seen):
    names = seen()
    assert names.pieces.shape == (20, 1211)
    known = np.concatenate(read_plainly(names, names.pieces[7], names.outputs), axis=1)
    np.testing.assert_allclose(names.units[7], known[0], atol=1e-5)

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
    unit = np.argmax(np.abs(correlations))
    assert names.found[0] == (
        unit, f'Unit {unit} follows "[^"\\n]*", correlation {correlations[unit]:.2f}')

    covariances, variances = np.zeros(12), np.zeros(12)
    for piece in names.units:
        moves = piece - piece.mean(axis=0)
        covariances += np.mean(moves[8:] * moves[:-8], axis=0)
        variances += np.mean(moves**2, axis=0)
    unit = np.argmax(covariances)
    part = covariances[unit] / variances[unit]
    sentence = f"Unit {unit} remembers: {part:.2f} of it is left after 8 characters"
    assert sentence in [sentence for _, sentence in names.found] or (
        unit == names.found[0][0])  # once is enough
    assert len(dict(names.found)) == len(names.found)

    for i, cost in zip(names.letters, names.by_letter):
        assert cost == pytest.approx(names.costs[letter == i].mean(), rel=1e-5)
    first = [read_plainly(names, row, names.losses)[0][0]
             for row in names.short_rows[:9]]
    np.testing.assert_allclose(names.short_costs[:9], first, atol=1e-5)
    np.testing.assert_allclose(names.by_read, names.short_costs.mean(axis=0))


# --- The picture ---
def signs_of(axes):
    """Return the signs of a page by row and column."""
    return {(int(text.get_position()[1]), int(text.get_position()[0])): text
            for text in axes.texts}


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:Matplotlib currently")
def test_each_sign_stands_on_its_own_column_on_the_color_of_its_unit(seen):
    names = seen()
    figure = names.picture.figure
    renderer = FigureCanvasAgg(figure).get_renderer()
    (page,) = [axes for axes in figure.axes
               if axes.get_title("left") == names.found[0][1]]
    signs, colors = signs_of(page), page.images[0].get_array()
    unit, width = names.found[0][0], page.bbox.width / 78
    seen = set()
    for row, line in enumerate(names.lines):
        for column, place in enumerate(range(line.start, line.stop)):
            char = names.vocabulary[names.pieces[names.shown, place]]
            seen.add(char)
            known = names.plt.cm.RdBu_r(
                0.5 + 0.35 * names.units[names.shown, place, unit])
            np.testing.assert_allclose(colors[row, column], known, atol=1e-6)
            if char != " ":
                sign = signs[row, column]
                assert sign.get_text() == {"\t": "→"}.get(char, char)
                box = sign.get_window_extent(renderer)
                left = page.bbox.x0 + column * width
                assert left - 1 < box.x0 and box.x1 < left + width + 1, repr(char)
                if char == "\u0301":  # its box does not tell of the circle beside it
                    assert sign.get_size() == 4
    assert seen >= set('"天ש😀\u0301\t$')


def test_below_each_letter_stands_what_was_expected_there(seen):
    names = seen()
    (page,) = [axes for axes in names.picture.figure.axes
               if axes.get_title("left").startswith("Below each letter")]
    signs, colors = signs_of(page), page.images[0].get_array()
    piece = names.pieces[names.shown]
    logits = np.concatenate(read_plainly(names, piece, names.logits), axis=1)[0]
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for i, line in enumerate(names.lines[-4:]):
        for column, place in enumerate(range(line.start, line.stop)):
            best = np.argmax(chances[place - 1])
            chance = chances[place - 1, best]
            np.testing.assert_allclose(colors[4 * i + 1, column],
                                       names.plt.cm.Reds(0.7 * chance), atol=0.01)
            sign = names.signs[best]
            if chance > 0.051 and sign != " ":
                assert signs[4 * i + 1, column].get_text() == sign
    assert colors[0, 0].tolist() == list(to_rgba("white"))


def test_it_draws_anew_as_soon_as_a_better_network_is_saved(
        trained, start, screen, tmp_path):
    """Ctrl-C ends it quietly, and keeps the picture."""
    folder = tmp_path / "char_rnn_1"
    shutil.copytree(str(trained("manual")), str(folder))
    better = (folder / "best").read_text()
    assert 'path: "best-2"' in better.splitlines()[0]
    (folder / "best").write_text('model_checkpoint_path: "best-1"\n')
    (_, first), (_, second) = json.loads((folder / "settings.json").read_text())[
        "curves"]["validation"]
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
def test_what_is_no_saved_run_gets_one_line(trained, refused, tmp_path):
    assert "this folder holds no saved run" in refused("char_rnn_inside.py", "")

    def damaged(name, content):
        shutil.copytree(str(trained("manual")), "run")
        if content is None:
            (tmp_path / "run" / name).unlink()
        else:
            (tmp_path / "run" / name).write_bytes(content)
        told = refused("char_rnn_inside.py", "--checkpoint_dir run")
        assert "run holds no saved run: " in told
        shutil.rmtree("run")

    damaged("settings.json", b'{"flags": {')
    damaged("settings.json", b"{}")
    damaged("best", None)
    damaged("best-2.meta", None)
    damaged("best-2.meta", b"half")
    damaged("best-2.index", b"half")
    damaged("best-2.data-00000-of-00001", None)


@pytest.mark.parametrize("content, told", [
    (b"ab no the \xce\xa9 ab " * 9, "new.txt: 'Ω' is not in the vocabulary"),
    (b"ab no the ab no th", "new.txt is too short: 18 characters"),
    (b"\xff\xfe" * 99, "new.txt cannot be read: 'utf-8' codec can't decode"),
    (None, "new.txt cannot be read: [Errno 2] No such file or directory")])
def test_a_text_that_does_not_fit_gets_one_line(
        trained, refused, tmp_path, content, told):
    if content is not None:
        (tmp_path / "new.txt").write_bytes(content)
    folder = trained("manual")
    flags = ["--checkpoint_dir", str(folder), "--text", "new.txt"]
    assert told in refused("char_rnn_inside.py", flags)


def test_a_pattern_that_is_none_gets_one_line_and_one_without_a_match_too(
        look, refused, capsys):
    assert "--pattern (: " in refused("char_rnn_inside.py", ["--pattern", "("])
    names = look("gru", TEXT[:40], ["--pattern", "zz$ $"])
    told = capsys.readouterr().out
    assert "zz$ $ matches nothing" in told and "follows" not in told
    assert all("remembers" in sentence for _, sentence in names.found)
