"""Run a script in this process, to look at the names that it leaves."""
import argparse
import os
import runpy
import sys


def parse(parser):
    """Return the parsed flags, and the names of the script of --one, or None."""
    parser.add_argument("--one", nargs=argparse.REMAINDER, metavar="WORD",
                        help="a command, to be run in this process")
    chosen = parser.parse_args()
    if not chosen.one:
        return chosen, None
    sys.argv = chosen.one
    os.environ["MPLBACKEND"] = "agg"
    return chosen, runpy.run_path(sys.argv[0], run_name="__main__")
