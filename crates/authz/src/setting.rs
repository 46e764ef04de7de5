//! How an operator names policies.

use std::convert::Infallible;
use std::str::FromStr;

use crate::{Policies, PolicyError};

/// Where policies come from: `FILE` for policies that stand instead of the built-in ones,
/// `+FILE` for policies beside them. On AWS the place may be `s3://bucket/key`.
///
/// ```
/// let setting: authz::Setting = "+s3://policies/freeze.cedar".parse().unwrap();
/// assert!(setting.beside);
/// assert_eq!(setting.place, "s3://policies/freeze.cedar");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// True where they stand beside the built-in policies.
    pub beside: bool,
    /// The path or address of the text.
    pub place: String,
}

impl FromStr for Setting {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let place = text.strip_prefix('+');
        Ok(Self {
            beside: place.is_some(),
            place: place.unwrap_or(text).to_owned(),
        })
    }
}

impl Setting {
    /// The policies whose text was read from [`Setting::place`].
    ///
    /// # Errors
    /// As [`Policies::instead`].
    pub fn policies(&self, text: &str) -> Result<Policies, PolicyError> {
        if self.beside {
            Policies::beside(&self.place, text)
        } else {
            Policies::instead(&self.place, text)
        }
    }
}
