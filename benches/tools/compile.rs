//! Programs in C, for what is measured beside us and for children that cost nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a file in `benches`, named from there, into a program in `into` that is called after it.
///
/// # Errors
/// There is no compiler, or it refuses the file.
pub(crate) fn compile(source: &str, options: &[&str], into: &Path) -> io::Result<PathBuf> {
    let program = into.join(source.trim_end_matches(".c").replace('/', "-"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(source);
    let status = Command::new("cc").arg("-O2").args(options).arg("-o").arg(&program).arg(&source).status();
    match status {
        Ok(status) if status.success() => Ok(program),
        Ok(status) => Err(io::Error::other(format!("`cc` could not compile {}: {status}", source.display()))),
        Err(error) => Err(io::Error::other(format!(
            "no C compiler `cc` ({error}); it comes with gcc or clang, on Debian `apt install gcc libc6-dev`"
        ))),
    }
}
