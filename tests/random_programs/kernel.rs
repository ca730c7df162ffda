//! How the kernel behaves: the simulated one as it is told, others as they do.

#[cfg(miri)]
pub use simulated::{Kernel, kernel};

#[cfg(not(miri))]
pub use real::{Kernel, kernel};

#[cfg(not(miri))]
mod real {
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    pub struct Kernel;

    pub fn kernel() -> impl Strategy<Value = Kernel> {
        Just(Kernel)
    }

    impl Kernel {
        pub fn behave(&self) -> impl Drop + use<> {
            // Nothing to change back.
            Vec::<()>::new()
        }

        /// How often it may be out of resources.
        pub fn shortages(&self) -> usize {
            0
        }

        /// How many bytes a transfer counts too many.
        pub fn over_report(&self) -> u32 {
            0
        }
    }
}

#[cfg(miri)]
mod simulated {
    use proptest::prelude::*;
    use proptest::sample::select;
    use simulated_kernel::{Behaving, Chance, behave};
    use windows_sys::Win32::Networking::WinSock::WSAENOBUFS;

    const STATUS_INSUFFICIENT_RESOURCES: u32 = 0xC000_009A;

    #[derive(Clone, Copy, Debug)]
    pub struct Kernel {
        inline: Chance,
        fail_late: Chance,
        dequeued_first: Chance,
        leave_pending: Chance,
        cancel_loses: Chance,
        delay: u32,
        refuses: usize,
        fails: usize,
        refuses_posts: u32,
        over_report: u32,
    }

    fn chance() -> impl Strategy<Value = Chance> {
        select(vec![Chance::Sometimes, Chance::Never, Chance::Always])
    }

    /// Mostly 0.
    fn seldom() -> impl Strategy<Value = usize> {
        select(vec![0, 0, 0, 1, 2])
    }

    pub fn kernel() -> impl Strategy<Value = Kernel> {
        let chances = (chance(), chance(), chance(), chance(), chance());
        (chances, 0..20u32, seldom(), seldom(), seldom(), seldom()).prop_map(
            |(chances, delay, refuses, fails, refuses_posts, over_report)| {
                let (inline, fail_late, dequeued_first, leave_pending, cancel_loses) = chances;
                Kernel {
                    inline,
                    fail_late,
                    dequeued_first,
                    leave_pending,
                    cancel_loses,
                    delay,
                    refuses,
                    fails,
                    refuses_posts: refuses_posts as u32,
                    over_report: over_report as u32,
                }
            },
        )
    }

    impl Kernel {
        pub fn behave(&self) -> Behaving {
            behave(|kernel| {
                kernel.inline = self.inline;
                kernel.fail_late = self.fail_late;
                kernel.dequeued_first = self.dequeued_first;
                kernel.leave_pending = self.leave_pending;
                kernel.cancel_loses = self.cancel_loses;
                kernel.delay = self.delay;
                kernel.refuse.extend(vec![WSAENOBUFS as u32; self.refuses]);
                kernel.fail.extend(vec![STATUS_INSUFFICIENT_RESOURCES; self.fails]);
                kernel.refuse_posts = self.refuses_posts;
                kernel.over_report = self.over_report;
            })
        }

        pub fn shortages(&self) -> usize {
            self.refuses + self.fails + self.refuses_posts as usize
        }

        pub fn over_report(&self) -> u32 {
            self.over_report
        }
    }
}
