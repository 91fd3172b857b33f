"""Ray Serve: python ray_app.py PORT."""

import sys
import time
from typing import Any

import ray
from picture import Pictures
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.5})
class Predict:
    """One replica."""

    def __init__(self) -> None:
        self.pictures = Pictures()

    async def __call__(self, request: Any) -> dict[str, str]:
        """One picture."""
        body = await request.json()
        return self.pictures.made(body["prompt"], body["seed"])


if __name__ == "__main__":
    ray.init(include_dashboard=False, num_cpus=2, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Predict.bind(), route_prefix="/predict")
    while True:
        time.sleep(60)
