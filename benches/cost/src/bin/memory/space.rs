//! Address space, which the library takes from the system without the heap.

use std::collections::BTreeMap;
use std::ptr;

use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_FREE, MEMORY_BASIC_INFORMATION, VirtualQuery,
};

/// Runs `reserve`, and finds the largest stretch that it reserves.
pub fn reserved_by<T>(reserve: impl FnOnce() -> T) -> (T, Reservation) {
    let before = reservations();
    let value = reserve();
    let new = reservations().into_iter().filter(|(start, _)| !before.contains_key(start));
    let (start, _) = new.max_by_key(|(_, size)| *size).expect("something is reserved");
    (value, Reservation(start))
}

/// By its start.
pub struct Reservation(usize);

impl Reservation {
    /// How much of it has memory.
    pub fn committed(&self) -> usize {
        regions(self.0)
            .take_while(|region| region.AllocationBase.addr() == self.0)
            .filter(|region| region.State == MEM_COMMIT)
            .map(|region| region.RegionSize)
            .sum()
    }
}

/// Everything that is reserved: sizes by starts.
fn reservations() -> BTreeMap<usize, usize> {
    let mut reservations = BTreeMap::new();
    for region in regions(0).filter(|region| region.State != MEM_FREE) {
        *reservations.entry(region.AllocationBase.addr()).or_default() += region.RegionSize;
    }
    reservations
}

/// The regions of the address space from `start` on.
fn regions(start: usize) -> impl Iterator<Item = MEMORY_BASIC_INFORMATION> {
    let query = |address: usize| {
        let mut region = MEMORY_BASIC_INFORMATION::default();
        let size = size_of::<MEMORY_BASIC_INFORMATION>();
        // SAFETY: The region is a local of this size; the address is not followed.
        let written =
            unsafe { VirtualQuery(ptr::without_provenance(address), &raw mut region, size) };
        (written != 0).then_some(region)
    };
    std::iter::successors(query(start), move |region| {
        query(region.BaseAddress.addr() + region.RegionSize)
    })
}
