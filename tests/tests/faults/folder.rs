//! Many servers that want one folder at the same moment.

use super::{check_sound, times};
use moonlog_tests::{Server, command, eventually, moonlog, printed};
use serde_json::Value;
use std::{
    fs::{self, File},
    process::{Child, Command, Stdio},
};

const SERVERS: usize = 8;

#[tokio::test]
async fn of_many_servers_that_start_at_once_on_one_folder_one_serves() {
    for round in 0..times(2, 30) {
        let folder = tempfile::tempdir().unwrap();
        if round % 2 == 1 {
            // One that was killed before leaves everything but its lock.
            let server = Server::start(folder.path()).await;
            server.run("return 1").await;
            server.kill();
        }
        let address = folder.path().join("data/server.json");
        let _ = fs::remove_file(&address);
        let start = |n: usize| {
            let errors = File::create(folder.path().join(format!("{n}.log"))).unwrap();
            let mut command = Command::new(moonlog());
            command.args(["serve", "--listen", "127.0.0.1:0", "--data", "data"]).current_dir(folder.path());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().unwrap()
        };
        let mut servers: Vec<Child> = (0..SERVERS).map(start).collect();
        let mut ended = vec![None; SERVERS];
        eventually("all but one to have ended", || {
            for (server, ended) in servers.iter_mut().zip(&mut ended) {
                *ended = server.try_wait().unwrap();
            }
            std::future::ready((ended.iter().filter(|ended| ended.is_none()).count() <= 1).then_some(()))
        })
        .await;
        let url = eventually("the one to listen", || {
            let text = fs::read_to_string(&address).ok();
            std::future::ready(text.and_then(|text| serde_json::from_str::<Value>(&text).ok()))
        })
        .await;
        let alive = ended.iter().position(Option::is_none).expect("one serves");
        assert_eq!(url["pid"], servers[alive].id(), "and it is the one that says so");
        for (n, status) in ended.iter().enumerate().filter(|(n, _)| *n != alive) {
            let said = fs::read_to_string(folder.path().join(format!("{n}.log"))).unwrap();
            assert_eq!(status.unwrap().code(), Some(3), "{said}");
            assert!(said.contains("is locked by another moonlog"), "{said}");
        }
        // Commands find it, and none of the others has harmed it.
        let output = command(folder.path(), &["jobs"]);
        assert!(output.status.success(), "{}", printed(&output));
        servers[alive].kill().unwrap();
        servers[alive].wait().unwrap();
        check_sound(folder.path());
    }
}

#[tokio::test]
async fn commands_that_come_at_once_to_a_folder_without_a_server_take_turns() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path()).await;
    server.run("return 1").await;
    server.kill();
    let run = |_| {
        let folder = folder.path().to_owned();
        tokio::task::spawn_blocking(move || command(&folder, &["jobs", "--json"]))
    };
    for output in futures_util::future::join_all((0..4).map(run)).await {
        let output = output.unwrap();
        // One that had to wait for too long says so.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{}", printed(&output));
    }
    check_sound(folder.path());
}
