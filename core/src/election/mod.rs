//! Fast leader election: servers tell each other whom they would follow until a quorum agrees (PARITY `fle.*`).
//!
//! Two state machines that know nothing of each other. [`Links`] keeps one connection to every server that votes and
//! turns its bytes into notifications; [`Election`] turns notifications into a decision. Whoever owns both carries
//! notifications and reachability from one to the other:
//!
//! ```text
//!            bytes, links            notifications, who can be reached
//!  adapter ─────────────▶  Links  ──────────────────────────────────▶  Election ──▶ decided: lead, follow, observe
//!          ◀─────────────         ◀──────────────────────────────────
//!            dials, bytes            notifications
//! ```
//!
//! Nothing here touches the disk. The vote of a server speaks of what it has durably: see [`Election::look`].

pub mod links;
#[cfg(test)]
mod links_tests;
pub mod machine;
#[cfg(test)]
mod tests;
pub mod view;
pub mod vote;

pub use links::{Links, LinksOutput};
pub use machine::{Election, ElectionOutput};
pub use view::View;
