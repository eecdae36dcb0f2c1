"""/v1/openapi.json and /docs: the API described, for programs and for people. Nothing of it comes from elsewhere."""

import importlib.metadata
import importlib.util
from functools import cache
from pathlib import Path

import orjson
from flask import Blueprint, Response, abort, send_from_directory

_ASSETS = {"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"}
_KEPT_S = 3_600
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>hourfeed: the API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<main id="api">With JavaScript this page shows what <a href="/v1/openapi.json">openapi.json</a> describes.</main>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """\
SwaggerUIBundle({url: "/v1/openapi.json", dom_id: "#api", deepLinking: true, displayRequestDuration: true,
  persistAuthorization: false, validatorUrl: null});
"""


def page_routes() -> Blueprint:
    """Return the routes. They need no key: they tell what the API is, and nothing that it holds."""
    routes = Blueprint("pages", __name__)

    @routes.get("/v1/openapi.json")
    def openapi() -> Response:
        return Response(_document(), headers={"Cache-Control": "no-cache"}, mimetype="application/json")

    @routes.get("/docs")
    def docs() -> Response:
        return Response(_PAGE, headers={"Content-Security-Policy": _POLICY}, mimetype="text/html")

    @routes.get("/docs/start.js")
    def start() -> Response:
        return Response(_START, mimetype="text/javascript")

    @routes.get("/docs/<name>")
    def asset(name: str) -> Response:
        if name not in _ASSETS:
            abort(404)
        return send_from_directory(_assets(), name, max_age=_KEPT_S)

    return routes


@cache
def _document() -> bytes:
    from server.openapi import document  # not at the top: models take a while, and few ask for them

    return orjson.dumps(document(importlib.metadata.version("hourfeed")))


@cache
def _assets() -> Path:
    """Return the folder of Swagger UI's files, which the package flask-swagger-ui ships."""
    found = importlib.util.find_spec("flask_swagger_ui")
    assert found is not None  # noqa: S101 - a dependency
    assert found.origin is not None  # noqa: S101
    return Path(found.origin).parent / "dist"
