"""Whether there is a GPU to check on, and what is there besides."""

from __future__ import annotations

import importlib
import sys

import dlbridge
from dlbridge._streams import cuda_problem


def main() -> None:
    device = sys.argv[1]
    problem = cuda_problem()
    if problem:
        sys.exit(f"UNAVAILABLE: {problem}")
    if device not in dlbridge.devices():
        sys.exit(f"UNAVAILABLE: {device} is not among {', '.join(dlbridge.devices())}")
    print(f"dlbridge {dlbridge.__version__} on {device}, of {', '.join(dlbridge.devices())}")
    for name in ("numpy", "torch", "cupy", "jax"):
        try:
            module = importlib.import_module(name)
        except ImportError as missing:
            print(f"{name}: UNAVAILABLE ({missing})")
        else:
            print(f"{name} {module.__version__}")


if __name__ == "__main__":
    main()
