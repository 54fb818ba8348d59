"""The sentence encoder, fine-tuned on one run's texts: how far a network fifty times as large gets, and what a student
learns from it."""

import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import minilm
import tagger

BATCH = 32
RATE_ENCODER, RATE_HEAD, DECAY = 3e-4, 2e-3, 0.01
# The table of pieces and the lower layers stay as they were.
FROZEN_LAYERS = 3
MIXED = 192


class Teacher(nn.Module):
    """Encoder and an untrained student beside it: the encoder knows the words but neither case nor the form of ids, the
    student's states know these. One hidden layer joins them."""

    def __init__(self, folder, student, tags):
        super().__init__()
        self.encoder, self.tokenizer = minilm.load(folder)
        still = [self.encoder.words, self.encoder.norm, *self.encoder.layers[:FROZEN_LAYERS]]
        for part in (self.encoder.positions, *(value for module in still for value in module.parameters())):
            part.requires_grad_(False)
        self.student = student
        self.join = nn.Linear(minilm.WIDTH + student.head.in_features, MIXED)
        self.head = nn.Linear(MIXED, tags)
        self.dropout = nn.Dropout(0.1)

    def read(self, texts):
        """(ids, first piece of each word) of texts given as lists of words."""
        return [minilm.encode_words(self.tokenizer, words) for words in texts]

    def forward(self, rows, grams):
        """Logits [N, words, tags] of what `read` gives and the n-grams of the same words."""
        hidden, _ = self.encoder(*minilm.batch([ids for ids, _ in rows]))
        places = torch.zeros(grams.shape[:2], dtype=torch.long)
        for row, (_, first) in zip(places, rows):
            row[: len(first)] = torch.tensor(first[: len(row)])
        hidden = torch.gather(hidden, 1, places[..., None].expand(-1, -1, minilm.WIDTH))
        joined = functional.gelu(self.join(torch.cat([hidden, self.student.hidden(grams)], -1)))
        return self.head(self.dropout(joined))


def train(teacher, data, grams, seed):
    """Trains on (words, tags) pairs; `grams` makes the ids of a list of texts."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    rows = teacher.read([own for own, _ in data])
    encoder = [value for value in teacher.encoder.parameters() if value.requires_grad]
    rest = [value for name, value in teacher.named_parameters() if not name.startswith("encoder.")]
    groups = [{"params": encoder, "top": RATE_ENCODER}, {"params": rest, "top": RATE_HEAD}]
    optimiser = torch.optim.AdamW(groups, lr=RATE_HEAD, weight_decay=DECAY)
    parts = tagger.by_length(rows, BATCH, rng)
    teacher.train()
    for step, part in enumerate(parts):
        for group in optimiser.param_groups:
            done = step / len(parts)
            group["lr"] = group["top"] * tagger.rising_cosine(done)
        ids = grams([data[at][0] for at in part])
        targets = np.full(ids.shape[:2], -100)
        for row, at in zip(targets, part):
            row[: len(data[at][1])] = data[at][1]
        optimiser.zero_grad(set_to_none=True)
        logits = teacher([rows[at] for at in part], torch.from_numpy(ids)).flatten(0, 1)
        functional.cross_entropy(logits, torch.from_numpy(targets).flatten(), ignore_index=-100).backward()
        nn.utils.clip_grad_norm_(teacher.parameters(), 1.0)
        optimiser.step()
    return teacher.eval()


def answers(teacher, texts, grams):
    """Logits [words, tags] of each text given as a list of words."""
    rows, found = teacher.read(texts), [None] * len(texts)
    with torch.no_grad():
        for part in tagger.by_length(rows, 64):
            logits = teacher([rows[at] for at in part], torch.from_numpy(grams([texts[at] for at in part]))).numpy()
            for at, own in zip(part, logits):
                found[at] = own[: len(texts[at])]
    return found
