//! A linger in a configuration file.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Linger;

/// A table with one of the two. A derived enum would read differently in YAML.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LingerTable {
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    self_clocked: Option<Duration>,
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    fill: Option<Duration>,
}

impl From<Linger> for LingerTable {
    fn from(linger: Linger) -> Self {
        match linger {
            Linger::SelfClocked(ceiling) => Self { self_clocked: Some(ceiling), ..Self::default() },
            Linger::Fill(wait) => Self { fill: Some(wait), ..Self::default() },
        }
    }
}

impl TryFrom<LingerTable> for Linger {
    type Error = &'static str;

    fn try_from(table: LingerTable) -> Result<Self, Self::Error> {
        match (table.self_clocked, table.fill) {
            (Some(ceiling), None) => Ok(Self::SelfClocked(ceiling)),
            (None, Some(wait)) => Ok(Self::Fill(wait)),
            (None, None) | (Some(_), Some(_)) => Err("a linger is either `self_clocked` or `fill`"),
        }
    }
}
