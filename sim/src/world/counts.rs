//! How often things happened in a run: what shows that it went where it should.

macro_rules! counts {
    (
        $($(#[$doc:meta])* $name:ident,)*
        ; $($(#[$ensemble_doc:meta])* $ensemble:ident,)*
        ; $($(#[$members_doc:meta])* $members:ident,)*
    ) => {
        /// See the module.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$doc])* pub $name: u64,)*
            $($(#[$ensemble_doc])* pub $ensemble: u64,)*
            $($(#[$members_doc])* pub $members: u64,)*
        }

        impl Counts {
            /// Adds those of another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                $(self.$ensemble += other.$ensemble;)*
                $(self.$members += other.$members;)*
            }

            /// Everything that is counted happened at least once; over many runs, anything else means that they
            /// do not test what they are there for.
            ///
            /// # Panics
            /// If something never happened.
            pub fn expect_all_reached(&self) {
                $(assert!(self.$name > 0, concat!("in no run: ", stringify!($name)));)*
            }

            /// So did everything that only an ensemble does.
            ///
            /// # Panics
            /// If something never happened.
            pub fn expect_all_reached_by_ensembles(&self) {
                $(assert!(self.$ensemble > 0, concat!("in no run: ", stringify!($ensemble)));)*
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
    /// Containers and TTL nodes that servers removed.
    cleared,
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
    ;
    /// Links between servers.
    links,
    /// Times that a server gave up to lead or to follow.
    roles_lost,
    /// Splits of the nodes into groups that do not hear of each other.
    partitions,
    /// Several nodes that went down at once.
    blackouts,
    /// Logs of which a bit changed.
    rotten,
    /// Disks that were replaced by empty ones.
    wiped,
    /// Steps of a protocol at which something went wrong.
    moments,
    /// Servers that began to lead.
    leaders,
    /// Logs that were cut, or replaced by a snapshot.
    rewinds,
    ;
    /// Times that other members were asked for.
    reconfigs,
}
