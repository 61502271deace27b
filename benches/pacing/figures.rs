use serde::{Serialize, Serializer};

use super::policy::Policy;

/// Figures of a run, as written to the JSON file. A figure that does not apply is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    pub scenario: &'static str,
    pub limiter: &'static str,
    /// Fraction of the entries that are throttled at random.
    pub noise: f64,
    pub policy: &'static str,
    /// Offered records, as a multiple of the quota.
    pub offered: f64,
    /// Records written for the first time, as a fraction of the capacity.
    pub goodput: Option<f64>,
    /// Throttled entries, as a fraction of all entries received.
    pub rejected: Option<f64>,
    /// Jain's fairness index of the goodputs of the producers.
    pub fairness: Option<f64>,
    /// Seconds from the end of a fault, or from a change of the quota, until the goodput has recovered.
    pub recovery_s: Option<f64>,
    /// 99th percentile of the latency outside the hot shard, relative to a run without the records of this shard.
    pub cold_p99_ratio: Option<f64>,
    /// 99th percentile of the time from when a record is offered until it is first written.
    pub p99_s: Option<f64>,
    #[serde(serialize_with = "as_count")]
    pub requests_in_outage: Option<f64>,
    #[serde(serialize_with = "as_count")]
    pub lost: Option<f64>,
    #[serde(serialize_with = "as_count")]
    pub duplicated: Option<f64>,
    #[serde(serialize_with = "as_count")]
    pub out_of_order: Option<f64>,
    /// Maximum number of bytes that one producer buffers.
    #[serde(serialize_with = "as_count")]
    pub max_buffered_bytes: Option<f64>,
    /// Set to `true` if another policy has a better goodput and fewer rejections. `None` if no other policy was run.
    pub dominated: Option<bool>,
    /// Share of the producer that joins later, relative to an equal share.
    #[serde(skip)]
    pub joiner_share: Option<f64>,
    /// Fraction of throttled entries in the ten seconds after a drop of the quota. `rejected` excludes these seconds.
    #[serde(skip)]
    pub rejected_after_drop: Option<f64>,
}

fn as_count<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(|value| value as u64).serialize(serializer)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    Goodput,
    Rejected,
    Fairness,
    Recovery,
    ColdP99Ratio,
    P99,
    RequestsInOutage,
    Lost,
    Duplicated,
    OutOfOrder,
    MaxBufferedBytes,
    JoinerShare,
    RejectedAfterDrop,
}

impl Figure {
    pub const ALL: [Self; 13] = [
        Self::Goodput,
        Self::Rejected,
        Self::Fairness,
        Self::Recovery,
        Self::ColdP99Ratio,
        Self::P99,
        Self::RequestsInOutage,
        Self::Lost,
        Self::Duplicated,
        Self::OutOfOrder,
        Self::MaxBufferedBytes,
        Self::JoinerShare,
        Self::RejectedAfterDrop,
    ];

    pub fn of(self, figures: &Figures) -> Option<f64> {
        *self.of_mut(&mut figures.clone())
    }

    fn of_mut(self, figures: &mut Figures) -> &mut Option<f64> {
        match self {
            Self::Goodput => &mut figures.goodput,
            Self::Rejected => &mut figures.rejected,
            Self::Fairness => &mut figures.fairness,
            Self::ColdP99Ratio => &mut figures.cold_p99_ratio,
            Self::RequestsInOutage => &mut figures.requests_in_outage,
            Self::Recovery => &mut figures.recovery_s,
            Self::Lost => &mut figures.lost,
            Self::Duplicated => &mut figures.duplicated,
            Self::OutOfOrder => &mut figures.out_of_order,
            Self::MaxBufferedBytes => &mut figures.max_buffered_bytes,
            Self::P99 => &mut figures.p99_s,
            Self::JoinerShare => &mut figures.joiner_share,
            Self::RejectedAfterDrop => &mut figures.rejected_after_drop,
        }
    }

    pub fn heading(self) -> &'static str {
        match self {
            Self::Goodput => "goodput",
            Self::Rejected => "rejected",
            Self::Fairness => "fairness",
            Self::ColdP99Ratio => "cold p99",
            Self::RequestsInOutage => "requests in outage",
            Self::Recovery => "recovery",
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::OutOfOrder => "out of order",
            Self::MaxBufferedBytes => "buffered",
            Self::P99 => "p99",
            Self::JoinerShare => "joiner share",
            Self::RejectedAfterDrop => "rejected after drop",
        }
    }

    pub fn text(self, value: f64) -> String {
        match self {
            Self::Goodput | Self::Rejected | Self::RejectedAfterDrop => {
                format!("{:.1}%", 100.0 * value)
            }
            Self::Fairness | Self::JoinerShare => format!("{value:.3}"),
            Self::ColdP99Ratio => format!("{value:.2}x"),
            Self::Recovery => format!("{value:.1}s"),
            Self::P99 => format!("{value:.2}s"),
            Self::MaxBufferedBytes => format!("{:.1}MiB", value / (1024.0 * 1024.0)),
            _ => format!("{value:.0}"),
        }
    }

    fn larger_is_better(self) -> bool {
        matches!(self, Self::Goodput | Self::Fairness | Self::JoinerShare)
    }
}

/// Smallest difference between policies that counts. Smaller differences also occur between seeds.
const MIN_LEAD: f64 = 0.005;

impl Figures {
    /// Returns `true` if `other` is the same scenario under the same conditions, with another policy.
    pub fn is_rival_of(&self, other: &Self) -> bool {
        let cell = |it: &Self| (it.scenario, it.limiter, it.noise, it.offered);
        let is_policy = self.policy != Policy::Omniscient.name();
        cell(self) == cell(other) && self.policy != other.policy && is_policy
    }

    /// Returns `true` if the goodput is better and the rejections are fewer than those of `other`.
    pub fn dominates(&self, other: &Self) -> bool {
        let lead = |one: Option<f64>, other: Option<f64>| one.zip(other).map(|(a, b)| a - b);
        lead(self.goodput, other.goodput).is_some_and(|lead| lead > MIN_LEAD)
            && lead(other.rejected, self.rejected).is_some_and(|lead| lead > MIN_LEAD)
    }

    /// Returns the worse value for each figure.
    pub fn worst(mut self, other: &Self) -> Self {
        for figure in Figure::ALL {
            let worse = match (figure.of(&self), figure.of(other)) {
                (Some(one), Some(other)) if figure.larger_is_better() => Some(one.min(other)),
                (Some(one), Some(other)) => Some(one.max(other)),
                (one, other) => one.or(other),
            };
            *figure.of_mut(&mut self) = worse;
        }
        self
    }
}

/// A bound for a figure. It is a minimum if larger values are better, and a maximum otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    pub figure: Figure,
    pub limit: f64,
}

impl Bound {
    pub fn new(figure: Figure, limit: f64) -> Self {
        Self { figure, limit }
    }

    pub fn is_met(&self, figures: &Figures) -> bool {
        let is_within = |value: f64| {
            if self.figure.larger_is_better() { value >= self.limit } else { value <= self.limit }
        };
        self.figure.of(figures).is_some_and(is_within)
    }

    pub fn text(&self) -> String {
        let sign = if self.figure.larger_is_better() { ">=" } else { "<=" };
        format!("{sign}{}", self.figure.text(self.limit))
    }
}
