//! What lasts while nothing is wrong, once the world has come to rest: connections of clients (L5), whatever they do not ask
//! for. They live by pings alone then, from both ends.

use std::time::Duration;

use super::World;
use crate::check::{Violation, liveness};
use crate::link::LinkId;
use crate::places::ClientId;

/// How long roles and connections must last once everybody is at rest. Servers look for containers more than twice in this
/// time.
const CALM: Duration = Duration::from_secs(5);
/// A third of a session's timeout, in which a ping has to come through, is so many times as long as a link usually takes: no
/// bad luck makes it late.
const LATENCIES: u32 = 50;
/// So many ticks a session's timeout has at least, since leaders hear of sessions by the way.
const TICKS: u32 = 12;

impl World {
    /// How long the world is watched: servers remove what is fleeting one by one, however much of it there is.
    pub(super) fn calm_time(&self) -> Duration {
        let spacing = Duration::from_secs(60) / self.options.config.container_max_per_minute;
        // By a clock that errs.
        let removals = u32::try_from(self.model().fleeting()).unwrap_or(u32::MAX).saturating_mul(2);
        CALM.saturating_add(spacing.saturating_mul(removals))
    }

    /// Connections that last as long as nothing is wrong.
    pub(super) fn steady(&self) -> Vec<(ClientId, LinkId)> {
        let net = &self.options.net;
        let slow = (net.latency_min + net.latency_mean).saturating_mul(3 * LATENCIES);
        let least = slow.max(self.options.config.tick_time * TICKS);
        // Who serves a client may be no member any more, and follow nobody.
        let connected = self.clients.iter().enumerate().filter(|_| self.options.faults.reconfig.is_none());
        let connected = connected.filter(|(_, client)| client.is_up() && client.session_timeout() >= least);
        connected.filter_map(|(index, client)| Some((ClientId(index), client.link()?))).collect()
    }

    /// They did.
    ///
    /// # Errors
    /// If one did not.
    pub(super) fn still_steady(
        &self,
        steady: &[(ClientId, LinkId)],
        time: Duration,
    ) -> Result<(), Violation> {
        let lasts = |&(client, link): &(ClientId, LinkId)| self.clients[client.0].link() == Some(link);
        let lost = steady.iter().find(|connection| !lasts(connection)).map(|&(client, _)| client);
        liveness::connected(lost, time)
    }
}
