use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::Client;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::Router;
use super::entry::Clock;
use super::factory::{Check, Configure, Spawn, Spawner, StreamFactory};
use super::settings::RouterSettings;
use super::shared::Shared;
use super::streams::Streams;
use crate::budget::Budget;
use crate::build_error::BuildError;
#[cfg(feature = "metrics")]
use crate::metrics::StreamLabels;
use crate::service::{PutRecordsService, SharedClient};
use crate::sink::SinkBuilder;
use crate::stream::StreamId;

/// Builder for a [`Router`].
///
/// ```no_run
/// use kinesis_sink::router::RouterSettings;
/// use kinesis_sink::{Aggregation, Router};
///
/// # async fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
/// let mut settings = RouterSettings::default();
/// settings.max_streams = 500;
/// let router = Router::builder()
///     .with_settings(settings)
///     .configure_stream(|stream, builder| match stream.name() {
///         "audit" => builder,
///         _ => builder.with_aggregation(Aggregation::PerShard),
///     })
///     .spawn(&client)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "a builder does nothing until a `spawn` method is called"]
pub struct RouterBuilder {
    settings: RouterSettings,
    configure: Option<Configure>,
    budget: Option<Budget>,
}

impl RouterBuilder {
    /// Replaces all [settings](RouterSettings), for example with settings from a configuration file.
    pub fn with_settings(mut self, settings: RouterSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets a closure that changes the builder of a stream each time the stream is opened. Default: no changes.
    ///
    /// The builder has the settings of the stream from the [`RouterSettings`]. The closure can change them, and can set the
    /// options that settings do not contain: the dead-letter handler, the classifier and the source of stream information.
    /// The stream and the budget of the returned builder have no effect, because the router sets both.
    ///
    /// The closure runs in the call that opens the stream. It must not block, and must not use the router.
    pub fn configure_stream(
        mut self,
        configure: impl Fn(&StreamId, SinkBuilder) -> SinkBuilder + Send + Sync + 'static,
    ) -> Self {
        self.configure = Some(Arc::new(configure));
        self
    }

    /// Sets the budget of all streams together. Default: a new budget with the [settings](RouterSettings::budget) of the
    /// router.
    ///
    /// Several routers, producers and sinks can share a budget.
    pub fn with_budget(mut self, budget: &Budget) -> Self {
        self.budget = Some(budget.clone());
        self
    }

    /// Builds the router. All streams use the same AWS SDK client and the
    /// [default service stack](crate::service::DefaultService).
    ///
    /// The router uses a copy of `client` with retries disabled, because each producer retries requests itself. No stream
    /// is opened, and no request is sent. The drivers of the producers are spawned onto the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Returns
    ///
    /// - [`BuildError::NoRegion`] if the client has no region;
    /// - [`BuildError::OutOfRange`] or [`BuildError::Conflict`] if a setting is invalid.
    ///
    /// # Panics
    ///
    /// Panics if it is called outside of a tokio runtime. Drivers panic if the timer of the runtime is disabled.
    pub fn spawn(self, client: &Client) -> Result<Router, BuildError> {
        let client = Arc::new(SharedClient::new(client)?);
        let shared = client.clone();
        let check = move |stream: &StreamId| shared.check_region(stream);
        let spawn = move |builder: SinkBuilder, spawner: &Spawner| {
            Ok(spawner.spawn(builder.build_shared(&client, |service| service)?))
        };
        self.spawn_router(Box::new(spawn), Box::new(check))
    }

    /// Builds the router with a custom service stack. Each stream uses a clone of it.
    ///
    /// The stream is part of each request, so one service can send to all streams. A limit in the stack, such as tower's
    /// `ConcurrencyLimit`, applies to all streams together. [`SinkBuilder::build_with`] describes the requirements of a
    /// stack.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError::OutOfRange`] or [`BuildError::Conflict`] if a setting is invalid.
    ///
    /// # Panics
    ///
    /// Panics if it is called outside of a tokio runtime. Drivers panic if the timer of the runtime is disabled.
    pub fn spawn_with<S>(self, service: S) -> Result<Router, BuildError>
    where
        S: PutRecordsService + Clone + Send + 'static,
    {
        // The service need not be `Sync`.
        let service = Mutex::new(service);
        let spawn = move |builder: SinkBuilder, spawner: &Spawner| {
            let service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Ok(spawner.spawn(builder.build_with(service)?))
        };
        self.spawn_router(Box::new(spawn), Box::new(|_| Ok(())))
    }

    fn spawn_router(self, spawn: Spawn, check: Check) -> Result<Router, BuildError> {
        let Self { settings, configure, budget } = self;
        settings.validate()?;
        let budget = match budget {
            Some(budget) => budget,
            None => Budget::new(settings.budget.clone())?,
        };
        let spawner = Spawner { runtime: Handle::current(), clock: Clock::start() };
        let table = Streams::new(&settings);
        let factory = StreamFactory {
            #[cfg(feature = "metrics")]
            stream_labels: StreamLabels::new(settings.metric_streams),
            settings: settings.into_shared(),
            configure,
            budget,
            spawn,
            check,
            spawner,
            on_idle: Arc::new(Notify::new()),
        };
        Ok(Router(Shared::spawn(table, factory)))
    }
}

impl fmt::Debug for RouterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouterBuilder")
            .field("settings", &self.settings)
            .field("configure_stream", &self.configure.is_some())
            .field("budget", &self.budget)
            .finish()
    }
}
