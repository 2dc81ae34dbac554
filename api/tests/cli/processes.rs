//! Processes from the command line.

use crate::place::Place;
use serde_json::json;

#[test]
fn processes_are_listed_shown_and_ended() {
    let place = Place::new();
    let server = place.serve();
    assert_eq!(place.json(&["ps", "--json"]), json!({ "processes": [] }));
    place.write("p.luau", "local p = process('sh', { '-c', 'echo of a job; exec sleep 1000' }) p:wait()");
    let job = place.ok(&["run", "./p.luau", "--detach"]);
    let listed = loop {
        let listed = place.json(&["ps", "--job", job.trim(), "--json"]);
        if listed["processes"][0].is_object() {
            break listed;
        }
    };
    let id = listed["processes"][0]["id"].as_str().unwrap().to_owned();
    let table = place.ok(&["ps"]);
    assert!(table.contains("running") && table.contains("echo of a job; exec sleep 1000"), "{table}");
    let none = place.run(&["ps", "--session", "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11"]);
    assert_eq!((none.status, none.out.as_str(), none.err.trim()), (0, "", "no processes"));
    while !place.ok(&["output", &id]).contains("of a job\n") {}
    assert_eq!(place.json(&["output", "last", "--json"])["running"], true);
    assert_eq!(place.run(&["kill", &id, "--signal", "SIGNOPE"]).status, 2);
    // By the end of its id, too.
    let said = place.ok(&["kill", &id[id.len() - 8..], "--signal", "KILL"]);
    assert_eq!(said, format!("{id} was sent kill\n"));
    let ended = place.json(&["output", &id, "--wait", "--json"]);
    assert_eq!((&ended["output"], &ended["signal"]), (&json!("of a job\n"), &json!("SIGKILL")));
    let shown = place.run(&["output", &id]);
    assert_eq!((shown.out.as_str(), shown.err.trim()), ("of a job\n", format!("{id}: SIGKILL").as_str()));
    let again = place.run(&["kill", &id]);
    assert_eq!(again.status, 1);
    assert!(again.err.contains("has exited"), "{}", again.err);
    for (command, message) in [("what", "names no process"), ("ffffffff", "no process's id ends in")] {
        let said = place.run(&["output", command]);
        assert!(said.status != 0 && said.err.contains(message), "{}", said.err);
    }
    // Without a server, from the log alone.
    assert!(server.stop("-INT").success());
    assert_eq!(place.ok(&["output", &id]), "of a job\n");
}
