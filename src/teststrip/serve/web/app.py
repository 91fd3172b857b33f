"""create_app: the API and the pages put together."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI

from teststrip.serve.parts import Parts
from teststrip.serve.web import (
    courier,
    document,
    health,
    openai,
    page,
    problems,
    routes_batches,
    routes_catalog,
    routes_images,
    routes_jobs,
)
from teststrip.serve.web.catalog import Catalog, Champions
from teststrip.serve.web.eta import Etas
from teststrip.serve.web.gate import Gate
from teststrip.serve.web.keys import KeyRing
from teststrip.serve.web.signing import Signer

BYTES_OF_A_WISH = 4096  # in a batch, on average


def create_app(
    parts: Parts,
    *,
    champions: Champions | None = None,
    keys: KeyRing | None = None,
    hosts: Sequence[str] = (),
    recommended: Mapping[str, Mapping[str, Any]] | None = None,
) -> FastAPI:
    """The service's web. `parts` are opened and closed by whoever made them.

    `keys` None: no key is asked for, everybody is the caller "local", and only this machine's host
    names are answered to (and `hosts`). `recommended`: model -> the recipe fields that its makers
    name, for as long as no worker has told them. `app.state`: parts, catalog, keys, etas, signer.
    Raises ConfigError for faults in the files of recipes and templates.
    """
    app = FastAPI(
        title="Teststrip service",
        description="Pictures from a recipe that was chosen on evidence: jobs in, pictures out.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=courier.carried,
    )
    config = parts.config
    app.state.parts = parts
    app.state.keys = keys
    app.state.catalog = Catalog(parts, champions, recommended or {})
    app.state.champions = champions
    app.state.etas = Etas(parts)
    app.state.signer = Signer(config.the_secret(parts.home))
    problems.install(app)
    app.add_middleware(
        Gate,
        metrics=parts.metrics,
        hosts=hosts or (() if keys is None else ("*",)),
        max_body=config.max_body_bytes,
        long_body={"/api/batches": config.max_batch * BYTES_OF_A_WISH},
    )
    for room in (routes_jobs, routes_images, routes_batches, routes_catalog, health):
        app.include_router(room.router)
    openai.install(app)
    page.install(app)
    document.install(app)
    return app
