//! Who is connected, since when, and until when.

pub mod password;
pub mod table;

pub use table::{Owner, SessionExpired, SessionTable};
