//! Between the simulator's own words for requests and answers and those of the client machine.

use bytes::Bytes;
use zabra_core::client::{Call, Create, CreateMode, Outcome as Told, WatcherId, Write};
use zabra_core::types::AclList;

use crate::op::{Answer, Mode, Op, Outcome};

/// What to ask of the machine, on behalf of `watcher` where a watch is left; nothing, for what it does by itself.
pub fn call(op: &Op, watcher: WatcherId) -> Option<Call> {
    let watched = |watch: bool| watch.then_some(watcher);
    Some(match op {
        Op::Create { path, data, mode, with_stat } => Call::Create(create(path, data, *mode, *with_stat)),
        Op::Delete { path, version } => Call::Delete { path: path.clone(), version: *version },
        Op::Exists { path, watch } => Call::Exists { path: path.clone(), watcher: watched(*watch) },
        Op::GetChildren { path, watch } => Call::GetChildren { path: path.clone(), watcher: watched(*watch) },
        Op::GetData { path, watch } => Call::GetData { path: path.clone(), watcher: watched(*watch) },
        Op::Multi(ops) => Call::Multi(ops.iter().map(write).collect::<Option<Vec<Write>>>()?),
        Op::SetData { path, data, version } => {
            let data = Some(Bytes::copy_from_slice(data));
            Call::SetData { path: path.clone(), data, version: *version }
        }
        Op::Sync { path } => Call::Sync { path: path.clone() },
        Op::Check { .. } | Op::CloseSession | Op::Ping | Op::SetWatches { .. } => return None,
    })
}

fn create(path: &str, data: &[u8], mode: Mode, with_stat: bool) -> Create {
    let mode = match mode {
        Mode::Ephemeral => CreateMode::Ephemeral,
        Mode::EphemeralSequential => CreateMode::EphemeralSequential,
        Mode::Persistent => CreateMode::Persistent,
        Mode::PersistentSequential => CreateMode::PersistentSequential,
    };
    let data = Some(Bytes::copy_from_slice(data));
    Create { path: path.to_owned(), data, acl: AclList::OpenUnsafe, mode, with_stat }
}

fn write(op: &Op) -> Option<Write> {
    Some(match op {
        Op::Check { path, version } => Write::Check { path: path.clone(), version: *version },
        Op::Create { path, data, mode, with_stat } => Write::Create(create(path, data, *mode, *with_stat)),
        Op::Delete { path, version } => Write::Delete { path: path.clone(), version: *version },
        Op::SetData { path, data, version } => {
            let data = Some(Bytes::copy_from_slice(data));
            Write::SetData { path: path.clone(), data, version: *version }
        }
        Op::CloseSession
        | Op::Exists { .. }
        | Op::GetChildren { .. }
        | Op::GetData { .. }
        | Op::Multi(_)
        | Op::Ping
        | Op::SetWatches { .. }
        | Op::Sync { .. } => return None,
    })
}

/// What the machine told, in the simulator's words; nothing, for what it never asks for.
pub fn outcome(told: &Told) -> Option<Outcome> {
    Some(match told {
        Told::Children { names, stat } => {
            let mut names = names.clone();
            names.sort();
            Outcome::Children(names, (*stat)?)
        }
        Told::Created { path, stat } => Outcome::Created(path.clone(), *stat),
        Told::Data { data, stat } => Outcome::Data(data.as_ref().map(|data| data.to_vec()), *stat),
        Told::Done => Outcome::Done,
        Told::Multi(results) => {
            let answer = |result: &Result<Told, _>| match result {
                Ok(told) => outcome(told).map(Answer::Ok),
                Err(code) => Some(Answer::Err(*code)),
            };
            Outcome::Multi(results.iter().map(answer).collect::<Option<Vec<Answer>>>()?)
        }
        Told::Path(path) => Outcome::Path(path.clone()),
        Told::Stat(stat) => Outcome::Stat(*stat),
        Told::Acl { .. } | Told::Count(_) | Told::Identities(_) | Told::Paths(_) => return None,
    })
}
