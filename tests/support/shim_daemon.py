"""A daemon to be killed: launches one container, says where it is, and waits to be told to go on.

python shim_daemon.py RUN_FOLDER BUNDLE ID      prints one word per point; each line of stdin lets it go on to the next
"""

from __future__ import annotations

import asyncio
import sys

from wherry.shim.client import ExecRequest, Exited, LaunchRequest, LogOptions, Zygote


async def main(run_folder: str, bundle: str, name: str) -> None:
    loop = asyncio.get_running_loop()

    async def point(word: str) -> None:
        print(word, flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)

    zygote = await Zygote.start(run_folder)
    await point("zygote")
    request = LaunchRequest(id=name, bundle=bundle, run_folder=run_folder, open_stdin=True, log=LogOptions(path=f"{run_folder}/log"))
    launching = asyncio.ensure_future(zygote.launch(request))
    await asyncio.sleep(0)
    await point("launching")
    shim = await launching
    await point("created")
    ended = asyncio.Event()
    shim.on_event = lambda event: ended.set() if isinstance(event, Exited) and not event.exec_id else None
    starting = asyncio.ensure_future(shim.start())
    await asyncio.sleep(0)
    await point("starting")
    await starting
    await point("started")
    process = {"args": ["sleep", "100"], "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
    executing = asyncio.ensure_future(shim.exec(ExecRequest(exec_id="e", process=process)))
    await asyncio.sleep(0)
    await point("executing")
    await executing
    await point("executed")
    await shim.close_stdin()
    await ended.wait()
    await point("exited")
    releasing = asyncio.ensure_future(shim.release())
    await asyncio.sleep(0)
    await point("releasing")
    await releasing
    await point("released")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
