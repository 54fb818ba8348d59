"""The sentence encoder (minilm.py) fine-tuned to tag words: what the students of the taggers learn from."""

import random

import numpy as np
import torch
from torch import nn

import minilm
import tagger

EPOCHS = 4
BATCH = 32
RATE_ENCODER, RATE_HEAD = 1e-4, 1e-3
DECAY = 0.01
SMOOTH = 0.1  # of the labels: people disagree about a good part of them
BATCH_ANSWERING = 64


class Teacher(nn.Module):
    """The encoder and one matrix from the first and the last piece of each word to its tag. The table of pieces stays
    as it was: words that the labelled texts lack would be left behind."""

    def __init__(self, folder, tags):
        super().__init__()
        self.encoder, self.tokenizer = minilm.load(folder)
        self.encoder.words.weight.requires_grad = False
        self.head = nn.Linear(2 * minilm.WIDTH, tags)
        nn.init.normal_(self.head.weight, std=0.02)
        self.dropout = nn.Dropout(0.1)

    def read(self, texts):
        """(ids, first piece of each word, last piece of each word) of texts given as lists of words."""
        found = []
        for words in texts:
            ids, first = minilm.encode_words(self.tokenizer, words)
            found.append((ids, first, [after - 1 for after in first[1:]] + [len(ids) - 2]))
        return found

    def forward(self, rows):
        """Logits [N, words, tags] of what `read` gives."""
        hidden, _ = self.encoder(*minilm.batch([ids for ids, _, _ in rows]))
        longest = max(len(first) for _, first, _ in rows)

        def states(part):
            places = torch.tensor([row[part] + [0] * (longest - len(row[part])) for row in rows])
            return torch.gather(hidden, 1, places[..., None].expand(-1, -1, minilm.WIDTH))

        return self.head(self.dropout(torch.cat([states(1), states(2)], -1)))


def train(folder, texts, numbers, tags, seed=0):
    """A teacher of texts (lists of words) and their tag numbers. Texts of like length go together; the rate rises for a
    tenth of the way and falls to 0."""
    torch.manual_seed(seed)
    chance = random.Random(seed)
    teacher = Teacher(folder, tags).train()
    encoder = [part for part in teacher.encoder.parameters() if part.requires_grad]
    optimiser = torch.optim.AdamW(
        [{"params": encoder, "top": RATE_ENCODER}, {"params": teacher.head.parameters(), "top": RATE_HEAD}],
        weight_decay=DECAY,
    )
    rows = teacher.read(texts)
    for epoch in range(EPOCHS):
        batches = tagger.by_length(rows, BATCH, chance)
        for step, batch in enumerate(batches):
            done = (epoch + step / len(batches)) / EPOCHS
            for group in optimiser.param_groups:
                group["lr"] = group["top"] * min(done * 10, 1 - done)
            longest = max(len(numbers[at]) for at in batch)
            targets = np.stack([tagger.one_hot(numbers[at], tags, longest, SMOOTH) for at in batch])
            optimiser.zero_grad()
            tagger.loss(teacher([rows[at] for at in batch]), torch.tensor(targets)).backward()
            nn.utils.clip_grad_norm_(teacher.parameters(), 1.0)
            optimiser.step()
    return teacher.eval()


def answers(teacher, texts):
    """Logits [words, tags] of each text."""
    rows = teacher.read(texts)
    found = [None] * len(rows)
    with torch.no_grad():
        for batch in tagger.by_length(rows, BATCH_ANSWERING):
            for at, logits in zip(batch, teacher([rows[at] for at in batch]).numpy()):
                found[at] = logits[: len(texts[at])]
    return found
