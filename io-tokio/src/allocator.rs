//! The C library's allocator, told what this program is like.
//!
//! A server frees what it allocated a thousand requests ago: writes wait for the disk together, and together they are
//! done. glibc keeps seven freed pieces of each size at hand in a thread and sends all others through its arenas; with
//! a few hundred at hand a write takes about a sixth less processor time, and memory stays what it was, but for some
//! megabytes. An allocator of another kind gains as much, and costs a tenth of the memory of a tree.
//!
//! glibc looks at its tunables once, before a program begins, and takes them from the environment alone: so a process
//! that was started without replaces itself by one with them, keeping its number, its arguments and its files. It does
//! so once, whatever becomes of the tunables on the way: a process with privileges of its own gets none.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Where glibc looks.
const TUNABLES: &str = "GLIBC_TUNABLES";
/// Freed pieces of one size that a thread keeps at hand, by name and by how many there should be.
const AT_HAND: (&str, u32) = ("glibc.malloc.tcache_count", 256);
/// In the environment of a process that has begun again.
const SETTLED: &str = "ZABRA_ALLOCATOR_SETTLED";

/// Begins the process again with the tunables that suit it, unless they are there: whatever the environment says about
/// this one stands. Returns where nothing is to be done or can be done. Call it first: a process that tried in vain has
/// SIGPIPE where [`CommandExt::exec`] left it, at its default, until somebody handles it.
pub fn settle() {
    if !cfg!(target_env = "gnu") {
        return;
    }
    let present = env::var_os(TUNABLES);
    let Some(tunables) = missing(present.as_deref(), env::var_os(SETTLED).is_some()) else { return };
    let Ok(program) = env::current_exe() else { return };
    let mut arguments = env::args_os();
    let mut command = Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // It returns only where it failed, as on a program file that was replaced meanwhile.
    let _ = command.args(arguments).env(TUNABLES, tunables).env(SETTLED, "1").exec();
}

/// The tunables with what is missing; `None` where nothing is, or nothing more can be done about it.
fn missing(present: Option<&OsStr>, settled: bool) -> Option<OsString> {
    let (name, count) = AT_HAND;
    let mut tunables = present.unwrap_or_default().to_owned();
    if settled || tunables.to_string_lossy().contains(name) {
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
        let missing = |present: Option<&str>| missing(present.map(OsStr::new), false);
        let all = OsString::from("glibc.malloc.tcache_count=256");
        assert_eq!(missing(None), Some(all.clone()));
        assert_eq!(missing(Some("")), Some(all));
        assert_eq!(missing(Some("glibc.malloc.tcache_count=7")), None);
        let other = "glibc.malloc.arena_max=2";
        assert_eq!(missing(Some(other)), Some(format!("{other}:glibc.malloc.tcache_count=256").into()));
    }

    /// Where the system takes the tunables out again, nothing begins again for ever.
    #[test]
    fn a_process_begins_again_once() {
        assert_eq!(missing(None, true), None);
        assert_eq!(missing(Some(OsStr::new("glibc.malloc.arena_max=2")), true), None);
    }
}
