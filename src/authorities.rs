//! The trusted certificate authorities for TLS: those of `SSL_CERT_FILE` and `SSL_CERT_DIR`,
//! otherwise the system's.

use std::{env, fmt};

use anyhow::{Context, bail};
use tokio_rustls::rustls::RootCertStore;

/// The variables that can replace the system's certificates.
const NAMED_BY: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Loads the certificates.
///
/// # Errors
/// The variables lead to no certificate, or none is installed.
pub fn load() -> anyhow::Result<RootCertStore> {
    let place = Place::of(|name| env::var(name).ok());
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    for certificate in found.certs {
        roots.add(certificate).with_context(|| format!("{place}: a certificate is broken"))?;
    }
    if let Some(error) = found.errors.first() {
        bail!("{place}: {error}");
    }
    if roots.is_empty() {
        bail!("{place}: no certificate is there, or none as PEM text");
    }
    Ok(roots)
}

/// Where the certificates are expected, for the error.
struct Place(Vec<(&'static str, String)>);

impl Place {
    fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        Self(NAMED_BY.iter().filter_map(|name| Some((*name, variable(name)?))).collect())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [] => f.write_str("the system's certificates of authorities"),
            [(name, path)] => write!(f, "{name} ({path})"),
            [(file, path), (directory, paths), ..] => {
                write!(f, "{file} ({path}) and {directory} ({paths})")
            }
        }
    }
}
