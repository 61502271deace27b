//! The HTTP client below the SDK's client: TLS, proxies, connections.
//!
//! With the feature `aws-config` comes the SDK's own: rustls with aws-lc, the system's certificates, the proxy of
//! the environment. To choose another, give the client's configuration an `http_client`. Those shown here are
//! made with the crate `aws-smithy-http-client`, which the SDK uses itself.
//!
//! # TLS: aws-lc, ring, FIPS
//!
//! This crate brings a TLS stack with its feature `aws-config` only: rustls with aws-lc, by way of
//! `aws-config`. To choose another one, leave that feature out, and give the client an HTTP client of yours:
//!
//! ```toml
//! [dependencies]
//! kinesis-sink = { version = "0.1", default-features = false, features = ["metrics"] }
//! aws-sdk-kinesis = { version = "1", default-features = false, features = ["rt-tokio"] }
//! aws-config = { version = "1", default-features = false, features = ["rt-tokio", "sso"] }
//! aws-smithy-http-client = { version = "1", features = ["rustls-ring"] }
//! ```
//!
//! | feature of `aws-smithy-http-client` | `CryptoMode` |
//! |---|---|
//! | `rustls-aws-lc` | `AwsLc` |
//! | `rustls-aws-lc-fips` | `AwsLcFips`: panics if its module does not say that it is in FIPS mode |
//! | `rustls-ring` | `Ring` |
//!
//! ```no_run
//! use aws_smithy_http_client::Builder;
//! use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
//!
//! # #[cfg(feature = "aws-config")]
//! async fn client() -> aws_sdk_kinesis::Client {
//!     let https = Builder::new()
//!         .tls_provider(Provider::Rustls(CryptoMode::AwsLc)) // or Ring, or AwsLcFips
//!         .build_https();
//!     let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
//!         .http_client(https) // for the credentials' calls, too
//!         .load()
//!         .await;
//!     aws_sdk_kinesis::Client::new(&config)
//! }
//! ```
//!
//! The SDK's feature `rustls` is a second, older TLS and HTTP stack: leave `aws-sdk-kinesis`'s default
//! features out, or both are compiled in.
//!
//! A certificate authority of your own goes into a `TlsContext`:
//!
//! ```no_run
//! use aws_smithy_http_client::Builder;
//! use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
//!
//! # fn https() -> Result<aws_sdk_kinesis::config::SharedHttpClient, Box<dyn std::error::Error>> {
//! let authority = std::fs::read("authority.pem")?;
//! let trusted = TrustStore::empty().with_pem_certificate(authority);
//! let https = Builder::new()
//!     .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
//!     .tls_context(TlsContext::builder().with_trust_store(trusted).build()?)
//!     .build_https();
//! # Ok(https)
//! # }
//! ```
//!
//! # A proxy
//!
//! The SDK's default client heeds `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, from
//! `BehaviorVersion::v2025_08_07` on, so `KinesisSink::from_env` does. In code a proxy belongs to the
//! connector:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use aws_smithy_http_client::Connector;
//! use aws_smithy_http_client::proxy::ProxyConfig;
//! use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
//! use aws_smithy_runtime_api::client::http::{
//!     HttpConnectorSettings, SharedHttpConnector, http_client_fn,
//! };
//!
//! # fn http_client() -> Result<aws_sdk_kinesis::config::SharedHttpClient, Box<dyn std::error::Error>> {
//! let proxy = ProxyConfig::https("http://proxy.internal:3128")?.no_proxy("169.254.169.254");
//! let connector = Connector::builder()
//!     .proxy_config(proxy)
//!     .connector_settings(
//!         HttpConnectorSettings::builder().connect_timeout(Duration::from_secs(3)).build(),
//!     )
//!     .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
//!     .build();
//! // Made once, so that its connections are used again.
//! let connector = SharedHttpConnector::new(connector);
//! let http_client = http_client_fn(move |_, _| connector.clone());
//! # Ok(http_client)
//! # }
//! ```
//!
//! # Connections
//!
//! A sink derives its client from yours. With the SDK's default HTTP client each derived one has connections
//! of its own; with one that you set, as above, all share it. Or clone one
//! [`PutRecords`](super::super::layers#one-pool-of-connections-many-streams) into several sinks. The pool keeps idle
//! connections for 90 s, and as many as there were:
//!
//! ```
//! use std::time::Duration;
//!
//! use aws_smithy_http_client::Builder;
//! use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
//!
//! let https = Builder::new()
//!     .pool_idle_timeout(Duration::from_secs(30))
//!     .pool_max_idle_per_host(32)
//!     .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
//!     .build_https();
//! # let _ = https;
//! ```
//!
