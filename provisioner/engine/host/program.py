"""``program.py SETTINGS_JSON PROGRAM [ARGUMENTS]``: runs one Pulumi program; exits 32 if its error is shown already."""

import asyncio
import json
import logging
import runpy
import signal
import sys
import traceback

import grpc
import pulumi
import pulumi.runtime
from pulumi import log

ALREADY_SHOWN = 32


def main() -> int:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    settings, program = json.loads(sys.argv[1]), sys.argv[2]
    sys.argv = [program, *sys.argv[3:]]
    pulumi.runtime.set_all_config(pulumi.runtime.get_config_env(), pulumi.runtime.get_config_secret_keys_env())
    pulumi.runtime.configure(pulumi.runtime.Settings(**settings))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # tasks that fail with the update are no news
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: run(program)))
    except pulumi.RunError as error:
        # What the SDK makes of a monitor that is gone: the engine is ending and knows why.
        if not unavailable(error.__context__):
            log.error(str(error))
    except grpc.RpcError as error:
        if not unavailable(error):
            log.error(f"RPC error: {error.details()}")
    except Exception:
        log.error("Program failed with an unhandled exception:\n" + traceback.format_exc())
    else:
        return 0
    return ALREADY_SHOWN


def unavailable(error: BaseException | None) -> bool:
    return isinstance(error, grpc.Call) and error.code() == grpc.StatusCode.UNAVAILABLE


def run(program: str) -> None:
    # This file's directory comes first on sys.path, and its modules would be found before the program's.
    sys.path.pop(0)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)
