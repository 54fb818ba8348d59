"""What the recipes of the taggers share: the student network, its training, its graph, decoding and entity scores.

A tag is a number: 0 is O, 1 + 2t is B and 2 + 2t is I of type t. A student reads words as hashed n-grams (words.py): the
sum of a word's rows in a table, then 1-D convolutions over the words, then one matrix to the tags.
"""

import math
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import words
from graph import Graph
from onnx import TensorProto

INPUT, OUTPUT = "ids", "tags"
# Share of the n-grams of a word that are hidden from the student in each step of training.
GRAM_DROPOUT = 0.2
# Batches of training that are sorted by length together: enough that few words are padding, few enough for chance.
ALIKE = 16


def numbered(tags, types):
    """Numbers of tags written as B-Type, I-Type and O."""
    return [0 if tag == "O" else 1 + 2 * types.index(tag[2:]) + (tag[0] == "I") for tag in tags]


def f1(truth, found):
    """Micro precision, recall and F1 of lists of entity sets."""
    return rates(sum(len(a & b) for a, b in zip(truth, found)), sum(map(len, found)), sum(map(len, truth)))


def rates(hit, said, there):
    """Precision, recall and F1 of counts: right answers, answers, truths."""
    return hit / max(said, 1), hit / max(there, 1), 2 * hit / max(said + there, 1)


class Student(nn.Module):
    """ids [N, words, grams] -> logits [N, words, tags]."""

    def __init__(self, dims, tags, width=40, hidden=96, layers=3, kernel=3, dropout=0.3):
        super().__init__()
        self.table = nn.Embedding(dims, width, padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.1)
        with torch.no_grad():
            self.table.weight[0] = 0
        self.lift = nn.Linear(width, hidden)
        self.convs = nn.ModuleList(nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2) for _ in range(layers))
        self.head = nn.Linear(hidden, tags)
        self.dropout = nn.Dropout(dropout)

    def hidden(self, ids):
        """States of the words [N, words, hidden], 0 where there is none."""
        mask = (ids[:, :, :1] > 0).float()
        if self.training:
            ids = ids * (torch.rand(ids.shape) >= GRAM_DROPOUT)
        items, length, grams = ids.shape
        bag = functional.embedding_bag(ids.view(-1, grams), self.table.weight, mode="sum", padding_idx=0)
        state = functional.relu(self.lift(self.dropout(bag.view(items, length, -1)))) * mask
        state, mask = state.transpose(1, 2), mask.transpose(1, 2)
        for conv in self.convs:
            state = (state + functional.relu(conv(self.dropout(state)))) * mask
        return state.transpose(1, 2)

    def forward(self, ids):
        return self.head(self.dropout(self.hidden(ids)))


def export(student, config, path, name):
    """The student as ONNX: input ids [N, words * grams], output tags [N, words, tags]."""
    weight = {key: value.detach().numpy() for key, value in student.state_dict().items()}
    graph = Graph(name)
    ids = graph.input(INPUT, "L", TensorProto.INT64)
    bag, mask = graph.bag(ids, weight["table.weight"], config.grams)
    state = graph.dense(bag, weight["lift.weight"].T, weight["lift.bias"], "lift")
    state = graph.add("Mul", graph.add("Relu", state), mask)
    state, mask = (graph.add("Transpose", value, perm=[0, 2, 1]) for value in (state, mask))
    for depth in range(len(student.convs)):
        weights, bias = weight[f"convs.{depth}.weight"], weight[f"convs.{depth}.bias"]
        step = graph.add("Relu", graph.conv(state, weights, bias, f"conv{depth}"))
        state = graph.add("Mul", graph.add("Add", state, step), mask)
    state = graph.add("Transpose", state, perm=[0, 2, 1])
    product = graph.add("MatMul", state, graph.constant(weight["head.weight"].T, "head_w"))
    graph.add("Add", product, graph.constant(weight["head.bias"], "head_b"), name=OUTPUT)
    graph.output(OUTPUT, "W", len(weight["head.bias"]))
    graph.write(path)


def loss(logits, targets):
    """Cross-entropy with soft targets [N, words, tags]; a word without target (all 0) does not count."""
    return -(targets * functional.log_softmax(logits, -1)).sum() / targets.sum().clamp(min=1)


def one_hot(tags, count, length, smooth=0.0):
    """Soft targets [length, count] of tag numbers."""
    target = np.zeros((length, count), np.float32)
    for row, tag in zip(target, tags):
        row[:] = smooth / count
        row[tag] += 1 - smooth
    return target


def batches_of(longest, batch, chance):
    """Rows in random order, in batches of texts of like length: the network need not run over padding. `longest` is the
    number of words of each row."""
    order = np.array(chance.sample(range(len(longest)), len(longest)))
    found = []
    for start in range(0, len(order), batch * ALIKE):
        part = order[start : start + batch * ALIKE]
        part = part[np.argsort(longest[part], kind="stable")]
        found += [part[at : at + batch] for at in range(0, len(part), batch)]
    chance.shuffle(found)
    return found


def descend(network, batches, epochs, rate, decay):
    """Trains on what batches(epoch) gives: a list of (ids [N, words, grams], targets [N, words, tags]) tensors, drawn anew
    each epoch so that augmentation differs. AdamW; the rate rises for a tenth and falls to 0 along a cosine."""
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    network.train()
    for epoch in range(epochs):
        drawn = batches(epoch)
        for step, (ids, targets) in enumerate(drawn):
            done = (epoch + step / len(drawn)) / epochs
            for group in optimiser.param_groups:
                group["lr"] = rate * rising_cosine(done)
            optimiser.zero_grad(set_to_none=True)
            loss(network(ids), targets).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
    return network.eval()


def train(student, draw, epochs, rate=3e-3, batch=64, decay=1e-3, seed=0):
    """Trains on what draw(epoch, random) gives: (ids [N, words, grams], targets [N, words, tags]) as numpy arrays, in
    batches of texts of like length."""
    torch.manual_seed(seed)
    chance = random.Random(seed)

    def batches(epoch):
        drawn = draw(epoch, chance)
        longest = (drawn[0][:, :, 0] > 0).sum(1)
        return [
            tuple(torch.from_numpy(rows[part, : longest[part].max()]) for rows in drawn)
            for part in batches_of(longest, batch, chance)
        ]

    return descend(student, batches, epochs, rate, decay)


def predict(student, tokens, config, batch=256):
    """Logits [words, tags] of each text given as a list of words."""
    found = []
    with torch.no_grad():
        for start in range(0, len(tokens), batch):
            part = tokens[start : start + batch]
            logits = student(torch.from_numpy(words.encode_tokens(part, config))).numpy()
            found += [rows[: len(own)] for rows, own in zip(logits, part)]
    return found


def by_length(rows, size, chance=None):
    """Places of the rows in parts of like length, by the length of what stands first in each; the parts in random order
    where there is a generator."""
    order = sorted(range(len(rows)), key=lambda at: (len(rows[at][0]), chance.random() if chance else at))
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    if chance:
        chance.shuffle(parts)
    return parts


def rising_cosine(done):
    """Share of the highest rate when that share of the training is done: rises for a tenth, falls to 0 along a cosine."""
    return min(done * 10, 0.5 + 0.5 * math.cos(math.pi * done))


def grouped_folds(texts, folds, seed):
    """Fold of each text; equal texts share one."""
    names = sorted(set(texts))
    random.Random(seed).shuffle(names)
    place = {name: at % folds for at, name in enumerate(names)}
    return np.array([place[text] for text in texts])


def mistyped(word, chance):
    """The word with one slip of the keyboard: two letters swapped, one left out, doubled or replaced."""
    at = chance.randrange(len(word) - 1)
    kind = chance.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == 1:
        return word[:at] + word[at + 1 :]
    if kind == 2:
        return word[: at + 1] + word[at:]
    return word[:at] + chance.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :]


def recased(tokens, chance):
    """The words as given (half), in capitals (3 of 10), or with capitals as in a title or a sentence (1 of 10 each)."""
    kind = chance.random()
    if kind < 0.5:
        return tokens
    if kind < 0.8:
        return [word.upper() for word in tokens]
    if kind < 0.9:
        return [word[:1].upper() + word[1:] for word in tokens]
    return [word[:1].upper() + word[1:] if at == 0 else word for at, word in enumerate(tokens)]
