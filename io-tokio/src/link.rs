//! The tasks of links: one for each connection to another server, and one for each attempt to make one.
//!
//! A link is a [`Stream`] and nothing more; what the servers say to each other on it, and how long they may be silent,
//! is the core's. `driver/links.rs` has the driver's part.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use zabra_core::server::PeerPort;
use zabra_core::types::LinkId;

use crate::dial::Dial;
use crate::driver::{AbortOnPanic, Shared};
use crate::machine::Machine;
use crate::stream::Stream;

/// A connection to another server.
#[derive(Debug)]
pub(crate) struct Link {
    /// What is sent on it is bounded by the core, which hangs up at `link_outbox_bytes`.
    pub(crate) stream: Stream,
    /// The port on which it was accepted; `None` if this server connected.
    pub(crate) accepted_on: Option<PeerPort>,
}

impl Link {
    /// A fresh link.
    pub(crate) fn new(socket: TcpStream, keep_alive: bool, accepted_on: Option<PeerPort>) -> Self {
        Self { stream: Stream::new(socket, keep_alive), accepted_on }
    }
}

/// The task of one link.
pub(crate) struct LinkTask<M> {
    driver: Shared<M>,
    link: LinkId,
}

impl<M> LinkTask<M> {
    /// The task for a link that was just made.
    pub(crate) fn new(driver: Shared<M>, link: LinkId) -> Self {
        Self { driver, link }
    }
}

impl<M: Machine> Future for LinkTask<M> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _guard = AbortOnPanic;
        self.driver.borrow_mut().poll_link(self.link, cx)
    }
}

/// The task of one attempt to connect.
pub(crate) async fn dial<M: Machine>(driver: Shared<M>, dial: Dial, lookups: Arc<Semaphore>) {
    let outcome = dial.connect(&lookups).await;
    let _guard = AbortOnPanic;
    let link = driver.borrow_mut().dialed(&dial, outcome);
    if let Some(link) = link {
        tokio::task::spawn_local(LinkTask::new(Rc::clone(&driver), link));
    }
}
