"""Time of excitation back-propagation for all regions of an image, beside a forward pass of the same head.

    python -m benchmarks.attention

Features of regions are random, of the sizes of the demo's head and of the paper's (VGG-16: 512 x 7 x 7, 4096, 4096,
20). Processor seconds, the least of three turns, on one thread. "Plain" goes region by region.
"""

import itertools
import time
from collections.abc import Callable

import torch

from stages.label_penet.excitation import excitation_maps

CASES = ((50, 64, (256, 256), 4), (300, 512, (4096, 4096), 20), (1600, 512, (4096, 4096), 20))
TURNS = 3


def least(task: Callable[[], object]) -> float:
    """Processor seconds of a task, the least of some turns."""
    found = []
    for _ in range(TURNS):
        before = time.process_time()
        task()
        found.append(time.process_time() - before)
    return min(found)


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print("| regions | head | forward, s | attention, s | times | region by region, s |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for count, channels, widths, classes in CASES:
        sizes = (channels * 49, *widths, classes)
        layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        features = torch.rand(count, channels, 7, 7)
        seeds = torch.nn.functional.one_hot(torch.arange(count) % classes, classes).float()

        def forward(layers=layers, features=features):
            values = features.flatten(1)
            for layer in layers[:-1]:
                values = layer(values).relu()
            return layers[-1](values)

        def attention(layers=layers, features=features, seeds=seeds):
            return excitation_maps(seeds, features, layers)

        def plain(layers=layers, features=features, seeds=seeds):
            few = min(len(features), 20)
            return [excitation_maps(seeds[[i]], features[[i]], layers) for i in range(few)]

        torch.testing.assert_close(torch.cat(plain()), attention()[:20], rtol=1e-3, atol=1e-5)
        first, second, third = least(forward), least(attention), least(plain) * count / min(count, 20)
        head = " - ".join(map(str, sizes))
        print(f"| {count} | {head} | {first:.4f} | {second:.4f} | {second / first:.1f} | {third:.2f} |")


if __name__ == "__main__":
    main()
