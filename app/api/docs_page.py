"""The page `/docs`, which shows the OpenAPI document with Swagger UI.

Swagger UI is vendored in `swagger_ui/`, unchanged, from the npm package swagger-ui-dist, so that browsers load nothing
from another host. `VERSION` and `SHA256` identify the files; a test compares them.
"""

import base64
import hashlib
import re
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

VERSION: Final = "5.35.0"
SHA256: Final = {
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "0d20d1adef18aee3f40dd258172155521ce702ac445cb5f7b7d60ed32dad2fb2",
    "favicon-32x32.png": "3ed612f41e050ca5e7000cad6f1cbe7e7da39f65fca99c02e99e6591056e5837",
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
FOLDER: Final = Path(__file__).with_name("swagger_ui")
ASSETS: Final = "/docs/assets"


def add_docs(app: FastAPI, path: str, openapi_url: str) -> None:
    """Adds the page and its files to the application."""
    page = get_swagger_ui_html(
        openapi_url=openapi_url,
        title=app.title,
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon-32x32.png",
    )
    headers = page_headers(bytes(page.body))

    async def show(request: Request) -> Response:
        return HTMLResponse(page.body, headers=headers)

    app.router.routes.append(Route(path, show, methods=["GET"], include_in_schema=False))
    app.router.routes.append(Mount(ASSETS, StaticFiles(directory=FOLDER)))


def page_headers(page: bytes) -> dict[str, str]:
    """Security headers for the page: it loads from this host only. Inline scripts are allowed by their SHA-256."""
    scripts = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
    policy = {
        "default-src": "'none'",
        "script-src": " ".join(["'self'", *(f"'sha256-{digest}'" for digest in digests)]),
        # Swagger UI sets styles on its elements.
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
