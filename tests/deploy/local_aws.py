"""An AWS on a free port of 127.0.0.1, as a process of its own: `python local_aws.py`.

Prints its port. Ends when its standard input is closed, so that none is left behind.
"""

import json
import os
import sys

os.environ["MOTO_ACM_VALIDATION_WAIT"] = "0"  # certificates are issued at once

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse as Scaling
from moto.server import ThreadedMotoServer

TAGS: dict[str, dict[str, str]] = {}


def _knows_tags() -> None:
    """moto 5.2 forgets the tags of what scales, which Terraform asks for after it made it."""
    register = Scaling.register_scalable_target

    def registered(self: Scaling) -> str:
        answer: str = register(self)
        TAGS[json.loads(answer)["ScalableTargetARN"]] = self._get_param("Tags") or {}
        return answer

    Scaling.register_scalable_target = registered
    Scaling.list_tags_for_resource = lambda self: json.dumps(
        {"Tags": TAGS.get(self._get_param("ResourceARN"), {})}
    )


if __name__ == "__main__":
    _knows_tags()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.read()
    server.stop()
