"""One worker: `python worker.py`. SIGTERM drains it."""

import logging

import uvloop

from domain.error import Refused, Unavailable
from runtime.process import exit_process, log_to_stderr, stop_signal
from runtime.settings import Settings, load_settings
from runtime.store import WORKER_BUSY_SECONDS, open_store
from runtime.temporal import CORE_LOG, connect
from runtime.wiring import running_worker

DRAINED = 0
FAILED = 1
BAD_SETTINGS = 2
UNREACHABLE = 3

log = logging.getLogger("seatflow.worker")


async def serve(settings: Settings) -> None:
    """Run a worker until the stop signal, then drain it.

    Raises Refused for invalid settings, Unavailable for an unreachable backend.
    """
    stop = stop_signal()
    async with open_store(settings, WORKER_BUSY_SECONDS) as store:
        await store.check_id_key(settings.id_key_fingerprint)
        client = await connect(settings, core_log=CORE_LOG)
        async with running_worker(client, settings, store):
            log.info("polling %s in namespace %s", settings.task_queue, client.namespace)
            await stop.wait()
            log.info("draining")
    log.info("drained")


def main() -> None:
    """Run one worker; exit with the status of its end."""
    log_to_stderr()
    try:
        uvloop.run(serve(load_settings()))
    except Refused as refused:
        log.error("%s", refused.message)
        exit_process(BAD_SETTINGS)
    except Unavailable as unavailable:
        log.error("%s", unavailable.message)
        exit_process(UNREACHABLE)
    except Exception:
        log.exception("the worker failed")
        exit_process(FAILED)
    exit_process(DRAINED)


if __name__ == "__main__":
    main()
