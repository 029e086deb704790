//! Links between servers, driven by hand: the processes are frozen, the test speaks for them and reads what they
//! would be told.

use std::time::Duration;

use bytes::Bytes;
use zabra_core::server::{HangupReason, Input, LinkOrigin, PeerPort};
use zabra_core::types::{Address, DialId, LinkId as PeerLink};

use super::World;
use crate::clock::SimTime;
use crate::ending::Crash;
use crate::options::Options;
use crate::places::{ELECTION_PORT, NodeId};
use crate::rt;
use crate::seed::Seed;

const A: NodeId = NodeId(0);
const B: NodeId = NodeId(1);
const SECOND: Duration = Duration::from_secs(1);
const DIAL: DialId = DialId(7);

/// Three frozen servers.
fn frozen(test: impl FnOnce(&mut World) + Send) {
    rt::enter(Seed(1), || {
        let mut options = Options::calm();
        options.servers = 3;
        options.clients = 0;
        options.net.segmentation = 500_000;
        options.net.window = 1000;
        let mut world = World::with_options(Seed(1), options);
        world.run_for(SECOND).unwrap();
        for node in &mut world.nodes {
            assert!(node.is_up());
            node.paused_until = SimTime::FOREVER;
        }
        test(&mut world);
    });
}

fn dial(world: &mut World, hosts: &[&str], timeout: Duration) {
    let address = |host: &&str| Address { host: (*host).into(), port: ELECTION_PORT };
    let addresses = hosts.iter().map(address).collect();
    world.dial_peer(A, DIAL, PeerPort::Election, addresses, timeout).unwrap();
}

fn told(world: &mut World, node: NodeId) -> Vec<Input> {
    world.nodes[node.0].inbox.drain(..).collect()
}

fn pass(world: &mut World, time: Duration) {
    world.run_for(time).unwrap();
}

/// Connects A to B. Answers each one's number for the link.
fn connected(world: &mut World) -> (PeerLink, PeerLink) {
    dial(world, &["node2"], SECOND);
    pass(world, SECOND);
    let [Input::LinkUp { link: dialer, origin: LinkOrigin::Dialed { dial: DIAL } }] = told(world, A)[..]
    else {
        panic!("the dialer is not told")
    };
    let [Input::LinkUp { link: acceptor, origin: LinkOrigin::Accepted { port: PeerPort::Election, .. } }] =
        told(world, B)[..]
    else {
        panic!("the acceptor is not told")
    };
    (dialer, acceptor)
}

fn received(inputs: &[Input]) -> Vec<u8> {
    let bytes = |input: &Input| match input {
        Input::LinkReceived { bytes, .. } => Some(bytes.clone()),
        _ => None,
    };
    inputs.iter().filter_map(bytes).flatten().collect()
}

fn is_down(inputs: &[Input]) -> bool {
    inputs.iter().any(|input| matches!(input, Input::LinkDown { .. }))
}

fn is_failed(inputs: &[Input]) -> bool {
    inputs == [Input::DialFailed { dial: DIAL }]
}

#[test]
fn bytes_go_both_ways_in_pieces_and_are_counted() {
    frozen(|world| {
        let (a, b) = connected(world);
        for _ in 0..60 {
            world.send_peer(A, a, Bytes::from(vec![1; 10])).unwrap();
        }
        world.send_peer(B, b, Bytes::from(vec![2; 200])).unwrap();
        pass(world, SECOND);
        let (at_a, at_b) = (told(world, A), told(world, B));
        assert_eq!((received(&at_a), received(&at_b)), (vec![2; 200], vec![1; 600]));
        assert!(at_b.len() > 75, "nothing was cut into pieces: {at_b:?}");
        let drained = |input: &Input| match input {
            Input::LinkDrained { link, bytes } => Some((*link, *bytes)),
            _ => None,
        };
        assert_eq!(at_a.iter().find_map(drained), Some((a, 600)), "what is taken of one link is one sum");
    });
}

#[test]
fn a_server_that_does_not_read_stops_the_other() {
    frozen(|world| {
        let (a, b) = connected(world);
        world.set_peer_reads(B, b, false).unwrap();
        world.send_peer(A, a, Bytes::from(vec![1; 3000])).unwrap();
        pass(world, SECOND);
        assert!(told(world, B).is_empty());
        assert_eq!(told(world, A), [Input::LinkDrained { link: a, bytes: 1000 }]);
        world.set_peer_reads(B, b, true).unwrap();
        pass(world, SECOND);
        assert_eq!(received(&told(world, B)).len(), 3000);
    });
}

#[test]
fn a_dial_is_refused_times_out_or_finds_the_second_address() {
    frozen(|world| {
        world.crash(B, Crash::Killed).unwrap();
        dial(world, &["node2"], 5 * SECOND);
        pass(world, SECOND);
        assert!(is_failed(&told(world, A)), "no process refuses at once");
        dial(world, &["nowhere", "node2", "node3"], 5 * SECOND);
        pass(world, SECOND);
        assert!(matches!(told(world, A)[..], [Input::LinkUp { .. }]));
        world.cut(NodeId(2), A, SimTime::FOREVER);
        dial(world, &["node3"], 5 * SECOND);
        pass(world, 4 * SECOND);
        assert!(told(world, A).is_empty(), "a cut tells nobody");
        pass(world, 2 * SECOND);
        assert!(is_failed(&told(world, A)));
        dial(world, &["node3"], 5 * SECOND);
        pass(world, SECOND);
        world.mend(NodeId(2), A);
        pass(world, 2 * SECOND);
        assert!(matches!(told(world, A)[..], [Input::LinkUp { .. }]), "mended in time");
    });
}

#[test]
fn a_cut_holds_one_way_back_and_is_mended() {
    frozen(|world| {
        let (a, b) = connected(world);
        world.send_peer(A, a, Bytes::from_static(b"on its way")).unwrap();
        world.cut(A, B, SimTime::FOREVER);
        world.send_peer(A, a, Bytes::from_static(b" and after")).unwrap();
        world.send_peer(B, b, Bytes::from_static(b"the other way")).unwrap();
        pass(world, 10 * SECOND);
        assert_eq!(received(&told(world, B)), b"");
        assert_eq!(received(&told(world, A)), b"the other way");
        // The end of the link is held back with the rest.
        world.crash(A, Crash::Killed).unwrap();
        pass(world, 10 * SECOND);
        assert!(!is_down(&told(world, B)));
        world.mend(A, B);
        pass(world, SECOND);
        let told = told(world, B);
        assert_eq!(received(&told), b"on its way and after");
        assert!(is_down(&told));
    });
}

#[test]
fn a_partition_cuts_between_groups_and_passes() {
    frozen(|world| {
        let until = world.now() + 5 * SECOND;
        world.partition(&[vec![A], vec![B, NodeId(2)]], until);
        assert!(world.is_cut(A, B) && world.is_cut(NodeId(2), A) && !world.is_cut(B, NodeId(2)));
        pass(world, 6 * SECOND);
        assert!(!world.is_cut(A, B));
    });
}

#[test]
fn a_link_of_a_node_without_power_ends_once_something_is_sent_and_power_is_back() {
    frozen(|world| {
        let (_, b) = connected(world);
        world.crash(A, Crash::Unpowered).unwrap();
        pass(world, 60 * SECOND);
        assert!(told(world, B).is_empty(), "silence tells nobody");
        world.send_peer(B, b, Bytes::from_static(b"are you there?")).unwrap();
        pass(world, 10 * SECOND);
        assert!(!is_down(&told(world, B)));
        world.start(A).unwrap();
        pass(world, 2 * SECOND);
        assert!(is_down(&told(world, B)));
        assert!(world.links.iter().next().is_none(), "a link that is over at both ends is forgotten");
    });
}

#[test]
fn a_link_that_was_hung_up_ends_at_the_other_side_and_loses_at_most_its_tail() {
    frozen(|world| {
        let mut lost = 0;
        for _ in 0..60 {
            let (a, _) = connected(world);
            world.send_peer(A, a, Bytes::from(vec![1; 100])).unwrap();
            world.hang_up_peer(A, a, HangupReason::RoleOver).unwrap();
            pass(world, SECOND);
            assert!(told(world, A).iter().all(|input| !matches!(input, Input::LinkDown { .. })));
            let told = told(world, B);
            assert!(is_down(&told));
            let got = received(&told);
            assert!(got.iter().all(|&byte| byte == 1));
            lost += usize::from(got.len() < 100);
        }
        assert!((1..20).contains(&lost), "{lost} of 60 lost their tail");
        assert!(world.links.iter().next().is_none());
    });
}
