//! Clients: credentials, region, endpoint, TLS, proxies.
//!
//! A sink is built from an `aws_sdk_kinesis::Client`, and any client does. Nothing of its set-up is this
//! crate's, with one exception each for [retries](#retries) and [timeouts](#timeouts):
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
//! That is what `KinesisSink::from_env` (feature `aws-config`) does, which also takes the region of an ARN. A
//! stream of another account is given by its ARN.
//!
//! # Credentials
//!
//! The default chain looks into the environment, the profile, web identity, the container and the instance.
//! A profile can name SSO, a process, or a role to assume:
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! async fn client() -> aws_sdk_kinesis::Client {
//!     let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
//!         .profile_name("ingest") // as AWS_PROFILE
//!         .region("eu-west-1")
//!         .load()
//!         .await;
//!     aws_sdk_kinesis::Client::new(&config)
//! }
//! ```
//!
//! A role assumed in code:
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
//! The SDK loads credentials at the first request and renews them shortly before they expire. Beyond that:
//!
//! - If they cannot be loaded, or the service refuses them, requests and lookups are retried with backoff for the
//!   [credentials timeout](crate::Settings::credentials_timeout): 5 minutes by default, 0 s to 7 days.
//!   Only then is the failure fatal. Failures that waiting cannot resolve are fatal at once: no provider, a
//!   provider that has never found credentials, an invalid profile.
//! - Refused credentials are loaded again from the provider, past the client's identity cache, at most every 5 s.
//!   The cache of the client is asked first, so its settings apply. A client that was not made by `aws_config`
//!   has no cache; all such clients of a process share one, which keeps their providers apart.
//! - A request waits for at most 5 s until credentials are loaded. A load that takes longer continues in the
//!   background until the cache ends it, after 22 s with the SDK's default retries.
//!
//! The role needs `kinesis:PutRecords`. With [aggregation](super::aggregation) or [ordering](super::ordering) it
//! should have `kinesis:DescribeStreamSummary`; without it, the sink sends with the limits that are set, and does
//! not notice a stream that [ignores keys](super::aggregation#streams-that-ignore-keys). With aggregation it should
//! have `kinesis:ListShards`; without it, the sink packs per key and does not check its aggregates.
//!
//! # Clock
//!
//! Requests carry a time, and the service refuses those that are more than five minutes off. The SDK corrects
//! the clock from the `Date` of each answer, so a wrong clock costs one refused request per client. Behind a
//! proxy that replaces the `Date` with a wrong one, turn the correction off with
//! `disable_clock_skew_correction` in the client's configuration.
//!
//! # Region
//!
//! Where to send is decided by the client's region, also for an ARN. So an ARN of another region is refused
//! when the sink is built, and by [`PutRecords`](crate::service::PutRecords) in a stack of yours at the first
//! request.
//!
//! # FIPS and dual-stack endpoints
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! async fn client() -> aws_sdk_kinesis::Client {
//!     let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
//!         .use_fips(true) // as AWS_USE_FIPS_ENDPOINT=true
//!         .use_dual_stack(true) // as AWS_USE_DUALSTACK_ENDPOINT=true; IPv6 as well
//!         .load()
//!         .await;
//!     aws_sdk_kinesis::Client::new(&config)
//! }
//! ```
//!
//! A FIPS endpoint says what is at the other end. For validated cryptography at this end see
//! [TLS](http#tls-aws-lc-ring-fips).
//!
//! # A VPC endpoint
//!
//! With private DNS there is nothing to set: the service's name leads to the endpoint. Without, give its
//! address:
//!
//! ```no_run
//! # #[cfg(feature = "aws-config")]
//! async fn client() -> aws_sdk_kinesis::Client {
//!     let base = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
//!     // For Kinesis alone: on `aws_config` it would be for STS and SSO, too.
//!     let config = aws_sdk_kinesis::config::Builder::from(&base)
//!         .endpoint_url("https://vpce-0123.kinesis.eu-west-1.vpce.amazonaws.com");
//!     aws_sdk_kinesis::Client::from_conf(config.build())
//! }
//! ```
//!
//! An endpoint that is given is used as it is. Without one, the SDK sends to a host named after the account
//! for a stream that is given by its ARN, such as `123456789012.data-kinesis.eu-west-1.amazonaws.com`; for one
//! given by its name to `kinesis.eu-west-1.amazonaws.com`. Private DNS must know that host.
//!
//! # A server of your own
//!
//! The same for a local server: `AWS_ENDPOINT_URL_KINESIS=http://127.0.0.1:4567`, or in code. Any
//! credentials do. Most local servers have no quotas, so lift the pace:
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
//! The sink sends again what failed, entry by entry, with a backoff that it can see. The SDK's retries
//! would run below every layer, send delivered entries again, and hide from metrics. So
//! [`PutRecords`](crate::service::PutRecords) derives a client with the SDK's retries off; so does
//! [`SdkStreamInfo`](crate::service::SdkStreamInfo). Your
//! client stays as it is, for whatever else you do with it.
//!
//! # Timeouts
//!
//! | clock | default | set by |
//! |---|---|---|
//! | to connect | 3.1 s, the SDK's | `connect_timeout` of the SDK's `TimeoutConfig` |
//! | one request, from call to answer | 10 s | [`request_timeout`](crate::Settings::request_timeout), or [`TimeoutLayer`](crate::timeout::TimeoutLayer) |
//! | one request, while requests time out repeatedly | up to 30 s | [`max_request_timeout`](crate::Settings::max_request_timeout), or [`TimeoutLayer::with_max`](crate::timeout::TimeoutLayer::with_max) |
//! | the SDK's others | off | `TimeoutConfig`; a shorter one wins |
//! | one lookup, one [check](super::failures#the-first-request-fails) | 10 s | |
//! | stalled streams: no progress for 5 s | off in the default stack, lookups included | [`without_stalled_stream_protection`](crate::service::PutRecords::without_stalled_stream_protection) in yours |
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
//! A request that times out, or is dropped before its answer, is the last one on its connection: the next request
//! uses another. Other requests in flight on that connection are not affected. Over HTTP/2 the SDK alone would
//! keep sending into a connection that died silently.
//!
//! # TLS, proxies, connections
//!
//! They belong to the HTTP client below, which is yours as well: the next chapter, [`http`].
//!
//! # Interceptors
//!
//! They are kept. A client that has some gets the SDK's own serialiser, since they may want to look at the
//! records, see [`PutRecords`](crate::service::PutRecords#how-a-request-becomes-bytes).

pub mod http;
