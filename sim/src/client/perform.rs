//! How an application is told what happens, and has done what it asks for.
//!
//! What it asks for may bring news at once, so news wait in a queue: an application is never told something while it is
//! being told something else.

use std::rc::Rc;

use zabra_core::client::{CallError, ClientInput, SessionState};

use super::{SimClient, convert};
use crate::app::{Application, Ask, News, Session};
use crate::check::{Checker, Violation};
use crate::clock::SimTime;

impl SimClient {
    /// Leaves the client to an application.
    pub fn perform(&mut self, application: Box<dyn Application>) {
        self.random = false;
        self.application = Some(application);
        self.news.push_back(News::Started);
    }

    /// Tells the application what it does not know, and does what it asks for, until there is no news.
    pub(super) fn tell_application(&mut self, now: SimTime) -> Result<(), Violation> {
        while let Some(mut application) = self.application.take_if(|_| !self.news.is_empty()) {
            let mut asks = std::mem::take(&mut self.asks);
            let mut it = Session {
                now,
                state: self.machine.as_ref().map_or(SessionState::Disconnected, |machine| machine.state()),
                session: self.session(),
                next_call: self.account.next_call(),
                asks: &mut asks,
            };
            match self.news.pop_front() {
                Some(News::Answered(call, result)) => application.on_answer(&mut it, call, result),
                Some(News::Event(event)) => application.on_event(&mut it, event),
                Some(News::Started) => application.on_start(&mut it),
                Some(News::Woken) => application.on_wake(&mut it),
                None => {}
            }
            self.application = Some(application);
            while let Some(ask) = asks.pop_front() {
                self.fulfil(now, ask)?;
            }
            self.asks = asks;
        }
        Ok(())
    }

    fn fulfil(&mut self, now: SimTime, ask: Ask) -> Result<(), Violation> {
        match ask {
            Ask::Call(call, request) => {
                let Some((op, watcher)) = convert::op(&request) else {
                    panic!("the simulator's reference does not know {request:?}");
                };
                if self.machine.is_none() || self.closing {
                    self.account.skip_call(call);
                    self.news.push_back(News::Answered(call, Err(CallError::Closed)));
                    return Ok(());
                }
                assert_eq!(self.account.ask(Rc::new(op), watcher), call, "numbers are given in order");
                self.feed(now, ClientInput::Call { call, request })
            }
            Ask::Close => {
                if self.machine.is_none() || self.closing {
                    return Ok(());
                }
                self.closing = true;
                self.account.close();
                self.feed(now, ClientInput::Close)
            }
            Ask::Violated(words) => {
                Err(Violation::new(Checker::Application, format!("{}: {words}", self.id)))
            }
            Ask::Wake(at) => {
                self.alarm = Some(at);
                Ok(())
            }
        }
    }
}
