"""The OpenAPI document: what the routes tell, and faults as they are really sent."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from teststrip.serve.web.problems import RESPONSES, ProblemBody

OTHER_SHAPE = "/v1"  # OpenAI's paths have its faults
THEIRS = "HTTPValidationError"  # what FastAPI would send for wrong input if we let it


def install(app: FastAPI) -> None:
    """The app's document is ours from here on; made once, when it is first asked for."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    found = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
    )
    for path, methods in found["paths"].items():
        for operation in methods.values():
            answers = operation["responses"]
            if THEIRS not in str(answers.get("422", "")):
                continue
            if path.startswith(OTHER_SHAPE):
                del answers["422"]
            else:
                answers["422"] = RESPONSES[422]
    schemas = found["components"]["schemas"]
    for name in (THEIRS, "ValidationError"):
        schemas.pop(name, None)
    schemas["ProblemBody"] = ProblemBody.model_json_schema()
    return found
