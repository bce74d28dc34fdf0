use std::collections::BTreeMap;

use super::object::{Object, ObjectWriter};
use super::reference::ObjectRef;
use crate::error::Error;
use crate::keyed::Chunk;

/// Makes an object durable.
pub(super) type Put<'a> = &'a dyn Fn(&Object) -> Result<(), Error>;

/// The chunks of one boundary that one writer puts into the store, object by object.
#[derive(Debug)]
pub(super) struct Packing {
    at: u64,
    writer: String,
    /// By codec.
    open: BTreeMap<u16, ObjectWriter>,
    durable: Vec<ObjectRef>,
}

impl Packing {
    /// For the boundary `at`. `writer` tells the objects from those of others.
    pub fn new(at: u64, writer: impl ToString) -> Self {
        Packing { at, writer: writer.to_string(), open: BTreeMap::new(), durable: Vec::new() }
    }

    /// Takes a chunk, and puts the object that is full with it.
    pub fn push(&mut self, operator: &str, codec: u16, chunk: &Chunk, put: Put<'_>) -> Result<(), Error> {
        if !self.open.contains_key(&codec) {
            self.open.insert(codec, ObjectWriter::new(self.at, &self.writer, codec)?);
        }
        let Some(open) = self.open.get_mut(&codec) else { return Ok(()) };
        if let Some(object) = open.push(operator, chunk)? {
            put(&object)?;
            self.durable.push(object.reference);
        }
        Ok(())
    }

    /// Puts the objects that are not full, and gives all.
    pub fn finish(self, put: Put<'_>) -> Result<Vec<ObjectRef>, Error> {
        let Packing { open, mut durable, .. } = self;
        for object in open.into_values().flat_map(ObjectWriter::finish) {
            put(&object)?;
            durable.push(object.reference);
        }
        Ok(durable)
    }
}
