"""The sentence encoder all-MiniLM-L6-v2 as a torch module that can be fine-tuned: the teacher of the text recipes.

What there is of it is an ONNX file with weights in int8; they are taken out and multiplied back to f32. Run as a
script it compares the module with ONNX Runtime on a few texts: python3 models/train/minilm.py [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional

import common

LAYERS, HEADS, WIDTH, INNER = 6, 12, 384, 1536
LAYER_NORM_EPSILON = 1e-12


class Layer(nn.Module):
    """One transformer layer, normalised after each half."""

    def __init__(self, dropout):
        super().__init__()
        self.query, self.key, self.value, self.attended = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.inner, self.outer = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.norm_attended, self.norm_outer = (nn.LayerNorm(WIDTH, LAYER_NORM_EPSILON) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden, bias):
        items, length, _ = hidden.shape

        def heads(linear):
            return linear(hidden).view(items, length, HEADS, -1).transpose(1, 2)

        mixed = functional.scaled_dot_product_attention(
            heads(self.query), heads(self.key), heads(self.value), attn_mask=bias
        )
        mixed = self.attended(mixed.transpose(1, 2).reshape(items, length, WIDTH))
        hidden = self.norm_attended(hidden + self.dropout(mixed))
        return self.norm_outer(hidden + self.dropout(self.outer(functional.gelu(self.inner(hidden)))))


class MiniLM(nn.Module):
    """ids, mask [N, T] -> hidden states [N, T, 384] and their mean over the mask, of length 1 [N, 384]."""

    def __init__(self, words, positions, dropout=0.1):
        super().__init__()
        self.words, self.positions = nn.Embedding(words, WIDTH), nn.Parameter(torch.zeros(positions, WIDTH))
        self.norm = nn.LayerNorm(WIDTH, LAYER_NORM_EPSILON)
        self.layers = nn.ModuleList(Layer(dropout) for _ in range(LAYERS))
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids, mask):
        hidden = self.dropout(self.norm(self.words(ids) + self.positions[: ids.shape[1]]))
        bias = mask.bool()[:, None, None, :]
        for layer in self.layers:
            hidden = layer(hidden, bias)
        share = mask[..., None].to(hidden.dtype)
        pooled = (hidden * share).sum(1) / share.sum(1).clamp(min=1)
        return hidden, functional.normalize(pooled, dim=1)


def weights(path):
    """{name: f32 array} of the file, quantised ones multiplied back."""
    stored = {part.name: numpy_helper.to_array(part) for part in onnx.load(str(path)).graph.initializer}
    found = {}
    for name, value in stored.items():
        if name.endswith("_quantized"):
            scale, zero = (stored[name[: -len("quantized")] + part] for part in ("scale", "zero_point"))
            found[name[: -len("_quantized")]] = (value.astype(np.float32) - zero.astype(np.float32)) * scale
        elif value.dtype == np.float32:
            found[name] = value
    return found


def load(folder=common.TEACHER, dropout=0.1):
    """(module in evaluation mode, tokenizer without padding) of the folder."""
    value = weights(Path(folder) / common.TEACHER_GRAPH)
    model = MiniLM(value["we"].shape[0], value["pe"].shape[0], dropout)
    state = {"words.weight": value["we"], "positions": value["pe"] + value["tt"]}
    state |= {"norm.weight": value["embeddings.LayerNorm.g"], "norm.bias": value["embeddings.LayerNorm.b"]}
    dense = {
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "attended": "attention.output.dense",
        "inner": "intermediate.dense",
        "outer": "output.dense",
    }
    norms = {"norm_attended": "attention.output.LayerNorm", "norm_outer": "output.LayerNorm"}
    for layer in range(LAYERS):
        ours, theirs = f"layers.{layer}.", f"encoder.layer.{layer}."
        for name, stored in dense.items():
            state[f"{ours}{name}.weight"] = value[f"{theirs}{stored}.w"].T
            state[f"{ours}{name}.bias"] = value[f"{theirs}{stored}.bb"]
        for name, stored in norms.items():
            state[f"{ours}{name}.weight"] = value[f"{theirs}{stored}.g"]
            state[f"{ours}{name}.bias"] = value[f"{theirs}{stored}.b"]
    model.load_state_dict({key: torch.tensor(np.ascontiguousarray(array)) for key, array in state.items()})
    tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(len(value["pe"]))
    return model.eval(), tokenizer


def batch(rows):
    """(ids, mask) tensors of lists of ids, padded to the longest."""
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def encode_words(tokenizer, words):
    """(ids with both marks, index of the first id of each word). Words past the longest text have index 0, the mark."""
    found = tokenizer.encode(words, is_pretokenized=True)
    first = [0] * len(words)
    for at, word in reversed(list(enumerate(found.word_ids))):
        if word is not None:
            first[word] = at
    return found.ids, first


def rounded(values):
    """As the file rounds the inputs of its dense layers: to 256 steps over their range, which holds 0."""
    low, high = min(0.0, values.min().item()), max(0.0, values.max().item())
    step = (high - low) / 255
    zero = round(-low / step)
    return (torch.clamp(torch.round(values / step) + zero, 0, 255) - zero) * step


def main():
    import onnxruntime

    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else common.TEACHER
    model, tokenizer = load(folder)
    session = onnxruntime.InferenceSession(folder / common.TEACHER_GRAPH, providers=["CPUExecutionProvider"])

    def least_cosine():
        found = []
        for text in ("replace hyd hose on bucket cylinder", "pump leaking", "x", "engine shutting down " * 20):
            ids = np.array([tokenizer.encode(text).ids])
            (theirs,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
            with torch.no_grad():
                _, ours = model(torch.tensor(ids), torch.ones(ids.shape, dtype=torch.long))
            found.append(float((ours[0].numpy() * theirs[0]).sum() / np.linalg.norm(theirs[0])))
        return min(found)

    print(f"least cosine to ONNX Runtime {least_cosine():.4f}")
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]),))
    print(f"least cosine with inputs of dense layers rounded as in the file {least_cosine():.4f}")


if __name__ == "__main__":
    main()
