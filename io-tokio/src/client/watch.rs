//! What a caller holds of a watch.

use tokio::sync::mpsc;
use zabra_core::client::{Call, CallError, WatcherId};
use zabra_core::types::{EventType, WatcherType, Zxid};

use super::task::Command;

/// Something that a watch saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedEvent {
    /// What happened.
    pub kind: EventType,
    /// To which znode.
    pub path: String,
    /// The transaction that did it; [`Zxid::UNKNOWN`] if it happened while no server was connected.
    pub zxid: Zxid,
}

/// A watch. It outlives connections, and ends with the session, with being dropped, and, if it is not persistent, with
/// its first event.
#[derive(Debug)]
pub struct Watch {
    pub(super) watcher: WatcherId,
    pub(super) path: String,
    pub(super) kind: WatcherType,
    pub(super) events: mpsc::Receiver<WatchedEvent>,
    /// Does not keep the session alive.
    pub(super) commands: mpsc::WeakSender<Command>,
}

impl Watch {
    /// The next event; `None` once there can be none: the watch has fired, was removed, or the session is over. A
    /// persistent watch whose events are not taken also ends, behind the thousand that were kept: read anew what it was
    /// for.
    pub async fn next(&mut self) -> Option<WatchedEvent> {
        self.events.recv().await
    }

    /// Removes the watch, once the server confirms that there is one.
    ///
    /// # Errors
    /// NOWATCHER if it has fired, or why the server could not be asked.
    pub async fn remove(self) -> Result<(), CallError> {
        let Some(commands) = self.commands.upgrade() else { return Err(CallError::Closed) };
        let (answer, told) = tokio::sync::oneshot::channel();
        let (path, kind) = (self.path.clone(), self.kind);
        let request = Call::RemoveWatches { path, kind, watcher: Some(self.watcher), local: false };
        let command = Command::Call { request, answer, events: None };
        commands.send(command).await.map_err(|_| CallError::Closed)?;
        told.await.unwrap_or(Err(CallError::Closed)).map(drop)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(commands) = self.commands.upgrade() {
            let (path, kind, watcher) = (std::mem::take(&mut self.path), self.kind, self.watcher);
            // If there is no room, its next event finds that nobody is there.
            let _ = commands.try_send(Command::Forget { path, kind, watcher });
        }
    }
}
