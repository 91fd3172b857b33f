"""Which pages there are: a router each, in the order of the navigation."""

from fastapi import APIRouter


def routers() -> list[APIRouter]:
    """Imported here, so that a page is one folder and one line."""
    from teststrip.studio import compare, findings, home, live, playground, rate, runs, wall
    from teststrip.studio.pictures import routes as pictures

    return [
        home.router,
        findings.router,
        wall.router,
        compare.router,
        rate.router,
        live.router,
        playground.router,
        runs.router,
        pictures.router,
    ]
