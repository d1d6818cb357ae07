//! Whatever is asked by HTTP, the answer is something typed or an error with a status, never a panic.
//!
//! The input is a method and a target in the first line, as in HTTP, and the body behind it.

use supervise::daemon::understand;

pub(crate) fn check(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, body) = (String::from_utf8_lossy(&input[..end]), input.get(end + 1..).unwrap_or_default());
    let (method, target) = line.split_once(' ').unwrap_or((&line, ""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if let Err((status, code, message)) = understand(method.as_bytes(), path, query, body) {
        assert!([400, 404, 405].contains(&status) && !code.is_empty() && !message.is_empty());
    }
}
