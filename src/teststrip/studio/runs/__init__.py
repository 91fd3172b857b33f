"""Training runs with their validation images by checkpoint. The format: docs/runs-format.md.

run       a run read from its folder: state, curves, samples
scores    what each checkpoint scored, and against the base model
decision  which checkpoint was chosen, and why
curves    loss and other numbers over steps, as drawings
recorded  runs that are only in MLflow, copied into the folder's form
page      the routes
"""

from teststrip.studio.runs.page import router

__all__ = ["router"]
