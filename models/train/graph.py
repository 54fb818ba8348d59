"""ONNX graphs by hand: few operators, all of them quick in the gateway's engine, and the same bytes every time."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8


class Graph:
    """Nodes in order. Every method that makes a value returns its name."""

    def __init__(self, name):
        self.name = name
        self.nodes, self.constants, self.inputs, self.outputs = [], [], [], []

    def input(self, name, length, kind=TensorProto.FLOAT):
        """A port of shape [N, length]; `length` may be a name where it varies."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, ["N", length]))
        return name

    def constant(self, value, name):
        """Weights, as f32 unless they are integers or halves."""
        value = np.ascontiguousarray(value)
        if value.dtype == np.float64:
            value = value.astype(np.float32)
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def add(self, op, *inputs, name=None, **attributes):
        """One node with one output."""
        name = name or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"node_{name}", **attributes))
        return name

    def dense(self, source, weights, bias, name):
        """source [.., in] x weights [in, out] + bias [out]."""
        product = self.add("MatMul", source, self.constant(weights, f"{name}_w"), name=f"{name}_product")
        return self.add("Add", product, self.constant(bias, f"{name}_b"), name=name)

    def conv(self, source, weights, bias, name):
        """1-D convolution of [N, in, words] by weights [out, in, width], as many words out as in; odd widths only."""
        assert weights.shape[2] % 2 == 1
        pad = weights.shape[2] // 2
        constants = self.constant(weights, f"{name}_w"), self.constant(bias, f"{name}_b")
        return self.add("Conv", source, *constants, name=name, pads=[pad, pad], kernel_shape=[weights.shape[2]])

    def gram_rows(self, ids, grams):
        """ids [N, words*grams] as [N, words, grams]."""
        return self.add("Reshape", ids, self.constant(np.array([0, -1, grams], np.int64), "bag_shape"), name="bag_ids")

    def total(self, rows, table):
        """rows [N, words, grams] to the sum of the rows of table [dims, width] per word [N, words, width]. Row 0 of the
        table must be zero: it is padding."""
        assert not np.any(table[0]), "row 0 is padding"
        found = self.add("Gather", self.constant(table, "bag_table"), rows, name="bag_rows", axis=0)
        axes = self.constant(np.array([2], np.int64), "bag_axes")
        return self.add("ReduceSum", found, axes, name="bag_sum", keepdims=0)

    def bag(self, ids, table, grams):
        """ids [N, words*grams] to (total, mask [N, words, 1]: 1 where there is a word)."""
        rows = self.gram_rows(ids, grams)
        total = self.total(rows, table)
        begin, end = (self.constant(np.array([n], np.int64), f"bag_{key}") for key, n in (("begin", 0), ("end", 1)))
        first = self.add("Slice", rows, begin, end, "bag_axes", name="bag_first")
        present = self.add("Greater", first, self.constant(np.zeros(1, np.int64), "bag_zero"), name="bag_present")
        return total, self.add("Cast", present, name="bag_mask", to=TensorProto.FLOAT)

    def columns(self, source, begin, end, name):
        """Columns begin to end of [N, width]."""
        limits = (self.constant(np.array([at], np.int64), f"{name}_{at}") for at in (begin, end))
        return self.add("Slice", source, *limits, self.constant(np.array([1], np.int64), f"{name}_axis"), name=name)

    def pick(self, source, columns, name):
        """Those columns of [N, width] as an output of their own. Not a slice: the engine would move one up through
        everything before it, and compute all of that once for each output."""
        return self.add("Gather", source, self.constant(np.array(columns, np.int64), f"{name}_columns"), axis=1, name=name)

    def output(self, name, *shape):
        """A port of shape [N, ...shape]."""
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape]))

    def write(self, path):
        """The checked file."""
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="tidegate")
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))


def session(path):
    """The file in ONNX Runtime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(path, inputs):
    """{output: array} of the written file for rows of its only input, in the number type it takes."""
    found = session(path)
    port = found.get_inputs()[0]
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int8)": np.int8, "tensor(uint8)": np.uint8}
    names = [output.name for output in found.get_outputs()]
    return dict(zip(names, found.run(names, {port.name: np.ascontiguousarray(inputs, kinds[port.type])})))
