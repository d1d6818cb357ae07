//! What comes out on stdout: whole lines, tagged once, in order, nothing lost.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::harness::{
    Run, Setup, Stdout, Supervise, Transcript, children_of, cpu_time, descriptors, eventually, resident_kib,
    state,
};
use crate::verbs::says;

/// The text of every line of a process in the text format, time or not.
fn texts(seen: &Transcript, process: &str) -> Vec<String> {
    let text = |line: &String| {
        let (tag, text) = line.split_once("| ")?;
        (tag.split_whitespace().next_back() == Some(process)).then(|| text.to_owned())
    };
    seen.lines().iter().filter_map(text).collect()
}

#[test]
fn every_line_has_one_tag_of_one_width() {
    let types = (1..=8).map(|n| format!("type{n}: echo type{n}\n"));
    let procfile: Vec<_> = types.chain(["long-type-name: echo long\n".to_owned()]).collect();
    let mut run = Supervise::with(procfile.concat()).format("text").start();
    let seen = run.ends_with(0);
    let bars: Vec<_> = seen.lines().iter().map(|line| line.find('|')).collect();
    assert!(bars.iter().all(|bar| bar.is_some() && *bar == bars[0]), "{seen}");
    for n in 1..=8 {
        assert_eq!(texts(&seen, &format!("type{n}.1")), [format!("type{n}")], "{seen}");
    }
    assert_eq!(texts(&seen, "long-type-name.1"), ["long"], "{seen}");
    assert!(texts(&seen, "supervise").iter().any(|text| text.starts_with("formation: ")), "{seen}");
}

#[test]
fn white_space_is_kept() {
    let mut run =
        Supervise::with("test: printf '%s\\n' '   output whitespace\tis\tpreserved\t'\nasdf:\techo derp\n")
            .format("text")
            .start();
    let seen = run.ends_with(0);
    assert_eq!(texts(&seen, "test.1"), ["   output whitespace\tis\tpreserved\t"], "{seen}");
    assert_eq!(texts(&seen, "asdf.1"), ["derp"], "{seen}");
}

#[test]
fn fault_11_bytes_are_not_changed() {
    let mut run =
        Supervise::with("a: chaos bytes fffe780a0a0a00790d0a1b5b33316d0af09f988a0a\n").format("raw").start();
    let seen = run.ends_with(0);
    let expected: [&[u8]; 6] = [b"\xff\xfex", b"", b"", b"\0y\r", b"\x1b[31m", b"\xf0\x9f\x98\x8a"];
    assert_eq!(seen.out, expected, "{seen}");
}

#[test]
fn fault_11_bytes_that_are_no_text_are_given_twice_in_json() {
    let mut run = Supervise::with("a: chaos bytes ff00780a say plain\n").start();
    let seen = run.ends_with(0);
    let line = |text: &str| {
        let lines = seen.lines();
        let line =
            lines.iter().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text}: {seen}"));
        serde_json::from_str::<serde_json::Value>(line).expect("every line is JSON")
    };
    assert_eq!(line("message_base64")["message_base64"], "/wB4");
    assert!(line("plain").get("message_base64").is_none());
}

#[test]
fn a_line_of_json_names_its_process_and_stream() {
    let mut run = Supervise::with("a: chaos say out err wrong\nb: chaos err merged\n")
        .spec("formation:\n  b: { stderr: merge }\n")
        .start();
    let seen = run.ends_with(0);
    let find = |message: &str| {
        let objects = seen.lines().into_iter().map(|line| serde_json::from_str::<serde_json::Value>(&line));
        let mut objects = objects.map(|json| json.expect("every line is JSON"));
        objects.find(|json| json["message"] == message).unwrap_or_else(|| panic!("no {message}: {seen}"))
    };
    for (message, process, stream) in
        [("out", "a.1", "stdout"), ("wrong", "a.1", "stderr"), ("merged", "b.1", "stdout")]
    {
        let line = find(message);
        assert_eq!(line["process"], process);
        assert_eq!(line["type"], process.trim_end_matches(".1"));
        assert_eq!(line["stream"], stream);
        assert_eq!(line["pid"], seen.events("started", process)[0].pid());
        let time: jiff::Timestamp = line["timestamp"].as_str().expect("a time").parse().expect("RFC 3339");
        assert!(time <= jiff::Timestamp::now());
    }
}

#[test]
fn raw_lines_have_no_tag_and_notices_go_to_stderr() {
    let mut run = Supervise::with("a: chaos say one err two\n").format("raw").start();
    let seen = run.ends_with(0);
    assert_eq!(seen.lines(), ["one", "two"], "{seen}");
    assert!(seen.err_text().contains("formation: a=1"), "{seen}");
}

#[test]
fn merged_output_keeps_the_exact_order_of_both_streams() {
    let mut run = Supervise::with("a: chaos say 1 err 2 say 3 err 4 say 5\n").format("text").start();
    let seen = run.ends_with(0);
    assert_eq!(texts(&seen, "a.1"), ["1", "2", "3", "4", "5"], "{seen}");
}

#[test]
fn fault_13_a_last_line_without_its_end_is_printed_before_the_exit() {
    let mut run = Supervise::with("a: printf partial; exit 3\n").args(["--restart", "never"]).start();
    let seen = run.ends_with(3);
    assert_eq!(seen.said("a.1"), ["partial"], "{seen}");
    let place = seen.lines().iter().position(|line| line.contains("\"partial\"")).expect("it was said");
    assert!(place < seen.events("exited", "a.1")[0].place, "{seen}");
}

#[test]
fn a_prompt_of_one_process_does_not_delay_anothers_lines() {
    let mut run =
        Supervise::with("a: chaos partial name: touch asked sleep 1h\nb: chaos loop tick 10ms\n").start();
    run.line("b.1", "tick 30");
    assert!(run.directory().app("asked").exists());
    let seen = run.is_stopped();
    assert_eq!(seen.said("a.1"), ["name:"], "the prompt is printed in the end: {seen}");
}

#[test]
fn fault_12_lines_of_two_processes_are_never_mixed() {
    // Lines that no pipe takes in one write.
    let mut run =
        Supervise::with("a: chaos blocks 50 25000 a\nb: chaos blocks 50 25000 b\n").format("text").start();
    let seen = run.ends_with(0);
    for letter in ["a", "b"] {
        let texts = texts(&seen, &format!("{letter}.1"));
        assert_eq!(texts.len(), 50, "{seen}");
        assert!(texts.iter().all(|text| *text == letter.repeat(25_000)), "{seen}");
    }
}

#[test]
fn a_line_longer_than_64_kib_is_cut_into_pieces_and_nothing_is_lost() {
    let mut run = Supervise::with("a: chaos blocks 1 200000 x say after\n").start();
    let seen = run.ends_with(0);
    let said = seen.said("a.1");
    let (pieces, after) = said.split_at(said.len() - 1);
    assert_eq!(after, ["after"]);
    assert!(pieces.len() >= 3 && pieces.iter().all(|piece| piece.len() <= 65_536), "{} pieces", pieces.len());
    assert_eq!(pieces.concat(), "x".repeat(200_000));
    let partial = seen.lines().iter().filter(|line| line.contains("\"partial\":true")).count();
    assert_eq!(partial, pieces.len() - 1, "all but the last are marked");
}

#[test]
fn fault_14_a_hundred_thousand_last_words_come_before_the_exit_notice() {
    const COUNT: usize = 100_000;
    let mut run = Supervise::with(format!("a: chaos spam {COUNT}\n")).start();
    let seen = run.ends_with(0);
    assert_eq!(seen.said("a.1").len(), COUNT);
    let in_order = seen.said("a.1").iter().enumerate().all(|(n, line)| *line == format!("spam {}", n + 1));
    assert!(in_order, "lines are lost or out of order");
    let last = seen.lines().iter().rposition(|line| line.contains("spam ")).expect("there are some");
    assert!(last < seen.events("exited", "a.1")[0].place);
}

#[test]
fn the_supervisor_writes_to_a_file_and_to_a_socket_alike() {
    for stdout in [Stdout::File, Stdout::Socket] {
        let mut run = Supervise::with("a: chaos spam 2000\n").stdout(stdout.clone()).start();
        let seen = run.ends_with(0);
        assert_eq!(seen.said("a.1").len(), 2000, "{stdout:?}");
        assert_eq!(seen.events("ended", "").len(), 1, "{stdout:?}");
    }
}

#[test]
fn a_pipe_has_neither_time_nor_colour_and_a_terminal_has_both() {
    let mut run = Supervise::with("a: chaos say hello\n").format("text").start();
    let seen = run.ends_with(0);
    assert!(seen.lines().iter().any(|line| line.starts_with("a.1 ") && line.ends_with("| hello")), "{seen}");
    assert!(seen.lines().iter().all(|line| !line.contains('\x1b')), "{seen}");

    let mut run = Supervise::with("a: chaos say hello\n").format("text").stdout(Stdout::Terminal).start();
    let seen = run.ends_with(0);
    let lines = seen.lines();
    let line = lines.iter().find(|line| line.ends_with("hello")).unwrap_or_else(|| panic!("{seen}"));
    assert!(line.contains('\x1b'), "{seen}");
    assert!(line.matches(':').count() >= 2, "there is a time: {seen}");
}

#[test]
fn time_and_colour_are_as_asked() {
    let said = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut supervise =
            Supervise::with("a: chaos bytes 1b5b33316d7265640a\n").format("text").args(arguments);
        for (name, value) in variables {
            supervise = supervise.env(name, value);
        }
        let seen = supervise.start().ends_with(0);
        let line = seen.lines().into_iter().find(|line| line.contains("red"));
        line.unwrap_or_else(|| panic!("{seen}"))
    };
    let plain = "\x1b[31mred";
    let time = said(&["--timestamps", "always"], &[]);
    let (clock, rest) = time.split_once(' ').expect("a time stands before the tag");
    assert!(clock.len() == 8 && clock.matches(':').count() == 2, "{time}");
    assert!(rest.starts_with("a.1 "), "{time}");

    for line in [said(&["--color", "always"], &[]), said(&[], &[("CLICOLOR_FORCE", "1")])] {
        assert!(line.split('|').next().is_some_and(|tag| tag.contains('\x1b')), "{line:?}");
        assert!(line.ends_with("\x1b[0m"), "a line with an escape is closed with a reset: {line:?}");
    }
    for line in [said(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]), said(&[], &[("NO_COLOR", "1")])] {
        assert!(line.starts_with("a.1 "), "{line:?}");
        assert!(line.ends_with(plain), "the child's own bytes stay as they are: {line:?}");
    }
}

#[test]
fn fault_09_a_child_that_closes_its_stdout_runs_on_and_costs_nothing() {
    let mut run =
        Supervise::with("quiet: chaos touch closed close-stdout sleep 1h\nb: chaos loop tick 20ms\n").start();
    run.line("b.1", "tick 5");
    assert!(run.directory().app("closed").exists());
    let before = cpu_time(run.pid());
    run.line("b.1", "tick 55");
    // Fifty ticks are a second; a loop that reads the closed pipe again and again would use most of it.
    let used = cpu_time(run.pid()).saturating_sub(before);
    assert!(used.as_millis() < 400, "{used:?} of a second");
    let seen = run.is_stopped();
    assert_eq!(seen.events("started", "quiet.1").len(), 1, "{seen}");
    assert_eq!(seen.events("exited", "quiet.1").len(), 1, "{seen}");
}

#[test]
fn control_09_the_check_of_processor_time_sees_a_busy_loop() {
    let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("there is a shell");
    let pid = i32::try_from(busy.id()).expect("a pid is small");
    let seen = || (cpu_time(pid).as_millis() >= 400).then_some(());
    eventually("much processor time", seen, || format!("{:?}", cpu_time(pid)));
    busy.kill().expect("it is ours");
    busy.wait().expect("it is ours");
}

#[test]
fn fault_15_a_reader_that_stops_makes_the_children_wait_and_stop_still_works() {
    let mut run = Supervise::with("a: chaos touch begun spam 10000000\nb: chaos sleep 1h\n")
        .stdout(Stdout::Unread)
        .start();
    let begun = run.directory().app("begun");
    eventually("a child that writes", || begun.exists().then_some(()), || run.so_far().to_string());
    let (pid, mut last) = (run.pid(), (0, Duration::ZERO));
    // Everybody waits when two looks in a row show the supervisor asleep with the same memory and processor time.
    let look = || {
        let now = (resident_kib(pid), cpu_time(pid));
        let quiet = now == last && state(pid) == Some('S');
        last = now;
        quiet.then_some(())
    };
    eventually("a supervisor that waits", look, || "it is busy all the time".to_owned());
    let resident = resident_kib(pid);
    assert!(resident < 64 * 1024, "{resident} KiB");
    run.signal(libc::SIGTERM);
    let (status, alive) = run.wait_for_exit();
    assert_eq!(status.code(), Some(0), "{}", run.so_far());
    assert!(alive.is_empty(), "{alive:?}");
}

#[test]
fn fault_15_a_child_can_say_its_last_words_though_the_reader_has_stopped() {
    const COUNT: usize = 300_000;
    let mut run = Supervise::with(format!("a: chaos ignore TERM touch begun spam {COUNT} exit 0\n"))
        .args(["-t", "10m"])
        .stdout(Stdout::Unread)
        .start();
    let begun = run.directory().app("begun");
    eventually("a child that writes", || begun.exists().then_some(()), || run.so_far().to_string());
    // It hears no TERM: it ends when it has written everything, which nobody reads.
    run.signal(libc::SIGTERM);
    let seen = run.ends_with(0);
    let dropped = seen.err.iter().filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let dropped: u64 = dropped.filter_map(|notice| notice["lines"].as_u64()).sum();
    let read = seen.rests("a.1", "spam ").len();
    let accounted = read + usize::try_from(dropped).expect("a count");
    // Notices that nobody read are among the dropped lines.
    assert!((COUNT..COUNT + 20).contains(&accounted), "{read} were read, {dropped} were dropped: {seen}");
}

#[test]
fn an_instance_that_is_stopped_can_say_its_last_words_though_the_reader_has_stopped() {
    // Of 400 bytes each: more than all pipes and buffers on the way hold.
    const COUNT: usize = 10_000;
    let procfile = format!(
        "web: chaos ignore TERM touch begun blocks {COUNT} 400 x touch written exit 0\n\
         other: chaos touch other blocks {COUNT} 400 x say done sleep 1h\n"
    );
    let mut run = Supervise::with(procfile).args(["-t", "10m"]).stdout(Stdout::Unread).start();
    for name in ["begun", "other"] {
        let begun = run.directory().app(name);
        eventually("a child that writes", || begun.exists().then_some(()), || run.so_far().to_string());
    }
    // It hears no TERM: it ends when it has written everything, which nobody reads, and is not killed for ten minutes.
    says(&run, &["stop", "--wait", "web.1"]);
    assert!(run.directory().app("written").exists());
    run.read_on();
    let exited = run.event("exited", "web.1");
    assert_eq!(exited.number("code"), 0);
    // The other one waited, and has lost nothing.
    run.line("other.1", "done");
    let seen = run.is_stopped();
    assert_eq!(seen.rests("other.1", "xxx").len(), COUNT);
    let dropped: i64 = seen.events("dropped", "").iter().map(|notice| notice.number("lines")).sum();
    let read = seen.rests("web.1", "xxx").len();
    assert_eq!(usize::try_from(dropped).expect("a count") + read, COUNT);
    assert!(dropped > 0 && seen.events("killed", "").is_empty());
}

#[test]
fn fault_15_a_crash_loop_uses_up_no_descriptors_though_the_reader_has_stopped() {
    const LIVES: usize = 200;
    let crash = "echo first; echo wrong >&2; printf last; echo >>lives; exit 3";
    let mut run = Supervise::with(format!("flood: chaos spam 20000 sleep 1h\ncrash: {crash}\n"))
        .args(["crash=10"])
        .spec("defaults:\n  backoff: { first: 1ms, max: 1ms }\n")
        .stdout(Stdout::Unread)
        .start();
    let (pid, file) = (run.pid(), run.directory().app("lives"));
    let lives = || fs::read(&file).map_or(0, |lives| lives.len());
    let most_until = |count: usize| {
        let mut most = 0;
        let look = || {
            most = most.max(descriptors(pid));
            (lives() >= count).then_some(())
        };
        eventually("many lives", look, || format!("{} of {count}", lives()));
        most
    };
    let (few, many) = (most_until(30), most_until(LIVES));
    assert!(many < few + 30, "{few} descriptors at most in the first lives of ten processes, then {many}");
    run.read_on();
    run.nth_event(LIVES - 1, "exited", "");
    let seen = run.is_stopped();
    assert!(seen.events("dropped", "").is_empty(), "{seen}");
    assert_eq!(seen.rests("flood.1", "spam ").len(), 20_000);
    let mut said: HashMap<i64, Vec<(usize, String)>> = HashMap::new();
    for (place, json) in seen.lines().iter().enumerate() {
        let line: serde_json::Value = serde_json::from_str(json).expect("every line is JSON");
        if line["type"] == "crash" && line["stream"] != "notice" {
            let text = line["message"].as_str().expect("a line has a text").to_owned();
            said.entry(line["pid"].as_i64().expect("a pid")).or_default().push((place, text));
        }
    }
    let exits = seen.events("exited", "");
    let crashes: Vec<_> = exits.iter().filter(|exit| exit.json["code"] == 3).collect();
    assert!(crashes.len() >= LIVES, "{}", crashes.len());
    for exit in crashes {
        let spoken = said.remove(&i64::from(exit.pid())).unwrap_or_default();
        assert!(spoken.iter().all(|(place, _)| *place < exit.place), "after the exit: {spoken:?}");
        // Its two pipes have no order among each other.
        let mut texts: Vec<_> = spoken.iter().map(|(_, text)| text.as_str()).collect();
        let wrong = texts.iter().position(|text| *text == "wrong").map(|at| texts.remove(at));
        assert_eq!((wrong, texts), (Some("wrong"), vec!["first", "last"]));
    }
}

#[test]
fn a_terminal_gets_long_lines_whole_and_folds_them_itself() {
    let mut run = Supervise::with("a: chaos blocks 3 300 x say after\n")
        .format("text")
        .stdout(Stdout::Terminal)
        .start();
    let seen = run.ends_with(0);
    let long = seen.lines().iter().filter(|line| line.contains(&"x".repeat(300))).count();
    assert_eq!(long, 3, "{seen}");
}

/// A run whose only child has written its lines, more than the pipe to us holds, and is gone; nobody has read them yet.
fn run_with_unread_lines(count: usize) -> Run {
    let run = Supervise::with(format!("a: chaos gate gate spam {count}\n"))
        .gate("gate")
        .stdout(Stdout::Unread)
        .start();
    let pid = run.pid();
    let (born, gone) = (|| !children_of(pid).is_empty(), || children_of(pid).is_empty());
    eventually("a child", || born().then_some(()), || run.so_far().to_string());
    run.directory().open_gate("gate");
    eventually("its end", || gone().then_some(()), || run.so_far().to_string());
    run
}

#[test]
fn a_reader_that_comes_back_late_gets_every_line() {
    const COUNT: usize = 8000;
    let mut run = run_with_unread_lines(COUNT);
    // The input: longer than the last lines of a drain may take.
    thread::sleep(Duration::from_millis(2500));
    run.read_on();
    let seen = run.ends_with(0);
    assert_eq!(seen.said("a.1").len(), COUNT, "{seen}");
    assert!(seen.events("dropped", "").is_empty(), "{seen}");
}

#[test]
fn a_supervisor_that_only_waits_for_its_reader_still_hears_term() {
    let mut run = run_with_unread_lines(8000);
    run.is_stopped();
}

#[test]
fn a_slow_reader_gets_every_line() {
    const COUNT: usize = 50_000;
    let mut run = Supervise::with(format!("a: chaos spam {COUNT}\n")).stdout(Stdout::Unread).start();
    run.read_on();
    let seen = run.ends_with(0);
    assert!(seen.events("dropped", "").is_empty(), "{seen}");
    assert_eq!(seen.said("a.1").len(), COUNT, "{seen}");
}

#[test]
fn with_when_slow_drop_nobody_waits_and_what_is_lost_is_counted() {
    const COUNT: usize = 400_000;
    let mut run = Supervise::with(format!("a: chaos spam {COUNT} touch written sleep 1h\n"))
        .args(["--when-slow", "drop"])
        .stdout(Stdout::Unread)
        .start();
    let written = run.directory().app("written");
    eventually("a child that does not wait", || written.exists().then_some(()), || run.so_far().to_string());
    run.read_on();
    // At the end we have two seconds for our reader, who has a busy machine.
    run.line("a.1", &format!("spam {COUNT}"));
    let seen = run.is_stopped();
    let dropped: i64 = seen.events("dropped", "").iter().map(|notice| notice.number("lines")).sum();
    let read = seen.rests("a.1", "spam ").len();
    assert!(dropped > 0, "{seen}");
    assert_eq!(usize::try_from(dropped).expect("a count") + read, COUNT, "{seen}");
    assert_eq!(
        seen.said("a.1").last().map(String::as_str),
        Some("spam 400000"),
        "the oldest are dropped: {seen}"
    );
}

#[test]
fn fault_16_when_the_reader_goes_away_everything_ends() {
    let mut run = Supervise::with("a: chaos loop tick 5ms\nb: chaos loop tick 5ms\nc: chaos sleep 1h\n")
        .stdout(Stdout::HangUpAfter(3))
        .start();
    let seen = run.ends_with(0);
    assert_eq!(seen.out.len(), 3, "{seen}");
    assert!(!seen.err_text().contains("panicked"), "{seen}");
}

#[test]
fn with_when_gone_drop_the_children_outlive_the_reader() {
    let mut run = Supervise::with("a: chaos loop tick 5ms\nb: chaos gate gate touch alive sleep 1h\n")
        .gate("gate")
        .args(["--when-gone", "drop"])
        .stdout(Stdout::HangUpAfter(8))
        .start();
    run.wait_for("the reader has gone", |seen| seen.out_ended.then_some(()));
    run.directory().open_gate("gate");
    let alive = run.directory().app("alive");
    eventually("a child that lives on", || alive.exists().then_some(()), || run.so_far().to_string());
    run.is_stopped();
}

#[test]
fn fault_18_a_stdout_that_would_block_loses_nothing_and_keeps_its_flag() {
    const COUNT: usize = 50_000;
    let mut run = Supervise::with(format!("a: chaos spam {COUNT}\n")).stdout(Stdout::NonblockingPipe).start();
    run.read_on();
    let seen = run.ends_with(0);
    assert_eq!(seen.said("a.1").len(), COUNT);
    assert_eq!(seen.events("ended", "").len(), 1);
}

#[test]
fn fault_17_without_a_stdout_it_still_runs() {
    let mut run = Supervise::with("a: chaos spam 1000 touch done\n").setup(Setup::Close(1)).start();
    run.ends_with(0);
    assert!(run.directory().app("done").exists());
}
