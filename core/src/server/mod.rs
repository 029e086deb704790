//! The server: owns the parts and dispatches.

pub mod action;
pub mod event;
pub mod input;

pub use action::{Action, CloseReason, HaltReason};
pub use event::Event;
pub use input::Input;
