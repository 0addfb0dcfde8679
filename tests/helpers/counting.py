"""An encoder whose embeddings are plain to see, which keeps a list of what it was asked to embed."""

import time

import numpy as np
import torch


class Counting:
    """An image is embedded by its red value, a text by its length; `log` lists what the towers were given.

    `pause` is how long a batch takes, in seconds; more than `most` items do not fit into memory; after `fail` items it
    breaks down.
    """

    name, dim, context, precision = "counting", 2, 8, "float32"
    checkpoint, preprocessing = "v1", "none"

    def __init__(self, pause=0, most=10**9, fail=10**9, log=None):
        self.model, self.pause, self.most, self.fail, self.log = torch.nn.Linear(1, 1), pause, most, fail, log
        self.images, self.texts, self.batches = [], [], []

    def pixels(self, images):
        return torch.tensor([[float(image.getpixel((0, 0))[0])] for image in images])

    def tokens(self, texts):
        return torch.tensor([[float(len(text))] for text in texts])

    def lengths(self, texts):
        return [len(text) for text in texts]

    def image_tower(self, x):
        return 3 * self._embed(x, self.images, "image")

    def text_tower(self, x):
        return self._embed(x, self.texts, "text")

    def _embed(self, x, seen, kind):
        if len(x) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        time.sleep(self.pause)
        seen += [int(v) for v in x[:, 0]]
        self.batches.append(len(x))
        if len(self.images) + len(self.texts) > self.fail:
            raise KeyboardInterrupt
        if self.log:
            with open(self.log, "a") as file:
                file.writelines(f"{kind} {int(v)}\n" for v in x[:, 0])
        # The length of the batch is in the bytes, as it is with a real model's sums.
        return torch.cat([x.cos(), x.sin()], 1) * (1 + 1e-7 * len(x))


def circle(numbers):
    """What `Counting` gives, normalised."""
    return np.array([[np.cos(n), np.sin(n)] for n in numbers], np.float32)
