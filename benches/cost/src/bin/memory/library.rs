//! On the library.

use completion_port::Iocp;
use cost::objects::{SIZE, file};

use crate::{heap, measure, space};

/// The bytes that so many idle handles take.
pub fn idle(count: usize) -> usize {
    let port = Iocp::new().unwrap();
    let mut files: Vec<_> = (0..count).map(|_| file()).collect();
    let before = heap::bytes();
    let mut handles = Vec::with_capacity(count);
    handles.extend(files.drain(..).map(|file| port.add_handle(file, 0).unwrap()));
    heap::bytes() - before
}

/// The bytes that so many operations in flight take, without their buffers.
pub fn in_flight(depth: usize, region: usize) -> usize {
    let (port, cells) = space::reserved_by(|| Iocp::new().unwrap());
    let file = port.add_handle(file(), 0).unwrap();
    let mut buffers: Vec<_> = (0..depth).map(|_| Box::new([7; SIZE])).collect();

    let before = heap::bytes() + cells.committed();
    for (context, buffer) in buffers.drain(..).enumerate() {
        port.initiate_read_at(&file, context, buffer, 0).unwrap();
    }
    let bytes = heap::bytes() + cells.committed() - before;

    measure(region, || {
        let mut completion = port.get_completion().unwrap();
        assert!(completion.error_status.is_ok());
        let buffer: Box<[u8; SIZE]> = completion.operation.take_buffer().unwrap();
        let _ = port.initiate_read_at(&file, completion.context, buffer, 0).unwrap();
    });

    for _ in 0..depth {
        let mut completion = port.get_completion().unwrap();
        assert!(completion.error_status.is_ok());
        buffers.push(completion.operation.take_buffer().unwrap());
    }
    bytes
}
