//! Writes ONNX by hand, right or wrong: nothing here checks anything.

pub(crate) const F32: u64 = 1;
pub(crate) const U8: u64 = 2;
pub(crate) const I8: u64 = 3;
pub(crate) const I64: u64 = 7;
pub(crate) const STRING: u64 = 8;
pub(crate) const F64: u64 = 11;

/// A message of protocol buffers under construction.
#[derive(Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn int(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    pub(crate) fn bytes(mut self, field: u64, value: impl AsRef<[u8]>) -> Self {
        self.varint(field << 3 | 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    pub(crate) fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, value.0)
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 128 {
            self.0.push(u8::try_from(value & 127 | 128).unwrap());
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap());
    }
}

/// A length of a dimension: a number, a name.
#[derive(Clone, Copy)]
pub(crate) enum Dim<'a> {
    Fixed(i64),
    Named(&'a str),
}

/// A tensor with raw data.
pub(crate) fn tensor(name: &str, dtype: u64, dims: &[i64], raw: &[u8]) -> Message {
    let dims = dims.iter().fold(Message::default(), |message, dim| message.int(1, dim.cast_unsigned()));
    dims.int(2, dtype).bytes(8, name).bytes(9, raw)
}

pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> Message {
    tensor(name, F32, dims, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

pub(crate) fn integers(name: &str, dims: &[i64], values: &[i64]) -> Message {
    tensor(name, I64, dims, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// A node; names are separated by spaces, `_` is no name.
pub(crate) fn node(kind: &str, inputs: &str, outputs: &str) -> Message {
    let mut node = Message::default();
    for name in inputs.split_whitespace() {
        node = node.bytes(1, if name == "_" { "" } else { name });
    }
    for name in outputs.split_whitespace() {
        node = node.bytes(2, name);
    }
    node.bytes(4, kind)
}

/// Attributes of a node.
impl Message {
    pub(crate) fn attribute_int(self, name: &str, value: i64) -> Self {
        let attribute = Message::default().bytes(1, name).int(3, value.cast_unsigned()).int(20, 2);
        self.message(5, attribute)
    }

    pub(crate) fn attribute_ints(self, name: &str, values: &[i64]) -> Self {
        let attribute = Message::default().bytes(1, name).int(20, 7);
        self.message(5, values.iter().fold(attribute, |all, value| all.int(8, value.cast_unsigned())))
    }

    pub(crate) fn attribute_text(self, name: &str, value: &str) -> Self {
        self.message(5, Message::default().bytes(1, name).bytes(4, value).int(20, 3))
    }

    pub(crate) fn attribute_tensor(self, name: &str, value: Message) -> Self {
        self.message(5, Message::default().bytes(1, name).message(5, value).int(20, 4))
    }

    pub(crate) fn attribute_graph(self, name: &str, value: Message) -> Self {
        self.message(5, Message::default().bytes(1, name).message(6, value).int(20, 5))
    }
}

/// The declaration of an input or output.
pub(crate) fn port(name: &str, dtype: u64, dims: &[Dim<'_>]) -> Message {
    let shape = dims.iter().fold(Message::default(), |shape, dim| {
        let dim = match dim {
            Dim::Fixed(length) => Message::default().int(1, length.cast_unsigned()),
            Dim::Named(name) => Message::default().bytes(2, name),
        };
        shape.message(1, dim)
    });
    let tensor = Message::default().int(1, dtype).message(2, shape);
    Message::default().bytes(1, name).message(2, Message::default().message(1, tensor))
}

/// A graph of its parts.
pub(crate) fn graph(
    inputs: &[Message],
    outputs: &[Message],
    nodes: &[Message],
    constants: &[Message],
) -> Message {
    let mut graph = Message::default();
    for (field, parts) in [(1, nodes), (5, constants), (11, inputs), (12, outputs)] {
        for part in parts {
            graph = graph.bytes(field, &part.0);
        }
        if field == 1 {
            graph = graph.bytes(2, "g");
        }
    }
    graph
}

/// A file with a graph, opset 17.
pub(crate) fn model(graph: Message) -> Vec<u8> {
    model_of(graph, 17)
}

pub(crate) fn model_of(graph: Message, opset: u64) -> Vec<u8> {
    let opset = Message::default().bytes(1, "").int(2, opset);
    Message::default().int(1, 9).message(7, graph).message(8, opset).0
}
