//! The credentials of the derived clients.

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

/// How long a request waits for credentials that are being loaded. The load continues, and later requests join it.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How long a load may take before it is aborted. The SDK's cache ends it after 22 s by default.
const LONGEST_LOAD: Duration = Duration::from_secs(60);

/// The shortest time between two loads of refused credentials.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// The most providers that are tracked. A new one beyond them clears the state of all others.
const MAX_PROVIDERS: usize = 256;

/// Caches identities for the clients derived from one client.
///
/// The cache of that client is asked first, so that its settings apply. A client without a cache (not made by
/// `aws_config`) uses one that all derived clients of the process share. In addition:
///
/// - Credentials that the service refused are loaded again from the provider, past the cache.
/// - Dropping a request does not cancel the load of its credentials. Otherwise a provider that is slower than the
///   request timeout would never answer.
/// - A load uses the retry settings of the user's client, although a derived client has no retries.
#[derive(Clone)]
pub(super) struct Identities {
    cache: SharedIdentityCache,
    retries: Option<RetryConfig>,
    timeouts: Option<TimeoutConfig>,
}

/// The cache for clients that have none. It keeps the identities of different providers apart.
static DEFAULT_CACHE: LazyLock<SharedIdentityCache> =
    LazyLock::new(|| IdentityCache::lazy().max_partitions(MAX_PROVIDERS).build());

/// Each provider's state, shared by all clients of the process that use the provider.
static PROVIDERS: LazyLock<Mutex<HashMap<IdentityCachePartition, Provider>>> =
    LazyLock::new(Mutex::default);

#[derive(Default)]
struct Provider {
    loading: Option<Loading>,
    /// Whether it has provided credentials before.
    has_loaded: bool,
    refused: Option<Refused>,
}

struct Loading {
    result: Shared<BoxFuture<'static, Result<Identity, IdentityError>>>,
    task: AbortHandle,
    began: Instant,
}

/// Credentials that the service refuses although they are in the client's cache.
struct Refused {
    cached: Identity,
    /// The cache for the provider's newer credentials.
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

    /// Starts to load the identity, or joins the load that is under way.
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
                if loading.began.elapsed() < LONGEST_LOAD {
                    return loading.result.clone();
                }
                loading.task.abort();
            }
            let (this, components) = (self.clone(), components.clone());
            let load = async move { this.resolve(resolver, &components).await };
            let task = tokio::spawn(load.instrument(Span::current()));
            let (began, abort) = (Instant::now(), task.abort_handle());
            let result = async move {
                // A panic of the provider, or the end of the runtime.
                task.await.unwrap_or_else(|_| Err("the load of the credentials was aborted".into()))
            };
            let result = result.map(move |result| note(partition, result)).boxed().shared();
            provider.loading = Some(Loading { result: result.clone(), task: abort, began });
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
            // Once the client's cache has other credentials, it is up to date again.
            let refused = provider.refused.take_if(|refused| !same(&refused.cached, &cached));
            drop(refused);
            provider.refused.as_ref().map(|refused| refused.replacement.clone())
        });
        match replacement {
            Some(cache) => cache.resolve_cached_identity(resolver, components, &bag).await,
            None => Ok(cached),
        }
    }
}

/// Records whether the provider has provided credentials. If it has, a later "not loaded" is an outage.
fn note(
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

/// Whether both are the same credentials. Identities of other kinds are never the same.
fn same(one: &Identity, other: &Identity) -> bool {
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
            let identity = timeout(LONGEST_WAIT, load).await.map_err(|_| IdentityError {
                source: BoxError::from(format!("not loaded after {LONGEST_WAIT:?}")).into(),
                has_loaded: true,
                is_loading: true,
            })??;
            if let Some(signer) = bag.load::<Signer>() {
                // A request that is not retried is signed once.
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

/// The identity that signs a request, once it is known.
#[derive(Clone, Default)]
pub(super) struct Signer(Arc<OnceLock<(IdentityCachePartition, Identity)>>);

impl Signer {
    /// Notes that the service refuses the identity: the next request asks the provider for another one.
    pub(super) fn refuse(&self) {
        let Some((partition, identity)) = self.0.get() else { return };
        with_provider(*partition, |provider| {
            let cached = match &provider.refused {
                // An earlier request has noted it, or the provider has no other credentials yet.
                Some(refused) if refused.since.elapsed() < REFRESH_INTERVAL => return,
                Some(refused) => refused.cached.clone(),
                None => identity.clone(),
            };
            let (replacement, since) =
                (IdentityCache::lazy().max_partitions(1).build(), Instant::now());
            provider.refused = Some(Refused { cached, replacement, since });
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

/// Why there are no credentials for a request.
#[derive(Debug, Clone)]
pub(super) struct IdentityError {
    source: Arc<dyn Error + Send + Sync>,
    has_loaded: bool,
    is_loading: bool,
}

impl IdentityError {
    /// Whether the load continues, so that a later request may join it.
    pub(super) fn is_loading(&self) -> bool {
        self.is_loading
    }

    /// Whether the provider has provided credentials before, or still may.
    pub(super) fn has_loaded(&self) -> bool {
        self.has_loaded
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the credentials cannot be loaded")
    }
}

impl Error for IdentityError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}
