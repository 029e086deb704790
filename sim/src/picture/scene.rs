//! The picture of a scenario, for whoever wants to see what it does.
//!
//! ```text
//! SIM_PICTURE=/some/folder cargo test -p sim --test known_bugs zookeeper_1489
//! ```
//!
//! leaves a page in that folder for every time that the scenario is played, called by the test and numbered from 1 on;
//! of one that fails, too. Without the variable nothing is drawn.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::thread;

use super::{About, Picture};
use crate::check::{Checker, Violation};
use crate::onlooker::Onlooker;
use crate::report::commit;
use crate::world::World;

/// Names the folder.
const VARIABLE: &str = "SIM_PICTURE";

thread_local! {
    /// How often this thread, which is a test's own, has played.
    static PLAYED: Cell<u32> = const { Cell::new(0) };
}

/// Which page is to be drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    file: PathBuf,
    title: String,
    command: String,
}

impl Scene {
    /// The page of the scenario that this thread is about to play, if the environment asks for one.
    pub fn asked_for() -> Option<Self> {
        let folder = PathBuf::from(std::env::var_os(VARIABLE)?);
        let played = PLAYED.get() + 1;
        PLAYED.set(played);
        let thread = thread::current();
        let test = thread.name().unwrap_or("scenario");
        Some(Self {
            file: folder.join(format!("{}-{played}.html", test.replace("::", "-"))),
            title: format!("{test}, played for the {played}. time"),
            command: format!("{VARIABLE}={} cargo test -p sim {test}", folder.display()),
        })
    }

    /// Draws from now on.
    pub fn begin(&self, world: &mut World) {
        let picture = Some(Picture::new(world.options()));
        world.set_onlooker(Onlooker { picture, ..Onlooker::default() });
    }

    /// Writes the page. Where the scenario failed, the test says so; so a page that cannot be written is no failure.
    pub fn finish(self, world: &mut World) {
        let Some(picture) = world.take_picture() else { return };
        let violation =
            thread::panicking().then(|| Violation::new(Checker::Scenario, "failed, as the test says"));
        let about = About {
            title: self.title,
            commit: commit(),
            command: self.command,
            profile: format!("{:#?}", world.options()),
            violation,
        };
        let page = picture.page(&about, world.now());
        let folder = self.file.parent().map_or(Ok(()), fs::create_dir_all);
        match folder.and_then(|()| fs::write(&self.file, page)) {
            Ok(()) => println!("picture: {}", self.file.display()),
            Err(error) => println!("no picture: {}: {error}", self.file.display()),
        }
    }
}
