//! Facts about the process and its machine, for the four-letter words `conf` and `envi`.

use std::env;
use std::path::Path;

use rustix::system::{sysinfo, uname};

use crate::settings::Settings;

/// The ZooKeeper release whose behaviour this server has. Clients compare it to know what they may ask for.
const ZOOKEEPER: &str = "3.9.3";

/// What stands where Java would describe its virtual machine.
const NO_JAVA: &str = "n/a (Zabra, Rust)";

/// The version of this program, such as `0.1.0`.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The version in ZooKeeper's form: release, revision, and when it was built.
fn zookeeper_version() -> String {
    let built = option_env!("ZABRA_BUILD_DATE").unwrap_or("an unrecorded date");
    format!("{ZOOKEEPER}-zabra-{}, built on {built}", version())
}

/// Fills in what `conf` and `envi` tell.
pub(crate) fn describe(settings: &mut Settings) {
    let folder = |path: &Path| path.join("version-2").display().to_string();
    let about = &mut settings.core.about;
    about.version = zookeeper_version();
    about.client_port = i32::from(settings.client_addr.port());
    about.secure_client_port = -1;
    about.data_dir = folder(&settings.data_dir);
    about.data_log_dir = folder(&settings.data_log_dir);
    about.listen_backlog = settings.listen_backlog;
    about.environment = environment();
}

fn environment() -> Vec<(String, String)> {
    let system = uname();
    let memory = sysinfo();
    let unit = u64::from(memory.mem_unit.max(1));
    let megabytes = |units: u64| format!("{}MB", units.saturating_mul(unit) >> 20);
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| "<NA>".into());
    let arch = match env::consts::ARCH {
        "x86_64" => "amd64", // as Java calls it
        other => other,
    };
    let here = env::current_dir().map_or_else(|_| "<NA>".into(), |path| path.display().to_string());
    let pairs = [
        ("host.name", system.nodename().to_string_lossy().into_owned()),
        ("java.version", NO_JAVA.into()),
        ("java.vendor", NO_JAVA.into()),
        ("java.home", NO_JAVA.into()),
        ("java.class.path", NO_JAVA.into()),
        ("java.library.path", NO_JAVA.into()),
        ("java.io.tmpdir", env::temp_dir().display().to_string()),
        ("java.compiler", NO_JAVA.into()),
        ("os.name", system.sysname().to_string_lossy().into_owned()),
        ("os.arch", arch.into()),
        ("os.version", system.release().to_string_lossy().into_owned()),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", here),
        // Java tells of its heap; there is none, so this is the machine's memory.
        ("os.memory.free", megabytes(memory.freeram as u64)),
        ("os.memory.max", megabytes(memory.totalram as u64)),
        ("os.memory.total", megabytes(memory.totalram as u64)),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_has_java_s_keys_in_java_s_order() {
        let keys: Vec<String> = environment().into_iter().map(|(key, _)| key).collect();
        let expected = "host.name java.version java.vendor java.home java.class.path java.library.path \
                        java.io.tmpdir java.compiler os.name os.arch os.version user.name user.home user.dir \
                        os.memory.free os.memory.max os.memory.total";
        assert_eq!(keys.join(" "), expected);
        assert!(environment().iter().all(|(_, value)| !value.contains('\n')));
    }

    #[test]
    fn the_version_begins_as_zookeeper_s_does() {
        assert!(zookeeper_version().starts_with("3.9.3-"));
        assert!(zookeeper_version().contains(", built on "));
    }
}
