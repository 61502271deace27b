//! What Prometheus reads, read by ourselves: enough for a few panels.

use std::collections::{BTreeMap, BTreeSet};

/// One look at all metrics.
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
    /// Reads the text format. Lines that are none of it are left out.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self { samples: lines.filter_map(Sample::parse).collect() }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The sum over all labels; 0 if there is none.
    pub fn sum(&self, name: &str) -> f64 {
        self.named(name).map(|sample| sample.value).sum()
    }

    /// The sum where a label has this value.
    pub fn sum_of(&self, name: &str, label: &str, value: &str) -> f64 {
        let has = |sample: &&Sample| sample.labels.get(label).is_some_and(|known| known == value);
        self.named(name).filter(has).map(|sample| sample.value).sum()
    }

    /// The values of a label.
    pub fn labels(&self, name: &str, label: &str) -> BTreeSet<String> {
        self.named(name).filter_map(|sample| sample.labels.get(label)).cloned().collect()
    }

    /// What `share` of the values are below that a histogram was told since `before`, as Prometheus estimates it:
    /// in a bucket they lie evenly. None if it was told nothing.
    pub fn quantile(&self, before: &Self, name: &str, share: f64) -> Option<f64> {
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
            if up_to >= share * all {
                return Some(lower + (upper - lower) * (share * all - below) / (up_to - below));
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
        // None of our labels has a comma or a quote in its value.
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
