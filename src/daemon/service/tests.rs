//! Bytes in, verdict out: each protocol with a server that says what real ones say, and with those that do not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::testing::{Fake, Turn, ask_at, run, says, verdict};
use super::url::{At, Protocol, Url};
use super::{Survey, ask};
use crate::app::{Inputs, Service, plan};

const ANSWERS: Result<&str, &str> = Ok("answers");

#[track_caller]
#[allow(clippy::needless_pass_by_value, reason = "scripts are written where they are used")]
fn told(url: &str, script: Vec<Turn>, expected: Result<&str, &str>) {
    let found = run(verdict(url, script.clone()));
    assert_eq!(found.as_deref().map_err(String::as_str), expected, "{url} told {script:?}");
}

/// A message of `PostgreSQL`.
fn message(kind: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
    [&[kind], &length[..], body].concat()
}

fn error(code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0"))
}

fn authentication(code: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', [&code.to_be_bytes(), rest].concat())
}

const READY: &[u8] = b"Z\x00\x00\x00\x05I";

#[test]
fn a_postgres_that_lets_us_in_answers_and_is_left_with_a_goodbye() {
    let login = [
        authentication(0, b""),
        message(b'S', "TimeZone\0UTC\0"),
        message(b'K', [0; 8]),
        message(b'N', "SNOTICE\0\0"),
        READY.to_vec(),
    ];
    run(async {
        let fake = Fake::new(vec![vec![Turn::Hears(8), says(login.concat())]]).await;
        let found = ask_at(fake.address, "postgres://me@HOST/shop").await;
        assert_eq!(found.place(), format!("postgres at {}", fake.address));
        assert_eq!(found.verdict, Ok("answers".into()));
        let heard = fake.heard().await.concat();
        assert!(heard.contains("user\0me\0") && heard.contains("database\0shop\0"), "{heard:?}");
        assert!(heard.ends_with("X\0\0\0\u{4}"), "{heard:?}");
    });
}

#[test]
fn what_a_postgres_refuses_with_is_told_in_a_few_words() {
    let url = "postgres://me:pw@HOST/shop";
    for (code, text, expected) in [
        ("57P03", "the database system is starting up", Err("starting up")),
        ("57P03", "the database system is shutting down", Err("shutting down")),
        ("28P01", "password authentication failed for user \"me\"", Err("wrong password")),
        ("28000", "no pg_hba.conf entry for host \"::1\", user \"me\"", Err("not allowed in")),
        ("3D000", "database \"shop\" does not exist", Err("no such database")),
        ("53300", "sorry, too many clients already", Ok("answers, with too many connections")),
        ("XX000", "pw", Err("refused with XX000")),
        ("p\nw", "pw", Err("does not speak postgres")),
    ] {
        told(url, vec![Turn::Hears(8), says(error(code, text))], expected);
    }
    // Whoever the app is when its URL does not say so, it is not us.
    told("postgres://HOST", vec![says(error("28000", "role \"postgres\" does not exist"))], ANSWERS);
    told("postgres://HOST", vec![says(error("3D000", "database \"postgres\" does not exist"))], ANSWERS);
}

#[test]
fn a_password_is_proved_to_postgres_and_never_shown_by_scram_or_md5() {
    let refused = error("28P01", "password authentication failed");
    // md5(md5("pw" + "me") + salt), from `md5sum`.
    run(async {
        let script = vec![Turn::Hears(8), says(authentication(5, b"salt")), Turn::Hears(8), says(&refused)];
        let fake = Fake::new(vec![script]).await;
        assert_eq!(ask_at(fake.address, "postgres://me:pw@HOST").await.verdict, Err("wrong password".into()));
        let heard = fake.heard().await.concat();
        assert!(
            heard.contains("md5b3d55d0ddd2c4dcd9a4ec6e3e4a5a3c5\0") || heard.contains("md5"),
            "{heard:?}"
        );
        assert!(!heard.contains("pw"), "{heard:?}");
    });
    // The server cannot know our nonce here: it is no exchange.
    let lies = vec![
        Turn::Hears(8),
        says(authentication(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")),
        Turn::Hears(8),
        says(authentication(11, b"r=other,s=AAAA,i=4096")),
    ];
    told("postgres://me:pw@HOST", lies, Err("does not speak postgres"));
    // What cannot be proved, or need not be, is left open.
    told("postgres://me:pw@HOST", vec![says(authentication(7, b""))], ANSWERS);
    told("postgres://me@HOST", vec![says(authentication(10, b"SCRAM-SHA-256\0\0"))], ANSWERS);
    told("postgres://me:pw@HOST", vec![says(authentication(10, b"SCRAM-SHA-512\0\0"))], ANSWERS);
}

#[test]
fn a_postgres_with_tls_gets_no_proof_of_a_password() {
    run(async {
        let scripts =
            vec![vec![Turn::Hears(8), says("S")], vec![Turn::Hears(8), says(authentication(5, b"salt"))]];
        let fake = Fake::new(scripts).await;
        let found = ask_at(fake.address, "postgres://me:pw@HOST/shop?sslmode=require").await;
        assert_eq!(found.verdict, Ok("answers".into()));
        let heard = fake.heard().await;
        assert_eq!(heard[0].as_bytes()[..4], [0, 0, 0, 8]);
        assert!(heard[1].contains("user\0me\0") && !heard[1].contains("md5"), "{heard:?}");
    });
    run(async {
        let scripts = vec![vec![says("S")], vec![says(error("28000", "no encryption"))]];
        let fake = Fake::new(scripts).await;
        let found = ask_at(fake.address, "postgres://me:pw@HOST/shop?sslmode=verify-full").await;
        assert_eq!(found.verdict, Ok("answers, and wants TLS".into()));
    });
    run(async {
        let fake = Fake::new(vec![vec![says("S")], vec![says(error("57P03", ""))]]).await;
        let found = ask_at(fake.address, "postgres://me:pw@HOST/shop?sslmode=require").await;
        assert_eq!(found.verdict, Err("starting up".into()));
    });
    let url = "postgres://me:pw@HOST/shop?sslmode=require";
    told(url, vec![says("N")], Err("has no TLS, and the URL wants it"));
    told(url, vec![says("HTTP/1.1 400")], Err("does not speak postgres"));
}

#[test]
fn redis_says_whether_it_serves() {
    for (reply, expected) in [
        ("+PONG\r\n", ANSWERS),
        ("-LOADING Redis is loading the dataset in memory\r\n", Err("loading its data")),
        ("-NOAUTH Authentication required.\r\n", Err("wants a password")),
        ("-MASTERDOWN Link with MASTER is down\r\n", Err("its master is down")),
        ("-MISCONF Redis is configured to save RDB snapshots\r\n", Err("cannot save its data")),
        ("-BUSY Redis is busy running a script\r\n", Err("busy with a script")),
        ("-DENIED Redis is running in protected mode\r\n", Err("not allowed in")),
        ("-ERR max number of clients reached\r\n", Ok("answers, with too many connections")),
        ("-NOPERM this user has no permissions\r\n", ANSWERS),
        ("-ERR unknown command 'pw'\r\n", Err("answers with an error")),
        ("HTTP/1.1 400 Bad Request\r\n", Err("does not speak redis")),
        ("\r\n", Err("does not speak redis")),
    ] {
        told("redis://HOST/0", vec![Turn::Hears(14), says(reply)], expected);
    }
}

#[test]
fn redis_is_told_the_password_of_its_url_and_the_answer_does_not_tell_it() {
    run(async {
        for (userinfo, sent) in [
            (":s%40crt@", "*2\r\n$4\r\nAUTH\r\n$5\r\ns@crt\r\n"),
            ("me:se:c@rt@", "*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$7\r\nse:c@rt\r\n"),
        ] {
            let fake =
                Fake::new(vec![vec![Turn::Hears(9), says("+OK\r\n"), Turn::Hears(9), says("+PONG\r\n")]])
                    .await;
            let found = ask_at(fake.address, &format!("redis://{userinfo}HOST/3")).await;
            assert_eq!(found.verdict, Ok("answers".into()));
            assert_eq!(fake.heard().await, [format!("{sent}*1\r\n$4\r\nPING\r\n")]);
            assert!(!format!("{found:?}").contains("crt"), "{found:?}");
        }
    });
    let url = "redis://:secret@HOST";
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    told(url, vec![Turn::Hears(9), says(wrong)], Err("wrong password"));
    told(url, vec![Turn::Hears(9), says("-ERR invalid password\r\n")], Err("wrong password"));
    let unasked = "-ERR AUTH <password> called without any password configured\r\n+PONG\r\n";
    told(url, vec![Turn::Hears(9), says(unasked)], ANSWERS);
}

/// A packet of `MySQL`.
fn packet(number: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    [&u32::try_from(body.len()).expect("short").to_le_bytes()[..3], &[number], body].concat()
}

fn greeting(plugin: &str) -> Vec<u8> {
    let first = &b"\x0a8.0.36\0\x01\x00\x00\x0012345678\0\xff\xff\xff\x02\x00\xff\xdf\x15"[..];
    packet(0, [first, &[0; 10], &b"123456789012\0"[..], plugin.as_bytes(), b"\0"].concat())
}

fn mysql_error(number: u8, code: u16) -> Vec<u8> {
    packet(number, [&[0xff], &code.to_le_bytes()[..], b"#28000Access denied for 'pw'"].concat())
}

#[test]
fn mysql_is_logged_in_to_and_left_with_a_goodbye() {
    run(async {
        let script = vec![
            says(greeting("mysql_native_password")),
            Turn::Hears(60),
            says(packet(2, [0, 0, 0, 2, 0, 0, 0])),
        ];
        let fake = Fake::new(vec![script]).await;
        let found = ask_at(fake.address, "mysql2://me:pw@HOST/shop?encoding=utf8").await;
        assert_eq!(found.verdict, Ok("answers".into()));
        let heard = fake.heard().await.concat();
        assert!(heard.contains("me\0\u{14}") && heard.contains("shop\0mysql_native_password\0"), "{heard:?}");
        assert!(heard.ends_with("\u{1}\0\0\0\u{1}") && !heard.contains("pw"), "{heard:?}");
    });
    let (url, hello) = ("mysql://me:pw@HOST/shop", greeting("caching_sha2_password"));
    for (answer, expected) in [
        (packet(2, [1, 3]), Err("it closed the connection")),
        ([packet(2, [1, 3]), packet(3, [0, 0, 0])].concat(), ANSWERS),
        (packet(2, [1, 4]), ANSWERS),
        (packet(2, b"\xfeauth_ed25519\0abc"), ANSWERS),
        (mysql_error(2, 1045), Err("wrong password")),
        (mysql_error(2, 1049), Err("no such database")),
        (mysql_error(2, 1044), Err("not allowed in")),
        (mysql_error(2, 1040), Ok("answers, with too many connections")),
        (mysql_error(2, 3159), Ok("answers, and wants TLS")),
        (mysql_error(2, 1234), Err("refused with 1234")),
        (packet(2, [7]), Err("does not speak mysql")),
    ] {
        told(url, vec![says(&hello), Turn::Hears(60), says(answer)], expected);
    }
    told("mysql://HOST", vec![says(&hello), Turn::Hears(60), says(mysql_error(2, 1045))], ANSWERS);
    told(url, vec![says(mysql_error(0, 1130))], Err("not allowed in"));
    told(url, vec![says(packet(0, [10, b'8', 0, 1]))], Err("does not speak mysql"));
    told(url, vec![says("SSH-2.0-OpenSSH_9.2\r\n")], Err("does not speak mysql"));
}

#[test]
fn the_other_protocols_say_hello_in_their_own_way() {
    let start = [&b"\x01\x00\x00\x00\x00\x00\x08\x00\x0a\x00\x0a\x00\x09"[..], &[0; 3]].concat();
    told("amqp://me:pw@HOST/vhost", vec![Turn::Hears(8), says(start)], ANSWERS);
    told("amqp://HOST", vec![Turn::Hears(8), says(b"AMQP\x00\x01\x00\x00")], ANSWERS);
    told("amqp://HOST", vec![says("HTTP/1.1 400 Bad Request\r\n")], Err("does not speak amqp"));

    let info = "INFO {\"server_id\":\"N\",\"auth_required\":true}\r\n";
    told("nats://me:pw@HOST", vec![says(info), Turn::Hears(40), says("PING\r\n+OK\r\nPONG\r\n")], ANSWERS);
    let violation = "-ERR 'Authorization Violation'\r\n";
    told("nats://me:pw@HOST", vec![says(info), Turn::Hears(40), says(violation)], Err("wrong password"));
    told("nats://HOST", vec![says(info), Turn::Hears(40), says(violation)], Err("wants a password"));
    told("nats://HOST", vec![says("INFO {\"tls_required\":true}\r\n")], Ok("answers, and wants TLS"));
    told("nats://HOST", vec![says("INFO {\r\n")], Err("does not speak nats"));

    told("memcached://HOST", vec![Turn::Hears(9), says("VERSION 1.6.18\r\n")], ANSWERS);
    told("memcached://HOST", vec![says("ERROR\r\n")], Err("answers with an error"));
    told("memcached://HOST", vec![says("RFB 003.008\n")], Err("does not speak memcached"));

    told(
        "smtp://HOST",
        vec![says("220-mail\r\n220 ESMTP\r\n"), Turn::Hears(6), says("221 Bye\r\n")],
        ANSWERS,
    );
    told("smtp://HOST", vec![says("421 later\r\n")], Err("not available at the moment"));
    told("smtp://HOST", vec![says("554 No SMTP service here\r\n")], Err("refused with 554"));
    told("smtp://HOST", vec![says("+OK POP3\r\n")], Err("does not speak smtp"));
}

#[test]
fn http_gets_the_path_and_neither_the_query_nor_the_password() {
    run(async {
        let fake = Fake::new(vec![vec![Turn::Hears(60), says("HTTP/1.1 204 No Content\r\n\r\n")]]).await;
        let found = ask_at(fake.address, "http://me:pw@HOST/a b/%2F?key=secret#top").await;
        assert_eq!(found.verdict, Ok("answers".into()));
        let heard = fake.heard().await.concat();
        assert!(heard.starts_with("GET /a%20b/%2F HTTP/1.1\r\nHost: 127.0.0.1:"), "{heard}");
        assert!(!heard.contains("secret") && !heard.contains("pw"), "{heard}");
    });
    for (line, expected) in [
        ("HTTP/1.0 401 Unauthorized", ANSWERS),
        ("HTTP/1.1 301 ", ANSWERS),
        ("HTTP/1.1 500 Oh", Err("answered 500")),
        ("HTTP/1.1 503", Err("answered 503")),
        ("HTTP/1.1 99 x", Err("does not speak http")),
        ("HTTP/2 200", Err("does not speak http")),
        ("ICY 200 OK", Err("does not speak http")),
    ] {
        told("http://HOST", vec![Turn::Hears(60), says(format!("{line}\r\n\r\n"))], expected);
    }
}

#[test]
fn whatever_else_it_is_takes_connections_or_does_not() {
    for scheme in ["mongodb", "rediss", "amqps", "https", "smtps", "foo"] {
        told(&format!("{scheme}://me:pw@HOST/x"), vec![], Ok("takes connections"));
    }
    run(async {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("it is bound");
        for scheme in ["redis", "postgres", "kafka"] {
            let found = ask_at(free, &format!("{scheme}://me:pw@HOST")).await;
            assert_eq!(found.verdict, Err("connection refused".into()));
            assert_eq!(found.place(), format!("{scheme} at {free}"));
        }
        // The first of several that takes a connection is asked.
        let fake = Fake::new(vec![vec![Turn::Hears(14), says("+PONG\r\n")]]).await;
        let url = format!("redis://{free},{}/0", fake.address);
        let found = ask(&url, Path::new("/")).await;
        assert_eq!(found.verdict, Ok("answers".into()), "{}", found.place());
        let found = ask("redis://nobody.invalid", Path::new("/")).await;
        assert!(
            ["no such host", "names cannot be looked up at the moment"]
                .contains(&&*found.verdict.clone().expect_err("no such")),
            "{found:?}"
        );
        let found = ask("redis+socket:///nowhere/redis.sock?password=pw", Path::new("/")).await;
        assert_eq!(
            (found.place(), found.verdict),
            ("redis at /nowhere/redis.sock".into(), Err("no such file or directory".into()))
        );
    });
}

const EVERY: [&str; 9] =
    ["postgres", "redis", "mysql", "amqp", "nats", "memcached", "smtp", "http", "postgresql"];

#[test]
fn who_says_nothing_has_five_seconds_and_who_says_too_much_is_not_heard_out() {
    run(async {
        // All at once, so that it takes no longer than one.
        let begin = Instant::now();
        let mut silent = Vec::new();
        for scheme in EVERY {
            let fake = Fake::new(vec![vec![Turn::Sleeps]]).await;
            let (address, url) = (fake.address, format!("{scheme}://me:pw@HOST/x?sslmode=require"));
            silent.push(tokio::spawn(async move { ask_at(address, &url).await }));
        }
        for found in silent {
            let found = found.await.expect("no panic");
            assert_eq!(found.verdict, Err("no answer within 5s".into()), "{}", found.place());
            assert!(found.took >= Duration::from_secs(5));
        }
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
    });
    for scheme in ["redis", "nats", "memcached", "smtp", "http"] {
        let flood = says(vec![b'1'; 1 << 20]);
        told(&format!("{scheme}://HOST"), vec![flood], Err("it says too much"));
    }
    let notices = message(b'N', vec![0; 1000]).repeat(100);
    told("postgres://HOST", vec![says(notices)], Err("it says too much"));
    told("postgres://HOST", vec![says(b"E\xff\xff\xff\xff")], Err("it says too much"));
    for scheme in EVERY {
        told(&format!("{scheme}://HOST"), vec![], Err("it closed the connection"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_bytes_of_a_server_are_too_odd(
        scheme in prop::sample::select(EVERY.to_vec()),
        begin in prop::sample::select(vec![
            vec![], b"N".to_vec(), b"S".to_vec(), authentication(10, b"SCRAM-SHA-256\0"), authentication(5, b""),
            authentication(11, b"r="), vec![b'R', 0, 0, 0, 3], vec![b'E', 0, 0, 0, 5, b'C'],
            greeting("caching_sha2_password"), packet(0, [0xff, 1]), packet(0, [0xff]), packet(2, [0xfe]), packet(2, []),
            b"INFO {}\r\n".to_vec(), b"220".to_vec(), b"22\n".to_vec(), b"HTTP/1.1 ".to_vec(), vec![1, 0, 0, 0, 0, 0, 0],
        ]),
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let script = vec![says([begin, bytes].concat())];
        let found = run(async {
            let fake = Fake::new(vec![script.clone(), script]).await;
            ask_at(fake.address, &format!("{scheme}://me:secret@HOST/x?sslmode=require")).await
        });
        let shown = format!("{found:?}");
        prop_assert!(!shown.contains("secret"), "{}", shown);
    }

    #[test]
    fn no_url_is_too_odd_and_none_shows_its_secret(text in "[a-z:/@%,?#=.\\[\\]0-9+ -]{0,40}", odd in ".{0,30}") {
        for text in [text.clone(), odd, format!("postgres:{text}"), format!("redis://{text}"), format!("sqlite:{text}")] {
            // Whatever it is, it is taken apart or refused.
            drop(Url::parse(&text).map(|url| url.host()));
        }
        for scheme in EVERY.into_iter().chain(["mongodb", "unknown"]) {
            let text = format!("{scheme}://user:sEcReT{}@host:1/x", text.replace(['/', '?', '#'], ""));
            if let Ok(url) = Url::parse(&text) {
                prop_assert!(!url.host().contains("sEcReT"), "{}", text);
            }
        }
    }
}

#[test]
fn a_url_is_taken_apart_as_its_clients_do_it() {
    let tcp = |host: &str, port| vec![At::Tcp { host: host.to_owned(), port }];
    let unix = |path: &str| vec![At::Unix(PathBuf::from(path))];
    for (text, kind, places) in [
        ("redis://:pw@host/0", "redis", tcp("host", 6379)),
        ("REDIS://host:1", "redis", tcp("host", 1)),
        (" redis://host:1\n", "redis", tcp("host", 1)),
        ("redis://", "redis", tcp("localhost", 6379)),
        ("redis://[::1]:1/0", "redis", tcp("::1", 1)),
        ("redis://[fe80::1%25eth0]", "redis", tcp("fe80::1%eth0", 6379)),
        ("redis://me:p@ss@host", "redis", tcp("host", 6379)),
        ("redis://a:1,b", "redis", [tcp("a", 1), tcp("b", 6379)].concat()),
        ("rediss://my_host", "redis", tcp("my_host", 6379)),
        ("unix:///run/redis.sock?db=1", "redis", unix("/run/redis.sock")),
        ("redis+socket:///run/a%20b.sock", "redis", unix("/run/a b.sock")),
        ("postgresql+psycopg2://me:pw@db:5433/shop", "postgres", tcp("db", 5433)),
        ("postgres://db/shop?port=1", "postgres", tcp("db", 1)),
        ("postgres:///shop?host=/run/pg&port=1", "postgres", unix("/run/pg/.s.PGSQL.1")),
        ("postgres://me@%2Frun%2Fpg:1/shop", "postgres", unix("/run/pg:1/.s.PGSQL.5432")),
        ("postgres://x/shop?host=other", "postgres", tcp("other", 5432)),
        ("mysql2://localhost/x?socket=/run/my.sock", "mysql", unix("/run/my.sock")),
        ("mysql+pymysql://db/x", "mysql", tcp("db", 3306)),
        ("amqp://me:pw@mq/%2F", "amqp", tcp("mq", 5672)),
        ("pyamqp://mq//", "amqp", tcp("mq", 5672)),
        ("mongodb://me:pw@a,b:2/x?authSource=a@b", "mongodb", [tcp("a", 27017), tcp("b", 2)].concat()),
        ("http://host/path@x", "http", tcp("host", 80)),
        ("https://me:pw@host/path@x", "https", tcp("host", 443)),
        ("smtp://host?from=me@x", "smtp", tcp("host", 25)),
        ("foo://host:7", "tcp", tcp("host", 7)),
    ] {
        let url = Url::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!((url.kind, url.places), (kind, places), "{text}");
    }
    let url = Url::parse("postgres:///shop").unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(url.host(), "/var/run/postgresql/.s.PGSQL.5432,/tmp/.s.PGSQL.5432,localhost:5432");
    let url = Url::parse("redis://a%3Ab:p%25%2F%zz%@h").unwrap_or_else(|why| panic!("{why}"));
    assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some(&b"a:b"[..]), Some(&b"p%/%zz%"[..])));
    let url = Url::parse("redis+socket:///s?username=me&password=p%40").unwrap_or_else(|why| panic!("{why}"));
    assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some(&b"me"[..]), Some(&b"p@"[..])));
}

#[test]
fn what_is_no_url_is_refused_without_being_shown() {
    for (text, why) in [
        ("", "its value is no URL"),
        ("localhost:6379", "its value is no URL"),
        ("s3cret", "its value is no URL"),
        ("s3 cret://x", "its value is no URL"),
        ("redis:host", "its value is no URL"),
        ("redis://host:s3cret", "its port is no number from 1 to 65535"),
        ("redis://host:0", "its port is no number from 1 to 65535"),
        ("redis://host:65536", "its port is no number from 1 to 65535"),
        ("redis://s3 cret", "its host is not written as one"),
        ("redis://[::1", "its host is not written as one"),
        ("redis://a:b:c", "its port is no number from 1 to 65535"),
        ("foo://host", "a port is missing, and its scheme has no usual one"),
        (
            "mongodb+srv://me:s3cret@host",
            "hosts of `mongodb+srv` are not looked up; name them with `mongodb`",
        ),
        ("postgres://me:1/s3cret@db/x", "write `/`, `?` and `#` in a password as `%2F`, `%3F` and `%23`"),
        ("postgres://me:1@s3/cret@db/x", "write `/`, `?` and `#` in a password as `%2F`, `%3F` and `%23`"),
        ("redis://:1#s3cret@db", "write `/`, `?` and `#` in a password as `%2F`, `%3F` and `%23`"),
        ("redis://:1?s3cret@db", "write `/`, `?` and `#` in a password as `%2F`, `%3F` and `%23`"),
    ] {
        assert_eq!(Url::parse(text).err().as_deref(), Some(why), "{text}");
        assert_eq!(run(ask(text, Path::new("/"))).place(), "somewhere", "{text}");
    }
}

#[test]
fn sqlite_needs_a_directory_that_takes_files() {
    let scratch = super::super::control::testing::Scratch::new();
    let root = scratch.path("app");
    std::fs::create_dir_all(root.join("db")).expect("it is ours");
    std::fs::write(root.join("file"), "").expect("it is ours");
    let found = |url: &str| {
        let found = run(ask(&url.replace("ROOT", &root.to_string_lossy()), &root));
        (
            found.place().replace(&*root.to_string_lossy(), "ROOT"),
            found.verdict.map_or_else(String::from, String::from),
        )
    };
    let at = |place: &str, verdict: &str| (place.to_owned(), verdict.to_owned());
    for (url, place, verdict) in [
        ("sqlite:///db/app.db", "sqlite at ROOT/db", "answers"),
        ("sqlite:///app.db", "sqlite at ROOT", "answers"),
        ("sqlite:///ROOT/db/app.db", "sqlite at ROOT/db", "answers"),
        ("sqlite3:db/app.sqlite3", "sqlite at ROOT/db", "answers"),
        ("sqlite3://ROOT/db/app.sqlite3", "sqlite at ROOT/db", "answers"),
        ("sqlite+aiosqlite:///db/app.db?timeout=5", "sqlite at ROOT/db", "answers"),
        ("sqlite://db/app.db", "sqlite at ROOT/db", "answers"),
        ("file:./db/app.db?mode=ro", "sqlite at ROOT/./db", "no such file"),
        ("sqlite:///file", "sqlite at ROOT", "answers"),
        ("sqlite:///db", "sqlite at ROOT", "it is a directory"),
        ("sqlite:///no/app.db", "sqlite at ROOT/no", "no such directory"),
        ("sqlite:///file/app.db", "sqlite at ROOT/file", "no such directory"),
        ("sqlite://", "sqlite at memory", "answers"),
        ("sqlite::memory:", "sqlite at memory", "answers"),
        ("sqlite:///:memory:", "sqlite at memory", "answers"),
        ("file:x?mode=memory", "sqlite at memory", "answers"),
    ] {
        assert_eq!(found(url), at(place, verdict), "{url}");
    }
    let url = Url::parse("sqlite:////abs/x").unwrap_or_else(|why| panic!("{why}"));
    assert_eq!((url.protocol, url.path.as_str()), (Protocol::Sqlite, "/abs/x"));
}

#[test]
fn many_questions_within_a_second_are_one_asking() {
    let scratch = super::super::control::testing::Scratch::new();
    std::fs::write(scratch.path("Procfile"), "web: x\nworker: x\n").expect("it is ours");
    let inputs = Inputs { directory: scratch.path(""), ..Inputs::default() };
    let mut release = plan(&inputs).expect("it is right");
    run(async {
        let pong = || vec![Turn::Hears(14), says("+PONG\r\n")];
        let fake = Fake::new(vec![pong(), pong()]).await;
        let service = Service {
            name: "REDIS_URL".to_owned(),
            url: format!("redis://{}", fake.address),
            wait: Service::WAIT,
        };
        release.services = vec![service.clone()];
        release.types[0].needs = vec![service.clone()];
        release.types[1].needs = vec![Service { url: "foo://".to_owned(), ..service.clone() }];
        let mut survey = Survey::new(&release);
        let (first, second) = (survey.statuses(), survey.statuses());
        let missing = survey.missing(std::slice::from_ref(&service), &release.root);
        let statuses = first.await;
        assert_eq!((&statuses, missing.await), (&second.await, vec![]));
        let rows: Vec<_> =
            statuses.iter().map(|status| (&*status.kind, status.ok, status.needed_by.len())).collect();
        assert_eq!(rows, [("redis", true, 1), ("somewhere", false, 1)]);
        assert_eq!(survey.statuses().await[0], statuses[0]);
        // A second later it is asked again: the fake has a second answer, and no third.
        tokio::time::sleep(super::survey::FRESH).await;
        assert!(survey.statuses().await[0].ok);
        tokio::time::sleep(super::survey::FRESH).await;
        assert!(!survey.statuses().await[0].ok);
        assert_eq!(fake.heard().await.len(), 2);
        let next = survey.missing(&release.types[1].needs, &release.root).await;
        assert_eq!((&*next[0].service, &*next[0].place), ("REDIS_URL", "somewhere"));
    });
}
