"""Rooms of MLflow that this server keeps shut: nothing of ours uses them, and they run code.

The gateway to language models, the assistant (a shell on the server), background jobs, tool
servers. Their routes answer 404 whoever asks. Pages of other sites are refused as well: MLflow
lets any page of `localhost` ask with the log-in that a browser remembers.
"""

import re
from typing import TYPE_CHECKING

from teststrip.track.server.answers import answer, header

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

SHUT = re.compile(
    r"/+(gateway|(ajax-)?api/\d\.\d/+(mlflow/+)?("
    r"gateway|gateway-proxy|assistant|jobs|mcp[a-z-]*|scorer/invoke|genai|issues/invoke|"
    r"prompt-optimization|demo|runs/create-promptlab-run|ui-telemetry))(/|$)"
)
API = re.compile(r"/+(ajax-)?api/|/+graphql|/+get-artifact|/+model-versions/get-artifact")


class Closed:
    """Around MLflow's app."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass on, or refuse."""
        if scope["type"] == "http":
            if SHUT.match(scope["path"]):
                return await answer(send, 404, "This server has no such part.\n")
            if API.match(scope["path"]) and header(scope, b"sec-fetch-site") == b"cross-site":
                return await answer(send, 403, "Asked by a page of another site.\n")
        await self._app(scope, receive, send)
