//! Who may connect, and what they may do: authentication, ACLs, TLS.

use super::Effect::{Flag, Idle, Refused, Text};
use super::Property::Prefixed;
use super::{Effect, Key, NO_SASL, NO_TLS, key};
use crate::zoo_cfg::value::Kind;
use crate::zoo_cfg::value::any;

const SASL: Effect = Idle(NO_SASL);
const TLS: Effect = Idle("TLS is not in this release of Zabra");

/// Parts of a list with commas between them.
fn parts(list: &str) -> Vec<String> {
    list.split(',').map(|part| part.trim().into()).filter(|part: &String| !part.is_empty()).collect()
}

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("skipACL", Prefixed, Kind::YesNo, "no", Flag(|d, on| d.settings.core.skip_acl = on), "Whether everyone may do everything."),
    key("DigestAuthenticationProvider.enabled", Prefixed, Kind::Flag, "true", Flag(|d, on| d.settings.core.digest_auth_enabled = on), "Whether clients can authenticate by user and password."),
    key("DigestAuthenticationProvider.superDigest", Prefixed, Kind::Text, "none", Text(|d, digest| d.settings.core.super_digest = Some(digest.into())), "`user:base64(sha1(user:password))` of the one who may do everything."),
    key("DigestAuthenticationProvider.digestAlg", Prefixed, Kind::Text, "SHA1", Refused { harmless: "sha1", why: "digests other than SHA1 are not in this release of Zabra, and existing ACLs would match nobody" }, "How passwords are hashed."),
    key("ensembleAuthName", Prefixed, Kind::Text, "none", Text(|d, names| d.settings.core.ensemble_auth_names = parts(names)), "Names by which clients may call this ensemble."),
    key("enforce.auth.enabled", Prefixed, Kind::Flag, "false", Flag(|d, on| d.enforce_auth = on), "Whether clients must authenticate."),
    key("enforce.auth.schemes", Prefixed, Kind::Text, "none", Text(|d, schemes| d.auth_schemes = parts(schemes)), "By one of which schemes."),
    key("sessionRequireClientSASLAuth", Prefixed, Kind::Flag, "false", Refused { harmless: "false", why: NO_SASL }, "Whether clients must authenticate by SASL."),
    key("allowSaslFailedClients", Prefixed, Kind::Flag, "false", SASL, "Whether clients that fail to may stay."),
    key("superUser", Prefixed, Kind::Text, "none", Idle("it names TLS and SASL identities, which are not in this release of Zabra"), "The TLS or SASL identity that may do everything."),
    key("superUser.*", Prefixed, Kind::Text, "none", Idle("it names SASL identities, which are not in this release of Zabra"), "Further ones."),
    key("X509AuthenticationProvider.superUser", Prefixed, Kind::Text, "none", TLS, "The certificate subject that may do everything."),
    key("SASLAuthenticationProvider.superPassword", Prefixed, Kind::Text, "none", SASL, "The SASL super user's password."),
    key("IPAuthenticationProvider.usexforwardedfor", Prefixed, Kind::Flag, "false", Idle("it is about the admin server, which is not in this release of Zabra"), "Whether proxies are believed about addresses."),
    key("authProvider.*", Prefixed, Kind::Text, "none", Idle("Java classes cannot be loaded; world, auth, ip, digest and ensemble are built in"), "Further authentication providers."),
    key("letAnySaslUserDoX", Prefixed, Kind::Text, "none", SASL, "A SASL user who may act as any."),
    key("sasl.serverconfig", Prefixed, Kind::Text, "Server", SASL, "Section of the JAAS file."),
    key("requireKerberosConfig", Prefixed, Kind::Flag, "false", SASL, "Whether Kerberos must be set up."),
    key("kerberos.*", Prefixed, Kind::Text, "see ZooKeeper", SASL, "How Kerberos names are read."),
    key("security.auth_to_local", Prefixed, Kind::Text, "DEFAULT", SASL, "How Kerberos names become users."),
    key("kinit", Prefixed, Kind::Text, "/usr/bin/kinit", SASL, "The program that renews tickets."),
    key("client.portUnification", Prefixed, Kind::Flag, "false", Refused { harmless: "false", why: NO_TLS }, "Whether `clientPort` serves TLS as well."),
    key("client.certReload", Prefixed, Kind::Flag, "false", TLS, "Whether changed certificates are loaded."),
    key("fips-mode", Prefixed, Kind::Flag, "true", TLS, "Whether only the platform's own trust managers are used."),
    key("ssl.handshakeDetectionTimeoutMillis", Prefixed, Kind::Num(any(" of milliseconds")), "5000", TLS, "How long to wait for the first byte."),
    key("ssl.*", Prefixed, Kind::Text, "see ZooKeeper", TLS, "Keys, certificates, protocols and ciphers of TLS."),
];
