//! The list of free cells, in the one order of its steps that matters. (In a
//! file of its own, because `free_list.rs` is compiled for loom as well.)

use std::cell::Cell as Flag;

use super::atomic::AtomicU32;
use super::free_list::{FreeList, NONE};

/// The ABA problem: a thread has seen the first cell and what comes after it.
/// Before it acts others take both and put the first back, which is first again
/// and has another successor. That must not depend on how the list was used
/// before.
#[test]
fn a_list_that_has_its_old_first_cell_again_is_not_the_old_list() {
    /// What the slow thread has read: 4 comes after 2.
    static STALE: AtomicU32 = AtomicU32::new(4);

    for uses in 0..4 {
        let links = [const { AtomicU32::new(NONE) }; 4];
        let link = |place: u32| &links[place as usize / 2];
        let list = FreeList::new();
        for place in [6, 4, 2] {
            assert!(!list.push(place, link(place)));
        }
        for _ in 0..uses {
            assert_eq!(list.pop(link), Some(2));
            assert!(!list.push(2, link(2)));
        }
        let is_slow = Flag::new(true);
        let taken = list.pop(|place| {
            if !is_slow.take() {
                return link(place);
            }
            assert_eq!((list.pop(link), list.pop(link)), (Some(2), Some(4)));
            assert!(!list.push(2, link(2)));
            &STALE
        });
        assert_eq!(taken, Some(2));
        assert_eq!(list.pop(link), Some(6), "4 is somebody else's");
        assert_eq!(list.pop(link), None);
    }
}
