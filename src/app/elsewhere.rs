//! The words of Kubernetes, docker compose, systemd and supervisord for what has another one here: whoever writes theirs is told
//! ours.

/// Their words, and the entry that says the same here; it begins with the key that it needs. A word that is ours but for its
/// capitals and underscores needs no row.
const WORDS: [(&[&str], &str); 41] = [
    // Of a process type.
    (&["livenessProbe", "liveness"], "health: { liveness: { http: /health } }"),
    (&["readinessProbe", "readiness"], "health: { readiness: { http: /health } }"),
    (&["startupProbe", "startup"], "health: { startup: { http: /health } }"),
    (&["healthcheck", "probes"], "health: { readiness: { http: /health } }"),
    (&["replicas", "scale", "instances", "numprocs", "count"], "quantity: 4"),
    (&["terminationGracePeriodSeconds", "stop_grace_period", "stopwaitsecs", "TimeoutStopSec"], "drain: 30s"),
    (&["KillSignal"], "stop_signal: TERM"),
    (&["environment"], "env: { NAME: value }"),
    (&["depends_on", "requires"], "after: [web]"),
    (&["services"], "needs: [REDIS_URL]"),
    (&["strategy", "rollingUpdate", "update_config", "deploy"], "rollout: { max_surge: 1 }"),
    (&["maxSurge"], "rollout: { max_surge: 1 }"),
    (&["maxUnavailable"], "rollout: { max_unavailable: 1 }"),
    (&["minReadySeconds"], "rollout: { min_ready: 1s }"),
    (&["progressDeadlineSeconds"], "rollout: { progress_deadline: 600s }"),
    (&["autorestart", "restartPolicy", "restart_policy"], "restart: on-failure"),
    (&["RestartSec"], "backoff: { first: 500ms }"),
    (&["startretries", "max_attempts"], "backoff: { give_up_after: 3 }"),
    (&["ulimits", "LimitNOFILE"], "limits: { nofile: 4096 }"),
    (
        &["resources", "mem_limit", "MemoryMax", "CPUQuota", "TasksMax", "pids_limit"],
        "limits: { memory: 512m, cpus: 1.5, pids: 100 }",
    ),
    // Of `limits`.
    (&["mem_limit", "mem", "MemoryMax"], "memory: 512m"),
    (&["CPUQuota"], "cpus: 1.5"),
    (&["pids_limit", "TasksMax", "tasks"], "pids: 100"),
    (&["LimitNOFILE"], "nofile: 4096"),
    // Of a process type.
    (&["ListenStream", "bind", "socket", "sockets"], "listen: tcp://0.0.0.0:8000"),
    (&["ports"], "port: 8000"),
    // Of `health`.
    (&["livenessProbe", "live"], "liveness: { http: /health }"),
    (&["readinessProbe", "ready", "http", "tcp", "exec", "httpGet", "test"], "readiness: { http: /health }"),
    (&["startupProbe", "notify"], "startup: { notify: true }"),
    // Of a probe.
    (&["httpGet", "path", "url"], "http: /health` and `port: 8080"),
    (&["tcpSocket"], "tcp: true` and `port: 8080"),
    (&["command", "test", "cmd"], "exec: bin/is-alive"),
    (&["initialDelaySeconds", "start_period", "delay"], "initial_delay: 5s"),
    (&["periodSeconds", "interval"], "period: 10s"),
    (&["timeoutSeconds"], "timeout: 1s"),
    (&["retries"], "failure_threshold: 3"),
    // Of `rollout`.
    (&["minReadySeconds"], "min_ready: 1s"),
    (&["progressDeadlineSeconds"], "progress_deadline: 600s"),
    (&["parallelism"], "max_unavailable: 1"),
    // Of a service.
    (&["timeout"], "wait: 30s"),
    // Of the whole spec.
    (&["processes", "process_types", "types", "apps"], "formation: { web: 4 }"),
];

/// What says here what they say by `key`, where one of the `known` keys does.
pub(super) fn ours(key: &str, known: &[&str]) -> Option<String> {
    let key = plain(key);
    if let Some(same) = known.iter().find(|known| plain(known) == key) {
        return Some(format!("did you mean `{same}`?"));
    }
    let fits = |entry: &str| entry.split_once(':').is_some_and(|(ours, _)| known.contains(&ours));
    let (_, entry) = WORDS
        .iter()
        .find(|(theirs, entry)| fits(entry) && theirs.iter().any(|theirs| plain(theirs) == key))?;
    Some(format!("here that is `{entry}`"))
}

/// `periodSeconds`, `period_seconds` and `period-seconds` are one word.
fn plain(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_told_where_its_own_is_known() {
        let ours = |key, known: &[&str]| ours(key, known).unwrap_or_default();
        assert_eq!(ours("periodSeconds", &["http", "period"]), "here that is `period: 10s`");
        assert_eq!(ours("period_seconds", &["http", "period"]), "here that is `period: 10s`");
        assert_eq!(ours("failureThreshold", &["failure_threshold"]), "did you mean `failure_threshold`?");
        assert_eq!(
            ours("httpGet", &["http", "period", "port"]),
            "here that is `http: /health` and `port: 8080`"
        );
        assert_eq!(ours("livenessProbe", &["liveness"]), "here that is `liveness: { http: /health }`");
        assert_eq!(
            ours("livenessProbe", &["health"]),
            "here that is `health: { liveness: { http: /health } }`"
        );
        assert_eq!(ours("periodSeconds", &["quantity"]), "");
        assert_eq!(ours("nonsense", &["period"]), "");
    }
}
