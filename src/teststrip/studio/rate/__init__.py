"""Rate: blind pairs, stars and rejects. Votes lie with the study and go to MLflow with its run."""

from teststrip.studio.rate.routes import router

__all__ = ["router"]
