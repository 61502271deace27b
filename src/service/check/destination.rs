use std::sync::{Arc, OnceLock};

use aws_sdk_kinesis::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use tower::BoxError;

use crate::service::redact;

#[derive(Debug, Clone, Default)]
pub(super) struct Destination(Arc<OnceLock<String>>);

impl Destination {
    /// Returns the endpoint, such as `https://kinesis.eu-west-1.amazonaws.com`, or `None` if no request was sent.
    pub(super) fn get(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

impl Intercept for Destination {
    fn name(&self) -> &'static str {
        "kinesis_sink::Destination"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let _ = self.0.set(endpoint_of(context.request().uri()));
        Ok(())
    }
}

/// Returns the scheme, host and port of a URI, without the user name and password.
fn endpoint_of(uri: &str) -> String {
    let (scheme, rest) = uri.split_once("://").unwrap_or(("", uri));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let separator = if scheme.is_empty() { "" } else { "://" };
    redact::code(format!("{scheme}{separator}{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_omits_path_and_password() {
        for (uri, endpoint) in [
            ("https://kinesis.eu-west-1.amazonaws.com/", "https://kinesis.eu-west-1.amazonaws.com"),
            ("http://user:p@ss@127.0.0.1:4567/path?query@x", "http://127.0.0.1:4567"),
            ("http://[::1]:4567", "http://[::1]:4567"),
            ("no-scheme", "no-scheme"),
        ] {
            assert_eq!(endpoint_of(uri), endpoint);
        }
    }
}
