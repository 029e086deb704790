//! The C library's allocator, told what this program is like.
//!
//! A server frees what it allocated a thousand requests ago: writes wait for the disk together, and together they are
//! done. glibc keeps seven freed pieces of each size at hand in a thread and sends all others through its arenas; with
//! as many at hand as there are writes under way, a write takes about a sixth less processor time, and memory stays
//! what it was. An allocator of another kind gains as much, and costs a tenth of the memory of a tree.
//!
//! glibc looks at its tunables once, before a program begins, and takes them from the environment alone: so a process
//! that was started without replaces itself by one with them, keeping its number, its arguments and its files.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where glibc looks.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// Freed pieces of one size that a thread keeps at hand, by name and by how many there should be.
const AT_HAND: (&str, u32) = ("glibc.malloc.tcache_count", 1024);

/// Begins the process again with the tunables that suit it, unless they are there: whatever the environment says about
/// this one stands. Returns where nothing is to be done or can be done; a server works without.
pub fn settle() {
    if !cfg!(target_env = "gnu") {
        return;
    }
    let Some(tunables) = completed(env::var_os(TUNABLES).as_deref()) else { return };
    let Ok(program) = env::current_exe() else { return };
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // It returns only where it failed, as on a program file that was replaced meanwhile.
    let _ = command.args(arguments).env(TUNABLES, tunables).exec();
}

/// The tunables with what is missing; `None` where nothing is.
fn completed(present: Option<&OsStr>) -> Option<OsString> {
    let (name, count) = AT_HAND;
    let mut tunables = present.unwrap_or_default().to_owned();
    if tunables.to_string_lossy().contains(name) {
        return None;
    }
    if !tunables.is_empty() {
        tunables.push(":");
    }
    tunables.push(format!("{name}={count}"));
    Some(tunables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_what_is_missing_is_added() {
        let completed = |present: Option<&str>| completed(present.map(OsStr::new));
        let all = OsString::from("glibc.malloc.tcache_count=1024");
        assert_eq!(completed(None), Some(all.clone()));
        assert_eq!(completed(Some("")), Some(all.clone()));
        assert_eq!(completed(Some("glibc.malloc.tcache_count=7")), None);
        let other = "glibc.malloc.arena_max=2";
        assert_eq!(completed(Some(other)), Some(format!("{other}:glibc.malloc.tcache_count=1024").into()));
        // What was completed once is complete: no process begins again for ever.
        assert_eq!(super::completed(Some(&all)), None);
    }
}
