"""LitServe: python litserve_app.py PORT."""

import sys
from typing import Any

import litserve
from picture import Pictures


class Api(litserve.LitAPI):
    """One worker."""

    def setup(self, device: str) -> None:
        """In the worker's process."""
        self.pictures = Pictures()

    def decode_request(self, request):  # its type would name a parameter of the query
        """As it came."""
        return request

    def predict(self, x: Any) -> Any:
        """One picture."""
        return self.pictures.made(x["prompt"], x["seed"])

    def encode_response(self, output: Any) -> Any:
        """As it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
