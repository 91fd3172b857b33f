"""How much memory a run took at most."""

import resource
import sys


def peak_memory_mb() -> float:
    """Most memory so far in MB (10^6 bytes): the GPU's where torch uses one, else the process's."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 1e6)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
