//! The URL of a backing service, taken apart as its clients do it.
//!
//! Not by a crate: what drivers accept is not what the URL standard says. A password with a bare `@`, several hosts, a
//! socket's path as a host, three slashes before a relative path are all in use, and a crate would take none of them.

use std::path::PathBuf;

use super::Why;

/// What a URL says. There is no `Debug`: user, password and query are nobody's business.
pub(super) struct Url {
    pub(super) protocol: Protocol,
    /// What people call the service: `redis`.
    pub(super) kind: &'static str,
    /// Where it may be, to be tried in order; nowhere for a file.
    pub(super) places: Vec<At>,
    /// As bytes, since that is what is sent.
    pub(super) user: Option<Vec<u8>>,
    pub(super) password: Option<Vec<u8>>,
    /// What follows the host and its slash: the name of a database, the path of a file or a page. Not decoded.
    pub(super) path: String,
    query: Vec<(String, Vec<u8>)>,
}

/// Somewhere to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// How a service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Postgres,
    Redis,
    Mysql,
    Amqp,
    Nats,
    Memcached,
    Smtp,
    Http,
    Sqlite,
    /// Whatever it speaks, TLS among it: it takes connections.
    Tcp,
}

/// What the scheme of a URL stands for.
struct Scheme {
    name: &'static str,
    kind: &'static str,
    protocol: Protocol,
    port: u16,
}

const fn scheme(name: &'static str, kind: &'static str, protocol: Protocol, port: u16) -> Scheme {
    Scheme { name, kind, protocol, port }
}

/// Those in use, with the ports that IANA or the servers' manuals give them. A driver's name after a `+` counts only where
/// it is listed (`postgresql+psycopg` is `postgresql`).
const SCHEMES: [Scheme; 69] = [
    scheme("postgres", "postgres", Protocol::Postgres, 5432),
    scheme("postgresql", "postgres", Protocol::Postgres, 5432),
    scheme("pgsql", "postgres", Protocol::Postgres, 5432),
    scheme("psql", "postgres", Protocol::Postgres, 5432),
    scheme("postgis", "postgres", Protocol::Postgres, 5432),
    scheme("timescale", "postgres", Protocol::Postgres, 5432),
    scheme("redshift", "redshift", Protocol::Postgres, 5439),
    scheme("cockroach", "cockroach", Protocol::Postgres, 26257),
    scheme("cockroachdb", "cockroach", Protocol::Postgres, 26257),
    scheme("redis", "redis", Protocol::Redis, 6379),
    scheme("redis+socket", "redis", Protocol::Redis, 6379),
    scheme("redis+unix", "redis", Protocol::Redis, 6379),
    scheme("unix", "redis", Protocol::Redis, 6379),
    scheme("rediss", "redis", Protocol::Tcp, 6379),
    scheme("valkey", "valkey", Protocol::Redis, 6379),
    scheme("valkeys", "valkey", Protocol::Tcp, 6379),
    scheme("sentinel", "sentinel", Protocol::Redis, 26379),
    scheme("mysql", "mysql", Protocol::Mysql, 3306),
    scheme("mysql2", "mysql", Protocol::Mysql, 3306),
    scheme("mysqlgis", "mysql", Protocol::Mysql, 3306),
    scheme("trilogy", "mysql", Protocol::Mysql, 3306),
    scheme("mariadb", "mariadb", Protocol::Mysql, 3306),
    scheme("amqp", "amqp", Protocol::Amqp, 5672),
    scheme("pyamqp", "amqp", Protocol::Amqp, 5672),
    scheme("amqps", "amqp", Protocol::Tcp, 5671),
    scheme("nats", "nats", Protocol::Nats, 4222),
    scheme("memcached", "memcached", Protocol::Memcached, 11211),
    scheme("memcache", "memcached", Protocol::Memcached, 11211),
    scheme("smtp", "smtp", Protocol::Smtp, 25),
    scheme("submission", "smtp", Protocol::Smtp, 587),
    scheme("smtps", "smtp", Protocol::Tcp, 465),
    scheme("http", "http", Protocol::Http, 80),
    scheme("ws", "http", Protocol::Http, 80),
    scheme("https", "https", Protocol::Tcp, 443),
    scheme("wss", "https", Protocol::Tcp, 443),
    scheme("sqlite", "sqlite", Protocol::Sqlite, 0),
    scheme("sqlite3", "sqlite", Protocol::Sqlite, 0),
    scheme("file", "sqlite", Protocol::Sqlite, 0),
    scheme("mongodb", "mongodb", Protocol::Tcp, 27017),
    scheme("kafka", "kafka", Protocol::Tcp, 9092),
    scheme("elasticsearch", "elasticsearch", Protocol::Tcp, 9200),
    scheme("opensearch", "opensearch", Protocol::Tcp, 9200),
    scheme("mqtt", "mqtt", Protocol::Tcp, 1883),
    scheme("mqtts", "mqtt", Protocol::Tcp, 8883),
    scheme("ldap", "ldap", Protocol::Tcp, 389),
    scheme("ldaps", "ldap", Protocol::Tcp, 636),
    scheme("clickhouse", "clickhouse", Protocol::Tcp, 9000),
    scheme("cassandra", "cassandra", Protocol::Tcp, 9042),
    scheme("mssql", "mssql", Protocol::Tcp, 1433),
    scheme("sqlserver", "mssql", Protocol::Tcp, 1433),
    scheme("oracle", "oracle", Protocol::Tcp, 1521),
    scheme("bolt", "neo4j", Protocol::Tcp, 7687),
    scheme("neo4j", "neo4j", Protocol::Tcp, 7687),
    scheme("etcd", "etcd", Protocol::Tcp, 2379),
    scheme("consul", "consul", Protocol::Tcp, 8500),
    scheme("influxdb", "influxdb", Protocol::Tcp, 8086),
    scheme("stomp", "stomp", Protocol::Tcp, 61613),
    scheme("beanstalk", "beanstalk", Protocol::Tcp, 11300),
    scheme("beanstalkd", "beanstalk", Protocol::Tcp, 11300),
    scheme("zookeeper", "zookeeper", Protocol::Tcp, 2181),
    scheme("pulsar", "pulsar", Protocol::Tcp, 6650),
    scheme("couchdb", "couchdb", Protocol::Tcp, 5984),
    scheme("ftp", "ftp", Protocol::Tcp, 21),
    scheme("sftp", "ssh", Protocol::Tcp, 22),
    scheme("ssh", "ssh", Protocol::Tcp, 22),
    scheme("imap", "imap", Protocol::Tcp, 143),
    scheme("imaps", "imap", Protocol::Tcp, 993),
    scheme("pop3", "pop3", Protocol::Tcp, 110),
    scheme("pop3s", "pop3", Protocol::Tcp, 995),
];

impl Url {
    /// # Errors
    /// It is none that we can ask. No part of it is in the reason: what is out of place may be a password.
    pub(super) fn parse(text: &str) -> Result<Url, Why> {
        let (name, rest) = text.trim().split_once(':').ok_or(NO_URL)?;
        let name = name.to_ascii_lowercase();
        let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        if !name.bytes().all(is_of_scheme) || !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(NO_URL.into());
        }
        if name == "mongodb+srv" {
            return Err("hosts of `mongodb+srv` are not looked up; name them with `mongodb`".into());
        }
        let family = name.split('+').next().unwrap_or(&name);
        let known = |name: &str| SCHEMES.iter().find(|scheme| scheme.name == name);
        let scheme = known(&name).or_else(|| known(family));
        let (kind, protocol) = scheme.map_or(("tcp", Protocol::Tcp), |scheme| (scheme.kind, scheme.protocol));
        if protocol == Protocol::Sqlite {
            let path = in_file(family, rest.split(['?', '#']).next().unwrap_or_default());
            return Ok(Url { path, ..Url::nowhere(kind, protocol, rest) });
        }
        let rest = rest.strip_prefix("//").ok_or(NO_URL)?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // A page may have one in its path; anywhere else it is the end of a password.
        if !matches!(kind, "http" | "https") && hides_userinfo(tail) {
            return Err("write `/`, `?` and `#` in a password as `%2F`, `%3F` and `%23`".into());
        }
        let (userinfo, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let mut url = Url::nowhere(kind, protocol, tail);
        let given = |text: &str| Some(decode(text)).filter(|bytes| !bytes.is_empty());
        url.user = given(user).or_else(|| url.option(&["user", "username"]));
        url.password = given(password).or_else(|| url.option(&["password"]));
        url.places = url.find_places(&name, hosts, scheme.map(|scheme| scheme.port))?;
        Ok(url)
    }

    /// What stands behind the question mark under one of these names.
    pub(super) fn option(&self, names: &[&str]) -> Option<Vec<u8>> {
        let found = self.query.iter().find(|(name, _)| names.contains(&name.as_str()));
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    }

    /// The name of the database, where there is one.
    pub(super) fn database(&self) -> Option<Vec<u8>> {
        Some(decode(&self.path)).filter(|name| !name.is_empty())
    }

    /// The hosts and sockets, as people write them.
    pub(super) fn host(&self) -> String {
        self.places.iter().map(At::to_string).collect::<Vec<_>>().join(",")
    }

    fn nowhere(kind: &'static str, protocol: Protocol, tail: &str) -> Url {
        let tail = tail.split('#').next().unwrap_or_default();
        let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_ascii_lowercase(), decode(value))
        };
        Url {
            protocol,
            kind,
            places: Vec::new(),
            user: None,
            password: None,
            path: path.strip_prefix('/').unwrap_or(path).to_owned(),
            query: query.split('&').map(pair).collect(),
        }
    }

    fn find_places(&self, name: &str, hosts: &str, default: Option<u16>) -> Result<Vec<At>, Why> {
        let socket = |path: Vec<u8>| vec![At::Unix(to_path(path))];
        match (self.protocol, name) {
            (Protocol::Redis, "unix" | "redis+socket" | "redis+unix") => {
                return Ok(socket([b"/", &*decode(&self.path)].concat()));
            }
            // As PyMySQL, mysql2 and Connector/J call it.
            (Protocol::Mysql, _) => {
                if let Some(path) = self.option(&["unix_socket", "socket", "unixsocket"]) {
                    return Ok(socket(path));
                }
            }
            (Protocol::Postgres, _) => return self.find_postgres(hosts, default),
            (
                Protocol::Redis
                | Protocol::Amqp
                | Protocol::Nats
                | Protocol::Memcached
                | Protocol::Smtp
                | Protocol::Http
                | Protocol::Sqlite
                | Protocol::Tcp,
                _,
            ) => {}
        }
        read_hosts(hosts, default)
    }

    /// libpq's rules (`PostgreSQL`'s manual, section 34.1.1): `?host=` is stronger, and a host that begins with a slash is
    /// the directory of a socket. Without a host it is where Debian's server or the original has its socket, or localhost.
    fn find_postgres(&self, hosts: &str, default: Option<u16>) -> Result<Vec<At>, Why> {
        let of_query = self.option(&["port"]).map(|port| String::from_utf8_lossy(&port).into_owned());
        let default = of_query.map(|port| read_port(&port)).transpose()?.or(default);
        let in_directory = |directory: Vec<u8>| {
            let port = default.unwrap_or_default();
            At::Unix(to_path(directory).join(format!(".s.PGSQL.{port}")))
        };
        if let Some(hosts) = self.option(&["host"]) {
            if hosts.starts_with(b"/") {
                return Ok(vec![in_directory(hosts)]);
            }
            return read_hosts(&String::from_utf8_lossy(&hosts), default);
        }
        let decoded = decode(hosts);
        if decoded.starts_with(b"/") {
            return Ok(vec![in_directory(decoded)]);
        }
        let mut places = Vec::new();
        if hosts.is_empty() {
            places = ["/var/run/postgresql", "/tmp"].map(|directory| in_directory(directory.into())).into();
        }
        places.extend(read_hosts(hosts, default)?);
        Ok(places)
    }
}

/// As people write it.
impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            At::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            At::Tcp { host, port } => write!(f, "{host}:{port}"),
            At::Unix(path) => f.write_str(&printable(&path.to_string_lossy())),
        }
    }
}

/// Without what a terminal would take for an order.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// `%41` is `A`; a `%` that begins no such thing is itself.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| Some(digit(at + 1)? * 16 + digit(at + 2)?)).flatten();
        let escaped = escape.and_then(|byte| u8::try_from(byte).ok());
        decoded.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    decoded
}

const NO_URL: &str = "its value is no URL";

/// Whether what follows the host is rather the end of a password, and a host: what stands before it is not to be shown.
fn hides_userinfo(tail: &str) -> bool {
    let at = tail.find('@');
    // An `@` in the value of an option is an ordinary thing.
    at.is_some_and(|at| !tail[..at].find('?').is_some_and(|query| tail[query..at].contains('=')))
}

/// # Errors
/// One of them is none.
fn read_hosts(hosts: &str, default: Option<u16>) -> Result<Vec<At>, Why> {
    hosts.split(',').map(|host| read_host(host, default)).collect()
}

fn read_host(text: &str, default: Option<u16>) -> Result<At, Why> {
    let no_host = "its host is not written as one";
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or(no_host)?;
        (host, rest.strip_prefix(':').or(rest.is_empty().then_some("")).ok_or(no_host)?)
    } else if text.parse::<std::net::Ipv6Addr>().is_ok() {
        (text, "")
    } else {
        text.split_once(':').unwrap_or((text, ""))
    };
    let host = String::from_utf8(decode(host)).map_err(|_| no_host)?;
    if !host.chars().all(|c| c.is_alphanumeric() || "-._:%".contains(c)) {
        return Err(no_host.into());
    }
    let host = if host.is_empty() { "localhost".to_owned() } else { host };
    let port = if port.is_empty() { default } else { Some(read_port(port)?) };
    Ok(At::Tcp { host, port: port.ok_or("a port is missing, and its scheme has no usual one")? })
}

fn read_port(text: &str) -> Result<u16, Why> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or(Why::Borrowed("its port is no number from 1 to 65535"))
}

/// The path of a database in a file, relative to the root of the app unless it begins with a slash.
fn in_file(scheme: &str, path: &str) -> String {
    let Some(path) = path.strip_prefix("//") else { return path.to_owned() };
    match scheme {
        // SQLAlchemy and Django: `sqlite:///rel`, `sqlite:////abs`.
        "sqlite" => path.strip_prefix('/').unwrap_or(path).to_owned(),
        // Rails and RFC 8089: `sqlite3:///abs`.
        _ => path.to_owned(),
    }
}

fn to_path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}
