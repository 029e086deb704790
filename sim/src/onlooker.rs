//! Somebody who looks at a run while it goes on: prints its records, stops it at one of them, draws a picture. A run
//! without one does nothing for it but see that there is none.

use crate::check::{Checker, Violation};
use crate::history::Record;
use crate::picture::Picture;

/// See the module.
#[derive(Debug, Default)]
pub struct Onlooker {
    /// Every record is printed as it comes.
    pub loud: bool,
    /// The first record with these words in it counts as a violation.
    pub stop_at: Option<String>,
    /// What is drawn, if anything is.
    pub picture: Option<Picture>,
}

impl Onlooker {
    /// Looks at the next record.
    ///
    /// # Errors
    /// If the run is to stop here.
    pub fn record(&mut self, record: &Record) -> Result<(), Violation> {
        if self.loud {
            println!("{record}");
        }
        if let Some(picture) = &mut self.picture {
            picture.record(record);
        }
        match &self.stop_at {
            Some(words) if record.to_string().contains(words) => {
                Err(Violation::new(Checker::Stop, record.what.to_string()))
            }
            Some(_) | None => Ok(()),
        }
    }
}
