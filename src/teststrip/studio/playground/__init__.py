"""Try a prompt with any settings, and make a study around what looks good.

form     what was typed -> recipe, prompt, seeds, with all faults      presets  where a form starts
desk     one worker thread and a bounded queue of jobs                 job      one of them
history  what was made, on disk, bounded                               around   a study file
routes   the form and its jobs                  picture_routes  a picture, several, a study
"""

from fastapi import APIRouter

from teststrip.studio.playground import picture_routes, routes

router = APIRouter(lifespan=routes.ends_with_the_app)
router.include_router(routes.router)
router.include_router(picture_routes.router)

__all__ = ["router"]
