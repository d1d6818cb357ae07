//! The port of `--http`: where it is, and who may do what there.
//!
//! Whoever can reach it may look. Whoever knows the token may change something. A browser is the one client that others
//! can make ask something: a page that has its own name point at us (DNS rebinding) is known by the name that it asks for, and
//! a page of somewhere else by its `Origin`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{Method, StatusCode, Version};

use super::routes::Fault;
use super::token::Token;

/// What `--http` and `--token-file` ask for.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where to listen.
    pub address: HttpAddress,
    /// Who knows it may change something; without one nobody may.
    pub token: Option<Token>,
}

/// Where to listen: `HOST:PORT` with an address or `localhost`, or a port alone, and then only for this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpAddress(SocketAddr);

/// The port while it is listened on.
#[derive(Debug)]
pub(in crate::daemon) struct Port {
    pub(super) listener: TcpListener,
    pub(super) gate: Gate,
}

/// Who may do what.
#[derive(Debug)]
pub(super) struct Gate {
    address: SocketAddr,
    token: Option<Token>,
}

impl FromStr for HttpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<HttpAddress, String> {
        let port_alone = text.strip_prefix(':').unwrap_or(text);
        if let Ok(port) = number(port_alone) {
            return Ok(HttpAddress((Ipv4Addr::LOCALHOST, port).into()));
        }
        let help = "an address is `127.0.0.1:9000`, `[::1]:9000`, `localhost:9000`, `0.0.0.0:9000` or `9000`";
        let (host, port) = text.rsplit_once(':').ok_or(help)?;
        let port = number(port).map_err(|()| format!("`{port}` is no port; {help}"))?;
        let host = if host.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { host };
        let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host.parse().map(IpAddr::V6),
            None => host.parse().map(IpAddr::V4),
        };
        address
            .map(|address| HttpAddress((address, port).into()))
            .map_err(|_| format!("`{host}` is no address; {help}"))
    }
}

fn number(text: &str) -> Result<u16, ()> {
    // `+80` is a number for Rust.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    text.parse().map_err(|_| ())
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Port {
    /// Listens.
    ///
    /// # Errors
    /// The system's, with the address.
    pub(in crate::daemon) fn listen(http: &Http) -> io::Result<Port> {
        let explain = |error: io::Error| {
            io::Error::new(error.kind(), format!("`--http {}` cannot be listened on: {error}", http.address))
        };
        let listener = TcpListener::bind(http.address.0).map_err(explain)?;
        listener.set_nonblocking(true).map_err(explain)?;
        // With port 0 it is another one now.
        let address = listener.local_addr().map_err(explain)?;
        Ok(Port { listener, gate: Gate { address, token: http.token.clone() } })
    }

    /// Where it listens.
    pub(in crate::daemon) fn address(&self) -> SocketAddr {
        self.gate.address
    }
}

impl Gate {
    /// Whether this may be asked here.
    ///
    /// # Errors
    /// 403 and 401.
    pub(super) fn check(&self, request: &Parts) -> Result<(), Fault> {
        let host = self.host(request)?;
        if [Method::GET, Method::HEAD].contains(&request.method) {
            return Ok(());
        }
        let Some(token) = &self.token else {
            let message = "nothing can be changed here: `start --token-file FILE` names a token for that";
            return Err(Fault::new(StatusCode::FORBIDDEN, "no_token", message));
        };
        // A tool has none. A page of ours, were there one, would have been asked for by the same name.
        let foreign = |origin: &str| {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_none() || authority != host.as_ref().map(Authority::as_str)
        };
        let mut origins = request.headers.get_all(ORIGIN).iter();
        if origins.any(|origin| origin.to_str().map_or(true, foreign)) {
            let message = "a page of another origin may change nothing here";
            return Err(Fault::new(StatusCode::FORBIDDEN, "foreign_origin", message));
        }
        match bearer(&request.headers) {
            Some(given) if token.is(given) => Ok(()),
            Some(_) => Err(Fault::unauthorized("the token is another one")),
            None => Err(Fault::unauthorized("`Authorization: Bearer TOKEN` is missing")),
        }
    }

    /// The name by which we are asked.
    ///
    /// # Errors
    /// It is none, or not one of ours where only this machine is listened to.
    fn host(&self, request: &Parts) -> Result<Option<Authority>, Fault> {
        let foreign = || {
            let message = "the header `Host` has to name this machine: localhost, or its address";
            Fault::new(StatusCode::FORBIDDEN, "foreign_host", message)
        };
        let mut hosts = request.headers.get_all(HOST).iter();
        let named = match (request.uri.authority(), hosts.next(), hosts.next()) {
            (_, _, Some(_)) => return Err(foreign()),
            // RFC 9112 section 3.2.2: it counts for more than the header.
            (Some(authority), ..) => Some(authority.clone()),
            (None, Some(host), None) => {
                Some(host.to_str().ok().and_then(|host| host.parse().ok()).ok_or_else(foreign)?)
            }
            (None, None, None) => None,
        };
        if !self.address.ip().to_canonical().is_loopback() {
            return Ok(named);
        }
        match &named {
            Some(authority) if is_loopback(authority.host()) => Ok(named),
            // Before HTTP/1.1 there was no such header, and no browser is that old.
            None if request.version < Version::HTTP_11 => Ok(None),
            Some(_) | None => Err(foreign()),
        }
    }
}

/// `localhost`, or an address of this machine alone. By which port somebody came here does not matter.
fn is_loopback(host: &str) -> bool {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.trim_end_matches('.').eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// What stands behind `Authorization: Bearer` (RFC 6750 section 2.1), where it stands there once.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn gate(address: &str, token: Option<&str>) -> Gate {
        let HttpAddress(address) = address.parse().expect("an address");
        Gate { address, token: token.map(|token| Token::new(token.as_bytes()).expect("a token")) }
    }

    /// What a request with these headers is told.
    fn told(gate: &Gate, method: &str, headers: &[(&str, &str)]) -> Result<(), (u16, &'static str)> {
        let mut request = Request::builder().method(method).uri("/v1/stop");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (request, ()) = request.body(()).expect("a request").into_parts();
        gate.check(&request).map_err(|fault| (fault.status.as_u16(), fault.code))
    }

    #[test]
    fn a_port_alone_is_for_this_machine_alone() {
        for (text, address) in [
            ("9000", "127.0.0.1:9000"),
            (":9000", "127.0.0.1:9000"),
            ("localhost:9000", "127.0.0.1:9000"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::]:80", "[::]:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(text.parse::<HttpAddress>().expect(text).to_string(), address);
        }
        for text in [
            "",
            ":",
            "x",
            "-1",
            "+80",
            "70000",
            "host:80",
            "::1:80",
            "[127.0.0.1]:80",
            "1.2.3.4",
            "1.2.3.4:",
            "[::1]",
        ] {
            let error = text.parse::<HttpAddress>().expect_err(text);
            assert!(error.contains("`9000`"), "{text}: {error}");
        }
    }

    #[test]
    fn on_this_machine_only_who_asks_for_this_machine_is_heard() {
        let ours = gate("127.0.0.1:9000", None);
        for host in ["localhost:9000", "LocalHost", "127.0.0.1:9000", "127.0.0.2", "[::1]:8080", "localhost."]
        {
            assert_eq!(told(&ours, "GET", &[("host", host)]), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "evil.example:9000", "localhost.evil.example", "10.0.0.1:9000", "", "a b"]
        {
            assert_eq!(told(&ours, "GET", &[("host", host)]), Err((403, "foreign_host")), "{host}");
        }
        assert_eq!(told(&ours, "GET", &[]), Err((403, "foreign_host")));
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(told(&ours, "GET", &twice), Err((403, "foreign_host")));
        // By which of its names others know a machine is their own affair.
        assert_eq!(told(&gate("0.0.0.0:9000", None), "GET", &[("host", "web.example")]), Ok(()));
        assert_eq!(
            told(&gate("[::ffff:127.0.0.1]:1", None), "GET", &[("host", "x")]),
            Err((403, "foreign_host"))
        );
    }

    #[test]
    fn a_change_wants_the_token() {
        let host = ("host", "localhost:9000");
        let closed = gate("9000", None);
        let right = format!("Bearer {TOKEN}");
        assert_eq!(told(&closed, "POST", &[host, ("authorization", &right)]), Err((403, "no_token")));
        let open = gate("9000", Some(TOKEN));
        assert_eq!(told(&open, "GET", &[host]), Ok(()));
        assert_eq!(told(&open, "HEAD", &[host]), Ok(()));
        assert_eq!(told(&open, "POST", &[host, ("authorization", &right)]), Ok(()));
        assert_eq!(told(&open, "POST", &[host, ("authorization", &format!("bearer  {TOKEN}"))]), Ok(()));
        assert_eq!(told(&open, "POST", &[host]), Err((401, "unauthorized")));
        for wrong in
            ["Bearer", "Bearer ", "Bearer x", "Basic 0123456789abcdef", TOKEN, "Bearer 0123456789abcdeF"]
        {
            assert_eq!(
                told(&open, "POST", &[host, ("authorization", wrong)]),
                Err((401, "unauthorized")),
                "{wrong}"
            );
        }
        let longer = format!("{right}0");
        assert_eq!(told(&open, "POST", &[host, ("authorization", &longer)]), Err((401, "unauthorized")));
        let twice = [host, ("authorization", &right), ("authorization", &right)];
        assert_eq!(told(&open, "POST", &twice), Err((401, "unauthorized")));
    }

    #[test]
    fn a_page_of_somewhere_else_changes_nothing_though_it_knew_the_token() {
        let right = format!("Bearer {TOKEN}");
        for address in ["9000", "0.0.0.0:9000"] {
            let open = gate(address, Some(TOKEN));
            let with = |origin: &str| {
                let headers = [("host", "localhost:9000"), ("authorization", &*right), ("origin", origin)];
                told(&open, "POST", &headers)
            };
            assert_eq!(with("http://localhost:9000"), Ok(()));
            for origin in ["http://evil.example", "http://localhost:8000", "http://localhost", "null", ""] {
                assert_eq!(with(origin), Err((403, "foreign_origin")), "{origin}");
            }
        }
    }
}
