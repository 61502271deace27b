use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, LocalRecorderGuard, Metadata, Recorder, SharedString,
    Unit,
};
use metrics_util::registry::{AtomicStorage, Registry};

/// Records the metrics of the current thread until it is dropped.
pub struct Recorded {
    registry: &'static Storage,
    _guard: LocalRecorderGuard<'static>,
}

struct Storage(Registry<Key, AtomicStorage>);

impl Recorder for Storage {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.0.get_or_create_counter(key, |counter| Counter::from_arc(Arc::clone(counter)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.0.get_or_create_gauge(key, |gauge| Gauge::from_arc(Arc::clone(gauge)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.0.get_or_create_histogram(key, |values| Histogram::from_arc(Arc::clone(values)))
    }
}

impl Recorded {
    pub fn install() -> Self {
        // The guard borrows the registry until the test ends.
        let registry: &'static Storage = Box::leak(Box::new(Storage(Registry::atomic())));
        Self { registry, _guard: metrics::set_default_local_recorder(registry) }
    }

    pub fn counter(&self, name: &str) -> u64 {
        self.counter_of(name, &[])
    }

    pub fn counter_of(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let counters = self.registry.0.get_counter_handles();
        let found = counters.iter().find(|(key, _)| matches(key, name, labels));
        found.unwrap_or_else(|| panic!("no {name} {labels:?}")).1.load(Ordering::Relaxed)
    }

    pub fn gauge(&self, name: &str) -> f64 {
        self.gauge_of(name, &[])
    }

    pub fn gauge_of(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let gauges = self.registry.0.get_gauge_handles();
        let found = gauges.iter().find(|(key, _)| matches(key, name, labels));
        let bits = found.unwrap_or_else(|| panic!("no {name} {labels:?}")).1;
        f64::from_bits(bits.load(Ordering::Relaxed))
    }

    /// Returns the number of occurrences of each value. Values are in thousandths.
    pub fn histogram(&self, name: &str) -> BTreeMap<u64, usize> {
        let histograms = self.registry.0.get_histogram_handles();
        let found = histograms.iter().find(|(key, _)| matches(key, name, &[]));
        let mut counts = BTreeMap::new();
        found.unwrap_or_else(|| panic!("no {name}")).1.data_with(|values| {
            for value in values {
                *counts.entry((value * 1_000.0).round() as u64).or_default() += 1;
            }
        });
        counts
    }

    /// Returns the number of handles to a gauge of a stream.
    pub fn gauge_handles(&self, name: &str, stream: &str) -> usize {
        let gauges = self.registry.0.get_gauge_handles();
        let mut gauges = gauges.iter();
        let found = gauges.find(|(key, _)| unprefixed(key) == name && stream_of(key) == stream);
        // The registry and the map have one each.
        Arc::strong_count(found.unwrap_or_else(|| panic!("no {name} of {stream}")).1) - 2
    }

    pub fn labels(&self, name: &str, label: &str) -> BTreeSet<String> {
        let keys = self.registry.0.get_counter_handles().into_keys();
        let keys: Vec<_> = keys.filter(|key| unprefixed(key) == name).collect();
        let labels = keys.iter().flat_map(Key::labels).filter(|known| known.key() == label);
        labels.map(|label| label.value().to_owned()).collect()
    }

    /// Returns the sum of each counter or gauge over all labels except `stream`, by the value of that label.
    pub fn by_stream(&self, name: &str) -> BTreeMap<String, f64> {
        let Storage(registry) = self.registry;
        let counters = registry.get_counter_handles().into_iter();
        let counters = counters.map(|(key, counter)| (key, counter.load(Ordering::Relaxed) as f64));
        let gauges = registry.get_gauge_handles().into_iter();
        let gauges =
            gauges.map(|(key, gauge)| (key, f64::from_bits(gauge.load(Ordering::Relaxed))));
        let mut sums = BTreeMap::new();
        for (key, value) in counters.chain(gauges).filter(|(key, _)| unprefixed(key) == name) {
            *sums.entry(stream_of(&key)).or_default() += value;
        }
        sums
    }

    /// Returns the values of the label `stream` for each name.
    pub fn streams(&self) -> BTreeMap<String, BTreeSet<String>> {
        let Storage(registry) = self.registry;
        let counters = registry.get_counter_handles().into_keys();
        let gauges = registry.get_gauge_handles().into_keys();
        let histograms = registry.get_histogram_handles().into_keys();
        let mut streams: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for key in counters.chain(gauges).chain(histograms) {
            streams.entry(unprefixed(&key).to_owned()).or_default().insert(stream_of(&key));
        }
        streams
    }

    pub fn names(&self) -> BTreeMap<String, &'static str> {
        let Storage(registry) = self.registry;
        let counters = registry.get_counter_handles().into_keys().map(|key| (key, "counter"));
        let gauges = registry.get_gauge_handles().into_keys().map(|key| (key, "gauge"));
        let histograms = registry.get_histogram_handles().into_keys().map(|key| (key, "histogram"));
        let all = counters.chain(gauges).chain(histograms);
        all.map(|(key, kind)| (unprefixed(&key).to_owned(), kind)).collect()
    }
}

fn unprefixed(key: &Key) -> &str {
    key.name().strip_prefix("kinesis_sink_").expect("every name has the prefix")
}

fn stream_of(key: &Key) -> String {
    let stream = key.labels().find(|label| label.key() == "stream");
    stream.expect("every metric has the label").value().to_owned()
}

/// Ignores the label `stream`, but requires all other labels to be equal.
fn matches(key: &Key, name: &str, labels: &[(&str, &str)]) -> bool {
    let others = key.labels().filter(|label| label.key() != "stream");
    unprefixed(key) == name
        && others.map(|label| (label.key(), label.value())).eq(labels.iter().copied())
}
