//! The page: a template, and the run as JSON in it. Times are microseconds, and lists that grow are written as
//! columns of differences, which is half of the bytes.

use super::json::Json;
use super::wires::Kind;
use super::{Picture, SignKind, SpanKind, Texts};
use crate::check::Violation;
use crate::clock::SimTime;
use crate::places::Party;

const TEMPLATE: &str = include_str!("../../picture/page.html");
const STYLE: &str = include_str!("../../picture/page.css");
const SCRIPTS: &[&str] = &[
    include_str!("../../picture/run.js"),
    include_str!("../../picture/view.js"),
    include_str!("../../picture/diagram.js"),
    include_str!("../../picture/overview.js"),
    include_str!("../../picture/list.js"),
    include_str!("../../picture/main.js"),
];

/// What the page says about the run, apart from what is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Which run it is.
    pub title: String,
    /// What it was built from.
    pub commit: String,
    /// How to see it again.
    pub command: String,
    /// The profile, in full.
    pub profile: String,
    /// What went wrong, if anything did.
    pub violation: Option<Violation>,
}

impl Picture {
    /// The page, once the run has ended at `now`.
    pub fn page(mut self, about: &About, now: SimTime) -> String {
        self.end(now);
        self.forget_unused_texts();
        let run = self.run(about);
        let scripts = SCRIPTS.concat();
        // The run comes last: it may contain whatever looks like a place in the template.
        let page = TEMPLATE.replace("/* style */", STYLE).replace("/* scripts */", &scripts);
        let title = about.title.replace('&', "&amp;").replace('<', "&lt;");
        page.replace("TITLE", &title).replacen("/* run */", &run, 1)
    }

    /// Most texts belong to one thing only, and go with it.
    fn forget_unused_texts(&mut self) {
        let Self { messages, spans, signs, texts, .. } = self;
        let messages = messages.kept.iter_mut().map(|message| &mut message.words);
        let spans = spans.kept.iter_mut().map(|span| &mut span.words);
        let signs = signs.kept.iter_mut().map(|sign| &mut sign.words);
        let mut used = Texts::default();
        for words in messages.chain(spans).chain(signs) {
            *words = used.number(&texts.texts[*words as usize]);
        }
        *texts = used;
    }

    fn run(&self, about: &About) -> String {
        let mut json = Json::default();
        json.object(|json| {
            for (name, text) in [
                ("title", &about.title),
                ("commit", &about.commit),
                ("command", &about.command),
                ("profile", &about.profile),
            ] {
                json.key(name);
                json.string(text);
            }
            json.key("violation");
            self.violation(json, about.violation.as_ref());
            json.key("end");
            json.number(micros(self.now));
            json.key("healed");
            match self.healed {
                Some(healed) => json.number(micros(healed)),
                None => json.null(),
            }
            self.lanes(json);
            json.strings("kinds", Kind::ALL.iter().map(|kind| kind.name()));
            json.strings("spanKinds", SpanKind::NAMES.iter().copied());
            json.strings("signKinds", SignKind::NAMES.iter().copied());
            json.strings("texts", self.texts.texts.iter().map(|text| &**text));
            self.messages(json);
            self.spans(json);
            self.signs(json);
        });
        json.finish()
    }

    fn violation(&self, json: &mut Json, violation: Option<&Violation>) {
        let Some(violation) = violation else { return json.null() };
        json.object(|json| {
            json.key("check");
            json.string(&violation.checker.to_string());
            json.key("what");
            json.string(&violation.what);
            json.numbers("lanes", self.lanes_named(&violation.what).into_iter());
        });
    }

    /// The lanes that a text speaks of.
    fn lanes_named(&self, text: &str) -> Vec<i64> {
        let words = || text.split(|char: char| !char.is_ascii_alphanumeric());
        let named = |name: &str| words().any(|word| word == name);
        (0..)
            .zip(self.parties())
            .filter(|(_, party)| named(&party.to_string()))
            .map(|(lane, _)| lane)
            .collect()
    }

    fn parties(&self) -> impl Iterator<Item = Party> {
        let nodes = (0..self.nodes.len()).map(|index| Party::Node(crate::places::NodeId(index)));
        nodes.chain((0..self.clients).map(|index| Party::Client(crate::places::ClientId(index))))
    }

    fn lanes(&self, json: &mut Json) {
        json.key("lanes");
        json.array(|json| {
            for party in self.parties() {
                let what = match party {
                    Party::Client(_) => "client",
                    Party::Node(node) if node.0 >= self.nodes.len() - self.spares => "spare",
                    Party::Node(node) if node.0 >= self.voters => "observer",
                    Party::Node(_) => "server",
                };
                json.object(|json| {
                    json.key("name");
                    json.string(&party.to_string());
                    json.key("what");
                    json.string(what);
                });
            }
        });
    }

    fn messages(&self, json: &mut Json) {
        let all = || self.messages.kept.iter();
        json.key("messages");
        json.object(|json| {
            json.key("gone");
            json.number(self.messages.gone as i64);
            json.numbers("sent", differences(all().map(|message| micros(message.sent))));
            let took = |arrived: Option<SimTime>, sent| arrived.map_or(-1, |at| micros(at) - micros(sent));
            json.numbers("took", all().map(|message| took(message.arrived, message.sent)));
            json.numbers("from", all().map(|message| self.lane(message.from) as i64));
            json.numbers("to", all().map(|message| self.lane(message.to) as i64));
            json.numbers("kind", all().map(|message| message.kind as i64));
            json.numbers("text", all().map(|message| i64::from(message.words)));
        });
    }

    fn spans(&self, json: &mut Json) {
        let mut spans: Vec<_> = self.spans.kept.iter().collect();
        spans.sort_by_key(|span| span.begun);
        let all = || spans.iter();
        json.key("spans");
        json.object(|json| {
            json.key("gone");
            json.number(self.spans.gone as i64);
            json.numbers("at", differences(all().map(|span| micros(span.begun))));
            json.numbers("lasts", all().map(|span| micros(span.ended) - micros(span.begun)));
            json.numbers("lane", all().map(|span| self.lane(span.at) as i64));
            json.numbers("kind", all().map(|span| span.what as i64));
            json.numbers("text", all().map(|span| i64::from(span.words)));
        });
    }

    fn signs(&self, json: &mut Json) {
        let all = || self.signs.kept.iter();
        json.key("signs");
        json.object(|json| {
            json.key("gone");
            json.number(self.signs.gone as i64);
            json.numbers("at", differences(all().map(|sign| micros(sign.at))));
            json.numbers("lane", all().map(|sign| sign.on.map_or(-1, |party| self.lane(party) as i64)));
            json.numbers("kind", all().map(|sign| sign.what as i64));
            json.numbers("text", all().map(|sign| i64::from(sign.words)));
        });
    }
}

const fn micros(time: SimTime) -> i64 {
    (time.0 / 1_000) as i64
}

/// Each number less the one before it.
fn differences(numbers: impl Iterator<Item = i64>) -> impl Iterator<Item = i64> {
    numbers.scan(0, |before, number| Some(number - std::mem::replace(before, number)))
}
