//! How often things happened in a run: what shows that it went where it should.

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// See the module.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            /// Adds those of another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// Everything that is counted happened at least once; over many runs, anything else means that they
            /// do not test what they are there for.
            ///
            /// # Panics
            /// If something never happened.
            pub fn expect_all_reached(&self) {
                $(assert!(self.$name > 0, concat!("in no run: ", stringify!($name)));)*
            }
        }
    };
}

counts! {
    /// Events of the heap.
    events,
    /// Requests of clients.
    requests,
    /// Answers to them.
    answers,
    /// Watch events.
    watch_events,
    /// Transactions applied.
    applied,
    /// Sessions that expired.
    expired,
    /// Sessions attached again.
    resumed,
    /// Processes that came to serve.
    starts,
    /// Processes killed.
    kills,
    /// Power failures.
    power_failures,
    /// Snapshots finished.
    snapshots,
    /// Servers that stopped because their disk failed.
    disk_halts,
    /// Times that a server stopped reading from a client.
    read_pauses,
}
