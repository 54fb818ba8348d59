"""A network with one hidden layer, trained in numpy: the same bytes every time, and no framework for two matrices."""

import numpy as np

import calibration

RATE = 3e-3
BATCH = 64
# Added to the normalised inputs, as a share of their deviation.
NOISE = 0.05
# How often a channel is missing, as when its sensor is gone; a missing feature is the training mean, 0.
ABSENCE = 0.05


def train(inputs, truth, channel, hidden, dropout, epochs, seed=0):
    """One hidden layer of ReLU, one softmax per entry of `truth`, a (labels, index of each row) pair. `channel` tells
    for each input of which it is; of several one is left out at times."""
    chance = np.random.default_rng(seed)
    sizes = [size for size, _ in truth]
    cuts = np.cumsum(sizes)[:-1]
    shapes = [(inputs.shape[1], hidden), (hidden, sum(sizes))]
    weights = [chance.standard_normal(shape) * np.sqrt(2 / shape[0]) for shape in shapes]
    weights[1] *= 0.3
    parameters = [item.astype(np.float32) for item in (*weights, np.zeros(hidden), np.zeros(sum(sizes)))]
    wanted = np.hstack([np.eye(size, dtype=np.float32)[index] for size, index in truth])
    _, channel = np.unique(channel, return_inverse=True)
    keep = np.float32(1 - dropout)
    adam = Adam(parameters, epochs * -(-len(inputs) // BATCH))
    for _ in range(epochs):
        order = chance.permutation(len(inputs))
        for begin in range(0, len(inputs), BATCH):
            rows = order[begin : begin + BATCH]
            x = inputs[rows] + np.float32(NOISE) * chance.standard_normal((len(rows), inputs.shape[1]), np.float32)
            if channel.max() > 0:
                x = x * (chance.random((len(rows), channel.max() + 1)) >= ABSENCE)[:, channel]
            units = np.maximum(x @ parameters[0] + parameters[2], 0)
            units *= (chance.random(units.shape, np.float32) < keep) / keep
            logits = np.split(units @ parameters[1] + parameters[3], cuts, axis=1)
            error = (np.hstack([calibration.softmax(part) for part in logits]) - wanted[rows]) / np.float32(len(rows))
            back = error @ parameters[1].T * (units > 0) / keep
            adam.step([x.T @ back, units.T @ error, back.sum(0), error.sum(0)])
    return parameters


class Adam:
    """Kingma and Ba 2015, with a rate that falls to nothing as a cosine."""

    def __init__(self, parameters, steps):
        self.parameters, self.steps, self.done = parameters, steps, 0
        self.first, self.second = ([np.zeros_like(item) for item in parameters] for _ in range(2))

    def step(self, slopes):
        self.done += 1
        rate = np.float32(RATE * 0.5 * (1 + np.cos(np.pi * self.done / self.steps)))
        fresh, spread = np.float32(1 - 0.9**self.done), np.float32(1 - 0.999**self.done)
        for item, slope, mean, square in zip(self.parameters, slopes, self.first, self.second):
            mean += np.float32(0.1) * (slope - mean)
            square += np.float32(0.001) * (slope * slope - square)
            item -= rate * (mean / fresh) / (np.sqrt(square / spread) + np.float32(1e-8))


def answer(network, inputs):
    """Logits of all outputs side by side."""
    return np.maximum(inputs @ network[0] + network[2], 0) @ network[1] + network[3]
