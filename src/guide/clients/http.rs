//! HTTP clients: TLS, proxies, and connections.
//!
//! An SDK client sends its requests through an HTTP client. With the feature `aws-config`, this is the SDK's default
//! HTTP client, which uses rustls with aws-lc, the system certificates, and the proxy from the environment. To use
//! another HTTP client, set `http_client` in the configuration of the SDK client. The examples create the HTTP client
//! with the crate `aws-smithy-http-client`, as the SDK does.
//!
//! # TLS: aws-lc, ring, FIPS
//!
//! This crate includes a TLS stack only with the feature `aws-config`: the crate `aws-config` depends on rustls with
//! aws-lc. To choose another TLS stack, disable the feature and set the HTTP client:
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
//! | `rustls-aws-lc-fips` | `AwsLcFips`, which panics if the aws-lc module is not in FIPS mode |
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
//!         .http_client(https) // also used to load credentials
//!         .load()
//!         .await;
//!     aws_sdk_kinesis::Client::new(&config)
//! }
//! ```
//!
//! The SDK's default feature `rustls` adds a second, older TLS and HTTP stack. Disable the default features of
//! `aws-sdk-kinesis`, or both stacks are compiled.
//!
//! To trust a private certificate authority, set a `TlsContext`:
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
//! Since `BehaviorVersion::v2025_08_07`, the SDK's default HTTP client, which `KinesisSink::from_env` uses, reads
//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, and `NO_PROXY`. To set a proxy in code, configure the connector:
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
//! // Created once, so that connections are reused.
//! let connector = SharedHttpConnector::new(connector);
//! let http_client = http_client_fn(move |_, _| connector.clone());
//! # Ok(http_client)
//! # }
//! ```
//!
//! # Connections
//!
//! A sink derives an SDK client from yours. With the SDK's default HTTP client, each derived client has a separate
//! connection pool. If you set an HTTP client as above, all derived clients share its pool. You can also share one pool
//! by cloning one [`PutRecords`](super::super::layers#one-connection-pool-many-streams) for several sinks. By default,
//! the pool keeps idle connections for 90 s, and does not limit their number. To change this:
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
