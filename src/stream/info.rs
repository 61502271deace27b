use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tower::BoxError;

use super::{StreamDescription, StreamId};
use crate::shard::Shard;

/// Source of stream descriptions and shard lists.
///
/// [`SdkStreamInfo`](crate::service::SdkStreamInfo) is the source that calls the service. Implement this trait for a
/// cache or another source, or create a source from a closure with [`describe_stream_fn`] or [`list_shards_fn`].
///
/// A source can provide only descriptions or only shard lists, and return `None` for the other. A [pair](#pairs) then
/// calls its second source. A sink also works without the missing information.
///
/// ```
/// use futures::FutureExt;
/// use futures::future::{BoxFuture, ready};
/// use kinesis_sink::record::HashKey;
/// use kinesis_sink::shard::{HashRange, Shard};
/// use kinesis_sink::stream::StreamInfo;
/// use kinesis_sink::StreamId;
/// use tower::BoxError;
///
/// struct OneShard;
///
/// impl StreamInfo for OneShard {
///     fn list_shards(
///         &self,
///         _stream: &StreamId,
///     ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
///         let ring = HashRange::new(HashKey::new(0), HashKey::new(u128::MAX)).expect("in order");
///         Some(ready(Ok(vec![Shard::new("shardId-000000000000", ring)])).boxed())
///     }
/// }
/// # let stream = "clicks".parse().unwrap();
/// # assert!(OneShard.list_shards(&stream).is_some() && OneShard.describe_stream(&stream).is_none());
/// ```
///
/// # Pairs
///
/// A tuple of two sources is a source as well. It calls the first source, and calls the second source only if the first
/// returns `None`. If the first source returns an error, the second is not called.
pub trait StreamInfo: Send + Sync {
    /// Describes `stream`. Returns `None` if this source cannot describe streams, which is the default.
    ///
    /// # Errors
    ///
    /// The future returns an error if the description currently cannot be obtained. The sink classifies the error with
    /// [`Classify`](crate::service::Classify), based on the error and its sources. Use
    /// [`PutRecordsError::service`](crate::service::PutRecordsError::service) to create an error that the default
    /// classification recognizes.
    ///
    /// # Cancel safety
    ///
    /// The sink can drop the future at any time, and call the method again.
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        let _ = stream;
        None
    }

    /// Describes `stream` without using a cache.
    ///
    /// The sink calls this method when responses contradict the previous description. The default implementation calls
    /// [`describe_stream`](Self::describe_stream). A source that has a cache must override this method.
    ///
    /// # Errors
    ///
    /// See [`describe_stream`](Self::describe_stream).
    ///
    /// # Cancel safety
    ///
    /// See [`describe_stream`](Self::describe_stream).
    fn describe_stream_uncached(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        self.describe_stream(stream)
    }

    /// Lists the open shards of `stream`. Returns `None` if this source cannot list shards, which is the default.
    ///
    /// Open shards are those that accept records. The shards can be in any order, but their ids must be unique and
    /// their hash key ranges must not overlap.
    ///
    /// # Errors
    ///
    /// The future returns an error if the shards currently cannot be listed. The sink classifies the error as described
    /// for [`describe_stream`](Self::describe_stream).
    ///
    /// # Cancel safety
    ///
    /// See [`describe_stream`](Self::describe_stream).
    fn list_shards(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        let _ = stream;
        None
    }
}

impl<A: StreamInfo, B: StreamInfo> StreamInfo for (A, B) {
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        self.0.describe_stream(stream).or_else(|| self.1.describe_stream(stream))
    }

    fn describe_stream_uncached(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        self.0.describe_stream_uncached(stream).or_else(|| self.1.describe_stream_uncached(stream))
    }

    fn list_shards(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        self.0.list_shards(stream).or_else(|| self.1.list_shards(stream))
    }
}

impl<T: StreamInfo + ?Sized> StreamInfo for Arc<T> {
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        T::describe_stream(self, stream)
    }

    fn describe_stream_uncached(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        T::describe_stream_uncached(self, stream)
    }

    fn list_shards(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        T::list_shards(self, stream)
    }
}

/// Returns a [`StreamInfo`] that describes streams with a closure, and does not list shards.
///
/// ```
/// use kinesis_sink::stream::{StreamDescription, StreamInfo, describe_stream_fn};
///
/// # async fn demo() -> Result<(), tower::BoxError> {
/// let source = describe_stream_fn(|_| async { Ok(StreamDescription::default()) });
/// let call = source.describe_stream(&"clicks".parse()?).expect("it describes streams");
/// assert_eq!(call.await?.max_record_bytes(), 1024 * 1024);
/// # Ok(())
/// # }
/// # futures::executor::block_on(demo()).unwrap();
/// ```
pub fn describe_stream_fn<F, Fut>(f: F) -> DescribeStreamFn<F>
where
    F: Fn(StreamId) -> Fut + Send + Sync,
    Fut: Future<Output = Result<StreamDescription, BoxError>> + Send + 'static,
{
    DescribeStreamFn { f }
}

/// [`StreamInfo`] that describes streams with a closure. It is returned by [`describe_stream_fn`].
#[derive(Clone, Copy)]
pub struct DescribeStreamFn<F> {
    f: F,
}

impl<F> fmt::Debug for DescribeStreamFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DescribeStreamFn").finish_non_exhaustive()
    }
}

impl<F, Fut> StreamInfo for DescribeStreamFn<F>
where
    F: Fn(StreamId) -> Fut + Send + Sync,
    Fut: Future<Output = Result<StreamDescription, BoxError>> + Send + 'static,
{
    fn describe_stream(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<StreamDescription, BoxError>>> {
        Some(Box::pin((self.f)(stream.clone())))
    }
}

/// Returns a [`StreamInfo`] that lists shards with a closure, and does not describe streams.
///
/// ```
/// use kinesis_sink::record::HashKey;
/// use kinesis_sink::shard::{HashRange, Shard};
/// use kinesis_sink::stream::{StreamInfo, list_shards_fn};
///
/// # async fn demo() -> Result<(), tower::BoxError> {
/// let source = list_shards_fn(|_| async {
///     let ring = HashRange::new(HashKey::new(0), HashKey::new(u128::MAX)).expect("in order");
///     Ok(vec![Shard::new("shardId-000000000000", ring)])
/// });
/// let call = source.list_shards(&"clicks".parse()?).expect("it lists shards");
/// assert_eq!(call.await?.len(), 1);
/// # Ok(())
/// # }
/// # futures::executor::block_on(demo()).unwrap();
/// ```
pub fn list_shards_fn<F, Fut>(f: F) -> ListShardsFn<F>
where
    F: Fn(StreamId) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Vec<Shard>, BoxError>> + Send + 'static,
{
    ListShardsFn { f }
}

/// [`StreamInfo`] that lists shards with a closure. It is returned by [`list_shards_fn`].
#[derive(Clone, Copy)]
pub struct ListShardsFn<F> {
    f: F,
}

impl<F> fmt::Debug for ListShardsFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListShardsFn").finish_non_exhaustive()
    }
}

impl<F, Fut> StreamInfo for ListShardsFn<F>
where
    F: Fn(StreamId) -> Fut + Send + Sync,
    Fut: Future<Output = Result<Vec<Shard>, BoxError>> + Send + 'static,
{
    fn list_shards(
        &self,
        stream: &StreamId,
    ) -> Option<BoxFuture<'static, Result<Vec<Shard>, BoxError>>> {
        Some(Box::pin((self.f)(stream.clone())))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    type Described = Result<StreamDescription, BoxError>;

    struct Neither;

    impl StreamInfo for Neither {}

    /// Source with a cache. The cached description has a record limit of 1 byte, and the uncached one of 2 bytes.
    struct Cached;

    impl StreamInfo for Cached {
        fn describe_stream(&self, _: &StreamId) -> Option<BoxFuture<'static, Described>> {
            Some(Box::pin(async { Ok(of_bytes(1)) }))
        }

        fn describe_stream_uncached(&self, _: &StreamId) -> Option<BoxFuture<'static, Described>> {
            Some(Box::pin(async { Ok(of_bytes(2)) }))
        }
    }

    fn of_bytes(bytes: usize) -> StreamDescription {
        StreamDescription::default().with_max_record_bytes(bytes)
    }

    fn stream() -> StreamId {
        "example".parse().unwrap()
    }

    /// Returns the record limits in the cached and uncached descriptions of a source.
    fn limits(source: &impl StreamInfo) -> [Option<usize>; 2] {
        let calls = [source.describe_stream(&stream()), source.describe_stream_uncached(&stream())];
        calls.map(|call| Some(call?.now_or_never()?.ok()?.max_record_bytes()))
    }

    fn shards(source: &impl StreamInfo) -> Option<Result<usize, String>> {
        let listed = source.list_shards(&stream())?.now_or_never()?;
        Some(listed.map(|shards| shards.len()).map_err(|error| error.to_string()))
    }

    #[test]
    fn source_returns_none_by_default() {
        assert_eq!(limits(&Neither), [None, None]);
        assert_eq!(shards(&Neither), None);
        assert_eq!(limits(&(Neither, Neither)), [None, None]);
    }

    #[test]
    fn closure_source_returns_none_for_other_call() {
        let describes = describe_stream_fn(|_| async { Ok(of_bytes(3)) });
        assert_eq!((limits(&describes), shards(&describes)), ([Some(3); 2], None));
        let lists = list_shards_fn(|_| async { Ok(Vec::new()) });
        assert_eq!((limits(&lists), shards(&lists)), ([None; 2], Some(Ok(0))));
    }

    #[test]
    fn pair_calls_second_if_first_returns_none() {
        let lists = || list_shards_fn(|_| async { Ok(Vec::new()) });
        for pair in [limits(&(lists(), Cached)), limits(&(Cached, lists()))] {
            assert_eq!(pair, [Some(1), Some(2)]);
        }
        assert_eq!(shards(&(Cached, lists())), Some(Ok(0)));
        assert_eq!(
            limits(&(describe_stream_fn(|_| async { Ok(of_bytes(3)) }), Cached)),
            [Some(3); 2]
        );
    }

    #[test]
    fn pair_returns_first_source_error() {
        let denied = list_shards_fn(|_| async { Err("denied".into()) });
        let lists = list_shards_fn(|_| async { Ok(Vec::new()) });
        assert_eq!(shards(&(denied, lists)), Some(Err("denied".to_owned())));
    }

    #[test]
    fn arc_source_forwards_overridden_methods() {
        let shared: Arc<dyn StreamInfo> = Arc::new(Cached);
        assert_eq!(limits(&shared), [Some(1), Some(2)]);
    }
}
