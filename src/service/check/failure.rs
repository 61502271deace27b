use std::error::Error;
use std::fmt;

use tower::BoxError;

use crate::service::environment::{Environment, has_ignored_ca_bundle, proxy_variable};
use crate::stream::StreamId;

/// Error of a stream check. The message names the problem and the fix. It contains no credentials, and at most 200
/// characters that were received from the network.
#[derive(Debug)]
pub(crate) struct CheckFailure {
    #[cfg_attr(not(test), expect(dead_code, reason = "used by tests and by Debug"))]
    kind: CheckFailureKind,
    message: String,
    source: Option<BoxError>,
}

impl CheckFailure {
    pub(super) fn new(kind: CheckFailureKind, message: String, source: Option<BoxError>) -> Self {
        Self { kind, message, source }
    }

    #[cfg(test)]
    pub(super) fn kind(&self) -> CheckFailureKind {
        self.kind
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CheckFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CheckFailureKind {
    NoStream,
    Creating,
    Deleting,
    /// The region in the ARN differs from the region of the client.
    Region,
    NotEnabled,
    KmsKey,
    Dns,
    ConnectionRefused,
    ConnectTimeout,
    /// Any other connection failure.
    Connection,
    Timeout,
    Certificate,
    /// Any other TLS handshake failure.
    Tls,
    NotHttp,
    ProxyUnreachable,
    ProxyRejected,
    /// A proxy or firewall rejected the request.
    Blocked,
    NotKinesis,
    /// No provider has credentials, or the request was not signed.
    NoCredentials,
    CredentialsNotLoaded,
    CredentialsExpired,
    UnknownAccessKey,
    Signature,
    Clock,
    Configuration,
    Panicked,
    Other,
}

pub(super) struct FailureContext<'a> {
    pub(super) stream: &'a StreamId,
    pub(super) region: Option<&'a str>,
    pub(super) endpoint: Option<&'a str>,
    pub(super) detail: Option<&'a str>,
    pub(super) environment: Environment,
}

const ENDPOINT_URL: &str = "the endpoint URL (AWS_ENDPOINT_URL_KINESIS, AWS_ENDPOINT_URL)";

impl FailureContext<'_> {
    fn endpoint(&self) -> &str {
        self.endpoint.unwrap_or("the endpoint")
    }

    fn host(&self) -> &str {
        let host = self.endpoint().split_once("://").map_or(self.endpoint(), |(_, host)| host);
        // Removes the port. The end of an IPv6 address can look like a port.
        match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        }
    }

    fn location(&self) -> String {
        let region = self.region.map(|region| format!(" in region {region}"));
        let endpoint = self.endpoint.map(|endpoint| format!(" at {endpoint}"));
        region.unwrap_or_default() + &endpoint.unwrap_or_default()
    }

    fn cause(&self) -> String {
        self.detail.map(|detail| format!(" ({detail})")).unwrap_or_default()
    }

    fn proxy(&self) -> String {
        let endpoint = self.endpoint.unwrap_or_default();
        let variable = proxy_variable(endpoint, self.environment);
        variable.map(|name| format!(" and the proxy in {name}")).unwrap_or_default()
    }

    fn trust_store(&self) -> &'static str {
        if has_ignored_ca_bundle(self.environment) {
            "set SSL_CERT_FILE to the file in AWS_CA_BUNDLE, which the AWS SDK for Rust does not read, \
             or configure a trust store for the client"
        } else {
            "set SSL_CERT_FILE to a PEM file with its CA, install ca-certificates if the system has none, \
             or configure a trust store for the client"
        }
    }
}

impl CheckFailureKind {
    pub(super) fn message(self, context: &FailureContext<'_>) -> String {
        let stream = context.stream;
        let endpoint = context.endpoint();
        let cause = context.cause();
        match self {
            Self::NoStream => format!(
                "stream {stream} does not exist{}: check its name, the region and the account of the \
                 credentials, or create it",
                context.location()
            ),
            Self::Creating => {
                format!("stream {stream} is being created: wait until its status is ACTIVE")
            }
            Self::Deleting => {
                format!("stream {stream} is being deleted: use another stream, or create it again")
            }
            Self::Region => context.detail.unwrap_or_default().to_owned(),
            Self::NotEnabled => format!(
                "the account cannot use Kinesis{}{cause}: enable the region for the account, and complete \
                 the registration of the account",
                context.location()
            ),
            Self::KmsKey => format!(
                "the KMS key of stream {stream} cannot be used{cause}: enable the key, and grant \
                 kms:GenerateDataKey"
            ),
            Self::Dns => format!(
                "host {} cannot be resolved: check the region, {ENDPOINT_URL}, and the DNS of this \
                 machine{}",
                context.host(),
                context.proxy()
            ),
            Self::ConnectionRefused => format!(
                "{endpoint} refused the connection: start the server, or check {ENDPOINT_URL}{}",
                context.proxy()
            ),
            Self::ConnectTimeout => format!(
                "no connection to {endpoint}{cause}: check the network, security groups and firewalls, and \
                 {ENDPOINT_URL}{}",
                context.proxy()
            ),
            Self::Connection => format!(
                "the connection to {endpoint} failed{cause}: check the network, and {ENDPOINT_URL}{}",
                context.proxy()
            ),
            Self::Timeout => format!(
                "no response from {endpoint}{cause}: check the network, security groups and \
                 firewalls, and {ENDPOINT_URL}{}",
                context.proxy()
            ),
            Self::Certificate => certificate(context),
            Self::Tls => format!(
                "the TLS handshake with {endpoint} failed{cause}: check that the server supports TLS 1.2 or \
                 1.3, or use http:// in {ENDPOINT_URL}"
            ),
            Self::NotHttp => format!(
                "{endpoint} does not respond with HTTP: check {ENDPOINT_URL}, and use https:// if the server \
                 requires TLS"
            ),
            Self::ProxyUnreachable => format!(
                "the proxy for {endpoint} cannot be reached{cause}: check the proxy in {}, or add the host \
                 to NO_PROXY",
                proxy_variable(endpoint, context.environment)
                    .unwrap_or("the client's configuration")
            ),
            Self::ProxyRejected => format!(
                "a proxy in front of {endpoint} rejected the request{cause}: configure the proxy with \
                 credentials, or add the host to NO_PROXY"
            ),
            Self::Blocked => format!(
                "a proxy or firewall in front of {endpoint} rejected the request{cause}: allow the host \
                 there, or check {ENDPOINT_URL}"
            ),
            Self::NotKinesis => {
                format!("{endpoint} does not respond like Kinesis{cause}: check {ENDPOINT_URL}")
            }
            Self::NoCredentials => format!(
                "no credentials found for stream {stream}{cause}: set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run with a role"
            ),
            Self::CredentialsNotLoaded => format!(
                "the credentials cannot be loaded{cause}: check the profile, its SSO session, or the role \
                 and the metadata service"
            ),
            Self::CredentialsExpired => format!(
                "the credentials have expired{cause}: renew them, for example with `aws sso login`, or unset \
                 AWS_SESSION_TOKEN"
            ),
            Self::UnknownAccessKey => format!(
                "unknown access key{}{cause}: check the access key, the session token of a temporary \
                 one, and that the region is enabled for the account",
                context.location()
            ),
            Self::Signature => format!(
                "{endpoint} rejects the signature of the request{cause}: check the secret access key, that \
                 the endpoint is in the region, and that no proxy changes the headers"
            ),
            Self::Clock => format!(
                "{endpoint} rejects the time of the request{cause}: synchronize the clock of this machine"
            ),
            Self::Configuration => format!(
                "the request cannot be built{cause}: check the client's region, {ENDPOINT_URL} and the HTTP \
                 client"
            ),
            Self::Panicked => format!(
                "the check of stream {stream} panicked: see the message of the panic, and check {ENDPOINT_URL}"
            ),
            Self::Other => format!(
                "stream {stream} cannot be described{}{cause}: see the sources of this error",
                context.location()
            ),
        }
    }
}

fn certificate(context: &FailureContext<'_>) -> String {
    let endpoint = context.endpoint();
    let cause = context.cause();
    let has = |text| cause.contains(text);
    if has("not valid for name") || has("NotValidForName") {
        return format!(
            "the certificate of {endpoint} is for another host{cause}: check {ENDPOINT_URL}{}",
            context.proxy()
        );
    }
    if ["expired", "Expired", "not valid yet", "NotValidYet"].into_iter().any(has) {
        return format!(
            "the certificate of {endpoint} is not valid now{cause}: renew it, or synchronize the clock \
             of this machine"
        );
    }
    format!("the certificate of {endpoint} is not trusted{cause}: {}", context.trust_store())
}
