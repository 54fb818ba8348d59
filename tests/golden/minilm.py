"""Reference vectors of the int8 MiniLM for tests/conformance.rs: token ids and what ONNX Runtime answers.

Needs onnxruntime, numpy and tokenizers. One argument: the folder of the model.
    python3 tests/golden/minilm.py ../shared/models/minilm-l6-v2 > tests/golden/minilm.json
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

MODEL = "all-MiniLM-L6-v2-op17-int8dyn.onnx"
# Short and long ones, one in German and one that is no language at all.
SENTENCES = [
    "hydraulic pump leaking at shaft seal, replaced o-ring",
    "replace bucket teeth",
    "Kühlwasserpumpe undicht, Lager heiß gelaufen",
    "0x7f 33 @@ zzzz qqq #11",
    "vibration of the main bearing rises slowly over a week while the temperature stays where it was; the oil sample "
    "shows iron and copper, and the last inspection found no play, so a check of the alignment is asked for",
]


def main():
    folder = Path(sys.argv[1])
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / MODEL, options, providers=["CPUExecutionProvider"])
    cases = []
    for sentence in SENTENCES:
        ids = tokenizer.encode(sentence).ids
        feed = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
        (vector,) = session.run(["embedding"], feed)
        cases.append({"text": sentence, "ids": ids, "embedding": [round(float(x), 5) for x in vector[0]]})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    print(f'{{"model":"{MODEL}","cases":[\n{lines}\n]}}')


if __name__ == "__main__":
    main()
