use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{
    ConfigBag, IdentityCache, Layer, ResolveCachedIdentity, RuntimeComponents,
    RuntimeComponentsBuilder, SharedIdentityCache,
};
use aws_smithy_runtime_api::client::identity::{
    Identity, IdentityCachePartition, IdentityFuture, SharedIdentityResolver,
};
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tower::BoxError;
use tracing::{Instrument, Span};

/// Maximum time for which a request waits for credentials. The load continues, so that later requests can join it.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Maximum duration of a load. The next request then starts a new one. By default, the SDK's cache stops after 22 s.
const MAX_LOAD: Duration = Duration::from_secs(60);

/// Minimum time between two attempts to replace rejected credentials.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of tracked credentials providers. A new provider above the maximum discards the state of all others.
/// The maximum is high enough for a process that uses one role per tenant. A provider takes 2.7 KB, cached identity
/// included, even after its clients are dropped, so all of them take at most 27 MB.
const MAX_PROVIDERS: usize = 10_000;

/// Identity cache of a derived client, which wraps the identity cache of the user's client.
///
/// A client that was not created by `aws_config` has no cache, so all such clients of a process share
/// [`DEFAULT_CACHE`]. The wrapper differs from the wrapped cache as follows:
///
/// - It bypasses the wrapped cache and loads new credentials from the provider if the service rejects the cached ones.
/// - Dropping a request does not cancel the load, so a provider can be slower than the request timeout.
/// - A load uses the retry settings of the user's client, although the derived client does not retry.
#[derive(Clone)]
pub(super) struct Identities {
    cache: SharedIdentityCache,
    retries: Option<RetryConfig>,
    timeouts: Option<TimeoutConfig>,
}

static DEFAULT_CACHE: LazyLock<SharedIdentityCache> =
    LazyLock::new(|| IdentityCache::lazy().max_partitions(MAX_PROVIDERS).build());

/// State of each provider, shared by all clients of the process.
static PROVIDERS: LazyLock<Mutex<HashMap<IdentityCachePartition, Provider>>> =
    LazyLock::new(Mutex::default);

#[derive(Default)]
struct Provider {
    loading: Option<Loading>,
    has_loaded: bool,
    rejected: Option<Rejected>,
}

struct Loading {
    result: Shared<BoxFuture<'static, Result<Identity, IdentityError>>>,
    task: AbortHandle,
    started_at: Instant,
}

struct Rejected {
    cached: Identity,
    replacement: SharedIdentityCache,
    since: Instant,
}

impl Identities {
    pub(super) fn of(client: &Client) -> Self {
        let config = client.config();
        Self {
            cache: config.identity_cache().unwrap_or_else(|| DEFAULT_CACHE.clone()),
            retries: config.retry_config().cloned(),
            timeouts: config.timeout_config().cloned(),
        }
    }

    /// Starts to load the identity, or joins a running load.
    fn load(
        &self,
        resolver: SharedIdentityResolver,
        components: &RuntimeComponents,
    ) -> Shared<BoxFuture<'static, Result<Identity, IdentityError>>> {
        let partition = resolver.cache_partition();
        with_provider(partition, |provider| {
            if let Some(loading) = &provider.loading
                && !loading.task.is_finished()
            {
                if loading.started_at.elapsed() < MAX_LOAD {
                    return loading.result.clone();
                }
                loading.task.abort();
            }
            let this = self.clone();
            let components = components.clone();
            let load = async move { this.resolve(resolver, &components).await };
            let task = tokio::spawn(load.instrument(Span::current()));
            let abort = task.abort_handle();
            let result = async move {
                // The task fails if the provider panics, a later request aborts it, or the runtime shuts down.
                task.await.unwrap_or_else(|_| Err("loading the credentials was aborted".into()))
            };
            let result = result.map(move |result| record_load(partition, result)).boxed().shared();
            provider.loading =
                Some(Loading { result: result.clone(), task: abort, started_at: Instant::now() });
            result
        })
    }

    async fn resolve(
        self,
        resolver: SharedIdentityResolver,
        components: &RuntimeComponents,
    ) -> Result<Identity, BoxError> {
        let mut layer = Layer::new("kinesis_sink::Identities");
        if let Some(retries) = self.retries {
            layer.store_put(retries);
        }
        if let Some(timeouts) = self.timeouts {
            layer.store_put(timeouts);
        }
        let bag = ConfigBag::of_layers([layer]);
        let cached = self.cache.resolve_cached_identity(resolver.clone(), components, &bag).await?;
        let replacement = with_provider(resolver.cache_partition(), |provider| {
            // If the wrapped cache returns credentials other than the rejected ones, it has refreshed them.
            drop(provider.rejected.take_if(|rejected| !is_same(&rejected.cached, &cached)));
            provider.rejected.as_ref().map(|rejected| rejected.replacement.clone())
        });
        match replacement {
            Some(cache) => cache.resolve_cached_identity(resolver, components, &bag).await,
            None => Ok(cached),
        }
    }
}

/// Records whether the provider has returned credentials. If so, a later "not loaded" error is an outage.
fn record_load(
    partition: IdentityCachePartition,
    result: Result<Identity, BoxError>,
) -> Result<Identity, IdentityError> {
    with_provider(partition, |provider| match result {
        Ok(identity) => {
            provider.has_loaded = true;
            Ok(identity)
        }
        Err(source) => {
            let has_loaded = provider.has_loaded;
            Err(IdentityError { source: source.into(), has_loaded, is_loading: false })
        }
    })
}

fn with_provider<T>(partition: IdentityCachePartition, f: impl FnOnce(&mut Provider) -> T) -> T {
    let mut providers = PROVIDERS.lock().unwrap_or_else(PoisonError::into_inner);
    if providers.len() >= MAX_PROVIDERS && !providers.contains_key(&partition) {
        providers.clear();
    }
    f(providers.entry(partition).or_default())
}

/// Returns `true` if both identities contain the same credentials. Returns `false` for any other type of identity.
fn is_same(one: &Identity, other: &Identity) -> bool {
    let (one, other) = (one.data::<Credentials>(), other.data::<Credentials>());
    one.zip(other).is_some_and(|(one, other)| {
        one.access_key_id() == other.access_key_id()
            && one.secret_access_key() == other.secret_access_key()
            && one.session_token() == other.session_token()
    })
}

impl ResolveCachedIdentity for Identities {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        bag: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        IdentityFuture::new(async move {
            let partition = resolver.cache_partition();
            let load = self.load(resolver, components);
            let identity = timeout(MAX_WAIT, load).await.map_err(|_| IdentityError {
                source: BoxError::from(format!("not loaded after {MAX_WAIT:?}")).into(),
                has_loaded: true,
                is_loading: true,
            })??;
            if let Some(signer) = bag.load::<Signer>() {
                // The cell is set only once, because the request is not retried.
                let _ = signer.0.set((partition, identity.clone()));
            }
            Ok(identity)
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        bag: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.cache.validate_base_client_config(components, bag)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        bag: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.cache.validate_final_config(components, bag)
    }
}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

/// Identity that signed a request. Empty until the identity is loaded.
#[derive(Clone, Default)]
pub(super) struct Signer(Arc<OnceLock<(IdentityCachePartition, Identity)>>);

impl Signer {
    /// Marks the identity as rejected by the service, so that the next request loads new credentials from the provider.
    pub(super) fn reject(&self) {
        let Some((partition, identity)) = self.0.get() else { return };
        with_provider(*partition, |provider| {
            let cached = match &provider.rejected {
                // Limits how often rejected credentials are loaded again.
                Some(rejected) if rejected.since.elapsed() < REFRESH_INTERVAL => return,
                Some(rejected) => rejected.cached.clone(),
                None => identity.clone(),
            };
            let replacement = IdentityCache::lazy().max_partitions(1).build();
            provider.rejected = Some(Rejected { cached, replacement, since: Instant::now() });
        });
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Storable for Signer {
    type Storer = StoreReplace<Self>;
}

#[derive(Debug, Clone)]
pub(super) struct IdentityError {
    source: Arc<dyn Error + Send + Sync>,
    has_loaded: bool,
    is_loading: bool,
}

impl IdentityError {
    /// Returns `true` if the credentials are still being loaded. A later request joins the load.
    pub(super) fn is_loading(&self) -> bool {
        self.is_loading
    }

    /// Returns `true` if the provider has returned credentials before, or is still loading them.
    pub(super) fn has_loaded(&self) -> bool {
        self.has_loaded
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("credentials cannot be loaded")
    }
}

impl Error for IdentityError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
