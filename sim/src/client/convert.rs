//! Between the simulator's own words for requests and answers and those of the client machine.

use bytes::Bytes;
use zabra_core::client::{AddWatchMode, Call, Create, CreateMode, Outcome as Told, Read, WatcherId, Write};

use super::codec::given;
use crate::model::acl;
use crate::op::{Answer, Mode, Op, Outcome};

/// What to ask of the machine, on behalf of `watcher` where a watch is left; nothing, for what it does by itself.
pub fn call(op: &Op, watcher: WatcherId) -> Option<Call> {
    let watched = |watch: bool| watch.then_some(watcher);
    Some(match op {
        Op::AddAuth { scheme, auth } => {
            Call::AddAuth { scheme: (*scheme).into(), auth: Bytes::from_static(auth.as_bytes()) }
        }
        Op::AddWatch { path, recursive } => {
            let mode = if *recursive { AddWatchMode::PersistentRecursive } else { AddWatchMode::Persistent };
            Call::AddWatch { path: path.clone(), mode, watcher }
        }
        Op::Exists { path, watch } => Call::Exists { path: path.clone(), watcher: watched(*watch) },
        Op::GetAcl { path } => Call::GetAcl { path: path.clone() },
        Op::GetAllChildrenNumber { path } => Call::GetAllChildrenNumber { path: path.clone() },
        Op::GetChildren { path, watch } => Call::GetChildren { path: path.clone(), watcher: watched(*watch) },
        Op::GetData { path, watch } => Call::GetData { path: path.clone(), watcher: watched(*watch) },
        Op::GetEphemerals { prefix } => Call::GetEphemerals { prefix: prefix.clone() },
        Op::Multi(ops) => Call::Multi(ops.iter().map(write).collect::<Option<Vec<Write>>>()?),
        Op::MultiRead(ops) => Call::MultiRead(ops.iter().map(read).collect::<Option<Vec<Read>>>()?),
        Op::Reconfig { joining, leaving, members, version } => Call::Reconfig {
            joining: given(joining).map(str::to_owned),
            leaving: given(leaving).map(str::to_owned),
            new_members: given(members).map(str::to_owned),
            config_id: *version,
        },
        Op::RemoveWatches { path, kind } => {
            Call::RemoveWatches { path: path.clone(), kind: *kind, watcher: None, local: false }
        }
        Op::SetAcl { path, acl, version } => {
            Call::SetAcl { path: path.clone(), acl: acl.clone(), version: *version }
        }
        Op::Sync { path } => Call::Sync { path: path.clone() },
        Op::WhoAmI => Call::WhoAmI,
        Op::Create { .. } | Op::Delete { .. } | Op::SetData { .. } => match write(op)? {
            Write::Create(create) => Call::Create(create),
            Write::Delete { path, version } => Call::Delete { path, version },
            Write::SetData { path, data, version } => Call::SetData { path, data, version },
            Write::Check { .. } => return None,
        },
        Op::Check { .. } | Op::CloseSession | Op::Ping | Op::SetWatches { .. } => return None,
    })
}

fn write(op: &Op) -> Option<Write> {
    Some(match op {
        Op::Check { path, version } => Write::Check { path: path.clone(), version: *version },
        Op::Create { path, data, mode, acl, with_stat } => Write::Create(Create {
            path: path.clone(),
            data: data.as_deref().map(Bytes::copy_from_slice),
            acl: acl.clone(),
            mode: match *mode {
                Mode::Container => CreateMode::Container,
                Mode::Ephemeral => CreateMode::Ephemeral,
                Mode::EphemeralSequential => CreateMode::EphemeralSequential,
                Mode::Persistent => CreateMode::Persistent,
                Mode::PersistentSequential => CreateMode::PersistentSequential,
                Mode::Ttl(ttl) => CreateMode::Ttl(ttl),
                Mode::TtlSequential(ttl) => CreateMode::TtlSequential(ttl),
            },
            with_stat: *with_stat,
        }),
        Op::Delete { path, version } => Write::Delete { path: path.clone(), version: *version },
        Op::SetData { path, data, version } => {
            let data = data.as_deref().map(Bytes::copy_from_slice);
            Write::SetData { path: path.clone(), data, version: *version }
        }
        _ => return None,
    })
}

fn read(op: &Op) -> Option<Read> {
    match op {
        Op::GetChildren { path, .. } => Some(Read::Children { path: path.clone() }),
        Op::GetData { path, .. } => Some(Read::Data { path: path.clone() }),
        _ => None,
    }
}

/// What a call asks for, and for whom it leaves a watch; nothing, for what the reference does not know.
pub fn op(call: &Call) -> Option<(Op, Option<WatcherId>)> {
    let mut of = None;
    let mut watch = |watcher: Option<WatcherId>| {
        of = watcher;
        watcher.is_some()
    };
    let op = match call {
        Call::AddAuth { scheme, auth } => {
            let (known, _) =
                acl::USERS.iter().find(|(known, _)| scheme == "digest" && known.as_bytes() == auth)?;
            Op::AddAuth { scheme: "digest", auth: known }
        }
        Call::AddWatch { path, mode, watcher } => {
            watch(Some(*watcher));
            Op::AddWatch { path: path.clone(), recursive: *mode == AddWatchMode::PersistentRecursive }
        }
        Call::Create(create) => created(create),
        Call::Delete { path, version } => Op::Delete { path: path.clone(), version: *version },
        Call::Exists { path, watcher } => Op::Exists { path: path.clone(), watch: watch(*watcher) },
        Call::GetAcl { path } => Op::GetAcl { path: path.clone() },
        Call::GetAllChildrenNumber { path } => Op::GetAllChildrenNumber { path: path.clone() },
        Call::GetChildren { path, watcher } => Op::GetChildren { path: path.clone(), watch: watch(*watcher) },
        Call::GetData { path, watcher } => Op::GetData { path: path.clone(), watch: watch(*watcher) },
        Call::GetEphemerals { prefix } => Op::GetEphemerals { prefix: prefix.clone() },
        Call::Multi(ops) => Op::Multi(ops.iter().map(written).collect()),
        Call::MultiRead(ops) => Op::MultiRead(ops.iter().map(part).collect()),
        Call::RemoveWatches { path, kind, watcher: None, local: false } => {
            Op::RemoveWatches { path: path.clone(), kind: *kind }
        }
        Call::SetAcl { path, acl, version } => {
            Op::SetAcl { path: path.clone(), acl: acl.clone(), version: *version }
        }
        Call::SetData { path, data, version } => {
            Op::SetData { path: path.clone(), data: bytes(data), version: *version }
        }
        Call::Sync { path } => Op::Sync { path: path.clone() },
        Call::WhoAmI => Op::WhoAmI,
        Call::GetConfig { .. } | Call::Reconfig { .. } | Call::RemoveWatches { .. } => return None,
    };
    Some((op, of))
}

fn bytes(data: &Option<Bytes>) -> Option<Vec<u8>> {
    data.as_ref().map(|data| data.to_vec())
}

fn created(create: &Create) -> Op {
    let Create { path, data, acl, mode, with_stat } = create;
    Op::Create {
        path: path.clone(),
        data: bytes(data),
        acl: acl.clone(),
        mode: match *mode {
            CreateMode::Container => Mode::Container,
            CreateMode::Ephemeral => Mode::Ephemeral,
            CreateMode::EphemeralSequential => Mode::EphemeralSequential,
            CreateMode::Persistent => Mode::Persistent,
            CreateMode::PersistentSequential => Mode::PersistentSequential,
            CreateMode::Ttl(ttl) => Mode::Ttl(ttl),
            CreateMode::TtlSequential(ttl) => Mode::TtlSequential(ttl),
        },
        with_stat: *with_stat,
    }
}

fn written(write: &Write) -> Op {
    match write {
        Write::Check { path, version } => Op::Check { path: path.clone(), version: *version },
        Write::Create(create) => created(create),
        Write::Delete { path, version } => Op::Delete { path: path.clone(), version: *version },
        Write::SetData { path, data, version } => {
            Op::SetData { path: path.clone(), data: bytes(data), version: *version }
        }
    }
}

fn part(read: &Read) -> Op {
    match read {
        Read::Children { path } => Op::GetChildren { path: path.clone(), watch: false },
        Read::Data { path } => Op::GetData { path: path.clone(), watch: false },
    }
}

/// What the machine told, in the simulator's words.
pub fn outcome(told: &Told) -> Outcome {
    match told {
        Told::Acl { acl, stat } => Outcome::Acl(acl.entries().to_vec(), *stat),
        Told::Children { names, stat: Some(stat) } => Outcome::Children(sorted(names), *stat),
        Told::Children { names, stat: None } | Told::Paths(names) => Outcome::Names(sorted(names)),
        Told::Count(count) => Outcome::Count(*count),
        Told::Created { path, stat } => Outcome::Created(path.clone(), *stat),
        Told::Data { data, stat } => Outcome::Data(data.as_ref().map(|data| data.to_vec()), *stat),
        Told::Done => Outcome::Done,
        Told::Identities(identities) => Outcome::Identities(identities.clone()),
        Told::Multi(results) => {
            let answer = |result: &Result<Told, _>| -> Answer {
                match result {
                    Ok(told) => Ok(outcome(told)),
                    Err(code) => Err(*code),
                }
            };
            Outcome::Multi(results.iter().map(answer).collect())
        }
        Told::Path(path) => Outcome::Path(path.clone()),
        Told::Stat(stat) => Outcome::Stat(*stat),
    }
}

fn sorted(names: &[String]) -> Vec<String> {
    let mut names = names.to_vec();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::WorkloadProfile;
    use crate::seed::Seed;
    use crate::workload::{Weights, Workload};

    /// Everything that the workload asks for goes to the machine and back unchanged.
    #[test]
    fn there_and_back() {
        let weights = Weights { acl: 10, fleeting: 10, watch: 10, rare: 10, ..Weights::default() };
        let profile = WorkloadProfile { weights, ..crate::options::Options::calm().workload };
        let mut workload = Workload::new(Seed(1).stream("workload", 0), profile, 0);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..5_000 {
            let op = workload.next_op();
            let unknown = matches!(op, Op::AddAuth { scheme: "nobody", .. });
            seen.insert(op.code().0);
            let request = call(&op, WatcherId(7)).expect("a client can ask for it");
            if !unknown {
                assert_eq!(super::op(&request).map(|(op, _)| op), Some(op));
            }
        }
        assert_eq!(seen.len(), 20, "{seen:?}");
    }
}
