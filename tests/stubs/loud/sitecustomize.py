"""Found on the path of a gateway, this sets every library's log to DEBUG before anything else is imported."""

import logging

for _name in ("asyncio", "audio_gateway", "python_multipart", "urllib3", "uvicorn"):
    logging.getLogger(_name).setLevel(logging.DEBUG)
