//! A picture shows whatever happens, and changes nothing of it.

use std::time::Duration;

use super::*;
use crate::check::{Checker, Violation};
use crate::onlooker::Onlooker;
use crate::rt;
use crate::seed::Seed;
use crate::world::World;

fn about(violation: Option<Violation>) -> About {
    About {
        title: "seed 1 & <more>".into(),
        commit: "unknown".into(),
        command: "none".into(),
        profile: "Options".into(),
        violation,
    }
}

/// An ensemble with faults.
fn options() -> Options {
    let mut options = Options::calm_cluster(3, 1);
    let often = Some(Duration::from_secs(2));
    options.clients = 2;
    options.faults.power = often;
    options.faults.cut = often;
    options.faults.cut_max = Duration::from_secs(1);
    options.faults.restart_max = Duration::from_millis(500);
    options.workload.think = Duration::from_millis(20);
    options
}

/// Eight seconds of it, with a picture or without; answers the trace and what `then` makes of the world.
fn seen<T: Send>(draws: bool, then: impl FnOnce(&mut World) -> T + Send) -> (u64, T) {
    rt::enter(Seed(5), || {
        let mut world = World::with_options(Seed(5), options());
        if draws {
            let picture = Some(Picture::new(world.options()));
            world.set_onlooker(Onlooker { picture, ..Onlooker::default() });
        }
        assert_eq!(world.run_for(Duration::from_secs(8)), Ok(()));
        (world.trace(), then(&mut world))
    })
}

#[test]
fn a_run_goes_the_same_way_with_a_picture_and_without() {
    assert_eq!(seen(true, |_| ()), seen(false, |_| ()));
}

#[test]
fn every_kind_of_message_is_there_and_most_arrive() {
    seen(true, |world| {
        let picture = world.take_picture().expect("it was asked for");
        for kind in Kind::ALL {
            let of = || picture.messages.kept.iter().filter(|message| message.kind == kind);
            assert!(of().any(|message| message.arrived > Some(message.sent)), "{kind:?}");
        }
        let lost = picture.messages.kept.iter().filter(|message| message.arrived.is_none()).count();
        assert!(lost > 0, "power failures lose nothing");
        assert!(lost * 4 < picture.messages.kept.len(), "{lost} of {} are lost", picture.messages.kept.len());
    });
}

#[test]
fn every_node_is_something_at_any_time() {
    seen(true, |world| {
        let now = world.now();
        let mut picture = world.take_picture().expect("it was asked for");
        picture.end(now);
        for node in 0..4 {
            let lane = Party::Node(crate::places::NodeId(node));
            let is_state = |what: SpanKind| what <= SpanKind::Observing;
            let mut at = SimTime::ZERO;
            for span in picture.spans.kept.iter().filter(|span| span.at == lane && is_state(span.what)) {
                assert_eq!(span.begun, at, "nobody knows what {lane} was");
                at = span.ended;
            }
            assert_eq!(at, now);
        }
        let seen: std::collections::BTreeSet<SpanKind> =
            picture.spans.kept.iter().map(|span| span.what).collect();
        for kind in [
            SpanKind::Down,
            SpanKind::Recovering,
            SpanKind::Looking,
            SpanKind::Following,
            SpanKind::Leading,
            SpanKind::Observing,
            SpanKind::Cut,
            SpanKind::Session,
            SpanKind::Done,
        ] {
            assert!(seen.contains(&kind), "{kind:?}");
        }
    });
}

#[test]
fn the_page_stands_alone_and_tells_of_the_violation() {
    seen(true, |world| {
        let now = world.now();
        let picture = world.take_picture().expect("it was asked for");
        let violation = Violation::new(Checker::Tree, "n2 and c1 differ </script>");
        let page = picture.page(&about(Some(violation)), now);
        assert!(page.contains(
            r#""violation":{"check":"tree","what":"n2 and c1 differ \u003c/script>","lanes":[2,5]}"#
        ));
        assert!(page.contains("<title>seed 1 &amp; &lt;more></title>"));
        for outside in ["http:", "https:", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "the page asks for something: {outside}");
        }
        for place in ["/* style */", "/* scripts */", "/* run */", "TITLE"] {
            assert!(!page.contains(place), "{place} is left in the page");
        }
    });
}

#[test]
fn only_the_newest_are_kept() {
    let mut recent = Recent::new(3);
    let numbers: Vec<u64> = (0..5).map(|item| recent.push(item * 10)).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    assert_eq!(recent.kept, [20, 30, 40]);
    assert_eq!(recent.gone, 2);
    assert_eq!(recent.get_mut(1), None);
    assert_eq!(recent.get_mut(4).copied(), Some(40));
    assert_eq!(recent.get_mut(5), None);
}
