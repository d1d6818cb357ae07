//! `config`: each variable with its origin, and its value only if asked for.

use super::test::Test;

fn project(arguments: &str) -> Test {
    Test::new(arguments)
        .procfile("web: a\nworker: b\n")
        .file(".env", "# c\nA=hunter2\nB=\"x\\ny\"\nPATH=/nowhere\nSUPERVISE_SPEC=x\n")
        .file(
            "supervise.yml",
            "formation: {worker: {port: false, env: {C: 1.10}}}\ndefaults: {env: {D: d}}\n",
        )
        .variable("REAL", "r")
}

#[test]
fn values_are_hidden_unless_asked_for() {
    project("config worker")
        .stdout(
            "A                     (hidden)  .env:2\n\
             B                     (hidden)  .env:3\n\
             C                     (hidden)  spec (env)\n\
             D                     (hidden)  spec (defaults.env)\n\
             PATH                  (hidden)  environment\n\
             PS                    (hidden)  supervise\n\
             REAL                  (hidden)  environment\n\
             SUPERVISE_INSTANCE    (hidden)  supervise\n\
             SUPERVISE_RELEASE_ID  (hidden)  supervise\n\
             SUPERVISE_SLOT        (hidden)  supervise\n\
             SUPERVISE_TYPE        (hidden)  supervise\n",
        )
        .run();
}

#[test]
fn shown_values_stand_on_one_line_each_under_their_type() {
    project("config --show-values --env-override")
        .stdout(
            "web:\n\
             A                     hunter2                     .env:2\n\
             B                     \"x\\ny\"                      .env:3\n\
             D                     d                           spec (defaults.env)\n\
             PATH                  /nowhere                    .env:4\n\
             PORT                  5000                        supervise\n\
             PS                    web.1                       supervise\n\
             REAL                  r                           environment\n\
             SUPERVISE_INSTANCE    (its own for each process)  supervise\n\
             SUPERVISE_RELEASE_ID  dev                         supervise\n\
             SUPERVISE_SLOT        1                           supervise\n\
             SUPERVISE_TYPE        web                         supervise\n\
             \n\
             worker:\n\
             A                     hunter2                     .env:2\n\
             B                     \"x\\ny\"                      .env:3\n\
             C                     1.10                        spec (env)\n\
             D                     d                           spec (defaults.env)\n\
             PATH                  /nowhere                    .env:4\n\
             PS                    worker.1                    supervise\n\
             REAL                  r                           environment\n\
             SUPERVISE_INSTANCE    (its own for each process)  supervise\n\
             SUPERVISE_RELEASE_ID  dev                         supervise\n\
             SUPERVISE_SLOT        1                           supervise\n\
             SUPERVISE_TYPE        worker                      supervise\n",
        )
        .run();
}

#[test]
fn an_unknown_type_is_an_error_that_lists_what_is_known() {
    project("config wroker")
        .code(2)
        .stderr(
            "error: there is no process type `wroker`\n  \
             help: did you mean `worker`? the Procfile has: `web`, `worker`\n",
        )
        .run();
}
