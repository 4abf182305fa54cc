"""How much memory char_rnn.py takes for a text of 100 MB, and when it first saves.

    python benchmarks/char_rnn_memory.py

The texts: data/shakespeare.txt again and again, in letters of one byte, and in Greek
ones of two. The first epoch is run.
"""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
text = (ROOT / "data" / "shakespeare.txt").read_text(encoding="utf-8")
greek = {ord("a") + i: chr(ord("α") + i) for i in range(26)}
print("| text | characters | first save, s | epoch ends, s | peak memory, MB |")
print("|---|---|---|---|---|")
for name, part in [("1 MB", text), ("100 MB", text), ("100 MB, Greek", None)]:
    part = part or text.lower().translate(greek)
    times = 1 if name == "1 MB" else 10**8 // len(part.encode())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text.txt")
        with open(path, "w", encoding="utf-8") as f:
            for _ in range(times):
                f.write(part)
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "char_rnn.py"), "--data", "text.txt",
             "--num_epochs", "1", "--plot", "p.png"], cwd=folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        saved = Path(folder, "char_rnn_1", "newest")
        while not saved.exists() and process.poll() is None:
            time.sleep(0.1)
        first_save = time.perf_counter() - start
        _, status, usage = os.wait4(process.pid, 0)
        end = time.perf_counter() - start
    assert status == 0
    print(f"| {name} | {times * len(part):,} | {first_save:.0f} | {end:.0f} |"
          f" {usage.ru_maxrss / 1024:.0f} |", flush=True)
