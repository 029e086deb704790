//! The links of a world by their numbers. These only go up and are never used twice, so a number is a place in a list, and
//! what is looked up several times in every event needs no search. The place of a link that is gone stays empty.

use super::net::LinkState;
use crate::link::LinkId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Option<Box<LinkState>>>);

impl Links {
    pub(super) fn get(&self, link: LinkId) -> Option<&LinkState> {
        self.0.get(link.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, link: LinkId) -> Option<&mut LinkState> {
        self.0.get_mut(link.0 as usize)?.as_deref_mut()
    }

    pub(super) fn insert(&mut self, link: LinkId, state: LinkState) {
        let place = link.0 as usize;
        if self.0.len() <= place {
            self.0.resize_with(place + 1, || None);
        }
        self.0[place] = Some(Box::new(state));
    }

    pub(super) fn remove(&mut self, link: LinkId) {
        if let Some(place) = self.0.get_mut(link.0 as usize) {
            *place = None;
        }
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &LinkState)> {
        let places = self.0.iter().enumerate();
        places.filter_map(|(place, state)| Some((LinkId(place as u64), state.as_deref()?)))
    }
}
