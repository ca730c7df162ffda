//! What a port leaves behind of its memory: nothing. In a program of its own,
//! because another test might get the address space as soon as it is free.
#![cfg(windows)]

mod support;

use std::ptr;

use completion_port::Iocp;
use support::{overlapped_file, own_address, port, temp_file};
use windows_sys::Win32::System::Memory::{MEM_FREE, MEMORY_BASIC_INFORMATION, VirtualQuery};

/// Whether nothing is at this address.
fn is_free(address: usize) -> bool {
    let mut information = MEMORY_BASIC_INFORMATION::default();
    let size = size_of::<MEMORY_BASIC_INFORMATION>();
    let address = ptr::without_provenance(address);
    // SAFETY: The answer goes to a local of this size; the address is not followed.
    assert_eq!(unsafe { VirtualQuery(address, &raw mut information, size) }, size);
    information.State == MEM_FREE
}

#[test]
#[cfg_attr(simulated_kernel, ignore = "uses what the simulated kernel does not have")]
fn the_memory_of_a_port_goes_with_it_whatever_is_in_its_queue() {
    let temp = temp_file("memory", "hello");
    let start = |port: &Iocp, what| match what {
        "a post" => port.post(1, 0, 0).unwrap(),
        // Under Wine a packet is queued, although the call has failed.
        "a write that failed" => {
            let file = port.add_handle(overlapped_file(temp.path(), true, false), 1).unwrap();
            port.initiate_write_at(&file, 1, "no", 0).unwrap_err();
        }
        _ => {}
    };
    for what in ["nothing", "a post", "a write that failed"] {
        for _ in 0..20 {
            let port = port();
            let address = own_address(&port);
            start(&port, what);
            assert!(!is_free(address));
            drop(port);
            assert!(is_free(address), "with {what} in the queue");
        }
    }
}
