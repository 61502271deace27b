//! Clients: credentials, region, endpoint, TLS, proxies.
//!
//! A sink is built from an `aws_sdk_kinesis::Client`. Any client works, and its configuration applies, except for
//! [retries](#retries) and one of the [timeouts](#timeouts):
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
//! `KinesisSink::from_env` (feature `aws-config`) does the same, and also takes the region from an ARN. Use the ARN for
//! a stream of another account.
//!
//! # Credentials
//!
//! The default provider chain reads the environment, the profile, web identity, the container and the instance.
//! A profile can name SSO, a process, or a role to assume:
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
//! The SDK loads credentials at the first request and renews them shortly before they expire. In addition:
//!
//! - If they cannot be loaded, or the service refuses them, requests and lookups are retried with backoff for the
//!   [credentials timeout](crate::Settings::credentials_timeout), 5 minutes by default. Only then is the failure fatal.
//!   Failures that waiting cannot resolve are fatal at once: no provider, a provider that has never found credentials,
//!   an invalid profile.
//! - Refused credentials are loaded again from the provider, past the client's identity cache, at most every 5 s.
//!   The cache of the client is queried first, so its settings apply. A client that was not made by `aws_config`
//!   has no cache; all such clients of a process share one, which keeps their providers apart.
//! - A request waits for at most 5 s until credentials are loaded. A load that takes longer continues in the
//!   background until the cache ends it, after 22 s with the SDK's default retries.
//!
//! # Permissions
//!
//! | action | needed |
//! |---|---|
//! | `kinesis:PutRecords` | always |
//! | `kinesis:DescribeStreamSummary` | with [aggregation](super::aggregation) or [ordering](super::ordering). Without it, the sink sends with the limits that are set, and does not detect a stream that [ignores keys](super::aggregation#streams-that-ignore-keys) |
//! | `kinesis:ListShards` | with aggregation. Without it, the sink packs per key and does not check its aggregates |
//!
//! # Clock
//!
//! Requests have a timestamp, and the service refuses those that are more than five minutes off. The SDK corrects
//! the clock by the `Date` of each response, so a wrong clock costs one refused request per client. Behind a
//! proxy that replaces the `Date` with a wrong one, disable the correction with
//! `disable_clock_skew_correction` in the client's configuration.
//!
//! # Region
//!
//! The client's region determines the endpoint, also for an ARN. An ARN of another region is refused when the sink is
//! built, or by [`PutRecords`](crate::service::PutRecords) in a custom stack at the first request.
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
//! A FIPS endpoint covers the server's side. For validated cryptography in the client see
//! [TLS](http#tls-aws-lc-ring-fips).
//!
//! # A VPC endpoint
//!
//! With private DNS the service's name resolves to the VPC endpoint, and no setting is needed. Without it, set the
//! address:
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! async fn client() -> aws_sdk_kinesis::Client {
//!     let base = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
//!     // For Kinesis only: in `aws_config` it would also apply to STS and SSO.
//!     let config = aws_sdk_kinesis::config::Builder::from(&base)
//!         .endpoint_url("https://vpce-0123.kinesis.eu-west-1.vpce.amazonaws.com");
//!     aws_sdk_kinesis::Client::from_conf(config.build())
//! }
//! ```
//!
//! An endpoint that is set is used without changes. Otherwise the SDK sends requests for a stream that is given by its
//! ARN to a host named after the account, such as `123456789012.data-kinesis.eu-west-1.amazonaws.com`, and for a stream
//! given by its name to `kinesis.eu-west-1.amazonaws.com`. Private DNS must resolve that host.
//!
//! # Local servers
//!
//! Set `AWS_ENDPOINT_URL_KINESIS=http://127.0.0.1:4567`, or the endpoint in code, with arbitrary credentials. Most
//! local servers have no quotas, so raise the rate limit of a shard:
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
//! The sink retries failed entries one by one, with backoff. Retries by the SDK would run below every layer, send
//! delivered entries again, and be missing in the metrics. So [`PutRecords`](crate::service::PutRecords) and
//! [`SdkStreamInfo`](crate::service::SdkStreamInfo) derive a client with the SDK's retries disabled. Your client is not
//! changed.
//!
//! # Timeouts
//!
//! | timeout | default | set by |
//! |---|---|---|
//! | connecting | 3.1 s, the SDK's | `connect_timeout` of the SDK's `TimeoutConfig` |
//! | one request, from call to response | 10 s | [`request_timeout`](crate::Settings::request_timeout), or [`TimeoutLayer`](crate::timeout::TimeoutLayer) |
//! | one request, while requests time out repeatedly | up to 30 s | [`max_request_timeout`](crate::Settings::max_request_timeout), or [`TimeoutLayer::with_max`](crate::timeout::TimeoutLayer::with_max) |
//! | the SDK's others | off | `TimeoutConfig`; the shortest timeout applies |
//! | one lookup, one [check](super::failures#the-first-request-fails) | 10 s | |
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
//! A request that times out, or is dropped before its response, is the last one on its connection: the next request
//! uses another. Other requests in flight on that connection are not affected. Over HTTP/2 the SDK alone would
//! keep using a connection that died silently.
//!
//! # TLS, proxies, connections
//!
//! The HTTP client below the SDK client determines these. The chapter [`http`] describes it.
//!
//! # Interceptors
//!
//! The interceptors of your client run. A client with interceptors uses the SDK's serializer, since they may read the
//! records, see [`PutRecords`](crate::service::PutRecords#serialization).

pub mod http;
