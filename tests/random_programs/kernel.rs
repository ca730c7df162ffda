//! How the kernel behaves: the simulated one as it is told, others as they do.

#[cfg(simulated_kernel)]
pub use simulated::{Kernel, kernel};

#[cfg(not(simulated_kernel))]
pub use real::{Kernel, kernel};

#[cfg(not(simulated_kernel))]
mod real {
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    pub struct Kernel {
        /// How often it may be out of resources.
        pub shortages: usize,
        /// How many bytes a transfer may count too many.
        pub over_report: u32,
    }

    pub fn kernel() -> impl Strategy<Value = Kernel> {
        Just(Kernel { shortages: 0, over_report: 0 })
    }

    impl Kernel {
        /// It behaves as it does.
        #[allow(clippy::unused_self, reason = "the simulated one is told how")]
        pub fn during<T>(&self, body: impl FnOnce() -> T) -> T {
            body()
        }

        #[allow(clippy::unused_self, reason = "as above")]
        pub fn at_the_end<T>(&self, body: impl FnOnce() -> T) -> T {
            body()
        }
    }
}

#[cfg(simulated_kernel)]
mod simulated {
    use proptest::prelude::*;
    use proptest::sample::select;
    use simulated_kernel::{Behaviour, Chance, behave, heed_cancels, seed};
    use windows_sys::Win32::Networking::WinSock::WSAENOBUFS;

    const STATUS_INSUFFICIENT_RESOURCES: u32 = 0xC000_009A;

    #[derive(Clone, Debug)]
    pub struct Kernel {
        seed: u32,
        inline: Chance,
        fail_late: Chance,
        dequeued_first: Chance,
        leave_pending: Chance,
        written_at_dequeue: Chance,
        cancel_loses: Chance,
        any_order: bool,
        ignore_cancels: u32,
        delay: u32,
        refuses: usize,
        fails: usize,
        refuses_posts: u32,
        /// How often it may be out of resources.
        pub shortages: usize,
        /// How many bytes a transfer may count too many.
        pub over_report: u32,
    }

    fn chance() -> impl Strategy<Value = Chance> {
        select(vec![Chance::Sometimes, Chance::Never, Chance::Always])
    }

    /// Mostly 0.
    fn seldom() -> impl Strategy<Value = usize> {
        select(vec![0, 0, 0, 1, 2])
    }

    pub fn kernel() -> impl Strategy<Value = Kernel> {
        let chances = (chance(), chance(), chance(), chance(), chance(), chance());
        let ignore_cancels = select(vec![0, 0, 2, 8]);
        let whens = (any::<u32>(), any::<bool>(), ignore_cancels, 0..20u32);
        (chances, whens, seldom(), seldom(), seldom(), seldom()).prop_map(
            |(chances, whens, refuses, fails, refuses_posts, over_report)| {
                let (seed, any_order, ignore_cancels, delay) = whens;
                let (inline, fail_late, dequeued_first, ..) = chances;
                let (.., leave_pending, written_at_dequeue, cancel_loses) = chances;
                Kernel {
                    seed,
                    inline,
                    fail_late,
                    dequeued_first,
                    leave_pending,
                    written_at_dequeue,
                    cancel_loses,
                    any_order,
                    ignore_cancels,
                    delay,
                    refuses,
                    fails,
                    refuses_posts: refuses_posts as u32,
                    shortages: refuses + fails + refuses_posts,
                    over_report: over_report as u32,
                }
            },
        )
    }

    impl Kernel {
        /// It behaves like this until `body` returns.
        pub fn during<T>(&self, body: impl FnOnce() -> T) -> T {
            seed(self.seed.into());
            during(body, |kernel| {
                kernel.inline = self.inline;
                kernel.fail_late = self.fail_late;
                kernel.dequeued_first = self.dequeued_first;
                kernel.leave_pending = self.leave_pending;
                kernel.written_at_dequeue = self.written_at_dequeue;
                kernel.cancel_loses = self.cancel_loses;
                kernel.any_order = self.any_order;
                kernel.ignore_cancels = self.ignore_cancels;
                kernel.delay = self.delay;
                kernel.refuse.extend(vec![WSAENOBUFS as u32; self.refuses]);
                kernel.fail.extend(vec![STATUS_INSUFFICIENT_RESOURCES; self.fails]);
                kernel.refuse_posts = self.refuses_posts;
                kernel.over_report = self.over_report;
            })
        }

        /// The same for the end of the program, where nothing is short, and less
        /// is ignored: a port that is dropped does not wait for ever.
        pub fn at_the_end<T>(&self, body: impl FnOnce() -> T) -> T {
            during(body, |kernel| kernel.ignore_cancels = self.ignore_cancels.min(1))
        }
    }

    fn during<T>(body: impl FnOnce() -> T, change: impl FnOnce(&mut Behaviour)) -> T {
        let _behaving = behave(change);
        let result = body();
        heed_cancels();
        result
    }
}
