//! Serialized form of a linger in configuration files.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Linger;

/// A duration, or a table that contains the mode. `Linger` itself does not derive serde's traits, because the
/// representation of its variants would be different in YAML.
#[derive(Clone, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a duration such as \"100ms\", { adaptive = \"100ms\" } or { fixed = \"100ms\" } for linger"
)]
pub(super) enum LingerRepr {
    Auto(#[serde(with = "humantime_serde")] Duration),
    Mode(Mode),
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Mode {
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    adaptive: Option<Duration>,
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    fixed: Option<Duration>,
}

impl From<Linger> for LingerRepr {
    fn from(linger: Linger) -> Self {
        match linger {
            Linger::Auto(duration) => Self::Auto(duration),
            Linger::Adaptive(ceiling) => {
                Self::Mode(Mode { adaptive: Some(ceiling), ..Mode::default() })
            }
            Linger::Fixed(wait) => Self::Mode(Mode { fixed: Some(wait), ..Mode::default() }),
        }
    }
}

impl TryFrom<LingerRepr> for Linger {
    type Error = &'static str;

    fn try_from(repr: LingerRepr) -> Result<Self, Self::Error> {
        match repr {
            LingerRepr::Auto(duration) => Ok(Self::Auto(duration)),
            LingerRepr::Mode(Mode { adaptive: Some(ceiling), fixed: None }) => {
                Ok(Self::Adaptive(ceiling))
            }
            LingerRepr::Mode(Mode { adaptive: None, fixed: Some(wait) }) => Ok(Self::Fixed(wait)),
            LingerRepr::Mode(_) => {
                Err("linger has no mode or two modes: set either `adaptive` or `fixed`")
            }
        }
    }
}
