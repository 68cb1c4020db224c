"""Sets every library's log to DEBUG before any other import, if its folder is on the gateway's path."""

import logging

for _name in ("asyncio", "audio_gateway", "python_multipart", "urllib3", "uvicorn"):
    logging.getLogger(_name).setLevel(logging.DEBUG)
