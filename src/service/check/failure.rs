use std::error::Error;
use std::fmt;

use tower::BoxError;

use crate::service::environment::{Environment, has_ignored_ca_bundle, proxy_variable};
use crate::stream::StreamId;

/// Why a stream cannot be used, as one sentence that ends with the fix.
///
/// The sentence names the stream, the region and the endpoint where they are known. It quotes no credentials, and of
/// what comes from the network at most 200 characters in one line. The error below it is the
/// [`source`](Error::source).
#[derive(Debug)]
pub(crate) struct CheckFailure {
    #[cfg_attr(not(test), expect(dead_code, reason = "read by tests, and shown by Debug"))]
    kind: CheckFailureKind,
    sentence: String,
    source: Option<BoxError>,
}

impl CheckFailure {
    pub(super) fn new(kind: CheckFailureKind, sentence: String, source: Option<BoxError>) -> Self {
        Self { kind, sentence, source }
    }

    /// What kind of problem it is.
    #[cfg(test)]
    pub(super) fn kind(&self) -> CheckFailureKind {
        self.kind
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Error for CheckFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The problems that a check tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CheckFailureKind {
    /// The stream does not exist.
    NoStream,
    /// The stream is being created.
    Creating,
    /// The stream is being deleted.
    Deleting,
    /// The stream's ARN names another region than the client.
    Region,
    /// The account, or its use of the region, is not enabled.
    NotEnabled,
    /// The KMS key of the stream cannot be used.
    Key,
    /// The endpoint's host name cannot be resolved.
    Dns,
    /// The connection was refused.
    Refused,
    /// No connection came about in time.
    NoConnection,
    /// The connection failed in another way.
    Unreachable,
    /// No answer came in time.
    Timeout,
    /// The endpoint's certificate is not valid.
    Certificate,
    /// The TLS handshake failed in another way.
    Tls,
    /// The endpoint does not speak HTTP.
    NotHttp,
    /// The proxy cannot be reached.
    NoProxy,
    /// A proxy refuses the connection.
    Proxy,
    /// Something on the way forbids the request.
    Blocked,
    /// The endpoint is not Kinesis.
    NotKinesis,
    /// No provider has credentials, or the request was not signed.
    NoCredentials,
    /// The credentials provider failed.
    CredentialsNotLoaded,
    /// The credentials have expired.
    CredentialsExpired,
    /// The access key or the session token is not known.
    UnknownAccessKey,
    /// The signature does not match.
    Signature,
    /// The clock is wrong.
    Clock,
    /// The client's configuration is incomplete.
    Configuration,
    /// The client or the source panicked.
    Panicked,
    /// Anything else.
    Other,
}

/// What a sentence is made of.
pub(super) struct Facts<'a> {
    pub(super) stream: &'a StreamId,
    pub(super) region: Option<&'a str>,
    pub(super) endpoint: Option<&'a str>,
    pub(super) detail: Option<&'a str>,
    pub(super) environment: Environment,
}

/// How to name the endpoint in a fix.
const ENDPOINT_URL: &str = "the endpoint URL (AWS_ENDPOINT_URL_KINESIS, AWS_ENDPOINT_URL)";

impl Facts<'_> {
    fn endpoint(&self) -> &str {
        self.endpoint.unwrap_or("the endpoint")
    }

    fn host(&self) -> &str {
        let host = self.endpoint().split_once("://").map_or(self.endpoint(), |(_, host)| host);
        // Without the port, which an IPv6 address may look like.
        match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        }
    }

    /// Where the stream was looked for.
    fn place(&self) -> String {
        let region = self.region.map(|region| format!(" in region {region}"));
        let endpoint = self.endpoint.map(|endpoint| format!(" at {endpoint}"));
        region.unwrap_or_default() + &endpoint.unwrap_or_default()
    }

    /// The cause in parentheses, after a blank.
    fn cause(&self) -> String {
        self.detail.map(|detail| format!(" ({detail})")).unwrap_or_default()
    }

    /// The proxy of the environment, as another thing to check.
    fn proxy(&self) -> String {
        let endpoint = self.endpoint.unwrap_or_default();
        let variable = proxy_variable(endpoint, self.environment);
        variable.map(|name| format!(" and the proxy in {name}")).unwrap_or_default()
    }

    fn trust_store(&self) -> &'static str {
        if has_ignored_ca_bundle(self.environment) {
            "set SSL_CERT_FILE to the file in AWS_CA_BUNDLE, which the AWS SDK for Rust does not read, \
             or give the client a trust store"
        } else {
            "set SSL_CERT_FILE to a PEM file with its CA, install ca-certificates if the system has none, \
             or give the client a trust store"
        }
    }
}

impl CheckFailureKind {
    /// One sentence about the problem and its fix.
    pub(super) fn sentence(self, facts: &Facts<'_>) -> String {
        let (stream, endpoint, cause) = (facts.stream, facts.endpoint(), facts.cause());
        match self {
            Self::NoStream => format!(
                "stream {stream} does not exist{}: check its name, the region and the account of the \
                 credentials, or create it",
                facts.place()
            ),
            Self::Creating => format!(
                "stream {stream} is being created and takes no records yet: wait until its status is ACTIVE"
            ),
            Self::Deleting => {
                format!("stream {stream} is being deleted: use another stream, or create it again")
            }
            Self::Region => facts.detail.unwrap_or_default().to_owned(),
            Self::NotEnabled => format!(
                "the account cannot use Kinesis{}{cause}: enable the region for the account, and complete \
                 the account's registration",
                facts.place()
            ),
            Self::Key => format!(
                "the KMS key of stream {stream} cannot be used{cause}: enable the key, and allow the \
                 credentials kms:GenerateDataKey"
            ),
            Self::Dns => format!(
                "host {} cannot be resolved: check the region, {ENDPOINT_URL}, and the DNS of this \
                 machine{}",
                facts.host(),
                facts.proxy()
            ),
            Self::Refused => format!(
                "{endpoint} refused the connection: start the server, or check {ENDPOINT_URL}{}",
                facts.proxy()
            ),
            Self::NoConnection => format!(
                "no connection to {endpoint}{cause}: check the network, security groups and firewalls, and \
                 {ENDPOINT_URL}{}",
                facts.proxy()
            ),
            Self::Unreachable => format!(
                "the connection to {endpoint} failed{cause}: check the network, and {ENDPOINT_URL}{}",
                facts.proxy()
            ),
            Self::Timeout => format!(
                "no answer from {endpoint}{cause}: check the network, security groups and \
                 firewalls, and {ENDPOINT_URL}{}",
                facts.proxy()
            ),
            Self::Certificate => certificate(facts),
            Self::Tls => format!(
                "the TLS handshake with {endpoint} failed{cause}: check that the server speaks TLS 1.2 or \
                 1.3, or use http:// in {ENDPOINT_URL}"
            ),
            Self::NotHttp => format!(
                "{endpoint} does not answer in HTTP: check {ENDPOINT_URL}, and use https:// if the server \
                 speaks TLS"
            ),
            Self::NoProxy => format!(
                "the proxy for {endpoint} cannot be reached{cause}: check the proxy in {}, or add the host \
                 to NO_PROXY",
                proxy_variable(endpoint, facts.environment).unwrap_or("the client's configuration")
            ),
            Self::Proxy => format!(
                "a proxy in front of {endpoint} refused the request{cause}: give the client a proxy with \
                 credentials, or add the host to NO_PROXY"
            ),
            Self::Blocked => format!(
                "a proxy or firewall in front of {endpoint} refused the request{cause}: allow the host \
                 there, or check {ENDPOINT_URL}"
            ),
            Self::NotKinesis => {
                format!("{endpoint} does not answer as Kinesis does{cause}: check {ENDPOINT_URL}")
            }
            Self::NoCredentials => format!(
                "there are no credentials for stream {stream}{cause}: set AWS_ACCESS_KEY_ID and \
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
                "the access key is not known{}{cause}: check the access key, the session token that belongs \
                 to a temporary one, and that the region is enabled for the account",
                facts.place()
            ),
            Self::Signature => format!(
                "{endpoint} rejects the signature of the request{cause}: check the secret access key, that \
                 region and endpoint belong together, and that no proxy changes the headers"
            ),
            Self::Clock => format!(
                "{endpoint} rejects the time of the request{cause}: synchronize the clock of this machine"
            ),
            Self::Configuration => format!(
                "the request cannot be built{cause}: check the client's region, {ENDPOINT_URL} and the HTTP \
                 client"
            ),
            Self::Panicked => format!(
                "the check of stream {stream} panicked: read the panic's message, and check {ENDPOINT_URL}"
            ),
            Self::Other => format!(
                "stream {stream} cannot be described{}{cause}: the sources of this error say more",
                facts.place()
            ),
        }
    }
}

fn certificate(facts: &Facts<'_>) -> String {
    let (endpoint, cause) = (facts.endpoint(), facts.cause());
    let says = |text| cause.contains(text);
    if says("not valid for name") || says("NotValidForName") {
        return format!(
            "the certificate of {endpoint} is for another host{cause}: check {ENDPOINT_URL}{}",
            facts.proxy()
        );
    }
    if ["expired", "Expired", "not valid yet", "NotValidYet"].into_iter().any(says) {
        return format!(
            "the certificate of {endpoint} is not valid now{cause}: renew it, or synchronize the clock \
             of this machine"
        );
    }
    format!("the certificate of {endpoint} is not trusted{cause}: {}", facts.trust_store())
}
