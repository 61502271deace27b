//! Clients: credentials, region, endpoint, TLS, and proxies.
//!
//! A sink is built from an `aws_sdk_kinesis::Client`. Any client works. The client's configuration applies, except for
//! its [retries](#retries) and stalled-stream protection (see [timeouts](#timeouts)):
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! async fn sink() -> Result<kinesis_sink::KinesisSink, Box<dyn std::error::Error>> {
//!     use aws_config::BehaviorVersion;
//!     use aws_sdk_kinesis::Client;
//!     use kinesis_sink::KinesisSink;
//!
//!     let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
//!     Ok(KinesisSink::new(&Client::new(&config), "example")?)
//! }
//! ```
//!
//! `KinesisSink::from_env` (feature `aws-config`) does the same. If you pass an ARN, the region is taken from the ARN.
//! For a stream in another account, use the ARN.
//!
//! # Credentials
//!
//! The default provider chain looks for credentials in the environment, the profile, a web identity token, the
//! container, and the instance metadata. A profile can refer to SSO, an external process, or a role to assume:
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! async fn client() -> aws_sdk_kinesis::Client {
//!     let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
//!         .profile_name("ingest") // or AWS_PROFILE
//!         .region("eu-west-1")
//!         .load()
//!         .await;
//!     aws_sdk_kinesis::Client::new(&config)
//! }
//! ```
//!
//! To assume a role in code:
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! async fn client() -> aws_sdk_kinesis::Client {
//!     use aws_config::sts::AssumeRoleProvider;
//!
//!     let base = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
//!     let role = AssumeRoleProvider::builder("arn:aws:iam::123456789012:role/ingest")
//!         .session_name("uploader")
//!         .configure(&base)
//!         .build()
//!         .await;
//!     let config = aws_sdk_kinesis::config::Builder::from(&base).credentials_provider(role);
//!     aws_sdk_kinesis::Client::from_conf(config.build())
//! }
//! ```
//!
//! The SDK loads credentials at the first request and renews them shortly before they expire. In addition, this crate
//! handles these cases:
//!
//! - If credentials cannot be loaded, or the service rejects them, requests and lookups are retried with backoff for
//!   the [credentials timeout](crate::Settings::credentials_timeout), 5 minutes by default. Only then is the failure
//!   fatal. Failures that cannot be resolved by waiting are fatal immediately: no provider is configured, the provider
//!   has never found credentials, or the profile is invalid.
//! - If the service rejects the credentials, they are loaded again from the provider, bypassing the client's identity
//!   cache, at most every 5 s. In all other cases the client's cache is used, so its settings apply. A client that was
//!   not created with `aws_config` has no cache. All such clients in a process share one cache, which stores the
//!   credentials of each provider separately.
//! - A request waits for at most 5 s for credentials to be loaded. If loading takes longer, it continues in the
//!   background until the cache's timeout, which is 22 s with the SDK's default retries.
//!
//! # Permissions
//!
//! | action | required |
//! |---|---|
//! | `kinesis:PutRecords` | always |
//! | `kinesis:DescribeStreamSummary` | with [aggregation](super::aggregation) or [ordering](super::ordering). Without this permission, the sink uses the configured limits, and does not detect a stream that [ignores keys](super::aggregation#streams-that-ignore-keys) |
//! | `kinesis:ListShards` | with aggregation. Without this permission, the sink aggregates per key and does not verify its aggregates |
//!
//! # Clock
//!
//! Each request contains a timestamp, and the service rejects a request whose timestamp is more than five minutes off.
//! The SDK corrects its time by the `Date` header of each response, so a wrong system clock only causes one rejected
//! request per client. If a proxy replaces the `Date` header with a wrong one, disable the correction with
//! `disable_clock_skew_correction` in the client's configuration.
//!
//! # Region
//!
//! The client's region determines the endpoint, even if the stream is given by its ARN. If the ARN contains another
//! region, `build` returns an error. In a custom stack, [`PutRecords`](crate::service::PutRecords) returns the error at
//! the first request.
//!
//! # FIPS and dual-stack endpoints
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! async fn client() -> aws_sdk_kinesis::Client {
//!     let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
//!         .use_fips(true) // or AWS_USE_FIPS_ENDPOINT=true
//!         .use_dual_stack(true) // or AWS_USE_DUALSTACK_ENDPOINT=true; adds IPv6
//!         .load()
//!         .await;
//!     aws_sdk_kinesis::Client::new(&config)
//! }
//! ```
//!
//! A FIPS endpoint only ensures validated cryptography in the server. For validated cryptography in the client, see
//! [TLS](http#tls-aws-lc-ring-fips).
//!
//! # A VPC endpoint
//!
//! With private DNS, the service's host name resolves to the VPC endpoint, and no setting is needed. Without private
//! DNS, set the endpoint URL:
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! async fn client() -> aws_sdk_kinesis::Client {
//!     let base = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
//!     // Set for Kinesis only. In `aws_config`, the URL would also apply to STS and SSO.
//!     let config = aws_sdk_kinesis::config::Builder::from(&base)
//!         .endpoint_url("https://vpce-0123.kinesis.eu-west-1.vpce.amazonaws.com");
//!     aws_sdk_kinesis::Client::from_conf(config.build())
//! }
//! ```
//!
//! If you set an endpoint URL, the SDK uses it without changes. Otherwise the host depends on how the stream is given.
//! For a stream name, it is `kinesis.eu-west-1.amazonaws.com`. For an ARN, it begins with the account id, such as
//! `123456789012.data-kinesis.eu-west-1.amazonaws.com`. Private DNS must resolve this host.
//!
//! # Local servers
//!
//! Set `AWS_ENDPOINT_URL_KINESIS=http://127.0.0.1:4567`, or set the endpoint in code. Any credentials work. Most local
//! servers do not enforce quotas, so raise the rate limit per shard:
//!
//! ```
//! use aws_sdk_kinesis::Client;
//! use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
//! use kinesis_sink::limits::Limits;
//! use kinesis_sink::KinesisSink;
//!
//! # fn build() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::builder()
//!     .behavior_version(BehaviorVersion::latest())
//!     .region(Region::new("us-east-1"))
//!     .credentials_provider(Credentials::new("any", "any", None, None, "local"))
//!     .endpoint_url("http://127.0.0.1:4567")
//!     .build();
//! let sink = KinesisSink::builder("example")
//!     .configure(|settings| {
//!         settings.limits = Limits::default().with_shard_records(1_000_000).with_shard_bytes(1 << 30);
//!     })
//!     .build(&Client::from_conf(config))?;
//! # Ok(())
//! # }
//! # build().unwrap();
//! ```
//!
//! # Retries
//!
//! The sink retries failed entries individually, with backoff. The SDK's retries would be invisible to all layers and
//! metrics, and would send delivered entries again. Therefore [`PutRecords`](crate::service::PutRecords) and
//! [`SdkStreamInfo`](crate::service::SdkStreamInfo) derive a client whose retries are disabled from yours. Your client
//! is not changed.
//!
//! # Timeouts
//!
//! | timeout | default | setting |
//! |---|---|---|
//! | connecting | 3.1 s, the SDK's default | `connect_timeout` of the SDK's `TimeoutConfig` |
//! | one request, from call to response | 10 s | [`request_timeout`](crate::Settings::request_timeout), or [`TimeoutLayer`](crate::timeout::TimeoutLayer) |
//! | one request, while requests time out repeatedly | up to 30 s | [`max_request_timeout`](crate::Settings::max_request_timeout), or [`TimeoutLayer::with_max`](crate::timeout::TimeoutLayer::with_max) |
//! | other timeouts of the SDK | off | `TimeoutConfig`; the shortest timeout applies |
//! | one lookup, or one [check](super::failures#the-first-request-fails) | 10 s | cannot be changed |
//! | stalled streams: no progress for 5 s | off in the default stack and in its lookups | [`without_stalled_stream_protection`](crate::service::PutRecords::without_stalled_stream_protection) in a custom stack |
//!
//! ```
//! use std::time::Duration;
//!
//! use aws_sdk_kinesis::config::timeout::TimeoutConfig;
//! # use aws_sdk_kinesis::config::{BehaviorVersion, Config};
//!
//! let timeouts = TimeoutConfig::builder().connect_timeout(Duration::from_secs(1)).build();
//! let config = Config::builder().timeout_config(timeouts);
//! # let _ = config.behavior_version(BehaviorVersion::latest()).build();
//! ```
//!
//! If a request times out, or is dropped before its response arrives, its connection is not used for new requests.
//! Other requests that are in flight on the same connection are not affected. Without this measure, the SDK would
//! continue to use an HTTP/2 connection that has died silently.
//!
//! # TLS, proxies, connections
//!
//! TLS, proxies, and connections are configured in the HTTP client that the SDK client uses. The chapter [`http`]
//! describes the HTTP client.
//!
//! # Interceptors
//!
//! The interceptors of your client are called for each request. Interceptors can read the records, so a client with
//! interceptors uses the SDK's serializer, see [`PutRecords`](crate::service::PutRecords#serialization).

pub mod http;
