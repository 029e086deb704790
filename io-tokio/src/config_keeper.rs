//! Keeps the configurations of the ensemble that the next start begins with, beside the configuration file.
//!
//! One in force that cannot be written is tried again with whatever is to be kept next; until it is written, the file
//! of what was seen last stays as it is, for that has it.

use std::path::PathBuf;

use zabra_core::server::Input;
use zabra_core::types::{Membership, ServerId};

use crate::driver::Kept;
use crate::settings::Settings;
use crate::zoo_cfg;

/// See the module.
#[derive(Debug)]
pub(crate) struct ConfigKeeper {
    /// The configuration file; `None`: there is none to keep anything beside.
    file: Option<PathBuf>,
    server: ServerId,
    /// The configuration in force.
    known: Option<Membership>,
    /// Whether that is not written.
    unwritten: bool,
}

impl ConfigKeeper {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            file: settings.config_file.clone(),
            server: ServerId(settings.core.server_id),
            known: settings.core.ensemble.as_ref().map(|ensemble| ensemble.membership.clone()),
            unwritten: false,
        }
    }

    /// Writes it. A failure is told to the operator, and to the core, which knows what depends on it.
    pub(crate) fn keep(&mut self, kept: Kept<'_>) -> Option<Input> {
        let file = self.file.clone()?;
        if let Kept::InForce(membership) = kept {
            self.warn_of_another_place(membership);
            self.known = Some(membership.clone());
            self.unwritten = true;
        }
        let in_force = self.known.as_ref().filter(|_| self.unwritten);
        let mut result = in_force.map_or(Ok(()), |known| zoo_cfg::keep(&file, known, self.server));
        self.unwritten = result.is_err();
        if let (Ok(()), Kept::Seen(membership)) = (&result, kept) {
            result = zoo_cfg::keep_seen(&file, membership);
        }
        let error = result.err()?;
        tracing::error!(
            %error,
            "the new members of the ensemble could not be written beside {}: \
             put them there before this server is started again",
            file.display()
        );
        Some(Input::ConfigNotKept { in_force: self.unwritten })
    }

    fn warn_of_another_place(&self, membership: &Membership) {
        let place = |membership: &Membership| {
            let member = membership.member(self.server);
            member.map(|m| (m.quorum.clone(), m.election.clone(), m.client.clone()))
        };
        if self.known.as_ref().map(place) != Some(place(membership)) {
            tracing::warn!("this server's own addresses have changed; it listens on them after a restart");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// PARITY `reconf.dynfile`: while the one in force cannot be written, what was seen stays; then all is made up for.
    #[test]
    fn reconf_dynfile_what_could_not_be_kept_is_tried_again() {
        let directory = tempfile::tempdir().expect("a place for tests");
        let file = directory.path().join("zoo.cfg");
        let text = "server.1=h1:1:2\nserver.2=h2:1:2\nserver.3=h3:1:2";
        let version = |version| Membership::parse(text).expect("members").with_version(version);
        let (first, second) = (version(0x1_0000_0001), version(0x1_0000_0002));
        let mut keeper =
            ConfigKeeper { file: Some(file.clone()), server: ServerId(1), known: None, unwritten: false };
        assert_eq!(keeper.keep(Kept::Seen(Some(&first))), None);
        let next = directory.path().join("zoo.cfg.dynamic.next");
        let seen = fs::read(&next).expect("it is there");
        // There is no zoo.cfg that could name the members.
        let lost = Some(Input::ConfigNotKept { in_force: true });
        for kept in [Kept::InForce(&first), Kept::Seen(None), Kept::Seen(Some(&second))] {
            assert_eq!(keeper.keep(kept), lost, "{kept:?}");
            assert_eq!(fs::read(&next).expect("it is there"), seen, "{kept:?}");
        }
        fs::write(&file, "dataDir=data\n").expect("written");
        assert_eq!(keeper.keep(Kept::Seen(None)), None);
        assert!(!next.exists());
        let text = fs::read_to_string(&file).expect("it is there");
        assert!(text.contains("zoo.cfg.dynamic.100000001"), "{text}");
        // What is no file cannot be replaced by one.
        fs::create_dir(&next).expect("made");
        let lost = Some(Input::ConfigNotKept { in_force: false });
        assert_eq!(keeper.keep(Kept::Seen(Some(&second))), lost);
    }
}
