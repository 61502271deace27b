//! A minimal parser of the Prometheus text format.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, Default)]
pub struct Scrape {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Parses the text format and skips invalid lines.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self { samples: lines.filter_map(Sample::parse).collect() }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// Returns the sum of all samples of a metric, or 0 if there are none.
    pub fn sum(&self, name: &str) -> f64 {
        self.named(name).map(|sample| sample.value).sum()
    }

    pub fn sum_of(&self, name: &str, label: &str, value: &str) -> f64 {
        let has = |sample: &&Sample| sample.labels.get(label).is_some_and(|known| known == value);
        self.named(name).filter(has).map(|sample| sample.value).sum()
    }

    pub fn labels(&self, name: &str, label: &str) -> BTreeSet<String> {
        self.named(name).filter_map(|sample| sample.labels.get(label)).cloned().collect()
    }

    /// Estimates a quantile of the values since `before`, or returns `None` if there are none. Like Prometheus,
    /// this assumes a uniform distribution within each bucket.
    pub fn quantile(&self, before: &Self, name: &str, quantile: f64) -> Option<f64> {
        let buckets = format!("{name}_bucket");
        let count =
            |bound: &str| self.sum_of(&buckets, "le", bound) - before.sum_of(&buckets, "le", bound);
        let all = count("+Inf");
        let bounds = self.labels(&buckets, "le");
        let mut bounds: Vec<_> = bounds.iter().filter(|bound| *bound != "+Inf").collect();
        bounds.sort_by(|a, b| number(a).total_cmp(&number(b)));
        if all == 0.0 {
            return None;
        }
        let (mut lower, mut below) = (0.0, 0.0);
        for bound in bounds {
            let (upper, up_to) = (number(bound), count(bound));
            let rank = quantile * all;
            if up_to >= rank {
                return Some(lower + (upper - lower) * (rank - below) / (up_to - below));
            }
            (lower, below) = (upper, up_to);
        }
        Some(lower)
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (series, ""),
        };
        // The label values of this crate contain neither commas nor quotes.
        let labels = labels.split(',').filter_map(|label| {
            let (key, value) = label.split_once('=')?;
            Some((key.to_owned(), value.trim_matches('"').to_owned()))
        });
        let (name, labels) = (name.to_owned(), labels.collect());
        Some(Self { name, labels, value: value.parse().ok()? })
    }
}

fn number(bound: &str) -> f64 {
    bound.parse().unwrap_or(f64::INFINITY)
}
