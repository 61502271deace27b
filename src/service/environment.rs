use std::env;
use std::ffi::OsString;

/// Function that looks up an environment variable. Tests replace it, because they all share the process environment.
pub(crate) type Environment = fn(&str) -> Option<OsString>;

pub(crate) fn process_variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// Returns `true` if `AWS_CA_BUNDLE` is set, but neither `SSL_CERT_FILE` nor `SSL_CERT_DIR` is.
///
/// Unlike other AWS SDKs, the AWS SDK for Rust ignores `AWS_CA_BUNDLE`. It loads certificates with
/// `rustls-native-certs`, which reads the other two variables. See `rustls_provider::NATIVE_ROOTS` in
/// aws-smithy-http-client 1.5, and rustls-native-certs 0.8.
pub(crate) fn has_ignored_ca_bundle(environment: Environment) -> bool {
    let is_set = |name| environment(name).is_some_and(|value| !value.is_empty());
    is_set("AWS_CA_BUNDLE") && !is_set("SSL_CERT_FILE") && !is_set("SSL_CERT_DIR")
}

#[cfg(feature = "aws-config")]
pub(crate) fn warn_of_ignored_ca_bundle(environment: Environment) {
    if has_ignored_ca_bundle(environment) {
        tracing::warn!(
            target: crate::trace::TARGET,
            "AWS_CA_BUNDLE is not read by the AWS SDK for Rust; set SSL_CERT_FILE to the same file"
        );
    }
}

/// Returns the name of the environment variable that sets the proxy for `endpoint`, if there is one. Checks the same
/// variables as the default HTTP client of the SDK.
pub(crate) fn proxy_variable(endpoint: &str, environment: Environment) -> Option<&'static str> {
    let names = if endpoint.starts_with("https:") {
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    } else {
        ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
    };
    let is_set = |name: &&str| environment(name).is_some_and(|value| !value.is_empty());
    names.into_iter().find(is_set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ca_bundle_is_ignored_without_ssl_cert() {
        let bundle = |name: &str| (name == "AWS_CA_BUNDLE").then(|| "/ca.pem".into());
        assert!(has_ignored_ca_bundle(bundle));
        assert!(!has_ignored_ca_bundle(|_| None));
        assert!(!has_ignored_ca_bundle(|_| Some("/ca.pem".into())));
        assert!(!has_ignored_ca_bundle(|_| Some("".into())));
        let file = |name: &str| (name != "SSL_CERT_DIR").then(|| "/ca.pem".into());
        assert!(!has_ignored_ca_bundle(file));
        let empty = |name: &str| Some(if name == "AWS_CA_BUNDLE" { "/ca.pem" } else { "" }.into());
        assert!(has_ignored_ca_bundle(empty));
    }

    #[test]
    fn proxy_variable_matches_scheme() {
        let http = |name: &str| (name == "http_proxy").then(|| "http://proxy".into());
        assert_eq!(proxy_variable("http://127.0.0.1", http), Some("http_proxy"));
        assert_eq!(proxy_variable("https://127.0.0.1", http), None);
        let all = |name: &str| (name == "ALL_PROXY").then(|| "http://proxy".into());
        assert_eq!(proxy_variable("https://127.0.0.1", all), Some("ALL_PROXY"));
    }
}
