//! The one status that the protocols know.

pub const STATUS_PENDING: u32 = 0x103;
