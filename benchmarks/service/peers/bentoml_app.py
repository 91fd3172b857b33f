"""BentoML: python -m bentoml serve bentoml_app:Predict --port PORT."""

import bentoml
from picture import Pictures


@bentoml.service(workers=1)
class Predict:
    """One worker."""

    def __init__(self) -> None:
        self.pictures = Pictures()

    @bentoml.api
    def predict(self, prompt: str, seed: int) -> dict[str, str]:
        """One picture."""
        return self.pictures.made(prompt, seed)
