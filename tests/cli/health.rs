//! `health`: what is asked, what is shown, and with which exit code.

use super::fake::Fake;
use super::test::Test;

const WELL: &str = r#"{"ok":true,"checks":[{"name":"supervisor","ok":true,"message":"running"},{"name":"web","ok":true,"message":"4 of 4 ready"}]}
"#;

const UNWELL: &str = r#"{"ok":false,"checks":[{"name":"supervisor","ok":true,"message":"running"},{"name":"web","ok":false,"message":"1 of 4 ready"},{"name":"REDIS_URL","ok":false,"message":"connection refused\u001b[2J"}]}
"#;

fn test(fake: &Fake, arguments: &str) -> Test {
    Test::new(&format!("{arguments} {}", fake.named()))
}

#[test]
fn who_is_well_is_told_check_by_check() {
    let fake = Fake::new()
        .answers("GET /v1/health?check=ready", 200, WELL)
        .answers("GET /v1/health?check=live", 200, WELL)
        .answers("GET /v1/health?check=startup", 200, WELL);
    let lines = "supervisor  ok      running\nweb         ok      4 of 4 ready\n";
    for words in ["health", "health --ready", "health --live", "health --startup"] {
        test(&fake, words).stdout(lines).run();
    }
    test(&fake, "health --live --json").stdout(WELL).run();
    let asked = ["ready", "ready", "live", "startup", "live"];
    assert_eq!(fake.asked(), asked.map(|check| format!("GET /v1/health?check={check}")));
}

#[test]
fn who_is_not_well_is_an_exit_code() {
    let fake = Fake::new().answers("GET /v1/health?check=ready", 503, UNWELL);
    test(&fake, "health")
        .code(1)
        .stdout(
            "supervisor  ok      running\nweb         not ok  1 of 4 ready\n\
             REDIS_URL   not ok  connection refused\u{fffd}[2J\n",
        )
        .run();
    test(&fake, "health --json").code(1).stdout(UNWELL).run();
}

#[test]
fn whoever_has_no_answer_is_not_well_and_says_why() {
    Test::new("health --socket /nowhere/s").code(1).stderr_says(&["error: no supervisor is running"]).run();
    let crowded = r#"{"error":{"code":"too_many_clients","message":"too many clients at once"}}"#;
    let fake = Fake::new().answers("GET /v1/health?check=ready", 503, crowded);
    test(&fake, "health").code(1).stderr("error: too many clients at once\n").run();
    let fake = Fake::new().answers("GET /v1/health?check=ready", 200, "{}");
    test(&fake, "health")
        .code(1)
        .stderr_says(&["error: the supervisor gave an answer that cannot be read"])
        .run();
}
