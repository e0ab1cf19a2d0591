"""Start a command that dies with the process that started it: ``python -I -S launch.py SIGNAL PARENT_PID COMMAND ...``.

The kernel sends SIGNAL (a number) to the command when the *thread* that started this launcher ends, so that thread must
outlive the command. A process of its own, since a ``preexec_fn`` may deadlock in a parent with threads.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    number, parent, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
