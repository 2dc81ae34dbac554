//! A web server on loopback, over a raw socket, for a test's time.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

/// Serves pages by path, without what stands behind a `?`, and remembers what was asked for.
pub struct Web {
    pub url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What a path answers: the content's type, and the content. What is not there is 404.
pub type Pages = HashMap<&'static str, (&'static str, String)>;

impl Web {
    pub fn start(pages: Pages) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, pages) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(pages));
        let noted = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (pages, noted) = (pages.clone(), noted.clone());
                std::thread::spawn(move || answer(stream, &pages, &noted));
            }
        });
        Self { url, asked }
    }

    /// What was asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, pages: &Pages, asked: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let target = lines.next().and_then(|line| Some(line.split(' ').nth(1)?.to_owned())).unwrap_or_default();
    let _head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    asked.lock().unwrap().push(target.clone());
    let path = target.split('?').next().unwrap_or_default();
    let (status, kind, body) = match pages.get(path) {
        Some((kind, body)) => ("200 OK", *kind, body.as_str()),
        None => ("404 Not Found", "text/plain", "nothing"),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}
