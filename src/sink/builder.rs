use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Layer, ServiceBuilder};
use tracing::warn;

use super::KinesisSink;
use super::core::Core;
use super::discovery::Discovery;
use super::drive_skip::DriveSkip;
use super::readiness::Readiness;
use super::requests::Requests;
use crate::build_error::BuildError;
#[cfg(feature = "aws-config")]
use crate::error::Error;
#[cfg(feature = "metrics")]
use crate::metrics::{MetricsGranularity, SinkMetrics};
use crate::pipeline::{Aggregation, Linger, Pipeline, Prerequisites, RecordOrdering};
use crate::record::{DeadLetterHandler, SharedHandler, Undelivered};
#[cfg(feature = "aws-config")]
use crate::service::environment;
use crate::service::{
    Classify, DefaultClassify, PutRecords, PutRecordsRequest, PutRecordsResponse,
    PutRecordsService, SdkStreamInfo, StreamCheck,
};
use crate::service_ext::ServiceBuilderExt;
use crate::settings::Settings;
use crate::status::ConditionSender;
use crate::stream::{StreamId, StreamInfo};
use crate::timeout::TimeoutLayer;
use crate::trace::TARGET;

/// Default stack of services below a sink: tracing, metrics (feature `metrics`), timeout, SDK call.
///
/// The type is boxed, so that it does not depend on the features.
pub type DefaultService = BoxCloneSyncService<PutRecordsRequest, PutRecordsResponse, BoxError>;

/// Builder of a [`KinesisSink`].
///
/// Every setting has a default. The fields of [`Settings`] document defaults and ranges, and can be read from a
/// configuration file. The builder has setters for the most common settings, and [`configure`](Self::configure) for all.
///
/// ```
/// use std::time::Duration;
/// use kinesis_sink::limits::Limits;
/// use kinesis_sink::KinesisSink;
///
/// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
/// let sink = KinesisSink::builder("example")
///     .with_max_in_flight(8)
///     .with_deadline(Duration::from_secs(3600))
///     .with_dead_letters(|undelivered| eprintln!("{}", undelivered.reason()))
///     .configure(|settings| {
///         settings.limits = Limits::default().with_request_bytes(10 * 1024 * 1024);
///         settings.buffer_bytes = 128 * 1024 * 1024;
///     })
///     .build(&client)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a builder does nothing until a `build` method is called"]
pub struct SinkBuilder {
    stream: Result<StreamId, BuildError>,
    settings: Settings,
    stream_info: Option<Arc<dyn StreamInfo>>,
    classify: Arc<dyn Classify>,
    dead_letters: Option<SharedHandler>,
}

impl SinkBuilder {
    pub(super) fn new<T>(stream: T) -> Self
    where
        T: TryInto<StreamId, Error: Into<BuildError>>,
    {
        Self {
            stream: stream.try_into().map_err(Into::into),
            settings: Settings::default(),
            stream_info: None,
            classify: Arc::new(DefaultClassify),
            dead_letters: None,
        }
    }

    /// Replaces all [settings](Settings), for example with those of a configuration file.
    ///
    /// Call this before other setters: it discards their settings. The classifier, the dead-letter handler and the
    /// stream info are not affected.
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Changes individual [settings](Settings), including those without a setter.
    ///
    /// ```
    /// use kinesis_sink::KinesisSink;
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let sink = KinesisSink::builder("example")
    ///     .configure(|settings| settings.buffer_bytes = 128 * 1024 * 1024)
    ///     .build(&client)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn configure(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Sets the maximum number of requests in flight: 1 to 1,000. Default: 4.
    ///
    /// At a round trip of 20 ms, four requests of 500 records send 100,000 records per second. After a request fails as
    /// a whole or is shed by a layer, the sink sends single requests as probes until one succeeds.
    pub fn with_max_in_flight(mut self, requests: usize) -> Self {
        self.settings.max_in_flight = requests;
        self
    }

    /// Sets the time for which a request that is not full may wait for more records: 0 s to 60 s. Default: 100 ms.
    ///
    /// See [`Linger`] for the modes. A [`Duration`] selects the default mode, [`Linger::Auto`].
    pub fn with_linger(mut self, linger: impl Into<Linger>) -> Self {
        self.settings.linger = linger.into();
        self
    }

    /// Sets the packing of several records into one Kinesis record, see [`Aggregation`]. Default:
    /// [`Off`](Aggregation::Off).
    ///
    /// Aggregation changes three defaults: the [linger](Self::with_linger) is [`Fixed`](Linger::Fixed), the
    /// [buffer](Settings::buffer_records) has a capacity of 100,000 records, and a sink built by [`build`](Self::build)
    /// [describes the stream](Self::with_stream_info) before it sends a request.
    ///
    /// ```
    /// use kinesis_sink::{Aggregation, KinesisSink};
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let sink = KinesisSink::builder("example")
    ///     .with_aggregation(Aggregation::PerShard)
    ///     .configure(|settings| settings.aggregate_bytes = 4 * 25 * 1024)
    ///     .build(&client)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_aggregation(mut self, aggregation: Aggregation) -> Self {
        self.settings.aggregation = aggregation;
        self
    }

    /// Sets the ordering of the records of a partition key, see [`RecordOrdering`]. Default:
    /// [`Unordered`](RecordOrdering::Unordered).
    ///
    /// ```
    /// use kinesis_sink::{KinesisSink, RecordOrdering};
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let sink = KinesisSink::builder("example").with_ordering(RecordOrdering::PerKey).build(&client)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_ordering(mut self, ordering: RecordOrdering) -> Self {
        self.settings.ordering = ordering;
        self
    }

    /// Sets the source of the stream's description and of its shards.
    ///
    /// By default, a sink that is built by [`build`](Self::build) calls the service through [`SdkStreamInfo`]: with
    /// aggregation for the description and the shards, with [ordering](Self::with_ordering) alone for the description,
    /// and otherwise not at all. A source that is set here takes precedence. The service is called only for what the
    /// source [does not provide](StreamInfo). A sink that is built by [`build_with`](Self::build_with) uses only the
    /// source that is set here.
    ///
    /// The sink makes one call of each kind at a time, with a timeout of 10 s. A panic of the source counts as an error.
    ///
    /// # Description
    ///
    /// The stream is described before any record is sent. This requires the permission `kinesis:DescribeStreamSummary`.
    /// Until then, a sink accepts no records, and a producer accepts only records of up to 1 MiB, which every stream
    /// accepts.
    ///
    /// - A stream that [distributes its records itself](crate::stream::Distribution::Auto) is an error if aggregation or
    ///   ordering is enabled. A stream that does not exist is reported at once. Both errors are
    ///   [`ErrorKind::Refused`](crate::ErrorKind::Refused).
    /// - The distribution of a stream can change at any time. If responses name shards that contradict the partition
    ///   keys, the stream is described again, [bypassing any cache](StreamInfo::describe_stream_uncached).
    /// - The stream's record size limit becomes the sink's, unless a lower one was
    ///   [set](crate::limits::Limits::with_record_bytes). A record that is larger than the limit of a request is sent in
    ///   a separate request.
    /// - If the stream cannot be described, the sink logs one line at INFO and uses its settings. It makes up to five
    ///   attempts if the error may be transient, and retries credential errors for the
    ///   [credentials timeout](Settings::credentials_timeout).
    ///
    /// # Shards
    ///
    /// The shards are listed at first use, and again when a response contradicts the list. This requires the permission
    /// `kinesis:ListShards`. Failed listings are retried with a backoff of up to one minute.
    ///
    /// - [`Aggregation::PerShard`] requires a list, and waits for the first one before it sends. With
    ///   [`build_with`](Self::build_with) it requires a source. If the source does not provide lists, the sink aggregates
    ///   per key and logs a warning.
    /// - [`Aggregation::PerKey`] checks the shards of its aggregates against the list, and works without one.
    /// - Without aggregation, the sink learns the shards from responses. With a list it knows them from the first record
    ///   on.
    ///
    /// ```
    /// use kinesis_sink::stream::{StreamDescription, describe_stream_fn};
    /// use kinesis_sink::KinesisSink;
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let ten_mib = StreamDescription::default().with_max_record_bytes(10 * 1024 * 1024);
    /// let sink = KinesisSink::builder("example")
    ///     .with_stream_info(describe_stream_fn(move |_| async move { Ok(ten_mib) }))
    ///     .build(&client)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_stream_info(mut self, stream_info: impl StreamInfo + 'static) -> Self {
        self.stream_info = Some(Arc::new(stream_info));
        self
    }

    /// Sets the time from acceptance after which a buffered record fails: 1 ms to 7 days. Default: no deadline.
    ///
    /// A record that is in flight at the deadline fails only if the attempt fails. The reason is
    /// [`FailureReason::DeadlineExceeded`](crate::record::FailureReason::DeadlineExceeded).
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = Some(deadline);
        self
    }

    /// Sets the classification of errors, see [`Classify`]. Default: [`DefaultClassify`].
    pub fn with_classify(mut self, classify: impl Classify + 'static) -> Self {
        self.classify = Arc::new(classify);
        self
    }

    /// Sets a closure that takes the records that failed for good. Default: the sink keeps them and returns an error.
    ///
    /// The closure is called by the sink's poll methods and must not block. A record that has a receipt is returned by
    /// the receipt instead. See [`with_dead_letter_handler`](Self::with_dead_letter_handler) for channels and for
    /// handlers that can return records to the sink.
    ///
    /// ```
    /// use kinesis_sink::KinesisSink;
    ///
    /// let builder = KinesisSink::builder("example")
    ///     .with_dead_letters(|undelivered| eprintln!("record failed: {}", undelivered.reason()));
    /// ```
    pub fn with_dead_letters(self, handler: impl FnMut(Undelivered) + Send + 'static) -> Self {
        self.with_dead_letter_handler(handler)
    }

    /// Sets the handler of records that failed for good: a channel, or a type that implements [`DeadLetterHandler`].
    ///
    /// Sinks built by clones of this builder share the handler.
    pub fn with_dead_letter_handler(mut self, handler: impl DeadLetterHandler + 'static) -> Self {
        self.dead_letters = Some(SharedHandler::new(handler));
        self
    }

    /// Builds a sink over an AWS SDK client, with the default stack: tracing, metrics (feature `metrics`), timeout, SDK
    /// call.
    ///
    /// The sink uses a client derived from `client`, without the SDK's retries.
    ///
    /// # Errors
    ///
    /// Returns
    ///
    /// - [`BuildError::Stream`] if the stream is neither a name nor an ARN;
    /// - [`BuildError::NoRegion`] if the client has no region, or [`BuildError::Region`] if the region of the ARN
    ///   differs from the client's;
    /// - [`BuildError::OutOfRange`] or [`BuildError::Conflict`] if a setting is invalid.
    pub fn build(self, client: &Client) -> Result<KinesisSink, BuildError> {
        self.build_default(client, |service| service)
    }

    /// Builds a sink like [`build`](Self::build), with `layer` around the default stack.
    ///
    /// The layer sees each request before it is traced, measured and timed.
    ///
    /// ```
    /// use kinesis_sink::KinesisSink;
    /// use tower::limit::ConcurrencyLimitLayer;
    ///
    /// # fn run(client: aws_sdk_kinesis::Client) -> Result<(), kinesis_sink::BuildError> {
    /// let sink = KinesisSink::builder("example")
    ///     .build_with_layer(&client, ConcurrencyLimitLayer::new(2))?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_with_layer<L>(
        self,
        client: &Client,
        layer: L,
    ) -> Result<KinesisSink<L::Service>, BuildError>
    where
        L: Layer<DefaultService>,
        L::Service: PutRecordsService + Clone + Send + 'static,
    {
        self.build_default(client, |service| layer.layer(service))
    }

    fn build_default<S>(
        self,
        client: &Client,
        wrap: impl FnOnce(DefaultService) -> S,
    ) -> Result<KinesisSink<S>, BuildError>
    where
        S: PutRecordsService + Clone + Send + 'static,
    {
        let Settings { request_timeout, max_request_timeout, .. } = self.settings;
        let timeout = TimeoutLayer::new(request_timeout).with_max(max_request_timeout);
        let stream = self.stream.clone()?;
        // With an empty AWS_REGION, the SDK has a region without a name.
        let region = client.config().region().map_or("", |region| region.as_ref());
        if region.is_empty() {
            return Err(BuildError::NoRegion);
        }
        stream.check_region(Some(region))?;
        let stack = ServiceBuilder::new().trace_put_records();
        #[cfg(feature = "metrics")]
        let stack = stack.metrics_put_records();
        let put_records = PutRecords::new(client).without_stalled_stream_protection();
        let check = StreamCheck::new(&put_records, stream);
        let service = stack.layer(timeout).service(put_records);
        let service = Readiness::shared(wrap(BoxCloneSyncService::new(service)));
        self.with_sdk_stream_info(client).assemble(service, Some(check))
    }

    /// Builds a sink with the region and credentials of the environment, and [checks](KinesisSink::check) the stream.
    ///
    /// Use [`build`](Self::build), which makes no call, if the program must start during an outage of the service or of
    /// its credentials.
    ///
    /// Requires the feature `aws-config`, which is on by default.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Build`](crate::ErrorKind::Build) where [`build`](Self::build) returns an error, and
    /// [`ErrorKind::Unusable`](crate::ErrorKind::Unusable) if the check fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    #[cfg(feature = "aws-config")]
    pub async fn build_from_env(self) -> Result<KinesisSink, Error> {
        let stream = self.stream.clone()?;
        environment::warn_of_ignored_ca_bundle(environment::process_variable);
        let mut environment = aws_config::defaults(aws_config::BehaviorVersion::latest());
        if let Some(region) = stream.region() {
            environment = environment.region(aws_config::Region::new(region.to_owned()));
        }
        let sink = self.build(&Client::new(&environment.load().await))?;
        sink.check().await?;
        Ok(sink)
    }

    /// Builds a sink over a custom stack of services, with [`PutRecords`] or another service at its bottom.
    ///
    /// [`ServiceBuilderExt`] has this crate's layers.
    ///
    /// The sink polls the stack for readiness only when it has a request to send, and calls it as soon as it is ready.
    /// The sink waits for every response, so the stack should limit the time of a request, as [`TimeoutLayer`] does.
    ///
    /// Several sinks can share a stack. Give each sink a clone; a limit in the stack, such as tower's
    /// `ConcurrencyLimit`, then applies to all of them. While the stack is not ready, a clone of it keeps the sink's
    /// place in the queue, in a task of the runtime that polled the sink. The sink releases the place when it has nothing
    /// to send and when it is dropped. It also loses the place if it is not polled within 1 s after the stack has become
    /// ready, and queues again at its next poll. For a stack that is not `Clone`, use
    /// [`build_with_unshared`](Self::build_with_unshared).
    ///
    /// If `poll_ready` of the stack fails or panics, the sink replaces the stack with a fresh clone.
    ///
    /// The sink has no client to look the stream up. With aggregation or [ordering](Self::with_ordering), set a
    /// [source](Self::with_stream_info) that describes the stream, unless the stream is known not to distribute its
    /// records itself. [`Aggregation::PerShard`] requires a source that lists the shards. With [`Aggregation::PerKey`],
    /// such a source lets the sink check its aggregates.
    ///
    /// # Errors
    ///
    /// Returns
    ///
    /// - [`BuildError::Stream`] if the stream is neither a name nor an ARN;
    /// - [`BuildError::OutOfRange`] or [`BuildError::Conflict`] if a setting is invalid;
    /// - [`BuildError::NoListShards`] if [`Aggregation::PerShard`] has no source.
    pub fn build_with<S>(self, service: S) -> Result<KinesisSink<S>, BuildError>
    where
        S: PutRecordsService + Clone + Send + 'static,
    {
        self.assemble(Readiness::shared(service), None)
    }

    /// Builds a sink like [`build_with`](Self::build_with), over a stack of services that is not `Clone`.
    ///
    /// An example is a stack with a `RateLimit` and no [`Buffer`](tower::buffer::Buffer) around it. The stack keeps its
    /// place in a queue, and a permit that it has acquired, until the next request or until the sink is dropped. If a
    /// limit inside the stack is shared with other users, a sink that has nothing to send, or that is not polled, can
    /// block them. Put a [`Buffer`](tower::buffer::Buffer) around such a stack and use [`build_with`](Self::build_with).
    ///
    /// # Errors
    ///
    /// As [`build_with`](Self::build_with).
    pub fn build_with_unshared<S>(self, service: S) -> Result<KinesisSink<S>, BuildError>
    where
        S: PutRecordsService,
    {
        self.assemble(Readiness::unshared(service), None)
    }

    /// Adds the service as a fallback source for what the settings require.
    fn with_sdk_stream_info(mut self, client: &Client) -> Self {
        let aggregates = self.settings.is_aggregating();
        let is_ordered = self.settings.ordering == RecordOrdering::PerKey;
        let is_needed = aggregates || (is_ordered && self.settings.describe_stream);
        if !is_needed {
            return self;
        }
        let mut sdk = SdkStreamInfo::new(client).without_stalled_stream_protection();
        if !aggregates {
            sdk = sdk.without_list_shards();
        }
        self.stream_info = Some(match self.stream_info {
            Some(source) => Arc::new((source, sdk)),
            None => Arc::new(sdk),
        });
        self
    }

    /// Assembles the sink. Without a `check`, its check uses the source of descriptions.
    fn assemble<S>(
        self,
        service: Readiness<S>,
        check: Option<StreamCheck>,
    ) -> Result<KinesisSink<S>, BuildError> {
        let Self { stream, settings, stream_info, classify, dead_letters } = self;
        let stream = stream?;
        settings.validate()?;
        // Otherwise the sink does not wait for a list, because it learns the shards from responses.
        let shards = settings.aggregation == Aggregation::PerShard;
        if shards && stream_info.is_none() {
            return Err(BuildError::NoListShards);
        }
        let check = check
            .unwrap_or_else(|| StreamCheck::with_stream_info(stream_info.clone(), stream.clone()));
        if let Some(reason) = settings.partial_requests() {
            let name = stream.name();
            warn!(target: TARGET, "requests to stream {name} cannot be full: {reason}");
        }
        let lists_shards = stream_info.is_some();
        let discovery = Discovery::new(stream_info, settings.describe_stream);
        #[cfg(feature = "metrics")]
        let metrics =
            (settings.metrics != MetricsGranularity::Off).then(|| SinkMetrics::new(stream.name()));
        let mut pipeline = Pipeline::new(stream, settings, lists_shards, classify);
        let description = discovery.describes();
        pipeline.topology_mut().require(Prerequisites { description, shards });
        let core = Core {
            pipeline,
            requests: Requests::default(),
            discovery,
            timer: None,
            dead_letters,
            drive_skip: DriveSkip::default(),
            condition: ConditionSender::new(),
            closed: false,
            is_driven: false,
            check,
            #[cfg(feature = "metrics")]
            metrics,
        };
        Ok(KinesisSink { service, core: Box::new(core) })
    }
}

impl fmt::Debug for SinkBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Shows the defaults that depend on other settings.
        let settings = Settings {
            linger: self.settings.effective_linger(),
            buffer_records: Some(self.settings.effective_buffer_records()),
            ..self.settings.clone()
        };
        f.debug_struct("SinkBuilder")
            .field("stream", &self.stream)
            .field("settings", &settings)
            .field("stream_info", &self.stream_info.is_some())
            .field("dead_letters", &self.dead_letters.is_some())
            .finish_non_exhaustive()
    }
}
