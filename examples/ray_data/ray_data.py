"""Ray Data feeds a loop: worker processes of a Ray cluster make the pictures, a Stager brings them to torch.

What Ray hands out lies in its object store, shared between processes and read-only. The Stager copies it once,
turned and scaled on the way, into memory that torch may write to and that is used again and again.

    pip install "ray[data]" dlbridge
"""

from typing import Any

import numpy as np
import ray

import dlbridge

BATCH = 32


def decode(rows: dict[str, Any]) -> dict[str, Any]:
    """Runs in the cluster: in place of this, read and decode files."""
    noise = np.random.default_rng(int(rows["id"][0])).integers(0, 256, (len(rows["id"]), 64, 64, 3), "uint8")
    return {"image": noise, "label": rows["id"] % 10}


def main() -> None:
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    data = ray.data.range(1024, override_num_blocks=8).map_batches(decode, batch_size=BATCH)
    batches = data.iter_batches(batch_size=BATCH, batch_format="numpy")

    image = {"dtype": "float32", "layout": "CHW", "scale": 1 / 255}  # for the array of that name only
    options = {name: {"image": value} for name, value in image.items()}
    total, rows = 0.0, 0
    with dlbridge.Stager(batches, as_="torch", **options) as stager:
        for batch in stager:
            assert batch["image"].shape == (BATCH, 3, 64, 64)
            total += float(batch["image"].mean())
            rows += len(batch["label"])
    print(f"{rows} pictures, mean {total / (rows / BATCH):.3f}")
    print(stager.stats)
    ray.shutdown()


if __name__ == "__main__":
    main()
