//! Secrets: read from files or the environment, never shown.

use std::io::Read;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

/// The largest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A secret and where it is from.
#[derive(Clone, Debug)]
pub struct Secret {
    /// The secret without its trailing line end.
    pub value: SecretString,
    /// Its file; `None` when the environment gave it.
    pub file: Option<PathBuf>,
}

/// Reads a secret. The second value tells that other users of the machine may read the file.
///
/// # Errors
/// Why the file is not taken, without its content and without its name: who mistakes `password_file` for the password
/// must not find it in a log.
pub(super) fn read_secret(path: &Path) -> Result<(Secret, bool), String> {
    let text = read_text(path, SECRET_BYTES_MAX).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "the file does not exist".to_owned(),
        _ => format!("the file cannot be read: {error}"),
    })?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let secret = Secret { value: SecretString::from(text), file: Some(path.to_owned()) };
    Ok((secret, readable_by_everyone(path)))
}

/// Reads a whole file that has at most `bytes_max` bytes.
pub(super) fn read_text(path: &Path, bytes_max: u64) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if read as u64 > bytes_max {
        return Err(std::io::Error::other(format!("it has more than {bytes_max} bytes")));
    }
    Ok(text)
}

#[cfg(unix)]
fn readable_by_everyone(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn readable_by_everyone(_: &Path) -> bool {
    false
}
