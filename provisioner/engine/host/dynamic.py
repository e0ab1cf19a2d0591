"""``pulumi-resource-pulumi-python``: serves dynamic providers; SIGINT, by which the engine ends it, ends it quietly."""

import os
import runpy
import signal
import sys

signal.signal(signal.SIGINT, lambda *_: os._exit(0))
sys.path.pop(0)
runpy.run_module("pulumi.dynamic", run_name="__main__", alter_sys=True)
