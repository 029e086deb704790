use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::types::error_code::ErrorCode;

/// What ZooKeeper 3.9.3 makes of texts, with standalone servers disabled and several addresses enabled: a line with
/// the text in brackets, and one with what it prints or answers.
const GOLDEN: &str = include_str!("../../../tests/golden/membership");

fn parse(text: &str) -> Membership {
    Membership::parse(text).expect("a configuration")
}

/// Lines of servers with these ids, all of them participants.
fn servers(ids: impl IntoIterator<Item = i64>) -> String {
    ids.into_iter().map(|id| format!("server.{id}=10.0.0.{id}:2888:3888;2181\n")).collect()
}

fn set(mask: u32) -> BTreeSet<ServerId> {
    (0..32).filter(|bit| mask >> bit & 1 != 0).map(|bit| ServerId(i64::from(bit) + 1)).collect()
}

/// PARITY `addr.server`: the same texts are refused, with the same answer, and the others print as the same.
#[test]
fn addr_server_golden() {
    let unescape = |text: &str| text.replace("\\n", "\n").replace("\\\\", "\\");
    let lines: Vec<&str> = GOLDEN.lines().collect();
    assert_eq!(lines.len() % 2, 0);
    for pair in lines.chunks(2) {
        let text =
            unescape(pair[0].strip_prefix('[').and_then(|text| text.strip_suffix(']')).expect("a text"));
        let found = match Membership::parse(&text) {
            // That there is nobody at all is for the caller to judge.
            Ok(membership) if membership.members().is_empty() => "bad -5".to_string(),
            Ok(membership) => format!("ok {}", membership.text()),
            Err(error) => format!("bad {}", error.code().0),
        };
        assert_eq!(found, unescape(pair[1]), "{text}");
        if let Some(text) = found.strip_prefix("ok ") {
            assert_eq!(parse(text).text(), text, "what was printed prints the same");
        }
    }
}

/// Errors say where, what, and what was expected instead.
#[test]
fn errors_say_where() {
    use EntryProblem::{DuplicateAddress, GroupForm, Host, Id, TwoGroups, UnknownKey, Weight};
    let table = [
        ("x=1", 1, "x", "1", UnknownKey),
        ("\n\nserver.1=a b:1:2\n", 3, "server.1", "a b:1:2", Host),
        ("server.1=:1:2", 1, "server.1", ":1:2", Host),
        ("server.1=a\\nserver.2=b:1:2", 1, "server.1", "a\nserver.2=b:1:2", Host),
        ("server.=a:1:2", 1, "server.", "a:1:2", Id),
        ("server.1=a:1:2|a:1:3", 1, "server.1", "a:1:2|a:1:3", DuplicateAddress),
        ("server.1=a:1:2|a:3:2", 1, "server.1", "a:1:2|a:3:2", DuplicateAddress),
        ("group.1=", 1, "group.1", "", GroupForm),
        ("group=1", 1, "group", "1", UnknownKey),
        ("group.1=1\ngroup.2=2:1", 2, "group.2", "2:1", TwoGroups(ServerId(1))),
        ("weight.1=-1", 1, "weight.1", "-1", Weight),
    ];
    for (text, line, key, value, problem) in table {
        let error = Membership::parse(text).expect_err(text);
        assert_eq!(error, MembershipError::Entry { line, key: key.into(), value: value.into(), problem });
        let shown = error.to_string();
        assert!(shown.contains(&format!("line {line}, {key}=")) && shown.contains("expected"), "{shown}");
    }
    let heavy = format!("{}group.1=1:2\nweight.1={}", servers([1, 2]), i64::MAX);
    assert_eq!(Membership::parse(&heavy), Err(MembershipError::GroupTooHeavy(1)));
    let stray = format!("{}group.1=1:2", servers([1]));
    assert_eq!(Membership::parse(&stray), Err(MembershipError::NoWeight(ServerId(2))));
    let alone = format!("{}group.1=1", servers([1, 2]));
    assert_eq!(Membership::parse(&alone), Err(MembershipError::NotInGroup(ServerId(2))));
}

/// PARITY `qv.maj`: more than half of the participants; observers and strangers do not count.
#[test]
fn qv_maj() {
    for count in 0..=7_u32 {
        let observers = "server.20=10.0.1.1:1:2:observer\nserver.21=10.0.1.2:1:2:observer\n";
        let text = servers((1..=count).map(i64::from)) + if count > 0 { observers } else { "" };
        let membership = parse(&text);
        assert!(membership.is_majority());
        for mask in 0..1_u32 << count {
            let mut servers = set(mask);
            for _ in 0..2 {
                assert_eq!(
                    membership.has_quorum(&servers),
                    mask.count_ones() * 2 > count,
                    "{mask:b} of {count}"
                );
                servers.extend([20, 21, 22, -1].map(ServerId));
            }
        }
        let weights = [1, 20, 99].map(|id| membership.weight(ServerId(id)));
        assert_eq!(weights, [i64::from(count > 0), 0, 0]);
    }
}

/// PARITY `qv.hier`: every way to put four servers that weigh 0, 1 or 2 into three groups, and every set of them,
/// against a twin that counts; and two quorums always have a server in common.
#[test]
fn qv_hier() {
    let three = |code: usize, at: usize| code / 3_usize.pow(at as u32) % 3;
    for grouping in 0..81 {
        for weighting in 0..81 {
            let mut text = servers(1..=4);
            for group in 0..3 {
                let members: Vec<String> = (0..4)
                    .filter(|&at| three(grouping, at) == group)
                    .map(|at| (at + 1).to_string())
                    .collect();
                if !members.is_empty() {
                    text += &format!("group.{group}={}\n", members.join(":"));
                }
            }
            for at in 0..4 {
                text += &format!("weight.{}={}\n", at + 1, three(weighting, at));
            }
            let membership = parse(&text);
            assert_eq!(membership.weight(ServerId(2)), three(weighting, 1) as i64);
            let twin = |mask: u32| {
                let weight = |group, mask: u32| -> usize {
                    let inside = (0..4).filter(|&at| three(grouping, at) == group && mask >> at & 1 != 0);
                    inside.map(|at| three(weighting, at)).sum()
                };
                let groups = (0..3).filter(|&group| weight(group, 15) > 0).count();
                let won = (0..3).filter(|&group| 2 * weight(group, mask) > weight(group, 15)).count();
                2 * won > groups
            };
            let quorums: Vec<u32> = (0..16).filter(|&mask| membership.has_quorum(&set(mask))).collect();
            assert_eq!(quorums, (0..16).filter(|&mask| twin(mask)).collect::<Vec<u32>>(), "{text}");
            assert!(quorums.iter().all(|a| quorums.iter().all(|b| a & b != 0)), "{text}");
        }
    }
}

/// An observer in a group adds to the weight that a quorum needs more than half of, but cannot give any.
#[test]
fn qv_hier_observer() {
    let text = servers([1, 2]) + "server.3=10.0.0.3:1:2:observer\ngroup.1=1:2:3\nweight.3=2\n";
    let membership = parse(&text);
    assert_eq!(membership.weight(ServerId(3)), 0);
    assert!(!membership.has_quorum(&[1, 2, 3].map(ServerId).into()));
    let light = parse(&text.replace("weight.3=2", "weight.3=1"));
    assert!(light.has_quorum(&[1, 2].map(ServerId).into()));
}

fn ids(membership: &Membership) -> Vec<i64> {
    membership.members().keys().map(|id| id.0).collect()
}

/// PARITY `reconf.incremental`: first some leave, then others join or are replaced.
#[test]
fn reconf_incremental() {
    let three = parse(&servers(1..=3)).with_version(5);
    let change = |joining, leaving| three.reconfigured(9, joining, leaving, None, true);
    assert_eq!(change(None, None), Ok(three.clone().with_version(9)));
    let next =
        change(Some(" server.4=10.0.0.4:1:2;3 ,, server.2 = 10.0.0.2:7:8:observer;9"), Some("1, 77,,"));
    let next = next.expect("fine");
    assert_eq!((next.version(), ids(&next)), (9, vec![2, 3, 4]));
    assert_eq!(next.voters().map(|id| id.0).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(next.member(ServerId(2)).expect("replaced").quorum, [Address::new("10.0.0.2", 7)]);
    // Whoever leaves and joins has joined, and may have the address of who left.
    let again = change(Some("server.1=10.0.0.3:2888:3888;1"), Some("1,3")).expect("fine");
    assert_eq!(ids(&again), [1, 2]);
    assert_eq!(ids(&change(Some("4=10.0.0.4:1:2;3"), None).expect("fine")), [1, 2, 3, 4]);
}

/// What makes no sense, and what ZooKeeper answers to it.
#[test]
fn reconf_incremental_refused() {
    let three = parse(&servers(1..=3));
    let change = |joining, leaving| three.reconfigured(9, Some(joining), Some(leaving), None, true);
    let in_use = |host, port| ReconfigureError::AddressInUse {
        server: ServerId(4),
        other: ServerId(2),
        address: Address::new(host, port),
    };
    let joiner = |joiner: &str, problem| ReconfigureError::Joiner { joiner: joiner.into(), problem };
    let table = [
        ("", "x", ReconfigureError::Leaving("x".into()), ErrorCode::MARSHALLINGERROR),
        ("server.4", "", ReconfigureError::JoinerForm("server.4".into()), ErrorCode::BADARGUMENTS),
        ("a=b=c", "", ReconfigureError::JoinerForm("a=b=c".into()), ErrorCode::BADARGUMENTS),
        ("server.x=h:1:2;3", "", joiner("server.x=h:1:2;3", EntryProblem::Id), ErrorCode::MARSHALLINGERROR),
        ("server.4=h:1;3", "", joiner("server.4=h:1;3", EntryProblem::ServerForm), ErrorCode::BADARGUMENTS),
        ("server.4=h:1:2", "", ReconfigureError::NoClientAddress(ServerId(4)), ErrorCode::BADARGUMENTS),
        ("server.4=10.0.0.2:2888:9;3", "", in_use("10.0.0.2", 2888), ErrorCode::BADARGUMENTS),
        ("server.4=10.0.0.2:9:3888;3", "", in_use("10.0.0.2", 3888), ErrorCode::BADARGUMENTS),
        ("server.4=h:8:9;10.0.0.2:3888", "", in_use("10.0.0.2", 3888), ErrorCode::BADARGUMENTS),
        ("", "1,2", ReconfigureError::TooFewVoters { needed: 2 }, ErrorCode::BADARGUMENTS),
    ];
    for (joining, leaving, error, code) in table {
        assert_eq!(change(joining, leaving), Err(error.clone()), "{joining} {leaving}");
        assert_eq!(error.code(), code, "{error}");
    }
    // Every server may listen to clients everywhere, and on its own host.
    let local = parse("server.1=127.0.0.1:1:2;5\nserver.2=127.0.0.1:3:4;5\nserver.3=localhost:6:7;5");
    let joined =
        local.reconfigured(9, Some("server.4=127.0.0.1:1:2;5,server.5=localhost:6:7;5"), None, None, true);
    assert_eq!(ids(&joined.expect("no clash")), [1, 2, 3, 4, 5]);
    let groups = parse(&(servers(1..=3) + "group.1=1:2:3"));
    assert_eq!(groups.reconfigured(9, None, Some("9"), None, true), Err(ReconfigureError::Hierarchical));
}

/// PARITY `reconf.bulk`: the text is the whole of it, and who joins and leaves is not looked at.
#[test]
fn reconf_bulk() {
    let three = parse(&servers(1..=3));
    let text = servers([5, 6, 7]).replace('\n', ",") + "group.1=5:6:7,version=3";
    for before in [&three, &parse(&text.replace(',', "\n"))] {
        let next =
            before.reconfigured(9, Some("nonsense"), Some("nonsense"), Some(&text), true).expect("fine");
        assert_eq!((next.version(), ids(&next), next.is_majority()), (9, vec![5, 6, 7], false));
    }
    let refused = |text: &str, standalone| {
        let error = three.reconfigured(9, None, None, Some(text), standalone).expect_err(text);
        (error.code().0, error)
    };
    let with_observer = servers([1]) + "server.2=10.0.0.2:1:2:observer";
    assert_eq!(refused(&with_observer, true), (-5, ReconfigureError::LoneVoter));
    assert!(three.reconfigured(9, None, None, Some(&with_observer), false).is_ok());
    assert_eq!(refused("", false), (-5, ReconfigureError::NoVoters));
    assert_eq!(refused("", true), (-8, ReconfigureError::TooFewVoters { needed: 2 }));
    let observer = "server.2=10.0.0.2:1:2:observer";
    assert_eq!(refused(observer, true), (-5, ReconfigureError::Members(MembershipError::NoVoters)));
    assert_eq!(refused("server.1=h:1", true).0, -8);
}

/// PARITY `reconf.minvoters`: two participants, or one where standalone servers are disabled.
#[test]
fn reconf_minvoters() {
    let three = parse(&servers(1..=3));
    for (standalone, needed) in [(true, 2), (false, 1)] {
        for left in 0..=3_usize {
            let leaving: Vec<String> = (left + 1..=3).map(|id| id.to_string()).collect();
            let found = three.reconfigured(9, None, Some(&leaving.join(",")), None, standalone);
            let expected =
                if left < needed { Err(ReconfigureError::TooFewVoters { needed }) } else { Ok(left) };
            assert_eq!(found.map(|next| next.members().len()), expected);
        }
    }
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z][a-z0-9.-]{0,8}", "10\\.0\\.[0-9]\\.[0-9]", Just("2001:db8:0:0:0:0:0:1".to_string())]
}

fn member() -> impl Strategy<Value = Member> {
    let side = proptest::collection::btree_map(host(), (1..1000_u16, 1000..u16::MAX), 1..3);
    let client = proptest::option::of((host(), any::<u16>()));
    (side, client, any::<bool>()).prop_map(|(side, client, votes)| Member {
        quorum: side.iter().map(|(host, &(port, _))| Address::new(host, port)).collect(),
        election: side.iter().map(|(host, &(_, port))| Address::new(host, port)).collect(),
        client: client.map(|(host, port)| Address::new(&host, port)),
        role: if votes { MemberRole::Participant } else { MemberRole::Observer },
    })
}

proptest! {
    /// What is printed is read as the same.
    #[test]
    fn round_trip(
        members in proptest::collection::btree_map(any::<i64>().prop_map(ServerId), member(), 1..20),
        version in 0..=i64::MAX,
        groups: Option<u8>,
    ) {
        let mut text = Membership::majority(version, members).text();
        if let Some(count) = groups {
            let mut groups = BTreeMap::new();
            for (at, id) in parse_ids(&text).into_iter().enumerate() {
                groups.entry(at % (usize::from(count) + 1)).or_insert_with(Vec::new).push(id.clone());
                text += &format!("\nweight.{id}={}", at % 4);
            }
            for (group, ids) in groups {
                text += &format!("\ngroup.{group}={}", ids.join(":"));
            }
        }
        if let Ok(membership) = Membership::parse(&text) {
            prop_assert_eq!(Membership::parse(&membership.text()), Ok(membership));
        } else {
            prop_assert_eq!(Membership::parse(&text), Err(MembershipError::NoVoters));
        }
    }

    /// No text makes it panic, and what it takes it prints as something that means the same.
    #[test]
    fn garbage(lines in proptest::collection::vec("(server|group|weight|x)\\.[0-9x]{1,2}[=: ][a-z0-9:;|.\\[\\]\\\\-]{0,20}", 0..4)) {
        if let Ok(membership) = Membership::parse(&lines.join("\n")) {
            let again = Membership::parse(&membership.text()).map(|again| again.text());
            prop_assert_eq!(again, Ok(membership.text()));
        }
    }
}

fn parse_ids(text: &str) -> Vec<String> {
    let id = |line: &str| Some(line.strip_prefix("server.")?.split_once('=')?.0.to_string());
    text.lines().filter_map(id).collect()
}

/// PARITY `reconf.incremental`: who would have another server's address is refused, against comparing each with all, for
/// everything that two servers that join, one of which may replace another, can have of a few addresses.
#[test]
fn reconf_incremental_addresses_of_others_are_found() {
    let hosts = ["10.0.0.1", "10.0.0.2", "localhost"];
    let three = parse(
        "server.1=10.0.0.1:1:2;3\nserver.2=10.0.0.2:1:2;3\nserver.3=10.0.0.1:1:9;localhost:4\nversion=5",
    );
    let entries: Vec<String> = hosts
        .iter()
        .flat_map(|host| [(1, 2), (2, 1), (9, 4), (5, 6)].map(|(quorum, election)| (host, quorum, election)))
        .flat_map(|(host, quorum, election)| {
            ["3", "10.0.0.2:7"].map(|client| format!("{host}:{quorum}:{election};{client}"))
        })
        .collect();
    let addresses = |member: &Member| -> Vec<Address> {
        member.quorum.iter().chain(&member.client).chain(&member.election).cloned().collect()
    };
    for (leaving, ids) in [("", [1, 4]), ("", [4, 5]), ("3", [5, 2]), ("1", [3, 3])] {
        for (one, two) in entries.iter().flat_map(|one| entries.iter().map(move |two| (one, two))) {
            let joining = format!("server.{}={one},server.{}={two}", ids[0], ids[1]);
            let mut members = three.members().clone();
            members.remove(&ServerId(leaving.parse().unwrap_or(0)));
            let mut clashes = false;
            for (id, entry) in ids.into_iter().zip([one, two]) {
                let joiner: Member = entry.parse().expect("an entry");
                let mut others = members.iter().filter(|(other, _)| other.0 != id);
                clashes |= others.any(|(_, other)| {
                    let theirs = addresses(other);
                    addresses(&joiner).iter().any(|own| !own.is_anywhere() && theirs.contains(own))
                });
                members.insert(ServerId(id), joiner);
            }
            let found = three.reconfigured(9, Some(&joining), Some(leaving), None, true);
            let refused = matches!(found, Err(ReconfigureError::AddressInUse { .. }));
            assert_eq!(refused, clashes, "{joining} {found:?}");
            assert!(refused || found.is_ok_and(|next| *next.members() == members), "{joining}");
        }
    }
}

/// Whoever may send the longest request there is, but may change nothing, is told so in time: comparing each of these
/// with all others would take minutes here.
#[test]
fn reconf_checks_many_servers_are_not_compared_with_each_other() {
    let three = parse(&servers(1..=3));
    let many = 40_000_u32;
    let host = |id: u32| format!("10.{}.{}.{}", 1 + (id >> 16), id >> 8 & 255, id & 255);
    let joining: Vec<String> = (0..many).map(|id| format!("{}={}:1:2;3", 10 + id, host(id))).collect();
    let change = |joining: &str| three.reconfigured(9, Some(joining), None, None, true);
    assert_eq!(change(&joining.join(",")), Err(ReconfigureError::TooLong));
    let addresses: Vec<String> = (0..many).map(|id| format!("{}:1:2", host(id))).collect();
    let one = format!("server.4={};3", addresses.join("|"));
    assert_eq!(change(&one), Err(ReconfigureError::TooLong));
    let twice = format!("server.4={}|{};3", addresses.join("|"), addresses[0]);
    let refused = matches!(
        change(&twice),
        Err(ReconfigureError::Joiner { problem: EntryProblem::DuplicateAddress, .. })
    );
    assert!(refused);
}
